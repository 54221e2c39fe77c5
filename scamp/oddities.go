package scamp

import (
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// absurd drains what no peer in its right mind sends, and ends the connection when that
// goes on (PROTOCOL 3.5, THREATS P16).
func (p *peer) absurd(m *mux.Inbound, why string) {
	m.Discard()
	p.mu.Lock()
	flood := p.odd.add(p.conn.Now(), p.limits.Mux.MaxOddities)
	p.mu.Unlock()
	p.log.odd("reply_unknown", why, "peer", p.addr.String(), "request_id", m.Header.ID.String())
	if flood {
		p.conn.Close()
	}
}

// ignore drains what makes no sense here and keeps the connection.
func (p *peer) ignore(m *mux.Inbound, why string) {
	m.Discard()
	p.log.odd("message_ignored", why, "peer", p.addr.String(), "type", m.Header.Type.String()+m.Header.TypeText)
}

// An oddMeter sees when too much that makes no sense comes within ten seconds.
type oddMeter struct{ times []time.Duration } // of the last ones

func (o *oddMeter) add(now time.Duration, most int) (flood bool) {
	if len(o.times) >= most {
		o.times = append(o.times[:0], o.times[1:]...)
	}
	o.times = append(o.times, now)
	return len(o.times) == most && now-o.times[0] <= 10*time.Second
}
