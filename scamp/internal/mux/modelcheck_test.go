package mux_test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// modelIn is a message of the peer.
type modelIn struct {
	m        *mux.Inbound
	received int
	granted  int // octets its reader may take
	acked    int
	empty    int    // empty DATA
	thrown   bool   // discarded, or its window was ignored
	end      string // EOF or TXERR; empty while open
	quiet    bool   // it was short and complete: nothing is acknowledged any more
	last     int    // acked when it became so, -1 before
	grants   chan int
	read     int  // octets that were read
	wrong    bool // they are not those that were sent
	err      error
	done     bool
}

// follow reads octets, which go on where the last ended.
func (x *modelIn) follow(p []byte) {
	x.wrong = x.wrong || !bytes.Equal(p, octetsFrom(x.read, len(p)))
	x.read += len(p)
}

// octetsFrom is the part of octets that begins at an offset.
func octetsFrom(at, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((at+i)>>13 + (at+i)>>6 + at + i)
	}
	return b
}

// short says whether it ended before it was half a window long: then nothing of it has
// to be acknowledged, and from its end on nothing is.
func (x *modelIn) short() bool { return x.end != "" && x.received <= mux.MinWindow/2 }

// unread is how many octets of it nobody has taken.
func (x *modelIn) unread() int {
	if x.thrown {
		return 0
	}
	return x.received - min(x.granted, x.received)
}

// excess is how much of what is unread, and k octets more, only a window larger than
// the least allows.
func (x *modelIn) excess(k int) int { return max(x.unread()+k-mux.MinWindow-131072, 0) }

// modelOut is a message of ours.
type modelOut struct {
	o            *mux.Outbound
	queued       []byte // given to Send and Write
	sent, acked  int
	closed, over bool // nothing follows what is queued; EOF or TXERR has come
	aborted      bool
	cut          int // of an aborted one: octets that may have been sent
	writes       chan int
}

// checkEnds looks at the messages when the connection is over.
func (m *model) checkEnds() error {
	for i, x := range m.in {
		if x.m != nil && !x.done {
			return fmt.Errorf("message %d of the peer has no end although the connection is over", i)
		}
	}
	for i, x := range m.out {
		ended, err := x.o.Ended()
		if !ended || err == nil && x.aborted || x.over && err != nil && !x.aborted {
			return fmt.Errorf("message %d of ours: ended %v with %v, on the wire %v", i, ended, err, x.over)
		}
		// What the network had not taken yet is lost although it was handed over.
		if !x.over && err == nil && !m.behind {
			return fmt.Errorf("message %d of ours ended well, and not on the wire", i)
		}
	}
	return nil
}

// check compares the Conn with the model when nothing moves any more.
func (m *model) check() error {
	if ended := m.e.Err() != nil; ended != m.dead {
		return fmt.Errorf("connection ended: %v (%v), want %v", ended, m.e.Err(), m.dead)
	}
	if m.dead {
		return nil
	}
	if n := mux.Queued(m.e.Conn); n > 1<<20+128<<10 {
		return fmt.Errorf("%d octets wait to be written, want about 1 MiB at most", n)
	}
	if !m.stopped && mux.Due(m.e.Conn) {
		return errors.New("something that could be sent waits although the peer reads")
	}
	return m.compare()
}

// compare looks at the messages.
func (m *model) compare() error {
	if err := m.written(); err != nil {
		return err
	}
	unread := 0
	for i, x := range m.in {
		if err := x.check(max(40_000, m.win/4), m.behind); err != nil {
			return fmt.Errorf("message %d of the peer: %w", i, err)
		}
		unread += x.unread()
	}
	if got := m.e.Unread(); got != int64(unread) {
		return fmt.Errorf("%d octets unread, want %d", got, unread)
	}
	if m.stopped {
		return nil // what was sent is not to be seen
	}
	m.behind = false
	return m.checkOut()
}

// checkOut says whether all was sent that could be, and no more.
func (m *model) checkOut() error {
	credit := 0
	for _, x := range m.out {
		credit += max(x.sent-x.acked-mux.MinWindow, 0)
	}
	if credit > m.win {
		return fmt.Errorf("%d octets in flight beyond the least window of each, want at most %d", credit, m.win)
	}
	for i, x := range m.out {
		least, most := min(len(x.queued), x.acked+mux.MinWindow), min(len(x.queued), x.acked+m.win)
		if m.win > mux.MinWindow && credit < m.win {
			least = most // there is credit for more
		}
		if x.aborted {
			least, most = 0, min(most, x.cut)
		}
		over := x.closed && x.sent == len(x.queued) || x.aborted
		if x.sent < least || x.sent > most || x.over != over {
			return fmt.Errorf("message %d of ours: %d octets sent, ended %v; want %d to %d of %d with %d acknowledged, %v", i, x.sent, x.over, least, most, len(x.queued), x.acked, over)
		}
	}
	return nil
}

// written follows the packets of the Conn.
func (m *model) written() error {
	for _, p := range m.w.packets() {
		switch p.Kind {
		case packet.KindData:
			x := m.out[p.MsgNo]
			if !bytes.HasPrefix(x.queued[x.sent:], p.Body) {
				return fmt.Errorf("DATA %d with %d octets after %d: not those that were written", p.MsgNo, len(p.Body), x.sent)
			}
			x.sent += len(p.Body)
		case packet.KindEOF, packet.KindTXERR:
			if x := m.out[p.MsgNo]; x.over || x.aborted && p.Kind != packet.KindTXERR || !x.aborted && p.Kind != packet.KindEOF {
				return fmt.Errorf("%s %d makes no sense", p.Kind, p.MsgNo)
			}
			m.out[p.MsgNo].over = true
		case packet.KindACK:
			fmt.Sscan(string(p.Body), &m.in[p.MsgNo].acked) // that it rises is the auditor's
		case packet.KindPONG:
			m.pongs++
		}
	}
	if m.stopped {
		return nil
	}
	least := m.pong
	if m.behind {
		least = min(1, m.pong) // one answers all that came meanwhile
	}
	if m.pongs < least || m.pongs > m.pong {
		return fmt.Errorf("%d PONGs, want %d to %d", m.pongs, least, m.pong)
	}
	m.pong, m.pongs = 0, 0
	return nil
}

// check compares a message of the peer with what was made of it. An ACK of less than late
// octets may come later.
func (x *modelIn) check(late int, behind bool) error {
	if x.m == nil {
		return errors.New("was not offered")
	}
	taken := min(x.granted, x.received)
	if !x.thrown && x.read != taken {
		return fmt.Errorf("%d octets read, want %d of %d", x.read, taken, x.received)
	}
	if x.wrong {
		return errors.New("octets read are not those sent")
	}
	if x.thrown {
		taken = x.received
	}
	if err := x.checkACK(taken, late, behind); err != nil {
		return err
	}
	if x.thrown || x.granted <= x.received {
		return nil
	}
	// Its reader has come to the end, if there is one.
	var tx *mux.TXERR
	switch {
	case x.end == "" && x.err != nil,
		x.end == "EOF" && (x.err == nil || x.err.Error() != "EOF"),
		x.end == "TXERR" && !errors.As(x.err, &tx):
		return fmt.Errorf("reading ended with %v, want the end %q", x.err, x.end)
	}
	return nil
}

// checkACK judges the last ACK of a message of which so much was taken. A peer that is
// behind has not read it yet.
func (x *modelIn) checkACK(taken, late int, behind bool) error {
	waits := x.end == "" && x.granted > x.received && x.received > 0
	switch {
	case x.acked > taken:
		return fmt.Errorf("ACK of %d octets, %d were taken", x.acked, taken)
	case behind:
		return nil
	case x.end == "" && (x.thrown || waits) && x.acked != taken:
		return fmt.Errorf("ACK of %d octets, want all %d: its sender may be waiting", x.acked, taken)
	case !x.short() && taken-x.acked >= late:
		return fmt.Errorf("ACK of %d octets, %d were taken", x.acked, taken)
	case x.quiet && x.last >= 0 && x.acked != x.last:
		return fmt.Errorf("ACK of %d octets after the end of a short message", x.acked)
	case x.quiet:
		x.last = x.acked
	}
	return nil
}
