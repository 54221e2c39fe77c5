package scamp_test

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A port that somebody holds when a bus is opened does not leave it deaf for good.
func TestBusListensLater(t *testing.T) {
	held, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4zero}) // without SO_REUSEADDR
	if err != nil {
		t.Fatal(err)
	}
	var log syncBuffer
	cfg := &scamp.Config{BusAddress: []string{"127.0.0.1"}, MulticastAddress: netip.MustParseAddr("239.63.248.107"), DiscoveryPort: held.LocalAddr().(*net.UDPAddr).Port}
	bus, err := scamp.Open(cfg, &scamp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		held.Close()
		t.Fatal(err)
	}
	defer bus.Close()
	said := scamptest.Eventually(func() bool { return strings.Contains(log.String(), "tried again") })
	held.Close()
	if !said {
		t.Skipf("SKIP: a port that is held can be shared here: %s", log.String())
	}
	if !scamptest.Eventually(func() bool { return strings.Contains(log.String(), "listening for announcements now") }) {
		t.Errorf("log %s: want the bus to listen when the port is free", log.String())
	}
}
