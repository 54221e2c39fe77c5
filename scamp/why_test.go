package scamp_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// states returns the states of all rungs: a dot for one that is well, F for the one that
// failed, a dash for one not reached.
func states(l scamp.Ladder) string {
	var b strings.Builder
	for _, r := range l.Rungs {
		b.WriteString(map[scamp.RungState]string{scamp.RungOK: ".", scamp.RungFailed: "F", scamp.RungSkipped: "-"}[r.State])
	}
	return b.String()
}

// TestWhy: each thing that can be wrong stops the climb at its own rung, says so in the
// words of the error that a call gets, and says what would cure it.
func TestWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		handle := func(s *scamp.Service) {
			s.Handle("Sample.echo", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }, nil)
		}
		sample := n.Serve("sample", handle)
		n.ServeWith("stranger", &scamp.ServiceOptions{KeyPair: n.KeyPair()}, func(s *scamp.Service) {
			s.Handle("Bank.transfer", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }, nil)
		})
		gone := n.Serve("gone", func(s *scamp.Service) {
			s.Handle("Gone.one", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }, nil)
		})
		goer := n.Serve("goer", func(s *scamp.Service) {
			s.Handle("Goer.one", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }, nil)
		})
		bus := n.Bus(nil)
		n.Kill(gone)
		goer.Stop()
		dial := func(f func(net.Conn) net.Conn) func(context.Context, string, string) (net.Conn, error) {
			return func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := n.Dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return f(c), nil
			}
		}
		impostor := n.Serve("impostor", handle)
		cut := n.Bus(&scamp.Options{Dial: dial(func(c net.Conn) net.Conn { c.Close(); return c })})
		swapped := n.Bus(&scamp.Options{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return n.Dial(ctx, network, impostor.Addr())
		}})
		// A process that is stopped: the system accepts for it, and nobody reads.
		mute := n.Bus(&scamp.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			c, _ := net.Pipe()
			return c, nil
		}})
		for _, tt := range []struct {
			name   string
			bus    *scamp.Bus
			action string
			ident  string
			states string
			want   string // in the rung that failed, or the last one
			fix    string
			err    error
		}{
			{"well", bus, "Sample.echo", sample.Ident(), "...............", "the connection stays open; no request was sent", "", nil},
			{"no name", bus, "echo", "", "F--------------", "want [sector:]Class.name[~version]", "main:Greeter.hello~1", nil},
			{"nobody", bus, "Sample.eco", "", "...F-----------", "did you mean Sample.echo?", "scamp list actions --all", scamp.ErrNotFound},
			{"other version", bus, "Sample.echo~2", "", "...F-----------", "but version 1", "ask for main:Sample.echo~1", scamp.ErrNotFound},
			{"withdrawn", bus, "Goer.one", "", "........F------", "but it withdrew", "start it again", scamp.ErrNotFound},
			{"denied", bus, "Bank.transfer", "", ".........F-----", "no rule lets", "main:Bank", scamp.ErrDenied},
			{"no process", bus, "Gone.one", "", "...........F---", "could not connect", "scamp show IDENT", scamp.ErrNoDial},
			{"no TLS", cut, "Sample.echo", sample.Ident(), "............F--", "could not connect", "scamp show IDENT", scamp.ErrNoDial},
			{"stopped", mute, "Sample.echo", sample.Ident(), "............F--", "TLS not done after", "is it stopped or overloaded?", scamp.ErrNoDial},
			{"another certificate", swapped, "Sample.echo", sample.Ident(), ".............F-", "certificate mismatch", "took its port", scamp.ErrPin},
		} {
			req := &scamp.Request{Action: tt.action}
			if tt.ident != "" {
				req.Route = &scamp.RouteOptions{Ident: tt.ident}
			}
			l := tt.bus.Why(t.Context(), req)
			if got := states(l); got != tt.states || len(l.Rungs) != len(tt.states) {
				t.Errorf("%s: %s, want %s:\n%v", tt.name, got, tt.states, l)
				continue
			}
			last := l.Rungs[len(l.Rungs)-1]
			failed, is := l.Failed()
			if is {
				last = failed
			}
			if !strings.Contains(last.Text, tt.want) || !strings.Contains(last.Fix, tt.fix) || is != strings.Contains(tt.states, "F") {
				t.Errorf("%s: %v, fix %q: want %q and %q", tt.name, last, last.Fix, tt.want, tt.fix)
			}
			if tt.err != nil && !errors.Is(l.Err, tt.err) || (l.Err == nil) == is {
				t.Errorf("%s: error %v, want %v", tt.name, l.Err, tt.err)
			}
			if tt.err == nil {
				continue
			}
			// The error of a call climbs the same ladder, and says the same of the rung that failed.
			_, err := tt.bus.Call(t.Context(), req)
			var ce *scamp.CallError
			if !errors.As(err, &ce) {
				t.Errorf("%s: call: %v, want a CallError", tt.name, err)
				continue
			}
			seen := ce.Ladder()
			same, _ := seen.Failed() // of a dial that the one of Why has just spared it
			if states(seen) != tt.states || pausedDial.ReplaceAllString(same.Text, "") != failed.Text || same.Fix != failed.Fix || !errors.Is(seen.Err, tt.err) {
				t.Errorf("%s: the call saw\n%v\nwant\n%v", tt.name, seen, l)
			}
			if ce.Advice != failed.Fix {
				t.Errorf("%s: advice of the call %q, want %q", tt.name, ce.Advice, failed.Fix)
			}
		}
		time.Sleep(time.Minute) // behind the pause after that dial
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := mute.Call(ctx, &scamp.Request{Action: "Sample.echo", Route: &scamp.RouteOptions{Ident: sample.Ident()}})
		var ce *scamp.CallError
		if !errors.As(err, &ce) || !errors.Is(err, scamp.ErrTimeout) || !strings.Contains(ce.Advice, "stopped or overloaded") {
			t.Errorf("a call that cannot wait for TLS: %v, want ErrTimeout and that the process does not answer", err)
		}
	})
}

// pausedDial is what stands before the error of a dial that was not made again.
var pausedDial = regexp.MustCompile(`^not tried, next try in [0-9.]+ s; the last one: `)

// TestLadderOfACallThatWasSent: what came behind the handshake is the last rung.
func TestLadderOfACallThatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.no", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return errors.New("\x1b[31mno") }, nil)
			s.Handle("Sample.slow", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error { <-ctx.Done(); return nil }, nil)
		})
		bus := n.Bus(nil)
		for _, tt := range []struct{ action, want string }{
			{"Sample.no", `general: \x1b[31mno`},
			{"Sample.slow", "timed out"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := bus.Call(ctx, &scamp.Request{Action: tt.action})
			cancel()
			var ce *scamp.CallError
			if !errors.As(err, &ce) {
				t.Fatalf("%s: %v, want a CallError", tt.action, err)
			}
			l := ce.Ladder()
			if failed, _ := l.Failed(); states(l) != "..............F" || failed.Name != scamp.RungReply || !strings.Contains(failed.Text, tt.want) {
				t.Errorf("%s: want %q at the last rung:\n%v", tt.action, tt.want, l)
			}
		}
		client, err := bus.Dial(t.Context(), s.Addr(), scamp.Identity{Fingerprint: s.Fingerprint()})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_, err = client.Call(t.Context(), &scamp.Request{Action: "Sample.no"})
		var ce *scamp.CallError
		if !errors.As(err, &ce) || states(ce.Ladder()) != ".---------....F" {
			t.Errorf("a client's call: %v, want a ladder without discovery", err)
		}
		own := &scamp.CallError{Action: "Own.action", Err: errors.New("mine"), Advice: "mend it"}
		if l := own.Ladder(); states(l) != ".F" || l.Err != error(own) || l.Rungs[1].Fix != "mend it" {
			t.Errorf("ladder of an error that somebody else made:\n%v", l)
		}
	})
}

// TestWhyOfRefusedRecords: a record of the cache file that was refused is found behind
// an action that nobody offers, with its reason.
func TestWhyOfRefusedRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	pair := scamptest.New(t).KeyPair()
	record := func(action string, at time.Time) []byte {
		a := &discovery.Announcement{Ident: "sample:1", Weight: 1, Envelopes: []string{"json"}, Address: "beepish+tls://127.0.0.1:1",
			Timestamp: at.UnixMicro(), Certificate: pair.Certificate, Actions: []discovery.Action{{Class: "Sample", Name: action}}}
		if _, err := a.Sign(pair.Key); err != nil {
			t.Fatal(err)
		}
		return a.Record()
	}
	now := time.Now().Add(-time.Minute)
	old, latest := record("old", now.Add(-time.Hour)), record("new", now)
	forged := strings.Replace(string(record("forged", now)), "sample:1", "sample:\u0032", 1)
	text := "\n%%%\n" + string(latest) + "\n%%%\n" + string(old) + "\n%%%\n" + forged
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	bus, err := scamp.Open(&scamp.Config{CachePath: path}, &scamp.Options{Log: ticketscan.Log(t, nil), Carriers: []discovery.Carrier{}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	for _, tt := range []struct{ action, states, want string }{
		{"Sample.old", "....--F--------", "older than one seen before"},
		{"Sample.forged", "....-F---------", "signature does not match"},
		{"Sample.other", "...F-----------", "no service offers this action"},
		{"Sample.new", ".........F-----", "no rule lets"},
	} {
		l := bus.Why(t.Context(), &scamp.Request{Action: tt.action})
		if failed, _ := l.Failed(); states(l) != tt.states || !strings.Contains(failed.Text, tt.want) {
			t.Errorf("%s: %s, want %s and %q:\n%v", tt.action, states(l), tt.states, tt.want, l)
		}
	}
}

// Text of a ladder is harmless on a terminal, octets included that are no UTF-8: some
// terminals obey 0x9b. What does print stays as it is.
func TestLadderIsPrintable(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a\x9b31mb", `a\x9b31mb`},
		{"a\x1b[31m\n\u202eb", `a\x1b[31m\n\u202eb`},
		{`say "ü"`, `say "ü"`},
		{"say \"ü\"\x9b", `say "ü"\x9b`},
	} {
		l := (&scamp.CallError{Action: tt.text, Err: errors.New(tt.text)}).Ladder()
		for _, r := range l.Rungs {
			if r.Text != tt.want {
				t.Errorf("rung %s of an error with %q: %q, want %q", r.Name, tt.text, r.Text, tt.want)
			}
		}
	}
}

// People are told in one line what was not reached.
func TestLadderNamesWhatWasNotReached(t *testing.T) {
	l := scamp.Ladder{Rungs: []scamp.Rung{{Name: "name", State: scamp.RungOK}, {Name: "age"}, {Name: "rule", State: scamp.RungFailed, Fix: "x"}, {Name: "tcp"}, {Name: "tls"}}}
	if got, want := l.String(), "ok    name\n-     age\nFAIL  rule\n      fix        x\n-     not reached: tcp, tls\n"; got != want {
		t.Errorf("ladder\n%s\nwant\n%s", got, want)
	}
	l.Rungs = l.Rungs[:3]
	if rest := l.NotReached(); rest != "" || len(l.Reached()) != 3 {
		t.Errorf("nothing is left: %q, want nothing", rest)
	}
}
