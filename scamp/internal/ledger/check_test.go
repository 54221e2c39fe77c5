package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

var (
	began    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	deadline = began.Add(2 * time.Second)
	nonce    = ledger.Nonce{1, 2, 3}
	question = ledger.SumOf([]byte("question"))
	answer   = ledger.SumOf([]byte("answer"))
)

// A clock is the time of a test; it goes on only by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// good is a call that keeps every rule, noted by its two ends.
func good(client, service *ledger.Ledger, id string) {
	client.Issue(id, nonce, question, false, deadline)
	service.Run(id)
	service.Served(id, question, true, answer)
	client.End(id, ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: answer})
}

// TestEachRuleIsFound breaks one rule at a time among calls that keep them all, and
// wants exactly that rule to be reported.
func TestEachRuleIsFound(t *testing.T) {
	type ends struct {
		client, service *ledger.Ledger
		clock           *clock
	}
	issue := func(e ends) { e.client.Issue("x", nonce, question, false, deadline) }
	end := func(e ends, o ledger.Outcome) { e.client.End("x", ledger.End{Outcome: o}) }
	for _, tt := range []struct {
		rule int
		name string
		do   func(e ends)
		want string
	}{
		{1, "never ended", func(e ends) { issue(e) }, "ended 0 times"},
		{1, "ended twice", func(e ends) { issue(e); end(e, ledger.NotRun); end(e, ledger.NotRun) }, "ended 2 times"},
		{1, "never issued", func(e ends) { end(e, ledger.NotRun) }, "issued 0 times"},
		{1, "issued twice", func(e ends) { issue(e); issue(e); end(e, ledger.NotRun) }, "issued 2 times"},
		{1, "no outcome", func(e ends) { issue(e); end(e, "lost") }, `outcome "lost"`},
		{2, "ok and never ran", func(e ends) {
			issue(e)
			e.client.End("x", ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: answer})
		}, "ran 0 times"},
		{2, "ok and ran twice", func(e ends) { good(e.client, e.service, "x"); e.service.Run("x") }, "ran 2 times"},
		{2, "another request arrived", func(e ends) {
			issue(e)
			e.service.Run("x")
			e.service.Served("x", ledger.SumOf([]byte("QUESTION")), true, answer)
			e.client.End("x", ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: answer})
		}, "arrived"},
		{2, "another reply came back", func(e ends) {
			issue(e)
			e.service.Run("x")
			e.service.Served("x", question, true, answer)
			e.client.End("x", ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: question})
		}, "came back"},
		{2, "the reply of another call", func(e ends) {
			issue(e)
			e.service.Run("x")
			e.service.Served("x", question, true, answer)
			e.client.End("x", ledger.End{Outcome: ledger.OK, Nonce: ledger.Nonce{9}, Reply: answer})
		}, "nonce"},
		{3, "not run and ran", func(e ends) { issue(e); e.service.Run("x"); end(e, ledger.NotRun) }, "not run, and ran 1 times"},
		{4, "perhaps run and ran twice", func(e ends) {
			issue(e)
			e.service.Run("x")
			e.service.Run("x")
			end(e, ledger.MaybeRun)
		}, "perhaps run, and ran 2 times"},
		{5, "answered no and ran twice", func(e ends) {
			issue(e)
			e.service.Run("x")
			e.service.Run("x")
			end(e, ledger.Error)
		}, "not idempotent"},
		{6, "a short body is complete", func(e ends) {
			issue(e)
			e.service.Run("x")
			e.service.Served("x", ledger.SumOf([]byte("quest")), true, answer)
			end(e, ledger.MaybeRun)
		}, "presented as complete"},
		{6, "another body is complete", func(e ends) {
			issue(e)
			e.service.Run("x")
			e.service.Served("x", ledger.SumOf([]byte("QUESTION")), true, answer)
			end(e, ledger.Error)
		}, "presented as complete"},
		{6, "one run of two has another body", func(e ends) {
			e.client.Issue("x", nonce, question, true, deadline)
			e.service.Run("x")
			e.service.Served("x", ledger.SumOf([]byte("QUESTION")), true, answer)
			e.service.Run("x")
			e.service.Served("x", question, true, answer)
			e.client.End("x", ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: answer})
		}, "presented as complete"},
		{7, "ended late", func(e ends) {
			issue(e)
			e.clock.t = deadline.Add(1001 * time.Millisecond)
			end(e, ledger.NotRun)
		}, "1.001s after"},
		{8, "something is left", func(e ends) {
			e.service.Start(map[string]int64{"goroutines": 7, "descriptors": 5})
			e.service.Drain(map[string]int64{"goroutines": 8, "descriptors": 5})
		}, "service holds 8 goroutines"},
		{8, "something new is left", func(e ends) {
			e.service.Start(nil)
			e.service.Drain(map[string]int64{"unread": 1})
		}, "1 unread"},
		{8, "nothing noted before", func(e ends) { e.service.Drain(nil) }, "not what before"},
		{9, "too many fail", func(e ends) { issue(e); end(e, ledger.NotRun) }, "9 of 10"},
	} {
		t.Run(fmt.Sprintf("%d %s", tt.rule, tt.name), func(t *testing.T) {
			c := &clock{began}
			e := ends{ledger.New("client", &ledger.Options{Now: c.now}), ledger.New("service", &ledger.Options{Now: c.now}), c}
			for i := range 9 {
				good(e.client, e.service, fmt.Sprint("good", i))
			}
			minOK := 0.0
			if tt.rule == 9 {
				minOK = 0.95
			}
			records := append(e.client.Records(), e.service.Records()...)
			if before := ledger.Check(records, minOK); len(before.Violations) != 0 {
				t.Fatalf("calls that keep every rule: %v", before)
			}
			tt.do(e)
			records = append(e.client.Records(), e.service.Records()...)
			report := ledger.Check(records, minOK)
			if len(report.Violations) != 1 || report.Violations[0].Rule != tt.rule || !strings.Contains(report.Violations[0].String(), tt.want) {
				t.Errorf("%s: %v\nwant one violation, of rule %d, with %q", tt.name, report, tt.rule, tt.want)
			}
		})
	}
}

// TestWhatIsAllowed wants no violation where things went wrong in a way that the rules
// allow.
func TestWhatIsAllowed(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(client, service *ledger.Ledger, c *clock)
	}{
		{"perhaps run, and it did not", func(l, _ *ledger.Ledger, _ *clock) {
			l.Issue("x", nonce, question, false, deadline)
			l.End("x", ledger.End{Outcome: ledger.MaybeRun})
		}},
		{"perhaps run, and it did", func(l, s *ledger.Ledger, _ *clock) {
			l.Issue("x", nonce, question, false, deadline)
			s.Run("x")
			l.End("x", ledger.End{Outcome: ledger.MaybeRun})
		}},
		{"idempotent, ran twice and ended ok", func(l, s *ledger.Ledger, _ *clock) {
			l.Issue("x", nonce, question, true, deadline)
			s.Run("x") // the connection broke here
			s.Run("x")
			s.Served("x", question, true, answer)
			l.End("x", ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: answer})
		}},
		{"idempotent, ran twice and perhaps more", func(l, s *ledger.Ledger, _ *clock) {
			l.Issue("x", nonce, question, true, deadline)
			s.Run("x")
			s.Run("x")
			l.End("x", ledger.End{Outcome: ledger.MaybeRun})
		}},
		{"answered no before a handler ran", func(l, _ *ledger.Ledger, _ *clock) {
			l.Issue("x", nonce, question, false, deadline)
			l.End("x", ledger.End{Outcome: ledger.Error, Text: "no_action"})
		}},
		{"killed before it noted what it served", func(l, s *ledger.Ledger, _ *clock) {
			l.Issue("x", nonce, question, false, deadline)
			s.Run("x")
			l.End("x", ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: answer})
		}},
		{"a short body that is known to be short", func(l, s *ledger.Ledger, _ *clock) {
			l.Issue("x", nonce, question, false, deadline)
			s.Run("x")
			s.Served("x", ledger.SumOf([]byte("quest")), false, ledger.SumOf(nil))
			l.End("x", ledger.End{Outcome: ledger.MaybeRun})
		}},
		{"a second after the deadline", func(l, _ *ledger.Ledger, c *clock) {
			l.Issue("x", nonce, question, false, deadline)
			c.t = deadline.Add(time.Second)
			l.End("x", ledger.End{Outcome: ledger.NotRun})
		}},
		{"no deadline", func(l, _ *ledger.Ledger, c *clock) {
			l.Issue("x", nonce, question, false, time.Time{})
			c.t = began.Add(time.Hour)
			l.End("x", ledger.End{Outcome: ledger.NotRun})
		}},
		{"less is held than before", func(l, _ *ledger.Ledger, _ *clock) {
			l.Start(map[string]int64{"goroutines": 7})
			l.Drain(map[string]int64{"goroutines": 6})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &clock{began}
			client, service := ledger.New("client", &ledger.Options{Now: c.now}), ledger.New("service", &ledger.Options{Now: c.now})
			tt.do(client, service, c)
			if report := ledger.Check(append(client.Records(), service.Records()...), 0); len(report.Violations) != 0 {
				t.Errorf("%s: %v\nwant no violation", tt.name, report)
			}
		})
	}
}

// TestCancelledCallsDoNotCountAgainstTheRate is the exception of rule 9.
func TestCancelledCallsDoNotCountAgainstTheRate(t *testing.T) {
	client, service := ledger.New("client", nil), ledger.New("service", nil)
	client.Issue("a", nonce, question, false, time.Time{})
	client.End("a", ledger.End{Outcome: ledger.MaybeRun, Cancelled: true})
	client.Issue("b", nonce, question, false, time.Time{})
	service.Run("b")
	service.Served("b", question, true, answer)
	client.End("b", ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: answer})
	report := ledger.Check(append(client.Records(), service.Records()...), 1)
	want := ledger.Totals{Issued: 2, OK: 1, Maybe: 1, Cancelled: 1, Runs: 1}
	if len(report.Violations) != 0 || report.Totals != want {
		t.Errorf("one ok, one cancelled: %v\nwant no violation and totals %+v", report, want)
	}
}

// TestCancelledCallsDoNotMendTheRate: a call that was given up and ended ok all the same
// stands for none that failed.
func TestCancelledCallsDoNotMendTheRate(t *testing.T) {
	client, service := ledger.New("client", nil), ledger.New("service", nil)
	for i := range 10 {
		id, cancelled := fmt.Sprint(i), i%2 == 0
		client.Issue(id, nonce, question, false, time.Time{})
		if !cancelled {
			client.End(id, ledger.End{Outcome: ledger.NotRun})
			continue
		}
		service.Run(id)
		service.Served(id, question, true, answer)
		client.End(id, ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: answer, Cancelled: true})
	}
	report := ledger.Check(append(client.Records(), service.Records()...), 1)
	if len(report.Violations) != 1 || report.Violations[0].Rule != 9 {
		t.Errorf("5 calls failed, 5 cancelled ones ended ok: %v\nwant a violation of rule 9", report)
	}
}

// A process that must have drained, and noted nothing, is seen; one that was killed need
// not note anything.
func TestDrainIsWanted(t *testing.T) {
	for _, tt := range []struct {
		name     string
		note     func(l *ledger.Ledger)
		drained  []string
		violated bool
	}{
		{"start and drain", func(l *ledger.Ledger) { l.Start(nil); l.Drain(nil) }, []string{"a"}, false},
		{"start alone", func(l *ledger.Ledger) { l.Start(nil) }, []string{"a"}, true},
		{"nothing", func(*ledger.Ledger) {}, []string{"a"}, true},
		{"killed", func(l *ledger.Ledger) { l.Start(nil) }, nil, false},
		{"another", func(l *ledger.Ledger) { l.Start(nil); l.Drain(nil) }, []string{"a", "b"}, true},
	} {
		l := ledger.New("a", nil)
		tt.note(l)
		report := ledger.Check(l.Records(), 0, tt.drained...)
		if got := len(report.Violations) > 0; got != tt.violated || got && report.Violations[0].Rule != 8 {
			t.Errorf("%s: %v, want rule 8 violated: %v", tt.name, report.Violations, tt.violated)
		}
	}
}
