package discovery_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A cable joins hosts, which are network namespaces, by a switch, which is another.
type cable struct {
	t     *testing.T
	name  string
	group netip.Addr
	port  int
}

// newCable lays one with that many hosts. Each has an interface eth0 that is up, with
// the address 10.123.47.N, but for those whose number is in bare.
func newCable(t *testing.T, hosts int, bare ...int) *cable {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOT TESTED: hosts that are network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("SKIPPED, NOT TESTED: hosts that are network namespaces need the command ip")
	}
	c := &cable{t: t, name: fmt.Sprintf("scampc%d", cables.next())}
	c.group, c.port = testGroup()
	c.must("netns", "add", c.name)
	t.Cleanup(func() { exec.Command("ip", "netns", "delete", c.name).Run() })
	c.must("-n", c.name, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
	c.must("-n", c.name, "link", "set", "br0", "up")
	for h := range hosts {
		c.must("netns", "add", c.host(h))
		t.Cleanup(func() { exec.Command("ip", "netns", "delete", c.host(h)).Run() })
		c.must("-n", c.host(h), "link", "set", "lo", "up")
		bareHost := false
		for _, b := range bare {
			bareHost = bareHost || b == h
		}
		if !bareHost {
			c.plug(h)
		}
	}
	return c
}

// cables numbers those of all processes that test at once.
var cables = cableNumber{n: os.Getpid() * 10}

type cableNumber struct {
	mu sync.Mutex // protects n
	n  int
}

func (c *cableNumber) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

func (c *cable) host(h int) string { return fmt.Sprintf("%sh%d", c.name, h) }

func (c *cable) addr(h int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 123, 47, byte(h + 1)})
}

// must runs ip and ends the test when that fails.
func (c *cable) must(args ...string) {
	c.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		c.t.Skipf("SKIPPED, NOT TESTED: ip %s: %s", strings.Join(args, " "), out)
	}
}

// plug gives a host its interface.
func (c *cable) plug(h int) {
	port := fmt.Sprintf("p%d", h)
	c.must("-n", c.name, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", c.host(h))
	c.must("-n", c.name, "link", "set", port, "master", "br0", "up")
	c.must("-n", c.host(h), "addr", "add", c.addr(h).String()+"/24", "dev", "eth0")
	c.must("-n", c.host(h), "link", "set", "eth0", "up")
}

// pull takes it away.
func (c *cable) pull(h int) { c.must("-n", c.host(h), "link", "delete", "eth0") }

// cut and join change the switch's end of the cable, which the host cannot see but by
// the silence.
func (c *cable) cut(h int) { c.must("-n", c.name, "link", "set", fmt.Sprintf("p%d", h), "nomaster") }
func (c *cable) join(h int) {
	c.must("-n", c.name, "link", "set", fmt.Sprintf("p%d", h), "master", "br0")
}

// A station is one host with a service, an observer and what they know.
type station struct {
	d     *discovery.Directory
	m     *discovery.Multicast
	a     *discovery.Announcer
	log   *syncBuffer
	mu    sync.Mutex // protects gone
	gone  []string   // idents removed, and why
	ident string
}

// testInterval is short, so that minutes become seconds.
const testInterval = 250 * time.Millisecond

// station starts one on a host, following the address of eth0.
func (c *cable) station(h int) *station {
	s := &station{log: new(syncBuffer), ident: fmt.Sprintf("host%d", h)}
	choose := func() ([]discovery.Iface, []error) {
		out, _ := exec.Command("ip", "-n", c.host(h), "-o", "-4", "addr", "show", "dev", "eth0", "up").Output()
		fields := strings.Fields(string(out)) // 2: eth0 inet 10.1.2.3/24 ...
		if len(fields) < 4 {
			return nil, []error{fmt.Errorf("no eth0 that is up")}
		}
		var index int
		fmt.Sscanf(fields[0], "%d:", &index)
		return []discovery.Iface{{Name: "eth0", Index: index, Addr: netip.MustParsePrefix(fields[3]).Addr()}}, nil
	}
	var err error
	inNamespace(c.t, c.host(h), func() {
		s.m, err = discovery.NewMulticast(discovery.MulticastOptions{
			Group: c.group, Port: c.port, Select: choose, Interval: testInterval, Log: textLog(s.log),
		})
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { s.m.Close() })
	run(c.t, func(ctx context.Context) error {
		inNamespace(c.t, c.host(h), func() { err = s.m.Follow(ctx) })
		return err
	})
	s.d = newDirectory(c.t, &discovery.DirectoryOptions{Now: time.Now, Limits: discovery.Limits{MinInterval: testInterval}, Log: textLog(s.log)})
	run(c.t, discovery.NewObserver(s.m, s.d, nil).Run)
	run(c.t, func(ctx context.Context) error {
		for e := range s.d.Watch(ctx, discovery.Query{Action: "Sample.echo"}) {
			if e.Kind == discovery.Removed {
				s.mu.Lock()
				s.gone = append(s.gone, e.Route.Ident+" "+e.Why.String())
				s.mu.Unlock()
			}
		}
		return ctx.Err()
	})
	s.a = newAnnouncer(c.t, s.m, func(o *discovery.AnnouncerOptions) {
		o.Ifaces, o.Interval, o.Sendings, o.Jitter, o.Now = nil, testInterval, 0, 0, time.Now
	})
	x := content()
	x.Ident, x.Addresses = s.ident, []string{"beepish+tls://" + c.addr(h).String() + ":30100"}
	if err := s.a.Set(x); err != nil {
		c.t.Fatal(err)
	}
	run(c.t, s.a.Run)
	return s
}

// removed returns who was removed so far, and forgets it.
func (s *station) removed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := strings.Join(s.gone, ", ")
	s.gone = nil
	return gone
}

// knows waits until a station knows these hosts and no others.
func (s *station) knows(t *testing.T, hosts ...int) {
	t.Helper()
	var want []string
	for _, h := range hosts {
		want = append(want, fmt.Sprintf("host%d", h))
	}
	var got []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { // the kernel tells nobody
		got = nil
		for _, r := range s.d.Find(discovery.Query{Action: "Sample.echo"}) {
			got = append(got, r.Ident)
		}
		if strings.Join(got, " ") == strings.Join(want, " ") {
			return
		}
	}
	t.Fatalf("%s knows %q after 10 s: want %q; its log:\n%s", s.ident, got, want, s.log)
}

// uses waits until a station uses one interface, or none.
func (s *station) uses(t *testing.T, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { // the next look
		got = ""
		for _, iface := range s.m.Ifaces() {
			got += iface.String()
		}
		if got == want {
			return
		}
	}
	t.Fatalf("%s uses %q after 10 s: want %q", s.ident, got, want)
}

// TestSegment: three hosts hear each other; one that is cut off is removed by the others
// and they by it, and comes back when the cable is whole; nobody else is removed
// meanwhile; goodbyes are heard within 50 ms.
func TestSegment(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := newCable(t, 3)
	all := []*station{c.station(0), c.station(1), c.station(2)}
	for _, s := range all {
		s.knows(t, 0, 1, 2)
	}
	time.Sleep(4 * testInterval) // in which nobody must be removed
	for i, s := range all {
		if gone := s.removed(); gone != "" {
			t.Errorf("host%d removed %s while all was well", i, gone)
		}
	}
	c.cut(2)
	all[0].knows(t, 0, 1)
	all[1].knows(t, 0, 1)
	all[2].knows(t, 2)
	c.join(2)
	for _, s := range all {
		s.knows(t, 0, 1, 2)
	}
	time.Sleep(4 * testInterval)
	for i, want := range []string{"host2 expired", "host2 expired", ""} {
		gone := all[i].removed()
		if i == 2 && (strings.Contains(gone, "host2") || strings.Count(gone, "expired") != 2) || i < 2 && gone != want {
			t.Errorf("host%d removed %q after a partition: want the other side once", i, gone)
		}
	}

	best := time.Hour
	for range 5 { // the machine may be busy with something else
		all[0].knows(t, 0, 1, 2)
		began := time.Now()
		if err := all[1].a.Withdraw(t.Context()); err != nil {
			t.Fatal(err)
		}
		all[0].knows(t, 0, 2)
		all[2].knows(t, 0, 2)
		best = min(best, time.Since(began))
		if err := all[1].a.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("a goodbye was heard by all after %v", best)
	if best > 50*time.Millisecond {
		t.Errorf("a goodbye was heard by all after %v: want 50 ms at most", best)
	}
}

// TestSegmentInterfaces: an interface that comes late, is made anew, goes down and up, or
// gets another address is joined again and announced on, and each is told once.
func TestSegmentInterfaces(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := newCable(t, 2, 1)
	one, late := c.station(0), c.station(1)
	one.knows(t, 0)
	if len(late.m.Ifaces()) != 0 || len(late.m.Problems()) != 1 || !strings.Contains(late.m.Trouble(), "no eth0 that is up") {
		t.Errorf("without an interface: %v, problems %v, trouble %q: want the problem", late.m.Ifaces(), late.m.Problems(), late.m.Trouble())
	}
	both := func(what string) {
		t.Helper()
		one.knows(t, 0, 1)
		late.knows(t, 0, 1)
		var trouble string
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { // it may know host0 from before
			if trouble = late.m.Trouble(); trouble == "" {
				return
			}
		}
		t.Errorf("%s: trouble %q after 10 s: want none", what, trouble)
	}
	c.plug(1)
	both("it came late")
	c.pull(1) // with it goes the membership
	one.knows(t, 0)
	late.uses(t, "")
	c.plug(1)
	both("it was made anew")
	c.must("-n", c.host(1), "link", "set", "eth0", "down")
	one.knows(t, 0)
	c.must("-n", c.host(1), "link", "set", "eth0", "up")
	both("it went down and up")
	c.must("-n", c.host(1), "addr", "flush", "dev", "eth0")
	c.must("-n", c.host(1), "addr", "add", "10.123.47.99/24", "dev", "eth0")
	both("it got another address")
	late.uses(t, "eth0 (10.123.47.99)")
	both("and is used")
	if n := strings.Count(late.log.String(), "no interface is left"); n != 1 {
		t.Errorf("the log says %d times that no interface is left, want once:\n%s", n, late.log)
	}
	if n := strings.Count(late.log.String(), "not sent"); n > 3 {
		t.Errorf("the log says %d times that nothing is sent, want once for each time:\n%s", n, late.log)
	}
}
