package conform_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// ended answers a request.
func (k *toyConn) ended(no uint64, m *toyIn, broken bool) {
	if k.has("acknowledges at the end only") {
		k.ack(no, m)
	}
	if broken && m.code == "" {
		m.code = "transport"
	}
	if m.drain {
		return
	}
	if len(m.body) == 0 && m.code == "" && k.has("wants a body") {
		m.code = "bad_request"
	}
	if k.has("serves in the reader") {
		k.reply(m)
		return
	}
	if k.has("serves in the order of HEADERs") && len(k.in) > 0 {
		m.code = "transport"
	}
	k.queue = append(k.queue, m)
	for len(k.queue) > 0 && len(k.in) < 256 {
		next := k.queue[0]
		k.queue = k.queue[1:]
		k.replies.Go(func() { k.reply(next) }) // ends with the reply or the connection
	}
}

func (k *toyConn) reply(m *toyIn) {
	if !k.answers(m) {
		return
	}
	defer k.counts(-1)
	members := []string{}
	if m.code != "" {
		code := m.code
		if k.has("has codes of its own") {
			code = "oops"
		}
		members = append(members, fmt.Sprintf(`"error":"no","error_code":%q`, code))
		if (m.failed || (m.hasExt || k.has("sends dispatch_failure to all")) && m.code == "no_action") && !k.has("sends no dispatch_failure") {
			members = append(members, `"error_data":{"dispatch_failure":true}`)
		}
	}
	if m.hasExt {
		members = append(members, `"ext":{"v":1,"win":65536,"cancel":1}`)
	}
	members = append(members, `"request_id":`+m.id)
	if k.has("sends request ids as numbers") {
		members[len(members)-1] = `"request_id":` + strings.Trim(m.id, `"`)
	}
	if k.has("sends null") {
		members = append(members, `"ticket":null`)
	}
	if m.code != "" && k.has("sends members twice") {
		members = append(members, `"x":1,"x":2`)
	}
	if m.code != "" && k.has("sends long headers") {
		members = append(members, `"x":"`+strings.Repeat("x", 40000)+`"`)
	}
	body := string(m.body)
	if m.code != "" {
		body = ""
		if k.has("sends bodies with errors") {
			body = "sorry"
		}
	}
	o := new(toyOut)
	number := k.begin(o, "{"+strings.Join(members, ",")+`,"type":"reply"}`)
	k.sends(m, o)
	if m.code != "" && k.has("sends empty DATA") {
		k.send("DATA", number, "")
	}
	if !k.body(number, o, body) {
		return
	}
	k.finish(number, o, m)
}

// begin sends the HEADER of a reply.
func (k *toyConn) begin(o *toyOut, header string) (number uint64) {
	k.write.Lock()
	defer k.write.Unlock()
	number = k.no
	k.no++
	if k.has("skips numbers") {
		k.no++
	}
	k.mu.Lock()
	k.out[number] = o
	k.mu.Unlock()
	k.put("HEADER", number, header)
	return number
}

// body sends the body of a reply as ACKs allow.
func (k *toyConn) body(number uint64, o *toyOut, body string) (ok bool) {
	for len(body) > 0 {
		k.mu.Lock()
		for !k.over && !o.cut && k.roomLocked(o) <= 0 && !k.has("ignores ACKs") {
			k.cond.Wait()
		}
		n := min(16384, len(body))
		if !k.has("ignores ACKs") && !k.has("oversteps its window") {
			n = min(n, k.roomLocked(o))
		}
		over, cut := k.over, o.cut
		if !cut {
			o.sent += n
		}
		k.mu.Unlock()
		if cut {
			k.mu.Lock()
			delete(k.out, number)
			k.mu.Unlock()
			k.send("TXERR", number, "cancelled")
			return false
		}
		if over {
			return false
		}
		k.send("DATA", number, body[:n])
		body = body[n:]
	}
	return true
}

func (k *toyConn) finish(number uint64, o *toyOut, m *toyIn) {
	k.mu.Lock()
	for !k.over && o.acked < o.sent && k.has("waits for ACKs before EOF") {
		k.cond.Wait()
	}
	delete(k.out, number)
	delete(k.byID, m.id)
	k.mu.Unlock()
	switch {
	case m.code != "" && k.has("sends EOF with a body"):
		k.send("EOF", number, "x")
	case m.code != "" && k.has("sends TXERR without text"):
		k.send("TXERR", number, "")
	case m.code != "" && k.has("ends with a wrong trailer"):
		k.write.Lock()
		io.WriteString(k.c, fmt.Sprintf("EOF %d 0\r\nend\r\n", number))
		k.write.Unlock()
	default:
		k.send("EOF", number, "")
	}
	if m.code != "" && k.has("sends DATA after EOF") {
		k.send("DATA", number, "late")
	}
	if m.code != "" && k.has("sends events") {
		k.send("EOF", k.begin(new(toyOut), `{"type":"event"}`), "")
	}
	if m.code != "" && k.has("replies twice") {
		k.send("EOF", k.begin(new(toyOut), `{"error":"no","request_id":`+m.id+`,"type":"reply"}`), "")
	}
}

// acked takes an ACK by the table of PROTOCOL 4.4.
func (k *toyConn) acked(no uint64, body string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.out[no]
	if o == nil {
		if k.has("wants ACKs for open messages") {
			return errFatal
		}
		return nil
	}
	n, err := packet.ParseAck([]byte(body))
	bad := err != nil || int(n) < o.acked || int(n) > o.sent
	switch {
	case bad && k.has("takes any ACK"):
	case bad, int(n) == o.acked && k.has("closes on an equal ACK"):
		return errFatal
	default:
		o.acked = int(n)
		k.cond.Broadcast()
	}
	return nil
}

func (k *toyConn) send(kind string, no uint64, body string) {
	k.write.Lock()
	defer k.write.Unlock()
	k.put(kind, no, body)
}

// put writes a packet; whoever calls it holds write.
func (k *toyConn) put(kind string, no uint64, body string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %d %d\r\n%sEND\r\n", kind, no, len(body), body)
	k.c.Write(b.Bytes())
}
