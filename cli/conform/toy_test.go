package conform_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
)

// A toy is a service written straight from PROTOCOL.md, with nothing of ours but the
// strict header reader, that can be given faults. Without faults every case passes;
// each fault makes the cases fail that are there to find it.
type toy struct {
	faults map[string]bool
	tls    *tls.Config
	ln     net.Listener
	work   sync.WaitGroup
	single sync.Mutex // held while a connection is served, with one fault

	mu    sync.Mutex            // protects what follows
	conns map[net.Conn]*toyConn // nil before the handshake
	all   []net.Conn            // in the order in which they came
	dead  bool
}

// newToy serves on 127.0.0.1 until the test ends.
func newToy(t *testing.T, pair *scamp.KeyPair, faults ...string) *toy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y := &toy{faults: map[string]bool{}, ln: ln, conns: map[net.Conn]*toyConn{}}
	for _, f := range faults {
		y.faults[f] = true
	}
	y.tls = &tls.Config{
		Certificates: []tls.Certificate{pair.TLS()}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
		MinVersion: tls.VersionTLS12,
	}
	y.work.Go(y.accept) // ends with die
	t.Cleanup(func() {
		y.die()
		y.work.Wait()
	})
	return y
}

func (y *toy) has(fault string) bool { return y.faults[fault] }

func (y *toy) accept() {
	for {
		c, err := y.ln.Accept()
		if err != nil {
			return
		}
		y.mu.Lock()
		y.all = append(y.all, c)
		first := len(y.all) == 1
		if y.dead {
			c.Close()
		}
		y.conns[c] = nil
		y.mu.Unlock()
		y.work.Go(func() { y.serve(c, first) }) // ends with the connection
	}
}

// die ends the service as a crash would.
func (y *toy) die() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.dead = true
	y.ln.Close()
	for _, c := range y.all { // the witness of the run first, so that it cannot miss it
		c.Close()
		if k := y.conns[c]; k != nil {
			k.end()
		}
	}
}

func (y *toy) serve(raw net.Conn, first bool) {
	defer func() {
		raw.Close()
		y.mu.Lock()
		delete(y.conns, raw)
		y.mu.Unlock()
	}()
	if y.has("one connection at a time") && !first {
		y.single.Lock()
		defer y.single.Unlock()
	}
	cfg := y.tls
	if !first { // the first one is the witness of the run, which must work
		cfg = y.oddTLS(cfg.Clone())
	}
	c := tls.Server(raw, cfg)
	if err := c.Handshake(); err != nil {
		if y.has("dies of what is no TLS") && strings.Contains(err.Error(), "first record does not look like a TLS handshake") {
			y.die()
		}
		return
	}
	k := &toyConn{
		toy: y, c: c, r: bufio.NewReaderSize(c, 1<<18), in: map[uint64]*toyIn{}, out: map[uint64]*toyOut{},
		window: 65536, headers: packet.NewHeaderReader(packet.Limits{}),
	}
	k.cond.L = &k.mu
	y.mu.Lock()
	y.conns[raw] = k
	y.mu.Unlock()
	err := k.run()
	if y.has("dies of a cut packet") && errors.Is(err, io.ErrUnexpectedEOF) {
		y.die()
	}
	if y.has("keeps half-closed connections") && errors.Is(err, io.EOF) {
		io.Copy(io.Discard, raw)
		<-time.After(3 * time.Second)
	}
	k.end()
	raw.Close()
	k.replies.Wait()
}

// end frees the replies that wait for ACKs.
func (k *toyConn) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = true
	k.cond.Broadcast()
}

// A toyIn is a request that arrives, a toyOut a reply that goes out.
type toyIn struct {
	header packet.Header
	id     string // as JSON
	hasExt bool
	drain  bool   // of no kind that is answered
	code   string // why it is refused
	body   []byte
	size   int
	acked  int
}

type toyOut struct{ sent, acked int }

type toyConn struct {
	toy     *toy
	c       *tls.Conn
	r       *bufio.Reader
	headers *packet.HeaderReader
	replies sync.WaitGroup

	// Of the reader.
	in       map[uint64]*toyIn
	next     uint64
	latest   *toyIn
	packets  int
	requests int

	write sync.Mutex // held for each packet, and protects no
	no    uint64     // of our next message

	mu     sync.Mutex // protects what follows
	cond   sync.Cond
	out    map[uint64]*toyOut
	window int
	over   bool
}

var errFatal = errors.New("fatal")

func (k *toyConn) has(fault string) bool { return k.toy.has(fault) }

func (k *toyConn) run() error {
	if k.has("greets") && k.toy.greetable() {
		k.send("PING", 0, "")
	}
	for {
		kind, no, body, err := k.packet()
		if err != nil {
			return err
		}
		if k.packets++; k.packets > 2000 && k.has("dies of floods") {
			k.toy.die()
		}
		if err := k.handle(kind, no, body); err != nil {
			return err
		}
		if kind == "EOF" && k.has("takes one request a read") {
			k.r.Discard(k.r.Buffered())
		}
		if k.r.Buffered() == 0 && !k.has("acknowledges at the end only") {
			for no, m := range k.in {
				k.ack(no, m)
			}
		}
	}
}

// greetable is true from the second connection on.
func (y *toy) greetable() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.all) > 1
}

var strictLine = regexp.MustCompile(`^(HEADER|DATA|EOF|TXERR|ACK|PING|PONG) (0|[1-9][0-9]*) (0|[1-9][0-9]*)\r\n$`)

// packet reads one packet.
func (k *toyConn) packet() (kind string, no uint64, body string, err error) {
	line, err := k.line()
	if err != nil {
		return "", 0, "", err
	}
	var length uint64
	if m := strictLine.FindStringSubmatch(line); m != nil {
		kind = m[1]
		no, err = strconv.ParseUint(m[2], 10, 63)
		if err != nil && !k.has("takes any line") {
			return "", 0, "", errFatal
		}
		if length, err = strconv.ParseUint(m[3], 10, 64); err != nil {
			length = 1 << 62
		}
	} else if k.has("takes any line") {
		kind, no, length = loose(line)
	} else {
		if word, _, _ := strings.Cut(line, " "); k.has("dies of an unknown type") && word != strings.ToUpper(word) {
			k.toy.die()
		}
		if strings.Contains(line, " -") && k.has("dies of a negative length") {
			k.toy.die()
		}
		return "", 0, "", errFatal
	}
	limit := uint64(131072)
	if kind == "HEADER" {
		limit = 65536
	}
	if k.has("takes short packets only") {
		limit = 40000
	}
	if length > limit && !k.has("takes any length") {
		return "", 0, "", errFatal
	}
	if length > 1<<20 {
		length = 1 << 20 // with that fault: waits for what does not come
	}
	if k.has("looks for END") {
		for !strings.HasSuffix(body, "END\r\n") {
			c, err := k.r.ReadByte()
			if err != nil {
				return "", 0, "", err
			}
			body += string(c)
		}
		return kind, no, strings.TrimSuffix(body, "END\r\n"), nil
	}
	if end, _ := k.r.Peek(int(length) + 4); k.has("takes a bare LF after END") && strings.HasSuffix(string(end), "END\n") {
		k.r.Discard(len(end))
		return kind, no, string(end[:length]), nil
	}
	b := make([]byte, length+5)
	if _, err := io.ReadFull(k.r, b); err != nil {
		return "", 0, "", io.ErrUnexpectedEOF
	}
	if string(b[length:]) != "END\r\n" && !k.has("takes any trailer") {
		return "", 0, "", errFatal
	}
	return kind, no, string(b[:length]), nil
}

func (k *toyConn) line() (string, error) {
	var line []byte
	for len(line) < 80 || k.has("takes any line") {
		c, err := k.r.ReadByte()
		if err != nil {
			if len(line) > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		if len(line) == 0 && k.has("wants a packet a read") && k.r.Buffered() < 10 {
			return "", errFatal
		}
		if line = append(line, c); c == '\n' {
			return string(line), nil
		}
	}
	return "", errFatal
}

// loose reads a line as a careless reader does.
func loose(line string) (kind string, no, length uint64) {
	f := append(strings.Fields(line), "", "", "")
	no, _ = strconv.ParseUint(strings.TrimPrefix(f[1], "+"), 0, 64)
	length, _ = strconv.ParseUint(strings.TrimPrefix(f[2], "+"), 0, 64)
	return strings.ToUpper(f[0]), no, length
}

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
		if m.size > 600000 && k.has("closes on much") {
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
	if h.Type == packet.TypeCancel && k.has("closes on cancel") {
		return errFatal
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
	k.replies.Go(func() { k.reply(m) }) // ends with the reply or the connection
}

func (k *toyConn) reply(m *toyIn) {
	members := []string{}
	if m.code != "" {
		code := m.code
		if k.has("has codes of its own") {
			code = "oops"
		}
		members = append(members, fmt.Sprintf(`"error":"no","error_code":%q`, code))
		if (m.hasExt || k.has("sends dispatch_failure to all")) && m.code == "no_action" && !k.has("sends no dispatch_failure") {
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
		for !k.over && o.sent-o.acked >= k.window && !k.has("ignores ACKs") {
			k.cond.Wait()
		}
		n := min(16384, len(body))
		if !k.has("ignores ACKs") && !k.has("oversteps its window") {
			n = min(n, k.window-(o.sent-o.acked))
		}
		o.sent += n
		over := k.over
		k.mu.Unlock()
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
