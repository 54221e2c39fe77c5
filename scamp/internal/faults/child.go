//go:build linux

package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
	"github.com/scampbus/scamp-go/scamp/internal/wire"
)

// A child is a process of this same program in one of its roles. It dies with us.
type child struct {
	name   string // svc1; and of the files it leaves
	role   string
	ledger string // path
	log    string // path of its stderr
	mortal bool   // it may die at a failpoint
	cmd    *exec.Cmd
	in     io.WriteCloser
	done   chan struct{}
	err    error // of Wait; set before done is closed

	mu      sync.Mutex // protects what follows
	ending  bool       // we have told it to end
	orders  int        // given so far
	told    []event    // that nobody awaited yet
	news    chan struct{}
	changes []change // of its directory
	ready   ready
}

// An event is a line on a child's standard output.
type event struct {
	Event string          `json:"event"`
	To    int             `json:"to,omitempty"` // the order that it answers
	Data  json.RawMessage `json:"data,omitempty"`
}

// An order is a line on its standard input.
type order struct {
	ID   int             `json:"id"`
	Do   string          `json:"do"`
	Args json.RawMessage `json:"args,omitempty"`
}

// ready is what a child says when it has begun.
type ready struct {
	Ident       string // of a service
	Address     string // where it listens
	Fingerprint string
}

const (
	maxTold  = 10000            // events that nobody awaits, and changes
	eventMax = 1 << 20          // octets of a line
	readyIn  = 30 * time.Second // a child has begun by then, under the race detector too
)

// A launch says what a child is started with beside its name.
type launch struct {
	role string
	spec any        // in JSON, for the role
	env  []string   // beside ours
	on   *wire.Host // where it runs; nil means here
}

// start starts a child in the directory of the stage. begin waits for it.
func (s *stage) start(name string, l launch) (*child, error) {
	spec, err := json.Marshal(l.spec)
	if err != nil {
		return nil, fmt.Errorf("faults: spec of %s: %w", name, err)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("faults: %w", err)
	}
	s.mu.Lock()
	s.started[name]++
	if n := s.started[name]; n > 1 {
		name = fmt.Sprintf("%s.%d", name, n)
	}
	s.mu.Unlock()
	c := &child{
		name: name, role: l.role, done: make(chan struct{}), news: make(chan struct{}),
		mortal: slices.ContainsFunc(l.env, func(v string) bool { return strings.HasPrefix(v, "SCAMP_FAILPOINT=") }),
		ledger: filepath.Join(s.dir, name+".ledger"), log: filepath.Join(s.dir, name+".log"),
	}
	c.cmd = exec.Command(program, childWord, l.role, name, c.ledger)
	c.cmd.Env = append(os.Environ(), l.env...)
	// A Ctrl-C that is meant for us does not reach it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, fmt.Errorf("faults: %w", err)
	}
	defer log.Close()
	c.cmd.Stderr = log
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.in, err = c.cmd.StdinPipe()
	}
	switch {
	case err != nil:
	case l.on != nil:
		err = l.on.Start(c.cmd)
	default:
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("faults: start %s: %w", name, err)
	}
	s.mu.Lock()
	s.children = append(s.children, c)
	s.mu.Unlock()
	go func() { // ends with the child
		defer close(c.done)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, eventMax)
		for lines.Scan() {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				c.hear(e)
			}
		}
		io.Copy(io.Discard, out) // after a line that is too long
		c.err = c.cmd.Wait()
	}()
	if _, err := c.in.Write(append(spec, '\n')); err != nil {
		return nil, c.wrong("took no spec", err)
	}
	return c, nil
}

// begin starts a child and waits until it is ready.
func (s *stage) begin(ctx context.Context, name string, l launch) (*child, error) {
	c, err := s.start(name, l)
	if err != nil {
		return nil, err
	}
	e, err := c.await(ctx, "ready", readyIn)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(e.Data, &c.ready); err != nil {
		return nil, c.wrong("is ready", err)
	}
	return c, nil
}

// hear takes an event.
func (c *child) hear(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Event == "directory" {
		var ch change
		if json.Unmarshal(e.Data, &ch) == nil && len(c.changes) < maxTold {
			c.changes = append(c.changes, ch)
		}
		return
	}
	if len(c.told) < maxTold {
		c.told = append(c.told, e)
	}
	close(c.news)
	c.news = make(chan struct{})
}

// await waits for the next event of a name that answers no order, and takes it.
func (c *child) await(ctx context.Context, name string, within time.Duration) (event, error) {
	return c.answer(ctx, name, 0, within)
}

// answer waits for an event that answers an order, and takes it.
func (c *child) answer(ctx context.Context, name string, to int, within time.Duration) (event, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		c.mu.Lock()
		if i := slices.IndexFunc(c.told, func(e event) bool { return e.To == to && (to != 0 || e.Event == name) }); i >= 0 {
			e := c.told[i]
			c.told = slices.Delete(c.told, i, i+1)
			c.mu.Unlock()
			if e.Event != name {
				return event{}, c.wrong(e.Event, errors.New(string(e.Data)))
			}
			return e, nil
		}
		news := c.news
		c.mu.Unlock()
		select {
		case <-news:
		case <-c.done:
			return event{}, c.wrong("ended before it was done with "+name, c.err)
		case <-ctx.Done():
			return event{}, c.wrong("is not done with "+name, context.Cause(ctx))
		}
	}
}

// ask gives an order and waits for the answer, whose data goes to answer unless that is
// nil. Any number of orders may be under way.
func (c *child) ask(ctx context.Context, do string, args, answer any, within time.Duration) error {
	id, err := c.order(do, args)
	if err != nil {
		return err
	}
	e, err := c.answer(ctx, do, id, within)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(e.Data, answer); err != nil {
		return c.wrong("answers to "+do, err)
	}
	return nil
}

// order gives an order and does not wait. It returns the number that answers carry.
func (c *child) order(do string, args any) (id int, err error) {
	data, err := json.Marshal(args)
	if err != nil {
		return 0, c.wrong("order "+do, err)
	}
	c.mu.Lock()
	c.orders++
	id = c.orders
	c.mu.Unlock()
	line, err := json.Marshal(order{id, do, data})
	if err == nil {
		_, err = c.in.Write(append(line, '\n')) // one write a line, and a pipe has room for a few
	}
	if err != nil {
		return 0, c.wrong("takes no order "+do, err)
	}
	return id, nil
}

// stats returns the counters of the child's bus.
func (c *child) stats(ctx context.Context) (map[string]uint64, error) {
	var m map[string]uint64
	err := c.ask(ctx, "stats", nil, &m, 10*time.Second)
	return m, err
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// gone says whether the process has ended.
func (c *child) gone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *child) signal(sig syscall.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil {
		return c.wrong("takes no "+sig.String(), err)
	}
	return nil
}

// mayEnd notes that we end the child, so that its end is no crash. One that has ended
// before has crashed, unless a failpoint was set for it.
func (c *child) mayEnd() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = c.ending || !c.gone()
}

// crashed returns why a child ended that nobody ended.
func (c *child) crashed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || !c.gone() || c.mortal {
		return nil
	}
	if c.err == nil && !c.lasts() {
		return nil
	}
	return c.wrong("ended by itself", cmp.Or(c.err, errors.New("with exit code 0")))
}

// lasts says whether the child has a part in the load: it ends only when it is told to, and
// what it does without is missed by nobody.
func (c *child) lasts() bool { return c.role == "service" || c.role == "client" || c.role == "cache" }

// status is how the process ended, if it has.
func (c *child) status() (status syscall.WaitStatus, ok bool) {
	if c.cmd == nil || !c.gone() || c.cmd.ProcessState == nil {
		return 0, false
	}
	status, ok = c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status, ok
}

// kill ends the child at once and waits for that. One that is gone is no error.
func (c *child) kill() error {
	c.mayEnd()
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return c.wrong("cannot be killed", err)
	}
	<-c.done
	return nil
}

// stop asks the child to end and waits until it has, with exit code 0. One that is gone
// is no error.
func (c *child) stop(ctx context.Context, within time.Duration) error {
	if c.gone() {
		return nil
	}
	c.mayEnd()
	if err := c.signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-c.done:
		if c.err != nil {
			return c.wrong("ended", c.err)
		}
		return nil
	case <-timer.C:
		return errors.Join(c.wrong("does not end", fmt.Errorf("%v after SIGTERM", within)), c.kill())
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), c.kill())
	}
}

// wrong wraps an error of a child, with what it said last.
func (c *child) wrong(what string, err error) error {
	return fmt.Errorf("faults: %s %s: %w%s", c.name, what, err, c.lastWords())
}

// lastWords is the end of its stderr.
func (c *child) lastWords() string {
	const most = 2000
	b, err := os.ReadFile(c.log)
	if err != nil || len(b) == 0 {
		return ""
	}
	return fmt.Sprintf("\n%s says: %s", c.name, b[max(0, len(b)-most):])
}

// records reads the child's ledger.
func (c *child) records() ([]ledger.Record, error) {
	f, err := os.Open(c.ledger)
	if err != nil {
		return nil, fmt.Errorf("faults: %w", err)
	}
	defer f.Close()
	records, err := ledger.Read(f)
	if err != nil {
		return nil, fmt.Errorf("faults: %s: %w", c.ledger, err)
	}
	return records, nil
}
