// Package refusal lends package scamptest the check that every request passes in package
// scamp, and what that advises about errors, so that a fake caller refuses what a bus does,
// in the same words, though neither exports it. It also lends the ticket that a context
// carries, which a bus would send.
package refusal

import (
	"context"

	"github.com/scampbus/scamp-go/discovery"
)

// A Check returns the action that a *scamp.Request is for, or why no service could take
// the request.
type Check func(request any) (discovery.Query, error)

var check Check

// Lend makes c what Of asks. Package scamp does so once, while it is initialized.
func Lend(c Check) struct{} {
	check = c
	return struct{}{}
}

// Of returns the action that a *scamp.Request is for, or why a bus refuses the request
// before it asks anybody. Safe for concurrent use.
func Of(request any) (discovery.Query, error) { return check(request) }

// An Adviser says what would cure the error of a call, where the error alone tells.
type Adviser func(err error) string

var advise Adviser

// LendAdvice makes a what Advice asks. Package scamp does so once, while it is initialized.
func LendAdvice(a Adviser) struct{} {
	advise = a
	return struct{}{}
}

// Advice is what a bus would say about the error of a call; empty where it knows nothing.
// Safe for concurrent use.
func Advice(err error) string { return advise(err) }

// A Ticketer returns the ticket that a context carries, empty for none.
type Ticketer func(ctx context.Context) string

var carried Ticketer

// LendTicket makes t what Ticket asks. Package scamp does so once, while it is initialized.
func LendTicket(t Ticketer) struct{} {
	carried = t
	return struct{}{}
}

// Ticket is the one that a bus sends with a request that has none of its own. Safe for
// concurrent use.
func Ticket(ctx context.Context) string { return carried(ctx) }
