package scamptest

import (
	"context"
	"slices"
	"weak"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A Service is a service that runs on a network.
type Service struct {
	*scamp.Service
	Bus     *scamp.Bus
	KeyPair *scamp.KeyPair

	name     string
	opts     scamp.ServiceOptions
	register func(*scamp.Service)
	addrs    []string       // where it listens
	host     *host          // of Bus
	busOpts  *scamp.Options // that Bus was given

	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Serve runs a service of that name, on a bus of its own, and returns when it announces
// itself. Its key is its own, and a rule lets it offer everything in the sectors main,
// web and background: with another one, Allow its KeyPair that too, in a rule that names
// them all. It stops when the test ends, or with Stop.
func (n *Network) Serve(name string, register func(*scamp.Service)) *Service {
	n.t.Helper()
	return n.ServeWith(name, nil, register)
}

// ServeWith is Serve with options. A KeyPair in them that no rule names stays without
// one: see Allow. Without Listen it is a port of the network's, and without Grace it
// takes none.
func (n *Network) ServeWith(name string, opts *scamp.ServiceOptions, register func(*scamp.Service)) *Service {
	n.t.Helper()
	return n.ServeOn(n.Bus(nil), name, opts, register)
}

// ServeOn is ServeWith on a bus of the network that is there: one with options, or the
// one that also calls.
func (n *Network) ServeOn(bus *scamp.Bus, name string, opts *scamp.ServiceOptions, register func(*scamp.Service)) *Service {
	n.t.Helper()
	var o scamp.ServiceOptions
	if opts != nil {
		o = *opts
	}
	if o.KeyPair == nil {
		o.KeyPair = n.KeyPair()
		n.Allow(o.KeyPair, "main:ALL", "web:ALL", "background:ALL")
	}
	if o.Listen == nil {
		o.Listen = []string{"127.0.0.1:0"}
	}
	if o.Grace == 0 {
		o.Grace = -1
	}
	svc, err := bus.NewService(name, &o)
	if err != nil {
		n.t.Fatal(err)
	}
	register(svc)
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{
		Service: svc, Bus: bus, KeyPair: o.KeyPair, name: name, opts: o, register: register,
		host: n.host(bus), stop: cancel, done: make(chan struct{}),
	}
	s.busOpts = s.host.options()
	go func() { s.err = svc.Serve(ctx); close(s.done) }() // ended by Stop, which waits
	done, of := s.done, weak.Make(bus)
	n.t.Cleanup(func() { // as Stop does; s goes when the test has no use for it
		cancel()
		<-done
		n.stopped(name, of)
	})
	select {
	case <-svc.Ready():
	case <-s.done:
		n.t.Fatal(s.err)
	}
	s.addrs = s.Addrs()
	if !Eventually(func() bool { return hears(bus, svc.Ident()) }) {
		n.t.Fatalf("scamptest: service %s does not hear its own announcement", name)
	}
	return s
}

// hears says whether a bus holds an instance.
func hears(b *scamp.Bus, ident string) bool {
	return slices.ContainsFunc(b.Directory().All(), func(e discovery.Entry) bool { return e.Peer.Ident == ident })
}

// Stop drains the service and returns what Serve returned. Its bus lives on.
func (s *Service) Stop() error {
	s.stop()
	<-s.done
	return s.err
}

// Restart serves s anew as a supervisor would: the same name, key pair, options and
// handlers at the same addresses, with another ident, on a new bus with the options of the
// old one. A service that still runs is killed first.
func (n *Network) Restart(s *Service) *Service {
	n.t.Helper()
	n.Kill(s)
	o := s.opts
	o.Listen = s.addrs
	return n.ServeOn(n.Bus(s.busOpts), s.name, &o, s.register)
}
