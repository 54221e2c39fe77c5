package scamp_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// callableConfig is that of a bus on loopback which nobody else uses.
func callableConfig(t *testing.T, dir string, pair *scamp.KeyPair) *scamp.Config {
	var b [4]byte
	rand.Read(b[:])
	cfg := &scamp.Config{
		BusAddress:         []string{"127.0.0.1"},
		MulticastAddress:   netip.AddrFrom4([4]byte{239, 255, b[0], b[1]}),
		DiscoveryPort:      20000 + int(b[2])<<5 + int(b[3])>>3,
		AuthorizedServices: filepath.Join(dir, "authorized_services"),
	}
	if err := os.WriteFile(cfg.AuthorizedServices, []byte(pair.Certificate.Fingerprint+" main:ALL\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestWithoutInterface is THREATS X7: without a usable address for discovery a bus opens,
// tells so once, and names it in errors; a service with a listener of its own serves, and
// can be called by who knows where it is.
func TestWithoutInterface(t *testing.T) {
	var log syncBuffer
	pair := scamptest.New(t).KeyPair()
	cfg := callableConfig(t, t.TempDir(), pair)
	cfg.BusAddress = []string{"192.0.2.254", "if:nowhere0"}
	bus, err := scamp.Open(cfg, &scamp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	svc, err := bus.NewService("alone", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Alone.echo", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
		rep.SetBytes([]byte("here"))
		return nil
	}, nil)
	stop := serve(t, svc)
	c, err := bus.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reply, err := c.Call(t.Context(), &scamp.Request{Action: "Alone.echo"})
	if err != nil {
		t.Fatalf("call of a service that is not announced: %v", err)
	}
	if body, err := reply.Bytes(0); string(body) != "here" {
		t.Errorf("reply %q, %v: want here", body, err)
	}
	var ce *scamp.CallError
	began := time.Now()
	_, err = bus.Call(t.Context(), &scamp.Request{Action: "Alone.echo"})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("call by name: it took %v, want it to say at once what is wrong", took)
	}
	if !errors.Is(err, scamp.ErrNotFound) || !errors.As(err, &ce) || !strings.Contains(ce.Advice, "bus.address") {
		t.Errorf("call by name: %v: want not found, and bus.address in the advice", err)
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	<-time.After(2500 * time.Millisecond) // one more look at the interfaces
	bus.Close()
	if got := log.String(); strings.Count(got, "192.0.2.254") != 1 || strings.Count(got, "nowhere0") != 1 || strings.Contains(got, "not sent") {
		t.Errorf("log %s: want each address once", got)
	}
}
