//go:build resource && linux

package scamp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
)

// What one connection may make a service hold (THREATS 5.3).
const (
	boundConn      = 78_159_957
	boundCollected = 145_268_821
)

// TestResourceHostilePackets has the attacks with packets of THREATS 2.3 whose pass line
// is memory, processor time or the latency of another caller. With SCAMP_TEST_LONG set
// they are as long as the table says.
func TestResourceHostilePackets(t *testing.T) {
	// One of them at a time, or it is chance which comes first.
	var sendStalls, writeStalls setup
	sendStalls.Limits.Mux.SendStall = 2 * time.Second
	writeStalls.Limits.Mux.WriteStall = 2 * time.Second
	// A connection that is just ending and the next one may both have a full queue.
	var queues setup
	queues.Limits.MaxQueue = 16384
	for _, a := range []attack{
		{name: "P2_announced_bodies", memory: 64 << 20, fair: true, hold: 3 * time.Second, tolerated: "handshake_evicted"},
		{name: "P6_headers", setup: queues, beside: "honest newcomers", memory: boundConn, fair: true, counters: []string{"open_messages_exceeded", "handlers_queued"}, tolerated: "queue_full handshake_failed", // its end may meet it as it comes anew
			sample: handlersBelow(1024)},
		{name: "P7_rapid_reset", memory: boundConn, fair: true, tolerated: "handlers_queued queue_full", sample: handlersBelow(256)},
		{name: "P7_rapid_cancel", memory: boundConn, fair: true, counters: []string{"handlers_queued"}, tolerated: "queue_full", sample: handlersBelow(256)},
		{name: "P8_good_request_then_garbage", setup: queues, beside: "honest newcomers", memory: boundConn, fair: true, counters: []string{"sequence_broken", "handlers_queued"}, tolerated: "queue_full handshake_evicted handshake_failed",
			sample: handlersBelow(1024)},
		{name: "P10_ack_flood", memory: 16 << 20, fair: true, counters: []string{"ack_flood"}, tolerated: "window_waits"},
		{name: "P11_never_ack", setup: sendStalls, memory: 16 << 20, fair: true, hold: 3 * time.Second, counters: []string{"send_stalled"}, tolerated: "window_waits"},
		{name: "P12_reads_nothing", setup: writeStalls, memory: 16 << 20, fair: true, hold: 4 * time.Second, counters: []string{"write_stalled"}, tolerated: "write_blocked window_waits"},
		{name: "P13_tiny_data", memory: 16 << 20, fair: true, after: func(t *testing.T, m *measured) {
			if each := m.cpu * 1_000_000 / time.Duration(m.sent*tinyOctets); each >= 3*time.Second {
				t.Errorf("1 MB of 1-octet DATA took %v of processor time, want less than 3s", each)
			}
		}},
		{name: "P15_pings", memory: 8 << 20, fair: true, tolerated: "ping_flood"},
		{name: "P18_odd_messages", memory: 16 << 20, fair: true, counters: []string{"message_ignored", "subscribe_refused"}},
		{name: "P20_sleeping_handlers", memory: boundConn, hold: 2 * time.Second, counters: []string{"handlers_queued", "queue_full"},
			sample: func(t *testing.T, s state) {
				handlersBelow(1024)(t, s)
				const conns = 128 + 1
				if most := 2*conns + 1024 + 50; s.Goroutines > most {
					t.Errorf("%d goroutines, want at most %d", s.Goroutines, most)
				}
			}},
		{name: "P21_bodies_never_read", memory: boundConn, fair: true, hold: 2 * time.Second, counters: []string{"buffered_refused"}},
		{name: "P21_window_ignored", memory: boundConn, fair: true, hold: 2 * time.Second, counters: []string{"window_violated"}},
		{name: "P21_windows_used", memory: boundConn, fair: true, hold: 2 * time.Second},
		{name: "P22_full_windows_both_ways", tolerated: "window_waits"},
	} {
		t.Run(a.name, a.run)
	}
}

// handlersBelow wants no more handlers than that at every sample.
func handlersBelow(most int32) func(*testing.T, state) {
	return func(t *testing.T, s state) {
		if s.Most > most {
			t.Errorf("%d handlers ran at once, want at most %d", s.Most, most)
		}
	}
}

// attackers are what the other process can do.
var attackers = map[string]func(a *attacker){
	"honest":                       beHonest,
	"honest newcomers":             beNewcomers,
	"P2_announced_bodies":          announcedBodies,
	"P6_headers":                   headersOnly,
	"P7_rapid_reset":               rapidResets,
	"P7_rapid_cancel":              rapidCancels,
	"P8_good_request_then_garbage": requestThenGarbage,
	"P10_ack_flood":                ackFlood,
	"P11_never_ack":                neverAck,
	"P12_reads_nothing":            readsNothing,
	"P13_tiny_data":                tinyData,
	"P15_pings":                    pings,
	"P18_odd_messages":             oddMessages,
	"P20_sleeping_handlers":        sleepingHandlers,
	"P21_bodies_never_read":        bodiesNeverRead,
	"P21_window_ignored":           windowIgnored,
	"P21_windows_used":             windowsUsed,
	"P22_full_windows_both_ways":   fullWindows,

	"L5_slow_handshakes":   slowHandshakes,
	"L6_idle_connections":  idleConnections,
	"L8_one_octet_records": oneOctetRecords,
	"L8_cost_of_records":   oneOctetRecords,
	"L9_handshakes":        handshakes,

	"T5_bad_tickets": badTickets,
	"T5_many_users":  manyUsers,
}

// beHonest is four connections of ours, one of them with as many callers as may have
// handlers, until it is told to end.
func beHonest(a *attacker) {
	var all sync.WaitGroup
	for _, callers := range []int{256, 16, 16, 16} {
		c, err := scamp.Dial(context.Background(), a.addr, scamp.Identity{Anyone: true}, nil)
		if err != nil {
			a.t.Fatal(err)
		}
		defer c.Close()
		for range callers {
			all.Go(func() { // ends with the test
				for !a.ended() && !a.t.Failed() {
					call(a.t, c, "Victim.echo", []byte("honest"))
				}
			})
		}
	}
	a.going()
	all.Wait()
}

// beNewcomers is twelve callers that connect, ask for much and leave, over and over.
func beNewcomers(a *attacker) {
	a.going()
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() { // ends with the test
			for !a.ended() {
				b := a.deaf()
				if b == nil {
					continue // evicted: this machine was too busy to say hello in time
				}
				for range 256 {
					b.request("Victim.work", "")
				}
				b.Flush()
				r := packet.NewReader(b.c, packet.Limits{})
				for replies := 0; replies < 256; {
					p, err := r.Next()
					if err != nil {
						break // the same, or the test is over
					}
					if p.Kind == packet.KindEOF {
						replies++
					}
				}
				b.c.Close()
			}
		})
	}
	all.Wait()
}

// headersOnly: a million HEADERs, nothing else.
func headersOnly(a *attacker) {
	a.going()
	for a.again(a.size(100_000, 1_000_000)) {
		b := a.dial()
		for b != nil {
			b.header("Victim.work")
			a.sent++
			if b.no%500 == 0 && b.Flush() != nil {
				break
			}
		}
		if b != nil {
			b.Flush()
			b.c.Close()
		}
	}
}

func rapidResets(a *attacker) {
	b := a.dial()
	a.going()
	for a.again(a.size(50_000, 1_000_000)) {
		if b.packet("TXERR", b.header("Victim.work"), []byte("no")) != nil {
			a.t.Error("the connection of an attacker is closed that must be borne with")
			return
		}
	}
	b.Flush()
}

func rapidCancels(a *attacker) {
	b := a.dial()
	a.going()
	for a.again(a.size(50_000, 1_000_000)) {
		id := b.no + 1
		b.request("Victim.work", "")
		b.raw(fmt.Sprintf(`{"request_id":%d,"type":"cancel"}`, id))
		if b.packet("EOF", b.no-1, nil) != nil {
			a.t.Error("the connection of an attacker is closed that must be borne with")
			return
		}
	}
	b.Flush()
}

// requestThenGarbage has the service end the connection with handlers running, over and
// over.
func requestThenGarbage(a *attacker) {
	a.going()
	for a.again(a.size(10, 100)) {
		many(32, func(int) {
			b := a.dial()
			if b == nil {
				return
			}
			for range 300 {
				b.request("Victim.work", "")
			}
			b.packet("DATA", 100_000, []byte("x"))
			b.Flush()
			io.Copy(io.Discard, b.c)
			b.c.Close()
		})
	}
}

// ackFlood acknowledges 65,536 octets one by one, until the connection is closed.
func ackFlood(a *attacker) {
	a.going()
	for a.again(a.size(50, 1000)) {
		b := a.deaf()
		if b == nil {
			continue
		}
		b.request("Victim.big", "1000000")
		b.Flush()
		io.CopyN(io.Discard, b.c, 65536)
		a.work.Go(func() { io.Copy(io.Discard, b.c) }) // ends with the connection
		for i := range 65536 {
			if b.packet("ACK", 0, ackOf(i+1)) != nil {
				break
			}
		}
		b.Flush()
		b.c.Close()
	}
}

// neverAck asks for 64 replies of 1 MiB and acknowledges none, and goes on making calls
// on the same connection.
func neverAck(a *attacker) {
	b := a.deaf()
	for range 64 {
		b.request("Victim.big", "1048576")
	}
	b.Flush()
	heads := make(chan packet.Header, 1000)
	a.hear(b, nil, heads)
	for range 64 {
		<-heads
	}
	a.going()
	for !a.ended() {
		for range 64 {
			b.request("Victim.echo", "live")
		}
		b.Flush()
		for range 64 {
			select {
			case <-heads:
			case <-a.over:
				return
			case <-time.After(10 * time.Second):
				a.t.Error("a live request beside 64 stalled replies has no reply in 10 s")
				return
			}
		}
		time.Sleep(10 * time.Millisecond) // not faster than the honest callers
	}
}

// readsNothing asks for 100 replies of 1 MiB, acknowledges what has come of them and
// reads nothing more.
func readsNothing(a *attacker) {
	b := a.deaf()
	// What the kernel would take for us can be more than all there is to send.
	if err := b.c.NetConn().(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		a.t.Error(err)
		return
	}
	for range 100 {
		b.request("Victim.big", "1048576")
	}
	b.Flush()
	r := packet.NewReader(b.c, packet.Limits{})
	for got := 0; got < 100*65536; {
		p, err := r.Next()
		if err != nil {
			a.t.Error(err)
			return
		}
		if p.Kind == packet.KindData {
			got += len(p.Body)
		}
	}
	for no := range 100 {
		b.packet("ACK", no, ackOf(65536))
	}
	b.Flush()
	a.going()
	for !a.ended() && b.packet("PING", 0, nil) == nil && b.Flush() == nil {
		time.Sleep(200 * time.Millisecond)
	}
}

// tinyData sends a million octets of DATA, one by one, in messages that each stay just
// below what is a flood.
const tinyOctets = 9999 // in a message: 10,000 are judged

func tinyData(a *attacker) {
	b := a.dial()
	a.going()
	for a.again(100) {
		no := b.header("Victim.drop")
		for range tinyOctets {
			b.packet("DATA", no, []byte("x"))
		}
		if b.packet("EOF", no, nil) != nil {
			a.t.Error("the connection of an attacker is closed that must be borne with")
			return
		}
	}
	b.request("Victim.echo", "x")
	b.Flush()
}

func pings(a *attacker) {
	b := a.dial()
	b.request("Victim.echo", "x")
	a.going()
	for a.again(1_000_000) {
		b.packet("PING", 7, nil)
	}
	b.Flush()
}

// oddMessages sends each message that makes no sense 100,000 times.
func oddMessages(a *attacker) {
	b := a.dial()
	a.going()
	huge := `{"type":"notify","ext":{"v":1,"win":` + strings.Repeat("9", 300) + `,"cancel":"x","ms":-1}}`
	headers := []string{
		`{"type":"notify"}`, `{"type":"event"}`, `{"type":"banana"}`, `{"type":"subscribe","request_id":1}`,
		`{"type":"cancel","request_id":5}`, `{"type":"cancel","request_id":"never issued"}`, huge,
	}
	for a.again(a.size(10_000, 100_000)) {
		for _, header := range headers {
			b.raw(header)
			b.packet("EOF", b.no-1, nil)
		}
	}
	if b.Flush() != nil {
		a.t.Error("the connection of an attacker is closed that must be borne with")
	}
}

func sleepingHandlers(a *attacker) {
	many(128, func(int) {
		b := a.dial()
		if b == nil {
			return
		}
		for range 128 {
			b.request("Victim.wait", "")
		}
		b.Flush()
	})
	a.going()
}
