package discovery_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// TestFind goes through PROTOCOL 11.1 to 11.3: what is found by which words.
func TestFind(t *testing.T) {
	d := newDirectory(t, &discovery.DirectoryOptions{Authorized: rules("main:Allowed")})
	add := func(s service) *discovery.Announcement {
		t.Helper()
		a := s.announce()
		if err := d.Add(a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	add(service{ident: "a:AAECAwQFBgcICQoLDA0ODxAR", address: "beepish+tls://10.0.0.1:1", actions: []discovery.Action{
		{Class: "Customer.Order", Name: "make", Flags: []string{"create", "noauth", "t600"}},
		{Class: "Customer.Order", Name: "renew", Flags: []string{"create", "update"}},
		{Class: "Customer.Order", Name: "make", Version: 2},
		{Class: "Page", Name: "show", Sector: "web", Envelopes: []string{"web", "json"}},
	}})
	add(service{ident: "b:AAECAwQFBgcICQoLDA0ODxAR", address: "scamp+tls://10.0.0.2:2", actions: []discovery.Action{
		{Class: "customer.order", Name: "MAKE"},
	}})
	stranger := add(service{key: "other", ident: "b:AAECAwQFBgcICQoLDA0ODxAR", address: "beepish+tls://10.0.0.3:3", actions: []discovery.Action{
		{Class: "Allowed", Name: "yes", Flags: []string{"read"}},
		{Class: "Denied", Name: "no", Flags: []string{"create"}},
		{Class: "_meta", Name: "documentation", Flags: []string{"noauth"}},
	}})
	const one, two, three = "a:AAECAwQFBgcICQoLDA0ODxAR@10.0.0.1:1", "b:AAECAwQFBgcICQoLDA0ODxAR@10.0.0.2:2", "b:AAECAwQFBgcICQoLDA0ODxAR@10.0.0.3:3"
	for _, tt := range []struct {
		query discovery.Query
		want  string
	}{
		{discovery.Query{Action: "Customer.Order.make"}, one + " " + two},
		{discovery.Query{Action: "CUSTOMER.order.Make", Sector: "MAIN", Version: 1, Envelope: "json"}, one + " " + two},
		{discovery.Query{Action: "Customer.Order.make~2"}, one},
		{discovery.Query{Action: "Customer.Order.make", Version: 2}, one},
		{discovery.Query{Action: "Customer.Order.make", Version: 3}, ""},
		{discovery.Query{Action: "Customer.Order.make", Envelope: "web"}, ""},
		{discovery.Query{Action: "Customer.Order.make", Sector: "web"}, ""},
		{discovery.Query{Action: "Customer.Order"}, ""},
		{discovery.Query{Action: "web:Page.show", Envelope: "web"}, one},
		{discovery.Query{Action: "web:Page.show~1"}, one},
		{discovery.Query{Action: "Page.show", Sector: "WEB"}, one},
		{discovery.Query{Action: "Page.show"}, ""},
		{discovery.Query{Action: "Customer.Order._create"}, one},
		{discovery.Query{Action: "Customer.Order._update"}, one},
		{discovery.Query{Action: "Customer.Order._read"}, ""},
		{discovery.Query{Action: "Allowed.yes"}, three},
		{discovery.Query{Action: "Allowed._read"}, three},
		{discovery.Query{Action: "Denied.no"}, ""},
		{discovery.Query{Action: "Denied._create"}, ""}, // authorized as the real action (THREATS E11)
		{discovery.Query{Action: "_meta.documentation"}, three},
		{discovery.Query{Action: "Customer.Order.make", Ident: "b:AAECAwQFBgcICQoLDA0ODxAR"}, two},
		{discovery.Query{Action: "Customer.Order.make", Ident: "B:AAECAwQFBgcICQoLDA0ODxAR"}, ""},
		{discovery.Query{Action: "Allowed.yes", Ident: "b:AAECAwQFBgcICQoLDA0ODxAR"}, three},
		{discovery.Query{Action: "Allowed.yes", Ident: stranger.Certificate.Fingerprint + "#b:AAECAwQFBgcICQoLDA0ODxAR"}, three},
		{discovery.Query{Action: "Allowed.yes", Ident: strings.ToLower(stranger.Certificate.Fingerprint) + "#b:AAECAwQFBgcICQoLDA0ODxAR"}, three},
		{discovery.Query{Action: "Customer.Order.make", Ident: stranger.Certificate.Fingerprint + "#b:AAECAwQFBgcICQoLDA0ODxAR"}, ""},
		{discovery.Query{Action: "Customer.Order.make", Ident: "c"}, ""},
		{discovery.Query{}, ""},
		{discovery.Query{Action: "a:b:c"}, ""},
		{discovery.Query{Action: "Customer.Order.make~0"}, ""},
		{discovery.Query{Action: "Customer.Order.make~x"}, ""},
		{discovery.Query{Action: "Customer.Order.make~1,json"}, ""},
		{discovery.Query{Action: "Customer.Order.make", Sector: "main:"}, ""},
		{discovery.Query{Action: "Customer.Order.ma\u212ae"}, ""}, // KELVIN SIGN folds to k elsewhere (THREATS D11)
		{discovery.Query{Action: "Cu\u017ftomer.Order.make"}, ""}, // LONG S folds to s elsewhere
	} {
		if got := idents(d.Find(tt.query)); got != tt.want {
			t.Errorf("Find of %+v: %q, want %q", tt.query, got, tt.want)
		}
		if routes := d.Suspects(tt.query); len(routes) != 0 {
			t.Errorf("Suspects of %+v: %s, want none", tt.query, idents(routes))
		}
	}

	r := d.Find(discovery.Query{Action: "customer.order._CREATE"})[0]
	if r.Action != "Customer.Order.make" || r.Version != 1 || r.Timeout != 600*time.Second || !r.NoAuth || !r.Rule || r.Sector != "main" || r.Scheme != "beepish+tls" {
		t.Errorf("route behind an alias: %+v: want the real action in the announced spelling, with its flags", r.Offer)
	}
	if r := d.Find(discovery.Query{Action: "_meta.documentation"})[0]; r.Rule {
		t.Errorf("_meta of a certificate without a rule for it: Rule is set: such an instance must get no ticket")
	}
}

// TestFindSeesWhatIsSigned: the fields of an announcement are for people, the
// signature covers the JSON.
func TestFindSeesWhatIsSigned(t *testing.T) {
	d := newDirectory(t, nil)
	a := service{}.announce()
	a.Address, a.Ident = "beepish+tls://6.6.6.6:6", "somebody else"
	a.Actions = []discovery.Action{{Sector: "main", Class: "Bank", Name: "transfer", Version: 1, Envelopes: []string{"json"}}}
	if err := d.Add(a); err != nil {
		t.Fatal(err)
	}
	d.LoadFile([]*discovery.Announcement{a})
	if got, want := idents(d.Find(discovery.Query{Action: "Sample.echo"})), "web:AAECAwQFBgcICQoLDA0ODxAR@10.0.0.5:30123"; got != want {
		t.Errorf("Find of the signed action: %q, want %q", got, want)
	}
	if got := d.Find(discovery.Query{Action: "Bank.transfer"}); len(got) != 0 {
		t.Errorf("Find of an action that nobody signed: %s", idents(got))
	}
}

// TestReceiveFixtures: every recorded announcement is taken or refused as it
// should be, and what is refused changes nothing.
func TestReceiveFixtures(t *testing.T) {
	var list struct {
		Cases []struct{ File, Expect, Why string }
	}
	fixtures.JSON("announce/cases.json", &list)
	for _, c := range list.Cases {
		d := newDirectory(t, nil)
		data := fixtures.Bytes(c.File)
		err := d.Receive(discovery.Datagram{Data: data})
		s := d.Stats()
		switch {
		case c.Expect == "accept" && (err != nil || s.Instances+s.Withdrawn != 1):
			t.Errorf("%s (%s): error %v, %+v: want it held", c.File, c.Why, err, s)
		case c.Expect == "reject" && (err == nil || len(d.All()) != 0 || s.Remembered != 0):
			t.Errorf("%s (%s): error %v, %+v: want it refused without a trace", c.File, c.Why, err, s)
		case c.Expect == "reject" && (counterOf(err) == "" || s.Counters[counterOf(err)] != 1):
			t.Errorf("%s (%s): error %v moved %v: want it to move the counter it names", c.File, c.Why, err, s.Counters)
		}
		if c.Expect == "reject" {
			if err := d.Receive(discovery.Datagram{Data: data}); counterOf(err) != "verify_cached" {
				t.Errorf("%s again: error %v: want it known as refused", c.File, err)
			}
		}
	}
}

// TestReceiveRepeats: a packet that repeats what is held costs no signature check
// and no memory, whether compressed or not.
func TestReceiveRepeats(t *testing.T) {
	d := newDirectory(t, &discovery.DirectoryOptions{Limits: discovery.Limits{VerifyRate: 1}}) // and a burst of two
	a := service{}.announce()
	forms := [][]byte{discovery.Compress(a.Packet()), a.Packet(), a.Record(), append([]byte("R"), a.Packet()...)}
	for _, form := range forms[:2] {
		if err := d.Receive(discovery.Datagram{Data: form}); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		for _, form := range forms[:2] {
			if err := d.Receive(discovery.Datagram{Data: form}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := d.Stats().Counters["announce_refreshed"]; n != 201 {
		t.Errorf("announce_refreshed is %d: want 201", n)
	}
	if raceEnabled {
		return
	}
	if n := testing.AllocsPerRun(100, func() { d.Receive(discovery.Datagram{Data: forms[0]}) }); n > 1 {
		t.Errorf("a repetition costs %v allocations: want at most 1", n)
	}
}

// TestReceiveNothing is THREATS D25: 100,000 datagrams that are nothing at all.
func TestReceiveNothing(t *testing.T) {
	d := newDirectory(t, nil)
	for _, data := range []string{"", "R", "D", "X", "Xpeering", "\x00", "[", "{", "RR", "D{", "\x78", "\x78\x9c"} {
		dg := discovery.Datagram{Data: []byte(data)}
		if err := d.Receive(dg); counterOf(err) != "announce_malformed" {
			t.Errorf("Receive of %q: %v: want announce_malformed", data, err)
		}
		if raceEnabled {
			continue
		}
		if n := testing.AllocsPerRun(1000, func() { d.Receive(dg) }); n > 0 {
			t.Errorf("Receive of %q costs %v allocations: want none", data, n)
		}
	}
	if err := d.Receive(discovery.Datagram{Data: bytes.Repeat([]byte("["), 65_508)}); counterOf(err) != "announce_too_big" {
		t.Errorf("65,508 octets: %v: want announce_too_big", err)
	}
	if s := d.Stats(); s.Remembered != 0 {
		t.Errorf("%+v: want nothing remembered", s)
	}
}

// TestLanes is THREATS D20: checks for certificates that no rule names do not use
// up those of the others.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, &discovery.DirectoryOptions{Limits: discovery.Limits{VerifyRate: 10, VerifyRateUnknown: 2}})
		flood := func(key string, n int) (limited int) {
			for i := range n {
				s := service{key: key, ident: fmt.Sprintf("flood%s%d%d:AAECAwQFBgcICQoLDA0ODxAR", key, i, time.Now().Unix())}
				text := s.announce().Packet()
				at := bytes.Index(text, []byte("10.0.0.5"))
				text[at] = '9' // the signature is not good any more
				err := d.Receive(discovery.Datagram{Data: text})
				switch counterOf(err) {
				case "verify_limited":
					limited++
				case "announce_badsig":
				default:
					t.Fatalf("a bad signature: %v", err)
				}
			}
			return limited
		}
		if n := flood("other", 10); n != 6 {
			t.Errorf("unknown certificate: %d of 10 limited, want 6 (burst 4)", n)
		}
		if n := flood("sample", 30); n != 20 {
			t.Errorf("known certificate: %d of 30 limited, want 20 (burst 20, half of it for others)", n)
		}
		time.Sleep(time.Second)
		if n := flood("other", 5); n != 3 {
			t.Errorf("unknown certificate a second later: %d of 5 limited, want 3 (rate 2)", n)
		}
		if err := d.Receive(discovery.Datagram{Data: service{}.datagram()}); err != nil {
			t.Errorf("a good one of a known certificate: %v", err)
		}
	})
}

// TestRefusedIsForgotten: the negative cache holds for a minute and for 8,192
// datagrams, so a packet that becomes acceptable is taken then.
func TestRefusedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, &discovery.DirectoryOptions{Limits: discovery.Limits{NegativeCache: 4}})
		bad := func(i int) discovery.Datagram {
			return discovery.Datagram{Data: fmt.Appendf(nil, "[%d]\n\n-----BEGIN CERTIFICATE-----\n", i)}
		}
		for i := range 5 {
			d.Receive(bad(i))
		}
		for i, want := range []string{"announce_malformed", "verify_cached", "verify_cached"} {
			if err := d.Receive(bad([]int{0, 4, 0}[i])); counterOf(err) != want {
				t.Errorf("datagram %d: %v: want %s", i, err, want)
			}
		}
		time.Sleep(61 * time.Second)
		if err := d.Receive(bad(4)); counterOf(err) != "announce_malformed" {
			t.Errorf("a minute later: %v: want it looked at again", err)
		}
	})
}

// TestBudgets is THREATS D19: what may be held and remembered by datagram.
func TestBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, &discovery.DirectoryOptions{Limits: discovery.Limits{MaxIdents: 8, MaxUnknown: 4, MaxReplayUnknown: 6}})
		add := func(key string, n, from int) (refused int) {
			for i := range n {
				switch err := d.Add(service{key: key, ident: fmt.Sprintf("%s%d:AAECAwQFBgcICQoLDA0ODxAR", key, from+i)}.announce()); counterOf(err) {
				case "announce_over_budget":
					refused++
				case "":
				default:
					t.Fatal(err)
				}
			}
			return refused
		}
		if n := add("other", 10, 0); n != 6 {
			t.Errorf("unknown certificate: %d of 10 refused, want 6", n)
		}
		if n := add("sample", 10, 0); n != 2 {
			t.Errorf("known certificate: %d of 10 refused, want 2", n)
		}
		time.Sleep(11 * time.Second) // now they are suspects, which make room
		if n := add("other", 4, 100); n != 0 {
			t.Errorf("unknown certificate after the first expired: %d of 4 refused, want none", n)
		}
		if n := add("sample", 4, 100); n != 0 {
			t.Errorf("known certificate after the first expired: %d of 4 refused, want none", n)
		}
		time.Sleep(time.Hour)
		add("other", 4, 200)
		add("sample", 4, 200)
		s := d.Stats()
		if s.Remembered != 6+8 || s.Counters["replay_forgotten"] == 0 {
			t.Errorf("remembered: %d, %d forgotten early: want 6 unknown and 8 known", s.Remembered, s.Counters["replay_forgotten"])
		}
		// A file is bounded by its own limits only.
		var records []*discovery.Announcement
		for i := range 20 {
			records = append(records, service{key: "other", ident: fmt.Sprintf("file%d:AAECAwQFBgcICQoLDA0ODxAR", i)}.announce())
		}
		d.LoadFile(records)
		if s := d.Stats(); s.FromFile != 20 {
			t.Errorf("%d records of a file of 20 are held", s.FromFile)
		}
	})
}

// TestBudgetOfOctets: a few strangers with thousands of actions each do not get
// the memory that a thousand honest ones would need.
func TestBudgetOfOctets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		d.SetAuthorized(nil)
		refused := 0
		for i := range 40 {
			packet := signJSON(fmt.Sprintf(`[3,"big%d:AAECAwQFBgcICQoLDA0ODxAR","main",1,5000,"beepish+tls://10.0.0.5:7",["json",{"acname":[[4096,"x"]],"acns":[[4096,"_meta"]],"acsec":[[4096,"main"]],"acenv":[[4096,"json"]]}],[],%d]`,
				i, epoch.UnixMilli()))
			if err := d.Receive(discovery.Datagram{Data: packet}); counterOf(err) == "announce_over_budget" {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused < 20 {
			t.Errorf("%d of 40 announcements of 4,096 actions each were refused: want all beyond 8 MiB", refused)
		}
		if n := len(d.Find(discovery.Query{Action: "_meta.x"})); n != 40-refused {
			t.Errorf("%d routes to one action: want one for each of %d instances", n, 40-refused)
		}
	})
}

// TestSetAuthorized: new rules count for what is held already (invariant 5), and
// a nil Authorized allows nothing but _meta.
func TestSetAuthorized(t *testing.T) {
	d := newDirectory(t, &discovery.DirectoryOptions{Authorized: rules("Sample")})
	q := discovery.Query{Action: "Sample.echo"}
	d.Add(service{ident: "a"}.announce())
	d.Add(service{ident: "b", key: "other"}.announce())
	for _, tt := range []struct {
		rules *discovery.Authorized
		want  int
	}{{rules("Sample"), 2}, {rules("Other"), 1}, {nil, 0}, {rules("Sample.echo"), 2}} {
		d.SetAuthorized(tt.rules)
		if n := len(d.Find(q)); n != tt.want {
			t.Errorf("%d routes under new rules: want %d", n, tt.want)
		}
		if s := d.Stats(); s.Instances != tt.want || s.Unauthorized != 2-tt.want {
			t.Errorf("%+v: want %d that may be chosen and %d that may not", s, tt.want, 2-tt.want)
		}
	}
}

// TestLoadFile goes through PROTOCOL 8.3 for what a file means: its records count
// while they are in it, and what is heard stays whatever the file says.
func TestLoadFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		q := discovery.Query{Action: "Sample.echo"}
		a, b := service{ident: "a", address: "beepish+tls://10.0.0.1:1"}, service{ident: "b", address: "beepish+tls://10.0.0.2:1"}
		newer := a
		newer.at, newer.address = epoch.Add(time.Second), "beepish+tls://10.0.0.1:2"
		gone := newer
		gone.weight, gone.at = -1, epoch.Add(2*time.Second)
		load := func(services ...service) {
			var records []*discovery.Announcement
			for _, s := range services {
				records = append(records, s.announce())
			}
			d.LoadFile(records)
		}
		check := func(when, want string) {
			t.Helper()
			if got := idents(d.Find(q)); got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		load(a, b)
		check("loaded", "a@10.0.0.1:1 b@10.0.0.2:1")
		time.Sleep(48 * time.Hour)
		check("two days later", "a@10.0.0.1:1 b@10.0.0.2:1")
		load(a)
		check("b left", "a@10.0.0.1:1")
		load(newer, b)
		check("a changed", "a@10.0.0.1:2 b@10.0.0.2:1")
		load(a, b)
		check("an older a in a file (THREATS C6)", "a@10.0.0.1:2 b@10.0.0.2:1")
		load(b, newer, a)
		check("both in one file", "a@10.0.0.1:2 b@10.0.0.2:1")
		load(gone, b)
		check("a withdrew", "b@10.0.0.2:1")
		load(newer, b)
		check("and stays so", "b@10.0.0.2:1")
		load()
		check("empty", "")
		if s := d.Stats(); len(d.All()) != 0 || s.FromFile != 0 {
			t.Errorf("empty: %+v: want nothing held", s)
		}

		if err := d.Receive(discovery.Datagram{Data: b.datagram()}); err != nil {
			t.Fatal(err)
		}
		load(b)
		check("heard and in the file", "b@10.0.0.2:1")
		load()
		check("not in the file any more, but heard", "b@10.0.0.2:1")
		load(b)
		time.Sleep(20 * time.Second)
		check("not heard any more, but in the file", "b@10.0.0.2:1")
		load()
		check("neither", "")
	})
}

// TestLoadFileOfThousands: everything is there after it, and what changes between
// two files is what changes in the directory.
func TestLoadFileOfThousands(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: signs 500 announcements")
	}
	d := newDirectory(t, nil)
	var records []*discovery.Announcement
	for i := range 500 {
		records = append(records, service{ident: fmt.Sprintf("many%05d", i)}.announce())
	}
	d.LoadFile(records)
	d.LoadFile(records)
	d.LoadFile(records[1:])
	if n := len(d.Find(discovery.Query{Action: "Sample.echo"})); n != 499 {
		t.Errorf("%d routes: want 499", n)
	}
	if n := d.Stats().Counters["announce_accepted"]; n != 500 {
		t.Errorf("announce_accepted is %d: want 500", n)
	}
}

// TestForeignLoopback is THREATS D22: an address that means every host is dialled
// only when this host said it.
func TestForeignLoopback(t *testing.T) {
	eth := discovery.Iface{Name: "eth0", Index: 2, Addr: netip.MustParseAddr("192.0.2.7")}
	lo := discovery.Iface{Name: "lo", Index: 1, Addr: netip.MustParseAddr("127.0.0.1")}
	for _, address := range []string{"beepish+tls://127.0.0.1:30123", "beepish+tls://localhost:30123", "beepish+tls://[::1]:30123", "beepish+tls://[::ffff:127.0.0.1]:30123"} {
		d := newDirectory(t, nil)
		s := service{address: address}
		q := discovery.Query{Action: "Sample.echo"}
		dg := discovery.Datagram{Data: s.datagram(), Iface: eth}
		if err := d.Receive(dg); err != nil {
			t.Fatal(err)
		}
		if len(d.Find(q)) != 0 || d.Explain(q).Reason != discovery.HasObstacle {
			t.Errorf("%s heard on eth0: %s is found, %s: want none", address, idents(d.Find(q)), d.Explain(q))
		}
		dg.Iface = lo
		if err := d.Receive(dg); err != nil || len(d.Find(q)) != 1 {
			t.Errorf("%s heard on lo as well: error %v, %d routes: want 1", address, err, len(d.Find(q)))
		}
		d = newDirectory(t, nil)
		dg.Iface = eth
		d.Receive(dg)
		d.LoadFile([]*discovery.Announcement{s.announce()})
		if len(d.Find(q)) != 1 {
			t.Errorf("%s in the file: %d routes: want 1", address, len(d.Find(q)))
		}
		d.LoadFile(nil)
		if len(d.Find(q)) != 0 {
			t.Errorf("%s not in the file any more, still heard on eth0: %d routes: want none", address, len(d.Find(q)))
		}
	}
}

// TestSameIdentOtherCertificate is THREATS D15: two entries, each with its own
// certificate.
func TestSameIdentOtherCertificate(t *testing.T) {
	d := newDirectory(t, &discovery.DirectoryOptions{Authorized: rules("main:ALL")})
	victim, rogue := service{}, service{key: "other", address: "beepish+tls://6.6.6.6:6", at: epoch.Add(time.Minute)}
	for _, s := range []service{victim, rogue} {
		if err := d.Add(s.announce()); err != nil {
			t.Fatal(err)
		}
	}
	routes := d.Find(discovery.Query{Action: "Sample.echo"})
	if len(routes) != 2 || routes[0].Instance == routes[1].Instance {
		t.Fatalf("%s: want two instances", idents(routes))
	}
	for _, r := range routes {
		want := map[string]string{"10.0.0.5:30123": "sample", "6.6.6.6:6": "other"}[r.Address]
		if r.Certificate.SHA256 != mustCertificate(want).SHA256 {
			t.Errorf("%s has the certificate of another", r.Address)
		}
	}
}

// TestIdentConflict is THREATS D16: two processes that use one ident and one key
// are reported once.
func TestIdentConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := newDirectory(t, &discovery.DirectoryOptions{Log: textLog(&log)})
		for i := range 12 {
			if err := d.Add(service{}.later(time.Duration(i)*time.Second, 1+i%2).announce()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Second)
		}
		if n := d.Stats().Counters["announce_ident_conflict"]; n != 1 || strings.Count(log.String(), "ident") < 1 {
			t.Errorf("announce_ident_conflict is %d after 48 s, log %q: want 1", n, log.String())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		for i := range 12 {
			d.Add(service{}.later(time.Duration(i)*time.Second, i+1).announce())
			time.Sleep(30 * time.Second)
		}
		if n := d.Stats().Counters["announce_ident_conflict"]; n != 0 {
			t.Errorf("announce_ident_conflict is %d for an address that changes twice a minute: want 0", n)
		}
	})
}

// TestAll: every record with the reasons.
func TestAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		d.Add(service{ident: "live", interval: 20 * time.Second}.announce())
		d.Add(service{ident: "stranger", key: "other", interval: 20 * time.Second}.announce())
		d.Add(service{ident: "silent"}.announce())
		d.LoadFile([]*discovery.Announcement{service{ident: "file"}.announce()})
		time.Sleep(12 * time.Second)
		d.Add(service{ident: "gone", weight: -1}.announce())
		var got []string
		for _, e := range d.All() {
			allowed, all := e.Allowed()
			got = append(got, fmt.Sprintf("%s %v %v named=%v allowed=%d/%d age=%v expires=%v", e.Peer.Ident, e.State, e.Source,
				e.Named, allowed, all, e.Age, e.Expires))
		}
		want := []string{
			"file live file named=true allowed=1/1 age=12s expires=0s",
			"gone withdrawn datagram named=true allowed=0/0 age=0s expires=10.5s",
			"live live datagram named=true allowed=1/1 age=12s expires=30s",
			"silent suspect datagram named=true allowed=1/1 age=12s expires=18s",
			"stranger live datagram named=false allowed=0/1 age=12s expires=30s",
		}
		if !slices.Equal(got, want) {
			t.Errorf("All:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestDirectoryInParallel lets everything happen at once under the race detector.
func TestDirectoryInParallel(t *testing.T) {
	d := newDirectory(t, nil)
	q := discovery.Query{Action: "Sample.echo"}
	var packets [][]byte
	var records []*discovery.Announcement
	for i := range 8 {
		s := service{ident: fmt.Sprintf("p%d", i)}
		packets = append(packets, s.datagram(), s.later(time.Second, i+1).datagram())
		records = append(records, s.announce())
	}
	always := service{ident: "always"}.announce()
	d.Add(always)
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() { // ends when stop is closed
			for {
				select {
				case <-stop:
					return
				default:
				}
				if len(d.Find(q)) == 0 {
					t.Error("Find returned nothing, though one instance is always there")
					return
				}
				d.Explain(q)
				d.Stats()
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			for i := range 60 {
				switch w {
				case 0:
					d.Receive(discovery.Datagram{Data: packets[i%len(packets)]})
				case 1:
					d.LoadFile(records[:i%len(records)])
				case 2:
					d.SetAuthorized(rules())
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

func TestParseAction(t *testing.T) {
	for _, tt := range []struct {
		text string
		want discovery.Query
		err  string
	}{
		{"A.b", discovery.Query{Action: "A.b"}, ""},
		{"web:A.B.c~12", discovery.Query{Sector: "web", Action: "A.B.c", Version: 12}, ""},
		{"A.b~1", discovery.Query{Action: "A.b", Version: 1}, ""},
		{"", discovery.Query{}, "want [sector:]Class.name[~version]"},
		{"A", discovery.Query{}, "want [sector:]Class.name[~version]"},
		{".b", discovery.Query{}, "want [sector:]Class.name[~version]"},
		{"A.", discovery.Query{}, "want [sector:]Class.name[~version]"},
		{"A.b~", discovery.Query{}, "want a positive integer"},
		{"A.b~0", discovery.Query{}, "want a positive integer"},
		{"A.b~-1", discovery.Query{}, "want a positive integer"},
		{"A.b~99999999999999999999", discovery.Query{}, "want a positive integer"},
		{":A.b", discovery.Query{}, "sector"},
		{"a:b:c.d", discovery.Query{}, "want [sector:]Class.name[~version]"},
		{"A b.c", discovery.Query{}, "want [sector:]Class.name[~version]"},
	} {
		got, err := discovery.ParseAction(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("ParseAction(%q) = %+v, %v: want %+v and an error with %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

// TestAddRefusesUnsigned is invariant 1.
func TestAddRefusesUnsigned(t *testing.T) {
	d := newDirectory(t, nil)
	tampered, err := discovery.Parse(fixtures.Bytes("announce/tampered.packet"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*discovery.Announcement{{Ident: "nobody"}, tampered} {
		if err := d.Add(a); counterOf(err) != "announce_badsig" {
			t.Errorf("Add of %q: %v: want announce_badsig", a.Ident, err)
		}
		d.LoadFile([]*discovery.Announcement{a})
	}
	if len(d.All()) != 0 {
		t.Errorf("%d records held: want none", len(d.All()))
	}
	var refusal *discovery.Error
	if err := d.Add(tampered); !errors.As(err, &refusal) {
		t.Errorf("Add: %v: want a *Error", err)
	}
}

// TestForgedNewerChangesNothing: a packet with a higher timestamp and a signature
// that is not good, of another key, or of none.
func TestForgedNewerChangesNothing(t *testing.T) {
	d := newDirectory(t, nil)
	if err := d.Receive(discovery.Datagram{Data: service{}.later(0, 1).datagram()}); err != nil {
		t.Fatal(err)
	}
	newer := service{}.later(time.Hour, 2).announce()
	stolen := service{key: "other"}.later(time.Hour, 2).announce()
	for name, text := range map[string][]byte{
		"octet changed":     bytes.Replace(newer.Packet(), []byte(`echo`), []byte(`ech0`), 1),
		"signature of zero": textOf(string(newer.JSON()), make([]byte, 256)),
		"key of another":    bytes.Replace(stolen.Packet(), stolen.Certificate.PEM(), newer.Certificate.PEM(), 1),
	} {
		if err := d.Receive(discovery.Datagram{Data: text}); counterOf(err) != "announce_badsig" || held(d) != 1 {
			t.Errorf("%s: error %v, port %d is held: want announce_badsig and 1", name, err, held(d))
		}
	}
	if err := d.Receive(discovery.Datagram{Data: service{}.later(time.Second, 3).datagram()}); err != nil || held(d) != 3 {
		t.Errorf("a good one with a lower timestamp than the forged: error %v, port %d is held: want 3", err, held(d))
	}
}

// TestWithdrawnAndBack: weight 0 ends routing at once, whatever it lists, and a
// newer packet restores it.
func TestWithdrawnAndBack(t *testing.T) {
	d := newDirectory(t, nil)
	for i, tt := range []struct{ weight, classes, want string }{
		{"1", `[["Sample",["echo","",1]]]`, "4"},
		{"0", `[]`, "0"},
		{"1", `[["Sample",["echo","",1]]]`, "4"},
		{"0", `[["Sample",["echo","",1]]]`, "0"}, // old Perl keeps them
		{"0.5", `[["Sample",["echo","",1]]]`, "4"},
		{"0", `null`, "0"}, // Rust
		{"1", `[["Sample",["echo","",1]]]`, "4"},
	} {
		packet := signJSON(fmt.Sprintf(`[3,"web:AAECAwQFBgcICQoLDA0ODxAR","main",%s,5000,"beepish+tls://10.0.0.5:4",["json"],%s,%d]`,
			tt.weight, tt.classes, epoch.UnixMilli()+int64(i)))
		if err := d.Receive(discovery.Datagram{Data: packet}); err != nil || fmt.Sprint(held(d)) != tt.want {
			t.Errorf("packet %d, weight %s: error %v, port %d is held: want %s", i, tt.weight, err, held(d), tt.want)
		}
	}
}

// TestManyActions: an instance with many actions is found once for each, however
// often it lists them, and behind each alias.
func TestManyActions(t *testing.T) {
	d := newDirectory(t, nil)
	var classes []string
	for i := range 100 {
		classes = append(classes, fmt.Sprintf(`["Class%d",["one","create",1],["one","create",1],["two","create,read",1],["one","",2]]`, i))
	}
	packet := signJSON(fmt.Sprintf(`[3,"big","main",1,5000,"beepish+tls://10.0.0.5:7",["json","web"],[%s],%d]`, strings.Join(classes, ","), epoch.UnixMilli()))
	if err := d.Receive(discovery.Datagram{Data: packet}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		for _, name := range []string{"one", "two", "_create", "_read", "one~2"} {
			for _, envelope := range []string{"json", "web"} {
				q := discovery.Query{Action: fmt.Sprintf("class%d.%s", i, name), Envelope: envelope}
				if n := len(d.Find(q)); n != 1 {
					t.Fatalf("Find of %v: %d routes, want 1", q, n)
				}
			}
		}
	}
}

// TestManyPacketsOfOne: processes that share an ident send as many packets with one
// timestamp. The first is held, the others are known afterwards, and what is
// remembered of them is bounded. TestSeveralAddresses has those of one process.
func TestManyPacketsOfOne(t *testing.T) {
	d := newDirectory(t, &discovery.DirectoryOptions{Limits: discovery.Limits{VerifyRate: 20}})
	var packets [][]byte
	for i := range 40 {
		packets = append(packets, service{}.later(0, i+1).datagram())
	}
	for round := range 3 {
		for i, p := range packets[:8] {
			err := d.Receive(discovery.Datagram{Data: p})
			if want := map[bool]string{true: "", false: "announce_equivocation"}[i == 0]; counterOf(err) != want {
				t.Fatalf("round %d, packet %d: %v: want %q", round, i, err, want)
			}
		}
	}
	for _, p := range packets { // more than are remembered
		d.Receive(discovery.Datagram{Data: p})
	}
	if held(d) != 1 {
		t.Errorf("port %d is held: want that of the first packet", held(d))
	}
}

// TestFileMemory: what is remembered of instances that left the file is bounded by
// MaxCacheRecords, as the file is.
func TestFileMemory(t *testing.T) {
	d := newDirectory(t, &discovery.DirectoryOptions{Limits: discovery.Limits{MaxCacheRecords: 4}})
	for set := range 3 {
		var records []*discovery.Announcement
		for i := range 6 {
			records = append(records, service{ident: fmt.Sprintf("set%d-%d", set, i)}.announce())
		}
		d.LoadFile(records)
		s := d.Stats()
		if s.FromFile != 4 || s.Remembered > 4 || s.Counters["cache_too_big"] != uint64(2*(set+1)) {
			t.Errorf("set %d: %+v: want four held, no more remembered, two refused", set, s)
		}
	}
}

// TestNames: states, reasons and the like have names, for tables and logs.
func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name func(uint8) string
		n    uint8
	}{
		{func(i uint8) string { return discovery.Kind(i).String() }, 3},
		{func(i uint8) string { return discovery.Why(i).String() }, 7},
		{func(i uint8) string { return discovery.State(i).String() }, 3},
		{func(i uint8) string { return discovery.Reason(i).String() }, 10},
		{func(i uint8) string { return discovery.CacheCondition(i).String() }, 5},
	} {
		seen := make(map[string]bool)
		for i := range tt.n {
			name := tt.name(i)
			if name == "" || name == "unknown" || seen[name] {
				t.Errorf("value %d has the name %q", i, name)
			}
			seen[name] = true
		}
		if got := tt.name(tt.n); got != "unknown" {
			t.Errorf("value %d, which does not exist, has the name %q", tt.n, got)
		}
	}
}

// Rules that are in force no longer are not kept by instances for which the new ones
// change nothing.
func TestOldRulesAreGivenUp(t *testing.T) {
	d := newDirectory(t, &discovery.DirectoryOptions{Authorized: rules("main:Allowed")})
	d.Add(service{ident: "a"}.announce())
	d.LoadFile([]*discovery.Announcement{service{ident: "b"}.announce()})
	old := weak.Make(d.Authorized())
	route := d.Find(discovery.Query{Action: "Sample.echo"})[0]
	d.SetAuthorized(rules("main:Allowed", "main:Allowed, main:Other"))
	for range 10 { // the first finds it gone, unless somebody looks at it still
		if runtime.GC(); old.Value() == nil {
			break
		}
	}
	if old.Value() != nil {
		t.Error("the old rules are in memory though others are in force")
	}
	if again := d.Find(discovery.Query{Action: "Sample.echo"})[0]; again.Peer != route.Peer {
		t.Error("an instance for which nothing changed has another view")
	}
}
