package scamp_test

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
)

// check compares the service with the model when nothing moves any more.
func (m *servingModel) check() error {
	if err := m.arrived(); err != nil {
		return err
	}
	m.mu.Lock()
	started := len(m.started)
	m.mu.Unlock()
	ran := 0
	for _, r := range m.all {
		if r.handler != nil {
			ran++
			if over := r.handler.ctx.Err() != nil; !m.dead && over != (r.want != "") {
				return fmt.Errorf("request %d: its context has ended: %v, want %v", r.id, over, r.want != "")
			}
		}
		got := m.replies[strconv.Itoa(r.id)]
		if r.want == "" && len(got) > 0 || r.want != "" && !m.dead && (len(got) != 1 || got[0] != r.want) {
			return fmt.Errorf("request %d: replies %.100q, want %.100q", r.id, got, r.want)
		}
	}
	if started != ran {
		return fmt.Errorf("%d handlers were ever started, want %d", started, ran)
	}
	running, waiting, inHand := scamp.WorkOf(m.s.Service)
	if m.dead {
		return nil
	}
	if want := m.waits(); running != m.running || waiting != want || inHand != running+want {
		return fmt.Errorf("%d run, %d wait, %d are in hand; want %d, %d and their sum", running, waiting, inHand, m.running, want)
	}
	if m.draining && m.running+m.waits() == 0 {
		m.w.mu.Lock()
		m.dead = m.w.err != nil
		m.w.mu.Unlock()
		if !m.dead {
			return errors.New("the service has nothing left to do, and the connection lives")
		}
	}
	return nil
}

// arrived follows what the peer has received.
func (m *servingModel) arrived() error {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, p := range m.w.got {
		h := m.heard[p.MsgNo]
		switch p.Kind {
		case packet.KindHeader:
			h = new(heard)
			if err := packet.NewHeaderReader(packet.Limits{}).Parse(p.Body, &h.header); err != nil {
				return err
			}
			m.heard[p.MsgNo] = h
		case packet.KindData:
			h.body += string(p.Body)
		case packet.KindEOF, packet.KindTXERR:
			id := h.header.ID.String()
			m.replies[id] = append(m.replies[id], replyVerdict(h, p.Kind))
			delete(m.heard, p.MsgNo)
		}
	}
	m.w.got = nil
	return nil
}

// replyVerdict says what a reply is.
func replyVerdict(h *heard, end packet.Kind) string {
	switch {
	case end == packet.KindTXERR:
		return "cut"
	case h.header.DispatchFailure():
		return "refused"
	case h.header.ErrorCode != "":
		return "error " + h.header.ErrorCode
	}
	return "reply " + h.body
}
