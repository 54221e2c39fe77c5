package conform_test

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// oneHeader is a reply header as our own services write it.
var oneHeader = regexp.MustCompile(`^\{("error":"[^"]*","error_code":"[^"]*",)?"request_id":[0-9]+,"type":"reply"\}$`)

// send writes one packet.
func (k *guestConn) send(kind string, no uint64, body string) {
	k.write.Lock()
	defer k.write.Unlock()
	k.put(kind, no, body)
}

func (k *guestConn) put(kind string, no uint64, body string) {
	trailer := "END\r\n"
	if kind == "EOF" && no == 0 && k.has("ends with a wrong trailer") && !k.control {
		trailer = "end\r\n"
	}
	io.WriteString(k.c, kind+" "+strconv.FormatUint(no, 10)+" "+strconv.Itoa(len(body))+"\r\n"+body+trailer)
}

// begin sends the HEADER of a request. Faults that would keep the host from answering
// at all do not show in calls of NextAction.
func (k *guestConn) begin(action string, size int, odd bool) *guestCall {
	k.write.Lock()
	defer k.write.Unlock()
	if k.id == 0 && odd && k.has("greets") {
		k.put("PING", 0, "")
	}
	k.id++
	if k.id == 1 && k.has("counts ids from 7") {
		k.id = 7
	}
	c := &guestCall{no: k.no, id: k.id, size: size, done: make(chan struct{})}
	k.no++
	if odd && k.has("skips numbers") {
		k.no++
	}
	k.mu.Lock()
	k.calls[c.id], k.out[c.no] = c, c
	k.used = time.Now()
	k.mu.Unlock()
	members := []string{fmt.Sprintf(`"action":%q,"envelope":"json","request_id":%d,"type":"request"`, action, c.id)}
	if !k.has("sends no version") {
		members = append(members, `"version":1`)
	}
	if !k.has("sends no sector") {
		members = append(members, `"sector":"main"`)
	}
	if k.has("sends null") {
		members = append(members, `"ticket":null`)
	}
	if odd && k.has("sends members twice") {
		members = append(members, `"x":1,"x":2`)
	}
	if k.has("sends long headers") {
		members = append(members, `"x":"`+strings.Repeat("x", 40000)+`"`)
	}
	if c.no == 0 {
		members = append(members, `"ext":{"v":1,"win":65536,"cancel":1}`)
	}
	k.put("HEADER", c.no, "{"+strings.Join(members, ",")+"}")
	if odd && k.has("sends events") {
		k.put("HEADER", k.no, `{"type":"notify"}`)
		k.put("EOF", k.no, "")
		k.no++
	}
	if odd && k.has("sends empty DATA") {
		k.put("DATA", c.no, "")
	}
	return c
}

// upload sends the body of a request as ACKs allow.
func (k *guestConn) upload(c *guestCall, body string, odd bool) {
	if k.has("sends one body at a time") && len(body) > 65536 {
		k.write.Lock() // for the ACKs that it needs somebody else must read
		defer k.write.Unlock()
	}
	began := time.Now()
	for len(body) > 0 {
		k.mu.Lock()
		for !k.isClosed() && !c.over && k.roomLocked(c) <= 0 && !k.has("ignores ACKs") {
			k.cond.Wait()
		}
		over := c.over || k.isClosed()
		n := min(16384, len(body))
		if !k.has("ignores ACKs") && !k.has("oversteps its window") {
			n = min(n, k.roomLocked(c))
		}
		if !over {
			c.sent += n
		}
		k.mu.Unlock()
		if k.has("wants ACKs soon") && time.Since(began) > 100*time.Millisecond {
			k.close(errors.New("no ACK"))
			return
		}
		if over {
			return
		}
		if k.has("sends one body at a time") && c.size > 65536 {
			k.put("DATA", c.no, body[:n])
		} else {
			k.send("DATA", c.no, body[:n])
		}
		body = body[n:]
	}
	last := ""
	if odd && k.has("sends EOF with a body") {
		last = "x"
	}
	k.mu.Lock()
	over := c.over
	c.finished = true
	delete(k.out, c.no)
	k.mu.Unlock()
	switch {
	case over:
	case k.has("sends one body at a time") && c.size > 65536:
		k.put("EOF", c.no, last)
	default:
		k.send("EOF", c.no, last)
	}
	if odd && k.has("sends DATA after EOF") {
		k.send("DATA", c.no, "late")
	}
}

// roomLocked is how much of a request may be sent now.
func (k *guestConn) roomLocked(c *guestCall) int {
	room := k.window - (c.sent - c.acked)
	if k.window <= 65536 || k.has("grants the window to each message") {
		return room
	}
	left := k.window
	for _, other := range k.out {
		left -= max(0, other.sent-other.acked-65536)
	}
	if owed := c.sent - c.acked; owed < 65536 {
		left += 65536 - owed
	}
	return min(room, left)
}

// leave gives a call up.
func (k *guestConn) leave(c *guestCall) {
	k.mu.Lock()
	unfinished, cancel := !c.finished, k.cancel
	c.over, c.finished = true, true
	delete(k.out, c.no)
	delete(k.calls, c.id)
	k.cond.Broadcast()
	k.mu.Unlock()
	switch {
	case k.has("leaves without a word"):
	case unfinished && k.has("sends TXERR without text"):
		k.send("TXERR", c.no, "")
	case unfinished:
		k.send("TXERR", c.no, "given up")
	case cancel:
		k.write.Lock()
		defer k.write.Unlock()
		k.put("HEADER", k.no, fmt.Sprintf(`{"request_id":%d,"type":"cancel"}`, c.id))
		k.put("EOF", k.no, "")
		k.no++
	}
}
