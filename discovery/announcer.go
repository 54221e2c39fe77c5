package discovery

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// AnnouncerOptions configure an Announcer. Certificate and Key are needed.
type AnnouncerOptions struct {
	Ifaces      []Iface // to send on; empty means those of the carrier, as they come and go
	Certificate *Certificate
	Key         crypto.Signer // of the certificate

	Interval time.Duration // as announced; zero means 5 s
	// Sendings is how often each packet is sent in an interval; zero means 3. Receivers
	// remove whoever is silent for 2.1 intervals, that is when 2, 4 or 6 packets in a
	// row are lost where 1, 2 or 3 are sent in 5 s. With 5 % loss one service is removed
	// falsely by one receiver every 35 minutes, every 4.9 days or every 3.6 years: a
	// receiver that knows 1,000 services loses one every 2 s, 7 minutes or 31 hours.
	Sendings int
	// Jitter is the part of a pause by which packets come early at random, so that
	// services which start together do not send together for long: the first
	// repetition comes at any time of the pause, which spreads a thousand of them at
	// once. Zero means 0.05, negative neither.
	Jitter float64
	Limits Limits           // zero fields mean the defaults
	Now    func() time.Time // wall clock for timestamps; nil means time.Now
	Rand   func(n int) int  // 0 to n-1, for the jitter; nil means math/rand
	Log    *slog.Logger     // nil means silence
	// Signed is called with the text of PROTOCOL 7.1 that is sent from now on, that of
	// the first interface, whenever it changes; nil means not. It owns the text, and must
	// not call the Announcer.
	Signed func(text []byte)
}

// An Announcer tells everybody what one service instance offers (PROTOCOL 7.7).
// It signs when the content changes and repeats the same octets otherwise. Run
// sends; the other methods may be called by any goroutine, before and during Run.
type Announcer struct {
	carrier  Carrier
	where    func() (ifaces []Iface, changed <-chan struct{})
	opts     AnnouncerOptions
	limits   Limits
	counters counters
	report   *reporter
	wake     chan struct{} // one token: there is something new to send
	failing  bool          // the last sending failed, which was told; owned by Run

	signing sync.Mutex // held while content is signed, so that timestamps rise in order

	mu        sync.Mutex // protects all below
	content   *Content
	withdrawn bool
	stamp     int64          // timestamp of the packets, milliseconds
	packets   []packet       // one for each interface; nil before the first Set
	signed    []packet       // all that were signed with this timestamp
	round     int            // sendings of these packets that have begun
	moved     bool           // there is an interface on which they were not sent
	sentOnce  bool           // the first of them has ended
	result    error          // of the last that has
	waiters   []chan<- error // for the first of them
	sent      uint64
}

// A packet is what is sent on one interface.
type packet struct {
	iface   Iface
	address string // that it announces
	data    []byte // may be shared by interfaces
}

// AnnouncerStats are counts of an Announcer.
type AnnouncerStats struct {
	Sent     uint64            // datagrams
	Octets   int               // of the largest packet now
	Stamp    time.Time         // timestamp of the packets now; zero before the first Set
	Counters map[string]uint64 // failures, by name
}

const (
	quickWithdrawals = 5                      // at the start of a withdrawal (PROTOCOL 7.7)
	quickTime        = 200 * time.Millisecond // between them
	slowTime         = time.Second            // between those that follow
	firstJitter      = 0.9                    // of the first repetition
	countSendFailed  = "announce_send_failed"
)

// NewAnnouncer returns an announcer for one service instance. Closing the
// carrier is left to whoever made it.
func NewAnnouncer(c Carrier, opts AnnouncerOptions) (*Announcer, error) {
	if opts.Interval < 0 || opts.Sendings < 0 || opts.Jitter > 0.5 {
		return nil, fmt.Errorf("discovery: announcer with interval %v, %d sendings and jitter %v: want at least 0, 0, and at most 0.5",
			opts.Interval, opts.Sendings, opts.Jitter)
	}
	if err := checkSigner(opts.Certificate, opts.Key); err != nil {
		return nil, err
	}
	opts.Interval = cmp.Or(opts.Interval, 5*time.Second)
	opts.Sendings = cmp.Or(opts.Sendings, 3)
	opts.Jitter = max(cmp.Or(opts.Jitter, 0.05), 0)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Rand == nil {
		opts.Rand = rand.IntN
	}
	a := &Announcer{carrier: c, where: whereOf(c, opts.Ifaces), opts: opts, limits: opts.Limits.WithDefaults(), wake: make(chan struct{}, 1)}
	a.report = newReporter(opts.Log, a.limits, &a.counters)
	return a, nil
}

// whereOf returns what says on which interfaces to send.
func whereOf(c Carrier, ifaces []Iface) func() ([]Iface, <-chan struct{}) {
	if len(ifaces) == 0 {
		switch c := c.(type) {
		case roaming:
			return func() ([]Iface, <-chan struct{}) {
				changed := c.Changed() // first, so that no change is missed
				return c.Ifaces(), changed
			}
		case interface{ Iface() Iface }:
			ifaces = []Iface{c.Iface()}
		default:
			ifaces = []Iface{{}}
		}
	}
	return func() ([]Iface, <-chan struct{}) { return ifaces, nil }
}

// Set makes content what is announced, at once when Run runs. The same content
// again changes nothing: not one octet of what is sent. While withdrawn, content
// waits for Resume. Content that cannot be sent is refused, and what was
// announced before stays.
func (a *Announcer) Set(content Content) error {
	a.signing.Lock()
	defer a.signing.Unlock()
	a.mu.Lock()
	withdrawn, old := a.withdrawn, a.content
	a.mu.Unlock()
	if old != nil && sameContent(old, &content) {
		return nil
	}
	if withdrawn {
		// It must be sendable, but is not sent.
		if _, _, _, err := a.sign(&content, false); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.content = &content
		return nil
	}
	return a.publish(&content, false)
}

// Withdraw asks everybody not to use the instance any more: at once, four times
// more at 200 ms, then every second until Run ends (PROTOCOL 7.7). It returns
// when the first withdrawal was sent on all interfaces, or with an error when ctx
// ends before that.
func (a *Announcer) Withdraw(ctx context.Context) error { return a.turn(ctx, true) }

// Resume announces the content again, with a newer timestamp. It returns like
// Withdraw.
func (a *Announcer) Resume(ctx context.Context) error { return a.turn(ctx, false) }

// Announced returns when what was set last has been sent once on all interfaces, or
// with an error when that failed or ctx ends before it.
func (a *Announcer) Announced(ctx context.Context) error {
	done := make(chan error, 1)
	a.await(done)
	return awaitSending(ctx, done)
}

// await lets done, which has room, hear of the first sending of what was set last.
func (a *Announcer) await(done chan<- error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sentOnce {
		done <- a.result
	} else {
		a.waiters = append(a.waiters, done)
	}
}

func awaitSending(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("discovery: announce: %w", ctx.Err())
	}
}

func (a *Announcer) turn(ctx context.Context, withdraw bool) error {
	done := make(chan error, 1)
	if err := a.turnTo(withdraw, done); err != nil {
		return err
	}
	return awaitSending(ctx, done)
}

// turnTo publishes what withdrawing or resuming means. done hears of the first
// sending.
func (a *Announcer) turnTo(withdraw bool, done chan<- error) error {
	a.signing.Lock()
	defer a.signing.Unlock()
	a.mu.Lock()
	content, was := a.content, a.withdrawn
	a.mu.Unlock()
	if content == nil {
		return errors.New("discovery: announce: nothing was set yet: want Set first")
	}
	if was == withdraw {
		a.await(done)
		return nil
	}
	return a.publish(content, withdraw, done)
}

// publish signs content, or its withdrawal, and makes that what is sent. The
// channels in done hear of the first sending. The caller holds a.signing.
func (a *Announcer) publish(content *Content, withdraw bool, done ...chan<- error) error {
	packets, signed, stamp, err := a.sign(content, withdraw)
	if err != nil {
		return err
	}
	if a.opts.Signed != nil {
		text, err := a.limits.Inflate(signed[0].data)
		if err != nil {
			return err
		}
		a.opts.Signed(text)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.content, a.withdrawn, a.packets, a.signed, a.stamp, a.round = content, withdraw, packets, signed, stamp, 0
	a.sentOnce, a.result, a.moved = false, nil, false
	a.waiters = append(a.waiters, done...)
	select {
	case a.wake <- struct{}{}:
	default: // a token is there already
	}
	return nil
}

// Stats returns the counts at this moment.
func (a *Announcer) Stats() AnnouncerStats {
	s := AnnouncerStats{Counters: a.counters.snapshot()}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Sent = a.sent
	for _, p := range a.packets {
		s.Octets = max(s.Octets, len(p.data))
	}
	if a.packets != nil {
		s.Stamp = time.UnixMilli(a.stamp)
	}
	return s
}
