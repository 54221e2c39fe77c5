package mux_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Each limit is tested at its value, one above it, and where it can fall again,
// back below it.

// TestOpenMessagesLimit: so many messages may be open, and one more is fatal
// (THREATS P6).
func TestOpenMessagesLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		no := uint64(0)
		open := func() {
			w.send(header(no, jsRequest))
			no++
		}
		for range 4096 {
			open()
		}
		w.send(eof(0))
		open() // one has ended, another may begin
		if fatal(e) {
			t.Fatalf("with 4,096 messages open: %v", e.Err())
		}
		open()
		if !fatal(e) || e.stats.Count(mux.OpenMessagesExceeded) != 1 {
			t.Errorf("with 4,097 messages open: %v, open_messages_exceeded %d", e.Err(), e.stats.Count(mux.OpenMessagesExceeded))
		}
	})
}

// TestOurOwnOpenMessagesLimit: we do not open more than a peer of ours takes.
func TestOurOwnOpenMessagesLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{Limits: mux.Limits{MaxOpenMessages: 3}})
		var out []*mux.Outbound
		for range 3 {
			o, err := e.Send(request(), mux.Body{More: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, o)
		}
		w.take()
		if _, err := e.Send(request(), mux.Body{More: true}, nil); err == nil || e.stats.Count(mux.OpenMessagesExceeded) != 1 {
			t.Errorf("a fourth message: %v, open_messages_exceeded %d; want it refused", err, e.stats.Count(mux.OpenMessagesExceeded))
		}
		out[1].CloseSend()
		w.wants("after the refusal", "EOF 1")
		if _, err := e.Send(request(), mux.Body{}, nil); err != nil {
			t.Errorf("when one has ended: %v", err)
		}
	})
}

// TestHeaderSizeLimits: a HEADER of 65536 octets is read, and one of 32768 is sent.
func TestHeaderSizeLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		e, w := talk(t, mux.Options{Accept: s.accept})
		long := func(n int) string {
			h := strings.TrimSuffix(jsRequest, "}") + `,"x":"`
			return h + strings.Repeat("x", n-len(h)-2) + `"}`
		}
		w.send(header(0, long(65536)))
		if m := s.message(t); m.HeaderSize != 65536 {
			t.Errorf("HeaderSize %d, want 65536", m.HeaderSize)
		}
		w.send(fmt.Sprintf("HEADER 1 %d\r\n", 65537))
		if !fatal(e) || e.stats.Count(mux.HeaderTooBig) != 1 {
			t.Errorf("HEADER of 65537 octets: %v, header_too_big %d; want it refused at its line", e.Err(), e.stats.Count(mux.HeaderTooBig))
		}
	})
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{NoExt: true})
		sent := func(n int) (*mux.Outbound, error) {
			h := request()
			h.Ticket = "t"
			h.Ticket = strings.Repeat("t", 1+n-len(h.AppendTo(nil)))
			return e.Send(h, mux.Body{}, nil)
		}
		const most = 32768 - 128 // what Prepare and ext may add is kept free
		if _, err := sent(most); err != nil {
			t.Errorf("HEADER of %d octets: %v", most, err)
		}
		prepared := false
		h := request()
		h.Ticket = strings.Repeat("t", 32768)
		o, err := e.Send(h, mux.Body{}, prepareFunc(func(*packet.Header) bool { prepared = true; return true }))
		if !errors.Is(err, mux.ErrHeaderTooBig) || o != nil || prepared {
			t.Errorf("HEADER too big: %v, prepared %v; want ErrHeaderTooBig and no request id taken", err, prepared)
		}
		if _, err := sent(most + 1); !errors.Is(err, mux.ErrHeaderTooBig) || e.stats.Count(mux.HeaderTooBig) != 2 {
			t.Errorf("HEADER of %d octets: %v, header_too_big %d; want ErrHeaderTooBig", most+1, err, e.stats.Count(mux.HeaderTooBig))
		}
		// One that Prepare makes too big is dropped at the last moment.
		var late mux.Outbound
		late.Init(e.Conn, mux.Body{}, prepareFunc(func(h *packet.Header) bool {
			h.Ticket = strings.Repeat("t", 32768)
			return true
		}))
		err = e.SendOutbound(&late, request())
		if ended, why := late.Ended(); !errors.Is(err, mux.ErrHeaderTooBig) || !ended || why != err || late.Started() {
			t.Errorf("HEADER that Prepare made too big: %v, ended %v with %v, started %v", err, ended, why, late.Started())
		}
		// Nothing of these is on the wire, and the numbers have no gap.
		if _, err := e.Send(request(), mux.Body{}, nil); err != nil {
			t.Fatal(err)
		}
		w.wants("around headers too big", "HEADER 0", "EOF 0", "HEADER 1", "EOF 1")
	})
}

// TestEmptyAndTinyData (THREATS P13): 100 empty DATA packets of one message are
// ignored, and tiny ones are fatal only if they are many for long.
func TestEmptyAndTinyData(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		w.send(header(0, jsRequest) + header(1, jsRequest) + strings.Repeat(data(0, ""), 100) + strings.Repeat(data(1, ""), 100))
		if fatal(e) {
			t.Fatalf("100 empty DATA packets in each message: %v", e.Err())
		}
		w.wants("100 empty DATA packets")
		w.send(data(0, ""))
		if !fatal(e) || e.stats.Count(mux.EmptyData) != 1 {
			t.Errorf("101 empty DATA packets: %v, empty_data %d; want fatal", e.Err(), e.stats.Count(mux.EmptyData))
		}
	})
	for _, tt := range []struct {
		name   string
		octets int
		pause  time.Duration // before each 1,000 packets
		fatal  bool
	}{
		{"1 octet at full speed", 1, 0, true},
		{"15 octets, 2,001 a second", 15, 499 * time.Millisecond, true},
		{"15 octets, 2,000 a second", 15, 500 * time.Millisecond, false},
		{"16 octets at full speed", 16, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e, w := talk(t, mux.Options{})
				w.send(header(0, jsRequest))
				thousand := strings.Repeat(data(0, strings.Repeat("x", tt.octets)), 1000)
				for range 30 {
					time.Sleep(tt.pause)
					w.send(thousand)
				}
				if got := fatal(e); got != tt.fatal || (e.stats.Count(mux.TinyData) == 1) != tt.fatal {
					t.Errorf("fatal %v (%v), tiny_data %d; want %v", got, e.Err(), e.stats.Count(mux.TinyData), tt.fatal)
				}
			})
		})
	}
}

// TestPingFlood (THREATS P15): ten PINGs a second go on for ever, eleven for ten
// seconds; of many at once one is answered, and nothing grows.
func TestPingFlood(t *testing.T) {
	for _, tt := range []struct {
		name      string
		perSecond int
		seconds   int
		fatal     bool
	}{
		{"10 a second", 10, 60, false},
		{"11 a second for 10 s", 11, 10, false},
		{"11 a second for 11 s", 11, 11, true},
		{"10,000 a second", 10_000, 11, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e, w := talk(t, mux.Options{})
				for range tt.seconds {
					w.send(strings.Repeat(ping(5), tt.perSecond))
					time.Sleep(time.Second)
				}
				answers := w.take()
				if got := fatal(e); got != tt.fatal || (e.stats.Count(mux.PingFlood) == 1) != tt.fatal {
					t.Errorf("fatal %v (%v), ping_flood %d; want %v", got, e.Err(), e.stats.Count(mux.PingFlood), tt.fatal)
				}
				if len(answers) == 0 || len(answers) > tt.perSecond*tt.seconds/2 && tt.perSecond > 100 {
					t.Errorf("%d PONGs for %d PINGs in bursts, want them coalesced", len(answers), tt.perSecond*tt.seconds)
				}
				for _, a := range answers {
					if a != "PONG 5" {
						t.Fatalf("answered %s, want PONG 5", a)
					}
				}
			})
		})
	}
	// A quiet second starts it all over.
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		for range 5 {
			for range 9 {
				w.send(strings.Repeat(ping(0), 11))
				time.Sleep(time.Second)
			}
			w.send(ping(0))
			time.Sleep(2 * time.Second)
		}
		if fatal(e) {
			t.Errorf("floods of 9 s with pauses: %v", e.Err())
		}
	})
}

// TestAckFlood (THREATS P10): 1,000 ACKs and four for each DATA are tolerated.
func TestAckFlood(t *testing.T) {
	for _, tt := range []struct {
		acks  int
		fatal bool
	}{{1000 + 4*4, false}, {1000 + 4*4 + 1, true}, {65536, true}} {
		t.Run(fmt.Sprint(tt.acks), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e, w := talk(t, mux.Options{})
				if _, err := e.Send(reply(), mux.Body{Data: octets(65536), More: true}, nil); err != nil {
					t.Fatal(err)
				}
				w.take()
				var flood strings.Builder
				for i := range tt.acks {
					flood.WriteString(ack(0, i+1))
				}
				w.send(flood.String())
				if got := fatal(e); got != tt.fatal || (e.stats.Count(mux.AckFlood) == 1) != tt.fatal {
					t.Errorf("%d ACKs for 4 DATA packets: fatal %v (%v), ack_flood %d; want %v", tt.acks, got, e.Err(), e.stats.Count(mux.AckFlood), tt.fatal)
				}
			})
		})
	}
}

// TestDiscardedMessagesAreSmall: what is kept of a message that nobody wants, until
// its end comes, is no more than a few octets, however long its header was.
func TestDiscardedMessagesAreSmall(t *testing.T) {
	const messages = 500
	bubble(t, func(t *testing.T) {
		var s shelf
		e, w := talk(t, mux.Options{Accept: s.accept})
		before := heap()
		long := strings.TrimSuffix(jsRequest, "}") + `,"x":"` + strings.Repeat("x", 60_000) + `"}`
		for no := range uint64(messages) {
			w.send(header(no, long) + data(no, long))
		}
		for _, m := range s.messages() {
			m.Discard()
		}
		s.all = nil
		long = ""
		w.take()
		if got := heap() - before; got > messages*2000 {
			t.Errorf("%d messages that were discarded hold %d octets, want at most 2,000 each", messages, got)
		}
		w.send(data(0, "x") + eof(0) + txerr(1, "no"))
		synctest.Wait()
		if e.Err() != nil {
			t.Error(e.Err())
		}
	})
}

// TestSequenceCounters: what is out of order moves its counter.
func TestSequenceCounters(t *testing.T) {
	for _, tt := range []struct {
		wire string
		want mux.Counter
	}{
		{header(1, jsRequest), mux.SequenceBroken},
		{data(0, "x"), mux.SequenceBroken},
		{eof(3), mux.SequenceBroken},
		{header(0, "[]"), mux.HeaderMalformed},
		{header(0, jsRequest) + pack(packet.KindEOF, 0, "x"), mux.PacketMalformed},
		{"HEADER  0 0\r\n", mux.PacketMalformed},
		{"DATA 0 131073\r\n", mux.PacketTooBig},
		{"HEADER 0 65537\r\n", mux.HeaderTooBig},
	} {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{})
			w.send(tt.wire)
			ended := fatal(e)
			if got := counters(e.stats); !ended || len(got) != 1 || e.stats.Count(tt.want) != 1 {
				t.Errorf("%q: %v, counters %v; want fatal and %s", tt.wire, e.Err(), got, tt.want)
			}
		})
	}
}
