//go:build !race

package packet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/packet"
)

// The race detector makes pools forget and memory larger, so what allocations
// cost is measured without it.

func TestReaderAllocatesNothingPerPacket(t *testing.T) {
	for _, tt := range []struct {
		name string
		wire []byte
		size int
	}{
		{"small requests one by one", echo, len(echo)},
		{"many small requests at once", bytes.Repeat(echo, 60), 16384},
		{"chunks of 16384 octets in TLS records", packet.Packet{Kind: packet.KindData, Body: make([]byte, 16384)}.AppendTo(nil), 16384},
		{"the largest packets", packet.Packet{Kind: packet.KindData, Body: make([]byte, 131072)}.AppendTo(nil), 16384},
		{"octet by octet", echo, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := packet.NewReader(&loop{wire: tt.wire, size: tt.size}, packet.Limits{})
			next := func() {
				if _, err := r.Next(); err != nil {
					t.Fatal(err)
				}
			}
			if n := testing.AllocsPerRun(2000, next); n != 0 {
				t.Errorf("%v allocations a packet, want 0", n)
			}
		})
	}
}

func TestParseAllocatesNothingForHeadersSeenBefore(t *testing.T) {
	for _, text := range []string{plainRequest, plainReply, errorReply, goRequest, perlRequest} {
		body := []byte(text)
		r := packet.NewHeaderReader(packet.Limits{})
		var h packet.Header
		if n := testing.AllocsPerRun(1000, func() {
			if err := r.Parse(body, &h); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("Parse of %s: %v allocations, want 0", text, n)
		}
	}
}

func TestHeaderAppendToAllocatesNothing(t *testing.T) {
	b := make([]byte, 0, 1024)
	for _, h := range []packet.Header{
		parse(t, plainRequest), parse(t, plainReply), parse(t, goRequest),
		{Type: packet.TypeReply, ID: packet.NumberID(5), ErrorCode: "transport", Error: "shutting\ndown", ErrorData: json.RawMessage(`{"dispatch_failure":true}`)},
	} {
		if n := testing.AllocsPerRun(1000, func() { b = h.AppendTo(b[:0]) }); n != 0 {
			t.Errorf("AppendTo of %s: %v allocations, want 0", b, n)
		}
	}
	p := packet.Packet{Kind: packet.KindData, MsgNo: 1234567, Body: make([]byte, 64)}
	if n := testing.AllocsPerRun(1000, func() { b = packet.AppendAck(p.AppendTo(b[:0]), 12, 65536) }); n != 0 {
		t.Errorf("AppendTo of a packet and an ACK: %v allocations, want 0", n)
	}
}

// TestIdleReadersAreSmall has 1,000 connections that sent much, then announce
// the largest packet, begin it and say no more (P2 of the threat model).
func TestIdleReadersAreSmall(t *testing.T) {
	const connections = 1000
	largest := packet.Packet{Kind: packet.KindData, Body: make([]byte, 131072)}.AppendTo(nil)
	silent, leave := make(chan bool), make(chan struct{})
	silence := readerFunc(func([]byte) (int, error) {
		silent <- true
		<-leave
		return 0, io.EOF
	})
	before := heap()
	var readers sync.WaitGroup
	for range connections {
		in := io.MultiReader(bytes.NewReader(largest), strings.NewReader("DATA 0 131072\r\n0123456789"), silence)
		readers.Go(func() { drain(packet.NewReader(in, packet.Limits{})) }) // ends when leave is closed
	}
	for range connections {
		<-silent
	}
	after := heap()
	close(leave)
	readers.Wait()
	if each := (int64(after) - int64(before)) / connections; each > 2048 {
		t.Errorf("a connection that waits holds %d octets, want at most 2048", each)
	}
}

// heap returns the octets in use after a collection that empties the pools too.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestHeaderReaderRemembersLittle sends names that never come twice, as long as
// are kept, and long strings with escapes. There are many readers, so that what
// else the process holds does not count.
func TestHeaderReaderRemembersLittle(t *testing.T) {
	const connections, headers = 100, 100
	long := `{"ticket":"` + strings.Repeat(`\n`, 10000) + `"}`
	before := heap()
	var readers []*packet.HeaderReader
	for range connections {
		r := packet.NewHeaderReader(packet.Limits{})
		for i := range headers {
			name := fmt.Sprintf("%0100d", i)
			text := `{"action":"` + name + `","sector":"\n` + name + `","envelope":"` + name + name + `","x":"` + name + `"}`
			if i == headers/2 {
				text = long
			}
			var h packet.Header
			if err := r.Parse([]byte(text), &h); err != nil {
				t.Fatal(err)
			}
		}
		readers = append(readers, r)
	}
	if each := (int64(heap()) - int64(before)) / connections; each > 6<<10 {
		t.Errorf("after %d headers a connection holds %d octets, want at most 6 KiB", headers, each)
	}
	runtime.KeepAlive(readers)
}
