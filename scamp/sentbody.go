package scamp

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// copyBody sends a request's body. A body that cannot be read ends the call: what
// was sent of it must not be taken for complete.
func (s *Stream) copyBody(body io.Reader) {
	b := &sentBody{r: body, log: s.p.log}
	defer b.close()
	if !s.out.Then(b) {
		return // the call is over already
	}
	broke := func(err error) {
		b.reading.Store(false)
		if ended, _ := s.out.Ended(); !ended { // else it may be the error of our own close
			s.giveUp(fmt.Errorf("%w: %w", errRequestBody, err))
		}
	}
	s.p.log.guard("Read", func() {
		if err := s.copyFrom(b); err != nil {
			broke(err)
		}
	}, broke)
}

// copyFrom sends what b has until its end, or that of the message. The error is that of b.
func (s *Stream) copyFrom(b *sentBody) error {
	buf := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(buf)
	for {
		b.reading.Store(true)
		if ended, _ := s.out.Ended(); ended {
			return nil
		}
		n, err := b.r.Read(*buf)
		b.reading.Store(false)
		if n > 0 {
			if _, werr := s.out.Write(s.ctx, (*buf)[:n]); werr != nil {
				return nil // the call has failed, or the reply came first
			}
		}
		switch {
		case err == io.EOF:
			s.out.CloseSend()
			return nil
		case err != nil:
			return err
		}
	}
}

// A sentBody is a body that copyBody sends. It is closed once, at the latest when its
// message ends: a Read that waits for octets nobody wants any more ends with that.
type sentBody struct {
	r       io.Reader
	log     *logger
	reading atomic.Bool
	once    sync.Once
}

func (b *sentBody) close() {
	b.once.Do(func() {
		b.log.guard("Close", func() { closeBody(b.r) }, func(error) {}) // nobody waits for it
	})
}

// Ended is called when the message has ended, by whatever goroutine ended it, which does
// not wait for a foreign Close.
func (b *sentBody) Ended() {
	if b.reading.Load() {
		go b.close() // ends when Close does
	}
}
