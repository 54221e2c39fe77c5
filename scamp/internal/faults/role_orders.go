//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// What children can be told, or be made to lack, by rows whose fault is in a process.

// limitFiles lets the process have no descriptors from a number on; those it has it keeps.
// Zero gives back what it could have at most.
func limitFiles(args json.RawMessage) (any, error) {
	var n uint64
	if err := json.Unmarshal(args, &n); err != nil {
		return nil, err
	}
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return nil, fmt.Errorf("descriptor limit: %w", err)
	}
	if l.Cur = n; n == 0 {
		l.Cur = l.Max
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return nil, fmt.Errorf("descriptor limit %d: %w", n, err)
	}
	return nil, nil
}

// A mute carrier sends nothing when it is told so: the service seems to be gone, and its
// port is alive.
type mute struct {
	*discovery.Multicast
	on atomic.Bool
}

func (m *mute) Send(ctx context.Context, i discovery.Iface, data []byte) error {
	if m.on.Load() {
		return nil
	}
	return m.Multicast.Send(ctx, i, data)
}

// restrict takes from a service what its spec says, and returns the orders that come with
// it.
func (spec *serviceSpec) restrict(cfg *scamp.Config, opts *scamp.Options) (orders, error) {
	if spec.Files > 0 {
		if _, err := limitFiles(fmt.Append(nil, spec.Files)); err != nil {
			return nil, err
		}
	}
	if !spec.Mutable {
		return nil, nil
	}
	cfg = cfg.WithDefaults()
	multicast, err := discovery.NewMulticast(discovery.MulticastOptions{
		Group: cfg.MulticastAddress, Port: cfg.DiscoveryPort, Select: cfg.FollowDiscovery(), Interval: cfg.Interval, Log: opts.Log,
	})
	if err != nil {
		return nil, err
	}
	m := &mute{Multicast: multicast}
	opts.Carriers = []discovery.Carrier{m} // the bus closes it
	return orders{"mute": func(json.RawMessage) (any, error) { m.on.Store(true); return nil, nil }}, nil
}

// restrict takes from a client what its spec says.
func (spec *clientSpec) restrict(opts *scamp.Options) error {
	if spec.Deaf {
		opts.Carriers = []discovery.Carrier{discovery.NewLoopback()} // the bus closes it
	}
	if spec.User == 0 {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("give up groups: %w", err)
	}
	if err := syscall.Setgid(spec.User); err != nil {
		return fmt.Errorf("become group %d: %w", spec.User, err)
	}
	if err := syscall.Setuid(spec.User); err != nil {
		return fmt.Errorf("become user %d: %w", spec.User, err)
	}
	return nil
}

// idents are those that a directory has in memory, also of instances it would not offer.
func idents(d *discovery.Directory) []string {
	var all []string
	for _, e := range d.All() {
		all = append(all, e.Peer.Ident)
	}
	return all
}

// A dialed is one try of a client to connect.
type dialed struct {
	At      time.Time
	Address string
	Made    bool // it is connected
}

// dial connects, and remembers that it tried.
func (c *client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	at := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.dials) < maxTold {
		c.dials = append(c.dials, dialed{at, address, err == nil})
	}
	return conn, err
}

// A burst is calls that begin all at once.
type burst struct {
	Name     string // how their ids begin
	Calls    int
	Call     planned // each; its ID and Nonce are set
	Deadline time.Duration
}

// A tried is how one call ended whose outcome is all that counts: it is in no ledger.
type tried struct {
	OK    bool
	Stale bool // for ErrStale
	Text  string
}

// orders are those that rows of this kind give to clients: burst makes calls at once and
// answers when all have ended; dials answers with all tries to connect; try makes one call
// of an action that fails in the service, if it comes there, and tells how it ended; remember answers
// with the idents in memory.
func (c *client) orders(ctx context.Context) orders {
	return orders{
		"burst": func(args json.RawMessage) (any, error) {
			var b burst
			if err := json.Unmarshal(args, &b); err != nil {
				return nil, err
			}
			c.burst(ctx, &b)
			return nil, nil
		},
		"dials": func(json.RawMessage) (any, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return append([]dialed{}, c.dials...), nil
		},
		"try": func(args json.RawMessage) (any, error) {
			var action string
			if err := json.Unmarshal(args, &action); err != nil {
				return nil, err
			}
			return c.try(ctx, action), nil
		},
		"remember": func(json.RawMessage) (any, error) { return idents(c.bus.Directory()), nil },
	}
}

func (c *client) burst(ctx context.Context, b *burst) {
	var calls sync.WaitGroup
	for i := range b.Calls {
		p := b.Call
		p.ID = fmt.Sprintf("%s-%d", b.Name, i)
		sum := ledger.SumOf([]byte(p.ID)).SHA256
		p.Nonce = ledger.Nonce(sum[:16])
		p.Request, p.Reply = max(p.Request, answerOctets), max(p.Reply, answerOctets)
		calls.Go(func() { c.call(ctx, p, b.Deadline) }) // ends with the call's deadline
	}
	calls.Wait()
}

// try asks for nothing that could run: a service that is asked says so.
func (c *client) try(ctx context.Context, action string) tried {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := c.bus.Call(ctx, &scamp.Request{Action: action})
	if re, ok := errors.AsType[*scamp.RemoteError](err); ok && re.Code == scamp.CodeBadRequest {
		return tried{OK: true}
	}
	return tried{Stale: errors.Is(err, scamp.ErrStale), Text: fmt.Sprint(err)}
}
