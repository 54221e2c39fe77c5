package conform_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

func (k *toyConn) handle(kind string, no uint64, body string) error {
	switch kind {
	case "HEADER":
		return k.header(no, body)
	case "ACK":
		return k.acked(no, body)
	case "PING":
		if k.has("dies of many PINGs") && k.packets > 2000 {
			k.toy.die()
		}
		if k.has("answers PING with the wrong number") {
			no++
		}
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
	if k.has("has one message at a time") {
		m = k.latest
	}
	if m == nil {
		if k.has("ignores what is not open") {
			return nil
		}
		return errFatal
	}
	switch kind {
	case "DATA":
		if body == "" && k.has("acknowledges empty DATA") {
			k.send("ACK", no, strconv.Itoa(m.size))
		}
		if len(body) == 1 && k.has("closes on tiny DATA") {
			return errFatal
		}
		m.size += len(body)
		k.octets += len(body)
		if (m.size > 600000 || k.octets > 12<<20) && k.has("closes on much") {
			return errFatal
		}
		if !m.drain && m.code == "" {
			m.body = append(m.body, body...)
		} else if k.has("does not drain") {
			m.size -= len(body)
		}
		if m.size-m.acked >= 32768 || k.has("acknowledges everything") {
			if !k.has("acknowledges at the end only") {
				k.ack(no, m)
			}
		}
	case "EOF":
		if body != "" && !k.has("takes an EOF with a body") {
			return errFatal
		}
		delete(k.in, no)
		k.ended(no, m, false)
	case "TXERR":
		delete(k.in, no)
		k.ended(no, m, !k.has("takes TXERR for EOF"))
	default: // a type that only "takes any line" lets through
		if k.has("takes any line") {
			delete(k.in, no)
			k.ended(no, m, false)
		}
	}
	return nil
}

// ack acknowledges what came of a message.
func (k *toyConn) ack(no uint64, m *toyIn) {
	if m.size == m.acked {
		return
	}
	m.acked = m.size
	k.send("ACK", no, strconv.Itoa(m.size))
	if k.has("acknowledges twice") {
		k.send("ACK", no, strconv.Itoa(m.size))
	}
}

func (k *toyConn) header(no uint64, body string) error {
	if no != k.next && !k.has("takes any number") {
		return errFatal
	}
	k.next = no + 1
	if len(k.in) >= 4096 && !k.has("takes any number of messages") {
		return errFatal
	}
	m := new(toyIn)
	if err := k.headers.Parse([]byte(body), &m.header); err != nil {
		if body == "null" && k.has("dies of null") {
			k.toy.die()
		}
		if !k.has("mends headers") {
			return errFatal
		}
		m.header = packet.Header{Type: packet.TypeRequest, ID: packet.NumberID(1), Action: "Sample.echo", Version: 1, Envelope: "json"}
	}
	if k.has("takes headers in one form") && oneForm(body) != nil {
		return errFatal
	}
	if k.has("wants the object alone") && strings.TrimSpace(body) != body ||
		k.has("knows every member") && len(m.header.Extra) > 0 ||
		k.has("wants action first") && !strings.HasPrefix(body, `{"action"`) {
		return errFatal
	}
	h := &m.header
	k.requests++
	m.id = h.ID.String()
	if k.has("numbers replies itself") {
		m.id = strconv.Itoa(k.requests)
	}
	if m.hasExt = h.Ext.V > 0; m.hasExt && h.Ext.Win > 0 {
		k.mu.Lock()
		k.window = int(min(h.Ext.Win, 1<<20))
		k.mu.Unlock()
	}
	isRequest := h.Type == packet.TypeRequest || h.Type == packet.TypeNone
	if h.Type == packet.TypeCancel {
		if err := k.cancel(h.ID.String()); err != nil {
			return err
		}
	}
	switch ms := h.Ext.MS; {
	case 0 < ms && ms < 60000 && !k.has("ignores ms"):
		k.deadline(m, time.Duration(ms)*time.Millisecond)
	case ms > 1<<31 && k.has("takes long ms for short ones"):
		m.code = "transport"
	}
	m.drain = !isRequest || h.ID.IsZero()
	if m.drain && k.has("answers everything") {
		m.drain, m.id = false, "1"
	}
	name := h.Action
	if !k.has("minds the case of actions") {
		name = strings.ToLower(name)
	}
	switch {
	case k.has("says yes to all"):
	case h.Bad != "":
		m.code = "bad_request"
		if k.has("closes on members of a wrong type") {
			return errFatal
		}
	case name != "sample.echo" && name != "Sample.echo" || h.Version != 1 || h.Envelope != "json":
		m.code = "no_action"
	}
	if k.requests > 100 && k.has("takes few requests") {
		m.code = "transport"
	}
	k.in[no] = m
	k.latest = m
	if !m.drain {
		k.counts(1)
	}
	return nil
}

// oneForm accepts a header only as our own requests write it.
func oneForm(body string) error {
	var h struct {
		Action, Envelope, Sector, Type *string
		RequestID                      json.RawMessage `json:"request_id"`
		Version                        *int
		Ext                            *struct {
			V, Win, Cancel, MS int
		}
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return err
	}
	if h.Action == nil || h.Envelope == nil || h.Sector == nil || h.Type == nil || h.Version == nil {
		return errFatal
	}
	return nil
}
