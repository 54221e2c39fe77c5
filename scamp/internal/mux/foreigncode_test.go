package mux_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A writer that panics, ends its goroutine or lies about what it took harms itself alone:
// the body can still be read from where it was.
func TestWriteToAWriterThatMisbehaves(t *testing.T) {
	for name, misbehave := range map[string]func([]byte) (int, error){
		"panics":             func([]byte) (int, error) { panic("the writer's own") },
		"ends its goroutine": func([]byte) (int, error) { runtime.Goexit(); return 0, nil },
		"takes too much":     func(p []byte) (int, error) { return len(p) + 1, nil },
		"takes less than 0":  func([]byte) (int, error) { return -1, nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				in := new(shelf)
				_, w := talk(t, mux.Options{Accept: in.accept})
				w.send(header(0, `{"type":"request","action":"a.b","request_id":1}`) + data(0, "body"))
				m := in.message(t)
				done := make(chan struct{})
				go func() { // ends with WriteTo
					defer close(done)
					defer func() { recover() }()
					if n, err := m.WriteTo(writerFunc(misbehave)); n != 0 || err == nil {
						t.Errorf("WriteTo: %d, %v, want an error", n, err)
					}
				}()
				<-done
				w.send(eof(0))
				synctest.Wait()
				if b, err := io.ReadAll(m); string(b) != "body" || err != nil {
					t.Errorf("what can be read behind it: %q, %v, want all of it", b, err)
				}
			})
		})
	}
}

// A header that waits for its turn is a copy: its sender may change the map and the octets
// it was made of.
func TestHeaderThatWaitsIsACopy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		g := &stuckTLS{link: mux.NewLink(near), open: make(chan struct{})}
		e := run(t, g, g.link, mux.Options{})
		w := &wire{t: t, conn: far}
		w.listen()
		go e.Send(request(), mux.Body{}, nil) // ends with the write it is in
		synctest.Wait()
		for range 10 { // more than is made at once
			send(t, e, request(), mux.Body{Data: octets(16000)})
		}
		h := request()
		value, details := json.RawMessage(`"as it was"`), json.RawMessage(`{"it":"was"}`)
		h.Extra, h.Error, h.ErrorData = map[string]json.RawMessage{"x": value}, "no", details
		send(t, e, h, mux.Body{})
		copy(value, `"too late"`)
		copy(details, `{"it":"late"`)
		h.Extra["y"] = json.RawMessage(`2`)
		close(g.open)
		synctest.Wait()
		var last []byte
		for _, p := range w.packets() {
			if p.Kind == packet.KindHeader {
				last = bytes.Clone(p.Body)
			}
		}
		if got := string(last); !strings.Contains(got, `"as it was"`) || !strings.Contains(got, `"was"`) || strings.Contains(got, `"y"`) {
			t.Errorf("the last header: %s; want what was sent", got)
		}
	})
}
