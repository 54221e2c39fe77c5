package scamp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// textLine is a line of slog.TextHandler: names with values that are quoted where they
// need to be.
var textLine = regexp.MustCompile(`^time=\S+ level=\S+( [a-z_]+=("(\\.|[^"\\])*"|[^"\s]*))+$`)

// THREATS X1: whatever a peer sends, each line of the log parses, as JSON and as text, and
// holds no control character.
func TestAttacksKeepLinesWhole(t *testing.T) {
	evil := "\x1b[2J\r\nlevel=ERROR msg=\"mine\"\x00\u202e" + strings.Repeat("x", 2000)
	quoted, _ := json.Marshal(evil)
	attacks := []string{
		"HEADER 0 5\x1b[31m\r\n",
		"\x1b]0;mine\a\r\n",
		pk("HEADER", 0, evil),
		pk("HEADER", 0, `{"request_id":1,"action":`+string(quoted)+`}`) + pk("EOF", 0, ""),
		msg(0, `{"type":`+string(quoted)+`,"request_id":`+string(quoted)+`}`, evil),
		msg(0, ask("Sample.panic", 1), evil),
		pk("DATA", 7, evil),
		pk("TXERR", 0, evil),
		pk("ACK", 0, evil),
		msg(0, ask("Sample.ok", 1, "ticket", string(quoted)), ""),
		msg(0, `{"type":"subscribe","request_id":1,"action":`+string(quoted)+`}`, evil) + msg(1, `{"type":"notify","action":`+string(quoted)+`}`, evil),
	}
	for _, format := range []string{"JSON", "text"} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var buf syncBuffer
				var log slog.Handler = slog.NewJSONHandler(&buf, nil)
				if format == "text" {
					log = slog.NewTextHandler(&buf, nil)
				}
				n := scamptest.New(t)
				bus := n.Bus(&scamp.Options{Log: slog.New(log)})
				s := n.ServeOn(bus, "sample", nil, func(s *scamp.Service) {
					s.Observe(scamp.AccessLog(slog.New(log)))
					s.Handle("Sample.panic", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { panic(evil) }, nil)
					s.Handle("Sample.ok", ok, &scamp.ActionOptions{Privileges: []int64{1}})
				})
				for _, attack := range attacks {
					w := callWire(t, n, s.Addr())
					w.send(attack)
					<-time.After(2 * time.Second) // so that each kind has its line
					w.c.Close()
				}
				raw, err := n.Dial(t.Context(), "tcp", s.Addr())
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(raw, evil) // in place of TLS
				<-time.After(2 * time.Second)
				raw.Close()
				synctest.Wait()
				lines := strings.Split(strings.TrimSuffix(buf.String(), "\n"), "\n")
				for _, line := range lines {
					var fields map[string]any
					whole := format == "text" && textLine.MatchString(line) || format == "JSON" && json.Unmarshal([]byte(line), &fields) == nil
					if !whole || strings.ContainsAny(line, "\x00\x1b\r\a\u202e") {
						t.Errorf("a line that does not parse, or has control characters: %.300q", line)
					}
				}
				if len(lines) < 6 {
					t.Errorf("%d lines of %d attacks:\n%s", len(lines), len(attacks)+1, &buf)
				}
			})
		})
	}
}

// THREATS X6: a peer that shows another certificate than announced counts, once for each
// connection.
func TestPinMismatchCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.known()
		f.show(f.n.KeyPair().TLS())
		_, err := bus.Call(t.Context(), echoReq(""))
		if n := bus.Stats()["pin_mismatch"]; !errors.Is(err, scamp.ErrPin) || n == 0 || n != uint64(f.dialed()) {
			t.Errorf("a call of an impostor: %v, pin_mismatch %d after %d connections, want ErrPin and each counted", err, n, f.dialed())
		}
	})
}

// A flaky listener fails to accept now and then.
type flaky struct {
	net.Listener
	fails atomic.Int32 // how often it still does
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.fails.Add(-1) >= 0 {
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

// THREATS X6: a connection that the system does not let us accept counts, and the service
// goes on.
func TestFailedAcceptsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		bus := n.Bus(&scamp.Options{Listen: func(network, addr string) (net.Listener, error) {
			l, err := n.Listen(network, addr)
			f := &flaky{Listener: l}
			f.fails.Store(3)
			return f, err
		}})
		n.ServeOn(bus, "sample", nil, func(s *scamp.Service) { s.Handle("Sample.ok", ok, nil) })
		if code, _ := callCode(t, n.Bus(nil), "Sample.ok", ""); code != "ok" {
			t.Errorf("a call after failed accepts: %s", code)
		}
		if got := bus.Stats()["accept_failed"]; got != 3 {
			t.Errorf("accept_failed is %d, want 3", got)
		}
	})
}
