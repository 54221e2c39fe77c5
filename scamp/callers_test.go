package scamp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A callersFile is a service that judges callers by a file, and its log.
type callersFile struct {
	t    *testing.T
	n    *scamptest.Network
	path string
	log  syncBuffer
	bus  *scamp.Bus // of the service
	svc  *scamp.Service
}

func newCallersFile(t *testing.T) *callersFile {
	return &callersFile{t: t, n: scamptest.New(t), path: filepath.Join(t.TempDir(), "callers")}
}

// put puts the file in place, whole.
func (f *callersFile) put(lines ...string) {
	f.t.Helper()
	text := "# who may call\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(f.path+".new", []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		f.t.Fatal(err)
	}
}

// serve starts the service; the mode and what else options say, the file is its own.
func (f *callersFile) serve(mode scamp.CallersMode, limits scamp.Limits, opts scamp.ServiceOptions) {
	f.t.Helper()
	f.bus = f.n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(&f.log, nil)), Limits: limits})
	opts.Callers, opts.CallersMode = f.path, mode
	opts.Listen, opts.Grace = []string{"127.0.0.1:0"}, -1
	if opts.KeyPair == nil {
		opts.KeyPair = f.n.KeyPair()
	}
	f.n.Allow(opts.KeyPair, "main:ALL")
	svc, err := f.bus.NewService("sample", &opts)
	if err != nil {
		f.t.Fatal(err)
	}
	svc.Handle("Sample.slow", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
		<-time.After(10 * time.Second)
		return rep.SetBytes([]byte("slow"))
	}, nil)
	for _, name := range []string{"Sample.read", "Sample.write", "Other.read", "_meta.look"} {
		svc.Handle(name, ok, nil)
	}
	svc.Handle("Sample.secret", ok, &scamp.ActionOptions{Privileges: []int64{1}})
	f.svc = svc
	serve(f.t, svc)
}

// as returns a bus that shows a certificate, nil for none.
func (f *callersFile) as(pair *scamp.KeyPair) *scamp.Bus {
	return f.n.Bus(&scamp.Options{KeyPair: pair})
}

// Who may call is decided by the certificate the caller shows (invariant 8). The caller hears no line
// and no file, the log of the service does.
func TestCallersEnforce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newCallersFile(t)
		ann, bob := f.n.KeyPair(), f.n.KeyPair()
		f.put(ann.Certificate.Fingerprint+" Sample", bob.Certificate.SHA256Text()+" main:Sample.read")
		f.serve(scamp.CallersUnset, scamp.Limits{}, scamp.ServiceOptions{})
		for _, tt := range []struct {
			who          *scamp.KeyPair
			action, code string
			text, log    string
		}{
			{ann, "Sample.read", "ok", "", ""},
			{ann, "Sample.write", "ok", "", ""},
			{ann, "Sample.secret", "authn", "no ticket", ""}, // tickets are asked for as well
			{ann, "Other.read", "authz", "certificate " + ann.Certificate.Fingerprint + " may not call main:Other.read",
				fmt.Sprintf(`change %s:2 to \"%s Sample, main:Other\"`, f.path, ann.Certificate.Fingerprint)},
			{bob, "Sample.read", "ok", "", ""},
			{bob, "Sample.write", "authz", "may not call main:Sample.write", f.path + ":3 to"},
			{bob, "Sample.secret", "authz", "may not call main:Sample.secret", ""}, // before the ticket is looked at
			{nil, "Sample.read", "authz", "callers must show a certificate here", "a caller without a certificate"},
			{nil, "_meta.look", "ok", "", ""},
		} {
			f.log.Reset()
			code, text := callCode(t, f.as(tt.who), tt.action, "")
			synctest.Wait()
			log := f.log.String()
			if code != tt.code || !strings.Contains(text, tt.text) {
				t.Errorf("%s: %s %q, want %s with %q", tt.action, code, text, tt.code, tt.text)
			}
			if strings.Contains(text, f.path) || strings.Contains(text, "callers:") {
				t.Errorf("%s: the caller hears %q: want no file", tt.action, text)
			}
			if !strings.Contains(log, tt.log) || (code == "authz") != strings.Contains(log, "caller refused") {
				t.Errorf("%s: log %q, want a line with %q", tt.action, log, tt.log)
			}
			<-time.After(time.Second) // for the next line of its kind
		}
		for who, want := range map[*scamp.KeyPair]string{nil: "bus.identity", bob: "the log of the service"} {
			_, err := f.as(who).Call(t.Context(), &scamp.Request{Action: "Sample.write"})
			if ce, ok := errors.AsType[*scamp.CallError](err); !ok || !strings.Contains(ce.Advice, want) || ce.Ran != scamp.RanNo {
				t.Errorf("with a certificate %v: %v, want advice with %q, and that nothing ran", who != nil, err, want)
			}
		}
		if got := f.bus.Stats()["caller_denied"]; got != 6 {
			t.Errorf("caller_denied is %d, want 6", got)
		}
	})
}

// Audit serves everybody, and tells once a second whom enforce would refuse. Off looks at
// nothing.
func TestCallersAuditAndOff(t *testing.T) {
	for _, tt := range []struct {
		mode  scamp.CallersMode
		lines int
		count uint64
	}{{scamp.CallersAudit, 2, 100}, {scamp.CallersOff, 0, 0}} {
		t.Run(tt.mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newCallersFile(t)
				f.put("# nobody")
				f.serve(tt.mode, scamp.Limits{}, scamp.ServiceOptions{})
				f.log.Reset()
				bus := f.as(f.n.KeyPair())
				for range 2 {
					for range 50 {
						if code, text := callCode(t, bus, "Sample.read", ""); code != "ok" {
							t.Fatalf("%s %q, want ok", code, text)
						}
					}
					<-time.After(time.Second)
				}
				if got := strings.Count(f.log.String(), "that enforce would refuse"); got != tt.lines {
					t.Errorf("%d lines of the log, want %d: %s", got, tt.lines, &f.log)
				}
				if got := f.bus.Stats()["caller_would_deny"]; got != tt.count {
					t.Errorf("caller_would_deny is %d, want %d", got, tt.count)
				}
			})
		})
	}
}

// However often one caller asks, each of the others is named, with what it asks for: who
// follows the log of audit must not cut off one that it never told of. Beyond LogFirst of
// them the share of the kind counts.
func TestEveryCallerIsNamed(t *testing.T) {
	for _, tt := range []struct {
		mode  scamp.CallersMode
		first int
		named int
	}{
		{scamp.CallersAudit, 0, 3},
		{scamp.CallersEnforce, 0, 3},
		{scamp.CallersAudit, 3, 3},
		{scamp.CallersAudit, 2, 2},
	} {
		t.Run(fmt.Sprint(tt.mode, tt.first), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newCallersFile(t)
				f.put("# nobody")
				f.serve(tt.mode, scamp.Limits{LogFirst: tt.first}, scamp.ServiceOptions{})
				f.log.Reset()
				chatty, rare := f.n.KeyPair(), f.n.KeyPair()
				a, b := f.as(chatty), f.as(rare)
				for i := range 600 {
					callCode(t, a, "Sample.read", "")
					if i%100 == 35 {
						callCode(t, b, "Sample.write", "")
						callCode(t, a, "Other.read", "")
					}
					<-time.After(100 * time.Millisecond)
				}
				named := 0
				for who, action := range map[*scamp.KeyPair]string{chatty: "Sample.read", rare: "Sample.write"} {
					if strings.Contains(f.log.String(), "caller="+who.Certificate.Fingerprint+" asks=main:"+action) {
						named++
					}
				}
				if strings.Contains(f.log.String(), "caller="+chatty.Certificate.Fingerprint+" asks=main:Other.read") {
					named++
				}
				lines := strings.Count(f.log.String(), "asks=")
				if named != tt.named || lines > 63 {
					t.Errorf("%d of 3 are named, in %d lines, want %d in one a second and one for each: %s", named, lines, tt.named, &f.log)
				}
			})
		})
	}
}

// A rule by SHA-1 lets nobody in while a certificate is on the bus that was made to have
// the same (PROTOCOL 18): who knows which of them it was meant for? The collision is made
// up: only the text is the same.
func TestCallersWithATwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newCallersFile(t)
		ann, bob := f.n.KeyPair(), f.n.KeyPair()
		f.put(ann.Certificate.Fingerprint+" Sample", bob.Certificate.SHA256Text()+" Sample")
		f.serve(scamp.CallersEnforce, scamp.Limits{}, scamp.ServiceOptions{})
		expect := func(when string, who *scamp.KeyPair, want string) {
			t.Helper()
			if code, text := callCode(t, f.as(who), "Sample.read", ""); code != want {
				t.Errorf("%s: %s %q, want %s", when, code, text, want)
			}
		}
		expect("alone", ann, "ok")
		f.n.Serve("other", func(s *scamp.Service) { s.Handle("Other.twin", ok, nil) })
		for _, e := range f.bus.Directory().All() {
			if !strings.HasPrefix(e.Peer.Ident, "other") {
				continue
			}
			for i, of := range []*scamp.KeyPair{ann, bob} {
				twin, certificate := *e.Announcement, *e.Announcement.Certificate
				certificate.Fingerprint, certificate.SHA256[0] = of.Certificate.Fingerprint, byte(i)
				twin.Certificate = &certificate
				f.bus.Directory().Add(&twin)
			}
		}
		expect("with a twin", ann, "authz")
		expect("with a twin, by a rule by SHA-256", bob, "ok")
	})
}

// The file is followed: what it says counts within 2 s, the last good one when it cannot
// be read, and before the first good one nobody is let in.
func TestCallersFileIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newCallersFile(t)
		ann := f.n.KeyPair()
		f.serve(scamp.CallersEnforce, scamp.Limits{}, scamp.ServiceOptions{})
		bus := f.as(ann)
		may := ann.Certificate.Fingerprint + " Sample"
		for _, tt := range []struct {
			when string
			do   func()
			want string
		}{
			{"without the file", func() {}, "authz"},
			{"with a rule", func() { f.put(may) }, "ok"},
			{"with another one", func() { f.put(ann.Certificate.Fingerprint + " Other") }, "authz"},
			{"with the rule again", func() { f.put(may, "nonsense") }, "ok"},
			{"with no octet", func() { os.Truncate(f.path, 0) }, "ok"},
			{"with too many", func() { os.Truncate(f.path, 64<<20) }, "ok"},
			{"with a directory in its place", func() { os.Remove(f.path); os.Mkdir(f.path, 0o755) }, "ok"},
			{"without the file again", func() { os.Remove(f.path) }, "ok"},
			{"with a file without rules", func() { f.put() }, "authz"},
		} {
			tt.do()
			<-time.After(2 * time.Second)
			if code, text := callCode(t, bus, "Sample.read", ""); code != tt.want {
				t.Errorf("%s: %s %q, want %s", tt.when, code, text, tt.want)
			}
			if code, _ := callCode(t, bus, "_meta.look", ""); code != "ok" {
				t.Errorf("%s: _meta.look: %s, want ok", tt.when, code)
			}
		}
		for _, want := range []string{"rules of callers cannot be read, and never were: enforce lets nobody call, audit serves everybody", "service.callers", "the last good ones stay in force",
			"no such file or directory; nothing is allowed"} {
			if !strings.Contains(f.log.String(), want) {
				t.Errorf("log %s: want a line with %q", &f.log, want)
			}
		}
	})
}

// A rule for a key that others could compute lets nobody in.
func TestCallersWithShortKeys(t *testing.T) {
	pair, err := scamp.GenerateKeyPair("long", 3072)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := newCallersFile(t)
		ann := f.n.KeyPair()
		f.put(ann.Certificate.Fingerprint+" Sample", pair.Certificate.Fingerprint+" Sample")
		f.serve(scamp.CallersEnforce, scamp.Limits{Discovery: discovery.Limits{MinRSABits: 3072}}, scamp.ServiceOptions{KeyPair: pair})
		for _, tt := range []struct {
			who  *scamp.KeyPair
			want string
		}{{ann, "authz"}, {pair, "ok"}} {
			if code, text := callCode(t, f.as(tt.who), "Sample.read", ""); code != tt.want {
				t.Errorf("RSA %d bits: %s %q, want %s", tt.who.Certificate.Bits(), code, text, tt.want)
			}
		}
		synctest.Wait()
		if log := f.log.String(); !strings.Contains(log, "tls.min_rsa_bits") {
			t.Errorf("log %q: want the reason", log)
		}
	})
}

// A service whose callers are to be judged by no file does not start.
func TestCallersWantAFile(t *testing.T) {
	n := scamptest.New(t)
	for _, tt := range []struct {
		opts scamp.ServiceOptions
		want string
	}{
		{scamp.ServiceOptions{CallersMode: scamp.CallersEnforce}, "want service.callers"},
		{scamp.ServiceOptions{CallersMode: scamp.CallersAudit}, "want service.callers"},
		{scamp.ServiceOptions{CallersMode: 7, Callers: "x"}, "want one of the constants"},
	} {
		tt.opts.KeyPair = n.KeyPair()
		svc, err := n.Bus(nil).NewService("sample", &tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.read", ok, nil)
		if err := svc.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Serve with mode %v: %v, want an error with %q", tt.opts.CallersMode, err, tt.want)
		}
	}
}

// The configuration says who one is to services, and who may call one's own.
func TestCallersInTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	pair, err := scamp.GenerateKeyPair("web", 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "services"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"services/web.key": key, "services/web.crt": pair.CertificatePEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func(text string, n *scamptest.Network) (*scamp.Bus, error) {
		cfg, err := scamp.ParseConfig([]byte(text), filepath.Join(dir, "soa.conf"))
		if err != nil {
			t.Fatal(err)
		}
		return scamp.Open(cfg, &scamp.Options{Log: ticketscan.Log(t, nil), Dial: n.Dial, Listen: n.Listen, Carriers: []discovery.Carrier{n.Segment().Join()}})
	}
	n := scamptest.New(t)
	if _, err := open("bus.identity = nobody", n); err == nil || !strings.Contains(err.Error(), "scamp: bus.identity: ") {
		t.Errorf("a bus.identity without a key: %v, want an error", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "callers"), []byte(pair.Certificate.Fingerprint+" Sample\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := open("service.callers = callers", n)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	own := n.KeyPair()
	svc, err := server.NewService("sample", &scamp.ServiceOptions{KeyPair: own, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.read", ok, nil)
	defer serve(t, svc)()
	for text, want := range map[string]string{"": "authz", "bus.identity = web": "ok"} {
		bus, err := open(text, n)
		if err != nil {
			t.Fatal(err)
		}
		c, err := bus.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: own.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		if code, what := callCode(t, c, "Sample.read", ""); code != want {
			t.Errorf("with %q: %s %q, want %s", text, code, what, want)
		}
		c.Close()
		bus.Close()
	}
}

// What judges callers can be asked for: how old it is, and what is wrong with its file.
func TestCallersState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		path := writeFile(t, t.TempDir(), "callers", "# nobody\n")
		opts := &scamp.ServiceOptions{Callers: path}
		judged := n.ServeWith("judged", opts, func(s *scamp.Service) { s.Handle("Sample.read", ok, nil) })
		free := n.Serve("free", func(s *scamp.Service) { s.Handle("Free.read", ok, nil) })
		if s, judges := free.CallersState(); judges {
			t.Errorf("without a callers file: %v, want none", s)
		}
		began := time.Now()
		s, judges := judged.CallersState()
		if !judges || s.Err != nil || s.Path != path || s.Rules == nil || s.Loaded.After(began) {
			t.Errorf("CallersState: %v %+v, want rules of %s, read before now", judges, s, path)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		again, _ := judged.CallersState()
		if again.Err == nil || again.Rules == nil || !again.Loaded.Equal(s.Loaded) {
			t.Errorf("CallersState without the file: %+v, want the old rules and why there are no newer ones", again)
		}
		if c := judged.Bus.Stats(); c["callers_reload_failed"] != 1 || c["authz_reload_failed"] != 0 {
			t.Errorf("callers_reload_failed %d, authz_reload_failed %d, want 1 and 0", c["callers_reload_failed"], c["authz_reload_failed"])
		}
	})
}

// Events are for those whom some rule names: the announcement of a service for all.
func TestCallersAndEvents(t *testing.T) {
	for _, mode := range []scamp.CallersMode{scamp.CallersOff, scamp.CallersAudit, scamp.CallersEnforce} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newCallersFile(t)
				ann, bob := f.n.KeyPair(), f.n.KeyPair()
				f.put(ann.Certificate.Fingerprint + " Sample.write")
				heard := make(chan string, 10)
				f.serve(mode, scamp.Limits{}, scamp.ServiceOptions{Notified: func(_ context.Context, m *scamp.Notification) { heard <- string(m.Data) }})
				if err := f.svc.Publish("orders", "7", "secret"); err != nil {
					t.Fatal(err)
				}
				hears := func(who *scamp.KeyPair, codes ...string) bool {
					t.Helper()
					s, err := f.as(who).Subscribe(&scamp.Request{Action: "Sample.read"}, codes...)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { s.Close() })
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					return s.Ready(ctx) == nil
				}
				let := mode != scamp.CallersEnforce
				for _, tt := range []struct {
					name  string
					who   *scamp.KeyPair
					codes []string
					want  bool
				}{
					{"ann", ann, []string{"orders"}, true},
					{"ann", ann, []string{"orders", "announce"}, true},
					{"bob", bob, []string{"orders"}, let},
					{"nobody", nil, []string{"orders"}, let},
					{"nobody", nil, []string{"announce", "orders"}, let},
					{"nobody", nil, []string{"announce"}, true},
				} {
					before := f.bus.Stats()
					if got := hears(tt.who, tt.codes...); got != tt.want {
						t.Errorf("%s subscribes to %v: %v, want %v", tt.name, tt.codes, got, tt.want)
					}
					after, counter := f.bus.Stats(), "caller_would_deny"
					if !tt.want {
						counter = "caller_denied"
					}
					odd := tt.name != "ann" && len(tt.codes)+len(tt.codes[0]) != 1+len("announce") && mode != scamp.CallersOff
					if rose := after[counter] > before[counter]; rose != odd {
						t.Errorf("%s subscribes to %v: %s rose is %v, want %v", tt.name, tt.codes, counter, rose, odd)
					}
				}
				for who, want := range map[*scamp.KeyPair]bool{ann: true, nil: let} {
					w := f.wire(who)
					w.send(msg(0, `{"type":"notify"}`, "one"))
					synctest.Wait()
					if got := len(heard) == 1; got != want {
						t.Errorf("a notify with a certificate %v is heard: %v, want %v", who != nil, got, want)
					}
					for len(heard) > 0 {
						<-heard
					}
					w.c.Close()
				}
				// Who is no longer named hears no more.
				s, err := f.as(ann).Subscribe(&scamp.Request{Action: "Sample.read"}, "orders")
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				wantReady(t, s)
				f.put(bob.Certificate.Fingerprint + " Sample")
				<-time.After(2 * time.Second)
				if err := f.svc.Publish("orders", "8", "more"); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Second)
				if _, got := s.Value("orders", "8"); got != let {
					t.Errorf("who is no longer named hears of what is new: %v, want %v", got, let)
				}
			})
		})
	}
}

// A line that gives no right, since its tokens are mistyped or there are none, names nobody for
// events either.
func TestEventsAreNotForLinesWithoutRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for tokens, want := range map[string]string{"": "false", "main:": "false", "Sample.*": "false", "Sample.,main:": "false", "Sample.,Sample": "true", "web:ALL": "true"} {
			f := newCallersFile(t)
			ann := f.n.KeyPair()
			f.put(ann.Certificate.Fingerprint + " " + tokens)
			f.serve(scamp.CallersEnforce, scamp.Limits{}, scamp.ServiceOptions{})
			w := f.wire(ann)
			w.acks.Store(true)
			w.send(subscribe(0, 1, `["orders"]`))
			if want == "true" {
				wantEvent(t, w, `[]`)
			}
			wantDone(t, w, 1, want)
			w.c.Close()
		}
	})
}

// Who is no longer named hears no event more, and its connection ends: behind what it has
// in hand, which finishes (THREATS S7).
func TestCallersWithdrawnFromASubscriberWithRequests(t *testing.T) {
	for _, requests := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(requests), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newCallersFile(t)
				ann := f.n.KeyPair()
				f.put(ann.Certificate.Fingerprint + " Sample")
				f.serve(scamp.CallersEnforce, scamp.Limits{MaxConcurrency: 2}, scamp.ServiceOptions{}) // the third waits, and is judged when its turn comes
				w := f.wire(ann)
				w.send(msg(0, `{"type":"subscribe","request_id":100}`, `["orders"]`))
				for range 2 { // what there is, and subscribe_done
					w.message()
				}
				for i := range requests {
					w.send(msg(i+1, fmt.Sprintf(`{"type":"request","action":"Sample.slow","version":1,"envelope":"json","request_id":%d}`, i+1), ""))
				}
				synctest.Wait()
				f.put("00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33 Sample")
				<-time.After(2 * time.Second)
				for i := range 3 {
					if err := f.svc.Publish("orders", fmt.Sprint(i), "secret"); err != nil {
						t.Fatal(err)
					}
					<-time.After(time.Second)
				}
				if requests > 0 { // not silent, so that its end waits for who may be on their way
					<-time.After(4900 * time.Millisecond)
					w.send("PING 1 0\r\nEND\r\n")
				}
				for range requests { // two of them end at once, in any order
					m := w.message()
					if m.header.ID == packet.NumberID(3) && m.header.ErrorCode != scamp.CodeAuthz || m.header.ID != packet.NumberID(3) && m.body != "slow" || !m.whole {
						t.Errorf("reply %s with %q, want that of what was in hand", m.json, m.body)
					}
				}
				if requests > 0 { // what crosses the goodbye is refused, and does not get lost
					<-time.After(10 * time.Millisecond)
					w.send(msg(requests+1, ask("Sample.slow", 9), ""))
					if m := w.message(); m.header.ID != packet.NumberID(9) || m.header.ErrorCode != scamp.CodeTransport || !m.header.DispatchFailure() {
						t.Errorf("reply to who asks before the end: %s, want it refused", m.json)
					}
					if got := f.bus.Stats()["drain_refused"]; got != 1 {
						t.Errorf("drain_refused is %d, want 1", got)
					}
				}
				served := time.Now()
				if rest := w.over(); strings.Contains(rest, "secret") || time.Since(served) > time.Second {
					t.Errorf("behind the withdrawal arrived %q, and the end after %v: want no event, and the end at once", rest, time.Since(served))
				}
			})
		})
	}
}

// wire is a connection of octets to the service that shows a certificate, nil for none.
func (f *callersFile) wire(pair *scamp.KeyPair) *wire {
	f.t.Helper()
	c, err := f.n.Dial(f.t.Context(), "tcp", f.svc.Addr())
	if err != nil {
		f.t.Fatal(err)
	}
	cfg := new(tls.Config)
	if pair != nil {
		cfg.Certificates = []tls.Certificate{{Certificate: [][]byte{pair.Certificate.DER}, PrivateKey: pair.Key}}
	}
	return clientWire(f.t, c, cfg)
}
