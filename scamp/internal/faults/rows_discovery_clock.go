//go:build linux

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// What F13 does, in synthetic time: services announce themselves and change what they
// say, while the clocks of both sides jump. Nobody who lives may be removed, and what
// somebody says must be known soon after.
//
// Our services keep their timestamps rising whatever their clock does. Old ones that sign
// seconds or microseconds do not, so their clocks jump only forward: an older
// announcement of the same process is a replay, which nothing tells from an attack
// (PROTOCOL 7.9 rule 1).

const (
	clockServices = 100
	clockLasts    = 10 * time.Minute
	clockInterval = 5 * time.Second
)

// clockJumps are what a clock is set to, beside the right time.
var clockJumps = []struct {
	name string
	by   time.Duration
}{
	{"+1 h", time.Hour}, {"-1 h", -time.Hour}, {"+10 y", 10 * 365 * 24 * time.Hour}, {"right", 0},
}

// A clockSpec is one run.
type clockSpec struct {
	Seed     uint64
	Services int
	Seconds  float64 // simulated
}

// A clockResult is what came of it.
type clockResult struct {
	Removed  int     // instances that left the directory
	Missing  int     // samples, ten a second, in which somebody was not found
	Locked   int     // changes that were not known 2.1 intervals and a repetition later
	Changes  int     // of what services say
	Jumps    int     // of clocks
	Slowest  float64 // seconds until a change was known
	Futures  uint64  // announcements that the directory counted as from the future
	Events   int     // of the directory
	Sequence string  // hash of the events with their times
	First    string  // what was wrong first
}

// A clockService is one of the services.
type clockService struct {
	ident string
	unit  string // of its timestamps: "ours", "s", "us", or "mixed"
	pair  *scamp.KeyPair
	wire  *discovery.Loopback
	ours  *discovery.Announcer // nil for others
	clock atomic.Int64         // nanoseconds that it is ahead
	port  int                  // that it announces now

	mu     sync.Mutex // protects what follows
	packet []byte     // of others: repeated as it is
	stamp  time.Time  // of that
	signed int        // packets so far
}

func (c *clockService) now() time.Time { return time.Now().Add(time.Duration(c.clock.Load())) }

// say announces another port.
func (c *clockService) say(ctx context.Context, port int) error {
	c.port = port
	if c.ours != nil {
		return c.ours.Set(discovery.Content{
			Ident: c.ident, Sector: "main", Weight: 1, Envelopes: []string{"json"},
			Addresses: []string{fmt.Sprintf("beepish+tls://10.0.0.5:%d", port)},
			Actions:   []discovery.Action{{Class: "Clock", Name: "tell"}},
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !now.After(c.stamp) {
		now = c.stamp.Add(time.Millisecond)
	}
	units := map[string]string{
		"s":  fmt.Sprintf("%d.%06d", now.Unix(), now.Nanosecond()/1000),
		"ms": fmt.Sprint(now.UnixMilli()),
		"us": fmt.Sprint(now.UnixMicro()),
	}
	unit := c.unit
	if unit == "mixed" {
		unit = []string{"ms", "s", "us"}[c.signed%3]
	}
	json := fmt.Sprintf(`[3,%q,"main",1,%d,"beepish+tls://10.0.0.5:%d",["json"],[["Clock",["tell","",1]]],%s]`,
		c.ident, clockInterval.Milliseconds(), port, units[unit])
	a, err := discovery.SignJSON([]byte(json), c.pair.Certificate, c.pair.Key)
	if err != nil {
		return err
	}
	c.stamp, c.packet = now, discovery.Compress(a.Packet())
	c.signed++
	return c.wire.Send(ctx, discovery.Iface{}, c.packet)
}

// repeat sends what others say once an interval, until ctx ends.
func (c *clockService) repeat(ctx context.Context, first time.Duration) {
	for wait := first; ; wait = clockInterval {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		c.mu.Lock()
		c.wire.Send(ctx, discovery.Iface{}, c.packet)
		c.mu.Unlock()
	}
}

// clockTrial is one run. It is to be called in a bubble of synthetic time.
func clockTrial(t *testing.T, spec clockSpec, pairs []*scamp.KeyPair) clockResult {
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer func() { cancel(); work.Wait() }()

	trial := &clockRun{spec: spec, start: time.Now()}
	segment := discovery.NewLoopback()
	defer segment.Close()
	rules := ""
	for _, p := range pairs {
		rules += p.Certificate.Fingerprint + " main:ALL\n"
	}
	authorized, err := discovery.ParseAuthorized(strings.NewReader(rules))
	if err != nil {
		t.Fatal(err)
	}
	d := discovery.NewDirectory(&discovery.DirectoryOptions{
		Authorized: authorized, Now: func() time.Time { return time.Now().Add(time.Duration(trial.observer.Load())) },
	})
	defer d.Close()
	o := discovery.NewObserver(segment, d, nil)
	work.Go(func() { o.Run(ctx) }) // ends with ctx
	work.Go(func() {               // ends with ctx
		for e := range d.Watch(ctx, discovery.Query{Action: "Clock.tell"}) {
			trial.note(e)
		}
	})
	for i := range spec.Services {
		c := &clockService{
			ident: fmt.Sprintf("clock%03d:AAECAwQFBgcICQoLDA0ODxAR", i), pair: pairs[i%len(pairs)], wire: segment,
			unit: []string{"ours", "ours", "s", "us", "mixed"}[i%5],
		}
		if c.unit == "ours" {
			// Without jitter, which is not the seed's.
			c.ours, err = discovery.NewAnnouncer(segment, discovery.AnnouncerOptions{
				Certificate: c.pair.Certificate, Key: c.pair.Key, Interval: clockInterval, Jitter: -1, Now: c.now,
			})
			if err != nil {
				t.Fatal(err)
			}
			work.Go(func() { c.ours.Run(ctx) }) // ends with ctx
		}
		if err := c.say(ctx, firstPort); err != nil {
			t.Fatal(err)
		}
		if c.ours == nil {
			work.Go(func() { c.repeat(ctx, clockInterval*time.Duration(i)/time.Duration(spec.Services)) }) // ends with ctx
		}
		trial.services = append(trial.services, c)
	}
	time.Sleep(2 * clockInterval) // all are known
	trial.play(ctx, t, d)
	return trial.result(d)
}

const firstPort = 1000

// A clockRun is a run in progress.
type clockRun struct {
	spec     clockSpec
	start    time.Time
	observer atomic.Int64 // nanoseconds that its clock is ahead
	services []*clockService
	waiting  map[string]clockChange // what services said that is not known yet
	out      clockResult

	mu     sync.Mutex // protects events
	events []string
}

// A clockChange is a port that a service announces now.
type clockChange struct {
	port int
	at   time.Time
}

// note keeps an event of the directory.
func (r *clockRun) note(e discovery.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf("%012d %s %s %s %s", time.Since(r.start).Milliseconds(), e.Route.Ident, e.Kind, e.Why, e.Route.Address))
}

// A clockAct is what happens at one time.
type clockAct struct {
	at      time.Duration
	service int // -1: the observer
	jump    int // index of clockJumps; -1: it says something new
}

// plan is what happens, from the seed alone. A clock jumps every other second, that of
// the observer every fifth time, and each service says something new after a pause that
// is longer than news may take.
func (s clockSpec) plan() (acts []clockAct) {
	lasts := time.Duration(s.Seconds * float64(time.Second))
	jumps := stream(s.Seed, "clock jumps")
	for at := time.Second; at < lasts; at += 2 * time.Second {
		a := clockAct{at, -1, jumps.IntN(len(clockJumps))}
		if i := jumps.IntN(s.Services); jumps.IntN(5) > 0 {
			a.service = i
		}
		acts = append(acts, a)
	}
	news := stream(s.Seed, "clock news")
	for i := range s.Services {
		for at := pause(news); at < lasts-30*time.Second; at += pause(news) {
			acts = append(acts, clockAct{at, i, -1})
		}
	}
	slices.SortStableFunc(acts, func(a, b clockAct) int { return cmp.Compare(a.at, b.at) })
	return acts
}

func pause(r *rand.Rand) time.Duration {
	return time.Duration(30_000+r.IntN(60_000)) * time.Millisecond
}

// play does the acts, and looks ten times a second whether everybody is found.
func (r *clockRun) play(ctx context.Context, t *testing.T, d *discovery.Directory) {
	r.mu.Lock()
	r.events = nil // those until all were known
	r.mu.Unlock()
	r.waiting = make(map[string]clockChange)
	began := time.Now()
	acts := r.spec.plan()
	for at := time.Duration(0); at < time.Duration(r.spec.Seconds*float64(time.Second)); at += 100 * time.Millisecond {
		time.Sleep(at - time.Since(began))
		for len(acts) > 0 && acts[0].at <= at {
			if err := r.act(ctx, acts[0]); err != nil {
				t.Fatal(err)
			}
			acts = acts[1:]
		}
		r.look(d, at)
	}
}

// act does one thing.
func (r *clockRun) act(ctx context.Context, a clockAct) error {
	switch {
	case a.jump >= 0 && a.service < 0:
		r.out.Jumps++
		r.observer.Store(int64(clockJumps[a.jump].by))
	case a.jump >= 0:
		c := r.services[a.service]
		if by := clockJumps[a.jump].by; c.ours != nil || by >= time.Duration(c.clock.Load()) {
			r.out.Jumps++
			c.clock.Store(int64(by))
		}
	default:
		r.out.Changes++
		c := r.services[a.service]
		r.waiting[c.ident] = clockChange{c.port + 1, time.Now()}
		return c.say(ctx, c.port+1)
	}
	return nil
}

// clockNews is how long a change may take to be known: what was held before may have to
// expire first.
const clockNews = 21*clockInterval/10 + clockInterval

// look samples the directory.
func (r *clockRun) look(d *discovery.Directory, at time.Duration) {
	found := make(map[string]string)
	for _, route := range d.Find(discovery.Query{Action: "Clock.tell"}) {
		found[route.Ident] = route.Address
	}
	if n := len(r.services) - len(found); n > 0 {
		r.out.Missing += n
		for _, c := range r.services {
			if found[c.ident] == "" {
				r.wrong("%v: %s, whose timestamps are %s, is not found", at, c.ident, c.unit)
			}
		}
	}
	for ident, change := range r.waiting {
		took := time.Since(change.at)
		switch {
		case found[ident] == fmt.Sprintf("10.0.0.5:%d", change.port):
			r.out.Slowest = max(r.out.Slowest, took.Seconds())
			delete(r.waiting, ident)
		case took > clockNews:
			r.out.Locked++
			r.wrong("%v: %s is known at %q, and says for %v that it is at port %d", at, ident, found[ident], took, change.port)
			delete(r.waiting, ident)
		}
	}
}

// wrong keeps what was wrong first.
func (r *clockRun) wrong(format string, args ...any) {
	if r.out.First == "" {
		r.out.First = fmt.Sprintf(format, args...)
	}
}

// result counts and hashes the events.
func (r *clockRun) result(d *discovery.Directory) clockResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.events) // which of those at one time is first is chance
	r.out.Events = len(r.events)
	for _, e := range r.events {
		if strings.Contains(e, " removed ") {
			r.out.Removed++
			r.wrong("%s", e)
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(r.events, "\n")))
	r.out.Sequence = hex.EncodeToString(sum[:8])
	r.out.Futures = d.Stats().Counters["announce_future"]
	return r.out
}
