package packet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/scampbus/scamp-go/packet"
)

// A source hands out what the test put in and notes how much room each read
// was given, which shows how much memory the Reader holds.
type source struct {
	parts [][]byte
	end   error
	room  []int
}

func (s *source) Read(p []byte) (int, error) {
	s.room = append(s.room, len(p))
	if len(s.parts) == 0 {
		return 0, s.end
	}
	n := copy(p, s.parts[0])
	if s.parts[0] = s.parts[0][n:]; len(s.parts[0]) == 0 {
		s.parts = s.parts[1:]
	}
	return n, nil
}

func TestReaderEndsWhereTheStreamEnds(t *testing.T) {
	for _, tt := range []struct{ name, wire, want string }{
		{"nothing at all", "", "EOF"},
		{"between packets", "PING 0 0\r\nEND\r\n", "EOF"},
		{"in a line", "PING 0 0\r\nEND\r\nDATA 4", "packet: stream ends after 6 octets of a header line: unexpected EOF"},
		{"before a body", "DATA 4 10\r\n", "packet: stream ends after 11 of 26 octets of DATA 4: unexpected EOF"},
		{"in a body", "DATA 4 10\r\nabc", "packet: stream ends after 14 of 26 octets of DATA 4: unexpected EOF"},
		{"in a trailer", "DATA 4 1\r\nxEND\r", "packet: stream ends after 15 of 16 octets of DATA 4: unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{
				strings.NewReader(tt.wire), iotest.OneByteReader(strings.NewReader(tt.wire)), iotest.DataErrReader(strings.NewReader(tt.wire)),
			} {
				_, err := readAll(packet.NewReader(r, packet.Limits{}))
				if err.Error() != tt.want || (tt.want == "EOF") != (err == io.EOF) || (tt.want == "EOF") == errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("reading %q: %v, want %s", tt.wire, err, tt.want)
				}
			}
		})
	}
}

func TestReaderReturnsTheErrorOfTheStream(t *testing.T) {
	broken := errors.New("the cable is out")
	for _, wire := range []string{"", "PI", "DATA 4 10\r\nabc", "PING 0 0\r\nEND\r\n"} {
		r := packet.NewReader(io.MultiReader(strings.NewReader(wire), iotest.ErrReader(broken)), packet.Limits{})
		got, err := readAll(r)
		if err != broken || len(got) != strings.Count(wire, "END") {
			t.Errorf("reading %q and an error: %s; want the packets, then %v", wire, outcome(got, err), broken)
		}
		if _, again := r.Next(); again != err {
			t.Errorf("Next after %v: %v, want the same (invariant 4)", err, again)
		}
	}
	idle := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := packet.NewReader(idle, packet.Limits{}).Next(); err != io.ErrNoProgress {
		t.Errorf("a stream that gives nothing and no error: %v, want %v", err, io.ErrNoProgress)
	}
}

func TestReaderSaysWhatItWants(t *testing.T) {
	for _, tt := range []struct{ wire, want string }{
		{"HEADER x\r\n", `packet: header line "HEADER x\r\n": want TYPE MSGNO SIZE`},
		{"DATA 4\r\n", `packet: header line "DATA 4\r\n": want TYPE MSGNO SIZE`},
		{"DATA 4 131073\r\n", `packet: header line "DATA 4 131073\r\n": want a body of at most 131072 octets`},
		{"EOF 9223372036854775808 0\r\n", `packet: header line "EOF 9223372036854775808 0\r\n": want a message number up to 9223372036854775807`},
		{"RSET 0 0\r\n", `packet: packet type "RSET": want HEADER, DATA, EOF, TXERR, ACK, PING or PONG`},
		{"EOF 3 0\r\nend\r\n", `packet: end of EOF 3: "end\r\n": want "END\r\n"`},
		{strings.Repeat("H", 100), `packet: header line "` + strings.Repeat("H", 80) + `": want a line feed within 80 octets`},
	} {
		_, err := packet.NewReader(strings.NewReader(tt.wire), packet.Limits{}).Next()
		if err == nil || err.Error() != tt.want {
			t.Errorf("Next of %q:\ngot  %v\nwant %s", tt.wire, err, tt.want)
		}
	}
	long := packet.NewReader(strings.NewReader(strings.Repeat("\x1b", 5000)), packet.Limits{MaxLine: 4096})
	if _, err := long.Next(); err == nil || len(err.Error()) > 500 {
		t.Errorf("Next of a line of 4096: %v, want an error of at most 500 octets", err)
	}
}

// TestReaderWaits has invariant 2 from the other side: what is not complete is
// not judged, however bad it looks.
func TestReaderWaits(t *testing.T) {
	for _, wire := range []string{
		"h", "GET / HTTP/1.1\r", "DATA 99999999999999", "DATA 0 0\r", "\x00\x00\x00", strings.Repeat(" ", 79),
		"EOF 0 0\r\n", "EOF 0 0\r\nend\r", "EOF 0 3\r\nabcdefg",
	} {
		r := packet.NewReader(strings.NewReader(wire), packet.Limits{})
		if r.Ready() {
			t.Errorf("%q: ready before anything was read", wire)
		}
		if _, err := r.Next(); verdict(err) != "incomplete" {
			t.Errorf("Next of %q: %v, want it to wait for more", wire, err)
		}
	}
}

func TestReaderReady(t *testing.T) {
	whole, part := "DATA 4 3\r\nabcEND\r\n", "DATA 4 3\r\nabcEND"
	for _, tt := range []struct {
		name, rest string
		ready      bool
	}{
		{"nothing", "", false},
		{"a packet", whole, true},
		{"a part of a line", "DATA", false},
		{"a line", "DATA 4 3\r\n", false},
		{"all but the end", part, false},
		{"a bad line", "DATA 4 x\r\n", true},
		{"a length over the limit", "DATA 4 200000\r\n", true},
		{"a bad end", "EOF 4 0\r\nend\r\n", true},
		{"a line too long", strings.Repeat("x", 80), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reads := 0
			r := packet.NewReader(readerFunc(func(p []byte) (int, error) {
				if reads++; reads > 1 {
					return 0, io.EOF
				}
				return copy(p, whole+tt.rest), nil
			}), packet.Limits{})
			first, err := r.Next()
			if err != nil || string(first.Body) != "abc" {
				t.Fatalf("Next of %q: %v %v", whole, first, err)
			}
			for range 2 { // asking changes nothing, and leaves the body alone
				if r.Ready() != tt.ready || reads != 1 || string(first.Body) != "abc" {
					t.Errorf("%q: ready %v after %d reads, body %q; want %v after 1, abc", tt.rest, r.Ready(), reads, first.Body, tt.ready)
				}
			}
			_, err = r.Next()
			if (reads == 1) != tt.ready {
				t.Errorf("Next of %q: %v after %d reads; Ready had said %v", tt.rest, err, reads, tt.ready)
			}
			if err != nil && !r.Ready() {
				t.Errorf("%q: not ready after %v, which is final", tt.rest, err)
			}
		})
	}
}

// TestReaderHoldsWhatArrived is invariant 3 and P2 of the threat model: the room
// that is made for a read follows what has arrived, never a length that was
// announced.
func TestReaderHoldsWhatArrived(t *testing.T) {
	for _, piece := range []int{1, 10, 500, 4096, 16384, 1 << 20} {
		t.Run(fmt.Sprintf("pieces of %d", piece), func(t *testing.T) {
			wire := packet.Packet{Kind: packet.KindData, Body: make([]byte, 131072)}.AppendTo(nil)
			s := &source{end: io.EOF}
			for part := range slices.Chunk(wire, piece) {
				s.parts = append(s.parts, part)
			}
			arrived, last := 0, 0
			r := packet.NewReader(readerFunc(func(p []byte) (int, error) {
				if most := max(512, 11*arrived); len(p) > most { // 4096 at 3/4 of 512
					t.Errorf("room for %d octets after %d arrived, want at most %d", len(p), arrived, most)
				}
				last = len(p)
				n, err := s.Read(p)
				arrived += n
				return n, err
			}), packet.Limits{})
			if p, err := r.Next(); err != nil || len(p.Body) != 131072 {
				t.Fatalf("Next: %d octets, %v", len(p.Body), err)
			}
			if _, err := r.Next(); err != io.EOF || last > 512 {
				t.Errorf("Next at the end: %v with room for %d octets, want EOF with at most 512: the buffer is given back", err, last)
			}
		})
	}
}

// TestReaderReadsMuchUnderLoad wants few reads for a long body, and one for
// many small packets that arrived together.
func TestReaderReadsMuchUnderLoad(t *testing.T) {
	const chunks = 64
	var wire []byte
	for range chunks {
		wire = packet.Packet{Kind: packet.KindData, Body: make([]byte, 16384)}.AppendTo(wire)
	}
	s := &source{end: io.EOF}
	for record := range slices.Chunk(wire, 16384) { // as TLS hands them out
		s.parts = append(s.parts, record)
	}
	if got, err := readAll(packet.NewReader(s, packet.Limits{})); err != io.EOF || len(got) != chunks {
		t.Fatalf("%d packets, %v", len(got), err)
	}
	if most := chunks * 5 / 4; len(s.room) > most {
		t.Errorf("%d reads for %d chunks of 16384 octets, want at most %d", len(s.room), chunks, most)
	}
}

// TestReaderTakesPacketsOverTheDefault has a limit that an operator raised for
// a peer that writes a large reply in one packet (PROTOCOL 2.2).
func TestReaderTakesPacketsOverTheDefault(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	wire := packet.Packet{Kind: packet.KindData, MsgNo: 3, Body: body}.AppendTo(nil)
	wire = append(wire, wire...)
	for _, r := range []io.Reader{bytes.NewReader(wire), iotest.HalfReader(bytes.NewReader(wire))} {
		got, err := readAll(packet.NewReader(r, packet.Limits{MaxPacket: 1 << 20}))
		if err != io.EOF || len(got) != 2 || !bytes.Equal(got[0].Body, body) || !bytes.Equal(got[1].Body, body) {
			t.Errorf("two packets of 1 MiB: %d packets, %v; want both", len(got), err)
		}
	}
}

// TestReaderBodiesKeepApart writes over every body and checks that no other
// packet changes: what a caller does with its body cannot reach the next one.
func TestReaderBodiesKeepApart(t *testing.T) {
	var wire []byte
	for i := range 200 {
		body := bytes.Repeat([]byte{byte(i)}, i*37%1500)
		wire = packet.Packet{Kind: packet.KindData, MsgNo: uint64(i), Body: body}.AppendTo(wire)
	}
	r := packet.NewReader(iotest.HalfReader(bytes.NewReader(wire)), packet.Limits{})
	for i := range 200 {
		p, err := r.Next()
		if want := bytes.Repeat([]byte{byte(i)}, i*37%1500); err != nil || !bytes.Equal(p.Body, want) {
			t.Fatalf("packet %d: %d octets, %v; want %d octets of %d", i, len(p.Body), err, len(want), i)
		}
		for j := range p.Body {
			p.Body[j] = 0xff
		}
		_ = append(p.Body, "over the end"...)
	}
}

// TestReaderGrowsAtOnceWhenItDidBefore: bodies that come one after the other, with a
// pause between them, are copied from the idle buffer to one that fits, and not through
// all sizes between; a short packet ends that.
func TestReaderGrowsAtOnceWhenItDidBefore(t *testing.T) {
	long := packet.Packet{Kind: packet.KindData, Body: make([]byte, 65536)}.AppendTo(nil)
	short := packet.Packet{Kind: packet.KindEOF}.AppendTo(nil)
	parts := [][]byte{long, long, short, long}
	s := &source{parts: parts, end: io.EOF}
	var reads []int
	r := packet.NewReader(readerFunc(func(p []byte) (int, error) {
		n, err := s.Read(p)
		if n > 0 {
			reads = append(reads, len(p))
		}
		return n, err
	}), packet.Limits{})
	var counts []int
	for range parts {
		before := len(reads)
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		counts = append(counts, len(reads)-before)
	}
	if counts[0] < 4 || counts[1] != 2 || counts[2] != 1 || counts[3] != counts[0] {
		t.Errorf("reads for a long packet, another, a short one and a long one: %v with room for %v, want many, 2, 1, many", counts, reads)
	}
}
