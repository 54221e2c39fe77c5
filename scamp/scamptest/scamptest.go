// Package scamptest is a whole bus in memory, for tests: real certificates, real TLS
// and the real multiplexer over pipes, announcements on a segment that exists only in
// the process. Nothing touches the network or the disk.
//
//	net := scamptest.New(t)
//	net.Serve("greeter", func(s *scamp.Service) { scamp.HandleJSON(s, "Greeter.hello", hello, nil) })
//	out, err := scamp.Call[string](ctx, net.Bus(nil), "Greeter.hello", "world")
//
// Everything ends with the test. It works inside testing/synctest bubbles, where time
// is synthetic: a five-second interval passes at once.
package scamptest

import (
	"context"
	"crypto/rsa"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/pipe"
)

// A Network is one segment that buses and services share. Safe for concurrent use.
type Network struct {
	// Limits are those of buses that are made from now on without options of their
	// own, also the buses of services. Set it before they are made.
	Limits scamp.Limits

	t       testing.TB
	segment *discovery.Loopback

	authorizing sync.Mutex // held while buses get rules, so that the newest are the last

	mu        sync.Mutex // protects what follows
	listeners map[string]*listener
	ports     int
	keys      int
	rules     []string
	buses     []*scamp.Bus
	dialed    int
	conns     map[*conn]struct{}
}

// New returns an empty network that ends with the test.
func New(t testing.TB) *Network {
	n := &Network{t: t, keys: 1, segment: discovery.NewLoopback(), listeners: make(map[string]*listener), conns: make(map[*conn]struct{})}
	t.Cleanup(func() { n.segment.Close() })
	return n
}

// Segment is where announcements travel. Its Disturb drops and delays them.
func (n *Network) Segment() *discovery.Loopback { return n.segment }

// Bus returns a bus on the network, closed when the test ends. Fields of opts that
// are set win over those of the network.
func (n *Network) Bus(opts *scamp.Options) *scamp.Bus {
	n.t.Helper()
	o := scamp.Options{Limits: n.Limits}
	if opts != nil {
		o = *opts
	}
	if o.Dial == nil {
		o.Dial = n.Dial
	}
	if o.Listen == nil {
		o.Listen = n.Listen
	}
	if o.TicketKeys == nil {
		o.TicketKeys = scamp.NewTicketKeys(&n.ticketSigner().PublicKey)
	}
	if o.Carriers == nil {
		o.Carriers = []discovery.Carrier{n.segment.Join()}
	}
	b, err := scamp.Open(&scamp.Config{BusAddress: []string{"127.0.0.1"}}, &o)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { b.Close() })
	n.mu.Lock()
	others := slices.Clone(n.buses)
	n.buses = append(n.buses, b)
	n.mu.Unlock()
	n.authorize()
	// What others have heard already the new bus need not wait an interval for.
	for _, o := range others {
		for _, e := range o.Directory().All() {
			b.Directory().Add(e.Announcement) // an older one than is held is refused
		}
	}
	return b
}

// Ticket returns a ticket that every bus of the network takes for good. A zero Start
// and Length make one that holds for an hour from now on.
func (n *Network) Ticket(claims scamp.TicketClaims) scamp.Ticket {
	n.t.Helper()
	if claims.Start == 0 && claims.Length == 0 {
		claims.Start, claims.Length = time.Now().Unix(), 3600
	}
	t, err := claims.Sign(n.ticketSigner())
	if err != nil {
		n.t.Fatal(err)
	}
	return t
}

// ticketSigner is the key that the network's tickets are signed with, and nothing else.
func (n *Network) ticketSigner() *rsa.PrivateKey {
	k, err := keyPair(0) // New gives it to nobody
	if err != nil {
		n.t.Fatal(err)
	}
	return k.Key.(*rsa.PrivateKey)
}

// A Service is a service that runs on a network.
type Service struct {
	*scamp.Service
	Bus     *scamp.Bus
	KeyPair *scamp.KeyPair

	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Serve runs a service of that name and returns when it announces itself. Its key is
// its own, and a rule lets it offer everything in every sector it uses. It stops when
// the test ends, or with Stop.
func (n *Network) Serve(name string, register func(*scamp.Service)) *Service {
	n.t.Helper()
	return n.ServeWith(name, &scamp.ServiceOptions{}, register)
}

// ServeWith is Serve with options. A KeyPair in them that no rule names stays without
// one: see Allow.
func (n *Network) ServeWith(name string, opts *scamp.ServiceOptions, register func(*scamp.Service)) *Service {
	n.t.Helper()
	o := *opts
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
	b := n.Bus(nil)
	svc, err := b.NewService(name, &o)
	if err != nil {
		n.t.Fatal(err)
	}
	register(svc)
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{Service: svc, Bus: b, KeyPair: o.KeyPair, stop: cancel, done: make(chan struct{})}
	go func() { s.err = svc.Serve(ctx); close(s.done) }() // ended by Stop, which waits
	n.t.Cleanup(func() { s.Stop() })
	select {
	case <-svc.Ready():
	case <-s.done:
		n.t.Fatal(s.err)
	}
	if !Eventually(func() bool { return hears(b, svc.Ident()) }) {
		n.t.Fatalf("scamptest: service %s does not hear its own announcement", name)
	}
	return s
}

// hears says whether a bus holds an instance.
func hears(b *scamp.Bus, ident string) bool {
	return slices.ContainsFunc(b.Directory().All(), func(e discovery.Entry) bool { return e.Peer.Ident == ident })
}

// Stop drains the service and returns what Serve returned.
func (s *Service) Stop() error {
	s.stop()
	<-s.done
	return s.err
}

// Kill ends the service as a crash would, as far as others can tell: its connections
// break, its listener is gone, and it does not say goodbye.
func (n *Network) Kill(s *Service) {
	addr := s.Addr()
	n.mu.Lock()
	if l := n.listeners[addr]; l != nil {
		delete(n.listeners, addr)
		l.shut()
	}
	var cut []*conn
	for c := range n.conns {
		if c.to == addr {
			cut = append(cut, c)
		}
	}
	n.mu.Unlock()
	for _, c := range cut {
		c.Close()
	}
	s.Bus.Close()
}

// Cut breaks every connection to a service; the service lives on.
func (n *Network) Cut(s *Service) {
	addr := s.Addr()
	n.mu.Lock()
	var cut []*conn
	for c := range n.conns {
		if c.to == addr {
			cut = append(cut, c)
		}
	}
	n.mu.Unlock()
	for _, c := range cut {
		c.Close()
	}
}

// Allow adds a rule for a certificate: tokens as in an authorized_services file. A
// later rule for the same certificate replaces the earlier one, as in the file.
func (n *Network) Allow(k *scamp.KeyPair, tokens ...string) {
	n.mu.Lock()
	n.rules = append(n.rules, k.Certificate.Fingerprint+" "+strings.Join(tokens, ", "))
	n.mu.Unlock()
	n.authorize()
}

// authorize gives every bus the rules.
func (n *Network) authorize() {
	n.authorizing.Lock()
	defer n.authorizing.Unlock()
	n.mu.Lock()
	text := strings.Join(n.rules, "\n") + "\n"
	buses := n.buses
	n.mu.Unlock()
	z, err := discovery.ParseAuthorized(strings.NewReader(text))
	if err != nil {
		n.t.Errorf("scamptest: rules: %v", err)
		return
	}
	for _, b := range buses {
		b.Directory().SetAuthorized(z)
	}
}

// KeyPair returns a key pair that no other service of this network has.
func (n *Network) KeyPair() *scamp.KeyPair {
	n.mu.Lock()
	i := n.keys
	n.keys++
	n.mu.Unlock()
	k, err := keyPair(i)
	if err != nil {
		n.t.Fatal(err)
	}
	return k
}

// Making an RSA key takes long, so the tests of a process share them. Keys are plain
// data: nothing here belongs to a synctest bubble.
var (
	keysMu sync.Mutex
	keys   []*scamp.KeyPair
)

func keyPair(i int) (*scamp.KeyPair, error) {
	keysMu.Lock()
	defer keysMu.Unlock()
	for len(keys) <= i {
		k, err := scamp.GenerateKeyPair(fmt.Sprintf("scamptest %d", len(keys)), 2048)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys[i], nil
}

// Dial connects to a listener of the network, as its buses do. A test that breaks or
// counts connections gives a bus a Dial of its own that calls this one.
func (n *Network) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.dialed++
	from := fmt.Sprintf("127.0.0.1:%d", 50000+n.dialed%10000)
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: address(addr), Err: fmt.Errorf("connection refused")}
	}
	here, there := pipe.New()
	mine := &conn{End: here, n: n, local: from, remote: addr, to: addr}
	theirs := &conn{End: there, n: n, local: addr, remote: from, to: addr}
	n.mu.Lock()
	n.conns[mine], n.conns[theirs] = struct{}{}, struct{}{}
	n.mu.Unlock()
	select {
	case l.incoming <- theirs:
		return mine, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	mine.Close()
	theirs.Close()
	return nil, &net.OpError{Op: "dial", Net: network, Addr: address(addr), Err: fmt.Errorf("connection refused")}
}

// Listen makes a listener on the network, as its services do; port 0 is any that is
// free.
func (n *Network) Listen(network, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		n.ports++
		addr = net.JoinHostPort(host, fmt.Sprint(30100+n.ports))
	}
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("scamptest: listen on %s: address already in use", addr)
	}
	l := &listener{n: n, addr: addr, incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

type listener struct {
	n        *Network
	addr     string
	incoming chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.n.mu.Lock()
	if l.n.listeners[l.addr] == l {
		delete(l.n.listeners, l.addr)
	}
	l.n.mu.Unlock()
	l.shut()
	return nil
}

func (l *listener) shut() { l.once.Do(func() { close(l.closed) }) }

func (l *listener) Addr() net.Addr { return address(l.addr) }

// A conn is one end of a pipe with addresses.
type conn struct {
	*pipe.End
	n             *Network
	local, remote string
	to            string // the listener's address
}

func (c *conn) LocalAddr() net.Addr  { return address(c.local) }
func (c *conn) RemoteAddr() net.Addr { return address(c.remote) }

func (c *conn) Close() error {
	c.n.mu.Lock()
	delete(c.n.conns, c)
	c.n.mu.Unlock()
	return c.End.Close()
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

// Eventually waits until cond holds, at most ten seconds, and says whether it came to.
func Eventually(cond func() bool) bool {
	deadline := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(time.Millisecond)
	}
	return true
}
