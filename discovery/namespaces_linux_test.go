package discovery_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scampbus/scamp-go/discovery"
)

// testNamespaces joins two hosts by a link and lets one announce to the other.
// Each host is a network namespace; the sockets stay in the one in which they
// were opened.
func testNamespaces(t *testing.T) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: multicast between network namespaces needs the command ip")
	}
	name := fmt.Sprintf("scamp%d", os.Getpid())
	hosts := [2]string{name + "a", name + "b"}
	command := func(args ...string) {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: ip %s: %s", strings.Join(args, " "), out)
		}
	}
	for _, h := range hosts {
		command("netns", "add", h)
		t.Cleanup(func() { exec.Command(ip, "netns", "delete", h).Run() })
	}
	command("-n", hosts[0], "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", hosts[1])
	var carriers [2]*discovery.Multicast
	var ifaces [2]discovery.Iface
	group, port := testGroup()
	for i, h := range hosts {
		addr := fmt.Sprintf("10.123.45.%d", i+1)
		command("-n", h, "addr", "add", addr+"/24", "dev", "veth0")
		command("-n", h, "link", "set", "veth0", "up")
		command("-n", h, "link", "set", "lo", "up")
		ifaces[i] = discovery.Iface{Name: "veth0", Addr: netip.MustParseAddr(addr)}
		inNamespace(t, h, func() {
			var err error
			carriers[i], err = discovery.NewMulticast(discovery.MulticastOptions{Group: group, Port: port, Ifaces: []discovery.Iface{ifaces[i], lo}})
			if err != nil {
				t.Error(err)
			}
		})
		if carriers[i] == nil {
			t.FailNow()
		}
		t.Cleanup(func() { carriers[i].Close() })
	}
	for _, h := range hosts {
		awaitLink(t, ip, h)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := carriers[0].Send(ctx, ifaces[0], []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for i, c := range carriers { // the sender hears itself, too
		dg, err := c.Receive(ctx)
		if err != nil || string(dg.Data) != "hello" || dg.Iface.Name != "veth0" || dg.From.Addr() != ifaces[0].Addr {
			t.Errorf("host %d: %q on %v from %v, %v: want hello on veth0 from %v", i, dg.Data, dg.Iface, dg.From, err, ifaces[0].Addr)
		}
	}
	// What is sent on lo stays on the host.
	carriers[0].Send(ctx, lo, []byte("local"))
	carriers[0].Send(ctx, ifaces[0], []byte("all"))
	for i, want := range []string{"local", "all"} {
		if dg, err := carriers[i].Receive(ctx); err != nil || string(dg.Data) != want {
			t.Errorf("host %d: %q, %v: want %q", i, dg.Data, err, want)
		}
	}
}

// awaitLink returns when the link of a host carries something.
func awaitLink(t *testing.T, ip, host string) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the kernel tells nobody
		out, err := exec.Command(ip, "-n", host, "-o", "link", "show", "veth0").CombinedOutput()
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("link of %s is not up: %s %v", host, out, err)
		}
		if strings.Contains(string(out), "state UP") {
			return
		}
	}
}

// inNamespace runs f on a thread that is in a network namespace and that ends
// with it.
func inNamespace(t *testing.T, name string, f func()) {
	done := make(chan struct{})
	go func() { // ends with f; its thread is never unlocked, so that it ends as well
		defer close(done)
		runtime.LockOSThread()
		fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}
