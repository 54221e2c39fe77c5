package scamp

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A Trace hears how a call finds its way. Every function may be nil; none may block.
// WithTrace sets one for the calls made with a context.
type Trace struct {
	Routed    func(discovery.Route)          // an instance was chosen
	Connected func(ConnectInfo)              // a connection to it is there; a call whose values stay in the process needs none
	Sent      func()                         // the request was handed to the connection
	Replied   func(after time.Duration)      // the reply's header arrived, so long after Sent
	Retried   func(attempt int, cause error) // the request is sent again, to another instance if there is one: it did not run, or is Idempotent; cause is nil for a hedge
}

// ConnectInfo says what connection a call uses.
type ConnectInfo struct {
	Address string
	Local   bool          // the service is one of this process: Took and TLS are of a connection without socket and TLS
	Reused  bool          // it was open already
	Took    time.Duration // TCP, TLS and the certificate comparison, if it was not
	TLS     tls.ConnectionState
}

type traceKey struct{}

// WithTrace returns a context whose calls tell t how they go.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

func (t *Trace) connected(what *attempt) {
	if t.Connected != nil {
		t.Connected(ConnectInfo{Address: what.route.Address, Local: what.local != nil, Reused: what.reused, Took: what.link.took, TLS: what.link.state})
	}
}

var noTrace = new(Trace)

func traceFrom(ctx context.Context) *Trace {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok && t != nil {
		return t
	}
	return noTrace
}
