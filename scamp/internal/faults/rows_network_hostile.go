//go:build linux

package main

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// attackOrder is the order of the attacks of F21 (THREATS 2.3).
var attackOrder = []string{"P6", "P12", "P14", "P21"}

// attacks are what one connection can do to a service. Each goes on until the connection
// or ctx ends, and returns how many packets it sent, or, where our own library sends them,
// calls.
var attacks = map[string]func(ctx context.Context, addr string) int{
	"P6":  onBare(headersAlone),
	"P12": onBare(readsNothing),
	"P14": endlessBodies,
	"P21": onBare(neverRead),
}

// marks are the counters of the limits that attacks meet, and how long that takes at most.
var marks = []struct {
	attack, counter string
	after           time.Duration
}{
	{"P6", "open_messages_exceeded", time.Second}, {"P12", "write_stalled", 11 * time.Second},
	{"P14", "body_too_big", time.Second}, {"P21", "window_violated", time.Second},
}

// The actions that an attacker calls. Nothing is noted of them.
const (
	hostileWork    = "Hostile.work"    // takes 20 ms
	hostileWait    = "Hostile.wait"    // reads nothing until its caller leaves
	hostileBig     = "Hostile.big"     // answers as many octets as the request says
	hostileCollect = "Hostile.collect" // wants its request whole
)

// serveHostile offers what an attacker calls.
func serveHostile(svc *scamp.Service) {
	svc.Handle(hostileWork, func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
		<-time.After(20 * time.Millisecond)
		return nil
	}, nil)
	svc.Handle(hostileWait, func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}, nil)
	svc.Handle(hostileBig, func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		b, err := req.Bytes()
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(b))
		if err != nil {
			return err
		}
		_, err = io.CopyN(rep, zeros{}, int64(n))
		return err
	}, nil)
	svc.Handle(hostileCollect, func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
		_, err := req.Bytes()
		return err
	}, nil)
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// runHostile is F21: one service has little memory, and one connection at a time tries to
// make it hold more. It lives, and so do the calls of all others.
func runHostile(ctx context.Context, s *stage) error {
	if err := s.open(ctx, layout{serviceEnv: []string{"GOMEMLIMIT=128MiB"}, service: serviceSpec{Hostile: true}}); err != nil {
		return err
	}
	victim := s.services[0]
	attacker, err := s.begin(ctx, "attacker", launch{role: "attacker", spec: attackerSpec{victim.ready.Address}})
	if err != nil {
		return err
	}
	began, err := footprintOf(victim.pid())
	if err != nil {
		return err
	}
	least, most := began.anonymous, began.anonymous
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { // ends with stop, or with the victim
		for watch.Err() == nil {
			now, err := footprintOf(victim.pid())
			if err != nil {
				return
			}
			most = max(most, now.anonymous)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-watch.Done():
			}
		}
	})
	defer func() { stop(); watching.Wait() }()
	sent := make(map[string]float64)
	var acts []act
	turn := s.seconds / time.Duration(len(attackOrder))
	for i, name := range attackOrder {
		acts = append(acts, act{time.Duration(i)*turn + turn/10, "attack " + name, func(ctx context.Context) error {
			var n int
			err := attacker.ask(ctx, "attack", attackOrderArgs{name, turn * 8 / 10}, &n, turn+drainIn)
			sent[name] = float64(n)
			return err
		}})
	}
	// Calls for the victim alone: the others would hide that it serves nobody.
	const pinned = "pinned/"
	m := mix{Rate: 50 / s.rate, Parts: []part{{1, 200}}, Deadline: 2 * time.Second} // some in each attack, however slow the load
	if err := s.loads(ctx, []wave{{mix: s.layout.mix}, {name: pinned, mix: m, ident: victim.ready.Ident}}, acts); err != nil {
		return err
	}
	stop()
	watching.Wait()
	for name, n := range sent {
		s.atLeast("sent_"+name, n, 1)
	}
	all, err := s.calls()
	if err != nil {
		return err
	}
	atVictim := all.where(func(m made) bool { return strings.HasPrefix(m.id, s.row.id+"/"+pinned) })
	for i, name := range attackOrder {
		from := s.began.Add(time.Duration(i)*turn + turn/10)
		s.atLeast("ok_at_victim_"+name, atVictim.between(from, from.Add(turn*8/10)).part(), s.row.minOK)
	}
	s.figure("victim_p99_ms", atVictim.ok().quantile(0.99))
	s.figure("victim_mib_before", float64(least)/(1<<20))
	s.figure("victim_mib_most", float64(most)/(1<<20))
	s.atMost("victims_dead", float64(count(s.services, (*child).gone)), 0)
	stats, err := victim.stats(ctx)
	if err != nil {
		return err
	}
	for _, m := range marks {
		if turn*8/10 >= m.after {
			s.atLeast(m.counter, float64(stats[m.counter]), 1)
		}
	}
	return attacker.stop(ctx, drainIn)
}

func count(all []*child, is func(*child) bool) (n int) {
	for _, c := range all {
		if is(c) {
			n++
		}
	}
	return n
}
