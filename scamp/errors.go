package scamp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/scampbus/scamp-go/packet"
)

// The reasons a call can fail, for errors.Is: one at least for each exit code of the
// command. Context errors (context.Canceled, context.DeadlineExceeded) and net errors are
// in the chain beside them.
var (
	ErrNotFound = errors.New("action not found")      // nobody offers the action, in that sector, version and envelope
	ErrDenied   = errors.New("not authorized")        // somebody offers it and may not, or the service refused the caller
	ErrTimeout  = errors.New("timed out")             // no reply in time
	ErrPin      = errors.New("certificate mismatch")  // the peer does not show the announced certificate
	ErrStale    = errors.New("discovery cache stale") // the action is not found, and what we know is old
	ErrRefused  = errors.New("refused before it ran") // the service did not take the request: busy, shutting down, or, with ErrDenied or ErrNotFound, for what it asks
	ErrLost     = errors.New("connection lost")       // the connection ended before the reply did
	ErrNoDial   = errors.New("could not connect")     // no connection could be made
	ErrBroken   = errors.New("reply broke off")       // the service ended its reply before the end (TXERR)
	ErrBadReply = errors.New("reply not understood")  // a member of its header, or the JSON of its body, is unusable
	ErrStopped  = errors.New("service stopped")       // why a handler's context ended, beside ErrLost (Cause): its service was told to stop, and waits no longer (service.shutdown_drain)
	ErrClosed   = errors.New("bus closed")            // Close was called: of the bus, the client or the subscription; beside ErrLost (Cause) of the bus whose service ran the handler
)

// The codes of PROTOCOL 5.3 that this library sends by itself. Codes of an action's
// own begin with "x_".
const (
	CodeAuthn         = "authn"
	CodeAuthz         = "authz"
	CodeNoAction      = "no_action"
	CodeBadRequest    = "bad_request"
	CodeRequestTooBig = "request_too_big"
	CodeRateLimit     = "ratelimit"
	CodeTransport     = "transport"
	CodeInternal      = "internal"
	CodeGeneral       = "general"
)

// Ran says whether a request that failed may have been acted upon (PROTOCOL 5.5).
type Ran int

// The zero value promises nothing.
const (
	RanMaybe Ran = iota
	RanNo
	RanYes
)

// String returns "no", "yes" or "maybe".
func (r Ran) String() string {
	switch r {
	case RanNo:
		return "no"
	case RanYes:
		return "yes"
	}
	return "maybe"
}

// A RemoteError is the action's own answer "no". A handler returns one to choose
// what the caller sees; a caller gets one inside a CallError.
type RemoteError struct {
	Code string          // short, for programs; "general" if empty
	Text string          // for people; from the network at a caller's
	Data json.RawMessage // details: a JSON object, or nil
}

// Error returns code and text on one line, escaped and cut: they may come from the
// network.
func (e *RemoteError) Error() string {
	return clean(e.code()) + ": " + clean(e.text())
}

func (e *RemoteError) code() string {
	if e.Code == "" {
		return CodeGeneral
	}
	return e.Code
}

func (e *RemoteError) text() string {
	if e.Text == "" {
		return "Unknown error"
	}
	return e.Text
}

// Is lets errors.Is see what the codes authn, authz and no_action say (ErrDenied,
// ErrNotFound), and that a service of ours ended a handler whose time was over
// (ErrTimeout).
func (e *RemoteError) Is(target error) bool {
	switch e.Code {
	case CodeAuthn, CodeAuthz:
		return target == ErrDenied
	case CodeNoAction:
		return target == ErrNotFound
	case CodeTransport:
		return target == ErrTimeout && e.says("timeout")
	}
	return false
}

// refuses says whether the code is that of an access that was denied, or of an action
// that is not there.
func (e *RemoteError) refuses() bool {
	return e.Code == CodeAuthn || e.Code == CodeAuthz || e.Code == CodeNoAction
}

// ofAnother says whether the text tells of a call that the service itself made: that one
// was refused (passedOn).
func (e *RemoteError) ofAnother() bool { return e.refuses() && strings.Contains(e.Text, callText+" ") }

// says reports a member of Data that is the JSON value true.
func (e *RemoteError) says(name string) bool {
	var d map[string]json.RawMessage
	return json.Unmarshal(e.Data, &d) == nil && string(d[name]) == "true"
}

var dispatchFailureData = json.RawMessage(`{"dispatch_failure":true}`)

// A CallError is why a call failed: what was called and where, how often it was
// tried, whether it may have run, and what to do. It wraps a *RemoteError if the
// action answered, else the cause.
type CallError struct {
	Action   string // sector:Class.name~version; empty in that of Reply.JSON for a Reply made by hand
	Instance string // ident and address of the instance last tried; empty if there was none
	Attempts int    // how often it was tried, also where no connection could be made, and at one instance again
	Ran      Ran
	Advice   string // what would cure it: the Fix of the rung that failed; may be empty if the action itself answered
	Err      error

	seen *sighting // for Ladder; nil in one that somebody else made
}

// callText begins the text of every CallError.
const callText = "scamp: call"

// Error says all of it on one line.
func (e *CallError) Error() string {
	var b strings.Builder
	b.WriteString(callText)
	if e.Action != "" {
		b.WriteString(" " + clean(e.Action))
	}
	if e.Instance != "" {
		b.WriteString(" at ")
		b.WriteString(clean(e.Instance))
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (attempt %d)", e.Attempts)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Advice != "" {
		b.WriteString("; ")
		b.WriteString(e.Advice)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *CallError) Unwrap() error { return e.Err }

// Code is the code of PROTOCOL 5.3 for the failure: the one that the action or its service
// answered with, else "transport" (5.2). A handler that returns the error answers with it; of authn,
// authz and no_action it answers with the whole text too, so that its caller sees which
// call was refused.
func (e *CallError) Code() string {
	if re, ok := errors.AsType[*RemoteError](e.Err); ok {
		return re.code()
	}
	return CodeTransport
}

// codeOf is the code of any error that a handler returns.
func codeOf(err error) string {
	if re, ok := errors.AsType[*RemoteError](err); ok {
		return re.code()
	}
	if ce, ok := errors.AsType[*CallError](err); ok {
		return ce.Code()
	}
	return CodeGeneral
}

// PinError says that a peer does not show the certificate it was announced with.
// Not one octet of a request was sent to it. It is ErrPin.
type PinError struct {
	Address string // host:port
	Want    string // fingerprint announced, or as the Identity says it
	Got     string // fingerprint shown, in the form of Want; empty if no certificate was
}

// Error names the address and both fingerprints.
func (e *PinError) Error() string {
	got := e.Got
	if got == "" {
		got = "no certificate"
	}
	if e.Got == e.Want {
		return fmt.Sprintf("%v: %s shows another certificate with the same SHA-1 fingerprint %s; nothing was sent", ErrPin, e.Address, e.Got)
	}
	return fmt.Sprintf("%v: %s shows %s, want %s; nothing was sent", ErrPin, e.Address, got, e.Want)
}

// Is makes errors.Is(err, ErrPin) true.
func (e *PinError) Is(target error) bool { return target == ErrPin }

// errorHeader turns what a handler returned into the members of an error reply. The
// text of any error is for the caller to see: there is no hidden one.
func errorHeader(h *packet.Header, err error) {
	h.ErrorCode, h.Error, h.ErrorData = codeOf(err), err.Error(), nil
	if re, ok := errors.AsType[*RemoteError](err); ok {
		if !passedOn(err, re) {
			h.Error = re.text()
		}
		if json.Valid(re.Data) && len(re.Data) > 0 && firstByte(re.Data) == '{' {
			h.ErrorData = re.Data
		}
	}
	if h.Error == "" {
		h.Error = "Unknown error"
	}
	if h.DispatchFailure() {
		// The error of a call that the handler made says that nothing ran there. Here a
		// handler did: whoever passed it on would have it run again.
		h.ErrorData = nil
	}
	h.ErrorCode, h.Error = cut(h.ErrorCode, maxErrorCode), cut(h.Error, maxErrorText)
	if len(h.ErrorData) > maxErrorData {
		h.ErrorData = nil
	}
}

// told returns what a handler has returned, when it has tried to tell it. An error that
// panics then, as a nil *RemoteError does, is a panic of the handler.
func told(err error) error {
	if err != nil {
		errorHeader(new(packet.Header), err)
	}
	return err
}

// passedOn says whether a handler returned the error of a call of its own that speaks of
// that call: it was denied, or found nobody. The code goes out as it is, since a caller
// whose ticket travelled on must hear that it is bad (PROTOCOL 5.3). With the bare text
// the caller would take the refusal for one of the action it called; so the whole text
// goes out, which begins with the call that the handler made.
func passedOn(err error, re *RemoteError) bool {
	if !re.refuses() {
		return false
	}
	ce, ok := errors.AsType[*CallError](err)
	if !ok {
		return false
	}
	inner, _ := errors.AsType[*RemoteError](ce.Err)
	return inner == re
}

// shorten makes an error reply one that fits into any header, whatever escapes it needs.
func shorten(h *packet.Header) {
	h.ErrorCode, h.Error = cut(h.ErrorCode, 64), cut(h.Error, 512)
	if len(h.ErrorData) > 64 {
		h.ErrorData = nil
	}
}

// cut is the beginning of a text, in whole characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for i := most; i > most-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:most] // it is no UTF-8 there, nor longer for that
}

// What of an error fits a header that any peer takes, octets.
const (
	maxErrorCode = 255
	maxErrorText = 4 << 10
	maxErrorData = 16 << 10
)

func firstByte(b []byte) byte {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

// clean makes text from the network fit for a line of a log or a terminal: control
// characters are escaped, long text is cut (THREATS X1).
func clean(s string) string {
	const most = 512
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	ok := utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
	if ok {
		return s
	}
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}
