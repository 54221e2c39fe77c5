package scamp_test

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// conversationsOf are octets that real peers, and the cases of the framing vectors, send.
func conversationsOf(f *testing.F, fromCaller bool) (all []string) {
	for _, file := range conversations(f) {
		var octets strings.Builder
		for _, p := range transcript(f, file) {
			if p.fromCaller == fromCaller && len(p.body) < 2000 {
				octets.WriteString(p.octets())
			}
		}
		all = append(all, octets.String())
	}
	var cases []struct{ Hex string }
	fixtures.JSON("framing/cases.json", &cases)
	for _, c := range cases {
		if b, err := hex.DecodeString(c.Hex); err == nil && len(b) < 4000 {
			all = append(all, string(b))
		}
	}
	return all
}

// FuzzService sends octets to a service. However they end, there are no more replies
// than messages, the connection ends with them, and other callers are served. The clock
// is synthetic: what can be answered has been when the octets end.
func FuzzService(f *testing.F) {
	scamptest.New(f).KeyPair() // made once; no fuzzing should wait for it
	for _, octets := range conversationsOf(f, true) {
		f.Add(octets)
	}
	const ours = `{"action":"\u0048EADER HEADER x","ext":{"v":1,"win":1048576,"cancel":1},"request_id":1,"type":"request"}`
	f.Add(msg(0, ours, "HEADER ") + msg(1, `{"request_id":2,"type":"subscribe"}`, `["x"]`))
	f.Add(pk("HEADER", 0, strings.Replace(ours, `\u0048EADER HEADER x`, "Lab.echo", 1)) + pk("DATA", 0, "HEAD") + pk("DATA", 0, "ER "))
	f.Fuzz(func(t *testing.T, octets string) {
		synctest.Test(t, func(t *testing.T) {
			n := scamptest.New(t)
			s := n.Serve("lab", lab)
			good, w := callWire(t, n, s.Addr()), callWire(t, n, s.Addr())
			w.acks.Store(true)
			w.send(octets)
			synctest.Wait()
			w.c.CloseWrite()
			replies := headersIn(w.over(), packet.TypeReply)
			if messages := headersIn(octets); replies > messages {
				t.Errorf("%q: %d replies came back for %d messages", octets, replies, messages)
			}
			good.send(msg(0, ask("Lab.echo", 1), "x"))
			if m := good.message(); m.no != 0 || m.body != "x" {
				t.Errorf("after %q another caller gets %s with %q, want x", octets, m.json, m.body)
			}
		})
	})
}

// headersIn counts the HEADERs in octets, as far as these are packets; with types, those
// of such a type alone.
func headersIn(octets string, types ...packet.Type) (n int) {
	r, headers := packet.NewReader(strings.NewReader(octets), packet.Limits{}), packet.NewHeaderReader(packet.Limits{})
	for {
		p, err := r.Next()
		if err != nil {
			return n
		}
		var h packet.Header
		if p.Kind == packet.KindHeader && (len(types) == 0 || headers.Parse(p.Body, &h) == nil && slices.Contains(types, h.Type)) {
			n++
		}
	}
}

// FuzzClient answers a call with octets. However they end, the call does, with a reply
// or an error that says whether it may have run. The clock is synthetic.
func FuzzClient(f *testing.F) {
	for _, octets := range conversationsOf(f, false) {
		f.Add(octets)
	}
	f.Fuzz(func(t *testing.T, octets string) {
		synctest.Test(t, func(t *testing.T) {
			c, w := newFar(t).client(nil)
			done := inBackground(t.Context(), c, echoReq("x"))
			w.message()
			w.send(octets)
			synctest.Wait()
			w.c.Close()
			select {
			case o := <-done:
				if o.err != nil && ranOf(o.err) < 0 {
					t.Errorf("%q: %v, want a CallError", octets, o.err)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%q: the call does not end", octets)
			}
			for name, n := range c.Stats() {
				if n > uint64(len(octets))+100 {
					t.Errorf("%q: %s is %d", octets, name, n)
				}
			}
		})
	})
}
