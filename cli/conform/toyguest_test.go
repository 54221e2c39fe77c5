package conform_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/packet"
)

// A toyGuest is a requester written straight from PROTOCOL.md that can be given faults,
// as the toy is a service.
type toyGuest struct {
	toy      *toy // its faults, and the reader of packets
	stations map[string]conform.Station
	cert     []byte // announced
	idle     time.Duration
	timeout  time.Duration // of a call
	sessions tls.ClientSessionCache

	work sync.WaitGroup

	mu    sync.Mutex // protects what follows
	pool  map[string]*guestConn
	all   []*guestConn
	dying bool
}

var errGuestGone = errors.New("the guest is gone")

func newToyGuest(h *hosted, faults ...string) *toyGuest {
	g := &toyGuest{
		toy: &toy{faults: map[string]bool{}}, stations: map[string]conform.Station{}, cert: h.pair.Certificate.DER,
		pool: map[string]*guestConn{}, timeout: 2 * time.Second, sessions: tls.NewLRUClientSessionCache(4),
	}
	for _, f := range faults {
		g.toy.faults[f] = true
	}
	for _, s := range h.host.Stations() {
		g.stations[s.Action] = s
	}
	return g
}

func (g *toyGuest) has(fault string) bool { return g.toy.has(fault) }

// end closes everything and waits.
func (g *toyGuest) end() {
	g.die()
	g.work.Wait()
}

func (g *toyGuest) die() {
	g.mu.Lock()
	g.dying = true
	all := g.all
	g.mu.Unlock()
	for _, k := range all {
		k.close(errGuestGone)
	}
}

// call is one call as a program sees it.
func (g *toyGuest) call(ctx context.Context, action, request string) ([]byte, conform.CallResult) {
	for tries := 1; ; tries++ {
		c, err := g.try(ctx, action, request)
		if err != nil {
			again := g.has("asks again") && errors.Is(err, io.EOF)
			if c != nil && c.ended && (g.has("takes half replies") || g.has("takes silence for a reply")) {
				return c.body, conform.CallResult{OK: true, Octets: len(c.body)}
			}
			if again && tries < 4 {
				continue
			}
			return nil, conform.CallResult{Code: "transport", Error: err.Error()}
		}
		code, text, failed := c.header.Failure()
		if g.has("wants a code") && c.header.ErrorCode == "" || g.has("takes errors for replies") && c.txerr == "" {
			failed = false
		}
		if c.txerr != "" {
			code, text, failed = "transport", c.txerr, true
		}
		if c.header.DispatchFailure() && tries < 4 && (tries == 1 || g.has("asks again and again")) {
			continue
		}
		if failed && g.has("has codes of its own") {
			code = "oops"
		}
		if len(c.body) == 0 && g.has("wants a body") {
			code, failed = "general", true
		}
		if failed {
			return nil, conform.CallResult{Code: code, Error: text}
		}
		return c.body, conform.CallResult{OK: true, Octets: len(c.body)}
	}
}

// A guestCall is a request and its reply.
type guestCall struct {
	no     uint64
	id     uint64
	size   int
	header packet.Header
	body   []byte
	txerr  string
	ended  bool          // something of a reply came, or its time is over
	done   chan struct{} // closed when the reply is whole

	// Protected by the lock of its connection.
	sent, acked int
	over        bool // nothing more is to be sent
	finished    bool // its EOF or TXERR was sent
}

func (g *toyGuest) try(ctx context.Context, action, request string) (*guestCall, error) {
	s := g.stations[action]
	if s.Trap == conform.TrapRule && !g.has("asks anybody") || s.Trap == conform.TrapSignature && !g.has("takes changed announcements") {
		return nil, errors.New("nobody offers it")
	}
	k, err := g.conn(s.Addr)
	if err != nil {
		return nil, err
	}
	odd := action != conform.NextAction
	c := k.begin(action, len(request), odd)
	g.work.Go(func() { k.upload(c, request, odd) }) // ends with the call or the connection
	timeout := time.NewTimer(g.timeout)
	defer timeout.Stop()
	if action == conform.NextAction {
		timeout.Reset(time.Minute)
	}
	select {
	case <-c.done:
		return c, nil
	case <-k.closed:
		select {
		case <-c.done:
			return c, nil
		default:
		}
		c.ended = g.has("takes half replies")
		return c, fmt.Errorf("connection lost: %w", k.err)
	case <-ctx.Done():
		k.leave(c)
		return c, ctx.Err()
	case <-timeout.C:
		k.leave(c)
		c.ended = g.has("takes silence for a reply")
		return c, errors.New("RPC timeout")
	}
}

// conn returns a connection to addr.
func (g *toyGuest) conn(addr string) (*guestConn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dying {
		return nil, errGuestGone
	}
	if k := g.pool[addr]; k != nil && !k.isClosed() && !g.has("makes a connection for each call") {
		return k, nil
	}
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if string(s.PeerCertificates[0].Raw) != string(g.cert) && !g.has("does not compare certificates") {
			return errors.New("another certificate")
		}
		return nil
	}
	g.oddTLS(cfg)
	if addr == g.stations[conform.NextAction].Addr {
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS12, 0
	}
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, cfg)
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	k := &guestConn{
		g: g, c: c, in: map[uint64]*guestIn{}, calls: map[uint64]*guestCall{}, out: map[uint64]*guestCall{}, window: 65536,
		closed: make(chan struct{}), headers: packet.NewHeaderReader(packet.Limits{}), used: time.Now(),
		r: &toyConn{toy: g.toy, r: bufio.NewReaderSize(c, 1<<18)}, control: addr == g.stations[conform.NextAction].Addr,
	}
	if k.control {
		k.r.toy = new(toy) // without faults
	}
	k.cond.L = &k.mu
	g.pool[addr] = k
	g.all = append(g.all, k)
	g.work.Go(k.read) // ends with the connection
	if g.idle > 0 && !k.control {
		g.work.Go(k.closeWhenIdle) // ends with the connection
	}
	return k, nil
}

func (g *toyGuest) oddTLS(c *tls.Config) {
	switch {
	case g.has("speaks TLS 1.3 alone"):
		c.MinVersion = tls.VersionTLS13
	case g.has("speaks TLS 1.2 alone"):
		c.MaxVersion = tls.VersionTLS12
	case g.has("speaks TLS 1.0"):
		c.MinVersion = tls.VersionTLS10
	case g.has("speaks RC4"):
		c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	case g.has("resumes sessions"):
		c.ClientSessionCache = g.sessions
		c.ServerName = "conform.invalid" // the sessions of all stations are under this name
	}
}

// A guestConn is one connection of a toy guest.
type guestConn struct {
	g       *toyGuest
	control bool // to NextAction: faults that keep us from hearing what to do do not show there
	c       *tls.Conn
	r       *toyConn // reads packets
	headers *packet.HeaderReader

	// Of the reader.
	in      map[uint64]*guestIn
	next    uint64
	packets int
	odd     int

	write sync.Mutex // held for each packet, and protects what follows
	no    uint64
	id    uint64

	mu     sync.Mutex // protects what follows
	cond   sync.Cond
	calls  map[uint64]*guestCall // by id
	out    map[uint64]*guestCall // by message number
	window int
	cancel bool // the service understands it
	used   time.Time

	once   sync.Once
	err    error         // set before closed is
	closed chan struct{} // closed by close
}

// A guestIn is a message of the service.
type guestIn struct {
	call        *guestCall // nil if it is ignored
	size, acked int
}

func (k *guestConn) has(fault string) bool { return k.g.toy.has(fault) }

func (k *guestConn) close(why error) {
	k.once.Do(func() {
		k.err = why
		close(k.closed)
		k.c.NetConn().Close()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.cond.Broadcast()
	})
}

func (k *guestConn) isClosed() bool {
	select {
	case <-k.closed:
		return true
	default:
		return false
	}
}

func (k *guestConn) closeWhenIdle() {
	for {
		select {
		case <-k.closed:
			return
		case <-time.After(k.g.idle / 20):
		}
		k.mu.Lock()
		busy := len(k.calls) > 0 && !k.has("closes busy connections as idle ones")
		idle := time.Since(k.used) >= k.g.idle
		k.mu.Unlock()
		if idle && !busy && !k.has("never closes idle connections") {
			k.close(io.EOF)
		}
	}
}
