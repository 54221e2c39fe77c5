package mux_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestEveryStateMeetsEveryPacket has every state of an inbound message meet every
// packet the peer can send, with the outcome of PROTOCOL 2.4.
func TestEveryStateMeetsEveryPacket(t *testing.T) {
	states := []struct{ name, wire string }{
		{"none", ""},
		{"open", header(0, jsRequest)},
		{"open with octets", header(0, jsRequest) + data(0, "abc")},
		{"done", header(0, jsRequest) + data(0, "abc") + eof(0)},
		{"failed", header(0, jsRequest) + data(0, "abc") + txerr(0, "disk failed")},
	}
	packets := []struct {
		name string
		wire string
		want string // for each state: f is fatal, - changes nothing, . goes on
	}{
		{"HEADER 0", header(0, jsRequest), ".ffff"},
		{"HEADER 1", header(1, jsRequest), "f...."},
		{"HEADER 2", header(2, jsRequest), "fffff"},
		{"HEADER no JSON", header(0, "hello"), "fffff"},
		{"DATA", data(0, "def"), "f..ff"},
		{"DATA empty", data(0, ""), "f--ff"},
		{"DATA of another", data(7, "def"), "fffff"},
		{"EOF", eof(0), "f..ff"},
		{"EOF with a body", pack(packet.KindEOF, 0, "x"), "fffff"},
		{"TXERR", txerr(0, "no"), "f..ff"},
		{"TXERR empty", txerr(0, ""), "f..ff"},
		{"TXERR 0", txerr(0, "0"), "f..ff"},
		{"ACK of nothing of ours", ack(0, 5), "-----"},
		{"ACK of nothing, malformed", ack(0, "x"), "-----"},
		{"PING", ping(0), "....."},
		{"PING with a body", pack(packet.KindPING, 3, "x"), "....."},
		{"PONG", pack(packet.KindPONG, 0, ""), "-----"},
		{"PONG with a body", pack(packet.KindPONG, 0, "x"), "-----"},
	}
	for i, state := range states {
		for _, p := range packets {
			t.Run(state.name+"/"+p.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					var lib library
					e, w := talk(t, mux.Options{Accept: lib.accept})
					w.send(state.wire)
					before := w.take()
					w.send(p.wire)
					after := w.take()
					if got, want := fatal(e), p.want[i] == 'f'; got != want {
						t.Fatalf("%q after %q: fatal %v (%v), want %v", p.wire, state.wire, got, e.Err(), want)
					}
					if p.want[i] == '-' && len(after) > 0 {
						t.Errorf("%q after %q: answered %q, want nothing", p.wire, state.wire, after)
					}
					if p.want[i] == '.' && strings.HasPrefix(p.name, "PING") {
						no := p.wire[len("PING ")]
						if want := []string{"PONG " + string(no)}; !slices.Equal(after, want) {
							t.Errorf("%q after %q (%q): answered %q, want %q", p.wire, state.wire, before, after, want)
						}
					}
					checkReadouts(t, lib.readouts(), state.wire+p.wire)
				})
			})
		}
	}
}

// checkReadouts compares what was read of message 0 with what the packets say.
func checkReadouts(t *testing.T, got []*readout, wire string) {
	t.Helper()
	body, end := "", ""
	for r := packet.NewReader(strings.NewReader(wire), packet.Limits{}); end == ""; {
		switch p, err := r.Next(); {
		case err != nil:
			end = "open"
		case p.MsgNo != 0:
		case p.Kind == packet.KindData:
			body += string(p.Body)
		case p.Kind == packet.KindEOF && len(p.Body) == 0:
			end = "EOF"
		case p.Kind == packet.KindTXERR:
			end = "TXERR"
		}
	}
	for _, r := range got {
		if r.m.No() != 0 {
			continue
		}
		tx, isTX := r.err.(*mux.TXERR)
		switch {
		case end == "EOF" && (r.err != nil || string(r.body) != body),
			end == "TXERR" && (!isTX || tx.Text == "" || tx.Text == "0"),
			end == "open" && !errors.Is(r.err, mux.ErrLost):
			t.Errorf("%q: read %q, error %v; want %q and %s", wire, r.body, r.err, body, end)
		}
	}
}

// TestEveryOutboundStateMeetsACK has every state of a message of ours meet every
// ACK, with the outcome of the table of PROTOCOL 4.4.
func TestEveryOutboundStateMeetsACK(t *testing.T) {
	const sent = 5000
	for _, tt := range []struct {
		state   string
		begin   func(*mux.Conn) (*mux.Outbound, error)
		refuses bool // whether an ACK that makes no sense is fatal
	}{
		{"never begun", func(*mux.Conn) (*mux.Outbound, error) { return nil, nil }, false},
		{"being sent", func(c *mux.Conn) (*mux.Outbound, error) {
			return c.Send(reply(), mux.Body{Data: octets(sent), More: true}, nil)
		}, true},
		{"ended", func(c *mux.Conn) (*mux.Outbound, error) {
			return c.Send(reply(), mux.Body{Data: octets(sent)}, nil)
		}, false},
		{"aborted", func(c *mux.Conn) (*mux.Outbound, error) {
			o, err := c.Send(reply(), mux.Body{Data: octets(sent), More: true}, nil)
			if err == nil {
				o.Abort("no more")
			}
			return o, err
		}, false},
	} {
		for _, body := range []struct {
			acks []string
			want string // of a message being sent
		}{
			{[]string{"1"}, "ok"},
			{[]string{"5000"}, "ok"},
			{[]string{"2048", "2048"}, "repeated"},
			{[]string{"2048", "2047"}, "fatal"},
			{[]string{"5001"}, "fatal"},
			{[]string{"0"}, "fatal"},
			{[]string{""}, "fatal"},
			{[]string{"-1"}, "fatal"},
			{[]string{"9223372036854775807"}, "fatal"},
			{[]string{"9223372036854775808"}, "fatal"},
			{[]string{"99999999999999999999999"}, "fatal"},
			{[]string{"0x10"}, "fatal"},
			{[]string{" 12"}, "fatal"},
		} {
			t.Run(fmt.Sprintf("%s/%q", tt.state, body.acks), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					var odd []string
					e, w := talk(t, mux.Options{Oddity: func(why string) { odd = append(odd, why) }})
					if _, err := tt.begin(e.Conn); err != nil {
						t.Fatal(err)
					}
					w.take()
					for _, a := range body.acks {
						w.send(ack(0, a))
					}
					if got, want := fatal(e), tt.refuses && body.want == "fatal"; got != want {
						t.Errorf("fatal %v (%v), want %v", got, e.Err(), want)
					}
					if got, want := e.stats.Count(mux.AckRefused), tt.refuses && body.want == "fatal"; (got == 1) != want {
						t.Errorf("ack_refused %d, want it to move: %v", got, want)
					}
					if want := tt.refuses && body.want == "repeated"; (len(odd) == 1) != want || (e.stats.Count(mux.AckRepeated) == 1) != want {
						t.Errorf("warned of %q, ack_repeated %d; want a warning: %v", odd, e.stats.Count(mux.AckRepeated), want)
					}
					w.wants("answer to an ACK")
				})
			})
		}
	}
}

// TestRecordedFraming feeds every stream of fixtures/framing to a Conn: outcome,
// answers and acknowledgements are as recorded. ACKs may be merged, and a short
// complete message gets none (PROTOCOL 4.4).
func TestRecordedFraming(t *testing.T) {
	var cases []struct {
		Name, Hex, File, Expect, Note, Answer string
		Events                                []string
		Acks                                  []int
	}
	fixtures.JSON("framing/cases.json", &cases)
	for _, tt := range cases {
		t.Run(tt.Name, func(t *testing.T) {
			octets, err := hex.DecodeString(tt.Hex)
			if err != nil {
				t.Fatal(err)
			}
			if tt.File != "" {
				octets = fixtures.Bytes(tt.File)
			}
			bubble(t, func(t *testing.T) {
				var lib library
				e, w := talk(t, mux.Options{Accept: lib.accept})
				switch tt.Name {
				case "ack": // acknowledges octets of a message of ours
					if _, err := e.Send(reply(), mux.Body{Data: make([]byte, 2048), More: true}, nil); err != nil {
						t.Fatal(err)
					}
				}
				w.take()
				w.send(string(octets))
				synctest.Wait()
				if got := fatal(e); got != (tt.Expect == "fatal") {
					t.Fatalf("%s: fatal %v (%v), want %s", tt.Note, got, e.Err(), tt.Expect)
				}
				answers := w.take()
				if tt.Answer != "" {
					if got, want := w.octets(), strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(tt.Answer); got != want {
						t.Errorf("answered %q, want %q", got, want)
					}
					return
				}
				last := int64(0)
				for _, a := range answers {
					var n int64
					if _, err := fmt.Sscanf(a, "ACK 0 %d", &n); err != nil || n <= last || n > int64(len(octets)) {
						t.Errorf("answered %q, want ACKs that rise and name no more than was sent", answers)
					}
					last = n
				}
				if len(tt.Acks) > 0 && len(octets) > 40000 && last == 0 {
					t.Errorf("answered %q, want ACKs as in %d, merged", answers, tt.Acks)
				}
				ended := slices.ContainsFunc(tt.Events, func(e string) bool { return strings.HasPrefix(e, "EOF") || strings.HasPrefix(e, "TXERR") })
				if got := lib.readouts(); ended && tt.Expect == "ok" && len(got) == 0 {
					t.Errorf("no message ended, want those of %q", tt.Events)
				}
			})
		})
	}
}

// TestRecordedACKs is the table of fixtures/ack.json (PROTOCOL A.5).
func TestRecordedACKs(t *testing.T) {
	var table struct {
		Cases []struct {
			Sent        int
			Acks        []string
			Result, Why string
			Acked       int64
		}
		SenderWindow []struct {
			Body              int
			FirstBurstPackets int   `json:"first_burst_packets"`
			FirstBurstBytes   int   `json:"first_burst_bytes"`
			AfterAck          int   `json:"after_ack"`
			MaySendBytes      int   `json:"may_send_bytes"`
			Packets           []int `json:"packets"`
			Then              string
		} `json:"sender_window"`
	}
	fixtures.JSON("ack.json", &table)
	for _, tt := range table.Cases {
		t.Run(fmt.Sprintf("%q", tt.Acks), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e, w := talk(t, mux.Options{})
				if _, err := e.Send(reply(), mux.Body{Data: octets(tt.Sent), More: true}, nil); err != nil {
					t.Fatal(err)
				}
				w.take()
				for _, a := range tt.Acks {
					w.send(ack(0, a))
				}
				if got, want := fatal(e), tt.Result == "fatal"; got != want {
					t.Fatalf("%s: fatal %v (%v), want %v", tt.Why, got, e.Err(), want)
				}
			})
		})
	}
	for _, tt := range table.SenderWindow {
		t.Run(fmt.Sprintf("window %d after %d", tt.Body, tt.AfterAck), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e, w := talk(t, mux.Options{NoExt: true})
				if _, err := e.Send(reply(), mux.Body{Data: octets(tt.Body)}, nil); err != nil {
					t.Fatal(err)
				}
				sizes, ended := dataSizes(w.packets())
				if tt.FirstBurstPackets > 0 && len(sizes) != tt.FirstBurstPackets {
					t.Errorf("first burst %d, want %d packets", sizes, tt.FirstBurstPackets)
				}
				if tt.FirstBurstBytes > 0 && sum(sizes) != tt.FirstBurstBytes {
					t.Errorf("first burst %d, want %d octets", sizes, tt.FirstBurstBytes)
				}
				if want := tt.Body <= 65536; ended != want {
					t.Errorf("first burst ended the message: %v, want %v", ended, want)
				}
				if tt.AfterAck == 0 {
					return
				}
				w.send(ack(0, tt.AfterAck))
				sizes, _ = dataSizes(w.packets())
				if sum(sizes) != tt.MaySendBytes || tt.Packets != nil && !slices.Equal(sizes, tt.Packets) {
					t.Errorf("after ACK %d: %d, want %d octets as %d", tt.AfterAck, sizes, tt.MaySendBytes, tt.Packets)
				}
			})
		})
	}
}

// dataSizes returns the lengths of the DATA packets, and whether EOF came.
func dataSizes(all []packet.Packet) (sizes []int, ended bool) {
	for _, p := range all {
		switch p.Kind {
		case packet.KindData:
			sizes = append(sizes, len(p.Body))
		case packet.KindEOF:
			ended = true
		}
	}
	return sizes, ended
}

func sum(sizes []int) (n int) {
	for _, s := range sizes {
		n += s
	}
	return n
}
