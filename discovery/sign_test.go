package discovery_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// offer returns an announcement that can be signed, with these actions.
func offer(actions ...discovery.Action) discovery.Announcement {
	return discovery.Announcement{
		Ident: "sample:AAECAwQFBgcICQoLDA0ODxAR", Weight: 1, Address: "beepish+tls://10.0.0.5:30123", Envelopes: []string{"json"},
		Timestamp: 1700000000123_000, Certificate: mustCertificate("sample"), Actions: actions,
	}
}

func TestSignedReadsTheSame(t *testing.T) {
	a := offer(
		discovery.Action{Class: "Deep.Name.Space", Name: "go", Version: 3, Flags: []string{"update", "public", "noauth", "t5"}},
		discovery.Action{Sector: "web", Class: "Page", Name: "show", Envelopes: []string{"web", "json"}},
	)
	a.Ident, a.Weight, a.Interval = "quote\"back\\slash é 😀 \x01:x", 100, 7*time.Second
	packet, err := a.Sign(mustKey("sample"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(discovery.Compress(packet))
	if err != nil {
		t.Fatal(err)
	}
	want := "[main:Deep.Name.Space.go~3 web:Page.show~1]"
	if b.Ident != a.Ident || b.Sector != "main" || b.Weight != 100 || b.Interval != 7*time.Second || fmt.Sprint(names(b)) != want ||
		fmt.Sprint(b.Actions[0].Flags) != "[noauth public update t5]" || fmt.Sprint(b.Actions[1].Envelopes) != "[web json]" {
		t.Errorf("%s reads as %+v: want what was signed", a.JSON(), *b)
	}
	if !a.Verified() || a.Verify() != nil || !bytes.Equal(a.Packet(), packet) || !bytes.Equal(b.Record(), a.Record()) || b.Strict() != nil {
		t.Errorf("signed announcement is not verified, not the packet or not strict")
	}
	if !regexp.MustCompile(`^[\x20-\x7e]+$`).Match(a.JSON()) {
		t.Errorf("JSON %q: want printable ASCII", a.JSON())
	}
	// Signing again after a change makes a new packet.
	a.Timestamp += 1000
	again, err := a.Sign(mustKey("sample"))
	if err != nil || bytes.Equal(again, packet) {
		t.Errorf("signing with a newer timestamp: error %v, or the same packet", err)
	}
}

func TestSignRefuses(t *testing.T) {
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ellipticalCertificate, err := discovery.ParseCertificate(certificateFor(t, elliptical.Public()))
	if err != nil {
		t.Fatal(err)
	}
	action := discovery.Action{Class: "Sample", Name: "echo"}
	with := func(change func(*discovery.Announcement)) discovery.Announcement {
		a := offer(action)
		change(&a)
		return a
	}
	flagged := func(flags ...string) discovery.Announcement {
		return offer(discovery.Action{Class: "Sample", Name: "echo", Flags: flags})
	}
	many := make([]discovery.Action, 4000)
	for i := range many {
		many[i] = discovery.Action{Class: "Sample", Name: fmt.Sprintf("action_%d", i)}
	}
	for _, tt := range []struct {
		name string
		a    discovery.Announcement
		key  crypto.Signer
		want string
	}{
		{"no ident", with(func(a *discovery.Announcement) { a.Ident = "" }), nil, "ident"},
		{"long ident", with(func(a *discovery.Announcement) { a.Ident = strings.Repeat("i", 256) }), nil, "ident"},
		{"ident that is no UTF-8", with(func(a *discovery.Announcement) { a.Ident = "\xff" }), nil, "ident"},
		{"sector with a dot", with(func(a *discovery.Announcement) { a.Sector = "a.b" }), nil, "sector"},
		{"sector with a colon", with(func(a *discovery.Announcement) { a.Sector = "a:b" }), nil, "sector"},
		{"weight", with(func(a *discovery.Announcement) { a.Weight = -1 }), nil, "weight -1"},
		{"large weight", with(func(a *discovery.Announcement) { a.Weight = 101 }), nil, "weight 101"},
		{"interval", with(func(a *discovery.Announcement) { a.Interval = -time.Second }), nil, "interval"},
		{"interval below 1 ms", with(func(a *discovery.Announcement) { a.Interval = time.Microsecond }), nil, "interval"},
		{"no timestamp", with(func(a *discovery.Announcement) { a.Timestamp = 0 }), nil, "timestamp"},
		{"timestamp in milliseconds", with(func(a *discovery.Announcement) { a.Timestamp = 1700000000123 }), nil, "timestamp"},
		{"timestamp that reads as microseconds", with(func(a *discovery.Announcement) { a.Timestamp = 1e17 }), nil, "timestamp"},
		{"address", with(func(a *discovery.Announcement) { a.Address = "10.0.0.5:30123" }), nil, "address"},
		{"envelope", with(func(a *discovery.Announcement) { a.Envelopes = []string{"a,b"} }), nil, "envelope"},
		{"envelope of an action", offer(discovery.Action{Class: "A", Name: "a", Envelopes: []string{"a b"}}), nil, "envelope"},
		{"no class", offer(discovery.Action{Name: "a"}), nil, "action"},
		{"class with a dash", offer(discovery.Action{Class: "A-B", Name: "a"}), nil, "action"},
		{"class with two dots", offer(discovery.Action{Class: "A..B", Name: "a"}), nil, "action"},
		{"class that ends in a dot", offer(discovery.Action{Class: "A.", Name: "a"}), nil, "action"},
		{"name with a dot", offer(discovery.Action{Class: "A", Name: "a.b"}), nil, "action"},
		{"name with U+212A", offer(discovery.Action{Class: "A", Name: "\u212a"}), nil, "action"},
		{"sector of an action", offer(discovery.Action{Sector: "a:b", Class: "A", Name: "a"}), nil, "action"},
		{"version", offer(discovery.Action{Class: "A", Name: "a", Version: -1}), nil, "version -1"},
		{"action twice", offer(action, action), nil, "twice"},
		{"action twice in another case", offer(action, discovery.Action{Class: "SAMPLE", Name: "Echo"}), nil, "twice"},
		{"unknown flag", flagged("fast"), nil, `flag "fast"`},
		{"flag with a comma", flagged("read,noauth"), nil, "flag"},
		{"t0", flagged("t0"), nil, "flag"},
		{"two timeouts", flagged("t5", "t6"), nil, "two flags tN"},
		{"JSON of 65,536 octets", offer(many...), nil, "want fewer than 65536"},
		{"no certificate", with(func(a *discovery.Announcement) { a.Certificate = nil }), nil, "want a certificate"},
		{"key of another certificate", offer(action), mustKey("other"), "does not belong"},
		{"EC key", offer(action), elliptical, "want RSA"},
		{"EC key and certificate", with(func(a *discovery.Announcement) { a.Certificate = ellipticalCertificate }), elliptical, "want RSA"},
		{"a signer that fails", offer(action), signer{mustKey("sample"), errors.New("token removed")}, "token removed"},
		{"a signer that signs something else", offer(action), signer{mustKey("sample"), nil}, "does not match"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := tt.key
			if key == nil {
				key = mustKey("sample")
			}
			packet, err := tt.a.Sign(key)
			if err == nil || packet != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Sign of %.300s: %d octets, error %v: want one with %q", fmt.Sprintf("%+v", tt.a), len(packet), err, tt.want)
			}
			if tt.a.Record() != nil {
				t.Error("the announcement has a record: want none")
			}
		})
	}
	if _, err := new(discovery.Announcement).Sign(nil); err == nil {
		t.Error("Sign without a key: want an error")
	}
	a := offer(action)
	if _, err := a.Sign(nil); err == nil {
		t.Error("Sign without a key: want an error")
	}
}

// A signer stands for a key outside of the process that misbehaves.
type signer struct {
	crypto.Signer
	err error
}

func (s signer) Sign(r io.Reader, _ []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Signer.Sign(r, make([]byte, 32), opts)
}

func TestSignJSONRefuses(t *testing.T) {
	for _, tt := range []struct{ json, want string }{
		{"", "octet 0"},
		{"{}", "vmaj"},
		{"[3]", "want 9"},
		{array(0, "2"), "version"},
		{array(1, "\n\"a\""), "octet"},
		{array(1, `"é"`), "printable ASCII"},
		{array(1, `"a"`) + strings.Repeat(" ", 65536), "want fewer"},
	} {
		if a, err := discovery.SignJSON([]byte(tt.json), mustCertificate("sample"), mustKey("sample")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("SignJSON of %.100q: %v, error %v: want one with %q", tt.json, a, err, tt.want)
		}
	}
}

// Every action has envelopes of its own, and the service none.
func TestSignWithoutEnvelopes(t *testing.T) {
	a := offer(discovery.Action{Class: "Page", Name: "show", Envelopes: []string{"web"}})
	a.Envelopes = nil
	packet, err := a.Sign(mustKey("sample"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(packet)
	if err != nil || len(b.Envelopes) != 0 || len(b.Actions) != 1 || fmt.Sprint(b.Actions[0].Envelopes) != "[web]" {
		t.Errorf("%s: error %v: want one action with its own envelope", a.JSON(), err)
	}
}

// What a user wrote is signed as it is, blanks and all.
func TestSignJSONKeepsOctets(t *testing.T) {
	json := []byte(`[ 3, "spaced:AAECAwQFBgcICQoLDA0ODxAR", "main", 1, 5000, "beepish+tls://10.0.0.5:30123", ["json"], null, 1700000000123 ]`)
	input := bytes.Clone(json)
	a, err := discovery.SignJSON(input, mustCertificate("sample"), mustKey("sample"))
	if err != nil {
		t.Fatal(err)
	}
	clear(input)
	if !bytes.Equal(a.JSON(), json) || a.ServiceName() != "spaced" || !a.Verified() {
		t.Errorf("signed %s: want %s", a.JSON(), json)
	}
	if b, err := open(a.Packet()); err != nil || !sameMeaning(a, b) {
		t.Errorf("packet of SignJSON: error %v: want it to read the same", err)
	}
}

// The signer never writes what our own reader warns of, or old readers refuse.
func TestSignedIsStrict(t *testing.T) {
	for name, a := range samples {
		a.Certificate = mustCertificate("sample")
		if _, err := a.Sign(mustKey("sample")); err != nil {
			t.Fatal(err)
		}
		b, err := discovery.Parse(a.Packet())
		if err != nil || b.Strict() != nil || len(b.Warnings) > 0 {
			t.Errorf("%s: error %v, warnings %v: want strict form without any", name, err, b.Warnings)
		}
	}
	if got := discovery.Compress(fixtures.Bytes("announce/v3_ms.packet")); len(got) > 1472 {
		t.Errorf("sample announcement compresses to %d octets: want one that fits a datagram unfragmented", len(got))
	}
}
