package discovery_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A roaming capture has interfaces that come and go.
type roaming struct {
	capture
	mu      sync.Mutex // protects all below
	ifaces  []discovery.Iface
	changed chan struct{}
}

func (r *roaming) Ifaces() []discovery.Iface {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ifaces)
}

func (r *roaming) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *roaming) roam(ifaces ...discovery.Iface) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.ifaces, r.changed = ifaces, make(chan struct{})
}

// TestAnnouncerRoams: an interface that comes is announced on at once, with the octets
// that were sent before unless it needs another address; on one that is gone nothing is
// sent; without any the announcer waits.
func TestAnnouncerRoams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &roaming{capture: capture{start: time.Now()}, changed: make(chan struct{})}
		a := newAnnouncer(t, c, func(o *discovery.AnnouncerOptions) { o.Ifaces = nil })
		run(t, a.Run)
		wrong := content()
		wrong.Ident = ""
		if err := a.Set(wrong); err == nil {
			t.Error("Set of content without ident, and no interface: no error")
		}
		if err := a.Set(content()); err != nil {
			t.Fatal(err)
		}
		if err := a.Announced(t.Context()); err == nil || !strings.Contains(err.Error(), "no interface") {
			t.Errorf("Announced without an interface: %v: want an error that says so", err)
		}
		time.Sleep(12 * time.Second)
		if sent := c.take(); len(sent) != 0 || a.Stats().Counters["announce_send_failed"] != 0 {
			t.Errorf("%d packets without an interface, counters %v: want none", len(sent), a.Stats().Counters)
		}

		c.roam(first)
		begun := c.take()
		if len(begun) != 1 || begun[0].iface != first || begun[0].at != 12*time.Second {
			t.Fatalf("first interface: sent %v: want one packet at once", times(begun))
		}
		if err := a.Announced(t.Context()); err != nil {
			t.Errorf("Announced: %v", err)
		}
		third := discovery.Iface{Name: "eth2", Addr: first.Addr.Next()}
		c.roam(first, third)
		sent := c.take()
		if len(sent) != 2 || !bytes.Equal(sent[0].data, begun[0].data) || !bytes.Equal(sent[1].data, begun[0].data) {
			t.Errorf("third interface: %d packets: want the same octets on both", len(sent))
		}
		c.roam(second)
		sent = c.take()
		if len(sent) != 1 || sent[0].iface != second || sent[0].announced(t).Address != content().Addresses[1] {
			t.Fatalf("second interface: %d packets: want one there with its address", len(sent))
		}
		if sent[0].announced(t).Timestamp <= begun[0].announced(t).Timestamp {
			t.Error("another address is announced with an old timestamp: want a newer one")
		}
		c.roam()
		time.Sleep(7 * time.Second)
		c.roam(second)
		if again := c.take(); len(again) != 1 || !bytes.Equal(again[0].data, sent[0].data) {
			t.Errorf("the interface comes back: %d packets: want the octets of before at once", len(again))
		}
		time.Sleep(5 * time.Second)
		if sent := c.take(); len(sent) != 1 {
			t.Errorf("%d packets in the interval after: want one", len(sent))
		}
		if err := a.Withdraw(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.take()
		c.roam(first) // a service that stops must say so there, too
		if sent := c.take(); len(sent) == 0 || !sent[0].announced(t).Withdrawn() {
			t.Errorf("another interface while withdrawn: %d packets: want a withdrawal", len(sent))
		}
	})
}

// TestAnnouncerTellsFailureOnce: one line when sending begins to fail, one when it
// works again, however long that takes.
func TestAnnouncerTellsFailureOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		c := &capture{start: time.Now()}
		a := newAnnouncer(t, c, func(o *discovery.AnnouncerOptions) { o.Log = textLog(&log) })
		run(t, a.Run)
		a.Set(content())
		c.take()
		c.fail(errors.New("network is unreachable"))
		time.Sleep(58 * time.Second)
		c.fail(nil)
		time.Sleep(time.Minute)
		if got := log.String(); strings.Count(got, "not sent") != 1 || strings.Count(got, "sent again") != 1 || strings.Count(got, "\n") != 2 {
			t.Errorf("log %q: want one line when it begins and one when it ends", got)
		}
		if n := a.Stats().Counters["announce_send_failed"]; n != 11 {
			t.Errorf("announce_send_failed is %d: want 11", n)
		}
	})
}
