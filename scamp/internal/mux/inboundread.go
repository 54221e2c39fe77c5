package mux

import (
	"errors"
	"io"
)

// Read reads octets of the body. It waits until there are some; at the end it
// returns io.EOF, or why the message ended before its end.
func (m *Inbound) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.waitLocked(); err != nil {
		return 0, err
	}
	for n < len(p) && m.head != nil {
		k := m.head
		got := copy(p[n:], k.buf[k.r:k.w])
		k.r += got
		n += got
		if k.r == k.w {
			putChunk(m.popLocked())
		}
	}
	m.tookLocked(n)
	return n, nil
}

// WriteTo writes the body to w, chunk by chunk as it arrives, without a copy. What
// w did not take can still be read, also when w panics or ends its goroutine.
func (m *Inbound) WriteTo(w io.Writer) (total int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch err := m.waitLocked(); {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
		n, err := m.writeLocked(w)
		total += int64(n)
		if m.discard {
			continue
		}
		m.tookLocked(n)
		if err != nil {
			return total, err
		}
	}
}

// errInvalidWrite says that a writer returned a count that cannot be.
var errInvalidWrite = errors.New("mux: a writer returned an invalid count")

// writeLocked writes the first chunk to w and takes away what w took of it. It opens the
// lock meanwhile, for whatever w does: the lock is held again also when that panics.
func (m *Inbound) writeLocked(w io.Writer) (n int, err error) {
	k := m.popLocked() // so that nobody appends to it
	defer func() {
		switch {
		case m.discard:
			putChunk(k) // what it held was counted when it was discarded
		case k.r < k.w:
			m.pushFrontLocked(k)
		default:
			putChunk(k)
		}
	}()
	m.mu.Unlock()
	defer m.mu.Lock()
	want := k.w - k.r
	n, err = w.Write(k.buf[k.r:k.w])
	switch {
	case n < 0 || n > want:
		n, err = 0, errInvalidWrite
	case n < want && err == nil:
		err = io.ErrShortWrite
	}
	k.r += n
	return n, err
}

// Bytes reads the rest of the body into one slice that belongs to the caller. A
// body of more than limit octets is discarded, and the error is ErrTooBig.
func (m *Inbound) Bytes(limit int) (body []byte, err error) {
	return m.Collect(limit, func(int) bool { return true })
}

// Collect is Bytes that asks take before it holds n more octets; take must not block.
// When it says no the body is discarded, and the error is ErrHeld.
func (m *Inbound) Collect(limit int, take func(n int) bool) (body []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch err := m.waitLocked(); {
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		}
		n := m.unread
		if len(body)+n > limit {
			m.dropLocked(ErrTooBig)
			return nil, ErrTooBig
		}
		if !take(n) {
			m.dropLocked(ErrHeld)
			return nil, ErrHeld
		}
		if body == nil && m.ended {
			body = make([]byte, 0, n) // all of it is there
		}
		for m.head != nil {
			k := m.popLocked()
			body = append(body, k.buf[k.r:k.w]...)
			putChunk(k)
		}
		m.tookLocked(n)
	}
}

// A Held is a body whose octets are still where they arrived.
type Held struct{ k *chunk }

// Hold returns the whole body of a complete message without copying it, if it is in
// one piece and at most limit octets long. It counts as taken. The octets are valid
// until Release.
func (m *Inbound) Hold(limit int) (body []byte, h Held, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.head
	if !m.ended || m.err != nil || m.discard || m.unread > limit || k != m.tail {
		return nil, Held{}, false
	}
	if k == nil {
		return nil, Held{}, true
	}
	m.popLocked()
	body = k.buf[k.r:k.w:k.w]
	m.tookLocked(len(body))
	return body, Held{k}, true
}

// Release gives the octets back. The zero Held holds none.
func (h Held) Release() {
	if h.k != nil {
		putChunk(h.k)
	}
}

// Discard throws the rest of the body away, also what has yet to come, and
// acknowledges it, so that the sender can finish (PROTOCOL 3.5).
func (m *Inbound) Discard() { m.Fail(ErrDiscarded) }

// Fail is Discard, and whoever reads gets err. It does nothing to a message that
// was read to its end.
func (m *Inbound) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLocked(err)
}

// waitLocked returns nil when there is something to read, and the end otherwise.
// Before it waits everything taken so far is acknowledged: the sender may be
// waiting for just that (PROTOCOL 4.4).
func (m *Inbound) waitLocked() error {
	for m.head == nil && !m.ended {
		if m.unackedLocked() > 0 {
			m.acking = m.flow.consumed.Load()
			m.c.acks.add(m.flow)
			// A reader that does not wait yet sends it, with all others, before it does.
			if m.c.in.rests.Load() {
				m.pumpLocked()
				continue
			}
		}
		m.cond.Wait()
	}
	switch {
	case m.head != nil:
		return nil
	case m.err != nil:
		return m.err
	}
	return io.EOF
}

// tookLocked notes that n octets left the message for good, and acknowledges them
// when enough have.
func (m *Inbound) tookLocked(n int) {
	if m.discard {
		return // they were counted then
	}
	m.setUnreadLocked(m.unread - n)
	m.flow.consumed.Add(int64(n))
	if m.unackedLocked() >= m.c.ackAt.Load() {
		m.ackLocked()
	}
}

// unackedLocked is how many octets were taken since an ACK was last asked for. Not
// since one was sent: when the peer reads nothing, that may not happen for long.
func (m *Inbound) unackedLocked() int64 {
	if m.flow.quiet.Load() {
		return 0
	}
	return m.flow.consumed.Load() - m.acking
}

// ackLocked has the octets taken so far acknowledged. It opens the lock meanwhile.
func (m *Inbound) ackLocked() {
	m.acking = m.flow.consumed.Load()
	m.c.acks.add(m.flow)
	m.pumpLocked()
}

// pumpLocked has what is queued written. It opens the lock meanwhile.
func (m *Inbound) pumpLocked() {
	m.mu.Unlock()
	m.c.pump(callerRounds)
	m.mu.Lock()
}

// dropLocked throws the body away and acknowledges what was there of it. A sender
// that has finished needs that only to grow its budget again (PROTOCOL 3.7).
func (m *Inbound) dropLocked(err error) {
	if m.discard {
		return
	}
	least := int64(1)
	if m.ended {
		least = MinWindow / 2
	}
	m.clearLocked(err)
	if m.unackedLocked() >= least {
		m.ackLocked()
	}
}

func (m *Inbound) clearLocked(err error) {
	m.discard = true
	m.flow.m.Store(nil) // what comes now the reader only counts
	m.flow.consumed.Add(int64(m.unread))
	if !m.ended || m.err == nil && m.unread > 0 {
		m.ended, m.err = true, err
	}
	m.setUnreadLocked(0)
	for m.head != nil {
		putChunk(m.popLocked())
	}
	m.cond.Broadcast()
}
