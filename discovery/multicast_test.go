package discovery_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// lo is the loopback interface, which has no MULTICAST flag.
var lo = discovery.Iface{Name: "lo", Addr: netip.MustParseAddr("127.0.0.1")}

// testGroup returns a group and port that nobody else on this machine uses.
func testGroup() (netip.Addr, int) {
	var b [4]byte
	rand.Read(b[:])
	return netip.AddrFrom4([4]byte{239, 255, b[0], b[1]}), 20000 + int(b[2])<<5 + int(b[3])>>3
}

// newMulticast opens a carrier on loopback or skips.
func newMulticast(t *testing.T, group netip.Addr, port int, ifaces ...discovery.Iface) *discovery.Multicast {
	m, err := discovery.NewMulticast(discovery.MulticastOptions{Group: group, Port: port, Ifaces: ifaces})
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: multicast on loopback does not work here: %v", err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestMulticast: two listeners on one host hear every datagram, and know the
// interface; a listener hears nothing of another group on the same port, and
// nothing sent straight to it.
func TestMulticast(t *testing.T) {
	group, port := testGroup()
	other, _ := testGroup()
	a, b := newMulticast(t, group, port, lo), newMulticast(t, group, port, lo)
	stranger := newMulticast(t, other, port, lo)
	if len(a.Problems()) > 0 || a.Group() != netip.AddrPortFrom(group, uint16(port)) || len(a.Ifaces()) != 1 {
		t.Errorf("problems %v, group %v, interfaces %v: want none, and what was asked for", a.Problems(), a.Group(), a.Ifaces())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := stranger.Send(ctx, lo, []byte("stranger")); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		c.Write([]byte("unicast")) // nobody listens there
		c.Close()
	}
	for i := range 3 {
		if err := a.Send(ctx, lo, fmt.Appendf(nil, "datagram %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []*discovery.Multicast{a, b} {
		for i := range 3 {
			dg, err := m.Receive(ctx)
			if err != nil || string(dg.Data) != fmt.Sprintf("datagram %d", i) || dg.Iface.Name != "lo" || !dg.Iface.Addr.IsLoopback() || !dg.From.Addr().IsLoopback() {
				t.Errorf("Receive: %q on %v from %v, %v: want datagram %d", dg.Data, dg.Iface, dg.From, err, i)
			}
		}
	}
	large := make([]byte, 65_507)
	if err := a.Send(ctx, lo, large); err != nil {
		t.Fatal(err)
	}
	if dg, err := b.Receive(ctx); err != nil || len(dg.Data) != len(large) {
		t.Errorf("Receive of the largest datagram: %d octets, %v", len(dg.Data), err)
	}
}

// TestMulticastWaits: Receive ends with its context and works again after, and
// ends for good with Close.
func TestMulticastWaits(t *testing.T) {
	group, port := testGroup()
	m := newMulticast(t, group, port, lo)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := m.Receive(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("Receive: %v: want context.Canceled", err)
		}
	}
	m.Send(t.Context(), lo, []byte("x"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if dg, err := m.Receive(ctx); err != nil || string(dg.Data) != "x" {
		t.Errorf("Receive: %q, %v: want x", dg.Data, err)
	}
	closed := make(chan struct{})
	time.AfterFunc(10*time.Millisecond, func() {
		m.Close()
		close(closed)
	})
	if _, err := m.Receive(ctx); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive after Close: %v: want net.ErrClosed", err)
	}
	<-closed
	if err := m.Send(ctx, lo, []byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v: want net.ErrClosed", err)
	}
}

// TestMulticastWithoutInterface is THREATS X7: what cannot be used is named, and
// the rest goes on.
func TestMulticastWithoutInterface(t *testing.T) {
	group, port := testGroup()
	nowhere := discovery.Iface{Name: "nowhere0", Addr: netip.MustParseAddr("192.0.2.77")}
	m := newMulticast(t, group, port, nowhere, lo, lo)
	if len(m.Problems()) != 1 || len(m.Ifaces()) != 1 || m.Ifaces()[0] != lo {
		t.Errorf("problems %v, interfaces %v: want one problem and lo once", m.Problems(), m.Ifaces())
	}
	if err := m.Send(t.Context(), nowhere, []byte("x")); err == nil {
		t.Error("Send on an interface that was left out: no error")
	}
	for name, opts := range map[string]discovery.MulticastOptions{
		"no interface":        {Group: group, Port: port},
		"no usable interface": {Group: group, Port: port, Ifaces: []discovery.Iface{nowhere}},
		"no address":          {Group: group, Port: port, Ifaces: []discovery.Iface{{Name: "lo"}}},
		"not a group":         {Group: netip.MustParseAddr("10.0.0.1"), Port: port, Ifaces: []discovery.Iface{lo}},
		"bad port":            {Group: group, Port: 70000, Ifaces: []discovery.Iface{lo}},
	} {
		if m, err := discovery.NewMulticast(opts); err == nil {
			m.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// TestMulticastDiscovery is the whole way, in real time: an announcer, datagrams
// on loopback, an observer, and Find.
func TestMulticastDiscovery(t *testing.T) {
	group, port := testGroup()
	sender, receiver := newMulticast(t, group, port, lo), newMulticast(t, group, port, lo)
	d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now})
	run(t, discovery.NewObserver(receiver, d, nil).Run)
	a, err := discovery.NewAnnouncer(sender, discovery.AnnouncerOptions{
		Ifaces: []discovery.Iface{lo}, Certificate: mustCertificate("sample"), Key: mustKey("sample"),
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a.Run)
	c := content()
	c.Addresses = []string{"beepish+tls://127.0.0.1:30100"}
	if err := a.Set(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	routes, err := d.Wait(ctx, discovery.Query{Action: "Sample.echo"})
	if err != nil || idents(routes) != "web:AAECAwQFBgcICQoLDA0ODxAR@127.0.0.1:30100" {
		t.Fatalf("Wait: %s, %v: want the announced service", idents(routes), err)
	}
	next, stop := iter.Pull(d.Watch(ctx, discovery.Query{Action: "Sample.echo"}))
	defer stop()
	next() // it is there
	if err := a.Withdraw(ctx); err != nil {
		t.Fatal(err)
	}
	if e, ok := next(); !ok || e.Kind != discovery.Removed || e.Why != discovery.Goodbye {
		t.Errorf("after the withdrawal: %v %v %v: want removed, goodbye", ok, e.Kind, e.Why)
	}
}

// TestMulticastOnRealInterfaces needs interfaces of its own, because tests send
// nothing into the network of others.
func TestMulticastOnRealInterfaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOT TESTED: multicast between network namespaces needs root")
	}
	testNamespaces(t)
}

// TestMulticastLost: what the kernel had no room for is counted.
func TestMulticastLost(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: this system does not say what it drops")
	}
	group, port := testGroup()
	m := newMulticast(t, group, port, lo)
	long := make([]byte, 60_000)
	if n := m.Lost(); n != 0 {
		t.Fatalf("%d lost before anything was sent", n)
	}
	const sent = 400 // 24 MB, more than any buffer of ours
	for range sent {
		if err := m.Send(t.Context(), lo, long); err != nil {
			t.Fatal(err)
		}
	}
	lost := m.Lost()
	taken := uint64(0)
	for ctx, cancel := context.WithTimeout(t.Context(), time.Second); ; taken++ {
		if _, err := m.Receive(ctx); err != nil {
			cancel()
			break
		}
	}
	if lost == 0 || lost+taken != sent {
		t.Errorf("%d sent, %d lost, %d taken: want some lost and none forgotten", sent, lost, taken)
	}
}
