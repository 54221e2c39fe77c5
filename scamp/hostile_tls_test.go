//go:build resource && linux

package scamp_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// TestResourceHostileTLS has the attacks on TLS and on connections of THREATS 2.3 whose
// pass line is memory, processor time, descriptors or the latency of another caller.
func TestResourceHostileTLS(t *testing.T) {
	whole := os.Getenv(hostileLong) != ""
	conns := 400
	if whole {
		conns = 8192
	}
	var few setup
	few.Limits.MaxConns = conns
	pair, err := scamp.GenerateKeyPair("hostile", 4096)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []attack{
		{name: "L5_slow_handshakes", memory: 16 << 20, fair: true, hold: 4 * time.Second, counters: []string{"handshake_timeout"}, tolerated: "handshake_failed handshake_evicted",
			gone: func(t *testing.T, addr string) {
				began := time.Now()
				c, err := scamp.Dial(t.Context(), addr, scamp.Identity{Anyone: true}, nil)
				if err != nil {
					t.Fatalf("a good caller after slow ones: %v", err)
				}
				defer c.Close()
				call(t, c, "Victim.echo", []byte("good"))
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("a good caller was served %v after the slow ones had stopped, want 10s at most", took)
				}
			}},
		{name: "L6_idle_connections", setup: few, memory: 400 << 20 * conns / 8192, counters: []string{"conn_refused"}, tolerated: "handshake_evicted",
			sample: func(t *testing.T, s state) {
				if most := conns + 64; s.Files > most {
					t.Errorf("%d descriptors, want at most %d", s.Files, most)
				}
			}},
		{name: "L8_one_octet_records", memory: 8 << 20, fair: true},
		// With nobody beside it, whose calls cost processor time too.
		{name: "L8_cost_of_records", memory: 8 << 20, after: func(t *testing.T, m *measured) {
			if each := m.cpu * (1 << 20) / time.Duration(m.sent*recordOctets); each >= 2*time.Second {
				t.Errorf("1 MiB in 1-octet records took %v of processor time, want less than 2s", each)
			}
		}},
		{name: "L9_handshakes", setup: setup{Cert: string(pair.CertificatePEM()), Key: string(key)}, memory: 16 << 20, fair: true, hold: 3 * time.Second, tolerated: "handshake_evicted handshake_timeout handshake_failed"},
	} {
		t.Run(a.name, a.run)
	}
}

// slowHandshakes: callers that are slow to say hello, and never silent for long. The
// backlog of the kernel holds those that are not accepted.
func slowHandshakes(a *attacker) {
	hello := []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 100)) // begins as TLS does
	n := a.size(500, 5000)
	begin := make(chan struct{})
	for range n {
		a.work.Go(func() { // ends with the test
			<-begin
			c, err := a.tcp("")
			for i := 0; err == nil && !a.ended(); i++ {
				_, err = c.Write(hello[i%len(hello) : i%len(hello)+1])
				select {
				case <-time.After(500 * time.Millisecond):
				case <-a.over:
				}
			}
		})
	}
	close(begin)
	<-time.After(time.Second)
	a.going()
}

// idleConnections come from ten addresses, ask once, and stay. The service refuses the
// last ones.
func idleConnections(a *attacker) {
	n := a.size(400, 8192)
	refused := make(chan int, n+100)
	many(n+100, func(i int) {
		for !a.ended() {
			c, err := a.tcp(fmt.Sprintf("127.0.0.%d", 2+i%10))
			if err != nil {
				a.t.Error(err)
				return
			}
			tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			if tc.Handshake() != nil {
				c.Close()
				refused <- i
				return
			}
			fmt.Fprint(tc, msg(0, ask("Victim.echo", 1), "x"))
			if _, err := io.ReadFull(tc, make([]byte, 100)); err == nil {
				return // and stay
			}
			c.Close() // evicted: this machine was too busy to say hello in time
		}
	})
	if got := len(refused); got < 100 {
		a.t.Errorf("%d connections were refused, want 100 or more", got)
	}
	a.going()
}

const recordOctets = 16384

// oneOctetRecords sends DATA in TLS records of one octet.
func oneOctetRecords(a *attacker) {
	raw, err := a.tcp("")
	if err != nil {
		a.t.Error(err)
		return
	}
	held := &holding{Conn: raw, w: bufio.NewWriterSize(raw, 64<<10)}
	c := tls.Client(held, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		a.t.Error(err)
		return
	}
	a.work.Go(func() { io.Copy(io.Discard, c) }) // ends with the connection
	b := &bare{Writer: bufio.NewWriterSize(c, 16<<10), c: c}
	no := b.header("Victim.drop")
	b.Flush()
	held.holds = true // so many records come at once, as from a sender that is as fast as it can
	packet := []byte(pk("DATA", no, strings.Repeat("x", recordOctets)))
	a.going()
	for a.again(a.size(16, 64)) {
		for i := range packet {
			if _, err := c.Write(packet[i : i+1]); err != nil {
				a.t.Errorf("the connection of an attacker is closed that must be borne with: %v", err)
				return
			}
		}
	}
	b.packet("TXERR", no, []byte("enough"))
	b.Flush()
	held.w.Flush()
}

// A holding is a connection that sends when much is to be sent.
type holding struct {
	net.Conn
	w     *bufio.Writer
	holds bool
}

func (h *holding) Write(p []byte) (int, error) {
	if h.holds {
		return h.w.Write(p)
	}
	return h.Conn.Write(p)
}

// handshakes are 200 a second.
func handshakes(a *attacker) {
	a.going()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for a.again(a.size(100, 6000)) {
		<-tick.C
		a.work.Go(func() { // ends with the handshake
			c, err := a.tcp("")
			if err != nil {
				return
			}
			tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
			c.Close()
		})
	}
}
