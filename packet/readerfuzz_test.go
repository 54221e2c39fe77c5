package packet_test

import (
	"bytes"
	"io"
	"math/big"
	"runtime"
	"testing"

	"github.com/scampbus/scamp-go/packet"
)

// FuzzPacketReader reads any octets in reads of any sizes. The outcome is that
// of a slow reader which has all octets at once, memory stays near what
// arrived, and the packets written again are the octets they came from.
func FuzzPacketReader(f *testing.F) {
	for _, s := range streams() {
		if wire := s.wire(); len(wire) < 10000 {
			f.Add(wire, []byte{1})
			f.Add(wire, []byte{3, 0, 200})
		}
	}
	for _, tt := range malformedLines {
		f.Add([]byte(tt.line+"END\r\n"), []byte{7})
	}
	for _, tt := range workedExamples {
		f.Add([]byte(tt.wire), []byte{255})
	}
	f.Fuzz(func(t *testing.T, wire, sizes []byte) {
		want, wantVerdict := slowRead(wire)
		packets, err := readAll(packet.NewReader(chunks(wire, sizes), packet.Limits{}))
		if verdict(err) != wantVerdict || outcome(packets, nil) != outcome(want, nil) {
			t.Fatalf("reading %q in pieces of %d:\ngot  %swant %s%s", wire, sizes, outcome(packets, err), outcome(want, nil), wantVerdict)
		}
		var again []byte
		for _, p := range packets {
			again = p.AppendTo(again)
		}
		if !bytes.HasPrefix(wire, again) || err == io.EOF && len(again) != len(wire) {
			t.Fatalf("packets of %q written again: %q", wire, again)
		}
		if used := allocated(func() { drain(packet.NewReader(chunks(wire, sizes), packet.Limits{})) }); used > uint64(len(wire))+256<<10 {
			t.Fatalf("reading %d octets allocated %d, want at most 256 KiB more", len(wire), used)
		}
	})
}

// chunks returns a reader that hands out wire in reads of the given sizes, by
// turns.
func chunks(wire, sizes []byte) io.Reader {
	i := 0
	return readerFunc(func(p []byte) (int, error) {
		if len(wire) == 0 {
			return 0, io.EOF
		}
		n := len(wire)
		if len(sizes) > 0 {
			n = int(sizes[i%len(sizes)]) + 1
			i++
		}
		n = copy(p, wire[:min(n, len(wire))])
		wire = wire[n:]
		return n, nil
	})
}

func drain(r *packet.Reader) {
	for {
		if _, err := r.Next(); err != nil {
			return
		}
	}
}

// allocated returns how many octets f took from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// slowRead is PROTOCOL 2.3 word for word, for a stream that is there as a whole.
func slowRead(wire []byte) (all []packet.Packet, verdict string) {
	for len(wire) > 0 {
		feed := bytes.IndexByte(wire[:min(len(wire), 80)], '\n')
		if feed < 0 && len(wire) >= 80 {
			return all, "fatal"
		}
		if feed < 0 {
			return all, "incomplete"
		}
		m := lineGrammar.FindSubmatch(wire[:feed+1])
		if m == nil {
			return all, "fatal"
		}
		msgno, _ := new(big.Int).SetString(string(m[2]), 10)
		length, _ := new(big.Int).SetString(string(m[3]), 10)
		limit := int64(131072)
		if string(m[1]) == "HEADER" {
			limit = 65536
		}
		if !msgno.IsInt64() || length.Cmp(big.NewInt(limit)) > 0 {
			return all, "fatal"
		}
		body := wire[feed+1:]
		n := int(length.Int64())
		if len(body) < n+5 {
			return all, "incomplete"
		}
		if string(body[n:n+5]) != "END\r\n" {
			return all, "fatal"
		}
		p := packet.Packet{MsgNo: msgno.Uint64(), Body: body[:n]}
		for _, k := range kinds {
			if k.String() == string(m[1]) {
				p.Kind = k
			}
		}
		all = append(all, p)
		wire = body[n+5:]
	}
	return all, "ok"
}
