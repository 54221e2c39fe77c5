package scamp

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
	"github.com/scampbus/scamp-go/scamp/internal/pipe"
)

// LocalCalls says how a bus calls the services that it serves itself (rpc.local). Which
// instance a call goes to is chosen among all that are announced and authorized, as ever;
// when that is one of its own, nothing of the call needs to leave the process. Its own are
// those of the very Bus: two buses of one process call each other over TLS. A local call
// ends as a remote one does, but for one thing: the typed call of a caller that cannot be
// cancelled waits for its handler (Call).
type LocalCalls int

// How a bus calls its own services.
const (
	LocalOn     LocalCalls = iota // without socket and TLS, when one of them is chosen
	LocalOff                      // as those of others
	LocalPrefer                   // as LocalOn, and they are chosen before those of others
)

// locals are the services that a bus serves now.
type locals struct {
	how LocalCalls

	mu     sync.Mutex                     // held while all is replaced
	closed bool                           // protected by mu
	all    atomic.Pointer[[]localService] // nil or never changed; they are few
}

type localService struct {
	instance discovery.Instance
	side     *inboundSide
}

// at returns the side of the service that route leads to, nil if this bus does not serve
// it or is not to use that.
func (l *locals) at(route discovery.Route) *inboundSide {
	all := l.all.Load()
	if all == nil || l.how == LocalOff {
		return nil
	}
	for i := range *all {
		if l := &(*all)[i]; l.instance == route.Instance {
			return l.side
		}
	}
	return nil
}

// any says whether a call may stay in the process.
func (l *locals) any() bool {
	all := l.all.Load()
	return all != nil && len(*all) > 0 && l.how != LocalOff
}

// preferred returns those of routes that are to be chosen before the others: our own with
// LocalPrefer, if there are any, else all.
func (l *locals) preferred(routes []discovery.Route) []discovery.Route {
	if l.how != LocalPrefer || !l.any() {
		return routes
	}
	var own []discovery.Route // routes are shared
	for _, r := range routes {
		if l.at(r) != nil {
			own = append(own, r)
		}
	}
	if len(own) == 0 {
		return routes
	}
	return own
}

// each calls f for every one.
func (l *locals) each(f func(*inboundSide)) {
	if all := l.all.Load(); all != nil {
		for _, l := range *all {
			f(l.side)
		}
	}
}

// close has no call stay in the process any more, and returns the services that were served.
func (l *locals) close() []localService {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if all := l.all.Swap(nil); all != nil {
		return *all
	}
	return nil
}

// set enters a service, or takes it out if side is nil.
func (l *locals) set(s *Service, side *inboundSide) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	in := discovery.Instance{SHA256: s.pair.Certificate.SHA256, Ident: s.ident}
	var next []localService
	if all := l.all.Load(); all != nil {
		next = slices.DeleteFunc(slices.Clone(*all), func(l localService) bool { return l.instance == in })
	}
	if side != nil {
		next = append(next, localService{in, side})
	}
	l.all.Store(&next)
}

// A localAddr is where the requests of this process come from.
type localAddr struct{}

func (localAddr) Network() string { return "local" }
func (localAddr) String() string  { return "local" }

// A localConn is one end of a connection within the process.
type localConn struct{ *pipe.End }

func (localConn) LocalAddr() net.Addr  { return localAddr{} }
func (localConn) RemoteAddr() net.Addr { return localAddr{} }

// openLocal makes a connection to a service of our own. There is nobody else at its
// other end, so it needs no TLS: what TLS would show, our certificate, is told.
func (pl *pool) openLocal(side *inboundSide, addr string) (*peer, error) {
	here, there := pipe.New()
	var shown *discovery.Certificate
	if pl.own != nil {
		shown = pl.own.Certificate
	}
	if !side.acceptLocal(localConn{there}, shown) {
		return nil, dialError(addr, stepConnect, errNotListening, pl)
	}
	link := mux.NewLink(localConn{here})
	p := newPeer(pl.limits, pl.log, pl.hold)
	p.signals = &pl.signals
	p.connect(link, link, pl.cfg, pl.limits.ClientIdle)
	return p, nil
}

// acceptLocal serves a connection of our own process. It is false when the service
// accepts nothing any more.
func (d *inboundSide) acceptLocal(c net.Conn, shown *discovery.Certificate) bool {
	link := mux.NewLink(c)
	p := d.newPeer(shown)
	p.connect(link, link, d.s.bus.cfg, p.limits.ServerIdle)
	d.mu.Lock()
	open := !d.closing && !d.isStopped()
	if open {
		d.enterLocked(p)
		d.work.Add(1)
	}
	d.mu.Unlock()
	if !open {
		p.disconnect()
		return false
	}
	d.s.bus.log.count("conn_accepted")
	go func() { // ends with the connection
		defer d.work.Done()
		defer d.s.bus.log.count("conn_finished")
		d.run(p)
	}()
	return true
}
