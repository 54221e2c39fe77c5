package scamp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/scampbus/scamp-go/scamp/internal/refusal"
)

// A Ticket is a signed string that names a user, a client and privileges (PROTOCOL
// 10). Whoever holds it may use it, so it prints as a placeholder: no log line and no
// error of this package shows one. Convert it with string(t) to see it. Package fmt calls no
// methods of fields that are not exported: a struct of your own that keeps a ticket in one
// needs a String method, or who prints it shows the ticket.
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

// A heldTicket keeps a ticket where package fmt would find a string, or what a pointer leads
// to: in fields that are not exported, whose methods it does not call.
type heldTicket func() Ticket

func (h heldTicket) String() string { return h().String() }

// WithTicket returns a context whose calls are made on behalf of whoever t names, unless
// the Request has a Ticket, or the defaults of the Caller it goes through do (Bus.With):
// what is said nearest to the call counts. The context that a handler gets carries no
// ticket, so that of its request goes no further unless the handler says so.
func WithTicket(ctx context.Context, t Ticket) context.Context {
	return context.WithValue(ctx, ticketKey{}, heldTicket(func() Ticket { return t }))
}

// ticketed returns the request with the ticket of its context, if it has none of its own.
func (r *Request) ticketed(ctx context.Context) *Request {
	if r.Ticket != "" {
		return r
	}
	t := ticketOf(ctx)
	if t == "" {
		return r
	}
	with := *r
	with.Ticket = t
	return &with
}

// ticketOf returns the ticket of WithTicket, empty for none.
func ticketOf(ctx context.Context) Ticket {
	held, _ := ctx.Value(ticketKey{}).(heldTicket)
	if held == nil {
		return ""
	}
	return held()
}

// A fake caller remembers it as if the request had it.
var _ = refusal.LendTicket(func(ctx context.Context) string { return string(ticketOf(ctx)) })
