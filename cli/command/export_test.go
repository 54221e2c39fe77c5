package command

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// What is tested apart from the command, because arguments reach only a part of it.
var (
	SplitWords = splitWords
	Clean      = clean
	JSONLine   = jsonLine
	Translate  = translate
	RuleTokens = ruleTokens
	ErrorLines = errorLines
	NewLogger  = newLogger

	ParseActionSpec = parseActionSpec
	AddressAfter    = addressAfter
)

// ReadSpecs is readSpecs, with how many there are.
func ReadSpecs(name string, text []byte) (int, error) {
	specs, err := readSpecs(name, text)
	return len(specs), err
}

// Widen is widen for a certificate, with its result taken apart.
func Widen(text []byte, cert *discovery.Certificate, tokens []string, bySHA256 bool) (after []byte, line int, added bool, err error) {
	after, rule, err := widen(text, cert, tokens, "test", bySHA256)
	return after, rule.line, rule.added, err
}

// NewSafeWriter makes a writer that protects a terminal.
func NewSafeWriter(w io.Writer) *safeWriter { return &safeWriter{w: w} }

// Usage makes a mistake in the arguments, Interrupted the end by a person.
func Usage() error { return usagef("wrong") }

var Interrupted error = errInterrupted

// ShowBody writes the body of a reply as call does.
func ShowBody(stdout io.Writer, body string) error {
	a := &app{stdout: stdout}
	return a.copyBody(&scamp.Reply{Body: io.NopCloser(strings.NewReader(body))}, &wayTaken{a: a})
}

// EscapeJSON is what every line of JSON goes through.
var EscapeJSON = escapeJSON

// ParseExpected reads an inventory and writes what was read.
func ParseExpected(text string) (lines []string, err error) {
	expected, err := parseExpected(text, "expected", "main")
	for _, e := range expected {
		lines = append(lines, fmt.Sprintf("%d %s %d %d", e.line, e.name, e.red, e.yellow))
	}
	return lines, err
}

// Inventory writes what there is as an inventory.
func Inventory(entries []discovery.Entry) string { return inventory(instances(entries)) }

// ExpectedIn reads an inventory for a bus with a default sector, and returns the names.
func ExpectedIn(sector, text string) (names []string, err error) {
	expected, err := parseExpected(text, "expected", sector)
	for _, e := range expected {
		names = append(names, e.name)
	}
	return names, err
}

// Sight looks once a second: file says how many instances the cache file holds, negative
// when it is of no use, and heard how many are heard. It returns how many are judged,
// negative when nothing is, and what it tells, and whether it is blind in the end.
func Sight(file, heard []int) (judged []int, news []string, blind bool) {
	var s sight
	held := 0
	for second := range file {
		trouble := ""
		if held = max(file[second], held); file[second] < 0 {
			trouble = "stale"
		}
		all := make([]discovery.Entry, held)
		for i := range all {
			all[i].Source = discovery.Source{File: true, Datagram: i < heard[second]}
		}
		known, ok, told := s.look(time.Unix(int64(second), 0), trouble, all)
		for _, n := range told {
			news = append(news, fmt.Sprintf("%d %s", second, n.event))
		}
		if !ok {
			judged = append(judged, -1)
			continue
		}
		judged = append(judged, len(known))
	}
	return judged, news, s.blind
}

// Guard looks once a second at an action with so many instances, and returns what it tells
// with the second it does, and how many actions are red in the end.
func Guard(settle time.Duration, red, yellow int, have ...int) (news []string, open int) {
	key := keyOf("main", "A.b", 1)
	g := newGuard([]expectation{{name: "main:A.b~1", action: key, red: red, yellow: yellow}}, settle)
	start := time.Unix(0, 0)
	for second, n := range have {
		now := start.Add(time.Duration(second) * time.Second)
		for _, i := range g.look(now, map[actionKey]tally{key: {n: n}}) {
			news = append(news, fmt.Sprintf("%d %s %v %d since %v", second, i.event, i.level, i.have, i.since.Sub(start).Seconds()))
		}
	}
	return news, len(g.red())
}
