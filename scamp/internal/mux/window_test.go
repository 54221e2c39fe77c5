package mux_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// inFlight returns how many octets of DATA each message has among the packets.
func inFlight(all []packet.Packet) map[uint64]int {
	n := map[uint64]int{}
	for _, p := range all {
		if p.Kind == packet.KindData {
			n[p.MsgNo] += len(p.Body)
		}
	}
	return n
}

func extHeader(win int) string {
	return fmt.Sprintf(`{"ext":{"v":1,"win":%d},"request_id":1,"type":"reply"}`, win)
}

// TestWindowInForce: what may be unacknowledged, with and without ext (PROTOCOL
// 3.7, 4.3).
func TestWindowInForce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits mux.Limits
		peer   string // its first header; none if empty
		want   int
	}{
		{"nothing heard", mux.Limits{}, "", 65536},
		{"no ext", mux.Limits{}, jsReply, 65536},
		{"win", mux.Limits{}, extHeader(200_000), 200_000},
		{"win of 65536", mux.Limits{}, extHeader(65536), 65536},
		{"win too small", mux.Limits{}, extHeader(1000), 65536},
		{"win larger than ours", mux.Limits{}, extHeader(1 << 40), 1 << 20},
		{"our own maximum", mux.Limits{MaxWindow: 100_000}, extHeader(1 << 20), 100_000},
		{"our own maximum below the least", mux.Limits{MaxWindow: 1000}, extHeader(1 << 20), 65536},
		{"max_inflight", mux.Limits{MaxInflight: 5000}, jsReply, 5000},
		{"max_inflight and win", mux.Limits{MaxInflight: 5000}, extHeader(70_000), 70_000},
		{"chunks larger than the window", mux.Limits{ChunkSize: 131072}, jsReply, 65536},
		{"chunks larger than max_inflight", mux.Limits{MaxInflight: 10}, jsReply, 10},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/late %v", tt.name, late), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					e, w := talk(t, mux.Options{Limits: tt.limits})
					if !late && tt.peer != "" {
						w.send(header(0, tt.peer))
						synctest.Wait()
					}
					if _, err := e.Send(request(), mux.Body{Data: octets(2 << 20)}, nil); err != nil {
						t.Fatal(err)
					}
					all := w.packets()
					if late && tt.peer != "" { // it takes effect on what is under way
						w.send(header(0, tt.peer))
						all = append(all, w.packets()...)
					}
					if got := inFlight(all)[0]; got != tt.want {
						t.Errorf("%d octets in flight, want %d", got, tt.want)
					}
					if e.stats.Count(mux.WindowWaits) == 0 {
						t.Error("window_waits did not move")
					}
				})
			})
		}
	}
}

// TestWindowOnceHeardHolds: what a peer has announced cannot be taken back, and
// only its first word counts.
func TestWindowOnceHeardHolds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		w.send(header(0, extHeader(200_000)) + header(1, extHeader(65536)) + header(2, extHeader(1<<20)) + header(3, jsReply))
		synctest.Wait()
		if _, err := e.Send(request(), mux.Body{Data: octets(2 << 20)}, nil); err != nil {
			t.Fatal(err)
		}
		if got := inFlight(w.packets())[0]; got != 200_000 {
			t.Errorf("%d octets in flight, want 200000", got)
		}
		if !e.PeerExt() || e.PeerCancels() {
			t.Errorf("ext %v, cancel %v; want ext only", e.PeerExt(), e.PeerCancels())
		}
	})
}

// TestCreditIsABudgetOfTheConnection: all messages together have win octets beyond
// 65536 each, whatever way a message gives them back (PROTOCOL 3.7).
func TestCreditIsABudgetOfTheConnection(t *testing.T) {
	const win = 200_000
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		w.send(header(0, extHeader(win)))
		synctest.Wait()
		var out []*mux.Outbound
		for range 5 {
			o, err := e.Send(request(), mux.Body{Data: octets(1 << 20)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, o)
		}
		flight := map[uint64]int{}
		over := func() (n int) {
			for no, k := range inFlight(w.packets()) {
				flight[no] += k
			}
			for _, k := range flight {
				n += max(k-65536, 0)
			}
			return n
		}
		if got := over(); got != win {
			t.Fatalf("%v in flight: %d beyond 65536 each, want %d", flight, got, win)
		}
		for _, k := range flight {
			if k < 65536 || k > win {
				t.Fatalf("%v in flight: want each from 65536 to %d", flight, win)
			}
		}
		// An ACK gives back what it names.
		w.send(ack(1, 50_000))
		flight[1] -= 50_000
		if got := over(); got != win {
			t.Errorf("after an ACK %v in flight: %d beyond 65536 each, want %d", flight, got, win)
		}
		// An aborted message does so too, once its octets are acknowledged: at the peer
		// they fill the budget until they are read.
		before := flight[2]
		out[2].Abort("enough")
		if got := over(); got != win {
			t.Errorf("after an abort %v in flight: %d, want %d", flight, got, win)
		}
		w.send(ack(2, before))
		delete(flight, 2)
		if got := over(); got != win {
			t.Errorf("after the ACK of an aborted message %v in flight: %d, want %d", flight, got, win)
		}
		// And all of it, when all is acknowledged.
		for no := range uint64(5) {
			if k := flight[no]; k > 0 {
				out[no].Abort("enough")
			}
		}
		over()
		for no, k := range flight {
			w.send(ack(no, 5_000_000)) // makes no sense, and the message has ended: ignored
			if no != 1 {
				w.send(ack(no, k))
			} else {
				w.send(ack(no, k+50_000))
			}
		}
		synctest.Wait()
		w.send(eof(0))
		synctest.Wait()
		if left := mux.Pending(e.Conn); left != "" {
			t.Errorf("left at the end: %s", left)
		}
		if fatal(e) {
			t.Error(e.Err())
		}
	})
}

// TestEndedMessagesKeepTheBudget: messages longer than 65536 octets that end in
// quick succession do not flood a peer that enforces its budget.
func TestEndedMessagesKeepTheBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		w.send(header(0, extHeader(300_000)))
		synctest.Wait()
		for range 4 {
			if _, err := e.Send(request(), mux.Body{Data: octets(250_000)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		over := 0
		for _, k := range inFlight(w.packets()) {
			over += max(k-65536, 0)
		}
		if over != 300_000 {
			t.Errorf("%d octets beyond 65536 each, want the budget of 300000", over)
		}
	})
}

// TestPeersThatNeverAcknowledgeTheEnd: the budget of ended messages is not kept for
// more messages than may be open.
func TestPeersThatNeverAcknowledgeTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{Limits: mux.Limits{MaxOpenMessages: 4}})
		w.send(header(0, extHeader(1<<20)))
		synctest.Wait()
		for i := range 20 {
			o, err := e.Send(request(), mux.Body{Data: octets(65537 + i)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if ended, err := o.Ended(); !ended || err != nil {
				t.Fatalf("message %d: ended %v, %v; want its EOF sent", i, ended, err)
			}
		}
		w.send(eof(0))
		synctest.Wait()
		if got, want := mux.Pending(e.Conn), "0 heads, 0 ready, 0 wide, 0 out, 4 tails, credit 10, 0 open in, 0 unread, 0 excess"; got != want {
			t.Errorf("kept %s, want %s", got, want)
		}
	})
}

// TestOurOwnSenderKeepsOurOwnLimits: two ends of ours never violate each other,
// though a slow handler leaves everything unread that may be.
func TestOurOwnSenderKeepsOurOwnLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		c, server := connect(t, auditedPipe, mux.Options{Limits: mux.Limits{MaxWindow: 300_000}}, func(m *mux.Inbound) {
			<-release
			echo(m)
		})
		if _, err := c.open(mux.Body{}); err != nil { // so that both know ext
			t.Fatal(err)
		}
		results := make(chan error, 50)
		for i := range cap(results) {
			go func() { // ends with its call
				want := octets(100_000 + 10_000*i)
				got, err := c.echo(want)
				if err == nil {
					err = diff(got, want)
				}
				results <- err
			}()
		}
		time.Sleep(time.Second)
		close(release)
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		for _, e := range []*end{c.end, server} {
			if n := e.stats.Count(mux.WindowViolated); n != 0 {
				t.Errorf("window_violated %d, want 0", n)
			}
		}
	})
}

// TestRoundRobin: streams that are ready send one chunk each in turn, and HEADERs
// overtake all of it (invariant 7).
func TestRoundRobin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := mute(t, mux.Options{})
		for i := range 4 { // the first fills the link
			if _, err := e.Send(request(), mux.Body{Data: octets(65536)[i:]}, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		w.listen()
		w.wants("four streams",
			"HEADER 0", "DATA 0 16384", "DATA 0 16384", "DATA 0 16384", "DATA 0 16384", "EOF 0",
			"HEADER 1", "HEADER 2", "HEADER 3",
			"DATA 1 16384", "DATA 2 16384", "DATA 3 16384",
			"DATA 1 16384", "DATA 2 16384", "DATA 3 16384",
			"DATA 1 16384", "DATA 2 16384", "DATA 3 16384",
			"DATA 1 16383", "EOF 1", "DATA 2 16382", "EOF 2", "DATA 3 16381", "EOF 3")
	})
}

// TestStreamsAreNotStarved: a flood of small messages leaves each batch room for a
// chunk of a stream.
func TestStreamsAreNotStarved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := mute(t, mux.Options{Limits: mux.Limits{MaxWriteQueue: 70_000}})
		if _, err := e.Send(request(), mux.Body{Data: octets(65536)}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Send(request(), mux.Body{Data: octets(65536)}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 1000 {
			if _, err := e.Send(request(), mux.Body{Data: octets(1000)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.listen()
		small, largest := 0, 0 // small messages between two chunks of the stream
		for _, p := range w.take() {
			switch p {
			case "DATA 1 16384":
				largest = max(largest, small)
				small = 0
			default:
				if p[:3] == "EOF" {
					small++
				}
			}
		}
		if small = max(small, largest); small > 900 {
			t.Errorf("%d small messages in a row while a stream was ready, want some hundred at most", small)
		}
	})
}

// TestFlightFollowsThePath: of a large window no more is used than the path can hold
// in the time that an ACK takes; before one has come it is used whole.
func TestFlightFollowsThePath(t *testing.T) {
	for _, tt := range []struct {
		rtt  time.Duration
		want int
	}{
		{0, 262_144},
		{100 * time.Microsecond, 262_144},
		{300 * time.Microsecond, 375_000},
		{time.Millisecond, 1 << 20},
		{80 * time.Millisecond, 1 << 20},
	} {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{})
			w.send(header(0, extHeader(1<<20)))
			synctest.Wait()
			// What has ended before its ACK measures nothing.
			send(t, e, request(), mux.Body{Data: octets(100)})
			o := send(t, e, request(), mux.Body{More: true})
			go o.Write(t.Context(), octets(8<<20)) // ends with the message
			if got := inFlight(w.packets())[1]; got != 1<<20 {
				t.Fatalf("before the first ACK %d octets in flight, want 1 MiB", got)
			}
			time.Sleep(tt.rtt)
			sent := 1 << 20
			for acked := 0; acked < 4<<20; acked += 32768 {
				w.send(ack(1, acked+32768))
				sent += inFlight(w.packets())[1]
				time.Sleep(time.Second) // ACKs that take longer change nothing
			}
			if got := sent - 4<<20; got != tt.want {
				t.Errorf("with ACKs after %v %d octets in flight, want %d", tt.rtt, got, tt.want)
			}
			o.Abort("enough")
		})
	}
}
