//go:build resource

package scamp_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// The cable between two hosts is pulled with 50 requests open (THREATS L7): all end as
// lost, with Ran maybe, no later than five seconds after the user timeout, and the
// service's handlers are told as well. Hosts are network namespaces, which takes root. The
// user timeout is 5 s here, so that TCP alone can tell; it is 30 s with SCAMP_TEST_LONG.
func TestResourceLinkDown(t *testing.T) {
	timeout := 5 * time.Second
	if os.Getenv("SCAMP_TEST_LONG") != "" {
		timeout = 30 * time.Second
	}
	ip, hosts := twoHosts(t)
	limits := scamp.Limits{UserTimeout: timeout, KeepAlive: timeout / 2}
	n := scamptest.New(t)
	in := func(host string) *scamp.Options {
		return &scamp.Options{
			Limits: limits,
			Listen: func(network, addr string) (l net.Listener, err error) {
				inHost(t, host, func() { l, err = net.Listen(network, addr) })
				return l, err
			},
			Dial: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
				inHost(t, host, func() { c, err = new(net.Dialer).DialContext(ctx, network, addr) })
				return c, err
			},
		}
	}
	service := n.Bus(in(hosts[1]))
	pair := n.KeyPair()
	n.Allow(pair, "main:ALL")
	svc, err := service.NewService("far", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"10.123.46.2:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	const calls = 50
	begun, told := make(chan struct{}, calls), make(chan error, calls)
	svc.Handle("Far.hold", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
		begun <- struct{}{}
		<-ctx.Done()
		told <- context.Cause(ctx)
		return nil
	}, &scamp.ActionOptions{Timeout: time.Hour})
	serve(t, svc)
	caller := n.Bus(in(hosts[0]))
	c, err := caller.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all sync.WaitGroup
	ended := make(chan error, calls)
	for range calls {
		all.Go(func() { // ends with the call
			_, err := c.Call(context.Background(), &scamp.Request{Action: "Far.hold"})
			ended <- err
		})
	}
	for range calls {
		<-begun
	}
	if out, err := exec.Command(ip, "-n", hosts[0], "link", "set", "veth0", "down").CombinedOutput(); err != nil {
		t.Fatalf("ip link set down: %s %v", out, err)
	}
	began := time.Now()
	limit := time.After(timeout + 5*time.Second)
	for i := range 2 * calls {
		select {
		case err := <-ended:
			if ranOf(err) != scamp.RanMaybe {
				t.Errorf("a call whose cable was pulled: %v, want it lost with Ran maybe", err)
			}
		case <-told:
		case <-limit:
			t.Fatalf("after %v only %d of %d calls and handlers have ended", time.Since(began), i, 2*calls)
		}
	}
	all.Wait()
	t.Logf("all calls and handlers ended within %v", time.Since(began).Round(time.Millisecond))
	// With a user timeout of 30 s the heartbeat may be first: 15 s of silence, then as
	// long for the PONG.
	for end, stats := range map[string]map[string]uint64{"caller": c.Stats(), "service": service.Stats()} {
		vanished, silent := stats["peer_vanished"], stats["peer_silent"]
		t.Logf("%s: peer_vanished %d, peer_silent %d", end, vanished, silent)
		if vanished+silent != 1 {
			t.Errorf("%s: peer_vanished is %d and peer_silent %d, want one of them 1", end, vanished, silent)
		}
	}
}

// twoHosts joins two network namespaces by a cable, 10.123.46.1 and 10.123.46.2.
func twoHosts(t *testing.T) (ip string, hosts [2]string) {
	t.Helper()
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: a cable that is pulled needs the command ip")
	}
	run := func(args ...string) {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: a cable that is pulled needs root: ip %s: %s", strings.Join(args, " "), out)
		}
	}
	for i, side := range []string{"a", "b"} {
		h := fmt.Sprintf("scampl%d%s", os.Getpid(), side)
		hosts[i] = h
		run("netns", "add", h)
		t.Cleanup(func() { exec.Command(ip, "netns", "delete", h).Run() })
	}
	run("-n", hosts[0], "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", hosts[1])
	for i, h := range hosts {
		run("-n", h, "addr", "add", fmt.Sprintf("10.123.46.%d/24", i+1), "dev", "veth0")
		run("-n", h, "link", "set", "veth0", "up")
		run("-n", h, "link", "set", "lo", "up")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the kernel tells nobody
		out, err := exec.Command(ip, "-n", hosts[0], "-o", "link", "show", "veth0").CombinedOutput()
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the cable is not up: %s %v", out, err)
		}
		if strings.Contains(string(out), "state UP") {
			return ip, hosts
		}
	}
}

// inHost runs f on a thread that is in a network namespace and ends with f. Sockets stay
// where they were opened.
func inHost(t *testing.T, name string, f func()) {
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
