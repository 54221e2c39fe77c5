package conform_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/scamp"
)

// serveTLS has serve look after each connection to 127.0.0.1 until the test ends.
func serveTLS(t *testing.T, serve func(*tls.Conn)) (addr string) {
	t.Helper()
	pair, err := scamp.GenerateKeyPair("conform test", 2048)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair.TLS()}})
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() { // ends when ln is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() { // ends with the connection
				defer c.Close()
				serve(c.(*tls.Conn))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		work.Wait()
	})
	return ln.Addr().String()
}

// TestNothingIsSentToAnotherCertificate is invariant 2.
func TestNothingIsSentToAnotherCertificate(t *testing.T) {
	got := make(chan int64, 10)
	addr := serveTLS(t, func(c *tls.Conn) {
		n, _ := io.Copy(io.Discard, c)
		got <- n
	})
	other := errors.New("not the one")
	card, err := conform.Run(t.Context(), conform.Options{
		Addr: addr, Action: echo, Verify: func([]byte) error { return other },
	}, conform.Cases())
	if card != nil || !errors.Is(err, other) {
		t.Errorf("Run: %v, %v; want no card and the error of Verify", card, err)
	}
	if n := <-got; n != 0 {
		t.Errorf("%d octets came after the handshake, want none", n)
	}
}

func TestNothingToJudge(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	ln.Close()
	ours, _ := serveOurs(t)
	silent := serveTLS(t, func(c *tls.Conn) { io.Copy(io.Discard, c) })
	flood := serveTLS(t, func(c *tls.Conn) {
		pongs := []byte(strings.Repeat("PONG 0 1000\r\n"+strings.Repeat("x", 1000)+"END\r\n", 100))
		for {
			if _, err := c.Write(pongs); err != nil {
				return
			}
		}
	})
	for _, tt := range []struct {
		name, addr, action string
		want               string
		noEcho             bool
	}{
		{"nobody listens", free, "Sample.echo", "connection refused", false},
		{"the action is not there", ours, "Sample.nothing", "no_action", true},
		{"nothing is answered", silent, "Sample.echo", "no reply to request 1; the connection stayed open", true},
		{"packets without end", flood, "Sample.echo", "more than 64 MiB", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			card, err := conform.Run(t.Context(), conform.Options{
				Addr: tt.addr, Action: conform.Action{Name: tt.action}, Timeout: 2 * time.Second,
			}, conform.Cases())
			if card != nil || err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, conform.ErrNoEcho) != tt.noEcho {
				t.Errorf("Run: %v, %v; want no card, and an error with %q that is ErrNoEcho: %v", card, err, tt.want, tt.noEcho)
			}
		})
	}
}

// TestServiceThatIsGone wants the case that ended it to fail and the rest to be skipped.
func TestServiceThatIsGone(t *testing.T) {
	pair, err := scamp.GenerateKeyPair("toy", 2048)
	if err != nil {
		t.Fatal(err)
	}
	toy := newToy(t, pair, "dies of null")
	card := judge(t, toy, time.Second, conform.Select(conform.Cases(), nil, []string{"4.7-a", "3.1-q", "2.4-z"}))
	want := map[string]conform.Verdict{"4.7-a": conform.Pass, "3.1-q": conform.Fail, "2.4-z": conform.Skip}
	for _, r := range card.Results {
		if r.Verdict != want[r.Case.ID] {
			t.Errorf("%s: %v (%s), want %v", r.Case.ID, r.Verdict, r.Came, want[r.Case.ID])
		}
	}
	if len(card.Results) != 3 || !card.Gone {
		t.Errorf("%d results, gone %v; want 3, true", len(card.Results), card.Gone)
	}
}

// TestHostileCasesNeedTheOption is invariant 3.
func TestHostileCasesNeedTheOption(t *testing.T) {
	addr, _ := serveOurs(t)
	cases := conform.Select(conform.Cases(), nil, []string{"3.1-q", "4.7-a"})
	card, err := conform.Run(t.Context(), conform.Options{Addr: addr, Action: echo}, cases)
	if err != nil || len(card.Results) != 1 || card.Results[0].Case.Hostile {
		t.Errorf("Run: %+v, %v; want the result of 4.7-a alone", card, err)
	}
}

// TestRunEndsWithItsContext wants what was found until then, and no case after that.
func TestRunEndsWithItsContext(t *testing.T) {
	pair, err := scamp.GenerateKeyPair("toy", 2048)
	if err != nil {
		t.Fatal(err)
	}
	toy := newToy(t, pair, "ignores PING")
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	card, err := conform.Run(ctx, conform.Options{
		Addr: toy.ln.Addr().String(), Action: echo, Timeout: time.Minute,
		Each: func(conform.Result) { time.AfterFunc(50*time.Millisecond, cancel) }, // while 4.7-b waits
	}, conform.Select(conform.Cases(), nil, []string{"4.1-a", "4.7-b", "4.7-e"}))
	if !errors.Is(err, context.Canceled) || card == nil || len(card.Results) != 1 {
		t.Errorf("Run: %+v, %v; want the result of 4.1-a and context.Canceled", card, err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("Run went on for %v", took)
	}
}

// TestWhatIsNoTLS wants errors that say what answered.
func TestWhatIsNoTLS(t *testing.T) {
	for _, tt := range []struct{ name, greeting, want string }{
		{"another protocol", "SSH-2.0-conform\r\n", "does not look like a TLS handshake"},
		{"silence", "", "no TLS handshake within 500ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var work sync.WaitGroup
			work.Go(func() { // ends when ln is closed
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					io.WriteString(c, tt.greeting)
					io.Copy(io.Discard, c)
					c.Close()
				}
			})
			defer work.Wait()
			defer ln.Close()
			_, err = conform.Run(t.Context(), conform.Options{Addr: ln.Addr().String(), Action: echo, Timeout: 500 * time.Millisecond}, conform.Cases())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run: %v, want an error with %q", err, tt.want)
			}
		})
	}
}
