package scamp_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
)

// A street is several instances of the far service, by the port they are dialed at.
type street struct {
	*far
	mu   sync.Mutex
	down map[string]bool
	log  []string // every dial
}

func newStreet(t *testing.T) (*street, *scamp.Bus) {
	s := &street{far: newFar(t), down: map[string]bool{}}
	bus := s.bus(&scamp.Options{Dial: s.dial})
	return s, bus
}

func (s *street) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	s.log = append(s.log, addr)
	down := s.down[addr]
	s.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	return s.far.dial(ctx, network, addr)
}

// dials is who was dialed since it was last asked.
func (s *street) dials() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

func (s *street) set(addr string, down bool) {
	s.mu.Lock()
	s.down[addr] = down
	s.mu.Unlock()
}

// answer replies to whatever arrives on connections that are made from now on.
func (s *street) answer(header string) {
	go func() { // ends when no connection comes any more
		for {
			select {
			case w := <-s.conns:
				go w.serveAll(0, header) // ends with the connection
			case <-s.t.Context().Done():
				return
			}
		}
	}()
}

// serveAll answers every request with a header of these members and an empty body; its
// next message has number no.
func (w *wire) serveAll(no int, members string) {
	for {
		p, ok := w.popWithin(nil) // however long that takes
		if !ok {
			return
		}
		if p.Kind.String() != "HEADER" {
			continue
		}
		id := string(p.Body)
		id = id[strings.Index(id, `"request_id":`)+len(`"request_id":`):]
		id = id[:strings.IndexAny(id, ",}")]
		w.send(msg(no, `{"request_id":`+id+`,"type":"reply"`+members+`}`, ""))
		no++
	}
}
