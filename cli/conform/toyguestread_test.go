package conform_test

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// read handles what comes until the connection ends.
func (k *guestConn) read() {
	for {
		kind, no, body, err := k.r.packet()
		k.mu.Lock()
		k.used = time.Now()
		k.mu.Unlock()
		if err == nil {
			if k.packets++; k.packets > 2000 && k.has("dies of floods") {
				k.g.die()
			}
			err = k.handle(kind, no, body)
		}
		if err == nil && k.r.r.Buffered() == 0 && !k.has("acknowledges at the end only") {
			for no, m := range k.in {
				k.ack(no, m)
			}
		}
		if err != nil {
			if k.has("keeps half-closed connections") && errors.Is(err, io.EOF) {
				<-k.closed // ends with the guest
			}
			k.close(err)
			return
		}
	}
}

func (k *guestConn) handle(kind string, no uint64, body string) error {
	switch kind {
	case "HEADER":
		return k.header(no, body)
	case "ACK":
		return k.acked(no, body)
	case "PING":
		if !k.has("ignores PING") {
			k.send("PONG", no, "")
		}
		return nil
	case "PONG":
		if k.has("closes on PONG") {
			return errFatal
		}
		return nil
	}
	m := k.in[no]
	if m == nil {
		if k.has("ignores what is not open") {
			return nil
		}
		return errFatal
	}
	switch kind {
	case "DATA":
		if len(body) == 0 && k.has("closes on empty DATA") || len(body) == 1 && k.has("closes on tiny DATA") {
			return errFatal
		}
		m.size += len(body)
		if m.call != nil {
			m.call.body = append(m.call.body, body...)
		}
		if m.size-m.acked >= 32768 && !k.has("acknowledges at the end only") || k.has("acknowledges everything") {
			k.ack(no, m)
		}
	case "EOF", "TXERR":
		if kind == "EOF" && body != "" && !k.has("takes an EOF with a body") {
			return errFatal
		}
		if k.has("acknowledges at the end only") {
			k.ack(no, m)
		}
		delete(k.in, no)
		if m.call == nil {
			return nil
		}
		if kind == "TXERR" && !k.has("takes TXERR for EOF") {
			m.call.txerr = body + "!"
		}
		return k.answered(m.call)
	default: // a type that only "takes any line" lets through
		if k.has("takes any line") && m.call != nil {
			delete(k.in, no)
			return k.answered(m.call)
		}
	}
	return nil
}

// answered ends a call whose reply is whole.
func (k *guestConn) answered(c *guestCall) error {
	k.mu.Lock()
	unfinished := !c.finished
	if unfinished && !k.has("never gives up requests") {
		c.over, c.finished = true, true
		delete(k.out, c.no)
	}
	k.cond.Broadcast()
	k.mu.Unlock()
	if unfinished && c.size > 65536 {
		if k.has("refuses early replies") {
			return errFatal
		}
		if !k.has("never gives up requests") {
			k.send("TXERR", c.no, "answered")
		}
	}
	close(c.done)
	return nil
}

// ack acknowledges what came of a message.
func (k *guestConn) ack(no uint64, m *guestIn) {
	if m.size == m.acked || m.call == nil && k.has("does not drain") {
		return
	}
	m.acked = m.size
	k.send("ACK", no, strconv.Itoa(m.size))
	if k.has("acknowledges twice") {
		k.send("ACK", no, strconv.Itoa(m.size))
	}
}

func (k *guestConn) header(no uint64, body string) error {
	if no != k.next && !k.has("takes any number") {
		return errFatal
	}
	k.next = no + 1
	var h packet.Header
	err := k.headers.Parse([]byte(body), &h)
	if err != nil && !k.has("mends headers") || k.has("takes headers in one form") && !oneHeader.MatchString(body) && !strings.Contains(body, `"ext"`) {
		return errFatal
	}
	if strings.Contains(body, `"ext":{"v":1,"win":"x"`) && k.has("takes headers in one form") {
		return errFatal
	}
	m := new(guestIn)
	k.in[no] = m
	id, ok := h.ID.Number()
	reply := h.Type == packet.TypeReply || h.Type == packet.TypeNone
	if !reply && k.has("closes on other types") {
		return errFatal
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.Ext.Win > 0 {
		k.window = int(min(h.Ext.Win, 1<<20))
		k.cond.Broadcast()
	}
	k.cancel = k.cancel || h.Ext.Cancel
	c := k.calls[id]
	if err != nil || k.has("takes any reply") || !reply && k.has("minds no types") {
		for _, any := range k.calls {
			c, ok, reply = any, true, true
		}
	}
	if !ok || !reply || c == nil {
		if reply && k.has("closes on a second reply") {
			return errFatal
		}
		if k.odd++; k.odd >= 100 && !k.has("does not count odd replies") {
			return errFatal
		}
		return nil
	}
	delete(k.calls, c.id)
	c.header = h
	m.call = c
	return nil
}

// acked takes an ACK by the table of PROTOCOL 4.4.
func (k *guestConn) acked(no uint64, body string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.out[no]
	if c == nil {
		if k.has("wants ACKs for open messages") && !k.control {
			return errFatal
		}
		return nil
	}
	n, err := packet.ParseAck([]byte(body))
	bad := err != nil || int(n) < c.acked || int(n) > c.sent
	switch {
	case bad && k.has("takes any ACK"):
	case bad, int(n) == c.acked && k.has("closes on an equal ACK"):
		return errFatal
	default:
		c.acked = int(n)
		k.cond.Broadcast()
	}
	return nil
}
