package conform

import (
	"context"
	"net"
	"sync"
	"time"
)

// A station is the listener of one case, and the one play of it.
type station struct {
	h  *Host
	c  Case
	ln net.Listener

	conns   chan net.Conn // accepted; more than are waited for are refused
	reports chan report   // of the requester, one for each step at most
	turns   chan struct{} // one for each step that may begin, where the case says so
	done    chan struct{} // closed when the case was judged

	mu      sync.Mutex // protects what follows
	offered bool       // NextAction named it, so a report will come
	shut    bool       // the play wants no more connections
}

// maxWaiting is how many connections to one station may wait for its play.
const maxWaiting = 16

func newStation(h *Host, c Case, ln net.Listener) *station {
	if len(c.Steps) == 0 {
		c.Steps = []Step{{Times: 1}}
	}
	return &station{
		h: h, c: c, ln: ln, conns: make(chan net.Conn, maxWaiting),
		reports: make(chan report, len(c.Steps)), turns: make(chan struct{}, len(c.Steps)), done: make(chan struct{}),
	}
}

// accept takes connections until the listener is closed. When the case was judged, they
// are closed at once, so that calls which come too late fail soon.
func (s *station) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.h.active()
		if !s.queue(c) {
			c.Close()
		}
	}
}

// queue has a connection wait for the play, if there is a place and it still wants any.
func (s *station) queue(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return false
	}
	select {
	case s.conns <- c:
		return true
	default:
		return false
	}
}

// refuse closes the connections that wait, and all that come from now on.
func (s *station) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	for {
		select {
		case c := <-s.conns:
			c.Close()
		default:
			return
		}
	}
}

func (s *station) isOffered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offered
}

func (s *station) offer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered = true
}

// run plays the case once, when a requester comes or says that it could not, and
// returns the result.
func (s *station) run(ctx context.Context) Result {
	defer close(s.done)
	defer s.refuse()
	v := &Visit{Probe: &Probe{c: &s.c, run: s.h.newRun(), ctx: ctx}, s: s}
	defer v.leave()
	result := v.play()
	result.Case, result.Sent, result.Got = s.c, v.sent.list(), v.got.list()
	if !v.began.IsZero() {
		result.Elapsed = time.Since(v.began)
	}
	return result
}
