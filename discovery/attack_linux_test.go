package discovery_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scampbus/scamp-go/discovery"
)

// observeInChild is what a process on the attacked host does: it prints what it finds,
// loses and logs until it is killed.
func observeInChild(t *testing.T, interval time.Duration) {
	var address string
	var port int
	fmt.Sscanf(os.Getenv("SCAMP_TEST_GROUP"), "%s %d", &address, &port)
	m := newMulticast(t, netip.MustParseAddr(address), port, discovery.Iface{Name: "eth0", Addr: netip.MustParseAddr("10.123.47.2")})
	log := textLog(os.Stdout)
	d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now, Log: log, Limits: discovery.Limits{MinInterval: interval}})
	go discovery.NewObserver(m, d, &discovery.ObserverOptions{Log: log}).Run(t.Context()) // ends with the process
	for e := range d.Watch(t.Context(), discovery.Query{Action: "Sample.echo"}) {
		fmt.Printf("%v %s\n", e.Kind, e.Route.Ident)
	}
}

// observerOn starts it on host 1 of a cable.
func (c *cable) observerOn(test string) *syncBuffer {
	child := exec.Command("ip", "netns", "exec", c.host(1), os.Args[0], "-test.run=^"+test+"$", "-test.v")
	child.Env = append(os.Environ(), "SCAMP_TEST_CHILD="+test, fmt.Sprintf("SCAMP_TEST_GROUP=%s %d", c.group, c.port))
	out := new(syncBuffer)
	child.Stdout, child.Stderr = out, out
	if err := child.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		child.Process.Kill()
		child.Wait()
	})
	return out
}

// says waits until a child says something.
func says(t *testing.T, out *syncBuffer, text string, most time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(most); !strings.Contains(out.String(), text); time.Sleep(10 * time.Millisecond) { // another process
		if time.Now().After(deadline) {
			t.Fatalf("the observer says %q: want %q within %v", out.String(), text, most)
		}
	}
}

// senderOn returns a carrier on host 0 of a cable.
func (c *cable) senderOn() (m *discovery.Multicast, at discovery.Iface) {
	at = discovery.Iface{Name: "eth0", Addr: c.addr(0)}
	var err error
	inNamespace(c.t, c.host(0), func() {
		m, err = discovery.NewMulticast(discovery.MulticastOptions{Group: c.group, Port: c.port, Ifaces: []discovery.Iface{at}})
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { m.Close() })
	return m, at
}

// orphans sends first fragments of datagrams that never become whole, rate a second, from
// host 0 until ctx ends.
func (c *cable) orphans(ctx context.Context, rate int) error {
	fd, err := -1, error(nil)
	inNamespace(c.t, c.host(0), func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) })
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, c.addr(0).As4()); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	packet := make([]byte, 1500)
	packet[0], packet[8], packet[9] = 0x45, 1, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	packet[6] = 0x20 // more fragments follow
	group := c.group.As4()
	copy(packet[16:], group[:])
	for id := uint32(1); ; id++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		packet[12], packet[13] = 10, 124 // the source is made up
		binary.BigEndian.PutUint16(packet[14:], uint16(id>>8))
		binary.BigEndian.PutUint16(packet[4:], uint16(id))
		if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: group}); err != nil {
			return err
		}
	}
}

// TestFragmentsLost is THREATS D21: a flood of fragments that never become whole keeps
// announcements over one datagram from being heard, and none that fits into one; an alarm
// is raised within 20 s. Times are a tenth of the usual, except with SCAMP_TEST_LONG.
func TestFragmentsLost(t *testing.T) {
	interval, rate := 500*time.Millisecond, 1000
	if os.Getenv("SCAMP_TEST_LONG") != "" {
		interval, rate = 5*time.Second, 100
	}
	if os.Getenv("SCAMP_TEST_CHILD") == t.Name() {
		observeInChild(t, interval)
		return
	}
	t.Parallel() // it waits most of the time
	c := newCable(t, 2)
	out := c.observerOn(t.Name())
	m, at := c.senderOn()
	services := []service{{ident: "small", interval: interval}, {ident: "large0", interval: interval}, {ident: "large1", interval: interval}}
	for i := range services {
		s := &services[i]
		for range 30 {
			action := discovery.Action{Class: "Sample", Name: "a" + rand.Text()}
			if strings.HasPrefix(s.ident, "small") {
				action.Name = fmt.Sprintf("action%d", len(s.actions))
			}
			s.actions = append(s.actions, action)
		}
		s.actions = append(s.actions, discovery.Action{Class: "Sample", Name: "echo"})
		packet := s.datagram()
		if (len(packet) > 1472) != strings.HasPrefix(s.ident, "large") {
			t.Fatalf("%s has %d octets", s.ident, len(packet))
		}
		run(t, func(ctx context.Context) error {
			for ctx.Err() == nil {
				m.Send(ctx, at, packet)
				select {
				case <-ctx.Done():
				case <-time.After(interval):
				}
			}
			return ctx.Err()
		})
	}
	for _, s := range services {
		says(t, out, "added "+s.ident, 10*time.Second)
	}
	began := time.Now()
	run(t, func(ctx context.Context) error { return c.orphans(ctx, rate) })
	says(t, out, "ragments of IP ", 20*time.Second)
	t.Logf("an alarm after %v", time.Since(began).Round(100*time.Millisecond))
	says(t, out, "removed large", 60*time.Second)
	t.Logf("the first removal after %v", time.Since(began).Round(100*time.Millisecond))
	if strings.Contains(out.String(), "removed small") {
		t.Errorf("the observer says %q: want the service that fits into one datagram kept", out)
	}
}

// TestObserverSendsNothing is THREATS D26: whatever a host hears, its observer sends no
// datagram at all.
func TestObserverSendsNothing(t *testing.T) {
	if os.Getenv("SCAMP_TEST_CHILD") == t.Name() {
		observeInChild(t, time.Second)
		return
	}
	t.Parallel() // it waits most of the time
	c := newCable(t, 2)
	out := c.observerOn(t.Name())
	m, at := c.senderOn()
	good := service{ident: "good"}.datagram()
	for i := range 40 { // the child starts meanwhile
		m.Send(t.Context(), at, good)
		if strings.Contains(out.String(), "added good") {
			break
		}
		time.Sleep(time.Duration(10+10*i) * time.Millisecond) // another process
	}
	says(t, out, "added good", 5*time.Second)
	flood, stop := context.WithCancel(t.Context())
	orphans := make(chan error, 1)
	go func() { orphans <- c.orphans(flood, 200) }() // ends with flood
	mix := [][]byte{
		nil, {'X'}, {'R'}, {'D'}, []byte("XXhello"), []byte("R" + string(good)), good[:len(good)/2], append(bytes.Clone(good), good...),
		bytes.Repeat([]byte("["), 18<<10), make([]byte, 65_507), discovery.Compress(make([]byte, 1<<20)), service{ident: "good", weight: -1}.datagram(),
		service{ident: "victim", address: "beepish+tls://10.123.47.1:5555"}.datagram(), service{ident: "other", key: "other"}.datagram(),
	}
	sent := 0
	for range 50 {
		for _, data := range mix {
			if err := m.Send(t.Context(), at, data); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		flipped := bytes.Clone(good)
		flipped[sent%len(flipped)] ^= 1 << (sent % 8)
		m.Send(t.Context(), at, flipped)
	}
	says(t, out, "removed good", 5*time.Second)
	stop()
	if err := <-orphans; err != context.Canceled {
		t.Errorf("fragments: %v", err)
	}
	var in, dropped, back uint64
	for deadline := time.Now().Add(10 * time.Second); in+dropped < uint64(sent) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // another process
		in, dropped, back = c.udpCounts(1)
	}
	t.Logf("%d datagrams heard, %d dropped by a full buffer, %d sent", in, dropped, back)
	if in+dropped < uint64(sent) || in < 100 || back != 0 {
		t.Errorf("the observer's host heard %d datagrams, dropped %d, and sent %d: want %d heard or dropped, and none sent", in, dropped, back, sent)
	}
}

// udpCounts returns how many datagrams a host heard, dropped and sent.
func (c *cable) udpCounts(h int) (in, dropped, out uint64) {
	text, err := exec.Command("ip", "netns", "exec", c.host(h), "cat", "/proc/net/snmp").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nUdp: InDatagrams NoPorts InErrors OutDatagrams")
	_, values, _ := strings.Cut(rest, "\nUdp: ")
	var noPorts uint64
	if _, err := fmt.Sscan(values, &in, &noPorts, &dropped, &out); err != nil {
		c.t.Fatalf("%v in %q", err, text)
	}
	return in, dropped, out
}
