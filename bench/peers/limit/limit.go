// Package limit is the practical physical limit: crypto/tls, length-prefixed binary
// frames multiplexed on one connection, batched writes, handlers run inline
// (limit-tls) or one goroutine per request (limit-tls-go), and io.Copy for bulk.
package limit

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/scampbus/scamp-go/bench"
)

// Adapter is limit-tls, or limit-tls-go when PerRequest is set.
type Adapter struct{ PerRequest bool }

// Name implements bench.Adapter.
func (a Adapter) Name() string {
	if a.PerRequest {
		return "limit-tls-go"
	}
	return "limit-tls"
}

// Notes implements bench.Adapter.
func (a Adapter) Notes() string {
	if a.PerRequest {
		return "binary frames, one goroutine per request; bulk multiplexed in 32 KiB frames under a 256 KiB ACK window"
	}
	return "binary frames, handlers inline in the reader; bulk by io.Copy on its own raw connection (HOL: 32 KiB frames on the shared one)"
}

type server struct {
	l net.Listener
	a Adapter
}

func (s *server) Addr() string { return s.l.Addr().String() }

func (s *server) Close() error { return s.l.Close() }

// Serve implements bench.Adapter.
func (a Adapter) Serve(env *bench.Env) (bench.Server, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", env.ServerTLS())
	if err != nil {
		return nil, err
	}
	s := &server{l: l, a: a}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.conn(c)
		}
	}()
	return s, nil
}

// conn serves one connection. It is one long loop on purpose: a limit pays for no
// call that it can do without.
func (s *server) conn(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 16<<10)
	w := NewWriter(c)
	defer w.Fail(net.ErrClosed)
	var body []byte
	ups := map[uint32]*recvd{}
	var downMu sync.Mutex
	downs := map[uint32]*flow{}
	defer func() {
		downMu.Lock()
		for _, f := range downs {
			f.kill()
		}
		downMu.Unlock()
	}()
	dirty := false // inline replies queued but not flushed
	for {
		if dirty && r.Buffered() < hdrLen {
			w.mu.Lock()
			if w.Flush(false) != nil {
				return
			}
			dirty = false
		}
		h, err := r.Peek(hdrLen)
		if err != nil {
			return
		}
		n, typ, id := int(binary.BigEndian.Uint32(h)), h[4], binary.BigEndian.Uint32(h[5:])
		r.Discard(hdrLen)
		if n > 16<<20 {
			return
		}
		if dirty && r.Buffered() < n {
			w.mu.Lock()
			if w.Flush(false) != nil {
				return
			}
			dirty = false
		}
		if typ == fReq && s.a.PerRequest {
			b := make([]byte, n)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			go func() {
				rep := bench.Handle(b)
				w.Lock()
				q := w.Queue()
				*q = append(appendHdr(*q, len(rep), fRep, id), rep...)
				w.Flush(true)
			}()
			continue
		}
		if cap(body) < n {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		switch typ {
		case fReq:
			if bench.IsSlow(body) {
				b := append([]byte(nil), body...)
				go func() {
					rep := bench.Handle(b)
					w.Lock()
					q := w.Queue()
					*q = append(appendHdr(*q, len(rep), fRep, id), rep...)
					w.Flush(true)
				}()
				continue
			}
			rep := bench.Handle(body)
			w.Lock()
			q := w.Queue()
			*q = append(appendHdr(*q, len(rep), fRep, id), rep...)
			if len(*q) >= 64<<10 {
				if w.Flush(false) != nil {
					return
				}
				dirty = false
			} else {
				w.mu.Unlock()
				dirty = true
			}
		case fUp:
			u := ups[id]
			if u == nil {
				u = &recvd{}
				ups[id] = u
			}
			u.add(w, id, int64(n))
		case fAck:
			downMu.Lock()
			f := downs[id]
			downMu.Unlock()
			if f != nil {
				f.ack(bench.GetI64(body))
			}
		case fUpEnd:
			var got int64
			if u := ups[id]; u != nil {
				got = u.got
			}
			delete(ups, id)
			w.LockNoWait()
			q := w.Queue()
			*q = append(appendHdr(*q, 8, fRep, id), bench.I64(got)...)
			w.Flush(false)
		case fDown:
			total := bench.GetI64(body)
			f := newFlow()
			downMu.Lock()
			downs[id] = f
			downMu.Unlock()
			go func() {
				sendBody(w, f, id, fDownDat, fDownEnd, new(bench.Pattern), total)
				downMu.Lock()
				if downs[id] == f {
					delete(downs, id)
				}
				downMu.Unlock()
			}()
		case fRawUp:
			total := bench.GetI64(body)
			got, _ := io.Copy(io.Discard, io.LimitReader(r, total))
			c.Write(bench.I64(got))
			return
		case fRawDown:
			io.CopyBuffer(onlyWriter{c}, io.LimitReader(new(bench.Pattern), bench.GetI64(body)), make([]byte, 64<<10))
			return
		default:
			return
		}
	}
}
