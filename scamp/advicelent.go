package scamp

import (
	"encoding/json"
	"errors"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp/internal/refusal"
)

// A fake caller advises the same.
var _ = refusal.LendAdvice(adviceOn)

// adviceOn is the advice about an error of which nothing else is known: neither what is
// offered, nor what became of the connection.
func adviceOn(err error) string {
	s := &sighting{route: discovery.Route{Peer: new(discovery.Peer)}, linked: !errors.Is(err, ErrNoDial)}
	fix := ""
	switch {
	case errors.Is(err, ErrNotFound):
		s.why = &discovery.Explanation{Reason: discovery.NoAction}
		_, fix = s.failure(RungFound, err)
	case errors.Is(err, ErrStale):
		s.why = &discovery.Explanation{Stale: err.Error()}
		_, fix = s.failure(RungSource, err)
	case errors.Is(err, ErrDenied): // by a rule that only a bus knows
	case errors.Is(err, ErrRefused):
		fix = s.adviceFor(&RemoteError{Code: CodeTransport, Data: json.RawMessage(`{"dispatch_failure":true}`)})
	default:
		fix = s.advice(err)
	}
	return fix
}
