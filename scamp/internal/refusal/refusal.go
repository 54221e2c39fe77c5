// Package refusal lends package scamptest the check that every request passes in package
// scamp, so that a fake caller refuses what a bus does, in the same words, though neither
// exports it.
package refusal

import "github.com/scampbus/scamp-go/discovery"

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
