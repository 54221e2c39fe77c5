package discovery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
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
// signature check waits in a short queue beside, so that a flood of it does not
// keep known services from being heard (THREATS D20).
//
// While it runs, the directory knows whether it could have heard anything: when
// the process stood still, or nobody at all is heard any more, nobody expires for
// that time (PROTOCOL 7.8). An Observer never sends.
type Observer struct {
	carrier Carrier
	d       *Directory
	report  *reporter

	start   time.Time
	waiting atomic.Int64  // nanoseconds after start since when Receive waits; 0 when it does not
	queue   chan Datagram // new announcements; sent to by receive only
}

// observerQueue is how many new announcements may wait for their signature
// check: those of a large bus that starts, at 16 KB each 4 MiB.
const observerQueue = 256

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
		queue:   make(chan Datagram, observerQueue),
	}
}

// Run observes until ctx ends or the carrier fails, and returns why. It is to be
// called once.
func (o *Observer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.d.observe(1)
	defer o.d.observe(-1)

	var helpers sync.WaitGroup
	helpers.Go(o.check)                // ends when the queue is closed
	helpers.Go(func() { o.beat(ctx) }) // ends with ctx
	err := o.receive(ctx)
	cancel()
	close(o.queue)
	helpers.Wait()
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
		if o.d.repeat(dg) {
			continue
		}
		dg.Data = bytes.Clone(dg.Data) // the carrier wants its buffer back
		select {
		case o.queue <- dg:
		default:
			o.d.counters.add(countOverrun, 1)
		}
	}
}

// check looks at what is new.
func (o *Observer) check() {
	for dg := range o.queue {
		err := o.d.Receive(dg)
		var refusal *Error
		if err == nil || errors.As(err, &refusal) && refusal.Quiet {
			continue
		}
		kind := countMalformed
		if refusal != nil {
			kind = refusal.Counter
		}
		o.report.say(slog.LevelWarn, kind, "announcement refused", "from", dg.From.String(), "on", dg.Iface.String(), "error", err)
	}
}

// beat gives signs of life, and after a time without says when all that waited
// in the socket meanwhile was read.
func (o *Observer) beat(ctx context.Context) {
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
		o.d.beat(o.drained())
	}
}

// drained tells whether the carrier has had nothing to deliver for a moment.
func (o *Observer) drained() bool {
	since := o.waiting.Load()
	return since != 0 && time.Since(o.start)-time.Duration(since) > 10*time.Millisecond && len(o.queue) == 0
}
