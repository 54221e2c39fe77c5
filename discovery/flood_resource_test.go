//go:build resource && linux

package discovery_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// Of the daemon under a flood (THREATS D19, D20).
const (
	floodRate   = 20_000 // datagrams a second
	floodTime   = 12 * time.Second
	floodCPU    = 0.60     // of a core of the machine that THREATS 1.1 measured
	floodMemory = 32 << 10 // KiB that it may grow by
)

// TestResourceFloodedDaemon is THREATS D19 and D20: somebody floods the group of a
// cache daemon with all that is hostile, or with what is dearest to check, and 50
// honest services stay listed. The daemon is a process of its own, so that nothing
// else is measured.
func TestResourceFloodedDaemon(t *testing.T) {
	dir := t.TempDir()
	heard, packets := honestAir(50)
	x := newAir(t, 1, heard)
	daemon := startDaemon(t, dir, sectionRule(t, x.foreign[4096], "main:Rogue"))
	run(t, func(ctx context.Context) error { return sendEvery(ctx, daemon.sender, packets, 5*time.Second) })
	daemon.await(len(packets), 15*time.Second)

	x.flood(daemon.sender, time.Second, x.mixed(2_000)) // warm-up
	for _, tt := range []struct {
		name string
		ring func() [][]byte
		long bool
	}{
		{"everything", func() [][]byte { return x.mixed(6_000) }, false},
		{"D20_bad_signature_4096", func() [][]byte { return x.ring("D20_bad_signature_4096", 6_000) }, false},
		{"D1_certificate_mutated", func() [][]byte { return x.ring("D1_certificate_mutated", 6_000) }, true},
		{"D8_bomb", func() [][]byte { return x.ring("D8_bomb", 6_000) }, true},
		{"D12_separators", func() [][]byte { return x.ring("D12_separators", 6_000) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && !long() {
				t.Skip("SKIPPED: set SCAMP_TEST_LONG for floods of one kind")
			}
			ring := tt.ring()
			memory, spent := daemon.memory(), daemon.spent()
			sent, took := x.flood(daemon.sender, floodTime, ring)
			share := (daemon.spent() - spent).Seconds() / took.Seconds()
			most := floodCPU * max(1, x.slowness())
			grown := daemon.memory() - memory
			t.Logf("%d datagrams in %v, %.0f a second: %.0f %% of a core where %.0f %% are allowed, %d KiB more", sent, took.Round(time.Millisecond), float64(sent)/took.Seconds(), 100*share, 100*most, grown)
			if share > most {
				t.Errorf("the daemon takes %.0f %% of a core: want at most %.0f %%", 100*share, 100*most)
			}
			if grown > floodMemory {
				t.Errorf("the daemon grows by %d KiB: want at most %d", grown, floodMemory)
			}
			if gone := daemon.gone(); gone != "" {
				t.Errorf("removed: %s: want none of the honest", gone)
			}
			if n := daemon.listed(); n != len(packets) {
				t.Errorf("%d honest services are in the cache file: want %d", n, len(packets))
			}
		})
	}
}

// sectionRule returns a line for the certificate in a section.
func sectionRule(t *testing.T, section, rights string) string {
	c, err := discovery.ParseCertificatePEM([]byte(section + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Fingerprint + " " + rights + "\n"
}

// sendEvery sends all packets in turn, each once an interval, until ctx ends.
func sendEvery(ctx context.Context, m *discovery.Multicast, packets [][]byte, interval time.Duration) error {
	tick := time.NewTicker(interval / time.Duration(len(packets)))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
			m.Send(ctx, lo, packets[i%len(packets)])
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ring makes n datagrams of one attack, more than the negative cache remembers.
func (x *air) ring(name string, n int) (ring [][]byte) {
	for _, a := range attacks {
		if a.name != name {
			continue
		}
		for range n {
			ring = append(ring, a.make(x))
		}
	}
	return ring
}

// mixed makes n datagrams of all attacks. What a rogue signs comes twice: a signature
// takes a millisecond.
func (x *air) mixed(n int) (ring [][]byte) {
	for i := range n {
		a := attacks[x.random.IntN(len(attacks))]
		if i >= n/8 && (strings.HasPrefix(a.name, "D9") || strings.HasPrefix(a.name, "D10") || strings.HasPrefix(a.name, "D15") || strings.HasPrefix(a.name, "D19") || strings.HasPrefix(a.name, "D23")) {
			ring = append(ring, ring[x.random.IntN(i)])
			continue
		}
		ring = append(ring, a.make(x))
	}
	return ring
}

// flood sends floodRate datagrams a second for a time.
func (x *air) flood(m *discovery.Multicast, length time.Duration, ring [][]byte) (sent int, took time.Duration) {
	x.checks = nil
	start := time.Now()
	for tick := time.Tick(5 * time.Millisecond); took < length; took = time.Since(start) {
		<-tick
		if len(x.checks) < int(took.Seconds()*4) {
			x.check()
		}
		for due := int(time.Since(start).Seconds() * floodRate); sent < due && time.Since(start) < length; sent++ {
			m.Send(context.Background(), lo, variant(ring[sent%len(ring)], sent/len(ring)))
		}
	}
	return sent, took
}

// referenceCheck is what the check of a 4096-bit signature takes on the machine of
// THREATS E16.
const referenceCheck = 630 * time.Microsecond

// check measures that here and now: a machine with more to do shares caches and
// execution units, so that all processor time counts for less.
func (x *air) check() {
	c, err := discovery.ParseCertificatePEM([]byte(x.foreign[4096] + "\n"))
	if err != nil {
		x.t.Fatal(err)
	}
	signature := bytes.Repeat([]byte{1}, 512)
	sum := make([]byte, 32)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := cpuTime()
	if rsa.VerifyPKCS1v15(c.Key(), crypto.SHA256, sum, signature) == nil {
		x.t.Error("junk is a good signature")
	}
	x.checks = append(x.checks, cpuTime()-start)
}

// slowness is how much longer a check took during the last flood than there.
func (x *air) slowness() float64 {
	slices.Sort(x.checks)
	return float64(x.checks[len(x.checks)/2]) / float64(referenceCheck)
}

// A cacheDaemon is scamp cache in a process of its own.
type cacheDaemon struct {
	t      *testing.T
	pid    int
	path   string // of the cache file
	sender *discovery.Multicast

	mu      sync.Mutex // protects all below
	added   map[string]bool
	removed []string
}

// startDaemon builds and starts scamp cache on loopback, with rules for the sample
// certificate, the other one and what more says.
func startDaemon(t *testing.T, dir, more string) *cacheDaemon {
	program := filepath.Join(dir, "scamp")
	if out, err := exec.Command("go", "build", "-o", program, "../cli/scamp").CombinedOutput(); err != nil {
		t.Fatalf("building scamp: %v: %s", err, out)
	}
	group, _ := testGroup()
	port := 20000 + rand.IntN(40000)
	d := &cacheDaemon{t: t, path: filepath.Join(dir, "discovery"), sender: newMulticast(t, group, port, lo), added: make(map[string]bool)}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules := write("authorized_services", mustCertificate("sample").Fingerprint+" main:ALL\n"+mustCertificate("other").Fingerprint+" main:Rogue\n"+more)
	config := write("soa.conf", fmt.Sprintf("bus.address = 127.0.0.1\nbus.authorized_services = %s\ndiscovery.cache_path = %s\ndiscovery.multicast_address = %s\ndiscovery.port = %d\n",
		rules, d.path, group, port))
	cmd := exec.Command(program, "--config", config, "cache", "--json", "--log-level", "warn")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log syncBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.pid = cmd.Process.Pid
	ready := make(chan bool, 1)
	done := make(chan struct{})
	go func() { // ends with the daemon
		defer close(done)
		d.listen(bufio.NewScanner(out), ready)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
		cmd.Wait()
		if t.Failed() {
			said := log.String()
			t.Logf("the daemon says at last\n%s", said[max(0, len(said)-4000):])
		}
	})
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		t.Fatalf("the daemon is not ready: it says %q", log.String())
	}
	return d
}

// listen notes the events of honest services.
func (d *cacheDaemon) listen(lines *bufio.Scanner, ready chan<- bool) {
	for lines.Scan() {
		var e struct{ Event, Ident, Fingerprint, Why string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Event != "ready" && !strings.HasPrefix(e.Ident, "honest") {
			continue
		}
		d.mu.Lock()
		switch {
		case e.Event == "ready":
			ready <- true
		case e.Fingerprint != mustCertificate("sample").Fingerprint:
		case e.Event == "added":
			d.added[e.Ident] = true
		case e.Event == "removed":
			d.removed = append(d.removed, e.Ident+" "+e.Why)
		}
		d.mu.Unlock()
	}
}

// await waits until n honest services are known.
func (d *cacheDaemon) await(n int, most time.Duration) {
	d.t.Helper()
	for deadline := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
		d.mu.Lock()
		known := len(d.added)
		d.mu.Unlock()
		if known == n {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("the daemon knows %d of %d services after %v", known, n, most)
		}
	}
}

// gone returns which honest services were removed, and why.
func (d *cacheDaemon) gone() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.removed, ", ")
}

// listed is how many honest services are in the cache file.
func (d *cacheDaemon) listed() (n int) {
	text, err := os.ReadFile(d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	records, _ := discovery.ParseCache(text)
	for _, a := range records {
		if a.Certificate.SHA256 == mustCertificate("sample").SHA256 && strings.HasPrefix(a.Ident, "honest") {
			n++
		}
	}
	return n
}

// spent is the processor time of the daemon so far.
func (d *cacheDaemon) spent() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.pid))
	if err != nil {
		d.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var user, system int
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond // in hundredths of a second on every Linux
}

// memory is the anonymous resident memory of the daemon in KiB.
func (d *cacheDaemon) memory() (kib int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
	if err != nil {
		d.t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if text, ok := strings.CutPrefix(string(line), "RssAnon:"); ok {
			fmt.Sscan(text, &kib)
		}
	}
	return kib
}
