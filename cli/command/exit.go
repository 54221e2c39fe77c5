package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/scampbus/scamp-go/scamp"
)

// The exit codes. Scripts rely on them; they never change.
const (
	ExitOK        = 0
	ExitFailure   = 1 // anything that has no code of its own
	ExitUsage     = 2 // wrong arguments or flags
	ExitNotFound  = 3 // nobody offers the action, or there is no such instance
	ExitDenied    = 4 // no rule allows it, or the service refused the caller
	ExitTimeout   = 5 // no answer in time
	ExitTransport = 6 // no connection, another certificate, or the connection was lost
	ExitAnswered  = 7 // the action ran and answered with an error
	ExitStale     = 8 // the discovery cache is missing, old, unreadable or none
	ExitFindings  = 9 // a check found something
)

// ExitCode says which exit code an error stands for.
func ExitCode(err error) int {
	var usage *usageError
	var coded *codedError
	var remote *scamp.RemoteError
	var call *scamp.CallError
	var network *net.OpError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, errInterrupted), errors.Is(err, errStdin), errors.Is(err, errStdout):
		return ExitFailure
	case errors.Is(err, scamp.ErrPin):
		return ExitTransport
	case errors.Is(err, scamp.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	case errors.As(err, &remote):
		return exitRemote(remote.Code)
	case errors.Is(err, scamp.ErrStale):
		return ExitStale
	case errors.Is(err, scamp.ErrNotFound):
		return ExitNotFound
	case errors.Is(err, scamp.ErrDenied):
		return ExitDenied
	case errors.As(err, &call), errors.Is(err, scamp.ErrNoDial), errors.As(err, &network) && network.Op != "listen":
		return ExitTransport
	}
	return ExitFailure
}

// exitRemote judges what a service answered (PROTOCOL 5.3). A service says transport
// when it did not take the request, or could not finish it.
func exitRemote(code string) int {
	switch code {
	case scamp.CodeAuthn, scamp.CodeAuthz:
		return ExitDenied
	case scamp.CodeNoAction:
		return ExitNotFound
	case scamp.CodeTransport:
		return ExitTransport
	}
	return ExitAnswered
}

var (
	errInterrupted = scamp.ErrInterrupted // the first signal has come
	errStdin       = errors.New("reading the request body")
	errStdout      = errors.New("writing to stdout")
)

// A usageError is a mistake in the arguments.
type usageError struct {
	command string // its path, for the advice; empty means unknown
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usageError.
func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// A codedError has an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// exitf makes an error with an exit code of its own.
func exitf(code int, format string, args ...any) error {
	return &codedError{code, fmt.Errorf(format, args...)}
}

// A hintError is an error with the advice that belongs to it.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// hint adds advice to an error. A nil error stays nil.
func hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// unconfigured says of a call that nobody could take that there is no configuration: the
// action may well be there.
func (a *app) unconfigured(err error) error {
	var call *scamp.CallError
	var remote *scamp.RemoteError
	if !a.noConfig || !errors.As(err, &call) || errors.As(err, &remote) || !errors.Is(err, scamp.ErrNotFound) && !errors.Is(err, scamp.ErrDenied) {
		return err
	}
	a.blamed = true
	return &codedError{ExitFailure, err}
}

// report writes an error for people and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return ExitOK
	}
	code := ExitCode(err)
	var quiet *quietError
	if errors.As(err, &quiet) || errors.Is(err, errStdout) && errors.Is(err, syscall.EPIPE) {
		return code // told already, or read enough of
	}
	if a.blamed {
		a.say("scamp: %s", noConfigText)
	}
	for _, text := range errorLines(err) {
		if !strings.HasPrefix(text, "scamp: ") && !strings.HasPrefix(text, "discovery: ") {
			text = "scamp: " + text
		}
		a.say("%s", text)
	}
	var h *hintError
	for e := err; errors.As(e, &h); e = h.err {
		a.say("%s", h.hint)
	}
	if a.noConfig && !a.blamed && code != ExitUsage && code != ExitAnswered && code != ExitFindings {
		a.say(noConfigText)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		path := usage.command
		if path == "" {
			path = cmp.Or(a.command, "scamp")
		}
		a.say("run '%s --help' to see what it takes", path)
	}
	return code
}

// errorLines returns one line for each error that was joined. An error is one line, so
// that text from the network in it cannot look like another error (THREATS X1).
func errorLines(err error) []string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines, texts []string
		for _, e := range joined.Unwrap() {
			lines = append(lines, errorLines(e)...)
			texts = append(texts, e.Error())
		}
		if strings.Join(texts, "\n") == err.Error() {
			return lines
		}
	}
	if inner := errors.Unwrap(err); inner != nil && inner.Error() == err.Error() {
		return errorLines(inner)
	}
	return []string{strings.ReplaceAll(err.Error(), "\n", "; ")}
}

// A quietError was told already.
type quietError struct{ err error }

func (e *quietError) Error() string { return e.err.Error() }
func (e *quietError) Unwrap() error { return e.err }
