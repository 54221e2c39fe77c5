package scamp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// Why climbs the ladder from the name of req's action to a connection with an instance
// that offers it, and says of each rung how it was found. It stops at the one that
// fails. Of req only the action, the envelope and the Route count.
//
// Why does no harm: it makes a connection of its own, compares the certificate, looks
// for a moment whether the service closes it, and sends nothing. The certificate of
// Options.KeyPair is shown, as with a call. It looks at everything anew, also at the
// records of the cache file that were refused, so it is for people.
func (b *Bus) Why(ctx context.Context, req *Request) Ladder {
	q, err := b.query(req)
	if err != nil {
		return misnamed(req.Action, err)
	}
	what := attempt{balance: b.balance, bus: b, number: 1}
	route, err := b.route(ctx, req, q, &what, nil)
	if err != nil {
		var ce *CallError
		if !errors.As(err, &ce) {
			return misnamed(req.Action, err)
		}
		b.look(ce)
		return ce.Ladder()
	}
	what.route = route
	s := what.sighting()
	s.probed, s.query.Ident, s.query.Envelope = true, q.Ident, q.Envelope
	if err := b.pool.probe(ctx, route, s); err != nil {
		err = &CallError{Action: what.action(), Instance: what.instance(), Ran: RanNo, Err: err, Advice: s.advice(err), seen: s}
		return err.(*CallError).Ladder()
	}
	l := s.ladder(nil)
	l.Action = what.action()
	return l
}

// misnamed is the ladder of what names no action.
func misnamed(action string, err error) Ladder {
	l := Ladder{Action: action, Err: err}
	for _, name := range rungNames {
		l.Rungs = append(l.Rungs, Rung{Name: name})
	}
	l.Rungs[0].State, l.Rungs[0].Text = RungFailed, printable(err.Error())
	l.Rungs[0].Fix = "want [sector:]Class.name[~version], for example main:Greeter.hello~1"
	return l
}

// look adds to the error of an action that nobody offers what takes longer to find out:
// who would, if its record were not refused.
func (b *Bus) look(ce *CallError) {
	if ce.seen.why == nil || ce.seen.why.Reason >= discovery.HasWithdrawn {
		return
	}
	ce.seen.refused, _ = b.dir.RefusedRecords(ce.seen.query) // the rung before says what is wrong with the file
	ce.seen.counts = b.dir.Stats().Refusals()
}

// probeTime is how long a probe looks whether a service closes the connection: one that
// does not want the certificate shown says so only when the handshake is over.
const probeTime = 250 * time.Millisecond

// probe connects to an instance as a call would, with a connection of its own on which
// nothing is sent.
func (pl *pool) probe(caller context.Context, route discovery.Route, s *sighting) error {
	ctx, cancel := context.WithTimeout(caller, pl.limits.DialTimeout)
	defer cancel()
	failed := func(step string, err error) error {
		if caller.Err() != nil {
			return &stepError{step, fmt.Errorf("%w while connecting", ctxError(caller))}
		}
		return dialError(route.Address, step, err, pl)
	}
	began := time.Now()
	raw, err := pl.dial(ctx, "tcp", route.Address)
	if err != nil {
		return failed(stepConnect, err)
	}
	s.connect, began = time.Since(began), time.Now()
	c, err := handshake(ctx, raw, clientTLS(pl.cfg, route.Address, identityOf(route), pl.own))
	if err != nil {
		return failed(stepTLS, err)
	}
	defer c.Close()
	s.shook = time.Since(began)
	s.linked, s.reused, s.state = true, false, c.ConnectionState()
	return stays(c)
}

// stays says why a connection does not stay open, nil when it does. What the other side
// sends unasked is left unread.
func stays(c *tls.Conn) error {
	c.SetReadDeadline(time.Now().Add(probeTime))
	var octet [1]byte
	switch _, err := c.Read(octet[:]); {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err == io.EOF:
		return fmt.Errorf("%w: the service closed it right behind the handshake", ErrLost)
	default:
		return fmt.Errorf("%w right behind the handshake: %w", ErrLost, err)
	}
}
