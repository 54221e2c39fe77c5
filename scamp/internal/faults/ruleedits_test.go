//go:build linux

package main

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// TestRuleEditsAreWhatReadersSee does the edits of F24 and asks a reader of the file after
// each who is allowed.
func TestRuleEditsAreWhatReadersSee(t *testing.T) {
	var certificates []*discovery.Certificate
	var prints []string
	for range 3 {
		pair, err := scamp.GenerateKeyPair("rules", 0)
		if err != nil {
			t.Fatal(err)
		}
		certificates, prints = append(certificates, pair.Certificate), append(prints, pair.Certificate.Fingerprint)
	}
	path := filepath.Join(t.TempDir(), "authorized_services")
	all := []bool{true, true, true}
	if err := writeRules(path, plainRules(prints, all)); err != nil {
		t.Fatal(err)
	}
	d := discovery.NewDirectory(nil)
	defer d.Close()
	reader := discovery.NewAuthorizedReader(path, d, nil)
	if err := reader.Load(); err != nil {
		t.Fatal(err)
	}
	edits := ruleEdits(rand.New(rand.NewPCG(1, 2)), 5*len(ruleForms), prints, all)
	changed := 0
	before := all
	for i, e := range edits {
		if err := e.do(path); err != nil {
			t.Fatalf("edit %d, %s: %v", i, e.name, err)
		}
		reader.Load() // its error says that the last good rules stay
		var got []bool
		for _, c := range certificates {
			got = append(got, d.Authorized().Decide(c, "main", "Load.work").Allowed)
		}
		if !slices.Equal(got, e.after()) {
			t.Errorf("edit %d, %s: %v may serve, want %v", i, e.name, got, e.after())
		}
		if !slices.Equal(before, e.after()) {
			changed++
		}
		before = e.after()
	}
	if !slices.Equal(before, all) || changed < len(edits)/2 {
		t.Errorf("after %d edits %v may serve, %d changed something: want all, and most", len(edits), before, changed)
	}
}

func TestRuleHistory(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	h := ruleHistory{
		{at(0), at(0), []bool{true, false}},
		{at(10), at(10.1), []bool{false, false}},
		{at(20), at(20.1), []bool{false, true}},
	}
	for _, tt := range []struct {
		from, to     float64
		first, other bool // sometime
		always       bool
	}{
		{1, 2, true, false, true},
		{1, 9.9, true, false, true},
		{1, 10, true, false, false},
		{10.1, 12, true, false, false}, // at 10.1 the old file may be read for the last time
		{10.2, 12, false, false, false},
		{12, 20, false, true, false},
		{20.2, 30, false, true, true},
		{1, 30, true, true, false},
	} {
		from, to := at(tt.from), at(tt.to)
		if a, b, c := h.sometime(0, from, to), h.sometime(1, from, to), h.always(from, to); a != tt.first || b != tt.other || c != tt.always {
			t.Errorf("from %v to %v: sometime %v %v, always %v; want %v %v, %v", tt.from, tt.to, a, b, c, tt.first, tt.other, tt.always)
		}
	}
}
