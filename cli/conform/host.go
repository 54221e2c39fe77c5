package conform

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// HostOptions say how requesters are judged. Only Addr and Certificate are required.
type HostOptions struct {
	// Addr is "host:port" to listen on, the same host for all listeners. Port 0 takes
	// any ports, another one that port and those after it.
	Addr        string
	Certificate tls.Certificate // announced for all, and shown by all but one
	Other       tls.Certificate // shown by the one that is announced wrongly
	Sector      string          // of the actions; empty means main

	Timeout  time.Duration // for each thing waited for; zero means 5 s
	Quiet    time.Duration // how long nothing must come to count as nothing; zero means 300 ms
	Idle     time.Duration // after which the requester closes an idle connection; zero means that is not known
	Patience time.Duration // without any call, after the first, the requester is gone; zero means 30 s or six times Timeout

	Hostile bool // also cases that may crash or burden a fragile requester

	// Each is told every result as soon as it is there; nil means nobody.
	Each func(Result)
}

// A Host plays the service toward requesters and judges them. Each case has an action,
// a listener and so connections of its own; one more, NextAction, tells a requester
// which calls to make. Make one with Listen.
type Host struct {
	opts     HostOptions
	control  net.Listener
	stations []*station
	last     []Case // those that look back
	names    []Station

	driving sync.Mutex // held by the one request of NextAction that is answered; protects what follows
	next    int        // number of the station to offer next
	step    int        // of the station before it, the number of the step to offer next

	mu       sync.Mutex // protects what follows
	watch    watch      // what all connections saw
	activity time.Time  // of the requester, the latest
	driven   bool       // somebody asks by NextAction which calls to make
	finished bool       // and was told that all is done
	gone     bool       // the requester made no call for too long
}

// A Station is an action to announce: where it is, and what must be wrong with it.
type Station struct {
	Action string // Class.name
	Addr   string // host:port
	Trap   Trap
}

// NextAction is the action by which a requester asks which calls to make.
const NextAction = "Conform.next"

// ActionOf is the action of a case.
func ActionOf(c Case) string {
	return "Conform.c" + strings.NewReplacer(".", "_", "-", "_").Replace(c.ID)
}

// Listen opens the listeners of cases. Run must follow, which closes them, or Close.
func Listen(opts HostOptions, cases []Case) (*Host, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = 5 * time.Second
	}
	if opts.Quiet <= 0 {
		opts.Quiet = min(opts.Timeout, 300*time.Millisecond)
	}
	if opts.Patience <= 0 {
		opts.Patience = max(30*time.Second, 6*opts.Timeout)
	}
	h := &Host{opts: opts}
	host, port, err := net.SplitHostPort(opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("conform: address %q: want HOST:PORT", opts.Addr)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("conform: address %q: want a port from 0 to 65535", opts.Addr)
	}
	open := func() (net.Listener, error) {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.FormatUint(number, 10)))
		if number > 0 {
			number++
		}
		return ln, err
	}
	if h.control, err = open(); err != nil {
		return nil, fmt.Errorf("conform: %w", err)
	}
	h.names = []Station{{Action: NextAction, Addr: h.control.Addr().String()}}
	for _, c := range cases {
		if c.Play == nil && !c.Last || c.Hostile && !opts.Hostile {
			continue
		}
		if c.Last {
			h.last = append(h.last, c)
			continue
		}
		ln, err := open()
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("conform: listener of case %s: %w", c.ID, err)
		}
		h.stations = append(h.stations, newStation(h, c, ln))
		h.names = append(h.names, Station{Action: ActionOf(c), Addr: ln.Addr().String(), Trap: c.Trap})
	}
	return h, nil
}

// Stations returns what to announce. The first is NextAction.
func (h *Host) Stations() []Station { return slices.Clone(h.names) }

// Close closes the listeners of a host that is not run.
func (h *Host) Close() {
	h.control.Close()
	for _, s := range h.stations {
		s.ln.Close()
	}
}

// Run plays the service until every case was judged and the requester knows it, until
// the requester is gone, or until ctx ends. It returns what it has; the error is that
// of ctx.
func (h *Host) Run(ctx context.Context) (*Card, error) {
	began := time.Now()
	inner, stop := context.WithCancel(ctx)
	results := make(chan Result, len(h.stations)) // one of each station
	var work sync.WaitGroup
	for _, s := range h.stations {
		work.Go(func() { s.accept() })              // ends when the listener is closed
		work.Go(func() { results <- s.run(inner) }) // ends with the case, or with inner
	}
	work.Go(func() { h.serveControl(inner) }) // ends when the listener is closed

	card := &Card{Addr: "the requester"}
	tick := time.NewTicker(max(h.opts.Timeout/100, 5*time.Millisecond))
	defer tick.Stop()
	over := false
	for !over {
		select {
		case r := <-results:
			h.tell(card, r)
		case <-tick.C:
			over = h.over(len(card.Results))
		case <-ctx.Done():
			over = true
		}
	}
	card.Gone = ctx.Err() == nil && len(card.Results) < len(h.stations)
	h.mu.Lock()
	h.gone = card.Gone
	h.mu.Unlock()
	stop()
	h.Close()
	work.Wait()
	for len(results) > 0 {
		h.tell(card, <-results)
	}
	h.lookBack(card)
	h.sort(card)
	card.Elapsed = time.Since(began)
	return card, ctx.Err()
}

func (h *Host) tell(card *Card, r Result) {
	card.Results = append(card.Results, r)
	if h.opts.Each != nil {
		h.opts.Each(r)
	}
}

// over tells whether there is nothing left to wait for.
func (h *Host) over(results int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case results == len(h.stations) && (h.finished || !h.driven && results > 0):
		return true
	case h.activity.IsZero():
		return false // nobody came yet
	}
	return time.Since(h.activity) > h.opts.Patience
}

func (h *Host) isGone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone
}

func (h *Host) active() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.activity = time.Now()
}

// lookBack judges the rules for all that came.
func (h *Host) lookBack(card *Card) {
	for _, c := range h.last {
		start := time.Now()
		p := &Probe{c: &c, run: h.newRun()}
		p.run.watch.merge(&h.watch)
		result := Result{Verdict: Skip, Came: "no packet came"}
		if h.watch.packets > 0 {
			result = c.Play(&Visit{Probe: p})
		}
		result.Case, result.Elapsed = c, time.Since(start)
		h.tell(card, result)
	}
}

// sort brings the results into the order of the cases.
func (h *Host) sort(card *Card) {
	place := make(map[string]int)
	for _, s := range h.stations {
		place[s.c.ID] = len(place)
	}
	for _, c := range h.last {
		place[c.ID] = len(place)
	}
	slices.SortFunc(card.Results, func(a, b Result) int { return place[a.Case.ID] - place[b.Case.ID] })
}

// newRun is what the probe of one connection needs; each has a watch of its own.
func (h *Host) newRun() *run {
	return &run{Options: Options{Timeout: h.opts.Timeout, Quiet: h.opts.Quiet, Idle: h.opts.Idle}, watch: new(watch)}
}

// shake makes a link of a connection that was accepted.
func (h *Host) shake(ctx context.Context, raw net.Conn, c *Case, r *run, sent, got *log) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	cfg := &tls.Config{
		Certificates: []tls.Certificate{h.opts.Certificate}, MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
	}
	if c != nil && c.Trap == TrapCertificate {
		cfg.Certificates[0] = h.opts.Other
	}
	if c != nil && c.Shake != nil {
		c.Shake(cfg)
	}
	conn := tls.Server(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	l := newLink(context.Background(), conn, r, sent, got)
	l.guest = true
	return l, nil
}
