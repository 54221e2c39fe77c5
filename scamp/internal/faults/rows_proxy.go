//go:build linux

package main

import (
	"context"
	"math"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// proxyRows are the rows whose fault is none, or lies between the two ends of a
// connection, below TLS.
var proxyRows = []row{
	{id: "F1", fault: "none", quick: true, seconds: 60, minOK: 1, run: runNone},
	{id: "F2", fault: "latency 50 ± 20 ms both ways", seconds: 60, minOK: 0.999, run: runLatency},
	{id: "F4", fault: "1 Mbit/s one way", seconds: 60, minOK: 0.99, run: runSlow},
	{id: "F5", fault: "TCP segments of 1 to 7 octets", quick: true, seconds: 60, minOK: 1, run: runSlices},
	{id: "F6", fault: "every connection reset each 1 to 3 s", quick: true, seconds: 90, minOK: 0.97, run: runResets},
	{id: "F7", fault: "blackhole 10 s on, 10 s off", seconds: 120, least: 12, minOK: 0.4, run: runHoles},
	{id: "F26", fault: "1 bit of 100,000 packets turned over", seconds: 60, minOK: 0.97, run: runFlips},
}

// latencies notes how long the calls took that succeeded, and returns all calls.
func (s *stage) latencies() (calls, error) {
	all, err := s.calls()
	if err != nil {
		return nil, err
	}
	ok := all.ok()
	s.figure("p50_ms", ok.upTo(streamed-1).quantile(0.5))
	s.figure("p99_ms", ok.upTo(streamed-1).quantile(0.99))
	if streams := ok.where(func(m made) bool { return m.octets >= streamed }); len(streams) > 0 {
		s.figure("stream_p50_ms", streams.quantile(0.5))
	}
	s.figure("sent_again", float64(all.again()))
	return all, nil
}

// weathered opens a stage with proxies of that weather and loads it.
func (s *stage) weathered(ctx context.Context, w weather, m mix, acts []act) (calls, error) {
	if err := s.open(ctx, layout{proxied: true, mix: m}); err != nil {
		return nil, err
	}
	for _, p := range s.proxies {
		p.set(w)
	}
	if err := s.load(ctx, acts); err != nil {
		return nil, err
	}
	return s.latencies()
}

// relayed adds up a figure of all proxies.
func (s *stage) relayed(of func(p *proxy) int64) (n float64) {
	for _, p := range s.proxies {
		n += float64(of(p))
	}
	return n
}

// runNone is F1: what a bus does when nothing is wrong.
func runNone(ctx context.Context, s *stage) error {
	if err := s.open(ctx, layout{}); err != nil {
		return err
	}
	if err := s.load(ctx, nil); err != nil {
		return err
	}
	all, err := s.latencies()
	if err != nil {
		return err
	}
	if !s.quick {
		s.within("p99_ms", all.ok().upTo(streamed-1).quantile(0.99), 50)
		return nil
	}
	// The CI subset runs beside whatever else the machine does, which only adds to it: the
	// quarter that was least disturbed is the one that speaks of us.
	best := math.Inf(1)
	for i := range time.Duration(4) {
		quarter := all.between(s.began.Add(i*s.seconds/4), s.began.Add((i+1)*s.seconds/4))
		best = min(best, quarter.ok().upTo(streamed-1).quantile(0.99))
	}
	s.within("best_quarter_p99_ms", best, 50)
	return nil
}

// runLatency is F2.
func runLatency(ctx context.Context, s *stage) error {
	all, err := s.weathered(ctx, weather{latency: 50 * time.Millisecond, jitter: 20 * time.Millisecond}, baseMix(), nil)
	if err != nil {
		return err
	}
	s.atLeast("p50_ms", all.ok().quantile(0.5), 60) // or the proxies did not do their work
	return nil
}

// runSlow is F4: the small calls of each client beside a reply of 8 MiB on the same
// connection, which carries 1 Mbit/s toward the client.
func runSlow(ctx context.Context, s *stage) error {
	quiet := mix{Rate: 20, Parts: []part{{0.7, 200}, {0.3, 8 << 10}}, Cancel: 0.05, Idempotent: 0.25, Deadline: 10 * time.Second}
	if err := s.open(ctx, layout{services: 1, proxied: true, mix: quiet}); err != nil {
		return err
	}
	for _, p := range s.proxies {
		p.set(weather{rate: 125_000})
	}
	// As long as the row, at that rate: small calls have a stream beside them all the time.
	length := int(min(s.seconds.Seconds()*125_000, streamed))
	bulk := mix{Rate: float64(len(s.clients)) / s.rate, Parts: []part{{1, length}}, Down: true, Deadline: 3*s.seconds + 30*time.Second}
	err := s.loads(ctx, []wave{{mix: quiet}, {name: "bulk-", mix: bulk, seconds: time.Second}}, nil)
	if err != nil {
		return err
	}
	all, err := s.calls()
	if err != nil {
		return err
	}
	s.within("small_p99_ms", all.ok().upTo(8<<10).quantile(0.99), 3000)
	streams := all.ok().where(func(m made) bool { return m.octets == int64(length) })
	s.atLeast("streams", float64(len(streams)), float64(len(s.clients)))
	s.atLeast("stream_p50_ms", streams.quantile(0.5), 0.9*ms(time.Duration(length)*time.Second/125_000)) // or the link was not slow
	return nil
}

// runSlices is F5. Each segment costs as much as a whole one, so that the bodies are
// small.
func runSlices(ctx context.Context, s *stage) error {
	m := mix{Rate: 20, Parts: []part{{0.8, 200}, {0.19, 8 << 10}, {0.01, 64 << 10}}, Cancel: 0.05, Idempotent: 0.25, Deadline: 2 * time.Second}
	const most = 7
	if _, err := s.weathered(ctx, weather{slice: most}, m, nil); err != nil {
		return err
	}
	octets := s.relayed(func(p *proxy) int64 { return p.passed.Load() })
	s.figure("octets", octets)
	s.atLeast("segments", s.relayed(func(p *proxy) int64 { return p.segments.Load() }), max(octets/most, 1)) // or the proxies did not do their work
	return nil
}

// runResets is F6.
func runResets(ctx context.Context, s *stage) error {
	all, err := s.weathered(ctx, weather{lives: [2]time.Duration{time.Second, 3 * time.Second}}, baseMix(), nil)
	if err != nil {
		return err
	}
	// Two connections or more are there at any time, and each lives 2 s on average.
	s.atLeast("connections", s.relayed(func(p *proxy) int64 { return p.accepted.Load() }), s.seconds.Seconds())
	s.judgeAgain(all)
	return nil
}

// judgeAgain checks that what did not run was sent again, once at most unless it is
// idempotent. What cannot be read twice cannot be sent twice.
func (s *stage) judgeAgain(all calls) {
	var kept, often int
	for _, m := range all {
		if m.outcome == ledger.NotRun && !m.cancelled && m.again == 0 && m.octets < 1<<20 {
			kept++
		}
		if m.again > 1 && !m.idempotent {
			often++
		}
	}
	s.atMost("not_run_and_not_sent_again", float64(kept), 0)
	s.atMost("sent_again_twice", float64(often), 0)
}

// holeTime is how long nothing passes, and how long all does.
const holeTime = 10 * time.Second

// runHoles is F7: nothing passes for ten seconds, nobody is told, and all is well again
// for ten seconds.
func runHoles(ctx context.Context, s *stage) error {
	hole := min(holeTime, s.seconds/4)
	var acts []act
	var ends []time.Duration // of holes
	var dug, filled []time.Time
	for at := hole; at < s.seconds; at += 2 * hole {
		acts = append(acts, s.weatherAct(at, "nothing passes", weather{hole: true}).then(&dug), s.weatherAct(at+hole, "all passes", weather{}).before(&filled))
		ends = append(ends, at+hole)
	}
	all, err := s.weathered(ctx, weather{}, baseMix(), acts)
	if err != nil {
		return err
	}
	var late int
	var slowest time.Duration
	for _, end := range ends {
		from := s.began.Add(end)
		well := all.between(from, from.Add(hole-baseMix().Deadline)) // those that end before the next one
		for _, m := range well.failed() {
			after := m.at.Sub(from)
			slowest = max(slowest, after)
			if after > 3*time.Second {
				late++
			}
		}
	}
	// Or the proxies did not do their work: what begins and ends in a hole fails.
	inHoles := all.where(func(m made) bool {
		for i, from := range dug {
			if m.at.After(from) && i < len(filled) && m.at.Add(m.took).Before(filled[i]) {
				return true
			}
		}
		return false
	})
	s.atMost("ok_in_holes", float64(len(inHoles.ok())), 0)
	if hole > baseMix().Deadline {
		s.atLeast("failed_in_holes", float64(len(inHoles.failed())), 1)
	}
	s.figure("recovery_ms", ms(slowest)) // the latest call after a hole that failed
	s.atMost("failed_3_s_after_a_hole", float64(late), 0)
	s.atLeast("ok_between_holes", all.between(s.began, s.began.Add(hole-2*time.Second)).part(), 1)
	return nil
}

// weatherAct changes the weather of all proxies.
func (s *stage) weatherAct(at time.Duration, what string, w weather) act {
	return act{at, what, func(context.Context) error {
		for _, p := range s.proxies {
			p.set(w)
		}
		return nil
	}}
}

// runFlips is F26: TLS finds out, whatever it is that is not as it was sent.
func runFlips(ctx context.Context, s *stage) error {
	between := int64(100_000 * packetOctets)
	if s.seconds < 30*time.Second {
		between /= 10 // so that there is one
	}
	_, err := s.weathered(ctx, weather{flip: between}, baseMix().at(100), nil)
	if err != nil {
		return err
	}
	flipped := s.relayed(func(p *proxy) int64 { return p.flipped.Load() })
	s.atLeast("bits", flipped, 1)
	s.figure("mib", s.relayed(func(p *proxy) int64 { return p.passed.Load() })/(1<<20))
	// A connection that was broken is made again.
	s.atLeast("connections", s.relayed(func(p *proxy) int64 { return p.accepted.Load() }), flipped)
	return nil
}
