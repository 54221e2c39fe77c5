package command

import "time"

// A level says how bad it is.
type level int

const (
	fine level = iota
	levelYellow
	levelRed
)

func (l level) String() string { return [...]string{"fine", "yellow", "red"}[l] }

// judge says how bad it is that there are so many instances.
func (e expectation) judge(have int) level {
	switch {
	case have < e.red:
		return levelRed
	case have < e.yellow:
		return levelYellow
	}
	return fine
}

// want is how many instances there should be for things to be better than l.
func (e expectation) want(l level) int {
	if l == levelRed {
		return e.red
	}
	return e.yellow
}

// A guard compares what there is with an inventory. A shortage opens an incident when it
// has lasted for a while, and its end closes it when that has lasted: a restart is none.
type guard struct {
	expected []expectation
	settle   time.Duration
	lines    []guarded // of the same index
}

// A guarded is what is known of one line.
type guarded struct {
	seen   level     // at the last look
	have   int       // then
	since  time.Time // when it became as seen
	turned time.Time // when it became fine, or ceased to be
	told   level     // of the incident that is open; fine when none is
	opened time.Time // when its shortage began
	well   bool      // it was fine once
}

// An incident is news of one line.
type incident struct {
	expectation
	event string // "opened", "changed" or "closed"
	level level  // of a closed one: what it was
	have  int
	since time.Time // when the shortage began
}

func newGuard(expected []expectation, settle time.Duration) *guard {
	return &guard{expected: expected, settle: settle, lines: make([]guarded, len(expected))}
}

// look takes the counts of a moment and returns what is new.
func (g *guard) look(now time.Time, counts map[actionKey]tally) (news []incident) {
	for i := range g.expected {
		e, l := g.expected[i], &g.lines[i]
		have := counts[e.action].n
		seen := e.judge(have)
		if l.turned.IsZero() || (seen == fine) != (l.seen == fine) {
			l.turned = now
		}
		if l.since.IsZero() || seen != l.seen {
			l.since = now
		}
		l.seen, l.have, l.well = seen, have, l.well || seen == fine
		switch {
		case seen == l.told:
		case l.told == fine && now.Sub(l.turned) >= g.settle:
			l.told, l.opened = seen, l.turned
			news = append(news, incident{e, "opened", seen, have, l.opened})
		case seen == fine && now.Sub(l.turned) >= g.settle:
			news = append(news, incident{e, "closed", l.told, have, l.opened})
			l.told = fine
		case l.told != fine && seen != fine && now.Sub(l.since) >= g.settle:
			l.told = seen
			news = append(news, incident{e, "changed", seen, have, l.opened})
		}
	}
	return news
}

// red returns the lines with an open red incident, and those that were red all the time,
// however short that was.
func (g *guard) red() (open []incident) {
	for i, l := range g.lines {
		if l.told == levelRed || l.seen == levelRed && l.told == fine && !l.well {
			open = append(open, incident{g.expected[i], "open", levelRed, l.have, l.opened})
		}
	}
	return open
}
