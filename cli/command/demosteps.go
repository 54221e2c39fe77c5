package command

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// steps are what the demo shows, in this order; each builds on those before it.
func (d *demo) steps() []demoStep {
	return []demoStep{
		{"network", "Announcements are UDP multicast. Does it work over the loopback interface here?", d.network},
		{"keys", "A service is known by its certificate; authorized_services says which one may offer what.", d.keys},
		{"cache", "The cache daemon hears announcements and writes the valid ones to a file for everybody on this host.", d.startCache},
		{"announce", "Two instances of a service start. Each signs with its key what it offers, and tells the network.", d.announce},
		{"route", "A caller names an action, not an address. These instances are announced, and a rule allows them.", d.route},
		{"pin", "One is chosen. Before a request leaves, its TLS certificate must be the announced one, octet for octet.", d.pin},
		{"call", "Calls go to both instances; replies come back over two connections, as many at once as one likes.", d.calls},
		{"stream", "Bodies are streams: 1 MiB goes there and back in pieces, and no end ever holds all of it.", d.stream},
		{"denied", "A service that no rule names announces itself too. Callers refuse it, and say which line is missing.", d.denied},
		{"impostor", "One instance is killed, and somebody else with another certificate takes its port.", d.impostor},
		{"expire", "The killed one could not say goodbye. It leaves the list when it was silent for 2.1 intervals.", d.expire},
		{"goodbye", "The other instance is told to stop while a request is running. It says goodbye and leaves the list.", d.goodbye},
		{"drain", "It finishes the request it has in hand before it exits.", d.drain},
	}
}

const (
	demoService = "hello"
	demoHello   = "Hello.hello"
	demoEcho    = "Hello.echo"
	demoSlow    = "Hello.slow"
)

// network makes the files of the bus, and sees its own multicast.
func (d *demo) network(ctx context.Context) (string, error) {
	port := 20000 + mathrand.IntN(40000) // not that of a real bus on this machine
	layout, _, err := initBus(initOptions{dir: d.dir, address: "127.0.0.1", port: port})
	if err != nil {
		return "", err
	}
	d.layout = layout
	if err := appendFile(layout.config, "service.shutdown_grace = 0.3\n"); err != nil {
		return "", err
	}
	if d.cfg, err = scamp.ReadConfig(layout.config); err != nil {
		return "", err
	}
	if err := probeMulticast(ctx, port); err != nil {
		return "", fmt.Errorf("multicast over 127.0.0.1 does not work on this machine, and the demo needs it: %w (is lo up? does a firewall drop %s?)", err, discovery.DefaultGroup)
	}
	return fmt.Sprintf("yes: group %s, port %d, on lo alone", discovery.DefaultGroup, port), nil
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// probeMulticast sends a datagram to itself.
func probeMulticast(ctx context.Context, port int) error {
	m, err := discovery.NewMulticast(discovery.MulticastOptions{
		Port: port, Ifaces: []discovery.Iface{{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1})}},
	})
	if err != nil {
		return err
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := m.Send(ctx, m.Ifaces()[0], []byte("scamp demo: is this heard?")); err != nil {
		return err
	}
	_, err = m.Receive(ctx)
	return err
}

func (d *demo) keys(context.Context) (string, error) {
	p, err := provision(d.cfg, demoService, []string{"main:Hello"}, 0)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/%s.key and .crt; authorized_services:%d says %q", d.layout.keys, demoService, p.line, p.Rule), nil
}

func (d *demo) startCache(ctx context.Context) (string, error) {
	var err error
	if d.cache, err = d.start("cache daemon", "cache"); err != nil {
		return "", err
	}
	if _, err := d.cache.await(ctx, "ready"); err != nil {
		return "", err
	}
	if err := poll(ctx, func() bool { return exists(d.layout.cache) }); err != nil {
		return "", fmt.Errorf("no cache file: %w%s", err, d.cache.stderr())
	}
	if d.bus, err = scamp.Open(d.cfg, nil); err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d writes %s", d.cache.pid(), d.layout.cache), nil
}

func (d *demo) announce(ctx context.Context) (string, error) {
	var places []string
	for _, c := range []**child{&d.one, &d.two} {
		var err error
		if *c, err = d.start("instance", "serve", demoService, "--class", "Hello", "--builtin", "hello,echo,slow"); err != nil {
			return "", err
		}
		e, err := (*c).await(ctx, "ready")
		if err != nil {
			return "", err
		}
		(*c).ident, (*c).address = e.Ident, e.Address
		places = append(places, e.Ident+" at "+e.Address)
	}
	if err := d.known(ctx, 2); err != nil {
		return "", err
	}
	return strings.Join(places, ", "), nil
}

// known waits until so many instances of the service are listed.
func (d *demo) known(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	err := poll(ctx, func() bool { return len(d.routes("")) == n })
	if err != nil {
		return fmt.Errorf("%d instances listed, want %d: %w%s", len(d.routes("")), n, err, d.cache.stderr())
	}
	return nil
}

// routes are the instances that may be called, or the one of an ident.
func (d *demo) routes(ident string) []discovery.Route {
	return d.bus.Directory().Find(discovery.Query{Action: demoHello, Ident: ident})
}

func (d *demo) route(context.Context) (string, error) {
	routes := d.routes("")
	if len(routes) != 2 {
		return "", fmt.Errorf("%d candidates for %s, want 2", len(routes), demoHello)
	}
	decision := d.bus.Directory().Authorized().Decide(routes[0].Certificate, routes[0].Sector, routes[0].Action)
	if !decision.Allowed {
		return "", errors.New(decision.String())
	}
	return fmt.Sprintf("%s: %s or %s; %s:%d says %q", demoHello, routes[0].Address, routes[1].Address, "authorized_services", decision.Line, decision.Rule), nil
}

func (d *demo) pin(ctx context.Context) (string, error) {
	var chosen discovery.Route
	var shown []byte
	var took time.Duration
	ctx = scamp.WithTrace(ctx, &scamp.Trace{
		Routed: func(r discovery.Route) { chosen = r },
		Connected: func(i scamp.ConnectInfo) {
			took = i.Took
			if len(i.TLS.PeerCertificates) > 0 {
				shown = i.TLS.PeerCertificates[0].Raw
			}
		},
	})
	out, err := scamp.Call[map[string]string](ctx, d.bus, demoHello, struct{}{})
	switch {
	case err != nil:
		return "", err
	case !bytes.Equal(shown, chosen.Certificate.DER):
		return "", errors.New("the certificate shown is not the one announced")
	}
	return fmt.Sprintf("%s shows %s, as announced; connected in %s; it answers {%q:%q}", chosen.Address, chosen.Certificate.Fingerprint, short(took), "hello", out["hello"]), nil
}

func (d *demo) calls(ctx context.Context) (string, error) {
	const n = 40
	answered := make(map[string]int)
	began := time.Now()
	for i := range n {
		out, reply, err := scamp.CallWith[int](ctx, d.bus, &scamp.Request{Action: demoEcho}, i)
		if err != nil {
			return "", err
		}
		if out != i {
			return "", fmt.Errorf("%s answered %d to %d", demoEcho, out, i)
		}
		answered[reply.Instance]++
	}
	return fmt.Sprintf("%d calls in %s: %d by %s, %d by %s", n, since(began), answered[d.one.ident], d.one.address, answered[d.two.ident], d.two.address), nil
}

func (d *demo) stream(ctx context.Context) (string, error) {
	const size = 1 << 20
	sent, got := sha256.New(), sha256.New()
	began := time.Now()
	reply, err := d.bus.Call(ctx, &scamp.Request{Action: demoEcho, Body: io.TeeReader(io.LimitReader(rand.Reader, size), sent)})
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	n, err := io.Copy(got, reply.Body)
	if err != nil {
		return "", err
	}
	if n != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		return "", fmt.Errorf("%d octets came back, or others than were sent, want %d", n, size)
	}
	return fmt.Sprintf("%d octets back in %s, SHA-256 %x… at both ends", n, since(began), got.Sum(nil)[:6]), nil
}

// denied starts a service with a key but without a rule, and kills it again.
func (d *demo) denied(ctx context.Context) (string, error) {
	const name = "stranger"
	if _, _, err := ensureKeyPair(name, d.cfg.KeyPairPaths(name)[0], 0); err != nil {
		return "", err
	}
	c, err := d.start(name, "serve", name, "--class", "Stranger", "--builtin", "hello")
	if err != nil {
		return "", err
	}
	defer c.kill()
	if _, err := c.await(ctx, "ready"); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var refused error
	err = poll(ctx, func() bool {
		_, refused = d.bus.Call(ctx, &scamp.Request{Action: "Stranger.hello"})
		return !errors.Is(refused, scamp.ErrNotFound) // which is what it is until it was heard
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("the stranger is not heard of: %w", err)
	case !errors.Is(refused, scamp.ErrDenied):
		return "", fmt.Errorf("a call to the stranger: %v, want it denied", refused)
	}
	return refused.Error(), nil
}

// poll waits until is says yes, or ctx ends.
func poll(ctx context.Context, is func() bool) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !is() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
