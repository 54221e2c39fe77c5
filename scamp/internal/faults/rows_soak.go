//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// soakRows is the soak (THREATS 4.4), which runs only if it is named.
var soakRows = []row{
	{id: "soak", fault: "everything, in compressed time", extra: true, seconds: 570, least: 20, quickSeconds: 20, minOK: 0.9, run: runSoak},
}

const (
	soakRate   = 300
	soakFault  = 5 * time.Second // between faults
	soakSample = 5 * time.Second // between looks at the heaps, in a soak that lasts
	soakWarm   = 60.0 / 570      // of the load: what grows until then does not count
)

// runSoak plays all there is at once, with times cut so that ten minutes hold what else
// takes hours: announcements each 250 ms, connections that are idle for 3 s close. The
// third service, the clients and the cache manager live through all of it, and must not
// grow.
func runSoak(ctx context.Context, s *stage) error {
	limits := scamp.Limits{ClientIdle: 3 * time.Second, ServerIdle: 4 * time.Second, HandshakeTimeout: time.Second, Discovery: discovery.Limits{MinInterval: 250 * time.Millisecond}}
	err := s.open(ctx, layout{proxied: true, mix: baseMix().at(soakRate), config: "discovery.interval = 250\n",
		service: serviceSpec{Limits: limits}, client: clientSpec{Limits: limits}})
	if err != nil {
		return err
	}
	var targets []string
	for _, p := range s.proxies {
		targets = append(targets, p.address())
	}
	attacker, err := s.begin(ctx, "hostile", launch{role: "hostile", spec: hostileSpec{targets, s.seed}})
	if err != nil {
		return err
	}
	h := &heaps{lasting: map[string]*child{"svc3": s.services[2], "cache": s.cache}}
	for _, c := range s.clients {
		h.lasting[c.name] = c
	}
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	var watch sync.WaitGroup
	defer watch.Wait()
	defer unwatch()
	// A short one is looked at as often in all, or a quarter of it would be a single look.
	sample := max(min(soakSample, s.seconds/40), soakSample/10)
	watch.Go(func() { h.sample(watching, sample) }) // ends with unwatch

	var renewals int
	if err := s.load(ctx, s.soakActs(&renewals)); err != nil {
		return err
	}
	unwatch()
	watch.Wait()
	if err := attacker.stop(ctx, drainIn); err != nil {
		return err
	}
	all, err := s.latencies()
	if err != nil {
		return err
	}
	full := s.seconds.Seconds() / 570 * s.rate // what of a whole soak this is
	s.atLeast("calls", float64(len(all)), 150_000*full)
	s.atLeast("connections", s.relayed(func(p *proxy) int64 { return p.accepted.Load() }), 2000*min(full, 1))
	made, err := s.connected(ctx)
	if err != nil {
		return err
	}
	s.atLeast("connections_of_clients", float64(made), float64(len(s.clients)*len(s.services))*max(1, s.seconds.Minutes())) // the rest are the hostile client's
	lasting, err := s.services[2].stats(ctx)
	if err != nil {
		return err
	}
	// That they add up is for rule 8, in every row: here, that they count.
	s.atLeast("svc3_conn_accepted", float64(lasting["conn_accepted"]), float64(len(s.clients)))
	s.atLeast("svc3_request_started", float64(lasting["request_started"]), float64(len(all))/6) // of three, when the others are gone now and then
	s.atLeast("renewals", float64(renewals), float64(int(3*full)))
	from := s.began.Add(time.Duration(soakWarm * float64(s.seconds)))
	to := s.began.Add(s.seconds)
	minute := min(time.Minute, to.Sub(from)/2)
	first := all.between(from, from.Add(minute)).ok().upTo(streamed - 1).quantile(0.99)
	last := all.between(to.Add(-minute), to).ok().upTo(streamed - 1).quantile(0.99)
	s.figure("first_minute_p99_ms", first)
	if minute == time.Minute {
		s.within("last_minute_p99_ms", last, 2*first)
	} else {
		s.figure("last_minute_p99_ms", last) // each part of a short soak has its own one or two faults
	}
	h.judge(s, from)
	wrong, err := s.errorLines()
	if err != nil {
		return err
	}
	s.atMost("error_lines", float64(len(wrong)), 0)
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong[:min(len(wrong), 5)], "\n"))
	}
	return nil
}

// connected counts the connections that clients have made.
func (s *stage) connected(ctx context.Context) (n int, err error) {
	for _, c := range s.clients {
		var all []dialed
		if err := c.ask(ctx, "dials", nil, &all, readyIn); err != nil {
			return 0, err
		}
		for _, d := range all {
			if d.Made {
				n++
			}
		}
	}
	return n, nil
}

// soakActs draws a fault each five seconds, a service that leaves and comes back between
// two of them, and has the rules written each second.
func (s *stage) soakActs(renewals *int) []act {
	r := s.rand("faults")
	var acts []act
	n := 0
	for at := range every(s.seconds, soakFault) {
		i, j := r.IntN(len(s.services)), r.IntN(len(s.services)-1) // j does not last
		kind := r.IntN(6)
		if n++; n%20 == 3 {
			kind = 6
		}
		svc, mortal := serviceName(i), serviceName(j)
		switch kind {
		case 0:
			acts = append(acts, act{at, "reset connections of " + svc, func(context.Context) error { s.proxies[i].resetAll(); return nil }})
		case 1:
			acts = append(acts, act{at, "kill " + mortal, func(context.Context) error { return s.services[j].kill() }},
				act{at + time.Second, "start " + mortal, func(ctx context.Context) error { return s.startService(ctx, j) }})
		case 2:
			acts = append(acts, act{at, "stop " + svc, func(context.Context) error { return s.services[i].signal(syscall.SIGSTOP) }},
				act{at + time.Second, "continue " + svc, func(context.Context) error { return s.services[i].signal(syscall.SIGCONT) }})
		case 3:
			acts = append(acts, act{at, "hole before " + svc, func(context.Context) error { s.proxies[i].set(weather{hole: true}); return nil }},
				act{at + time.Second, "no hole before " + svc, func(context.Context) error { s.proxies[i].set(weather{}); return nil }})
		case 4:
			acts = append(acts, act{at, "delay before " + svc, func(context.Context) error {
				s.proxies[i].set(weather{latency: 20 * time.Millisecond, jitter: 10 * time.Millisecond})
				return nil
			}}, act{at + 3*time.Second, "no delay before " + svc, func(context.Context) error { s.proxies[i].set(weather{}); return nil }})
		case 5:
			acts = append(acts, act{at, "TLS records of " + svc + " are harmed", func(context.Context) error { s.proxies[i].set(weather{flip: 1 << 20}); return nil }},
				act{at + time.Second, "no harm to " + svc, func(context.Context) error { s.proxies[i].set(weather{}); return nil }})
		case 6:
			number := len(s.services) + n // of a key pair that nobody has
			acts = append(acts, act{at, "renew " + mortal, func(ctx context.Context) error {
				*renewals++
				return s.renew(ctx, j, number)
			}})
		}
		acts = append(acts, act{at + soakFault/2, "suspend " + svc, func(ctx context.Context) error {
			return s.services[i].ask(ctx, "suspend", nil, nil, readyIn)
		}}, act{at + soakFault*3/5, "resume " + svc, func(ctx context.Context) error {
			return s.services[i].ask(ctx, "resume", nil, nil, readyIn)
		}})
	}
	for at := range every(s.seconds, time.Second) {
		acts = append(acts, act{at + 100*time.Millisecond, "rules", func(context.Context) error { return s.touchRules() }})
	}
	return acts
}

// renew gives service i another key pair: first the rule, then the service.
func (s *stage) renew(ctx context.Context, i, number int) error {
	pair, err := s.pair(number)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.rulesPath(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s main:Load\n", pair.Certificate.Fingerprint)
	if err := errors.Join(err, f.Close(), s.writePair(serviceName(i), pair)); err != nil {
		return err
	}
	return errors.Join(s.services[i].stop(ctx, drainIn), s.startService(ctx, i))
}

// touchRules writes the rules anew, in another file with the same lines.
func (s *stage) touchRules() error {
	text, err := os.ReadFile(s.rulesPath())
	if err != nil {
		return err
	}
	next := s.rulesPath() + ".new"
	return errors.Join(os.WriteFile(next, text, 0o644), os.Rename(next, s.rulesPath()))
}

// A heap is what a process held at a time, after a collection.
type heap struct {
	at    time.Time
	mib   float64
	holds map[string]int64
}

// heaps are those of the processes that live through the soak.
type heaps struct {
	lasting map[string]*child

	mu  sync.Mutex // protects all
	all map[string][]heap
}

// sample looks at all of them again and again until ctx ends.
func (h *heaps) sample(ctx context.Context, each time.Duration) {
	tick := time.NewTicker(each)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for name, c := range h.lasting {
			var now weighedHeap
			if c.ask(ctx, "heap", nil, &now, readyIn) != nil {
				continue // it is stopped, or the soak is over
			}
			h.mu.Lock()
			if h.all == nil {
				h.all = make(map[string][]heap)
			}
			h.all[name] = append(h.all[name], heap{time.Now(), float64(now.Octets) / (1 << 20), now.Holds})
			h.mu.Unlock()
		}
	}
}

// judge notes how each heap grew after a time, and whether goroutines and descriptors are
// as they were then. What is held is a matter of the moment, so the least of the first
// quarter is compared with the least of the last.
func (h *heaps) judge(s *stage, from time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.lasting {
		some := slices.DeleteFunc(slices.Clone(h.all[name]), func(p heap) bool { return p.at.Before(from) })
		if len(some) < 2 {
			s.failures = append(s.failures, fmt.Sprintf("%s was weighed %d times: want 2 at least", name, len(some)))
			continue
		}
		if s.seconds >= 5*time.Minute {
			s.atMost(name+"_mib_a_minute", slope(some), 0.5)
		} else {
			s.figure(name+"_mib_a_minute", slope(some)) // a short soak has too few
		}
		quarter := max(len(some)/4, 1)
		for _, what := range []string{"goroutines", "descriptors"} {
			least := func(part []heap) (n int64) {
				n = part[0].holds[what]
				for _, p := range part {
					n = min(n, p.holds[what])
				}
				return n
			}
			s.atMost(name+"_"+what+"_more", float64(least(some[len(some)-quarter:])-least(some[:quarter])), 4)
		}
	}
}

// slope is that of the line that fits best, in MiB a minute.
func slope(all []heap) float64 {
	var x, y, xx, xy float64
	for _, h := range all {
		at := h.at.Sub(all[0].at).Minutes()
		x, y, xx, xy = x+at, y+h.mib, xx+at*at, xy+at*h.mib
	}
	n := float64(len(all))
	return (n*xy - x*y) / (n*xx - x*x)
}

// errorLines are the lines that any child logged as errors.
func (s *stage) errorLines() (lines []string, err error) {
	s.mu.Lock()
	all := slices.Clone(s.children)
	s.mu.Unlock()
	for _, c := range all {
		f, err := os.Open(c.log)
		if err != nil {
			return nil, err
		}
		for text := bufio.NewScanner(f); text.Scan(); {
			if strings.Contains(text.Text(), " ERR ") {
				lines = append(lines, c.name+": "+text.Text())
			}
		}
		f.Close()
	}
	return lines, nil
}
