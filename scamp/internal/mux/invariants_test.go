package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestInvariants has one test for each line of "What always holds" in doc.go, named
// by its number. An auditor on the wire checks 1, 3, 4 and 6 in most other tests too.
func TestInvariants(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"01_numbers_rise_by_one", numbersRise},
		{"02_the_reader_waits_for_nobody", readerWaitsForNobody},
		{"03_the_window_is_kept", windowIsKept},
		{"04_acks_rise", acksRise},
		{"05_whoever_waits_has_acknowledged", whoeverWaitsHasAcknowledged},
		{"06_one_end_and_nothing_empty", oneEndAndNothingEmpty},
		{"07_what_is_short_overtakes", whatIsShortOvertakes},
		{"08_no_lock_across_the_network", noLockAcrossTheNetwork},
		{"09_what_did_not_start_leaves_no_trace", whatDidNotStartLeavesNoTrace},
		{"10_every_message_ends_once", everyMessageEndsOnce},
	} {
		t.Run(tt.name, tt.run)
	}
}

func numbersRise(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		refuse := prepareFunc(func(*packet.Header) bool { return false })
		ids := 0
		number := prepareFunc(func(h *packet.Header) bool {
			ids++
			h.ID = packet.NumberID(uint64(ids))
			return true
		})
		for i := range 30 {
			p := number
			if i%3 == 1 {
				p = refuse // takes neither a number nor an id
			}
			o, err := e.Send(request(), mux.Body{More: i%2 == 0}, p)
			if i%3 == 1 {
				if !errors.Is(err, mux.ErrClosed) {
					t.Fatalf("sending what is refused when its turn comes: %v, want ErrClosed", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if i%4 == 0 {
				synctest.Wait() // it is started
				o.Abort("changed my mind")
			}
		}
		next := uint64(0)
		for _, p := range kindsOnly(w.packets(), packet.KindHeader) {
			if id := fmt.Sprintf(`"request_id":%d,`, next+1); p.MsgNo != next || !strings.Contains(string(p.Body), id) {
				t.Fatalf("HEADER %d %s, want number %d with %s", p.MsgNo, p.Body, next, id)
			}
			next++
		}
		if next != 20 {
			t.Errorf("%d HEADERs, want 20", next)
		}
	})
}

func readerWaitsForNobody(t *testing.T) {
	// The peer reads nothing, handlers read nothing, limits are exceeded: PINGs are
	// still taken and messages still offered.
	bubble(t, func(t *testing.T) {
		var s shelf
		e, w := mute(t, mux.Options{Accept: s.accept, Limits: mux.Limits{WriteStall: time.Hour}})
		for range 40 {
			send(t, e, request(), mux.Body{Data: octets(100_000)})
		}
		for no := range uint64(50) {
			w.send(header(no, jsRequest) + stream(no, 300_000, 16384) + ping(no))
		}
		w.send(ack(0, 65536) + header(50, jsRequest) + data(50, "heard"))
		all := s.messages()
		if len(all) != 51 || all[50].Unread() != 5 {
			t.Fatalf("%d messages offered, want 51", len(all))
		}
		if n := e.stats.Count(mux.WindowViolated); n != 50 || e.Err() != nil {
			t.Errorf("window_violated %d, connection %v; want 50 messages ended and no more", n, e.Err())
		}
	})
}

func windowIsKept(t *testing.T) {
	// The auditors know the windows; many streams with slow readers use them up.
	bubble(t, func(t *testing.T) {
		c, server := connect(t, auditedPipe, mux.Options{Limits: mux.Limits{MaxWindow: 150_000}}, func(m *mux.Inbound) {
			time.Sleep(time.Second)
			echo(m)
		})
		results := make(chan error, 20)
		for i := range cap(results) {
			go func() { results <- c.echoStream(byte(i+1), 1000+i*30_000) }() // ends with its call
		}
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		nothingOpen(t, c.end, server)
	})
}

// nothingOpen is nothingLeft for a bubble.
func nothingOpen(t *testing.T, ends ...*end) {
	t.Helper()
	synctest.Wait()
	for _, e := range ends {
		if left := mux.Pending(e.Conn); left != "" {
			t.Errorf("left at the end: %s", left)
		}
	}
}

func acksRise(t *testing.T) {
	// Counts are asked for by the handler, by Discard and by the reader at once,
	// while nothing can be written; the auditor judges what leaves in the end.
	bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		t.Cleanup(func() { far.Close() })
		var s shelf
		side := audit(t, "end", near)
		e := run(t, side.rw, side.link, mux.Options{Accept: s.accept, Limits: mux.Limits{MaxWriteQueue: 1}})
		w := &wire{t: t, conn: far}
		send(t, e, reply(), mux.Body{}) // the writer stands in this
		w.send(header(0, jsRequest) + stream(0, 100_000, 1000))
		m := s.message(t)
		go io.CopyN(io.Discard, inboundReader{m}, 70_000) // ends when it has them
		synctest.Wait()
		m.Discard()
		w.send(stream(0, 10_000, 1000))
		synctest.Wait()
		w.listen()
		w.wants("counts asked for while nothing could be written", "HEADER 0", "EOF 0", "ACK 0 110000")
	})
}

func whoeverWaitsHasAcknowledged(t *testing.T) {
	for _, tt := range []struct {
		name string
		read func(*mux.Inbound)
	}{
		{"Read", func(m *mux.Inbound) { io.Copy(io.Discard, inboundReader{m}) }},
		{"WriteTo", func(m *mux.Inbound) { m.WriteTo(io.Discard) }},
		{"Bytes", func(m *mux.Inbound) { m.Bytes(1 << 20) }},
		{"Discard", func(m *mux.Inbound) { m.Discard() }},
		{"Bytes of a short limit", func(m *mux.Inbound) { m.Bytes(10) }},
	} {
		bubble(t, func(t *testing.T) {
			var s shelf
			_, w := talk(t, mux.Options{Accept: s.accept})
			w.send(header(0, jsRequest) + data(0, strings.Repeat("x", 20)))
			m := s.message(t)
			go tt.read(m) // ends with the message
			w.wants(tt.name, "ACK 0 20")
			w.send(data(0, "more"))
			w.wants(tt.name, "ACK 0 24")
			w.send(data(0, "last") + eof(0))
			w.wants(tt.name + " of a message that is complete and short")
		})
	}
}

func oneEndAndNothingEmpty(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		ctx := t.Context()
		for no, tt := range []struct {
			do   func(o *mux.Outbound)
			want []string
		}{
			{func(o *mux.Outbound) { o.CloseSend(); o.CloseSend(); o.Abort("late"); o.Write(ctx, []byte("late")) }, []string{"EOF %d"}},
			{func(o *mux.Outbound) { o.Abort("no"); o.Abort("again"); o.CloseSend(); o.Write(ctx, []byte("late")) }, []string{"TXERR %d no"}},
			{func(o *mux.Outbound) { o.Write(ctx, nil); o.Write(ctx, []byte("x")); o.CloseSend() }, []string{"DATA %d 1", "EOF %d"}},
			{func(o *mux.Outbound) { o.Write(ctx, []byte("x")); o.Abort("") }, []string{"DATA %d 1", "TXERR %d aborted"}},
			{func(o *mux.Outbound) {
				ended, stop := context.WithCancel(ctx)
				stop()
				o.Wait(ended, "given up")
				o.Wait(ended, "again")
			}, []string{"TXERR %d given up"}},
		} {
			o := send(t, e, request(), mux.Body{More: true})
			tt.do(o)
			want := []string{fmt.Sprintf("HEADER %d", no)}
			for _, p := range tt.want {
				want = append(want, fmt.Sprintf(p, no))
			}
			w.wants("one end", want...)
			if _, err := o.Write(ctx, []byte("x")); err == nil {
				t.Error("Write to a message that has ended: no error")
			}
		}
	})
}

func whatIsShortOvertakes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		e, w := mute(t, mux.Options{Accept: s.accept})
		for range 4 {
			send(t, e, request(), mux.Body{Data: octets(65536)})
		}
		w.send(ping(9) + header(0, jsRequest) + data(0, "x"))
		s.message(t).Discard()
		send(t, e, request(), mux.Body{Data: []byte("small")})
		synctest.Wait()
		w.listen()
		got := w.take()
		for _, p := range []string{"PONG 9", "ACK 0 1", "HEADER 4", "DATA 4 5", "EOF 4"} {
			// Message 0 was in the link already, the others were not.
			if i, j := slices.Index(got, p), slices.Index(got, "DATA 1 16384"); i < 0 || i > j {
				t.Errorf("%s is not before the DATA of message 1: %q", p, got)
			}
		}
	})
}

func noLockAcrossTheNetwork(t *testing.T) {
	// While the network neither takes nor brings anything, every method returns, in a
	// bubble where a mutex that is waited for would stop the clock.
	bubble(t, func(t *testing.T) {
		var s shelf
		e, w := mute(t, mux.Options{Accept: s.accept, Heartbeat: time.Second, Idle: time.Second, Limits: mux.Limits{WriteStall: time.Hour}})
		w.send(header(0, oursRequest) + data(0, "x"))
		m := s.message(t)
		o := send(t, e, request(), mux.Body{Data: octets(1 << 20), More: true})
		var left atomic.Int32
		for _, f := range []func(){
			func() { e.Send(request(), mux.Body{}, nil) },
			func() {
				e.PeerExt()
				e.PeerCancels()
				e.Unread()
				e.Heard()
				e.LastIO()
				e.LastRead()
				e.Err()
				e.Now()
			},
			func() {
				o.Started()
				o.Ended()
				o.Progress()
				o.Waiting()
				o.CloseSend()
				o.Abort("no")
			},
			func() { m.Progress(); m.Unread(); m.Complete(); m.Read(make([]byte, 10)); m.Discard() },
			func() { e.Shutdown(100 * time.Millisecond) },
		} {
			left.Add(1)
			go func() { // ends at once
				f()
				left.Add(-1)
			}()
			time.Sleep(200 * time.Millisecond)
			if n := left.Load(); n != 0 {
				t.Fatal("a method does not return while the network stands still")
			}
		}
	})
}

func whatDidNotStartLeavesNoTrace(t *testing.T) {
	always := prepareFunc(func(*packet.Header) bool { return true })
	bubble(t, func(t *testing.T) {
		e, w := mute(t, mux.Options{Limits: mux.Limits{MaxWriteQueue: 1}})
		send(t, e, reply(), mux.Body{}) // and now the link is full
		synctest.Wait()
		prepared := false
		var out []*mux.Outbound
		for _, p := range []mux.Preparer{prepareFunc(func(*packet.Header) bool { prepared = true; return true }), always, nil} {
			o, err := e.Send(request(), mux.Body{Data: []byte("x")}, p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, o)
		}
		out[0].Abort("changed my mind")
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := out[1].Wait(ctx, "given up"); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v", err)
		}
		out[2].Abort("a reply somebody waits for")
		for i, o := range out {
			ended, err := o.Ended()
			if want := i < 2; ended != want || ended && !errors.Is(err, mux.ErrAborted) || o.Started() {
				t.Errorf("message %d: ended %v, %v, started %v; want it ended: %v, and not started", i, ended, err, o.Started(), want)
			}
		}
		w.listen()
		w.wants("of three messages aborted in the queue", "HEADER 0", "EOF 0", "HEADER 1", "TXERR 1 a reply somebody waits for")
		if prepared {
			t.Error("Prepare was called for a message that was given up before")
		}
		// One aborted before it was even sent.
		var o mux.Outbound
		o.Init(e.Conn, mux.Body{}, always)
		o.Abort("never")
		if err := e.SendOutbound(&o, request()); !errors.Is(err, mux.ErrAborted) {
			t.Errorf("SendOutbound of an aborted message: %v, want ErrAborted", err)
		}
		w.wants("a message aborted before it was sent")
		nothingOpen(t, e)
	})
}

func everyMessageEndsOnce(t *testing.T) {
	for _, how := range []struct {
		name string
		end  func(*end, *wire)
	}{
		{"closed", func(e *end, _ *wire) { e.Close(); e.Close() }},
		{"peer gone", func(_ *end, w *wire) { w.conn.Close() }},
		{"protocol broken", func(_ *end, w *wire) { w.send("hello\r\n") }},
	} {
		t.Run(how.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var ends atomic.Int32
				const inbound, outbound = 10, 20
				e, w := mute(t, mux.Options{Limits: mux.Limits{MaxWriteQueue: 70_000}, Accept: func(m *mux.Inbound) {
					go func() { // ends with the message
						_, err := io.Copy(io.Discard, inboundReader{m})
						if !errors.Is(err, mux.ErrLost) {
							t.Errorf("message %d ended with %v, want ErrLost", m.No(), err)
						}
						ends.Add(1)
					}()
				}})
				for range outbound { // some started, some in the queue
					o := send(t, e, request(), mux.Body{Data: octets(70_000)})
					go func() { // ends with the message
						if err := o.Wait(context.Background(), "gone"); !errors.Is(err, mux.ErrLost) {
							t.Errorf("Wait: %v, want ErrLost", err)
						}
						ends.Add(1)
					}()
				}
				for no := range uint64(inbound) {
					w.send(header(no, jsRequest) + data(no, "half"))
				}
				synctest.Wait()
				how.end(e, w)
				<-e.ran
				synctest.Wait()
				if n := ends.Load(); n != inbound+outbound {
					t.Errorf("%d messages ended, want %d", n, inbound+outbound)
				}
			})
		})
	}
}
