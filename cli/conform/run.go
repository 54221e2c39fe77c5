package conform

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Options say which service to judge and how. Only Addr and Action.Name are required.
type Options struct {
	Addr    string        // "host:port"
	Action  Action        // returns the body of a request unchanged, and needs no ticket
	Timeout time.Duration // for each thing waited for; zero means 5 s
	Quiet   time.Duration // how long nothing must come to count as nothing; zero means 300 ms
	Idle    time.Duration // after which the service closes an idle connection; zero means that is not known
	Hostile bool          // also cases that may crash or burden a fragile service

	// Verify compares the certificate that the service shows, its DER. It runs inside
	// every handshake. Nil trusts whoever answers.
	Verify func(der []byte) error

	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil means TCP

	// Each is told every result as soon as it is there; nil means nobody.
	Each func(Result)
}

// A Card holds the results of a run, in the order in which the cases ran.
type Card struct {
	Addr    string
	Results []Result
	Elapsed time.Duration
	Gone    bool // the service ended during the run; cases after that are SKIP
}

// Count returns how many results have that verdict.
func (c *Card) Count(v Verdict) int {
	n := 0
	for _, r := range c.Results {
		if r.Verdict == v {
			n++
		}
	}
	return n
}

// Missed tells whether any result counts against the service.
func (c *Card) Missed(strict bool) bool {
	return slices.ContainsFunc(c.Results, func(r Result) bool { return r.Missed(strict) })
}

// A run is what the cases of one Run share.
type run struct {
	Options
	watch *watch

	witness *link // a connection that no case touches
	used    time.Time
}

// witnessLife is how long the witness may be idle; services close at 120 s.
const witnessLife = 60 * time.Second

// ErrNoEcho says that the action did not return the body of a request, so that nothing
// can be judged.
var ErrNoEcho = errors.New("it does not echo")

// Run tries cases on a service, one after the other, those marked Last at the end. It
// returns an error, and no card, if nothing can be judged: the service cannot be
// reached, shows another certificate than Verify wants, or ErrNoEcho. When ctx ends it
// returns what it has.
func Run(ctx context.Context, opts Options, cases []Case) (*Card, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = 5 * time.Second
	}
	if opts.Quiet <= 0 {
		opts.Quiet = min(opts.Timeout, 300*time.Millisecond)
	}
	opts.Action = opts.Action.withDefaults()
	r := &run{Options: opts, watch: new(watch)}
	defer r.dismiss()
	if err := r.try(ctx); err != nil {
		return nil, fmt.Errorf("conform: %s at %s: %w", opts.Action, opts.Addr, err)
	}
	card := &Card{Addr: opts.Addr}
	start := time.Now()
	for _, last := range []bool{false, true} {
		for _, c := range cases {
			if c.Last != last || c.Hostile && !opts.Hostile || ctx.Err() != nil {
				continue
			}
			result := r.one(ctx, c, card)
			if ctx.Err() != nil {
				break // it was not waited for what the case waits for
			}
			card.Results = append(card.Results, result)
			if opts.Each != nil {
				opts.Each(result)
			}
		}
	}
	card.Elapsed = time.Since(start)
	return card, ctx.Err()
}

// one runs one case and looks after the service.
func (r *run) one(ctx context.Context, c Case, card *Card) Result {
	if card.Gone {
		return Result{Case: c, Verdict: Skip, Came: "the service is gone"}
	}
	start := time.Now()
	p := &Probe{c: &c, run: r, ctx: ctx}
	result := p.try()
	p.hangUp()
	result.Case, result.Sent, result.Got = c, p.sent.list(), p.got.list()
	if p.hurt || c.Hostile || result.Verdict == Fail || result.Verdict == NonStrict {
		if problem := r.unharmed(ctx); problem != "" {
			result.Verdict, result.Came = Fail, problem+"; in the case itself: "+result.Came
			card.Gone = r.witness == nil
		}
	}
	result.Elapsed = time.Since(start)
	return result
}

// try runs the case on its own connection.
func (p *Probe) try() Result {
	if !p.c.Cold {
		if err := p.Dial(nil); err != nil {
			return Result{Verdict: Fail, Came: "no connection: " + cut(err.Error(), maxText)}
		}
	}
	return p.c.Run(p)
}

// unharmed wants the witness, a connection that has nothing to do with what was sent,
// to be as good as before, and else a new one to be made.
func (r *run) unharmed(ctx context.Context) (problem string) {
	life := witnessLife
	if r.Idle > 0 {
		life = min(life, r.Idle/2)
	}
	if time.Since(r.used) > life {
		r.dismiss()
	}
	had := r.witness != nil
	err := r.try(ctx)
	if err == nil {
		return ""
	}
	r.dismiss()
	problem = "the service serves no further connection: "
	if had {
		problem = "the service broke another connection too: "
	}
	problem += cut(err.Error(), maxText)
	for end := time.Now().Add(r.Timeout); ctx.Err() == nil && time.Now().Before(end); {
		if err = r.try(ctx); err == nil {
			return problem
		}
		r.dismiss()
		select {
		case <-time.After(r.Timeout / 20):
		case <-ctx.Done():
		}
	}
	return problem + ", and is gone: " + cut(err.Error(), maxText)
}

// try has the witness echo, after making it if there is none.
func (r *run) try(ctx context.Context) error {
	if r.witness == nil {
		c, err := r.dial(ctx, nil)
		if err != nil {
			return err
		}
		r.witness = newLink(ctx, c, r, new(log), new(log))
	}
	r.used = time.Now()
	p := Probe{run: r, link: r.witness}
	q := p.Request()
	p.Send(q.All(`"hello"`))
	if problem := p.ExpectEcho(q, `"hello"`); problem != "" {
		return fmt.Errorf("%w: a request got %s", ErrNoEcho, problem)
	}
	return nil
}

// dismiss closes the witness.
func (r *run) dismiss() {
	if r.witness != nil {
		r.witness.close()
		r.witness = nil
	}
}

// dial makes a connection. Nothing is sent on one whose certificate Verify refuses.
func (r *run) dial(ctx context.Context, change func(*tls.Config)) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	raw, err := r.dialTCP(ctx)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{InsecureSkipVerify: true} // there is no CA: VerifyConnection compares
	if change != nil {
		change(cfg)
	}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if r.Verify == nil {
			return nil
		}
		if len(s.PeerCertificates) == 0 {
			return errors.New("the service shows no certificate")
		}
		return r.Verify(s.PeerCertificates[0].Raw)
	}
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("no TLS handshake within %v: %w", r.Timeout, err)
		}
		return nil, err
	}
	return c, nil
}

func (r *run) dialTCP(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if r.Dial != nil {
		return r.Dial(ctx, "tcp", r.Addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", r.Addr)
}
