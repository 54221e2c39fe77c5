//go:build linux

package main

import (
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
)

// clockPairs are the keys of the services.
func clockPairs(t *testing.T) (pairs []*scamp.KeyPair) {
	t.Helper()
	for range 2 {
		p, err := scamp.GenerateKeyPair("clock", 2048)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// TestClocks is F13, and that one seed gives the same sequence of directory events twice.
func TestClocks(t *testing.T) {
	pairs := clockPairs(t)
	var results []clockResult
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			results = append(results, clockTrial(t, clockSpec{Seed: 1, Services: 15, Seconds: 150}, pairs))
		})
	}
	one := results[0]
	t.Logf("%+v", one)
	if one != results[1] {
		t.Errorf("the same seed gave\n%+v, then\n%+v", one, results[1])
	}
	if one.Removed+one.Missing+one.Locked > 0 || one.Changes < 15 || one.Jumps < 40 || one.Futures == 0 {
		t.Errorf("%+v: want nobody removed, missing or locked out", one)
	}
}
