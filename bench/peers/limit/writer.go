package limit

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// Writer batches frames from many goroutines into few Write calls. An uncontended
// sender writes by itself; when more frames have piled up behind its write, it
// hands them to a background goroutine.
type Writer struct {
	mu         sync.Mutex
	room       sync.Cond
	work       sync.Cond
	c          net.Conn
	buf, spare []byte
	busy       bool
	handed     bool
	bg         bool
	err        error
	inFlight   atomic.Int32
}

// MaxQueued is how many unsent bytes make a sender wait.
const MaxQueued = 256 << 10

// NewWriter returns a Writer on c.
func NewWriter(c net.Conn) *Writer {
	w := &Writer{c: c}
	w.room.L, w.work.L = &w.mu, &w.mu
	return w
}

// Lock waits for room and locks the queue; append to Queue(), then call Flush.
func (w *Writer) Lock() {
	w.mu.Lock()
	for len(w.buf) > MaxQueued && w.err == nil {
		w.room.Wait()
	}
}

// LockBulk is Lock for body chunks: it waits until little is queued, so that small
// frames never stand behind more than two chunks in this process.
func (w *Writer) LockBulk() {
	w.mu.Lock()
	for len(w.buf) > chunk && w.err == nil {
		w.room.Wait()
	}
}

// LockNoWait is Lock without the wait (for control frames such as ACKs).
func (w *Writer) LockNoWait() { w.mu.Lock() }

// Queue is the unsent data; only between Lock and Flush or Unlock.
func (w *Writer) Queue() *[]byte { return &w.buf }

// Flush sends what is queued and unlocks.
func (w *Writer) Flush(mayYield bool) error {
	if w.busy || w.err != nil {
		err := w.err
		w.mu.Unlock()
		return err
	}
	w.busy = true
	if mayYield {
		w.mu.Unlock()
		runtime.Gosched() // let runnable senders join this batch
		w.mu.Lock()
	}
	w.writeOne()
	if len(w.buf) > 0 && w.err == nil {
		w.handed = true
		if !w.bg {
			w.bg = true
			go w.loop()
		} else {
			w.work.Signal()
		}
	} else {
		w.busy = false
	}
	err := w.err
	w.mu.Unlock()
	return err
}

func (w *Writer) writeOne() {
	b := w.buf
	w.buf = w.spare[:0]
	w.mu.Unlock()
	_, err := w.c.Write(b)
	w.mu.Lock()
	if cap(b) <= 4*MaxQueued {
		w.spare = b
	} else {
		w.spare = nil
	}
	if err != nil {
		w.err = err
	}
	w.room.Broadcast()
}

func (w *Writer) loop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for !w.handed && w.err == nil {
			w.work.Wait()
		}
		if w.err != nil {
			return
		}
		for len(w.buf) > 0 && w.err == nil {
			w.mu.Unlock()
			runtime.Gosched()
			w.mu.Lock()
			w.writeOne()
		}
		w.handed = false
		w.busy = false
	}
}

// Fail makes the writer and its background goroutine stop.
func (w *Writer) Fail(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.room.Broadcast()
	w.work.Broadcast()
	w.mu.Unlock()
}
