package wire_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/scampbus/scamp-go/scamp/internal/wire"
)

// lay lays a wire between two hosts for one test.
func lay(t *testing.T, seed uint64, names ...string) *wire.Wire {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOT TESTED: a wire between network namespaces needs root")
	}
	w, err := wire.New(seed, names...)
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: %v", err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// udp opens a socket for datagrams on a host.
func udp(t *testing.T, h *wire.Host) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := h.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: h.Addr.AsSlice(), Port: 4000})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// hear reads datagrams until one says "end", or none comes for a while.
func hear(t *testing.T, c *net.UDPConn, quiet time.Duration) (got []string) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		c.SetReadDeadline(time.Now().Add(quiet))
		n, err := c.Read(buf)
		if err != nil || string(buf[:n]) == "end" {
			return got
		}
		got = append(got, string(buf[:n]))
	}
}

func send(t *testing.T, c *net.UDPConn, to *wire.Host, text string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), netip.AddrPortFrom(to.Addr, 4000)); err != nil {
		t.Fatal(err)
	}
}

// numbered sends n datagrams from one host to another and returns the numbers that came.
func numbered(t *testing.T, w *wire.Wire, n, octets int) string {
	t.Helper()
	a, b := w.Hosts()[0], w.Hosts()[1]
	from, to := udp(t, a), udp(t, b)
	heard := make(chan []string, 1)
	go func() { heard <- hear(t, to, 10*time.Second) }()             // ends with the word end
	before, packets := w.Stats().Sent, uint64((octets+12+1479)/1480) // with its number and UDP's header, in fragments
	for i := range n {
		send(t, from, b, fmt.Sprintf("%d %s", i, strings.Repeat("x", octets)))
		// One after the other: a burst overruns the socket, and what the wire has not seen
		// before the faults end would not meet them.
		for late := time.Now().Add(5 * time.Second); w.Stats().Sent < before+uint64(i+1)*packets; {
			if time.Now().After(late) {
				t.Fatalf("the wire has seen %d packets, want %d for %d datagrams of %d octets", w.Stats().Sent-before, uint64(i+1)*packets, i+1, octets)
			}
			time.Sleep(50 * time.Microsecond)
		}
	}
	w.Disturb(wire.Faults{})
	send(t, from, b, "end")
	var numbers []string
	for _, text := range <-heard {
		number, _, _ := strings.Cut(text, " ")
		numbers = append(numbers, number)
	}
	from.Close()
	to.Close()
	return strings.Join(numbers, " ")
}

// TestSeedRepeats is invariant 1 on a real wire: which datagrams are lost and repeated,
// and which are fragments of, is the seed's.
func TestSeedRepeats(t *testing.T) {
	t.Parallel() // it waits most of the time
	faults := wire.Faults{Loss: 0.1, Duplicate: 0.1, FragmentLoss: 0.1}
	run := func(seed uint64, octets int) string {
		w := lay(t, seed, "a", "b")
		defer w.Close()
		w.Disturb(faults)
		return numbered(t, w, 100, octets)
	}
	for _, octets := range []int{10, 4000} { // a fragment that is lost loses its datagram
		one, again, other := run(1, octets), run(1, octets), run(2, octets)
		if one != again || one == other {
			t.Errorf("datagrams of %d octets with seed 1: %s\nagain: %s\nwith seed 2: %s\nwant the first two equal", octets, one, again, other)
		}
	}
	clean := lay(t, 1, "a", "b")
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint(i))
	}
	if got := numbered(t, clean, 100, 4000); got != strings.Join(want, " ") {
		t.Errorf("without faults %s came: want all in order (invariant 3)", got)
	}
}

// TestStreamSurvives: TCP brings every octet over a wire with all faults at once, and the
// wire counts what it did.
func TestStreamSurvives(t *testing.T) {
	t.Parallel() // it waits most of the time
	w := lay(t, 3, "a", "b")
	w.Disturb(wire.Faults{Loss: 0.01, Reorder: 0.02, Duplicate: 0.01, Corrupt: 0.01, Delay: time.Millisecond, Jitter: time.Millisecond})
	a, b := w.Hosts()[0], w.Hosts()[1]
	var l net.Listener
	if err := b.Do(func() (err error) { l, err = net.Listen("tcp", b.Addr.String()+":0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sum := make(chan [32]byte, 1)
	go func() { // ends with the connection, or the listener
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		h := sha256.New()
		io.Copy(h, c)
		sum <- [32]byte(h.Sum(nil))
	}()
	body := make([]byte, 1<<20)
	rand.Read(body)
	var c net.Conn
	if err := a.Do(func() (err error) { c, err = net.Dial("tcp", l.Addr().String()); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(body); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case got := <-sum:
		if got != sha256.Sum256(body) {
			t.Error("other octets came than were sent")
		}
	case <-time.After(time.Minute):
		t.Fatalf("1 MiB has not come in a minute; %+v", w.Stats())
	}
	if s := w.Stats(); s.Lost == 0 || s.Reordered == 0 || s.Duplicated == 0 || s.Corrupted == 0 || s.Sent < 700 {
		t.Errorf("the wire counted %+v: want each fault some times", s)
	}
}

// TestCut: a cut is of one direction, of multicast alone, or of all, and can be mended.
// Multicast comes to all others.
func TestCut(t *testing.T) {
	t.Parallel() // it waits most of the time
	w := lay(t, 1, "a", "b", "c")
	group := netip.MustParseAddrPort("239.1.2.3:4001")
	hosts := w.Hosts()
	var all []*net.UDPConn
	for _, h := range hosts {
		c := udp(t, h)
		all = append(all, c)
		m := ipv4.NewPacketConn(c)
		m.SetMulticastLoopback(false)
		if err := h.Do(func() error {
			iface, err := net.InterfaceByName("wire0")
			if err != nil {
				return err
			}
			return m.SetMulticastInterface(iface)
		}); err != nil {
			t.Fatal(err)
		}
	}
	var heard []*net.UDPConn // what is sent to the group
	for _, h := range hosts {
		var c *net.UDPConn
		if err := h.Do(func() error {
			iface, err := net.InterfaceByName("wire0")
			if err != nil {
				return err
			}
			c, err = net.ListenMulticastUDP("udp4", iface, net.UDPAddrFromAddrPort(group))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		heard = append(heard, c)
	}
	for _, tt := range []struct {
		name string
		cut  func(from, to *wire.Host, p wire.Packet) bool
		want string // who hears a, b and the group that a sends to
	}{
		{"whole", nil, "b:from a c:from a a:from b b:to all c:to all"},
		{"a to b", func(from, to *wire.Host, _ wire.Packet) bool { return from == hosts[0] && to == hosts[1] }, "c:from a a:from b c:to all"},
		{"multicast", func(_, _ *wire.Host, p wire.Packet) bool { return p.Multicast() }, "b:from a c:from a a:from b"},
		{"all", func(_, _ *wire.Host, _ wire.Packet) bool { return true }, ""},
		{"mended", nil, "b:from a c:from a a:from b b:to all c:to all"},
	} {
		w.Cut(tt.cut)
		send(t, all[0], hosts[1], "from a")
		send(t, all[0], hosts[2], "from a")
		send(t, all[1], hosts[0], "from b")
		if _, err := all[0].WriteToUDPAddrPort([]byte("to all"), group); err != nil {
			t.Fatal(err)
		}
		var got [5][]string
		var listeners sync.WaitGroup
		for i, c := range []*net.UDPConn{all[1], all[2], all[0], heard[1], heard[2]} {
			listeners.Go(func() { // ends when nothing more comes
				for _, text := range hear(t, c, 200*time.Millisecond) {
					got[i] = append(got[i], hosts[[]int{1, 2, 0, 1, 2}[i]].Name+":"+text)
				}
			})
		}
		listeners.Wait()
		if got := strings.Join(slices.Concat(got[:]...), " "); got != tt.want {
			t.Errorf("%s: heard %q: want %q", tt.name, got, tt.want)
		}
	}
}

// TestOrphansFillReassembly: what OrphanFragment makes, a kernel takes for a fragment, and
// counts as one that never became whole.
func TestOrphansFillReassembly(t *testing.T) {
	t.Parallel() // it waits most of the time
	w := lay(t, 1, "a", "b")
	b := w.Hosts()[1]
	for id := range uint16(20) {
		w.Inject(b, wire.OrphanFragment(netip.MustParseAddr("10.9.8.7"), b.Addr, id))
	}
	var waiting int
	for deadline := time.Now().Add(5 * time.Second); waiting != 20 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // the kernel tells nobody
		var text []byte
		if err := b.Do(func() (err error) { text, err = os.ReadFile("/proc/thread-self/net/sockstat"); return err }); err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "FRAG: inuse ")
		fmt.Sscan(rest, &waiting)
	}
	if waiting != 20 {
		t.Errorf("%d datagrams wait for their fragments: want 20", waiting)
	}
}

// TestStart: a process of a host has the host's network, and no other.
func TestStart(t *testing.T) {
	t.Parallel() // it waits most of the time
	w := lay(t, 1, "a", "b")
	var out bytes.Buffer
	cmd := exec.Command("ip", "-o", "-4", "addr", "show")
	cmd.Stdout = &out
	if err := w.Hosts()[1].Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "10.123.48.2/24") || strings.Count(got, "inet") != 2 {
		t.Errorf("the addresses of a process on host b are\n%s\nwant 10.123.48.2 and 127.0.0.1", got)
	}
	w.Close()
	if err := w.Hosts()[1].Do(func() error { return nil }); err == nil {
		t.Error("a closed host runs something")
	}
}

// TestNewRefuses: one host is no network.
func TestNewRefuses(t *testing.T) {
	for _, names := range [][]string{nil, {"a"}, make([]string, 17)} {
		if w, err := wire.New(1, names...); err == nil {
			w.Close()
			t.Errorf("New with %d hosts: no error", len(names))
		}
	}
}

// TestLostThread: a thread that cannot leave a host rests until Close, since it would take
// the children with it that it has started.
func TestLostThread(t *testing.T) {
	w := lay(t, 1, "a", "b")
	var nothing [2]unix.CapUserData // it may do no more
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	failed := make(chan error, 1)
	go func() { // ends at once, and its thread with it if that were its own
		failed <- w.Hosts()[0].Do(func() error {
			return errors.Join(cmd.Start(), unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &nothing[0]))
		})
	}()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "return from a host") {
		t.Fatalf("%v from a thread that may not leave, want that it says so", err)
	}
	dead := make(chan error, 1)
	go func() { dead <- cmd.Wait() }() // ends with the child
	select {
	case err := <-dead:
		t.Fatalf("the child has ended with its thread: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	w.Close() // and the goroutine ends
	cmd.Process.Kill()
	<-dead
}
