package conform

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"
)

// A Section groups cases on the score card.
type Section string

// The sections, in the order of the card.
const (
	SectionTLS         Section = "tls"
	SectionLine        Section = "line"
	SectionHeader      Section = "header"
	SectionNumbers     Section = "numbers"
	SectionData        Section = "data"
	SectionACK         Section = "ack"
	SectionEnd         Section = "end"
	SectionPing        Section = "ping"
	SectionCorrelation Section = "correlation"
	SectionErrors      Section = "errors"
	SectionLimits      Section = "limits"
	SectionIdle        Section = "idle"
	SectionRights      Section = "authorization"
)

// Sections returns all sections in the order of the card.
func Sections() []Section {
	return []Section{SectionTLS, SectionLine, SectionHeader, SectionNumbers, SectionData, SectionACK,
		SectionEnd, SectionPing, SectionCorrelation, SectionErrors, SectionLimits, SectionIdle, SectionRights}
}

// Title is the name of the section for people.
func (s Section) Title() string {
	switch s {
	case SectionTLS:
		return "TLS and pin"
	case SectionLine:
		return "Header line"
	case SectionHeader:
		return "HEADER JSON"
	case SectionNumbers:
		return "Message numbers"
	case SectionData:
		return "DATA and window"
	case SectionACK:
		return "ACK"
	case SectionEnd:
		return "EOF and TXERR"
	case SectionPing:
		return "PING and PONG"
	case SectionCorrelation:
		return "Correlation"
	case SectionErrors:
		return "Errors"
	case SectionLimits:
		return "Limits"
	case SectionIdle:
		return "Idle and close"
	case SectionRights:
		return "Announcement and authorization"
	}
	return string(s)
}

// A Level says how bad it is to miss a case.
type Level int

// The levels.
const (
	Must   Level = iota + 1 // a miss is FAIL
	Should                  // a miss is NON-STRICT
)

// String returns "MUST" or "SHOULD".
func (l Level) String() string {
	switch l {
	case Must:
		return "MUST"
	case Should:
		return "SHOULD"
	}
	return fmt.Sprintf("Level(%d)", int(l))
}

// A Verdict is the outcome of a case.
type Verdict int

// The verdicts. The zero value is none.
const (
	Pass      Verdict = iota + 1
	NonStrict         // a SHOULD is missed
	Fail              // a MUST is missed
	Info              // a fact that is not judged
	Skip              // could not be judged
)

// String returns the word on the card, for example "NON-STRICT".
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "PASS"
	case NonStrict:
		return "NON-STRICT"
	case Fail:
		return "FAIL"
	case Info:
		return "INFO"
	case Skip:
		return "SKIP"
	}
	return fmt.Sprintf("Verdict(%d)", int(v))
}

// A Case is one thing that a service, or a requester, has to do, and how to find out.
// Cases are values that never change.
type Case struct {
	ID        string // paragraph and letter, "4.4-a"; in a case for requesters "4.4-ra"
	Section   Section
	Title     string // what a good one does
	Paragraph string // of PROTOCOL.md, "4.4"
	Item      string // the line of its checklist (section 17) that this case judges; empty if none
	Level     Level
	Hostile   bool   // may crash or burden a fragile peer: only with Options.Hostile
	Last      bool   // looks back at all that came, so it runs after the others
	Why       string // what goes wrong where it is missed
	Want      string // what is expected to come
	Peers     Peers  // what the old implementations do

	// Run tries the case on a service. It has a connection, unless Cold is set, and at
	// most Options.Timeout for each thing it waits for. It is nil in a case for
	// requesters.
	Run  func(*Probe) Result
	Cold bool // Run makes its connections itself

	// Play tries the case on a requester, which has connected unless Cold is set, and
	// makes the calls in Steps, one after the other. It is nil in a case for services.
	Play  func(*Visit) Result
	Steps []Step            // none means one call with a short body
	Turns bool              // each step but the first begins when Play calls Turn
	Trap  Trap              // what is wrong with the announcement
	Shake func(*tls.Config) // changes the settings of the listener; nil means the usual ones
}

// A Step is what a requester is asked to do in a case: calls of the case's action.
type Step struct {
	Times  int           // how often StepText is in the body
	Calls  int           // made at once; zero means 1
	GiveUp time.Duration // when the requester is to leave; zero means when it usually does
}

// StepText makes the bodies of steps: repeated and between quotation marks.
const StepText = "abcdefghijklmnopqrstuvwxyz0123456789"

// Body is the body of the calls of a step.
func (s Step) Body() string { return `"` + strings.Repeat(StepText, s.Times) + `"` }

// A Trap is what is wrong with the announcement of an action, so that no request for it
// may come.
type Trap int

// The traps. The zero value is none.
const (
	TrapCertificate Trap = iota + 1 // the listener shows another certificate than the announced one
	TrapRule                        // no rule allows the action
	TrapSignature                   // the announcement was changed after it was signed
)

// Peers holds the verdicts of the old implementations in a case, as far as they are
// known; zero where not. Those of JavaScript, Go and Perl were measured, those of C# and
// Rust are read from their sources.
type Peers struct{ JS, Go, Perl, CSharp, Rust Verdict }

// measured are the verdicts of those that were run.
func measured(js, golang, perl Verdict) Peers { return Peers{JS: js, Go: golang, Perl: perl} }

// With returns the names of those that got verdict v, "Go and Perl"; empty for none.
func (p Peers) With(v Verdict) string {
	var names []string
	p.each(func(name string, got Verdict) {
		if got == v {
			names = append(names, peerNames[name])
		}
	})
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

var peerNames = map[string]string{"js": "JavaScript", "go": "Go", "perl": "Perl", "c#": "C#", "rust": "Rust"}

// each calls f for each implementation that is known.
func (p Peers) each(f func(name string, got Verdict)) {
	for _, one := range []struct {
		name string
		got  Verdict
	}{{"js", p.JS}, {"go", p.Go}, {"perl", p.Perl}, {"c#", p.CSharp}, {"rust", p.Rust}} {
		if one.got != 0 {
			f(one.name, one.got)
		}
	}
}

// A Result is what became of a case. Text from the service is in visible form: control
// characters and what is not ASCII are escaped.
type Result struct {
	Case    Case
	Verdict Verdict
	Came    string   // what was judged, in a sentence
	Sent    []string // the octets sent, in visible form; long ones are cut in the middle
	Got     []string // the packets that came, in visible form, the first of them
	Elapsed time.Duration
}

// Missed tells whether the result counts against the judged side; strict counts
// NON-STRICT too.
func (r Result) Missed(strict bool) bool {
	return r.Verdict == Fail || strict && r.Verdict == NonStrict
}
