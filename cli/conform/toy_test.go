package conform_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"slices"
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

	idle time.Duration // after which a connection is closed; zero means never. Set before the first connection

	gone chan struct{} // closed by die

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
	y := &toy{faults: map[string]bool{}, ln: ln, conns: map[net.Conn]*toyConn{}, gone: make(chan struct{})}
	for _, f := range faults {
		y.faults[f] = true
	}
	y.tls = &tls.Config{
		Certificates: []tls.Certificate{pair.TLS()}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
		MinVersion: tls.VersionTLS12,
	}
	if slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, "idle") }) {
		y.idle = time.Second
	}
	y.work.Go(y.accept) // ends with the listener
	t.Cleanup(func() {
		y.die()
		y.ln.Close()
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

// die ends the service as a crash would, but for its port: it connects nobody, and nobody
// else may have it while the run looks for the service there.
func (y *toy) die() {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !y.dead {
		close(y.gone)
	}
	y.dead = true
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
		window: 65536, headers: packet.NewHeaderReader(packet.Limits{}), used: time.Now(), closed: make(chan struct{}), byID: map[string]*toyOut{},
	}
	k.cond.L = &k.mu
	if y.idle > 0 && !first {
		k.replies.Go(k.closeWhenIdle) // ends with the connection
	}
	y.mu.Lock()
	y.conns[raw] = k
	y.mu.Unlock()
	err := k.run()
	if y.has("dies of a cut packet") && errors.Is(err, io.ErrUnexpectedEOF) {
		y.die()
	}
	if y.has("keeps half-closed connections") && errors.Is(err, io.EOF) {
		<-y.gone
	}
	k.end()
	raw.Close()
	k.replies.Wait()
}

// end frees the replies that wait for ACKs.
func (k *toyConn) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.over {
		close(k.closed)
	}
	k.over = true
	k.cond.Broadcast()
}

// A toyIn is a request that arrives, a toyOut a reply that goes out.
type toyIn struct {
	header packet.Header
	id     string // as JSON
	hasExt bool
	drain  bool   // of no kind that is answered
	failed bool   // refused before dispatch
	over   bool   // answered before its end, protected by toyConn.mu
	code   string // why it is refused
	body   []byte
	size   int
	acked  int
}

type toyOut struct {
	sent, acked int
	cut         bool // cancelled
}

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
	octets   int      // of all bodies
	queue    []*toyIn // whole requests that wait

	closed chan struct{} // closed by end

	write sync.Mutex // held for each packet, and protects no
	no    uint64     // of our next message

	mu     sync.Mutex // protects what follows
	cond   sync.Cond
	out    map[uint64]*toyOut
	window int
	over   bool
	byID   map[string]*toyOut // replies that are being sent
	busy   int                // requests without an end of their reply
	used   time.Time
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
		k.touch()
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
