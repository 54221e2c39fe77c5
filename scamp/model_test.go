package scamp_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// modelChecks has rapid try so many sequences, or as many as SCAMP_MODEL_CHECKS says:
// 100,000 of them are for a night.
func modelChecks(t *testing.T, n int) {
	t.Helper()
	text := os.Getenv("SCAMP_MODEL_CHECKS")
	if text == "" {
		text = fmt.Sprint(n)
	}
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if err := f.Value.Set(text); err != nil {
		t.Fatalf("SCAMP_MODEL_CHECKS: %v", err)
	}
	t.Cleanup(func() { f.Value.Set(before) })
}

// A step is one command of a model. What k and n mean depends on op.
type step struct {
	op   string
	k, n int
}

// drawSteps draws a sequence of commands.
func drawSteps(r *rapid.T, ops []string) []step {
	n := rapid.SampledFrom([]int{4, 16, 64, 200, 200}).Draw(r, "n")
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			op: rapid.SampledFrom(ops).Draw(t, "op"),
			k:  rapid.IntRange(0, 20).Draw(t, "k"),
			n:  rapid.SampledFrom([]int{1, 2, 7, 100, 16384}).Draw(t, "n"),
		}
	})
	return rapid.SliceOfN(one, n, n).Draw(r, "steps")
}
