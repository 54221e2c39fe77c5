package packet_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/scampbus/scamp-go/packet"
)

const (
	plainRequest = `{"action":"Sample.Item.list","envelope":"json","ext":{"v":1,"ms":2500},"request_id":71,"sector":"main","type":"request","version":2}`
	plainReply   = `{"request_id":71,"type":"reply"}`
	errorReply   = `{"error":"","error_code":"authz","request_id":71,"type":"reply"}`
	goRequest    = `{"action":"Lab.echo","envelope":"json","request_id":1,"client_id":0,"ticket":"","identifying_token":"","type":"request","version":1}` + "\n"
	perlRequest  = `{"version":1,"action":"Lab.echo","ticket":null,"request_id":1,"type":"request","envelope":"json"}`
)

// echo is one small request as it arrives, in three packets.
var echo = slices.Concat(
	packet.Packet{Kind: packet.KindHeader, Body: []byte(plainRequest)}.AppendTo(nil),
	packet.Packet{Kind: packet.KindData, Body: make([]byte, 64)}.AppendTo(nil),
	packet.Packet{Kind: packet.KindEOF}.AppendTo(nil),
)

// A loop hands out the same octets for ever, at most size in a read.
type loop struct {
	wire []byte
	size int
	pos  int
}

func (l *loop) Read(p []byte) (int, error) {
	if l.pos == len(l.wire) {
		l.pos = 0
	}
	n := copy(p[:min(len(p), l.size)], l.wire[l.pos:])
	l.pos += n
	return n, nil
}

// What does it cost to take a small request of three packets off the wire, one
// by one and when many arrive at once?
func BenchmarkReaderSmallRequests(b *testing.B) {
	for _, bb := range []struct {
		name string
		wire []byte
	}{{"one a read", echo}, {"many a read", bytes.Repeat(echo, 60)}} {
		b.Run(bb.name, func(b *testing.B) {
			r := packet.NewReader(&loop{wire: bb.wire, size: 16384}, packet.Limits{})
			b.SetBytes(int64(len(echo)))
			b.ReportAllocs()
			for b.Loop() {
				for range 3 {
					if _, err := r.Next(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// How fast does a long body pass, in chunks as we send them and in the largest
// packets?
func BenchmarkReaderLongBody(b *testing.B) {
	for _, bb := range []struct {
		name string
		size int
	}{{"16384", 16384}, {"32768", 32768}, {"131072", 131072}} {
		b.Run(bb.name, func(b *testing.B) {
			wire := packet.Packet{Kind: packet.KindData, Body: make([]byte, bb.size)}.AppendTo(nil)
			r := packet.NewReader(&loop{wire: bytes.Repeat(wire, 8), size: 16384}, packet.Limits{})
			b.SetBytes(int64(bb.size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What does a header cost that looks like the one before?
func BenchmarkParse(b *testing.B) {
	for _, bb := range []struct{ name, text string }{
		{"request", plainRequest}, {"request of Go", goRequest}, {"request of Perl", perlRequest}, {"reply", plainReply},
	} {
		b.Run(bb.name, func(b *testing.B) {
			body := []byte(bb.text)
			r := packet.NewHeaderReader(packet.Limits{})
			var h packet.Header
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Parse(body, &h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What does writing a request or a reply cost, line and trailer included?
func BenchmarkAppend(b *testing.B) {
	for _, bb := range []struct {
		name string
		h    packet.Header
	}{
		{"request", packet.Header{Type: packet.TypeRequest, ID: packet.NumberID(71), Action: "Sample.Item.list", Version: 2, Envelope: "json", Sector: "main", Ext: packet.Ext{V: 1, MS: 2500}}},
		{"reply", packet.Header{Type: packet.TypeReply, ID: packet.NumberID(71)}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			out, body := make([]byte, 0, 1024), make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				body = bb.h.AppendTo(body[:0])
				out = packet.Packet{Kind: packet.KindHeader, MsgNo: 70, Body: body}.AppendTo(out[:0])
			}
		})
	}
}
