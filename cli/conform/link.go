package conform

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// A link is one connection to the judged side. It is for one goroutine; another one, its
// own, reads.
type link struct {
	*session
	timeout time.Duration   // for each thing waited for
	done    <-chan struct{} // closed when nobody wants to wait any more
	tls     *tls.Conn
	box     *mailbox
	reading sync.WaitGroup
	sent    *log
	got     *log

	holdAcks bool  // DATA of the other side is not acknowledged
	err      error // why the connection is over; nil while nobody noticed
	writeErr error
}

func newLink(ctx context.Context, c *tls.Conn, r *run, sent, got *log) *link {
	l := &link{session: newSession(r.watch), timeout: r.Timeout, done: ctx.Done(), tls: c, box: newMailbox(), sent: sent, got: got}
	l.reading.Go(func() { l.box.fill(c) }) // ends when the connection does
	return l
}

// close ends the connection and waits for its reader.
func (l *link) close() {
	l.tls.NetConn().Close()
	l.reading.Wait()
}

// send sends octets. Another side that has closed or takes nothing shows in what comes
// back, so nothing is returned.
func (l *link) send(octets string) {
	l.sending(octets)
	l.sent.add(func() string { return visible(octets) })
	l.write(octets)
}

func (l *link) write(octets string) {
	if l.writeErr != nil || l.err != nil {
		return
	}
	// A write that times out spoils the TLS session; it is not used after that.
	l.tls.SetWriteDeadline(time.Now().Add(l.timeout))
	_, l.writeErr = l.tls.Write([]byte(octets))
}

// await handles what arrives until cond holds, the connection ends, or the timeout is
// over. It returns cond().
func (l *link) await(cond func() bool) bool {
	return l.awaitFor(l.timeout, cond)
}

func (l *link) awaitFor(most time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(most)
	for !cond() && l.err == nil {
		p, err := l.box.take(deadline, l.done)
		switch {
		case errors.Is(err, errWaited):
			return cond()
		case err != nil:
			l.over(err)
		default:
			l.handle(p)
		}
	}
	return cond()
}

func (l *link) handle(p packet.Packet) {
	l.watch.packets++
	l.got.add(func() string { return shown(p) })
	m := l.take(p)
	if l.guest && p.Kind == packet.KindPING {
		l.send(wire(packet.KindPONG, p.MsgNo, ""))
	}
	if m == nil {
		return
	}
	l.watch.largest = max(l.watch.largest, len(p.Body))
	if !l.holdAcks {
		l.send(string(packet.AppendAck(nil, m.No, uint64(len(m.Body)))))
	}
}

// over notes that nothing more will come.
func (l *link) over(err error) {
	l.err = err
	var bad *packet.Error
	if errors.As(err, &bad) {
		l.watch.noteError(ruleGrammar, bad)
	}
}

// closed tells whether the other side closed the connection. One that wrote octets that
// are no packets did not: we cannot read on.
func (l *link) closed() bool {
	var bad *packet.Error
	return l.err != nil && !errors.As(l.err, &bad) && !errors.Is(l.err, errTooMuch)
}

// state describes the connection in a sentence.
func (l *link) state() string {
	switch {
	case l.closed():
		return "the connection closed"
	case l.err != nil:
		return "octets that are no packets: " + cut(l.err.Error(), maxText)
	case l.writeErr != nil:
		return fmt.Sprintf("the other side took no octets for %v", l.timeout)
	}
	return "the connection stayed open"
}
