package mux_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

var errBroken = errors.New("broken pipe")

// A halfDead connection refuses to be written from the first octet on. Once it has, what
// the peer had sent before is there to be read, and then whatever after says.
type halfDead struct {
	net.Conn // of which nothing is used
	wrote    chan struct{}
	once     sync.Once
	after    io.Reader

	mu      sync.Mutex // protects arrived
	arrived io.Reader

	limit chan struct{} // closed at the read deadline
}

func (h *halfDead) Write([]byte) (int, error) {
	h.once.Do(func() { close(h.wrote) })
	return 0, errBroken
}

func (h *halfDead) Read(p []byte) (int, error) {
	<-h.wrote
	h.mu.Lock()
	n, _ := h.arrived.Read(p)
	h.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	if h.after != nil {
		return h.after.Read(p)
	}
	<-h.limit
	return 0, context.DeadlineExceeded
}

func (h *halfDead) SetReadDeadline(t time.Time) error {
	time.AfterFunc(time.Until(t), func() { close(h.limit) })
	return nil
}

func (h *halfDead) SetWriteDeadline(time.Time) error { return nil }
func (h *halfDead) Close() error                     { return nil }

// TestWhatArrivedIsReadAfterAFailedWrite: a peer that closes behind its last reply makes
// the next write fail; the reply is in the kernel and counts. A connection that is not
// closed by then is, a second later, and meanwhile takes nothing new.
func TestWhatArrivedIsReadAfterAFailedWrite(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after io.Reader // nil means that nothing more comes, and no end
		took  time.Duration
	}{
		{"closed", eofReader{}, 0},
		{"open", nil, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &halfDead{wrote: make(chan struct{}), limit: make(chan struct{}), after: tt.after}
				h.arrived = strings.NewReader(header(0, `{"type":"reply","request_id":1}`) + data(0, "last words") + eof(0) + header(1, `{"type":"reply","request_id":2}`))
				link := mux.NewLink(h)
				var got []*mux.Inbound // after the end
				e := run(t, link, link, mux.Options{Accept: func(m *mux.Inbound) { got = append(got, m) }})
				began := time.Now()
				o, err := e.Send(request(), mux.Body{More: true}, nil)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if tt.after == nil {
					if _, err := e.Send(request(), mux.Body{}, nil); !errors.Is(err, mux.ErrClosed) {
						t.Errorf("Send after a failed write: %v, want ErrClosed", err)
					}
				}
				if err := e.over(t); !errors.Is(err, errBroken) {
					t.Errorf("the connection ends with %v, want why it could not be written", err)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("it ends after %v, want %v", took, tt.took)
				}
				if len(got) != 2 {
					t.Fatalf("%d messages arrived, want 2", len(got))
				}
				if b, err := got[0].Bytes(100); string(b) != "last words" || err != nil {
					t.Errorf("the message that was whole: %q, %v, want its octets", b, err)
				}
				if b, err := got[1].Bytes(100); !errors.Is(err, mux.ErrLost) {
					t.Errorf("the message that was cut: %q, %v, want ErrLost", b, err)
				}
				if _, err := o.Write(t.Context(), []byte("x")); !errors.Is(err, mux.ErrLost) {
					t.Errorf("Write of the message that was being sent: %v, want ErrLost", err)
				}
			})
		})
	}
}

// TestLastReplyOfAPeerThatClosed is the same on TCP: the peer replies and closes while a
// long request is under way, so that its kernel answers with a reset. The reply counts
// all the same, every time.
func TestLastReplyOfAPeerThatClosed(t *testing.T) {
	for range 50 {
		near, far := tcp(t)
		link := mux.NewLink(near)
		got := make(chan *mux.Inbound, 1)
		e := run(t, link, link, mux.Options{Accept: func(m *mux.Inbound) { got <- m }})
		o, err := e.Send(request(), mux.Body{More: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var sending sync.WaitGroup
		sending.Go(func() { o.Write(context.Background(), octets(1<<20)) }) // ends with the connection
		if _, err := io.ReadFull(far, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		io.WriteString(far, header(0, `{"type":"reply","request_id":1}`)+data(0, "last words")+eof(0)+ack(0, 1000))
		far.Close() // with octets unread
		e.over(t)
		sending.Wait()
		select {
		case m := <-got:
			if b, err := m.Bytes(100); string(b) != "last words" || err != nil {
				t.Fatalf("reply of a peer that closed behind it: %q, %v, want its octets", b, err)
			}
		default:
			t.Fatal("the reply of a peer that closed behind it has not arrived")
		}
	}
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }
