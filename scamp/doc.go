// Package scamp calls and serves actions on a SCAMP bus: RPC without a broker.
//
// A service announces, signed with its key, which actions it offers; everybody on the
// network hears it. A caller names an action; the bus finds an instance that may offer
// it, opens a TLS connection that must show exactly the announced certificate, and
// sends the request as one of many streams on it.
//
//	bus, err := scamp.Initialize("/etc/SCAMP/soa.conf")
//	out, err := scamp.Call[Greeting](ctx, bus, "helloworld.hello", Who{"world"})
//
// and to serve:
//
//	svc, err := bus.NewService("helloworld", nil)
//	scamp.HandleJSON(svc, "helloworld.hello", func(ctx context.Context, in Who) (Greeting, error) { … }, nil)
//	err = scamp.Run(svc) // until a signal; Serve is for a context
//
// How one request goes through the package:
//
//	Call ─ query ─ directory ─ balancer ─ pool ─ peer.open ─► Stream ─► mux ─► network
//	                                                            ▲ replied
//	network ─► mux ─► peer.accept ─┬─ reply ────────────────────┘
//	                               ├─ request ─► intake ─► dispatcher ─► serving ─► Observe ─► callers ─► ticket ─► Use ─► Handler ─► ReplyWriter ─► mux
//	                               └─ subscribe, notify ─► eventSource ─► subscriber ─► mux (its events), Notified
//
// Built-in actions (PROTOCOL 12.3) are handlers as all others. At the other end of events
// a Subscription has a feed, which reads them in their order; the service may be of any
// make that announces what those do that have events.
//
// When the balancer chooses a service of the same bus the network is a pipe in memory,
// without TLS (openLocal); and a typed call of the very same types that can run at once
// goes from Call to the Handler and back with its values as they are (direct).
//
// What always holds:
//
//  1. Nothing of a request is sent before the peer showed exactly the announced
//     certificate (Identity.verify, inside the handshake).
//  2. A call over a connection is in its peer's tables before its first octet is written and leaves them
//     through one function, peer.leave; it ends once, in a reply or a *CallError.
//  3. CallError.Ran is RanNo only if the request's header was never handed to TLS, or
//     the service promised that no handler ran. Only such requests are sent again,
//     and those of which the caller says that they may run more than once.
//  4. A request gets exactly one reply, whatever its handler does (serving.start).
//  5. The goroutine that reads a connection never runs a handler and never waits.
//  6. Work counts as running until the handler has returned and its reply is written.
//  7. Authorization is decided by the directory when an instance is chosen, on the
//     resolved action.
//  8. Who may call is decided for each request, before any middleware of Use runs: by the
//     certificate the connection showed (service.callers), then by the ticket. Events
//     have no ticket: the certificate alone says who may subscribe.
//  9. A ticket is in no log and no error, goes to no instance without a rule, and is
//     not forwarded by itself.
package scamp
