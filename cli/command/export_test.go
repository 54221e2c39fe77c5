package command

import (
	"io"
	"strings"

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
