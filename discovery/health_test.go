package discovery_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// TestObserverStoodStill is THREATS F14: after a stop of the process nobody is
// removed before what waited in the socket was read, and then each has as much
// time left as it had, but for what is beyond a minute.
func TestObserverStoodStill(t *testing.T) {
	for _, stop := range []time.Duration{5 * time.Second, 30 * time.Second, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			d := newDirectory(t, nil)
			c := discovery.NewLoopback()
			run(t, discovery.NewObserver(c.Join(), d, nil).Run)
			var ends []func() error
			for i := range 3 {
				ends = append(ends, repeat(t, c, service{ident: fmt.Sprint("still", i)}))
			}
			time.Sleep(21 * time.Second)
			discovery.StandStill(d, stop)
			for i := range 3 { // what waited in the socket
				c.Send(t.Context(), discovery.Iface{}, service{ident: fmt.Sprint("still", i)}.datagram())
			}
			for i := range 200 {
				time.Sleep(10 * time.Millisecond)
				if n := len(d.Find(discovery.Query{Action: "Sample.echo"})); n != 3 {
					t.Fatalf("stopped for %v: %d of 3 services are found %d ms later", stop, n, 10*i)
				}
			}
			if n := d.Stats().Counters["observer_blind"]; n != 1 {
				t.Errorf("stopped for %v: observer_blind is %d: want 1", stop, n)
			}
			time.Sleep(time.Minute)
			ends[0]()
			time.Sleep(12 * time.Second)
			if got := idents(d.Find(discovery.Query{Action: "Sample.echo"})); strings.Contains(got, "still0") || !strings.Contains(got, "still1") {
				t.Errorf("stopped for %v: 12 s after still0 fell silent %q is found: want the other two", stop, got)
			}
		})
	}
}

// TestObserverStopped is the same with a process that is really stopped, for
// longer than its services live without being heard.
func TestObserverStopped(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes 20 s")
	}
	if os.Getenv("SCAMP_TEST_CHILD") == "observer" {
		observeForParent(t)
		return
	}
	t.Parallel() // it waits most of the time
	group, port := testGroup()
	sender := newMulticast(t, group, port, lo)
	child := exec.Command(os.Args[0], "-test.run=^TestObserverStopped$", "-test.v")
	child.Env = append(os.Environ(), "SCAMP_TEST_CHILD=observer", fmt.Sprintf("SCAMP_TEST_GROUP=%s %d", group, port))
	var out syncBuffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		child.Process.Kill()
		child.Wait()
	}()
	for i := range 3 {
		packet := service{ident: fmt.Sprint("real", i), address: "beepish+tls://127.0.0.1:1"}.datagram()
		run(t, func(ctx context.Context) error {
			for ctx.Err() == nil {
				sender.Send(ctx, lo, packet)
				select {
				case <-ctx.Done():
				case <-time.After(2 * time.Second):
				}
			}
			return ctx.Err()
		})
	}
	await := func(text string, most time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(most); !strings.Contains(out.String(), text); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the observer says %q: want %q within %v", out.String(), text, most)
			}
		}
	}
	await("found 3", 10*time.Second)
	child.Process.Signal(syscall.SIGSTOP)
	time.Sleep(13 * time.Second) // the fault itself: longer than 2.1 intervals
	child.Process.Signal(syscall.SIGCONT)
	await("stood still", 5*time.Second)
	time.Sleep(2 * time.Second) // long enough for a mistake to show
	if strings.Contains(out.String(), "lost") {
		t.Errorf("the observer says %q: want nobody lost", out.String())
	}
}

// observeForParent prints what is found until it is killed.
func observeForParent(t *testing.T) {
	var address string
	var port int
	fmt.Sscanf(os.Getenv("SCAMP_TEST_GROUP"), "%s %d", &address, &port)
	d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now, Log: textLog(os.Stdout)})
	go discovery.NewObserver(newMulticast(t, netip.MustParseAddr(address), port, lo), d, nil).Run(t.Context()) // ends with the process
	known := make(map[string]bool)
	for e := range d.Watch(t.Context(), discovery.Query{Action: "Sample.echo"}) {
		switch e.Kind {
		case discovery.Added:
			known[e.Route.Ident] = true
			fmt.Printf("found %d\n", len(known))
		case discovery.Removed:
			fmt.Printf("lost %s\n", e.Route.Ident)
		}
	}
}

// TestCollision is THREATS L4: two certificates with one SHA-1 are an alarm, and
// neither is believed. The collision is made up: only the text is the same.
func TestCollision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		d := newDirectory(t, &discovery.DirectoryOptions{Log: textLog(&log)})
		q := discovery.Query{Action: "Sample.echo"}
		victim := service{ident: "victim"}.announce()
		twin := service{ident: "twin", key: "other"}.announce()
		certificate := *twin.Certificate
		certificate.Fingerprint = victim.Certificate.Fingerprint
		twin.Certificate = &certificate

		twins := func(when string, want ...bool) {
			t.Helper()
			if got := []bool{d.Twin(victim.Certificate), d.Twin(twin.Certificate)}; !slices.Equal(got, want) {
				t.Errorf("%s: the two have a twin: %v, want %v", when, got, want)
			}
		}
		twins("before", false, false)
		d.Add(victim)
		twins("alone", false, true)
		if got := len(d.Find(q)); got != 1 {
			t.Fatalf("alone: %d routes, want 1", got)
		}
		d.Add(twin)
		if got := len(d.Find(q)); got != 0 {
			t.Errorf("with its twin: %d routes, want none", got)
		}
		twins("with its twin", true, true)
		e := d.Explain(q)
		if e.Reason != discovery.HasObstacle || !strings.Contains(e.String(), "SHA-1") {
			t.Errorf("explained: %q: want the collision named", e)
		}
		if s := d.Stats(); s.Counters["fingerprint_collision"] != 1 || s.Certificates != 2 || !strings.Contains(log.String(), "SHA-1") {
			t.Errorf("%+v, log %q: want one alarm", s, log.String())
		}
		for range 10 {
			time.Sleep(5 * time.Second)
			d.Add(victim)
		}
		if got := idents(d.Find(q)); got != "victim@10.0.0.5:30123" {
			t.Errorf("when the twin is forgotten: %q, want the other again", got)
		}
		twins("when the twin is forgotten", false, true)
	})
}
