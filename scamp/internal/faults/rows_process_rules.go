//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// rulesRows are the rows in which keys and rules change under load.
var rulesRows = []row{
	{id: "F23", fault: "key and certificate renewed, rule first, restart second", seconds: 90, least: 16, quickSeconds: 24, minOK: 1, run: runRenewals},
	{id: "F24", fault: "edits of the rules, S1 to S8, one a second", seconds: 60, least: 12, minOK: 0.3, run: runRuleEdits},
}

// runRenewals is F23.
func runRenewals(ctx context.Context, s *stage) error {
	m := baseMix()
	m.Again = true
	if err := s.open(ctx, layout{mix: m}); err != nil {
		return err
	}
	var acts []act
	n, done := 0, 0
	for at := range every(s.seconds, 8*time.Second) {
		i, number := n%len(s.services), len(s.services)+n
		if _, err := s.pair(number); err != nil { // it takes long: not under load
			return err
		}
		n++
		acts = append(acts,
			act{at, "a rule for the next key of " + serviceName(i), func(context.Context) error {
				pair, err := s.pair(number)
				if err != nil {
					return err
				}
				old, err := os.ReadFile(s.rulesPath())
				if err != nil {
					return err
				}
				return renameRules(s.rulesPath(), string(old)+pair.Certificate.Fingerprint+" "+granted+"\n")
			}},
			act{at + 2500*time.Millisecond, "restart " + serviceName(i) + " with it", func(ctx context.Context) error {
				pair, err := s.pair(number)
				if err != nil {
					return err
				}
				if err := s.writePair(serviceName(i), pair); err != nil {
					return err
				}
				old := s.services[i]
				if err := s.startService(ctx, i); err != nil {
					return err
				}
				if s.services[i].ready.Fingerprint == old.ready.Fingerprint {
					return fmt.Errorf("%s shows %s still", serviceName(i), old.ready.Fingerprint)
				}
				done++
				return old.stop(ctx, drainIn)
			}})
	}
	if err := s.load(ctx, acts); err != nil {
		return err
	}
	s.did("renewals", done, n)
	_, err := s.latencies()
	return err
}

// runRuleEdits is F24: each request runs where the rules allow it, as they are or were two
// seconds ago, and is denied only if nobody was allowed all that time.
func runRuleEdits(ctx context.Context, s *stage) error {
	m := baseMix()
	m.Again = true
	if err := s.open(ctx, layout{mix: m}); err != nil {
		return err
	}
	var prints []string
	for _, c := range s.services {
		prints = append(prints, c.ready.Fingerprint)
	}
	start := slices.Repeat([]bool{true}, len(prints))
	history := ruleHistory{{time.Time{}, time.Time{}, start}}
	seconds := int(s.seconds/time.Second) - 4
	var acts []act
	done := 0
	for i, e := range ruleEdits(s.rand("edits"), seconds, prints, start) {
		acts = append(acts, act{time.Duration(i+1) * time.Second, fmt.Sprintf("%s: %v", e.name, e.states), func(context.Context) error {
			begin := time.Now()
			err := e.do(s.rulesPath())
			end := time.Now()
			for _, allowed := range e.states {
				history = append(history, ruleTime{begin, end, allowed})
			}
			done++
			return err
		}})
	}
	if err := s.load(ctx, acts); err != nil {
		return err
	}
	records, err := s.records()
	if err != nil {
		return err
	}
	s.did("edits", done, len(acts))
	wrong := history.strayed(records)
	s.atMost("ran_where_not_allowed", float64(len(wrong)), 0)
	all := callsOf(records)
	denied := all.failed().where(func(m made) bool { return m.outcome == ledger.NotRun })
	unduly := denied.where(func(m made) bool { return history.always(m.at.Add(-ruleSlack), m.at.Add(m.took)) })
	s.figure("denied", float64(len(denied)))
	s.atMost("denied_though_allowed", float64(len(unduly)), 0)
	s.figure("failed_otherwise", float64(len(all.failed())-len(denied)))
	s.failures = append(s.failures, slices.Concat(wrong, texts(unduly))[:min(3, len(wrong)+len(unduly))]...)
	return nil
}

func texts(c calls) (all []string) {
	for _, m := range c {
		all = append(all, fmt.Sprintf("call %s, %v later: %s", m.id, m.took, m.text))
	}
	return all
}

// strayed returns the runs at services that no rules allowed.
func (h ruleHistory) strayed(records []ledger.Record) (all []string) {
	issued := make(map[string]time.Time)
	for _, r := range records {
		if r.Kind == ledger.KindIssue {
			issued[r.ID] = r.At
		}
	}
	for _, r := range records {
		if r.Kind != ledger.KindRun {
			continue
		}
		name, _, _ := strings.Cut(r.By, ".")
		var i int
		if _, err := fmt.Sscanf(name, "svc%d", &i); err != nil || i < 1 {
			all = append(all, fmt.Sprintf("call %s ran at %q", r.ID, r.By))
			continue
		}
		if !h.sometime(i-1, issued[r.ID].Add(-ruleSlack), r.At) {
			all = append(all, fmt.Sprintf("call %s ran at %s at %v, which nothing allowed since %v", r.ID, r.By, r.At, issued[r.ID].Add(-ruleSlack)))
		}
	}
	return all
}
