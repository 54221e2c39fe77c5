package scamp_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
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
// than requests, and other callers are served.
func FuzzService(f *testing.F) {
	n := scamptest.New(f)
	s := n.Serve("lab", lab)
	for _, octets := range conversationsOf(f, true) {
		f.Add(octets)
	}
	good, asked := callWire(f, n, s.Addr()), 0
	f.Fuzz(func(t *testing.T, octets string) {
		w := callWire(t, n, s.Addr())
		w.acks.Store(true)
		w.send(octets)
		w.c.CloseWrite()
		got := w.over()
		if replies, requests := strings.Count(got, "HEADER "), strings.Count(octets, "HEADER "); replies > requests {
			t.Errorf("%q: %d messages came back for %d", octets, replies, requests)
		}
		good.t = t
		good.send(msg(asked, ask("Lab.echo", asked+1), "x"))
		if m := good.message(); m.no != asked || m.body != "x" {
			t.Errorf("after %q another caller gets %s with %q, want x", octets, m.json, m.body)
		}
		asked++
	})
}

// FuzzClient answers a call with octets. However they end, the call does, with a reply
// or an error that says whether it may have run.
func FuzzClient(f *testing.F) {
	for _, octets := range conversationsOf(f, false) {
		f.Add(octets)
	}
	f.Fuzz(func(t *testing.T, octets string) {
		c, w := newFar(t).client(nil)
		done := inBackground(t.Context(), c, echoReq("x"))
		w.message()
		w.send(octets)
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
}
