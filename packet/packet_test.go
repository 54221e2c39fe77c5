package packet_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
)

func TestKindString(t *testing.T) {
	for i, want := range []string{"Kind(0)", "HEADER", "DATA", "EOF", "TXERR", "ACK", "PING", "PONG", "Kind(8)"} {
		if got := packet.Kind(i).String(); got != want {
			t.Errorf("Kind %d: %q, want %q", i, got, want)
		}
	}
}

// The boxes of PROTOCOL 2.5, each line as it goes over the wire.
var workedExamples = []struct{ name, wire string }{
	{"1 request", "HEADER 0 86\r\n{\"action\":\"Sample.echo\",\"envelope\":\"json\",\"request_id\":1,\"type\":\"request\",\"version\":1}END\r\n" +
		"DATA 0 7\r\n{\"a\":1}END\r\nEOF 0 0\r\nEND\r\n"},
	{"2 reply", "ACK 0 1\r\n7END\r\nHEADER 0 31\r\n{\"request_id\":1,\"type\":\"reply\"}END\r\nDATA 0 7\r\n{\"a\":1}END\r\nEOF 0 0\r\nEND\r\n"},
	{"3 acknowledged", "ACK 0 1\r\n7END\r\n"},
	{"4 request with a ticket", "HEADER 1 140\r\n{\"action\":\"Sample.Item.list\",\"envelope\":\"json\",\"request_id\":2,\"ticket\":\"1,42,100,1700000000,3600,1+2+30,AbC-_\",\"type\":\"request\",\"version\":2}END\r\n" +
		"EOF 1 0\r\nEND\r\n"},
	{"5 error reply", "HEADER 1 76\r\n{\"error\":\"Access denied\",\"error_code\":\"authz\",\"request_id\":2,\"type\":\"reply\"}END\r\nEOF 1 0\r\nEND\r\n"},
	{"6 chunks", "HEADER 2 31\r\n{\"request_id\":3,\"type\":\"reply\"}END\r\nDATA 2 2048\r\n" + strings.Repeat("a", 2048) + "END\r\nDATA 2 2048\r\n" +
		strings.Repeat("b", 2048) + "END\r\nDATA 2 904\r\n" + strings.Repeat("c", 904) + "END\r\nEOF 2 0\r\nEND\r\n"},
	{"6 acknowledged", "ACK 2 4\r\n2048END\r\nACK 2 4\r\n4096END\r\nACK 2 4\r\n5000END\r\n"},
	{"7 reply that fails half way", "HEADER 3 31\r\n{\"request_id\":4,\"type\":\"reply\"}END\r\nDATA 3 9\r\n{\"rows\":[END\r\nTXERR 3 11\r\ndisk failedEND\r\n"},
	{"8 interleaved", "HEADER 2 86\r\n{\"action\":\"Sample.echo\",\"envelope\":\"json\",\"request_id\":3,\"type\":\"request\",\"version\":1}END\r\n" +
		"HEADER 3 86\r\n{\"action\":\"Sample.echo\",\"envelope\":\"json\",\"request_id\":4,\"type\":\"request\",\"version\":1}END\r\n" +
		"DATA 3 2\r\n{}END\r\nDATA 2 2\r\n{}END\r\nEOF 2 0\r\nEND\r\nEOF 3 0\r\nEND\r\n"},
	{"9 heartbeat", "PING 0 0\r\nEND\r\nPONG 0 0\r\nEND\r\n"},
	{"10 refusal", "HEADER 4 119\r\n{\"error\":\"shutting down\",\"error_code\":\"transport\",\"error_data\":{\"dispatch_failure\":true},\"request_id\":5,\"type\":\"reply\"}END\r\n" +
		"EOF 4 0\r\nEND\r\n"},
	{"12 subscription", "HEADER 0 35\r\n{\"request_id\":1,\"type\":\"subscribe\"}END\r\nDATA 0 12\r\n[\"announce\"]END\r\nEOF 0 0\r\nEND\r\n"},
	{"12 events", "ACK 0 2\r\n12END\r\nHEADER 0 16\r\n{\"type\":\"event\"}END\r\nHEADER 1 40\r\n{\"request_id\":1,\"type\":\"subscribe_done\"}END\r\n" +
		"DATA 0 2\r\n[]END\r\nEOF 0 0\r\nEND\r\nDATA 1 4\r\ntrueEND\r\nEOF 1 0\r\nEND\r\n"},
}

// TestWorkedExamplesAreOurs reads every box of PROTOCOL 2.5 that shows our own
// forms and writes it again: octet for octet the same, headers included.
func TestWorkedExamplesAreOurs(t *testing.T) {
	for _, tt := range workedExamples {
		t.Run(tt.name, func(t *testing.T) {
			all, err := readAll(packet.NewReader(strings.NewReader(tt.wire), packet.Limits{}))
			if err != io.EOF {
				t.Fatalf("reading %q: %v", tt.wire, err)
			}
			var packets, headers []byte
			for _, p := range all {
				packets = p.AppendTo(packets)
				if p.Kind == packet.KindHeader {
					h := parse(t, string(p.Body))
					if h.Type != packet.TypeRequest { // what a reply leaves out is not written
						h.Version, h.Envelope = 0, ""
					}
					p.Body = h.AppendTo(nil)
				}
				if p.Kind == packet.KindACK {
					count, err := packet.ParseAck(p.Body)
					if err != nil {
						t.Errorf("ParseAck of %q: %v", p.Body, err)
					}
					headers = packet.AppendAck(headers, p.MsgNo, count)
					continue
				}
				headers = p.AppendTo(headers)
			}
			if string(packets) != tt.wire {
				t.Errorf("packets written again:\ngot  %q\nwant %q", packets, tt.wire)
			}
			if string(headers) != tt.wire {
				t.Errorf("packets and headers written again:\ngot  %q\nwant %q", headers, tt.wire)
			}
		})
	}
}

// TestWorkedExamplesOfPeers has the two requests of example 11, which we read
// but would write in another way.
func TestWorkedExamplesOfPeers(t *testing.T) {
	wire := "HEADER 0 100\r\n{\"version\":1,\"action\":\"Sample.echo\",\"ticket\":null,\"request_id\":1,\"type\":\"request\",\"envelope\":\"json\"}END\r\n" +
		"HEADER 0 136\r\n{\"action\":\"Sample.echo\",\"envelope\":\"json\",\"request_id\":1,\"client_id\":0,\"ticket\":\"\",\"identifying_token\":\"\",\"type\":\"request\",\"version\":1}\nEND\r\n"
	all, err := readAll(packet.NewReader(strings.NewReader(wire), packet.Limits{}))
	if err != io.EOF || len(all) != 2 {
		t.Fatalf("reading %q: %d packets, %v", wire, len(all), err)
	}
	for i, p := range all {
		h := parse(t, string(p.Body))
		if h.HasSector || h.HasClientID != (i == 1) {
			t.Errorf("%s: has sector %v, client_id %v", p.Body, h.HasSector, h.HasClientID)
		}
		want := `{"action":"Sample.echo","envelope":"json","request_id":1,"type":"request","version":1}`
		if got := string(h.AppendTo(nil)); got != want {
			t.Errorf("%s written again: %s, want %s", p.Body, got, want)
		}
	}
}

// ackBodies has every form of PROTOCOL 4.4 that an ACK body may have, and those
// it may not.
var ackBodies = []struct {
	body string
	want uint64 // 0: refused
}{
	{"1", 1}, {"9", 9}, {"10", 10}, {"2048", 2048}, {"5001", 5001}, {"9223372036854775807", math.MaxInt64},
	{"", 0}, {"0", 0}, {"00", 0}, {"01", 0}, {"012", 0}, {"12abc", 0}, {"1x", 0}, {"+12", 0}, {"-12", 0}, {"12\n", 0}, {"12\r\n", 0}, {" 12", 0}, {"12 ", 0}, {"1 2", 0},
	{"1.0", 0}, {"1e3", 0}, {"0x10", 0}, {"1_0", 0}, {"1,0", 0}, {"１", 0}, {"\x00", 0}, {"1\x00", 0}, {"abc", 0}, {"\xff", 0},
	{"9223372036854775808", 0}, {"18446744073709551615", 0}, {"18446744073709551616", 0}, {"18446744073709551617", 0}, {strings.Repeat("9", 1000), 0},
}

func TestParseAck(t *testing.T) {
	for _, tt := range ackBodies {
		got, err := packet.ParseAck([]byte(tt.body))
		if got != tt.want || (err == nil) != (tt.want > 0) || err != nil && counter(err) != packet.CounterMalformed {
			t.Errorf("ParseAck of %.40q: %d, %v; want %d", tt.body, got, err, tt.want)
		}
		if err != nil && (len(err.Error()) > 250 || strings.ContainsAny(err.Error(), "\x00\n")) {
			t.Errorf("ParseAck of %.40q: error %q, want it short and quoted", tt.body, err)
		}
	}
}

// TestParseAckOfRecordedCases compares with fixtures/ack.json: what is fatal
// for its form is refused here, what is fatal for its count is read.
func TestParseAckOfRecordedCases(t *testing.T) {
	var recorded struct {
		Cases []struct {
			Sent   uint64
			Acks   []string
			Result string
			Why    string
		}
	}
	fixtures.JSON("ack.json", &recorded)
	for _, c := range recorded.Cases {
		last, well := uint64(0), true
		for _, body := range c.Acks {
			n, err := packet.ParseAck([]byte(body))
			well = well && err == nil && last <= n && n <= c.Sent
			last = n
		}
		if well != (c.Result == "ok") {
			t.Errorf("ACKs %q of %d octets (%s): well %v, want %s", c.Acks, c.Sent, c.Why, well, c.Result)
		}
	}
}

func TestAppendAck(t *testing.T) {
	for _, tt := range []struct {
		msgno, count uint64
		want         string
	}{
		{0, 7, "ACK 0 1\r\n7END\r\n"},
		{2, 2048, "ACK 2 4\r\n2048END\r\n"},
		{math.MaxInt64, math.MaxInt64, "ACK 9223372036854775807 19\r\n9223372036854775807END\r\n"},
	} {
		if got := string(packet.AppendAck([]byte("x"), tt.msgno, tt.count)); got != "x"+tt.want {
			t.Errorf("AppendAck %d %d: %q, want %q after x", tt.msgno, tt.count, got, tt.want)
		}
	}
}

// FuzzAck compares with the rule of PROTOCOL 4.4 as strconv knows numbers.
func FuzzAck(f *testing.F) {
	for _, tt := range ackBodies {
		f.Add([]byte(tt.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := packet.ParseAck(body)
		n, parseErr := strconv.ParseInt(string(body), 10, 64)
		legal := parseErr == nil && n > 0 && strconv.FormatInt(n, 10) == string(body)
		if legal != (err == nil) || legal && got != uint64(n) {
			t.Fatalf("ParseAck of %q: %d, %v; want %d, legal %v", body, got, err, n, legal)
		}
		if legal {
			want := fmt.Sprintf("ACK 7 %d\r\n%sEND\r\n", len(body), body)
			if wire := packet.AppendAck(nil, 7, got); !bytes.Equal(wire, []byte(want)) {
				t.Fatalf("AppendAck of %d: %q, want %q", got, wire, want)
			}
		}
	})
}
