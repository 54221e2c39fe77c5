package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestConformance has one test for each line of PROTOCOL 17 that can be judged
// message by message, named by the number of the line.
func TestConformance(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"01_written_packets_match_the_grammar", writtenPacketsMatchTheGrammar},
		{"10_header_out_of_sequence", headerOutOfSequence},
		{"11_packet_without_a_message", packetWithoutAMessage},
		{"12_eof_with_a_body", eofWithABody},
		{"15_empty_data", emptyData},
		{"16_txerr_empty_or_0", txerrEmptyOr0},
		{"17_ping_and_pong", pingAndPong},
		{"18_interleaved_messages", interleavedMessages},
		{"33_window_of_a_peer_that_never_acks", windowOfAPeerThatNeverAcks},
		{"33a_window_announced", windowAnnounced},
		{"34_an_ack_makes_room_for_what_it_names", anAckMakesRoom},
		{"35_acks_we_send", acksWeSend},
		{"36_everything_read_is_acknowledged", everythingReadIsAcknowledged},
		{"36a_short_complete_message_gets_no_ack", shortCompleteMessageGetsNoAck},
		{"37_handler_that_does_not_read", handlerThatDoesNotRead},
		{"37a_limits_of_unread_octets", limitsOfUnreadOctets},
		{"38_acks_that_make_no_sense", acksThatMakeNoSense},
		{"39_eof_does_not_wait_for_acks", eofDoesNotWait},
		{"40_echo_of_100_mib_in_bounded_memory", bigEcho},
		{"41_both_send_10_mib_at_once", bothSend},
		{"42_small_request_during_a_transfer", smallRequestDuringATransfer},
		{"43_connection_loss_ends_open_messages", connectionLoss},
		{"45_fin_ends_both_directions", finEndsBoth},
		{"46_idle_connections_close", idleConnectionsClose},
	} {
		t.Run(tt.name, tt.run)
	}
}

func writtenPacketsMatchTheGrammar(t *testing.T) {
	// The auditors of both ends parse everything by themselves, lines of at most 40
	// octets, and know the invariants of messages.
	c, server := connect(t, auditedPipe, mux.Options{}, echo)
	for _, size := range []int{0, 1, 16385, 300_000} {
		if _, err := c.echo(octets(size)); err != nil {
			t.Fatal(err)
		}
	}
	o, err := server.Send(sampleReply(99), mux.Body{More: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Abort("disk failed")
	nothingLeft(t, c.end, server)
}

// mustBeFatal sends octets to a new Conn for each case.
func mustBeFatal(t *testing.T, wires ...string) {
	t.Helper()
	for _, wire := range wires {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{})
			w.send(wire)
			if !fatal(e) {
				t.Errorf("%q: connection %v, want it ended", wire, e.Err())
			}
		})
	}
}

func headerOutOfSequence(t *testing.T) {
	mustBeFatal(t,
		header(1, jsRequest),
		header(0, jsRequest)+header(2, jsRequest),
		header(0, jsRequest)+header(0, jsRequest),
		header(0, jsRequest)+eof(0)+header(0, jsRequest))
}

func packetWithoutAMessage(t *testing.T) {
	for _, state := range []string{"", header(0, jsRequest) + eof(0), header(0, jsRequest) + txerr(0, "no")} {
		mustBeFatal(t, state+data(0, "x"), state+eof(0), state+txerr(0, "no"), state+data(0, ""), state+data(1, "x"))
	}
}

func eofWithABody(t *testing.T) {
	mustBeFatal(t, header(0, jsRequest)+pack(packet.KindEOF, 0, "x"))
}

func emptyData(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lib library
		e, w := talk(t, mux.Options{Accept: lib.accept})
		w.send(header(0, jsRequest) + data(0, "") + data(0, "ab") + data(0, ""))
		w.wants("empty DATA around two octets", "ACK 0 2")
		w.send(data(0, ""))
		w.wants("empty DATA")
		w.send(eof(0))
		if got := lib.readouts(); len(got) != 1 || string(got[0].body) != "ab" || e.Err() != nil {
			t.Errorf("%d messages, connection %v", len(got), e.Err())
		}
		o := send(t, e, reply(), mux.Body{Data: []byte{}, More: true})
		for range 3 {
			if n, err := o.Write(t.Context(), nil); n != 0 || err != nil {
				t.Errorf("Write of nothing: %d, %v", n, err)
			}
		}
		o.CloseSend()
		send(t, e, reply(), mux.Body{})
		w.wants("messages without octets", "HEADER 0", "EOF 0", "HEADER 1", "EOF 1")
	})
}

func txerrEmptyOr0(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lib library
		e, w := talk(t, mux.Options{Accept: lib.accept, NoExt: true})
		w.send(header(0, jsRequest) + txerr(0, "") + header(1, jsRequest) + txerr(1, "0"))
		for _, r := range lib.readouts() {
			if tx, ok := r.err.(*mux.TXERR); !ok || tx.Text != "unspecified transmission error" {
				t.Errorf("message %d: %v, want an unspecified transmission error", r.m.No(), r.err)
			}
		}
		if n := len(lib.readouts()); n != 2 || e.Err() != nil {
			t.Errorf("%d messages, connection %v", n, e.Err())
		}
		for no, tt := range []struct{ text, want string }{
			{"", "aborted"}, {"0", "aborted"}, {"disk failed", "disk failed"}, {"bad \xff octet", "bad \uFFFD octet"},
			{strings.Repeat("x", 1023) + "ä", strings.Repeat("x", 1023)}, {strings.Repeat("x", 1<<20), strings.Repeat("x", 1024)},
		} {
			o := send(t, e, reply(), mux.Body{More: true})
			o.Abort(tt.text)
			w.wants(fmt.Sprintf("Abort(%.40q)", tt.text), fmt.Sprintf("HEADER %d", no), fmt.Sprintf("TXERR %d %s", no, tt.want))
		}
	})
}

func pingAndPong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{Idle: time.Hour})
		for _, no := range []uint64{0, 7, 1<<63 - 1} {
			w.send(ping(no))
			w.wants("PING", fmt.Sprintf("PONG %d", no))
		}
		w.send(pack(packet.KindPING, 3, "body") + header(0, oursRequest))
		w.wants("PING with a body", "PONG 3")
		time.Sleep(59 * time.Minute)
		w.wants("an hour of silence") // by default
		if e.Err() != nil {
			t.Error(e.Err())
		}
	})
}

func interleavedMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lib library
		e, w := talk(t, mux.Options{Accept: lib.accept})
		one := send(t, e, reply(), mux.Body{More: true})
		two := send(t, e, reply(), mux.Body{More: true})
		w.send(header(0, jsRequest) + header(1, jsRequest))
		var sent [2]string
		for i := range 50 {
			for no, o := range []*mux.Outbound{one, two} {
				text := fmt.Sprintf("%d of message %d;", i, no)
				sent[no] += text
				w.send(data(uint64(no), text))
				if _, err := o.Write(t.Context(), []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
		}
		one.CloseSend()
		two.CloseSend()
		w.send(eof(1) + eof(0))
		for _, r := range lib.readouts() {
			if want := sent[r.m.No()]; string(r.body) != want || r.err != nil {
				t.Errorf("received of message %d: %q, %v; want %q", r.m.No(), r.body, r.err, want)
			}
		}
		var got [2]string
		for _, p := range w.packets() {
			if p.Kind == packet.KindData {
				got[p.MsgNo] += string(p.Body)
			}
		}
		if got != sent || len(lib.readouts()) != 2 {
			t.Errorf("sent %q, want %q", got, sent)
		}
	})
}

func eofDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		o := send(t, e, request(), mux.Body{Data: octets(65536)})
		if got := w.take(); got[len(got)-1] != "EOF 0" {
			t.Errorf("sent %q, want EOF at the end", got)
		}
		if ended, err := o.Ended(); !ended || err != nil {
			t.Errorf("ended %v, %v", ended, err)
		}
	})
}

func bigEcho(t *testing.T) {
	size := 100 << 20
	if race {
		size = 10 << 20
	}
	for _, n := range networks[1:] {
		c, server := connect(t, n, mux.Options{}, echo)
		if err := c.echoStream(1, 1<<20); err != nil {
			t.Fatal(err)
		}
		before := heap()
		stop, peak := make(chan struct{}), make(chan int)
		go func() { // ends when stopped
			most := 0
			for {
				select {
				case <-stop:
					peak <- most
					return
				case <-time.After(20 * time.Millisecond):
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most = max(most, int(m.HeapInuse))
				}
			}
		}()
		if err := c.echoStream(2, size); err != nil {
			t.Errorf("%s: %v", n.name, err)
		}
		close(stop)
		if most := <-peak - before; most > 24<<20 && !race {
			t.Errorf("%s: %d MiB of heap in use more than before, want at most 24", n.name, most>>20)
		}
		nothingLeft(t, c.end, server)
	}
}

func bothSend(t *testing.T) {
	for _, n := range allNetworks {
		a, b := n.make(t)
		ends := [2]*end{}
		got := make(chan error, 2)
		take := func(m *mux.Inbound) {
			go func() { // ends with the message
				size, err := m.WriteTo(io.Discard)
				if err == nil && size != 10<<20 {
					err = fmt.Errorf("%d octets", size)
				}
				got <- err
			}()
		}
		ends[0] = run(t, a.rw, a.link, mux.Options{Accept: take})
		ends[1] = run(t, b.rw, b.link, mux.Options{Accept: take})
		for _, e := range ends {
			send(t, e, request(), mux.Body{Data: octets(10 << 20)})
		}
		for range ends {
			select {
			case err := <-got:
				if err != nil {
					t.Errorf("%s: %v", n.name, err)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%s: both stand", n.name)
			}
		}
	}
}

func smallRequestDuringATransfer(t *testing.T) {
	for _, n := range allNetworks {
		c, _ := connect(t, n, mux.Options{}, echo)
		// This transfer ends only when the small request has come back.
		k, err := c.open(mux.Body{More: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // ends when stopped
			defer close(done)
			for buf := octets(100_000); ; {
				if _, err := k.out.Write(ctx, buf); err != nil {
					k.out.Abort("enough")
					return
				}
			}
		}()
		m, err := k.wait()
		if err != nil {
			t.Fatal(err)
		}
		go m.WriteTo(io.Discard) // ends with the transfer
		for range 20 {
			if _, err := c.echo(octets(64)); err != nil {
				t.Errorf("%s: %v", n.name, err)
			}
		}
		stop()
		<-done
	}
}

func connectionLoss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lib library
		e, w := talk(t, mux.Options{Accept: lib.accept})
		w.send(header(0, jsRequest) + data(0, "half") + header(1, jsRequest) + eof(1))
		waiting := make(chan error, 2)
		o := send(t, e, request(), mux.Body{Data: octets(1 << 20)})
		go func() { waiting <- o.Wait(context.Background(), "gone") }() // ends with the connection
		p := send(t, e, request(), mux.Body{More: true})
		go func() { // ends with the connection
			_, err := p.Write(context.Background(), octets(1<<20))
			waiting <- err
		}()
		synctest.Wait()
		w.conn.Close()
		<-e.ran
		for range cap(waiting) {
			if err := <-waiting; !errors.Is(err, mux.ErrLost) {
				t.Errorf("a sender got %v, want ErrLost", err)
			}
		}
		got := lib.readouts()
		if len(got) != 2 {
			t.Fatalf("%d messages ended, want 2", len(got))
		}
		for _, r := range got {
			if lost := errors.Is(r.err, mux.ErrLost); lost != (r.m.No() == 0) {
				t.Errorf("message %d ended with %v", r.m.No(), r.err)
			}
		}
		if _, err := e.Send(request(), mux.Body{}, nil); err == nil {
			t.Error("Send on a lost connection: no error")
		}
	})
}

func finEndsBoth(t *testing.T) {
	near, far := tcp(t)
	defer far.Close()
	link := mux.NewLink(near)
	e := run(t, link, link, mux.Options{})
	send(t, e, request(), mux.Body{More: true})
	far.(interface{ CloseWrite() error }).CloseWrite()
	if err := e.over(t); err != io.EOF {
		t.Errorf("Run: %v, want io.EOF", err)
	}
	if _, err := io.ReadAll(far); err != nil {
		t.Errorf("the other direction: %v, want its end", err)
	}
}

func idleConnectionsClose(t *testing.T) {
	for _, idle := range []time.Duration{90 * time.Second, 120 * time.Second} {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{Idle: idle})
			w.send(header(0, jsRequest))
			time.Sleep(10 * idle)
			if err := e.Err(); err != nil {
				t.Fatalf("while a message is open: %v", err)
			}
			w.send(eof(0))
			endsAfter(t, e, time.Now(), idle, mux.ErrIdle)
		})
	}
}
