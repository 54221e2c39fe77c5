package scamp

import (
	"sync/atomic"
	"time"
)

// A debt is how many calls a peer owes an answer to that their callers gave up, since it
// answered anything last. A service that hangs, or cannot hear us, is not idle because
// the calls it was sent have timed out: without the debt it would look so, and be chosen
// again and again until its connection is found dead. It is no mark against the instance
// (PROTOCOL 11.5): the first answer settles all of it.
//
// Every service of ours answers also what was cancelled. Others may not, so a debt that
// grows no more is forgotten after debtLasts.
//
// A connection has one, and the queue at a target has what is owed while no connection to it
// runs: that of the one that has ended, and calls that left while they waited for a dial.
// The next handshake settles it.
type debt struct {
	calls atomic.Int32
	since atomic.Int64 // when the first of them was added, nanoseconds on the clock of who has it
	grown atomic.Int64 // when the last was
}

const (
	// debtGrace is how long an answer may be on its way, past others that wait for a
	// processor or the line.
	debtGrace = 200 * time.Millisecond
	// debtLasts is longer than a connection lives whose peer has gone silent. It is none of
	// Limits: nothing is refused, an instance is only chosen as the others again.
	debtLasts = time.Minute
)

// grow adds a call.
func (d *debt) grow(now time.Duration) {
	if d.calls.Add(1) == 1 {
		d.since.Store(int64(now))
	}
	d.grown.Store(int64(now))
}

// inherit adds a debt of which nothing was answered since then.
func (d *debt) inherit(of *debt, since, now time.Duration) {
	n := of.calls.Load()
	if n == 0 {
		return
	}
	if d.calls.Add(n) == n || since < time.Duration(d.since.Load()) {
		d.since.Store(int64(since))
	}
	d.grown.Store(int64(now))
}

// renew keeps a debt from being forgotten: it was tried, and could not be settled.
func (d *debt) renew(now time.Duration) {
	if d.calls.Load() != 0 {
		d.grown.Store(int64(now))
	}
}

// clear is called when an answer comes.
func (d *debt) clear() {
	if d.calls.Load() != 0 {
		d.calls.Store(0)
	}
}

// size is how many calls count at the time that now returns, and for how long something
// was owed. Nearly always there are none, and nobody asks.
func (d *debt) size(now func() time.Duration) (n int, lasts time.Duration) {
	n = int(d.calls.Load())
	if n == 0 {
		return 0, 0
	}
	at := now()
	lasts = at - time.Duration(d.since.Load())
	if lasts < debtGrace || at-time.Duration(d.grown.Load()) > debtLasts {
		return 0, 0
	}
	return n, lasts
}
