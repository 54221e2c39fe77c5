package command

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// An impostor listens where an instance was, with a certificate of its own, and counts
// what callers send it.
type impostor struct {
	listener net.Listener
	work     sync.WaitGroup

	mu      sync.Mutex // protects what follows
	callers int
	octets  int
}

func newImpostor(address string, pair *scamp.KeyPair) (*impostor, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	i := &impostor{listener: l}
	config := &tls.Config{Certificates: []tls.Certificate{pair.TLS()}}
	i.work.Go(func() { // ends with close
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			i.mu.Lock()
			i.callers++
			i.mu.Unlock()
			i.work.Go(func() { i.serve(conn, config) }) // ends with the connection, or after a second
		}
	})
	return i, nil
}

// serve reads all it can get after the handshake.
func (i *impostor) serve(conn net.Conn, config *tls.Config) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	t := tls.Server(conn, config)
	buf := make([]byte, 1<<10)
	for {
		n, err := t.Read(buf) // handshakes first
		i.mu.Lock()
		i.octets += n
		i.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// seen returns how many callers came and how many octets they sent inside of TLS.
func (i *impostor) seen() (callers, octets int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.callers, i.octets
}

func (i *impostor) close() {
	i.listener.Close()
	i.work.Wait()
}
