//go:build resource && linux

package scamp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
)

// What the tests of attacks tell their children, by environment.
const (
	hostileRole   = "SCAMP_TEST_HOSTILE_ROLE"   // "service", or the name of an attack
	hostileAddr   = "SCAMP_TEST_HOSTILE_ADDR"   // of the service, for an attacker
	hostileSetup  = "SCAMP_TEST_HOSTILE_SETUP"  // a setup in JSON, for a service
	hostileListen = "SCAMP_TEST_HOSTILE_LISTEN" // where the service listens; empty means 127.0.0.1
	hostileLong   = "SCAMP_TEST_LONG"           // not empty: attacks of the size that THREATS names, which take minutes
)

// A setup is what of a service under attack differs from the defaults.
type setup struct {
	Limits scamp.Limits
	Cert   string // certificate in PEM; empty means that of the fixtures
	Key    string // its private key
}

// TestResourceHostileChild is no test: it is the service or the attacker that the tests
// of attacks, and those of memory, start as processes of their own. It ends when its
// standard input does.
func TestResourceHostileChild(t *testing.T) {
	switch role := os.Getenv(hostileRole); role {
	case "":
		t.Skip("only runs as a child of the tests of attacks and of memory")
	case "service":
		beService(t)
	default:
		beAttacker(t, role)
	}
}

// A state is what a service tells about itself.
type state struct {
	Stats      map[string]uint64
	Goroutines int
	Files      int   // descriptors
	Running    int32 // handlers
	Most       int32 // handlers at once since the state was asked for last
}

func beService(t *testing.T) {
	var s setup
	if err := json.Unmarshal([]byte(os.Getenv(hostileSetup)), &s); err != nil {
		t.Fatal(err)
	}
	pair := samplePair(t)
	if s.Key != "" {
		var err error
		if pair, err = scamp.ParseKeyPair([]byte(s.Cert), []byte(s.Key)); err != nil {
			t.Fatal(err)
		}
	}
	_, keys := ticketKey(t)
	bus, err := scamp.Open(nil, &scamp.Options{Log: ticketscan.Log(t, nil), Carriers: []discovery.Carrier{discovery.NewLoopback()}, Limits: s.Limits, TicketKeys: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	addr := os.Getenv(hostileListen)
	if addr == "" {
		addr = "127.0.0.1"
	}
	svc, err := bus.NewService("victim", &scamp.ServiceOptions{Listen: []string{addr + ":0"}, KeyPair: pair, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{bus: bus}
	v.gate.Store(new(chan struct{}))
	v.shut()
	svc.Handle("Victim.echo", echoBytes, nil)
	svc.Handle("Victim.stream", echo, nil)
	svc.Handle("Victim.drop", drop, nil)
	svc.Handle("Victim.work", v.work, nil)
	svc.Handle("Victim.wait", v.wait, nil)
	svc.Handle("Victim.big", v.big, nil)
	svc.Handle("Victim.ticket", ok, &scamp.ActionOptions{Privileges: []int64{1}})
	bothWays(svc, bothOctets)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-svc.Ready(); fmt.Printf("listening %s\n", svc.Addr()) }()
	go func() { v.obey(); cancel(); v.pass() }() // ends with standard input
	if err := svc.Serve(ctx); err != nil {
		t.Fatal(err)
	}
}

// A victim is the service under attack.
type victim struct {
	bus           *scamp.Bus
	running, most atomic.Int32
	gate          atomic.Pointer[chan struct{}] // closed: Victim.wait returns
}

func (v *victim) count() (done func()) {
	now := v.running.Add(1)
	for most := v.most.Load(); now > most && !v.most.CompareAndSwap(most, now); most = v.most.Load() {
	}
	return func() { v.running.Add(-1) }
}

// drop reads all and answers nothing.
func drop(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
	_, err := io.Copy(io.Discard, req.Body)
	return err
}

// work takes a while, whatever becomes of its caller, and costs nothing.
func (v *victim) work(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
	defer v.count()()
	<-time.After(20 * time.Millisecond)
	return nil
}

// wait reads nothing until the gate opens, or its caller has gone.
func (v *victim) wait(ctx context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
	defer v.count()()
	select {
	case <-*v.gate.Load():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	_, err := io.Copy(io.Discard, req.Body)
	return err
}

// big answers with as many octets as the request says.
func (v *victim) big(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	defer v.count()()
	b, err := req.Bytes()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(b))
	if err != nil {
		return err
	}
	_, err = rep.ReadFrom(io.LimitReader(&pattern{}, int64(n)))
	return err
}

// obey does what the test says on standard input: it prints its state.
func (v *victim) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "state":
			files, _ := os.ReadDir("/proc/self/fd")
			b, err := json.Marshal(state{v.bus.Stats(), runtime.NumGoroutine(), len(files), v.running.Load(), v.most.Swap(v.running.Load())})
			fmt.Printf("state %s %v\n", b, err)
		}
	}
}

func (v *victim) pass() { close(*v.gate.Load()) }

func (v *victim) shut() {
	gate := make(chan struct{})
	v.gate.Store(&gate)
}

// A child is a process that a test has started.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // what it prints, until it ends
	once  sync.Once
}

// startChild starts the test binary again in a role. It ends with the test, or with
// finish.
func startChild(t *testing.T, env ...string) *child {
	t.Helper()
	c := &child{lines: make(chan string)}
	c.cmd = exec.Command(os.Args[0], "-test.run=^TestResourceHostileChild$", "-test.v", "-test.timeout=30m")
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the child
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			switch line := s.Text(); {
			case strings.HasPrefix(line, "listening "), strings.HasPrefix(line, "attack "), strings.HasPrefix(line, "state "):
				c.lines <- line
			case strings.Contains(line, "_test.go:"):
				fmt.Fprintln(os.Stderr, line) // what it has to complain of
			}
		}
	}()
	t.Cleanup(func() { c.finish(t) })
	return c
}

// finish tells the child to end, and waits until it has. It holds what connections it
// has until then. What an attacker has counted is returned.
func (c *child) finish(t *testing.T) (sent int) {
	c.once.Do(func() {
		c.in.Close()
		for line := range c.lines { // until it has ended
			fmt.Sscanf(line, "attack sent %d", &sent)
		}
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("child %d: %v", c.pid(), err)
		}
	})
	return sent
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// state asks a service for its state. One goroutine at a time may.
func (c *child) state(t *testing.T) (s state) {
	t.Helper()
	fmt.Fprintln(c.in, "state")
	line := c.line(t, 20*time.Second, "state ")
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&s); err != nil {
		t.Errorf("state %q: %v", line, err)
	}
	return s
}

// line waits for the next line that begins with one of these words.
func (c *child) line(t *testing.T, within time.Duration, words ...string) string {
	t.Helper()
	limit := time.After(within)
	for {
		select {
		case l, ok := <-c.lines:
			if !ok {
				t.Fatalf("the child ended, want a line with one of %q", words)
			}
			for _, w := range words {
				if strings.HasPrefix(l, w) {
					return strings.TrimSpace(strings.TrimPrefix(l, w))
				}
			}
		case <-limit:
			t.Fatalf("no line with one of %q from the child in %v", words, within)
		}
	}
}

// An attacker is the other process: what it has, and how it tells the test how far it is.
type attacker struct {
	t    *testing.T
	addr string
	long bool            // do all that THREATS says, not a part of it
	ctx  context.Context // ends when the test has seen enough
	over <-chan struct{} // closed then
	sent int             // what it wants to have counted
	owes atomic.Bool     // it has yet to reach the size of the attack, whatever the test has seen

	work  sync.WaitGroup // what reads connections
	mu    sync.Mutex     // protects what follows
	conns []net.Conn
}

func beAttacker(t *testing.T, name string) {
	ctx, cancel := context.WithCancel(context.Background())
	a := &attacker{t: t, addr: os.Getenv(hostileAddr), long: os.Getenv(hostileLong) != "", ctx: ctx, over: ctx.Done()}
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }() // ends with the process
	run := attackers[name]
	if run == nil {
		t.Fatalf("no attack is called %q", name)
	}
	run(a)
	fmt.Printf("attack sent %d\n", a.sent)
	<-a.over
	for _, c := range a.conns {
		c.Close()
	}
	a.work.Wait()
}

// going says that the attack is in full swing.
func (a *attacker) going() { fmt.Println("attack going") }

// ended says whether the test has seen enough.
func (a *attacker) ended() bool {
	select {
	case <-a.over:
		return true
	default:
		return false
	}
}

// size is how often to do something: the whole of it, or what is enough every day.
func (a *attacker) size(daily, whole int) int {
	if a.long {
		return whole
	}
	return daily
}

// again counts one and says whether to go on: until the test has seen enough, and that
// many times.
func (a *attacker) again(least int) bool {
	owes := a.sent < least
	a.owes.Store(owes)
	if !owes && a.ended() {
		return false
	}
	a.sent++
	return true
}

// tcp connects, from a loopback address of its own if from is not empty. The connection
// is closed when the test has seen enough. Unless the attack has yet to reach its size,
// none is begun after that: it would be cut in its handshake.
func (a *attacker) tcp(from string) (net.Conn, error) {
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	ctx := a.ctx
	if a.owes.Load() {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", a.addr)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.conns = append(a.conns, c)
	a.mu.Unlock()
	return c, nil
}
