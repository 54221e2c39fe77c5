package scamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A reply that has arrived whole can be read although its connection is gone.
func TestWholeReplyOutlivesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		call, err := f.known().Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatal(err)
		}
		w := f.next()
		call.CloseSend()
		w.message()
		w.send(reply(0, 1, "all of it"))
		w.c.Close()
		synctest.Wait()
		r, err := call.Reply()
		if err != nil {
			t.Fatalf("reply that had arrived: %v", err)
		}
		if b, err := r.Bytes(0); string(b) != "all of it" || err != nil {
			t.Errorf("its body: %q, %v, want all of it", b, err)
		}
	})
}

// The time a caller has left runs while its request waits.
func TestTimeRunsInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, scamp.Limits{MaxConcurrency: 1})
		w := callWire(t, l.n, l.Addr())
		w.send(msg(0, ask("Sample.work", 1), ""), msg(1, ask("Sample.work", 2, "ext", `{"v":1,"ms":5000}`), ""))
		<-time.After(6 * time.Second)
		l.free()
		for range 2 {
			m := w.message()
			if late := m.header.ID.String() == "2"; late != m.header.DispatchFailure() || late != (m.header.ErrorCode == "transport") {
				t.Errorf("reply %s, want the second request refused before dispatch", m.json)
			}
		}
		if n := l.ran.Load(); n != 1 {
			t.Errorf("%d handlers ran, want 1", n)
		}
	})
}

// What a handler sets goes out, or an error in its place: never nothing.
func TestRepliesThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		long := json.RawMessage(`"` + strings.Repeat("x", 40000) + `"`)
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.long", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Extra = map[string]json.RawMessage{"x": long}
				return rep.SetBytes([]byte("body"))
			}, nil)
			s.Handle("Sample.longstream", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Extra = map[string]json.RawMessage{"x": long}
				_, err := rep.Write([]byte("body"))
				return err
			}, nil)
			s.Handle("Sample.known", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Extra = map[string]json.RawMessage{"request_id": json.RawMessage(`7`)}
				return nil
			}, nil)
			s.Handle("Sample.knownstream", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Extra = map[string]json.RawMessage{"x": json.RawMessage(`{`)}
				_, err := rep.Write([]byte("body"))
				return err
			}, nil)
			s.Handle("Sample.text", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
				return &scamp.RemoteError{Code: strings.Repeat("c", 1000), Text: strings.Repeat("\x01", 10000), Data: json.RawMessage(`{"x":"` + strings.Repeat("x", 12000) + `"}`)}
			}, nil)
			s.Handle("Sample.data", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
				return &scamp.RemoteError{Code: "x", Text: "y", Data: json.RawMessage(`[1]`)}
			}, nil)
			s.Handle("Sample.goexit", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
				runtime.Goexit()
				return nil
			}, nil)
			s.Handle("Sample.nothing", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return &scamp.RemoteError{} }, nil)
		})
		w := callWire(t, n, s.Addr())
		for i, tt := range []struct{ action, code, text string }{
			{"Sample.long", "internal", "the header of the reply is too long"},
			{"Sample.longstream", "internal", "the header of the reply is too long"},
			{"Sample.known", "internal", "request_id"},
			{"Sample.knownstream", "internal", "want JSON"},
			{"Sample.text", strings.Repeat("c", 64), "\x01"},
			{"Sample.data", "x", "y"},
			{"Sample.goexit", "general", "the handler failed"},
			{"Sample.nothing", "general", "Unknown error"},
		} {
			w.send(msg(i, ask(tt.action, i+1), ""))
			m := w.message()
			if m.header.ErrorCode != tt.code || !strings.Contains(m.header.Error, tt.text) || m.body != "" || len(m.json) > 32768 {
				t.Errorf("%s: reply %.200s with %q, want %s %q", tt.action, m.json, m.body, tt.code, tt.text)
			}
			w.quiet()
		}
	})
}

// Replies that nobody takes end the connection instead of being dropped in silence.
func TestRequestsOfWhoReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, scamp.Limits{})
		raw, err := l.n.Dial(t.Context(), "tcp", l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		w := clientWire(t, &deafConn{Conn: raw}, nil)
		began := time.Now()
		for i := range 20000 {
			if _, err := io.WriteString(w.c, msg(i, ask("Sample.nothere", i+1), "")); err != nil {
				break
			}
		}
		synctest.Wait()
		raw.Close()
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("the connection ended after %v, want it when too much waits, or after 10s", took)
		}
		if s := l.bus.Stats(); s["open_messages_exceeded"]+s["write_stalled"] == 0 {
			t.Errorf("counters %v, want open_messages_exceeded or write_stalled", s)
		}
	})
}

// A deafConn reads its handshake and then nothing more.
type deafConn struct {
	net.Conn
	mu    sync.Mutex
	reads int
}

func (c *deafConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	c.reads++
	deaf := c.reads > 6 // enough for TLS 1.3
	c.mu.Unlock()
	if deaf {
		<-time.After(time.Hour)
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

// TLS and the first header line have one time together.
func TestHandshakeAndHeaderLineTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, scamp.Limits{})
		raw, err := l.n.Dial(t.Context(), "tcp", l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-time.After(3 * time.Second)
		clientWire(t, raw, nil).over()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("a caller that is slow in its handshake and says nothing then: closed after %v, want 5s", took)
		}
	})
}

// A bodyCloser is a request body that knows whether it was closed.
type bodyCloser struct {
	io.Reader
	closed chan struct{}
}

func (b *bodyCloser) Close() error { close(b.closed); return nil }

// A body that is a Closer is closed, once, however its call ends.
func TestBodyIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name, action string
			body         io.Reader
			down, answer bool
		}{
			{"sent", "Sample.echo", strings.NewReader("x"), false, true},
			{"broken", "Sample.echo", io.MultiReader(strings.NewReader("x"), brokenReader{}), false, false},
			{"not found", "Sample.nothere", strings.NewReader("x"), false, false},
			{"no name", "", strings.NewReader("x"), false, false},
			{"no dial", "Sample.echo", strings.NewReader("x"), true, false},
		} {
			f := newFar(t)
			f.setDown(tt.down)
			bus := f.bus(nil)
			f.announce(bus, "sample:1", alpha)
			b := &bodyCloser{tt.body, make(chan struct{})}
			done := inBackground(t.Context(), bus, &scamp.Request{Action: tt.action, Body: b})
			if tt.answer {
				w := f.next()
				w.message()
				w.send(reply(0, 1, ""))
			}
			o := <-done
			synctest.Wait()
			select {
			case <-b.closed:
			default:
				t.Errorf("%s: %v, and the body was not closed", tt.name, o.err)
			}
			if (o.err == nil) != tt.answer {
				t.Errorf("%s: %v", tt.name, o.err)
			}
			if tt.name == "broken" && (!strings.Contains(o.err.Error(), "disk failed") || ranOf(o.err) != scamp.RanMaybe) {
				t.Errorf("body that breaks: %v with Ran %v, want disk failed and maybe", o.err, ranOf(o.err))
			}
		}
	})
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("disk failed") }

// A header that is too long is refused before anything is sent, and leaves no gap.
func TestHeaderTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w := newFar(t).client(nil)
		for name, req := range map[string]*scamp.Request{
			"ticket":  {Action: "Sample.echo", Ticket: scamp.Ticket(strings.Repeat("t", 20000))},
			"escapes": {Action: "Sample.echo", Ticket: scamp.Ticket(strings.Repeat("\x01", 10000))},
			"extra":   {Action: "Sample.echo", Extra: map[string]json.RawMessage{"x": json.RawMessage(`"` + strings.Repeat("x", 20000) + `"`)}},
			"client":  {Action: "Sample.echo", ClientID: -1},
		} {
			if _, err := c.Call(t.Context(), req); err == nil || errors.Is(err, scamp.ErrLost) {
				t.Errorf("%s: %v, want it refused by us", name, err)
			} else if strings.Contains(err.Error(), "tttttttt") {
				t.Errorf("%s: the error shows a ticket", name)
			}
		}
		w.quiet()
		done := inBackground(t.Context(), c, echoReq("x"))
		if m := w.message(); m.no != 0 || m.header.ID.String() != "1" {
			t.Errorf("the next request: number %d, %s, want the first", m.no, m.json)
		}
		w.send(reply(0, 1, ""))
		<-done
	})
}

// TestStreamEnds checks the ways in which a Stream is given up.
func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		c := f.known()
		open := func() *scamp.Stream {
			t.Helper()
			s, err := c.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		// Abort: the request breaks off, the reply still comes.
		s := open()
		w := f.next()
		s.Write([]byte("half"))
		s.Abort("")
		if m := w.message(); m.txerr != "aborted by the caller" || m.body != "half" {
			t.Errorf("aborted request: %q ended by %q, want half and a text", m.body, m.txerr)
		}
		w.send(msg(0, `{"error":"request body not received","error_code":"transport","request_id":1,"type":"reply"}`, ""))
		_, err := s.Reply()
		wantRan(t, "reply to an aborted request", err, scamp.RanYes, nil)

		// Close: the same, and nobody waits any more.
		s = open()
		s.Write([]byte("half"))
		s.Close()
		if m := w.message(); m.txerr == "" {
			t.Errorf("closed request: %s ended well, want TXERR", m.json)
		}
		_, err = s.Reply()
		wantRan(t, "Reply after Close", err, scamp.RanMaybe, nil)
		_, err = s.Write([]byte("x"))
		wantRan(t, "Write after Close", err, scamp.RanMaybe, nil)
		if err := s.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}

		// The reply comes first and ends: the rest of the request is not wanted.
		s = open()
		s.Write([]byte("half"))
		synctest.Wait()
		w.arrived()
		w.send(reply(1, 3, "early"))
		b, err := io.ReadAll(s)
		if string(b) != "early" || err != nil {
			t.Errorf("early reply: %q, %v", b, err)
		}
		synctest.Wait()
		if got := w.arrived(); !strings.HasPrefix(got, "TXERR 2 ") {
			t.Errorf("after an early reply: %q, want a TXERR for the request", got)
		}
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("Write after the end of the reply: no error")
		}

		// What is read to its end is over.
		s = open()
		s.CloseSend()
		w.message()
		w.send(reply(2, 4, "body"))
		var out bytes.Buffer
		if n, err := s.WriteTo(&out); n != 4 || err != nil || out.String() != "body" {
			t.Errorf("WriteTo: %d, %v, %q, want body", n, err, &out)
		}
		s.Close()
		w.quiet()

		if _, err := c.Stream(t.Context(), echoReq("x")); err == nil {
			t.Error("Stream of a request with a body: no error")
		}
	})
}

// TestRefusedStreamMarksInstance checks that streams, too, make the balancer look
// elsewhere for a moment.
func TestRefusedStreamMarksInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, bus := newStreet(t)
		s.announce(bus, "sample:alpha", alpha)
		call, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatal(err)
		}
		defer call.Close()
		w := s.next()
		w.begun()
		s.announce(bus, "sample:beta", beta)
		s.answer("")
		w.send(msg(0, `{"request_id":1,"type":"reply","error_code":"transport","error":"busy","error_data":{"dispatch_failure":true}}`, ""))
		_, err = call.Reply()
		wantRan(t, "refused stream", err, scamp.RanNo, scamp.ErrRefused)
		for range 20 {
			if o := <-inBackground(t.Context(), bus, echoReq("")); o.err != nil || o.reply.Instance != "sample:beta" {
				t.Fatalf("call after a refused stream: %v, want the other instance", o.err)
			}
		}
	})
}
