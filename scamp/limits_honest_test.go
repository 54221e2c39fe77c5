package scamp_test

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// refusals are the counters that an honest peer must never move.
var refusals = []string{
	"packet_too_big", "packet_malformed", "header_too_big", "header_malformed", "sequence_broken",
	"window_violated", "buffered_refused", "held_refused", "open_messages_exceeded", "queue_full", "body_too_big",
	"write_stalled", "send_stalled", "conn_refused", "handshake_timeout", "handshake_evicted", "worker_timeout",
	"ping_flood", "ack_flood", "ack_refused", "tiny_data", "empty_data", "reply_unknown", "message_ignored",
}

func noRefusal(t *testing.T, stats map[string]uint64) {
	t.Helper()
	for name, n := range stats {
		if n > 0 && slices.Contains(refusals, name) {
			t.Errorf("honest peers: %s is %d, want 0", name, n)
		}
	}
}

// TestHonestPeersAreNotRefused has peers that ask for much at once and are in their right:
// all is served with the default limits, and no counter of a refusal moves.
func TestHonestPeersAreNotRefused(t *testing.T) {
	for name, header := range map[string]func(id int) string{
		"of_ours":                    func(id int) string { return ask("Sample.whole", id, "ext", `{"v":1,"win":1048576,"cancel":1}`) },
		"that_keep_the_window":       func(id int) string { return ask("Sample.whole", id) },
		"that_know_no_window":        func(id int) string { return ask("Sample.whole", id, "sector", "") },
		"that_know_no_window_stream": func(id int) string { return ask("Sample.echo", id, "sector", "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				s := n.Serve("sample", func(s *scamp.Service) {
					s.Handle("Sample.whole", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
						b, err := req.Bytes()
						if err != nil {
							return err
						}
						return rep.SetBytes(slices.Clone(b))
					}, nil)
					s.Handle("Sample.echo", echo, nil)
				})
				w := callWire(t, n, s.Addr())
				w.acks.Store(true)
				const requests = 300
				body := strings.Repeat("x", 20_000)
				for i := range requests {
					w.send(msg(i, header(i+1), body))
				}
				for range requests {
					m := w.message()
					if m.header.Type == packet.TypeCancel {
						m = w.message() // that came for its ext
					}
					if m.body != body || m.header.ErrorCode != "" || !m.whole {
						t.Fatalf("reply %s with %d octets, want 20,000", m.json, len(m.body))
					}
				}
				w.quiet()
				noRefusal(t, s.Bus.Stats())
			})
		})
	}
}

// A peer that ignores its window may leave 1 MiB of a message unread, as long as its
// connection is not over its limit (PROTOCOL 4.5).
func TestPeersThatIgnoreTheWindowAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		read := make(chan struct{})
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.late", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				<-read
				n, err := io.Copy(io.Discard, req.Body)
				if err != nil {
					return err
				}
				return rep.SetJSON(n)
			}, nil)
		})
		w := callWire(t, n, s.Addr())
		const requests = 7 // 7 MiB in all
		for i := range requests {
			w.send(pk("HEADER", i, ask("Sample.late", i+1, "sector", "")))
		}
		synctest.Wait()
		for i := range requests {
			for range 8 {
				w.send(pk("DATA", i, strings.Repeat("x", 131072)))
			}
			w.send(pk("EOF", i, ""))
		}
		synctest.Wait()
		close(read)
		for range requests {
			if m := w.message(); m.body != "1048576" {
				t.Errorf("reply %s %q, want all of 1 MiB read", m.json, m.body)
			}
		}
		noRefusal(t, s.Bus.Stats())
	})
}

// The callers of the recordings meet the default limits of a service, all at once on
// connections of their own, and none is refused anything. One recording has a packet that
// only its author takes; it stays out.
func TestRecordedCallersAreNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("lab", lab)
		for _, file := range conversations(t) {
			all := transcript(t, file)
			messages := recordedMessages(t, all, true)
			if slices.ContainsFunc(all, func(p recorded) bool { return len(p.body) > 131072 }) {
				continue
			}
			w := callWire(t, n, s.Addr())
			w.acks.Store(true)
			sent := map[int]int{}
			for _, p := range all {
				if !p.fromCaller || p.kind == "ACK" {
					continue
				}
				if p.kind == "DATA" && messages[p.no].header.HasSector {
					w.awaitAck(p.no, sent[p.no]-65535)
				}
				if p.kind == "DATA" {
					sent[p.no] += len(p.body)
				}
				w.send(p.octets())
			}
		}
		synctest.Wait()
		stats := maps.Clone(s.Bus.Stats())
		delete(stats, "message_ignored") // they also send what belongs to nobody
		noRefusal(t, stats)
	})
}
