package scamp_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
)

// check compares the calls with the model when nothing moves any more.
func (m *callModel) check() error {
	if err := m.arrived(); err != nil {
		return err
	}
	waiting, open := 0, 0
	for i, x := range m.calls {
		select {
		case o := <-x.done:
			if x.got != "" {
				return fmt.Errorf("call %d ends twice", i)
			}
			x.got = verdict(o)
		default:
		}
		if x.got != x.want {
			return fmt.Errorf("call %d ended with %.40q, want %.40q", i, x.got, x.want)
		}
		if x.want == "" {
			open++
			if x.reply < 0 {
				waiting++
			}
		} else if x.end == "" && !m.dead {
			return fmt.Errorf("call %d is over, and its request is not", i)
		}
	}
	if m.dead {
		return nil
	}
	if w, o := scamp.WaitingCalls(m.c); w != waiting || o != open {
		return fmt.Errorf("%d calls wait and %d are open, want %d and %d", w, o, waiting, open)
	}
	for id, n := range m.cancels {
		if n != 0 {
			return fmt.Errorf("%+d cancel messages for request %s than there must be", n, id)
		}
	}
	if stats := m.c.Stats(); stats["reply_late"] != uint64(m.late) || stats["reply_unknown"] != uint64(m.odd) {
		return fmt.Errorf("reply_late %d and reply_unknown %d, want %d and %d", stats["reply_late"], stats["reply_unknown"], m.late, m.odd)
	}
	return nil
}

// arrived follows what the peer has received.
func (m *callModel) arrived() error {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, p := range m.w.got {
		switch p.Kind {
		case packet.KindHeader:
			var h packet.Header
			if err := packet.NewHeaderReader(packet.Limits{}).Parse(p.Body, &h); err != nil {
				return err
			}
			if h.Type == packet.TypeCancel {
				m.cancels[h.ID.String()]++
				continue
			}
			id, _ := h.ID.Number()
			if id == 0 || int(id) > len(m.calls) || m.calls[id-1].no != 0 {
				return fmt.Errorf("request %d on the wire makes no sense", id)
			}
			m.calls[id-1].no = int(p.MsgNo) + 1
		case packet.KindEOF, packet.KindTXERR:
			for i, x := range m.calls {
				if x.no != int(p.MsgNo)+1 {
					continue
				}
				if x.end != "" {
					return fmt.Errorf("request %d has two ends on the wire", i+1)
				}
				x.end = p.Kind.String()
			}
		}
	}
	m.w.got = nil
	return nil
}

// verdict says how a call ended.
func verdict(o outcome) string {
	var re *scamp.RemoteError
	switch {
	case o.err == nil:
		return "reply " + o.body
	case errors.As(o.err, &re):
		return "error " + re.Error()
	case errors.Is(o.err, context.Canceled):
		return "cancelled"
	case errors.Is(o.err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(o.err, scamp.ErrLost):
		return "lost"
	}
	return "broke off"
}
