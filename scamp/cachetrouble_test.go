package scamp_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestCallsOutliveTheCacheFile is THREATS F12: whatever becomes of the cache file, who
// was in it is called on without one failure, errors say how the file is, and who is
// announced meanwhile is found.
func TestCallsOutliveTheCacheFile(t *testing.T) {
	last := 200 * time.Millisecond
	if os.Getenv("SCAMP_TEST_LONG") != "" {
		last = 5 * time.Second
	}
	n := scamptest.New(t)
	inFile, onAir := n.Serve("greeter", register), n.Serve("second", func(s *scamp.Service) { s.Handle("Second.echo", echo, nil) })
	announcement := func(live *scamptest.Service) *discovery.Announcement {
		for _, e := range live.Bus.Directory().All() {
			if e.Peer.Ident == live.Ident() {
				return e.Announcement
			}
		}
		t.Fatalf("%s is not in its own directory", live.Ident())
		return nil
	}
	dir := t.TempDir()
	cache, rules, fresh := filepath.Join(dir, "cache"), filepath.Join(dir, "rules"), filepath.Join(dir, "fresh")
	lines := inFile.KeyPair.Certificate.Fingerprint + " main:ALL\n" + onAir.KeyPair.Certificate.Fingerprint + " main:ALL\n"
	put := func() error {
		text := append([]byte("\n%%%\n"), announcement(inFile).Record()...)
		return errors.Join(os.RemoveAll(cache), os.WriteFile(fresh, text, 0o644), os.Rename(fresh, cache))
	}
	if err := errors.Join(put(), os.WriteFile(rules, []byte(lines), 0o644)); err != nil {
		t.Fatal(err)
	}
	carrier := discovery.NewLoopback()
	defer carrier.Close()
	bus, err := scamp.Open(&scamp.Config{CachePath: cache, AuthorizedServices: rules}, &scamp.Options{Log: ticketscan.Log(t, nil), Dial: n.Dial, Carriers: []discovery.Carrier{carrier}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	call := func(when string) {
		t.Helper()
		<-tick.C
		if out, err := scamp.Call[greeting](t.Context(), bus, "Greeter.hello", who{"x"}); err != nil || out.Text != "hello x" {
			t.Fatalf("%s: %+v, %v: want hello x", when, out, err)
		}
	}
	call("with a good file")
	for _, tt := range []struct {
		name, want string
		do         func() error
	}{
		{"deleted", "is missing", func() error { return os.Remove(cache) }},
		{"a directory", "is a directory", func() error { return errors.Join(os.Remove(cache), os.Mkdir(cache, 0o755)) }},
		{"a FIFO", "is a FIFO", func() error { return errors.Join(os.Remove(cache), syscall.Mkfifo(cache, 0o644)) }},
		{"0 octets", "0 octets in it", func() error { return os.Truncate(cache, 0) }},
		{"two minutes old", "is stale", func() error {
			old := time.Now().Add(-121 * time.Second)
			return os.Chtimes(cache, old, old)
		}},
	} {
		if err := tt.do(); err != nil {
			t.Fatal(tt.name, err)
		}
		for limit := time.Now().Add(20 * time.Second); ; {
			call(tt.name)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // a new bus waits for it for a while
			_, err := bus.Call(ctx, &scamp.Request{Action: "Nobody.does"})
			cancel()
			if errors.Is(err, scamp.ErrStale) && strings.Contains(err.Error(), cache) && strings.Contains(err.Error(), tt.want) {
				break
			}
			if time.Now().After(limit) {
				t.Fatalf("%s: an error still says %v: want ErrStale with the path and %q", tt.name, err, tt.want)
			}
		}
		for end := time.Now().Add(last); time.Now().Before(end); {
			call(tt.name)
		}
		if err := carrier.Send(t.Context(), discovery.Iface{}, discovery.Compress(announcement(onAir).Packet())); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := bus.Directory().Wait(ctx, discovery.Query{Action: "Second.echo"}); err != nil {
			t.Fatalf("%s: who is announced meanwhile is not heard: %v", tt.name, err)
		}
		if reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Second.echo", Data: []byte("x")}); err != nil {
			t.Errorf("%s: call of who is announced meanwhile: %v", tt.name, err)
		} else if body, err := reply.Bytes(0); string(body) != "x" {
			t.Errorf("%s: call of who is announced meanwhile: %q, %v: want x", tt.name, body, err)
		}
		if err := put(); err != nil {
			t.Fatal(err)
		}
		call(tt.name + ", and back")
	}
}
