package limit

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/scampbus/scamp-go/bench"
)

const (
	fReq = iota
	fRep
	fUp      // chunk of an uploaded body
	fUpEnd   // end of body; the server answers with fRep (8-byte count)
	fDown    // ask for a body (8-byte count)
	fDownDat // chunk of it
	fDownEnd
	fRawUp   // the connection turns into a raw body upload
	fRawDown // ... or download
	fAck     // 8-byte count of body bytes received so far
	hdrLen   = 9
	chunk    = 32 << 10
	window   = 256 << 10 // unacknowledged body bytes
)

// flow is the sending side of one body's ACK window.
type flow struct {
	mu    sync.Mutex
	cond  sync.Cond
	acked int64
	dead  bool
}

func newFlow() *flow { f := &flow{}; f.cond.L = &f.mu; return f }

func (f *flow) wait(sent, window int64) bool {
	f.mu.Lock()
	for sent-f.acked >= window && !f.dead {
		f.cond.Wait()
	}
	ok := !f.dead
	f.mu.Unlock()
	return ok
}

func (f *flow) ack(n int64) {
	f.mu.Lock()
	f.acked = n
	f.cond.Signal()
	f.mu.Unlock()
}

func (f *flow) kill() {
	f.mu.Lock()
	f.dead = true
	f.cond.Broadcast()
	f.mu.Unlock()
}

// recvd is the receiving side.
type recvd struct{ got, ack int64 }

func (r *recvd) add(w *Writer, id uint32, n int64) {
	if r.got += n; r.got-r.ack >= window/4 {
		r.ack = r.got
		w.LockNoWait()
		q := w.Queue()
		*q = append(appendHdr(*q, 8, fAck, id), bench.I64(r.got)...)
		w.Flush(false)
	}
}

func appendHdr(b []byte, n int, typ byte, id uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = append(b, typ)
	return binary.BigEndian.AppendUint32(b, id)
}

type onlyWriter struct{ io.Writer }

func sendBody(w *Writer, f *flow, id uint32, dat, end byte, r io.Reader, n int64) error {
	buf := make([]byte, chunk)
	var sent int64
	for n > 0 {
		if !f.wait(sent, window) {
			return net.ErrClosed
		}
		c := int64(chunk)
		if c > n {
			c = n
		}
		if _, err := io.ReadFull(r, buf[:c]); err != nil {
			return err
		}
		w.LockBulk()
		q := w.Queue()
		*q = append(appendHdr(*q, int(c), dat, id), buf[:c]...)
		if err := w.Flush(false); err != nil {
			return err
		}
		n -= c
		sent += c
	}
	w.Lock()
	q := w.Queue()
	*q = appendHdr(*q, 0, end, id)
	return w.Flush(false)
}

// copyN hands n buffered bytes to w without a copy of its own.
func copyN(w io.Writer, r *bufio.Reader, n int) (int64, error) {
	var done int64
	for n > 0 {
		if r.Buffered() == 0 {
			if _, err := r.Peek(1); err != nil {
				return done, err
			}
		}
		b, _ := r.Peek(min(n, r.Buffered()))
		k, err := w.Write(b)
		r.Discard(k)
		done += int64(k)
		n -= k
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
