package discovery

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ObserverOptions configure an Observer. A nil pointer means the defaults.
type ObserverOptions struct {
	Log *slog.Logger // nil means silence
}

// An Observer puts what a carrier brings into a directory. Repetitions, which are
// nearly everything on a healthy bus, are taken as they come; what needs a
// signature check waits beside, in one line for certificates that a rule names and
// one for all others, so that no flood keeps known services from being heard
// (THREATS D20).
//
// While it runs, the directory knows whether it could have heard anything: when
// the process stood still, or nobody at all is heard any more, nobody expires for
// that time (PROTOCOL 7.8). An Observer never sends.
type Observer struct {
	carrier Carrier
	d       *Directory
	report  *reporter

	start   time.Time
	waiting atomic.Int64 // nanoseconds after start since when Receive waits; 0 when it does not
	lineup  *lineup      // new announcements; filled by receive, emptied by check
	refused chan refusal // one at a time, to be told; closed by Run
}

// A lossy carrier knows how many datagrams it had to drop before Receive could take
// them, since it was made.
type lossy interface {
	Lost() uint64
}

var (
	_ lossy = (*Multicast)(nil)
	_ lossy = (*Loopback)(nil)
)

// A refusal is why a datagram was refused.
type refusal struct {
	from  netip.AddrPort // as the datagram claims
	iface Iface
	err   error
}

const beatTime = time.Second // between signs of life

// NewObserver returns an observer that feeds d from c. Closing the carrier is
// left to whoever made it.
func NewObserver(c Carrier, d *Directory, opts *ObserverOptions) *Observer {
	if opts == nil {
		opts = new(ObserverOptions)
	}
	return &Observer{
		carrier: c,
		d:       d,
		report:  newReporter(opts.Log, d.limits, d.counters),
		start:   time.Now(),
		lineup:  newLineup(),
		refused: make(chan refusal, 1),
	}
}

// Run observes until ctx ends or the carrier fails, and returns why. It is to be
// called once.
func (o *Observer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.d.observe(1)
	defer o.d.observe(-1)

	var helpers, teller sync.WaitGroup
	helpers.Go(o.check)                // ends when the lineup ends
	helpers.Go(func() { o.beat(ctx) }) // ends with ctx
	teller.Go(o.tell)                  // ends when refused is closed
	err := o.receive(ctx)
	cancel()
	o.lineup.end()
	helpers.Wait()
	close(o.refused)
	teller.Wait()
	return err
}

// receive takes datagrams from the carrier.
func (o *Observer) receive(ctx context.Context) error {
	for {
		o.waiting.Store(max(int64(time.Since(o.start)), 1))
		dg, err := o.carrier.Receive(ctx)
		o.waiting.Store(0)
		if err != nil {
			return err
		}
		c, err := o.d.look(dg)
		switch {
		case err != nil:
			o.refuse(refusal{dg.From, dg.Iface, o.d.count(err)})
		case c != nil && !o.lineup.add(c):
			o.refuse(refusal{dg.From, dg.Iface, o.d.overrun(c)})
		}
	}
}

// check checks what is new.
func (o *Observer) check() {
	for c := o.lineup.next(); c != nil; c = o.lineup.next() {
		if err := o.d.count(o.d.check(c)); err != nil {
			o.refuse(refusal{c.from, c.origin.iface, err})
		}
	}
}

// refuse leaves a refusal to be told, unless one waits: a log that takes no line
// must not keep us from hearing.
func (o *Observer) refuse(r refusal) {
	if e, ok := errors.AsType[*Error](r.err); ok && e.Quiet || o.report.log == nil {
		return
	}
	select {
	case o.refused <- r:
	default:
		o.d.counters.add(countLogSuppressed, 1)
	}
}

// tell writes refusals into the log.
func (o *Observer) tell() {
	for r := range o.refused {
		kind := countMalformed
		if e, ok := errors.AsType[*Error](r.err); ok {
			kind = e.Counter
		}
		o.report.say(slog.LevelWarn, kind, "announcement refused", "from", r.from.String(), "on", r.iface.String(), "error", r.err)
	}
}

// beat tells what the carrier lost, gives signs of life, and after a time without says when all that waited
// in the socket meanwhile was read.
func (o *Observer) beat(ctx context.Context) {
	var fragments fragmentWatch
	_, kernel := o.carrier.(*Multicast) // others have no fragments, and no kernel to ask about them
	lossy, _ := o.carrier.(lossy)
	var lost uint64
	if lossy != nil {
		lost = lossy.Lost()
	}
	for {
		wait := beatTime
		if o.d.drainingNow() {
			wait = drainLook / 2
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if lossy != nil {
			now := lossy.Lost()
			if now > lost {
				o.d.missed(now - lost)
			}
			lost = now
		}
		o.d.beat(o.drained())
		if kernel && wait == beatTime {
			fragments.look(o.d, o.report)
		}
	}
}

// drained tells whether the carrier has had nothing to deliver for a moment.
func (o *Observer) drained() bool {
	since := o.waiting.Load()
	return since != 0 && time.Since(o.start)-time.Duration(since) > 10*time.Millisecond && o.lineup.empty()
}
