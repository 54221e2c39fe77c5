package scamp_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A service tells its window to a peer of ours as soon as a request is longer than what
// has come of it, not only with the reply: else the first long request on a connection
// goes at the pace of 65536 octets a round trip (PROTOCOL 3.7). Others are told nothing.
func TestWindowIsToldDuringTheFirstRequest(t *testing.T) {
	const ours = `{"action":"Sample.echo","envelope":"json","ext":{"v":1,"win":1048576,"cancel":1},"request_id":1,"type":"request","version":1}`
	for _, tt := range []struct {
		name, header string
		told         bool
	}{
		{"ours", ours, true},
		{"that takes no cancel", strings.Replace(ours, `,"cancel":1`, "", 1), false},
		{"old", ask("Sample.echo", 1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				s := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
				w := callWire(t, n, s.Addr())
				w.acks.Store(true)
				w.send(pk("HEADER", 0, tt.header) + pk("DATA", 0, "first half, "))
				synctest.Wait()
				if tt.told {
					if m := w.message(); m.header.Type != packet.TypeCancel || m.header.Ext.Win != 1<<20 || m.body != "" {
						t.Errorf("message %s, want a cancel with ext.win", m.json)
					}
				}
				w.send(pk("DATA", 0, "second half") + pk("EOF", 0, ""))
				m := w.message()
				if want := "first half, second half"; m.header.Type != packet.TypeReply || m.body != want || (m.header.Ext.Win != 0) == tt.told {
					t.Errorf("message %s with %q, want the reply %q", m.json, m.body, want)
				}
				w.quiet()
			})
		})
	}
}
