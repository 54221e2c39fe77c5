//go:build linux

package main

import (
	"context"
)

// proxyRows are the rows whose fault is none, or lies between two ends of a connection.
var proxyRows = []row{
	{id: "F1", fault: "none", quick: true, seconds: 60, minOK: 1, run: runNone},
}

// streamed is how long a body is that has no latency to speak of: the 1 % of the load
// that take as long as their octets.
const streamed = 8 << 20

// latencies notes what others compare with: how long the calls took that succeeded.
func (s *stage) latencies() (calls, error) {
	all, err := s.calls()
	if err != nil {
		return nil, err
	}
	ok := all.ok()
	s.figure("p50_ms", ok.upTo(streamed-1).quantile(0.5))
	s.figure("p99_ms", ok.upTo(streamed-1).quantile(0.99))
	s.figure("stream_p50_ms", ok.where(func(m made) bool { return m.octets >= streamed }).quantile(0.5))
	return all, nil
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
	s.within("p99_ms", all.ok().upTo(streamed-1).quantile(0.99), 50)
	return nil
}
