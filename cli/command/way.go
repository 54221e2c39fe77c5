package command

import (
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A wayTaken is how a call found its way. With -v it is told as it happens.
type wayTaken struct {
	a       *app
	verbose bool
	began   time.Time

	mu          sync.Mutex // protects what follows: a Trace is called by several goroutines
	action      string     // as announced
	instance    string
	address     string
	fingerprint string
	replied     time.Time // when the reply's header was there
}

// tell writes a line for -v.
func (w *wayTaken) tell(what, format string, args ...any) {
	if w.verbose {
		w.a.say("* %-10s %s", what, clean(fmt.Sprintf(format, args...)))
	}
}

// patience tells after a second what a call waits for that has found nobody yet.
func (w *wayTaken) patience() *time.Timer {
	return time.AfterFunc(time.Second, func() {
		w.mu.Lock()
		found := w.action != ""
		w.mu.Unlock()
		if !found && !w.a.json {
			w.a.say("* waiting    for a service that offers the action to announce itself")
		}
	})
}

// trace hears from the bus.
func (w *wayTaken) trace() *scamp.Trace {
	return &scamp.Trace{
		Routed: func(r discovery.Route) {
			w.mu.Lock()
			w.action = fmt.Sprintf("%s:%s~%d", r.Sector, r.Action, r.Version)
			w.instance, w.address, w.fingerprint = r.Ident, r.Address, r.Certificate.Fingerprint
			w.mu.Unlock()
			w.tell("route", "%s:%s~%d at %s", r.Sector, r.Action, r.Version, r.Address)
			w.tell("instance", "%s", r.Ident)
			w.tell("announced", "%s", r.Certificate.Fingerprint)
		},
		Connected: w.connected,
		Sent:      func() { w.tell("sent", "the request, %s after the start", since(w.began)) },
		Replied: func(after time.Duration) {
			w.mu.Lock()
			w.replied = time.Now()
			w.mu.Unlock()
			w.tell("reply", "began %s after the request", short(after))
		},
		Retried: func(attempt int, cause error) {
			w.tell("retry", "attempt %d, since nothing ran: %v", attempt, cause)
		},
	}
}

func (w *wayTaken) connected(info scamp.ConnectInfo) {
	shown := ""
	if certs := info.TLS.PeerCertificates; len(certs) > 0 {
		shown = discovery.Fingerprint(certs[0].Raw)
	}
	w.mu.Lock()
	w.address, w.fingerprint = info.Address, shown
	w.mu.Unlock()
	if info.Reused {
		w.tell("connection", "%s, open already", info.Address)
	} else {
		w.tell("connection", "%s, made in %s (TCP, TLS, certificate)", info.Address, short(info.Took))
	}
	w.tell("tls", "%s, %s", tls.VersionName(info.TLS.Version), tls.CipherSuiteName(info.TLS.CipherSuite))
	w.tell("shown", "%s", shown)
}

// ended tells of the body.
func (w *wayTaken) ended(size int64) {
	w.mu.Lock()
	replied := w.replied
	w.mu.Unlock()
	w.tell("body", "%d octets in %s, %s in all", size, since(replied), since(w.began))
}

// answered reports whether a reply began.
func (w *wayTaken) answered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.replied.IsZero()
}

// short is a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d > 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d > 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func since(t time.Time) string { return short(time.Since(t)) }
