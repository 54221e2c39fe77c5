package scamp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Notify sends the JSON form of v, at most flow.max_body octets, as a notification to an
// instance that offers the action of req (PROTOCOL 14): a service of ours hears it by
// ServiceOptions.Notified. Route says which instance; Sector, Version and Envelope count
// too, and the rest of req, tickets for example, does not go along. Safe for concurrent use.
//
// Nobody answers: nil means that all of it is on its way, not that anybody has heard it,
// and those who do not listen drop it. Only instances that have events are notified, as
// Bus.Subscribe tells them. Without a deadline in ctx it ends after the time of a call.
// The error is like that of Call; nothing is sent again by itself.
func (b *Bus) Notify(ctx context.Context, req *Request, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("scamp: notify %s: %w", clean(req.Action), err)
	}
	if len(data) > b.limits.MaxBody {
		return fmt.Errorf("scamp: notify %s: %d octets: want at most %d (flow.max_body)", clean(req.Action), len(data), b.limits.MaxBody)
	}
	q, err := b.query(req)
	if err != nil {
		return err
	}
	what := attempt{balance: b.balance, bus: b, number: 1}
	what.begin()
	if what.route, err = b.route(ctx, req, q, &what, nil); err != nil {
		return err
	}
	what.local = b.locals.at(what.route)
	if ctx.Err() != nil {
		return what.failure(ctxError(ctx), RanNo)
	}
	if by, ok := what.by(ctx, &b.limits); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, by)
		defer cancel()
	}
	return b.notify(ctx, &what, data)
}

// notify sends a notification to the instance of what.
func (b *Bus) notify(ctx context.Context, what *attempt, data []byte) error {
	for tries := 1; ; tries++ {
		p, err := b.eventful(ctx, what)
		if err != nil {
			return err
		}
		o, err := p.conn.Send(&packet.Header{Type: packet.TypeNotify}, mux.Body{Data: data}, nil)
		switch {
		case err == nil:
			if err = o.Wait(ctx, "cancelled by the caller"); err == nil {
				return nil
			}
			ran := RanNo
			if o.Started() {
				ran = RanMaybe
			}
			if ctx.Err() != nil {
				err = ctxError(ctx)
			}
			return what.failure(err, ran)
		case tries == maxConnects || !errors.Is(err, mux.ErrClosed):
			return what.failure(err, RanNo)
		}
		b.pool.forget(p) // it was just closing
	}
}

// eventful returns a connection to the instance of what, if that is known to have events:
// by what it announces, or by what it answered on this connection, to something harmless
// if need be (PROTOCOL 14).
func (b *Bus) eventful(ctx context.Context, what *attempt) (*peer, error) {
	if what.route.GoDialect {
		return nil, what.failure(errNoEvents, RanNo)
	}
	for asked := false; ; asked = true {
		p, err := b.pool.connected(ctx, what, identityOf(what.route), false, traceFrom(ctx))
		switch {
		case err != nil:
			return nil, err
		case hasEvents(what.route, b.dir) || p.conn.PeerExt():
			return p, nil
		case asked:
			return nil, what.failure(errNoEvents, RanNo)
		}
		ask := *what
		ask.balance = nil // what it answers to this says nothing about the instance
		ask.route = discovery.Route{Peer: what.route.Peer, Offer: &discovery.Offer{Sector: "main", Action: "_meta.documentation", Version: 1}}
		_, reply, err := b.pool.exchange(ctx, &Request{}, &ask, identityOf(what.route), false)
		if _, answered := errors.AsType[*RemoteError](err); err != nil && !answered {
			return nil, what.failure(errors.Unwrap(err), RanNo)
		}
		if reply != nil {
			reply.Body.Close()
		}
	}
}
