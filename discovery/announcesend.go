package discovery

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// move makes sure that there is a packet for each interface. What says the same as
// one that was signed stays that one, octet for octet.
func (a *Announcer) move(ifaces []Iface) {
	a.signing.Lock()
	defer a.signing.Unlock()
	a.mu.Lock()
	content, withdrawn, signed := a.content, a.withdrawn, a.signed
	same := slices.EqualFunc(a.packets, ifaces, func(p packet, i Iface) bool { return p.iface == i })
	a.mu.Unlock()
	if content == nil || same {
		return
	}
	packets := make([]packet, 0, len(ifaces))
	for _, iface := range ifaces {
		p := packet{iface: iface, address: content.address(iface)}
		i := slices.IndexFunc(signed, p.sameAddress)
		if i < 0 {
			if err := a.publish(content, withdrawn); err != nil {
				a.report.say(slog.LevelWarn, countSendFailed, "announcement not signed for an interface that came", "interface", iface.String(), "error", err)
			}
			return
		}
		p.data = signed[i].data
		packets = append(packets, p)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.packets, a.moved = packets, true
}

// Run sends the packets until ctx ends, and returns why ctx ended. A sending
// that fails is counted, logged and tried again with the next.
func (a *Announcer) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		ifaces, changed := a.where()
		a.move(ifaces)
		if !a.fresh() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed:
				continue
			case <-a.wake:
				continue // unless the timer came first, there is something fresh
			case <-timer.C:
			}
		}
		if wait := a.send(ctx); wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop() // nothing was set yet
		}
	}
}

// fresh tells whether packets were not sent yet.
func (a *Announcer) fresh() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.packets != nil && (a.round == 0 || a.moved)
}

// send sends the packets once and returns when to do so again.
func (a *Announcer) send(ctx context.Context) time.Duration {
	a.mu.Lock()
	packets, stamp := a.packets, a.stamp
	a.round++
	a.moved = false
	wait := a.pauseLocked()
	a.mu.Unlock()

	var errs []error
	for _, p := range packets {
		if err := a.carrier.Send(ctx, p.iface, p.data); err != nil {
			errs = append(errs, err)
			continue
		}
		a.mu.Lock()
		a.sent++
		a.mu.Unlock()
	}
	err := errors.Join(errs...)
	if ctx.Err() == nil && len(packets) > 0 {
		a.tell(err, len(errs))
	}
	switch {
	case len(packets) > 0:
		a.ended(stamp, err)
	case packets != nil:
		a.ended(stamp, errNowhere) // an interface may come
	}
	return wait
}

var errNowhere = errors.New("discovery: announce: there is no interface to send on")

// tell reports that sending fails, and that it works again, each once.
func (a *Announcer) tell(err error, failed int) {
	a.counters.add(countSendFailed, failed)
	switch {
	case err != nil && !a.failing:
		a.report.say(slog.LevelWarn, countSendFailed, "announcement not sent: tried again at each interval", "error", err)
	case err == nil && a.failing:
		a.report.say(slog.LevelInfo, countSendFailed+" over", "announcements are sent again")
	}
	a.failing = err != nil
}

// ended tells those who wait for it that packets were sent, unless there are
// newer ones by now.
func (a *Announcer) ended(stamp int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stamp != stamp {
		return
	}
	a.sentOnce, a.result = true, err
	for _, w := range a.waiters {
		w <- err // it has room
	}
	a.waiters = nil
}

// pauseLocked returns the time to the next sending, 0 for never.
func (a *Announcer) pauseLocked() time.Duration {
	switch {
	case a.packets == nil:
		return 0
	case a.withdrawn && a.round < quickWithdrawals:
		return quickTime
	case a.withdrawn:
		return slowTime
	}
	early := a.opts.Jitter
	if a.round == 1 && early > 0 {
		early = firstJitter
	}
	pause := a.opts.Interval / time.Duration(a.opts.Sendings)
	return pause - time.Duration(a.opts.Rand(int(early*float64(pause/time.Microsecond))+1))*time.Microsecond
}
