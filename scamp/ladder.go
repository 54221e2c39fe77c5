package scamp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Ladder is the way of one call from the name of an action to its reply: what was
// found on each rung, up to the one that failed. (*CallError).Ladder tells how far a
// call came, Bus.Why climbs as far as one can without sending a request. A Ladder is
// plain data.
type Ladder struct {
	Action string // sector:Class.name~version, or what was asked for if that names nothing
	Rungs  []Rung // all of them, in the order of the climb
	Err    error  // why the climb ended before its end: the error of a call; nil if it did not
}

// A Rung is one thing that has to be right for a call to succeed.
type Rung struct {
	Name  string    // one of the Rung constants
	State RungState // how it was found
	Text  string    // what was seen, in one line; empty if it was not reached
	Fix   string    // what would cure a rung that failed; empty if nobody can say
	Took  time.Duration
}

// The rungs, in the order of the climb. Names are stable: programs may rely on them.
const (
	RungName      = "name"      // the action is understood
	RungConfig    = "config"    // there is a configuration
	RungSource    = "source"    // announcements reach us, by cache file or by multicast
	RungFound     = "found"     // an instance offers the action
	RungAge       = "age"       // when it was heard
	RungSignature = "signature" // its announcement is signed with its key
	RungReplay    = "replay"    // and not an old one
	RungExpiry    = "expiry"    // it is still heard
	RungWeight    = "weight"    // it did not withdraw
	RungRule      = "rule"      // a rule allows it
	RungAddress   = "address"   // its address means a host
	RungTCP       = "tcp"       // that takes connections
	RungTLS       = "tls"       // with TLS
	RungPin       = "pin"       // and shows the announced certificate, octet for octet
	RungReply     = "reply"     // and answers
)

var rungNames = []string{
	RungName, RungConfig, RungSource, RungFound, RungAge, RungSignature, RungReplay, RungExpiry,
	RungWeight, RungRule, RungAddress, RungTCP, RungTLS, RungPin, RungReply,
}

// A RungState says how a rung was found.
type RungState uint8

// How a rung may be found.
const (
	RungSkipped RungState = iota // not reached, or of no interest
	RungOK
	RungFailed
)

// String returns "ok", "FAIL" or "-".
func (s RungState) String() string {
	switch s {
	case RungOK:
		return "ok"
	case RungFailed:
		return "FAIL"
	}
	return "-"
}

// String returns the rung as one line, without its Fix.
func (r Rung) String() string {
	line := fmt.Sprintf("%-5s %-10s %s", r.State, r.Name, r.Text)
	if r.Took > 0 {
		line += fmt.Sprintf(" (%v)", r.Took.Round(10*time.Microsecond))
	}
	return strings.TrimRight(line, " ")
}

// Failed returns the rung that failed, and false if none did.
func (l Ladder) Failed() (Rung, bool) {
	i := slices.IndexFunc(l.Rungs, func(r Rung) bool { return r.State == RungFailed })
	if i < 0 {
		return Rung{}, false
	}
	return l.Rungs[i], true
}

// String returns a line for each rung that was reached, one for the fix, and one that
// names the other rungs.
func (l Ladder) String() string {
	var b strings.Builder
	for _, r := range l.Reached() {
		b.WriteString(r.String() + "\n")
		if r.Fix != "" {
			b.WriteString("      " + r.FixLine() + "\n")
		}
	}
	if rest := l.NotReached(); rest != "" {
		b.WriteString(rest + "\n")
	}
	return b.String()
}

// Reached returns the rungs up to the one that failed, or all of them.
func (l Ladder) Reached() []Rung {
	return l.Rungs[:cmp.Or(slices.IndexFunc(l.Rungs, func(r Rung) bool { return r.State == RungFailed })+1, len(l.Rungs))]
}

// NotReached names the others in one line, as String shows them; "" when there are none.
func (l Ladder) NotReached() string {
	var names []string
	for _, r := range l.Rungs[len(l.Reached()):] {
		names = append(names, r.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%-5s not reached: %s", RungSkipped, strings.Join(names, ", "))
}

// FixLine returns the Fix as String shows it.
func (r Rung) FixLine() string { return fmt.Sprintf("%-10s %s", "fix", r.Fix) }
