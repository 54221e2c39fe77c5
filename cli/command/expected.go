package command

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
)

// An expectation is one line of an inventory: how many instances of an action there
// should be.
type expectation struct {
	line   int    // of the file, counted from 1
	name   string // of the action, as the file spells it
	action actionKey
	red    int // fewer instances are a red incident
	yellow int // fewer are a yellow one; not below red
}

// An actionKey is an action, whatever its envelope; names are in lower case.
type actionKey struct {
	sector, name string
	version      int
}

// A tally is how many instances may be called for an action.
type tally struct {
	name    string // of the action, as one of them spells it
	n       int
	builtIn bool
}

func keyOf(sector, name string, version int) actionKey {
	return actionKey{strings.ToLower(sector), strings.ToLower(name), version}
}

const (
	maxExpected     = 1 << 20   // octets of an inventory
	maxInstances    = 1_000_000 // a threshold
	expectedGrammar = "[SECTOR:]CLASS.NAME[~VERSION] [RED [YELLOW]]"
)

// parseExpected reads an inventory: a line for each action, with the number of instances
// below which an incident is red, and below which it is yellow. RED is 1 and YELLOW is RED
// where they are left out, and the sector is the one given; # begins a comment. All that is wrong is told, by line.
func parseExpected(text, file, sector string) ([]expectation, error) {
	var all []expectation
	var wrong []error
	lines := make(map[actionKey]int)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		e, err := parseExpectation(words, sector)
		if err == nil && lines[e.action] > 0 {
			err = fmt.Errorf("%s again: want it once, line %d names it", clean(e.name), lines[e.action])
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("scamp: %s:%d: %w", file, number, err))
			continue
		}
		e.line = number
		lines[e.action] = number
		all = append(all, e)
	}
	if len(all) == 0 && len(wrong) == 0 {
		wrong = append(wrong, fmt.Errorf("scamp: %s: no action in it: want lines %s", file, expectedGrammar))
	}
	const most = 20
	if len(wrong) > most {
		wrong = append(wrong[:most], fmt.Errorf("scamp: %s: %d more lines", file, len(wrong)-most))
	}
	return all, errors.Join(wrong...)
}

func parseExpectation(words []string, sector string) (expectation, error) {
	if len(words) > 3 {
		return expectation{}, fmt.Errorf("%d words: want %s", len(words), expectedGrammar)
	}
	q, err := discovery.ParseAction(words[0])
	if err != nil {
		return expectation{}, err
	}
	q.Sector, q.Version = cmp.Or(q.Sector, sector), cmp.Or(q.Version, 1)
	e := expectation{name: q.String(), action: keyOf(q.Sector, q.Action, q.Version), red: 1}
	if len(words) > 1 {
		if e.red, err = threshold(words[1]); err != nil {
			return e, err
		}
	}
	e.yellow = e.red
	if len(words) > 2 {
		if e.yellow, err = threshold(words[2]); err != nil {
			return e, err
		}
	}
	if e.yellow < e.red {
		return e, fmt.Errorf("red below %d and yellow below %d: want yellow no lower than red", e.red, e.yellow)
	}
	return e, nil
}

func threshold(word string) (int, error) {
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil || n > maxInstances || word != strconv.FormatUint(n, 10) {
		return 0, fmt.Errorf("threshold %q: want a number of instances from 0 to %d", clean(word), maxInstances)
	}
	return int(n), nil
}

// instances counts who may be called for each action.
func instances(entries []discovery.Entry) map[actionKey]tally {
	tallies := make(map[actionKey]tally)
	for i := range entries {
		e := &entries[i]
		if e.State != discovery.Live || e.Obstacle != "" {
			continue
		}
		offered := make(map[actionKey]bool, len(e.Decisions)) // with two envelopes it is still one
		for j, decision := range e.Decisions {
			act := &e.Announcement.Actions[j]
			key := keyOf(act.Sector, act.FullName(), act.Version)
			if !decision.Allowed || offered[key] {
				continue
			}
			offered[key] = true
			t := tallies[key]
			t.n++
			if t.name == "" {
				t.name = discovery.Query{Sector: act.Sector, Action: act.FullName(), Version: act.Version}.String()
			}
			t.builtIn = (t.n == 1 || t.builtIn) && e.Announcement.BuiltIn(act) // of every instance
			tallies[key] = t
		}
	}
	return tallies
}

// inventory writes what there is as an inventory: when nobody is left for an action it is
// red, and when there are fewer than now it is yellow.
func inventory(tallies map[actionKey]tally) string {
	lines := []string{"# action, red below, yellow below\n"}
	for key, t := range tallies {
		if !t.builtIn && !strings.HasPrefix(key.name, "_meta.") {
			lines = append(lines, fmt.Sprintf("%s 1 %d\n", t.name, t.n))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
