package scamp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// A Ticket is a signed string that names a user, a client and privileges (PROTOCOL
// 10). Whoever holds it may use it, so it prints as a placeholder: a log line or an
// error can never show one. Convert it with string(t) to see it.
type Ticket string

// String returns a placeholder.
func (t Ticket) String() string {
	if t == "" {
		return ""
	}
	return "[ticket]"
}

// Format writes a placeholder, whatever the verb: a wrong one would show the text.
func (t Ticket) Format(f fmt.State, verb rune) {
	switch verb {
	case 'q':
		fmt.Fprintf(f, "%q", t.String())
	default:
		io.WriteString(f, t.String())
	}
}

// LogValue returns a placeholder.
func (t Ticket) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalJSON refuses a ticket that is not empty: logs write values as JSON, and a body that
// needs the ticket wants string(t).
func (t Ticket) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte(`""`), nil
	}
	return nil, errTicketJSON
}

var errTicketJSON = errors.New("scamp: a Ticket is not written as JSON, lest a log shows it: want string(t) where it is meant")

type ticketKey struct{}

// WithTicket returns a context whose calls are made on behalf of whoever t names, unless
// the Request has a Ticket, or the defaults of the Caller it goes through do (Bus.With):
// what is said nearest to the call counts. The context that a handler gets carries no
// ticket, so that of its request goes no further unless the handler says so.
func WithTicket(ctx context.Context, t Ticket) context.Context {
	return context.WithValue(ctx, ticketKey{}, t)
}

// ticketed returns the request with the ticket of its context, if it has none of its own.
func (r *Request) ticketed(ctx context.Context) *Request {
	if r.Ticket != "" {
		return r
	}
	t, _ := ctx.Value(ticketKey{}).(Ticket)
	if t == "" {
		return r
	}
	with := *r
	with.Ticket = t
	return &with
}
