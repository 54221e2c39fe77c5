package packet_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/scampbus/scamp-go/packet"
)

// TestConformance has one test for each line of PROTOCOL 17 that can be judged
// packet by packet and header by header, named by the number of the line.
func TestConformance(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"01_written_packets_match_the_grammar", writtenPacketsMatchTheGrammar},
		{"02_split_at_every_octet", splitAtEveryOctet},
		{"03_several_packets_in_one_read", severalPacketsInOneRead},
		{"04_overlong_line", overlongLine},
		{"05_malformed_line", malformedLine},
		{"06_length_over_the_limit", lengthOverTheLimit},
		{"07_wrong_trailer", wrongTrailer},
		{"08_unknown_type", unknownType},
		{"09_body_that_looks_like_packets", bodyThatLooksLikePackets},
		{"13_header_is_no_json_object", headerIsNoObject},
		{"14_newline_after_header_json", newlineAfterHeader},
		{"18a_duplicate_member", duplicateMember},
		{"18a_case_variant_member", caseVariantMember},
		{"18a_too_many_members", tooManyMembers},
		{"18a_too_deep", tooDeep},
		{"20_request_id_is_returned_as_it_came", requestIDIsReturned},
		{"21_ticket_null_empty_missing", ticketNullEmptyMissing},
		{"22_numbers_in_strings", numbersInStrings},
		{"23_missing_version_and_envelope", missingVersionAndEnvelope},
		{"24_missing_type", missingType},
		{"25_unknown_members_are_kept", unknownMembersAreKept},
		{"26_null_error_is_success", nullErrorIsSuccess},
		{"27_error_without_code", errorWithoutCode},
		{"32_nothing_written_is_null", nothingWrittenIsNull},
	} {
		t.Run(tt.name, tt.run)
	}
}

// The grammar of PROTOCOL 2.1, as one expression without the body.
var lineGrammar = regexp.MustCompile(`^(HEADER|DATA|EOF|TXERR|ACK|PING|PONG) (0|[1-9][0-9]*) (0|[1-9][0-9]*)\r\n$`)

var kinds = []packet.Kind{
	packet.KindHeader, packet.KindData, packet.KindEOF, packet.KindTXERR,
	packet.KindACK, packet.KindPING, packet.KindPONG,
}

func writtenPacketsMatchTheGrammar(t *testing.T) {
	for _, kind := range kinds {
		for _, msgno := range []uint64{0, 1, 9, 10, 4294967296, math.MaxInt64} {
			for _, length := range []int{0, 1, 10, 4096, 65536, 131072} {
				line := packet.AppendLine(nil, kind, msgno, length)
				want := fmt.Sprintf("%s %d %d\r\n", kind, msgno, length)
				if string(line) != want || !lineGrammar.Match(line) || len(line) > 40 {
					t.Errorf("AppendLine of %s %d %d: %q of %d octets, want %q of at most 40", kind, msgno, length, line, len(line), want)
				}
				body := bytes.Repeat([]byte{'\n'}, length)
				p := packet.Packet{Kind: kind, MsgNo: msgno, Body: body}
				if got := p.AppendTo([]byte("x")); string(got) != "x"+want+string(body)+"END\r\n" {
					t.Errorf("AppendTo of %s %d with %d octets: %.60q…, want line, body and trailer after x", kind, msgno, length, got)
				}
			}
		}
	}
}

// splitAtEveryOctet is invariant 1: each stream in two reads, whatever octet
// they part at, and octet by octet; what comes out is always the same.
func splitAtEveryOctet(t *testing.T) {
	for _, s := range streams() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			wire := s.wire()
			want := outcome(readStream(bytes.NewReader(wire)))
			check := func(r io.Reader, how string) {
				if got := outcome(readStream(r)); got != want {
					t.Fatalf("%s %s:\ngot  %.500s\nwant %.500s", s.Name, how, got, want)
				}
			}
			check(iotest.OneByteReader(bytes.NewReader(wire)), "octet by octet")
			check(iotest.DataErrReader(bytes.NewReader(wire)), "with the error beside the last octets")
			for cut := 1; cut < len(wire); cut += step(cut, len(wire)) {
				check(pieces(wire, cut), fmt.Sprintf("split at %d", cut))
			}
		})
	}
}

// step is 1 but in the middle of the largest stream, where only the octets of
// one body are.
func step(cut, length int) int {
	const edge = 512
	if edge < cut && cut < length-edge-97 {
		return 97
	}
	return 1
}

func severalPacketsInOneRead(t *testing.T) {
	for _, s := range streams() {
		if s.Expect != "ok" || isOfMessages(s) {
			continue
		}
		got, err := readStream(bytes.NewReader(s.wire()))
		if verdict(err) != "ok" || !slices.Equal(describe(got), s.Events) {
			t.Errorf("%s (%s): %q, then %v; want %q, then EOF", s.Name, s.Note, describe(got), err, s.Events)
		}
	}
	reads := 0
	wire := strings.Repeat("PING 0 0\r\nEND\r\n", 30)
	r := packet.NewReader(readerFunc(func(p []byte) (int, error) {
		if reads++; reads > 1 {
			return 0, io.EOF
		}
		return copy(p, wire), nil
	}), packet.Limits{})
	for i := range 30 {
		if _, err := r.Next(); err != nil || reads != 1 {
			t.Fatalf("packet %d: error %v after %d reads, want none after 1", i, err, reads)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func overlongLine(t *testing.T) {
	long := strings.Repeat("H", 79)
	for _, tt := range []struct{ name, wire, want string }{
		{"1 octet", "H", "incomplete"},
		{"79 octets", long, "incomplete"},
		{"79 octets that no line begins with", strings.Repeat("\x00", 79), "incomplete"},
		{"80 octets", long + "H", "fatal"},
		{"line feed is octet 80", long + "\n", "fatal"},
		{"line feed is octet 81", long + "H\n", "fatal"},
		{"line feed is octet 80 of a line that is legal but for its length",
			"EOF 0 " + strings.Repeat("1", 72) + "\r\n", "fatal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.wire), iotest.OneByteReader(strings.NewReader(tt.wire))} {
				_, err := packet.NewReader(r, packet.Limits{}).Next()
				if verdict(err) != tt.want {
					t.Errorf("Next of %q: %v, want %s", tt.wire, err, tt.want)
				}
				if tt.want == "fatal" && len(tt.wire) >= 80 && counter(err) != packet.CounterMalformed && counter(err) != packet.CounterTooBig {
					t.Errorf("Next of %q: counter %s", tt.wire, counter(err))
				}
			}
		})
	}
}

// malformedLines is P1 of the threat model: what no header line may look like.
var malformedLines = []struct{ name, line string }{
	{"bare line feed", "EOF 0 0\n"},
	{"only a line feed", "\n"},
	{"only CR LF", "\r\n"},
	{"CR twice", "EOF 0 0\r\r\n"},
	{"CR before the end", "EOF 0\r 0\r\n"},
	{"CR without line feed, then a line feed", "EOF 0 0\rX\n"},
	{"two spaces", "EOF  0 0\r\n"},
	{"two spaces before the length", "EOF 0  0\r\n"},
	{"leading space", " EOF 0 0\r\n"},
	{"trailing space", "EOF 0 0 \r\n"},
	{"tab for a space", "EOF\t0 0\r\n"},
	{"tab for the second space", "EOF 0\t0\r\n"},
	{"tab at the end", "EOF 0 0\t\r\n"},
	{"no type", "0 0\r\n"},
	{"type alone", "EOF\r\n"},
	{"type and space", "EOF \r\n"},
	{"two fields", "EOF 0\r\n"},
	{"two fields and a space", "EOF 0 \r\n"},
	{"empty number", "EOF  0\r\n"},
	{"four fields", "EOF 0 0 0\r\n"},
	{"minus in the length", "DATA 0 -1\r\n"},
	{"minus in the number", "DATA -1 1\r\n"},
	{"minus zero", "DATA 0 -0\r\n"},
	{"plus in the length", "DATA 0 +1\r\n"},
	{"plus in the number", "DATA +1 1\r\n"},
	{"hex length", "DATA 0 0x2\r\n"},
	{"hex number", "DATA 0xA 2\r\n"},
	{"hex digit", "DATA 0 a\r\n"},
	{"fraction", "DATA 0 1.0\r\n"},
	{"exponent", "DATA 0 1e1\r\n"},
	{"underscore", "DATA 0 1_0\r\n"},
	{"comma", "DATA 0 1,0\r\n"},
	{"leading zero in the number", "EOF 00 0\r\n"},
	{"leading zero in the length", "EOF 0 00\r\n"},
	{"leading zero before a digit", "DATA 0 07\r\n"},
	{"leading zero in a long number", "DATA 0 0131072\r\n"},
	{"number is 2^63", "EOF 9223372036854775808 0\r\n"},
	{"number is 2^64", "EOF 18446744073709551616 0\r\n"},
	{"number is 2^64 + 1", "EOF 18446744073709551617 0\r\n"},
	{"number has 20 nines", "EOF 99999999999999999999 0\r\n"},
	{"number has 50 digits", "EOF 1" + strings.Repeat("0", 49) + " 0\r\n"},
	{"NUL in the type", "EOF\x00 0 0\r\n"},
	{"NUL in the number", "EOF 0\x00 0\r\n"},
	{"NUL at the end", "EOF 0 0\x00\r\n"},
	{"lower case", "eof 0 0\r\n"},
	{"capital", "Eof 0 0\r\n"},
	{"full-width digit", "EOF 0 ０\r\n"},
	{"arabic digit", "EOF ٣ 0\r\n"},
	{"byte order mark", "\ufeffEOF 0 0\r\n"},
	{"no-break space", "EOF\u00a00 0\r\n"},
	{"letter that folds to K", "AC\u212a 0 0\r\n"},
	{"type cut short", "HEADE 0 0\r\n"},
	{"type with more", "HEADERS 0 0\r\n"},
	{"type with a colon", "EOF: 0 0\r\n"},
	{"unknown type", "RSET 0 0\r\n"},
	{"a method of objects elsewhere", "constructor 0 0\r\n"},
	{"another one", "__proto__ 0 0\r\n"},
	{"an HTTP request", "GET / HTTP/1.1\r\n"},
	{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n"},
	{"a blank line between packets", "\r\nEOF 0 0\r\n"},
	{"comment", "# EOF 0 0\r\n"},
}

func malformedLine(t *testing.T) {
	for _, tt := range malformedLines {
		t.Run(tt.name, func(t *testing.T) {
			wire := "PING 7 0\r\nEND\r\n" + tt.line + "END\r\nPING 8 0\r\nEND\r\n"
			r := packet.NewReader(strings.NewReader(wire), packet.Limits{})
			if p, err := r.Next(); err != nil || p.MsgNo != 7 {
				t.Fatalf("the packet before: %v %v, want PING 7", p, err)
			}
			p, err := r.Next()
			if counter(err) != packet.CounterMalformed {
				t.Errorf("Next of %q: packet %v, error %v; want an Error with %s", tt.line, p, err, packet.CounterMalformed)
			}
			if _, again := r.Next(); again != err {
				t.Errorf("Next after the error %v: %v, want the same (invariant 4)", err, again)
			}
		})
	}
}

func lengthOverTheLimit(t *testing.T) {
	for _, kind := range kinds {
		limit, want := 131072, packet.CounterTooBig
		if kind == packet.KindHeader {
			limit, want = 65536, packet.CounterHeaderTooBig
		}
		body := bytes.Repeat([]byte{'x'}, limit)
		wire := packet.Packet{Kind: kind, Body: body}.AppendTo(nil)
		if p, err := packet.NewReader(bytes.NewReader(wire), packet.Limits{}).Next(); err != nil || !bytes.Equal(p.Body, body) {
			t.Errorf("%s of %d octets: %d octets, error %v; want all and no error", kind, limit, len(p.Body), err)
		}
		for _, length := range []string{strconv.Itoa(limit + 1), "4294967296", "9223372036854775808", "18446744073709551616", strings.Repeat("9", 60)} {
			line := fmt.Sprintf("%s 0 %s\r\n", kind, length)
			noBody := io.MultiReader(strings.NewReader(line), readerFunc(func([]byte) (int, error) {
				t.Errorf("%q: a read after the line", line)
				return 0, io.EOF
			}))
			_, err := packet.NewReader(noBody, packet.Limits{}).Next()
			if counter(err) != want {
				t.Errorf("Next of %q: %v, want an Error with %s", line, err, want)
			}
		}
	}
	for _, tt := range []struct {
		line   string
		limits packet.Limits
		want   string
	}{
		{"DATA 0 1000\r\n", packet.Limits{MaxPacket: 1000}, "incomplete"},
		{"DATA 0 1001\r\n", packet.Limits{MaxPacket: 1000}, "fatal"},
		{"DATA 0 300000\r\n", packet.Limits{MaxPacket: 300000}, "incomplete"},
		{"HEADER 0 100\r\n", packet.Limits{MaxHeader: 100}, "incomplete"},
		{"HEADER 0 101\r\n", packet.Limits{MaxHeader: 100}, "fatal"},
		{"DATA 0 9223372036854775807\r\n", packet.Limits{MaxPacket: math.MaxInt}, "fatal"},
		{"DATA 0 9223372036854775807\r\n", packet.Limits{MaxPacket: -1}, "fatal"},
	} {
		_, err := packet.NewReader(strings.NewReader(tt.line), tt.limits).Next()
		if verdict(err) != tt.want {
			t.Errorf("Next of %q with %+v: %v, want %s", tt.line, tt.limits, err, tt.want)
		}
	}
}

// wrongTrailer is P3 of the threat model.
func wrongTrailer(t *testing.T) {
	for _, trailer := range []string{
		"end\r\n", "End\r\n", "END\n\n", "END\r\r", "END\n\r", "ENDD\n", " END\r", "\r\nEND", "\x00\x00\x00\x00\x00",
		"XEND\r", "EN\r\n\n", "EOF 0",
	} {
		for _, head := range []string{"EOF 0 0\r\n", "DATA 0 3\r\nabc", "HEADER 0 2\r\n{}"} {
			wire := head + trailer
			_, err := packet.NewReader(strings.NewReader(wire+"\r\nEND\r\n"), packet.Limits{}).Next()
			if counter(err) != packet.CounterMalformed {
				t.Errorf("Next of %q: %v, want an Error with %s", wire, err, packet.CounterMalformed)
			}
			_, err = packet.NewReader(strings.NewReader(wire[:len(wire)-1]), packet.Limits{}).Next()
			if verdict(err) != "incomplete" {
				t.Errorf("Next of %q: %v, want it to wait for the last octet", wire[:len(wire)-1], err)
			}
		}
	}
}

// unknownType is P4 of the threat model: what is logged of the name is bounded
// and quoted.
func unknownType(t *testing.T) {
	for _, word := range []string{"RSET", "eof", "Header", "DATA\x1b[31m", strings.Repeat("A", 70), "\xff\xfe"} {
		wire := word + " 0 0\r\nEND\r\n"
		_, err := packet.NewReader(strings.NewReader(wire), packet.Limits{}).Next()
		if counter(err) != packet.CounterMalformed {
			t.Errorf("Next of %q: %v, want an Error with %s", wire, err, packet.CounterMalformed)
			continue
		}
		shown := word[:min(len(word), 32)]
		want := fmt.Sprintf("packet: packet type %q", shown)
		if got := err.Error(); !strings.HasPrefix(got, want) || strings.Contains(got, shown+"A") ||
			strings.Contains(got, "\x1b") || strings.Contains(got, "\xff") {
			t.Errorf("Next of %q: error %q, want it to start with %s", wire, got, want)
		}
	}
}

func bodyThatLooksLikePackets(t *testing.T) {
	for _, body := range []string{
		"END\r\n", "END\r\nEOF 0 0\r\nEND\r\n", "\r\n\r\n", "DATA 0 131073\r\n", strings.Repeat("END\r\n", 5000), "\n", "END\r\nEND\r\n",
	} {
		wire := packet.Packet{Kind: packet.KindData, Body: []byte(body)}.AppendTo(nil)
		wire = packet.Packet{Kind: packet.KindEOF}.AppendTo(wire)
		got, err := readAll(packet.NewReader(iotest.HalfReader(bytes.NewReader(wire)), packet.Limits{}))
		if err != io.EOF || len(got) != 2 || string(got[0].Body) != body || got[1].Kind != packet.KindEOF {
			t.Errorf("DATA %.60q, EOF: %s; want the same and the end", body, outcome(got, err))
		}
	}
}
