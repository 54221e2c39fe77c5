package scamp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A dialGate lets so many dials to one address go on at once. Others wait.
type dialGate struct {
	places chan struct{}
	wanted int // dials under way or waiting; protected by pool.mu
}

// dialPause is for how long at least a target is left alone after a dial that failed.
const dialPause = time.Second

// connect dials and has the connection served.
func (pl *pool) connect(key target, e *entry, id Identity, gate *dialGate) {
	began := time.Now()
	p, state, err := pl.dialThrough(gate, e, id)
	pl.mu.Lock()
	if gate.wanted--; gate.wanted == 0 {
		delete(pl.gates, key.addr)
	}
	e.took = time.Since(began)
	e.peer, e.state, e.err = p, state, err
	if err != nil {
		e.queue.debt.renew(pl.now())
		pl.leaveLocked(key.shared(), e.queue, nil)
	} else {
		e.queue.debt.clear()
		e.queue.peers = append(e.queue.peers, p)
	}
	switch {
	case err == errLeft:
		delete(pl.entries, key) // the target has not failed
	case err != nil:
		now := time.Now()
		e.again = now.Add(pl.backoff.pause(e.failures))
		if e.early {
			e.again = e.again.Add(dialPause) // as much later as this one was early
		}
		e.failures++
		maps.DeleteFunc(pl.entries, func(_ target, old *entry) bool {
			return old.err != nil && (old == e || now.After(old.again)) // nobody asked again
		})
		if shared := pl.entries[key.shared()]; shared == nil || shared.err != nil {
			pl.entries[key.shared()] = e
		}
		if errors.Is(err, ErrPin) {
			delete(pl.dialects, key.shared()) // who comes back may be somebody else
		}
	default:
		p.alone, p.dialect = key.alone > 0, e.dialect
		pl.peers[p] = struct{}{}
		pl.log.count("conn_opened")
		if pl.closed || e.hasLeft() {
			p.conn.Close()
		}
	}
	var missing []discovery.Route
	if e.failed() {
		missing = e.missing
	}
	e.missing = nil
	pl.mu.Unlock()
	close(e.ready)
	for _, r := range missing {
		pl.failed(r)
	}
	if err == nil {
		// Not here: a handshake needs a large stack, which a goroutine keeps, and a
		// connection rests for most of its life.
		pl.work.Go(func() { pl.serve(key, e, p) }) // ends with the connection
	}
}

// errLeft says that a dial had not begun when the call that it was for had left.
var errLeft = errors.New("scamp: dial: nobody waits for it")

// hasLeft says whether the call that e is alone for has left.
func (e *entry) hasLeft() bool {
	select {
	case <-e.left:
		return true
	default:
		return false
	}
}

// dialThrough is open when there is a place for one more dial to the address. A dial
// that has begun is not ended by who leaves: it keeps its place, so that calls of no
// patience do not flood an address (THREATS D22).
func (pl *pool) dialThrough(gate *dialGate, e *entry, id Identity) (*peer, tls.ConnectionState, error) {
	select {
	case gate.places <- struct{}{}:
		defer func() { <-gate.places }()
		if e.hasLeft() {
			return nil, tls.ConnectionState{}, errLeft
		}
		if e.key.local != nil {
			p, err := pl.openLocal(e.key.local, e.key.addr)
			return p, tls.ConnectionState{}, err
		}
		return pl.open(e.key.addr, id, &e.reached)
	case <-e.left:
		return nil, tls.ConnectionState{}, errLeft
	case <-pl.ctx.Done():
		return nil, tls.ConnectionState{}, ErrClosed
	}
}

// open makes a connection: TCP, TLS and the comparison of the certificate. Nothing
// of ours but the handshake was sent when it returns. Reached is set behind the first.
func (pl *pool) open(addr string, id Identity, reached *atomic.Bool) (*peer, tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(pl.ctx, pl.limits.DialTimeout)
	defer cancel()
	var none tls.ConnectionState
	raw, err := pl.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, none, dialError(addr, stepConnect, err, pl)
	}
	reached.Store(true)
	setTCP(raw, pl.limits)
	link := mux.NewLink(raw)
	c, err := handshake(ctx, link, clientTLS(pl.cfg, addr, id, pl.own))
	if err != nil {
		return nil, none, dialError(addr, stepTLS, err, pl)
	}
	p := newPeer(pl.limits, pl.log, pl.hold)
	p.signals = &pl.signals
	p.connect(c, link, pl.cfg, pl.limits.ClientIdle)
	return p, c.ConnectionState(), nil
}

// errNotListening says that a service of this process accepts no connection any more.
var errNotListening = errors.New("the service of this process has stopped listening")

// errNotDone says that the time for a step of a dial is over.
var errNotDone = errors.New("not done after")

// The steps of a dial, in words.
const (
	stepConnect = "connect"
	stepTLS     = "TLS"
)

// A stepError is a dial that failed, and at which step.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// dialError says which step failed and, where it is known, what would cure it.
func dialError(addr, step string, err error, pl *pool) error {
	var pin *PinError
	switch {
	case errors.As(err, &pin):
		pl.log.odd("pin_mismatch", "a peer shows another certificate than announced", "peer", addr, "want", pin.Want, "got", pin.Got)
		return pin
	case pl.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		pl.log.count("dial_timeout")
		return &stepError{step, fmt.Errorf("%w: %s: %s %w %v", ErrNoDial, addr, step, errNotDone, pl.limits.DialTimeout)}
	}
	if advice := tlsAdvice(err); advice != "" {
		return &stepError{step, fmt.Errorf("%w: %s: %s: %w (%s)", ErrNoDial, addr, step, err, advice)}
	}
	return &stepError{step, fmt.Errorf("%w: %s: %s: %w", ErrNoDial, addr, step, err)}
}
