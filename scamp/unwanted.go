package scamp

import (
	"errors"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// maxUnwanted is how many requests of a connection are remembered to be cancelled later:
// they have ended, so no other limit bounds them, and all cancels go out at once. It is none
// of Limits. What is beyond runs to its end at the service, for nobody, and counts
// (cancel_dropped) if the service would have been told.
const maxUnwanted = 256

// cancel tells the service that nobody waits for the reply to a request any more, if it
// takes that (PROTOCOL 3.7). It says so with its first message: what is given up before
// that is cancelled then.
func (p *peer) cancel(id uint64) {
	p.mu.Lock()
	heard := p.heard
	later := !heard && len(p.unwanted) < maxUnwanted
	switch {
	case later:
		p.unwanted = append(p.unwanted, id)
	case !heard:
		p.untold++
	}
	p.mu.Unlock()
	if heard && p.conn.PeerCancels() {
		p.sendCancel(id)
	}
}

// hear cancels what was given up before the first message of the service, which m may be,
// unless that is the reply.
func (p *peer) hear(m *mux.Inbound) {
	p.mu.Lock()
	unwanted, untold := p.unwanted, p.untold
	p.heard, p.unwanted, p.untold = true, nil, 0
	p.mu.Unlock()
	if !p.conn.PeerCancels() {
		return
	}
	for range untold {
		p.log.count("cancel_dropped")
	}
	got, _ := m.Header.ID.Number()
	for _, id := range unwanted {
		if id != got || m.Header.Type == packet.TypeCancel {
			p.sendCancel(id)
		}
	}
}

// sendCancel sends a cancel. One that cannot be sent because too many messages are open is
// dropped: nobody waits for an answer to it, and the others need the connection.
func (p *peer) sendCancel(id uint64) {
	_, err := p.conn.Send(&packet.Header{Type: packet.TypeCancel, ID: packet.NumberID(id)}, mux.Body{Soon: true}, nil)
	if err != nil && !errors.Is(err, mux.ErrClosed) && p.conn.Err() == nil {
		p.log.count("cancel_dropped")
	}
}
