package scamp

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A shake is a connection in its handshake, and then the one beneath TLS.
type shake struct {
	*mux.Link
	began time.Time
	from  netip.Addr
	done  atomic.Bool
	heard atomic.Int64 // when an octet last came, since began
}

func (h *shake) Read(p []byte) (int, error) {
	n, err := h.Link.Read(p)
	if n > 0 && !h.done.Load() {
		h.heard.Store(int64(time.Since(h.began)))
	}
	return n, err
}

// A firstLine is a TLS connection that knows whether a header line has come.
type firstLine struct {
	*tls.Conn
	seen atomic.Bool
}

func (c *firstLine) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.seen.Load() && bytes.IndexByte(p[:n], '\n') >= 0 {
		c.seen.Store(true)
	}
	return n, err
}

// handshake is the service's side of TLS.
func (d *inboundSide) handshake(h *shake) (*firstLine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.s.bus.limits.HandshakeTimeout)
	defer cancel()
	c := &firstLine{Conn: tls.Server(h, d.tls)}
	err := c.HandshakeContext(ctx)
	h.done.Store(true)
	d.mu.Lock()
	_, waited := d.shaking[h]
	delete(d.shaking, h)
	d.mu.Unlock()
	select {
	case d.freed <- struct{}{}:
	default:
	}
	switch {
	case err == nil && !waited:
		return nil, net.ErrClosed // evicted just now
	case err != nil && ctx.Err() != nil:
		d.s.bus.log.odd("handshake_timeout", "a caller did not finish its TLS handshake", "peer", h.RemoteAddr().String())
	case err != nil && waited:
		d.s.bus.log.odd("handshake_failed", "a caller's TLS handshake failed", "peer", h.RemoteAddr().String(), "error", err)
	}
	return c, err
}

// room waits until another handshake may begin. It is false when the service accepts
// nothing any more.
func (d *inboundSide) room() bool {
	for {
		wait := d.evict()
		if wait <= 0 {
			return true
		}
		t := time.NewTimer(wait)
		select {
		case <-d.freed:
		case <-t.C:
		case <-d.stopped:
			t.Stop()
			return false
		}
		t.Stop()
	}
}

// evict makes room for a handshake, if need be in place of the oldest one that has sent
// no octet for HandshakeSilence. It returns how long it takes until one may have to
// give way, and 0 if there is room.
func (d *inboundSide) evict() time.Duration {
	limits := &d.s.bus.limits
	d.mu.Lock()
	if len(d.shaking) < limits.MaxHandshakes {
		d.mu.Unlock()
		return 0
	}
	var oldest *shake
	soonest := limits.HandshakeSilence
	for h := range d.shaking {
		silent := time.Since(h.began) - time.Duration(h.heard.Load())
		switch {
		case silent < limits.HandshakeSilence:
			soonest = min(soonest, limits.HandshakeSilence-silent)
		case oldest == nil || h.began.Before(oldest.began):
			oldest = h
		}
	}
	if oldest != nil {
		delete(d.shaking, oldest)
	}
	d.mu.Unlock()
	if oldest == nil {
		return soonest
	}
	d.s.bus.log.odd("handshake_evicted", "a caller said nothing while others wait to be accepted", "peer", oldest.RemoteAddr().String())
	oldest.Close()
	return 0
}
