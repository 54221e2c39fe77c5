package scamp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A handler's context is like any other, and contexts made of it end with it.
func TestHandlerContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		ended := make(chan string, 10)
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.derive", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
				if scamp.RequestFrom(ctx) == nil || scamp.ReplyFrom(ctx) == nil || ctx.Value("x") != nil || ctx.Err() != nil {
					t.Error("a handler's context does not know its request, or knows more")
				}
				child, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				context.AfterFunc(ctx, func() { ended <- "after" })
				never := context.AfterFunc(ctx, func() { ended <- "never" })
				if !never() || never() {
					t.Error("stop of an AfterFunc that waits is not true once")
				}
				<-child.Done()
				ended <- fmt.Sprint(child.Err(), context.Cause(ctx) != nil)
				if late := context.AfterFunc(ctx, func() { ended <- "late" }); late() {
					t.Error("stop of an AfterFunc on a context that has ended is true")
				}
				return nil
			}, nil)
			s.Handle("Sample.keep", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
				context.AfterFunc(ctx, func() { ended <- ctx.Err().Error() })
				return nil
			}, nil)
		})
		w := callWire(t, n, s.Addr())
		w.send(msg(0, ask("Sample.derive", 1), ""))
		synctest.Wait()
		w.send(msg(1, `{"request_id":1,"type":"cancel"}`, ""))
		w.message()
		var got []string
		for range 3 {
			got = append(got, <-ended)
		}
		slices.Sort(got)
		if want := []string{"after", "context canceled true", "late"}; !slices.Equal(got, want) {
			t.Errorf("contexts made of a handler's: %q, want %q", got, want)
		}
		w.send(msg(2, ask("Sample.keep", 2), ""))
		w.message()
		if why := <-ended; why != "context canceled" {
			t.Errorf("context of a handler that has returned: %s, want it ended", why)
		}
	})
	if ctx := context.Background(); scamp.RequestFrom(ctx) != nil || scamp.ReplyFrom(ctx) != nil {
		t.Error("a context that is no handler's has a request")
	}
}

// Mistakes are collected and returned by Serve, all of them.
func TestMistakesOfServices(t *testing.T) {
	n := scamptest.New(t)
	bus := n.Bus(nil)
	pair := n.KeyPair()
	for _, name := range []string{"", "a:b", "a b", "a\n", strings.Repeat("x", 201)} {
		if _, err := bus.NewService(name, &scamp.ServiceOptions{KeyPair: pair}); err == nil {
			t.Errorf("NewService %q: no error", name)
		}
	}
	if _, err := bus.NewService("nokeys", nil); err == nil || !strings.Contains(err.Error(), "nokeys") {
		t.Errorf("NewService without keys: %v, want an error that names it", err)
	}
	make := func() *scamp.Service {
		s, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := make()
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "no action") {
		t.Errorf("Serve without an action: %v", err)
	}
	s = make()
	s.Handle("Sample.ok", echo, nil)
	s.Handle("", echo, nil)
	s.Handle("nodot", echo, nil)
	s.Handle("Sample.nil", nil, nil)
	s.Handle("SAMPLE.OK", echo, nil)
	s.Handle("Sample.flag", echo, &scamp.ActionOptions{Flags: []string{"t5"}})
	s.Handle("Sample.slow", echo, &scamp.ActionOptions{Timeout: 90 * time.Millisecond})
	s.Handle("Sample.slower", echo, &scamp.ActionOptions{Timeout: 25 * time.Hour})
	err := s.Serve(t.Context())
	for _, want := range []string{`""`, `"nodot"`, "no handler", "is registered already: want another name or version", `flag "t5"`, "90ms", "25h"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve with mistakes: %v, want it to tell %s", err, want)
		}
	}
	s = make()
	s.Handle("Sample.ok", echo, nil)
	stop := serve(t, s)
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("second Serve: %v, want an error", err)
	}
	if err := stop(); err != nil {
		t.Errorf("the first Serve: %v", err)
	}
	if s.Addr() == "" || s.Fingerprint() != pair.Certificate.Fingerprint || !strings.HasPrefix(s.Ident(), "sample:") {
		t.Errorf("Addr %q, Fingerprint %q, Ident %q", s.Addr(), s.Fingerprint(), s.Ident())
	}
}

// JSON bodies that are not what was wanted are told apart at both ends.
func TestJSONBodies(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("sample", func(s *scamp.Service) {
		scamp.HandleJSON(s, "Sample.typed", func(_ context.Context, in map[string]int) (any, error) {
			if in["chan"] > 0 {
				return make(chan int), nil
			}
			return in, nil
		}, nil)
		s.Handle("Sample.plain", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			var in []int
			if err := req.JSON(&in); err != nil {
				return err
			}
			return rep.SetJSON(len(in))
		}, nil)
		s.Handle("Sample.echo", echo, nil)
	})
	bus := n.Bus(nil)
	for _, tt := range []struct{ action, body, code, reply string }{
		{"Sample.typed", `{"a":1}`, "", `{"a":1}`},
		{"Sample.typed", ``, "", `null`},
		{"Sample.typed", `[1]`, "bad_request", ""},
		{"Sample.typed", `{"a":1} x`, "bad_request", ""},
		{"Sample.typed", `{"chan":1}`, "internal", ""},
		{"Sample.plain", `[1,2]`, "", `2`},
		{"Sample.plain", `{}`, "bad_request", ""},
		{"Sample.plain", ``, "bad_request", ""},
	} {
		reply, err := bus.Call(t.Context(), &scamp.Request{Action: tt.action, Data: []byte(tt.body)})
		var re *scamp.RemoteError
		if tt.code != "" {
			if !errors.As(err, &re) || re.Code != tt.code {
				t.Errorf("%s with %s: %v, want %s", tt.action, tt.body, err, tt.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s with %s: %v", tt.action, tt.body, err)
			continue
		}
		if b, err := reply.Bytes(0); string(b) != tt.reply || err != nil {
			t.Errorf("%s with %s: %s, %v, want %s", tt.action, tt.body, b, err, tt.reply)
		}
	}
	if _, err := scamp.Call[int](t.Context(), bus, "Sample.echo", "text"); ranOf(err) != scamp.RanYes {
		t.Errorf("reply of another type: %v, want an error with Ran yes", err)
	}
	if _, err := scamp.Call[int](t.Context(), bus, "Sample.echo", make(chan int)); err == nil || ranOf(err) >= 0 {
		t.Errorf("request that is no JSON: %v, want an error before any call", err)
	}
	var out []int
	reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.echo", Data: []byte("[1,2,3]")})
	if err == nil {
		err = reply.JSON(&out)
	}
	if err != nil || len(out) != 3 {
		t.Errorf("Reply.JSON: %v, %v, want three numbers", out, err)
	}
	// Limits of collected bodies, at both ends.
	reply, err = bus.Call(t.Context(), &scamp.Request{Action: "Sample.echo", Data: make([]byte, 1000)})
	if err == nil {
		_, err = reply.Bytes(999)
	}
	if ranOf(err) != scamp.RanYes || !strings.Contains(err.Error(), "longer than 999") {
		t.Errorf("Bytes of a longer reply: %v, want an error that says so", err)
	}
}

func TestCollectedRequestIsBounded(t *testing.T) {
	l := newLimited(t, scamp.Limits{MaxBody: 1000})
	l.free()
	other, err := l.bus.NewService("look", &scamp.ServiceOptions{KeyPair: l.pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	other.Handle("Sample.look", look, nil)
	other.Handle("Sample.echo", echo, nil)
	serve(t, other)
	w := callWire(t, l.n, other.Addr())
	w.acks.Store(true)
	for i, tt := range []struct {
		action string
		size   int
		code   string
	}{{"Sample.look", 1000, ""}, {"Sample.look", 1001, "request_too_big"}, {"Sample.look", 300000, "request_too_big"}, {"Sample.echo", 100000, ""}} {
		w.send(pk("HEADER", i, ask(tt.action, i+1)))
		for left := tt.size; left > 0; left -= 16384 {
			w.awaitAck(i, tt.size-left-65535)
			w.send(pk("DATA", i, strings.Repeat("x", min(left, 16384))))
		}
		w.send(pk("EOF", i, ""))
		if m := w.message(); m.header.ErrorCode != tt.code {
			t.Errorf("%s with %d octets: %s, want code %q", tt.action, tt.size, m.json, tt.code)
		}
	}
}

// A Trace hears what happens in the order in which it does.
func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, bus := newStreet(t)
		s.announce(bus, "sample:alpha", alpha)
		s.announce(bus, "sample:beta", beta)
		s.set(alpha, true)
		s.answer("")
		var heard []string
		ctx := scamp.WithTrace(t.Context(), &scamp.Trace{
			Routed:    func(r discovery.Route) { heard = append(heard, "routed") },
			Connected: func(c scamp.ConnectInfo) { heard = append(heard, fmt.Sprint("connected ", c.Reused)) },
			Sent:      func() { heard = append(heard, "sent") },
			Replied:   func(time.Duration) { heard = append(heard, "replied") },
			Retried: func(n int, cause error) {
				heard = append(heard, fmt.Sprint("retried ", n, " ", errors.Is(cause, scamp.ErrNoDial)))
			},
		})
		var all []string
		for range 20 {
			heard = nil
			if _, err := bus.Call(ctx, echoReq("")); err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.Join(heard, ", "))
		}
		for _, want := range []string{
			"routed, connected true, sent, replied",
			"routed, retried 2 true, routed, connected true, sent, replied",
		} {
			first := strings.Replace(want, "connected true", "connected false", 1)
			if !slices.Contains(all, want) && !slices.Contains(all, first) {
				t.Errorf("heard %q, want one like %q", all, want)
			}
		}
	})
}

// An instance that is no longer heard is tried when nobody else is left.
func TestSuspectsAreTriedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, bus := newStreet(t)
		s.answer("")
		s.announce(bus, "sample:alpha", alpha)
		<-time.After(12 * time.Second)
		if o := <-inBackground(t.Context(), bus, echoReq("")); o.err != nil {
			t.Errorf("call to the only instance, silent for 12 s: %v, want it tried", o.err)
		}
		s.announce(bus, "sample:beta", beta)
		for range 20 {
			if o := <-inBackground(t.Context(), bus, echoReq("")); o.err != nil || o.reply.Instance != "sample:beta" {
				t.Fatalf("call beside an instance that is heard: %v, want that one", o.err)
			}
		}
		<-time.After(time.Minute)
		if o := <-inBackground(t.Context(), bus, echoReq("")); !errors.Is(o.err, scamp.ErrNotFound) || ranOf(o.err) != scamp.RanNo {
			t.Errorf("call a minute later: %v, want ErrNotFound with Ran no", o.err)
		}
	})
}

// A writer that fails ends WriteTo with its own error, and what it did not take is
// still there.
func TestWriteToAWriterThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w := newFar(t).client(nil)
		done := inBackground(t.Context(), c, echoReq(""))
		w.message()
		w.send(reply(0, 1, ""))
		<-done
		s, err := c.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.CloseSend()
		w.message()
		w.send(pk("HEADER", 1, `{"request_id":2}`) + pk("DATA", 1, "0123456789"))
		if n, err := s.WriteTo(failingWriter{}); n != 3 || !errors.Is(err, errDisk) {
			t.Errorf("WriteTo: %d, %v, want 3 and the writer's error", n, err)
		}
		rest := make([]byte, 7)
		if _, err := io.ReadFull(s, rest); err != nil || string(rest) != "3456789" {
			t.Errorf("after that: %q, %v, want the rest", rest, err)
		}
		w.send(pk("TXERR", 1, "disk failed"))
		if _, err := s.WriteTo(io.Discard); ranOf(err) != scamp.RanMaybe {
			t.Errorf("WriteTo of a reply that breaks off: %v, want a CallError", err)
		}
	})
}

var errDisk = errors.New("disk full")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 3, errDisk }

// Initialize reads a file, and what is on the bus by multicast on loopback.
func TestInitialize(t *testing.T) {
	dir := t.TempDir()
	pair := sample(t)
	port := 20000 + rand.IntN(20000)
	files := map[string]string{
		"soa.conf":             fmt.Sprintf("bus.address = 127.0.0.1\ndiscovery.multicast_address = 239.255.77.%d\ndiscovery.port = %d\nservice.shutdown_grace = 0\nservices.typo = 1\n", 1+rand.IntN(250), port),
		"services/greeter.crt": string(pair.Certificate.PEM()) + "\n",
		"authorized_services":  pair.Certificate.Fingerprint + " main:Greeter\n",
	}
	key, err := pair.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	files["services/greeter.key"] = string(key)
	os.Mkdir(filepath.Join(dir, "services"), 0o755)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bus, err := scamp.Initialize(filepath.Join(dir, "soa.conf"))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if scamp.Default() != bus || bus.Config().BusAddress[0] != netip.MustParseAddr("127.0.0.1").String() {
		t.Errorf("Default is %p, want the bus of Initialize, %p", scamp.Default(), bus)
	}
	svc, err := bus.NewService("greeter", nil)
	if err != nil {
		t.Fatal(err)
	}
	scamp.HandleJSON(svc, "Greeter.hello", hello, nil)
	svc.Handle("Secret.get", echo, nil) // the log says that nobody will call it
	stop := serve(t, svc)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if out, err := scamp.Call[greeting](ctx, bus, "Greeter.hello", who{"x"}); err != nil || out.Text != "hello x" {
		t.Errorf("call over multicast on loopback: %+v, %v, want hello x", out, err)
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := scamp.Initialize(filepath.Join(dir, "missing.conf")); err == nil {
		t.Error("Initialize with a file that is missing: no error")
	}
}

// Without rules, and with a cache file that is not there, errors say what to do.
func TestErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	bus, err := scamp.Open(&scamp.Config{CachePath: filepath.Join(dir, "cache")}, &scamp.Options{Log: ticketscan.Log(t, nil), Carriers: []discovery.Carrier{discovery.NewLoopback()}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	_, err = bus.Call(ctx, echoReq(""))
	if !errors.Is(err, scamp.ErrStale) || ranOf(err) != scamp.RanNo || !strings.Contains(err.Error(), "scamp cache") {
		t.Errorf("call without a cache file: %v, want ErrStale that names scamp cache", err)
	}
	f := newFar(t)
	f.announce(bus, "sample:1", alpha)
	_, err = bus.Call(ctx, echoReq(""))
	if !errors.Is(err, scamp.ErrDenied) || !strings.Contains(err.Error(), "bus.authorized_services") {
		t.Errorf("call without rules: %v, want ErrDenied that names bus.authorized_services", err)
	}
}

// While the rules file cannot be used, whoever is denied is told so, with the file's real
// path and why, and not to add a line to some file. With rules in force the error says that
// they may be old.
func TestAdviceOfRulesThatCannotBeUsed(t *testing.T) {
	f := newFar(t)
	line := f.pair.Certificate.Fingerprint + " main:Sample"
	for _, tt := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"missing", func(string) error { return nil }, "no such file or directory: mend that, and have the line"},
		{"empty", func(path string) error { return os.WriteFile(path, nil, 0o644) }, "no octet in it"},
		{"unreadable", func(path string) error { return os.Mkdir(path, 0o755) }, "want a regular file"},
		{"damaged", func(path string) error { return os.WriteFile(path, []byte("#\nrubbish\n"), 0o644) }, "line 2 is the first that is none"},
	} {
		path := filepath.Join(t.TempDir(), "rules")
		if err := tt.make(path); err != nil {
			t.Fatal(err)
		}
		bus, err := scamp.Open(&scamp.Config{AuthorizedServices: path}, &scamp.Options{Log: ticketscan.Log(t, nil), Carriers: []discovery.Carrier{discovery.NewLoopback()}})
		if err != nil {
			t.Fatal(err)
		}
		defer bus.Close()
		f.announce(bus, "sample:1", alpha)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // a bus that has just begun listens for longer
		defer cancel()
		_, err = bus.Call(ctx, echoReq(""))
		var ce *scamp.CallError
		if !errors.As(err, &ce) || !errors.Is(err, scamp.ErrDenied) {
			t.Fatalf("%s: %v, want a CallError that is ErrDenied", tt.name, err)
		}
		failed, _ := bus.Why(ctx, echoReq("")).Failed()
		for what, text := range map[string]string{"advice": ce.Advice, "fix": failed.Fix} {
			if !strings.Contains(text, tt.want) || !strings.Contains(text, path) || !strings.Contains(text, line) || strings.Contains(text, "to authorized_services") {
				t.Errorf("%s: %s %q: want %q, the path and the line", tt.name, what, text, tt.want)
			}
		}
	}
}

// What comes after Serve changes nothing, and the log says so: nobody else would hear of it.
func TestRegisteredAfterServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log bytes.Buffer
		bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		s := n.ServeOn(bus, "late", nil, func(s *scamp.Service) { s.Handle("Late.first", ok, nil) })
		s.Handle("Late.second", ok, nil)
		s.Use(func(next scamp.Handler) scamp.Handler { return next })
		bus.Close()
		for _, want := range []string{`level=ERROR`, `Late.second`, `registered after Serve`, `Use was called after Serve`} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("log %s: want %q in it", &log, want)
			}
		}
	})
}

// A nil function is no handler.
func TestHandleJSONRefusesNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s, err := n.Bus(nil).NewService("nothing", &scamp.ServiceOptions{KeyPair: n.KeyPair()})
		if err != nil {
			t.Fatal(err)
		}
		scamp.HandleJSON[int, int](s, "Nothing.do", nil, nil)
		if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "no handler") {
			t.Errorf("Serve of a nil function: %v, want no handler", err)
		}
	})
}
