package scamp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestConformanceTLS has the lines of PROTOCOL 17 about TLS and certificates.
func TestConformanceTLS(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"53_no_octet_before_the_certificate_matched", noOctetBeforePin},
		{"53a_one_octet_of_the_certificate_differs", oneOctetDiffers},
		{"54_wrong_certificate_fails_all_that_wait", wrongCertificate},
		{"55_self_signed_expired_and_wrong_name", anyCertificate},
		{"56_callers_without_sni_alpn_or_certificate", plainCallers},
		{"56_caller_with_a_certificate_is_named", namedCaller},
		{"56_tls_versions_and_suites", versionsAndSuites},
		{"56a_no_session_is_resumed", noResumption},
		{"57_fingerprint_of_the_sample", fingerprintOfSample},
	} {
		t.Run(tt.name, tt.run)
	}
}

// The man in the middle gets 1,000 chances, in both versions, and with sessions that
// it offers to resume (invariant 1).
func noOctetBeforePin(t *testing.T) {
	n := scamptest.New(t)
	impostors, announced := n.KeyPair(), n.KeyPair().Certificate
	pair, shown := impostors.TLS(), impostors.Certificate
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		im := newImpostor(t, &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: version})
		var wrong atomic.Int64
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for range 125 {
					c, err := scamp.Dial(t.Context(), im.l.Addr().String(), scamp.Identity{Certificate: announced}, nil)
					var pin *scamp.PinError
					if err == nil {
						c.Close()
					}
					if !errors.As(err, &pin) || pin.Want != announced.Fingerprint || pin.Got != shown.Fingerprint ||
						!strings.Contains(err.Error(), pin.Want) || !strings.Contains(err.Error(), pin.Got) {
						wrong.Add(1)
						t.Errorf("dial of an impostor: %v, want ErrPin with %s and %s", err, announced.Fingerprint, shown.Fingerprint)
						return
					}
				}
			})
		}
		callers.Wait()
		im.l.Close()
		im.conns.Wait()
		if n := im.octets.Load(); n != 0 {
			t.Errorf("%s: the impostor got %d octets, want 0", tls.VersionName(version), n)
		}
	}
}

func oneOctetDiffers(t *testing.T) {
	f := newFar(t)
	real := f.pair.Certificate
	for _, i := range []int{0, 20, 200, len(real.DER) - 1} {
		other := *real // same key, same fingerprints: only the octets tell
		other.DER = bytes.Clone(real.DER)
		other.DER[i] ^= 1
		_, err := scamp.Dial(t.Context(), "127.0.0.1:1", scamp.Identity{Certificate: &other}, &scamp.Options{Dial: f.dial})
		if !errors.Is(err, scamp.ErrPin) || !strings.Contains(err.Error(), "same SHA-1") {
			t.Errorf("certificate with octet %d changed and the same SHA-1: %v, want ErrPin saying so", i, err)
		}
	}
	for name, id := range map[string]scamp.Identity{
		"SHA-256":          {SHA256: strings.TrimPrefix(real.SHA256Text(), "sha256:")},
		"SHA-256 as rules": {SHA256: real.SHA256Text()},
		"SHA-1":            {Fingerprint: real.Fingerprint},
		"SHA-1 plain":      {Fingerprint: strings.ToLower(strings.ReplaceAll(real.Fingerprint, ":", ""))},
		"anyone":           {Anyone: true},
	} {
		c, err := scamp.Dial(t.Context(), "127.0.0.1:1", id, &scamp.Options{Dial: f.dial})
		if err != nil {
			t.Errorf("identity by %s: %v, want it accepted", name, err)
			continue
		}
		c.Close()
	}
	for name, id := range map[string]scamp.Identity{
		"nothing":       {},
		"wrong SHA-256": {SHA256: strings.Repeat("00", 32)},
		"wrong SHA-1":   {Fingerprint: strings.Repeat("00:", 19) + "00"},
		"short":         {SHA256: "00"},
		"no hex":        {Fingerprint: strings.Repeat("g", 40)},
		// The strongest one counts, not the weakest.
		"SHA-1 beside a wrong SHA-256": {SHA256: strings.Repeat("00", 32), Fingerprint: real.Fingerprint, Anyone: true},
	} {
		if c, err := scamp.Dial(t.Context(), "127.0.0.1:1", id, &scamp.Options{Dial: f.dial}); err == nil {
			c.Close()
			t.Errorf("identity by %s: no error, want it refused", name)
		}
	}
}

func wrongCertificate(t *testing.T) {
	f := newFar(t)
	f.show(scamptest.New(t).KeyPair().TLS())
	bus := f.bus(nil)
	f.announce(bus, "sample:1", "127.0.0.1:30101")
	var calls []<-chan outcome
	for range 10 {
		calls = append(calls, inBackground(t.Context(), bus, echoReq("secret")))
	}
	for _, done := range calls {
		wantRan(t, "call that waited for the connection", (<-done).err, scamp.RanNo, scamp.ErrPin)
	}
	if n := f.dialed(); n != 1 {
		t.Errorf("%d dials for 10 calls at once, want 1", n)
	}
	select {
	case w := <-f.conns: // TLS 1.2: its handshake is done before we look
		if w.over(); w.octets() != 0 {
			t.Errorf("the wrong service got %d octets, want 0", w.octets())
		}
	case <-f.fail:
	}
}

func anyCertificate(t *testing.T) {
	expired := plainTemplate("expired")
	expired.NotAfter = time.Unix(1000, 0)
	named := plainTemplate("somebody.else.example")
	named.DNSNames = []string{"somebody.else.example"}
	for _, template := range []*x509.Certificate{plainTemplate("self-signed"), expired, named} {
		f := newFar(t)
		pair, cert := pairLike(t, template)
		f.cfg.Certificates = []tls.Certificate{pair}
		c, err := scamp.Dial(t.Context(), "127.0.0.1:1", scamp.Identity{Certificate: cert}, &scamp.Options{Dial: f.dial})
		if err != nil {
			t.Errorf("%s: %v, want it accepted, for it is the one we want", template.Subject.CommonName, err)
			continue
		}
		c.Close()
	}
}

// tlsService is a service on TCP and how to reach it with any TLS.
func tlsService(t *testing.T, cfg *scamp.Config) (addr string, caller chan *discovery.Certificate) {
	t.Helper()
	n := scamptest.New(t)
	bus, err := scamp.Open(cfg, &scamp.Options{Log: ticketscan.Log(t, nil), Carriers: []discovery.Carrier{n.Segment().Join()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: sample(t), Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	caller = make(chan *discovery.Certificate, 1)
	svc.Handle("Sample.who", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		caller <- req.Caller
		return nil
	}, nil)
	serve(t, svc)
	return svc.Addr(), caller
}

// shake connects to addr and says what came of the handshake.
func shake(t *testing.T, addr string, cfg *tls.Config) (*wire, error) {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg.InsecureSkipVerify = true
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(t.Context()); err != nil {
		raw.Close()
		return nil, err
	}
	return newWire(t, c), nil
}

func plainCallers(t *testing.T) {
	addr, caller := tlsService(t, nil)
	for _, cfg := range []*tls.Config{
		{},
		{MaxVersion: tls.VersionTLS12},
		{MinVersion: tls.VersionTLS13},
		{ServerName: "somebody.example", NextProtos: nil},
	} {
		w, err := shake(t, addr, cfg)
		if err != nil {
			t.Errorf("anonymous caller with %+v: %v, want it served", cfg, err)
			continue
		}
		w.send(msg(0, ask("Sample.who", 1), ""))
		if m := w.message(); m.header.ErrorCode != "" {
			t.Errorf("anonymous caller: %s, want a reply", m.json)
		}
		if c := <-caller; c != nil {
			t.Errorf("anonymous caller: seen as %s, want nobody", c.Fingerprint)
		}
	}
}

func namedCaller(t *testing.T) {
	addr, caller := tlsService(t, nil)
	k := scamptest.New(t).KeyPair()
	c, err := scamp.Dial(t.Context(), addr, scamp.Identity{Certificate: sample(t).Certificate}, &scamp.Options{KeyPair: k})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if o := <-inBackground(t.Context(), c, &scamp.Request{Action: "Sample.who"}); o.err != nil {
		t.Fatal(o.err)
	}
	if got := <-caller; got == nil || got.SHA256 != k.Certificate.SHA256 {
		t.Errorf("caller with a certificate: seen as %+v, want %s", got, k.Certificate.Fingerprint)
	}
}

// Every suite that Go knows is tried; those of PROTOCOL 6.3 work, the others do not.
func versionsAndSuites(t *testing.T) {
	modern, _ := tlsService(t, nil)
	legacy, _ := tlsService(t, &scamp.Config{LegacyRSA: true})
	only13, _ := tlsService(t, &scamp.Config{TLSMinVersion: tls.VersionTLS13})
	works := func(addr string, cfg *tls.Config) bool {
		w, err := shake(t, addr, cfg)
		if err == nil {
			w.c.Close()
		}
		return err == nil
	}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.SupportedVersions[0] == tls.VersionTLS13 {
			continue
		}
		rsaKex := strings.HasPrefix(s.Name, "TLS_RSA_WITH_AES") && !strings.HasSuffix(s.Name, "SHA256") || s.Name == "TLS_RSA_WITH_AES_128_GCM_SHA256"
		ecdhe := strings.HasPrefix(s.Name, "TLS_ECDHE_RSA_WITH_") && !strings.Contains(s.Name, "RC4") && !strings.Contains(s.Name, "3DES") && !strings.HasSuffix(s.Name, "CBC_SHA256")
		cfg := &tls.Config{CipherSuites: []uint16{s.ID}, MaxVersion: tls.VersionTLS12}
		if got := works(modern, cfg); got != ecdhe {
			t.Errorf("%s: accepted %v, want %v", s.Name, got, ecdhe)
		}
		if got := works(legacy, cfg); got != (ecdhe || rsaKex) {
			t.Errorf("%s with tls.legacy_rsa: accepted %v, want %v", s.Name, got, ecdhe || rsaKex)
		}
	}
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		cfg := &tls.Config{MinVersion: version, MaxVersion: version}
		if got := works(modern, cfg); got != want {
			t.Errorf("%s: accepted %v, want %v", tls.VersionName(version), got, want)
		}
		if got, want := works(only13, cfg), version == tls.VersionTLS13; got != want {
			t.Errorf("%s with tls.min_version 1.3: accepted %v, want %v", tls.VersionName(version), got, want)
		}
	}
	// As a requester: the error names the key that would help.
	f := newFar(t)
	f.cfg.MaxVersion, f.cfg.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	id := scamp.Identity{Certificate: f.pair.Certificate}
	if _, err := scamp.Dial(t.Context(), "127.0.0.1:1", id, &scamp.Options{Dial: f.dial}); err == nil || !strings.Contains(err.Error(), "tls.legacy_rsa = 1") {
		t.Errorf("service without ECDHE: %v, want an error that names tls.legacy_rsa", err)
	}
	bus, err := scamp.Open(&scamp.Config{LegacyRSA: true}, &scamp.Options{Log: ticketscan.Log(t, nil), Dial: f.dial, Carriers: []discovery.Carrier{discovery.NewLoopback()}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	c, err := bus.Dial(t.Context(), "127.0.0.1:1", id)
	if err != nil {
		t.Fatalf("service without ECDHE and tls.legacy_rsa = 1: %v, want a connection", err)
	}
	c.Close()
}

func noResumption(t *testing.T) {
	// A service of ours sends no ticket, so a caller that would resume cannot.
	addr, _ := tlsService(t, nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(10)
		for range 3 {
			w, err := shake(t, addr, &tls.Config{ClientSessionCache: cache, MaxVersion: version, ServerName: "sample"})
			if err != nil {
				t.Fatal(err)
			}
			w.quiet() // a ticket would have come before the PONG
			if w.c.ConnectionState().DidResume {
				t.Errorf("%s: a session was resumed", tls.VersionName(version))
			}
			w.c.Close()
		}
	}
	// A service that offers tickets, and then shows another certificate, is seen.
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f := newFar(t)
		f.cfg.MaxVersion = version
		c, w := f.client(nil)
		done := inBackground(t.Context(), c, echoReq(""))
		w.message()
		w.send(reply(0, 1, ""))
		<-done
		f.show(scamptest.New(t).KeyPair().TLS())
		w.c.Close()
		var o outcome
		if !scamptest.Eventually(func() bool { // the loss is noticed soon
			o = <-inBackground(t.Context(), c, echoReq("secret"))
			return errors.Is(o.err, scamp.ErrPin)
		}) {
			t.Errorf("%s: call to a service that changed its certificate: %v, want ErrPin", tls.VersionName(version), o.err)
		}
	}
}

func fingerprintOfSample(t *testing.T) {
	const want = "41:A2:0E:D5:19:8E:AF:A1:E1:7F:80:FC:4C:3E:9B:02:17:EE:86:4A"
	if got := sample(t).Certificate.Fingerprint; got != want {
		t.Errorf("fingerprint of the sample: %s, want %s", got, want)
	}
	if text := string(fixtures.Bytes("keys/fingerprints.txt")); !strings.Contains(text, want) {
		t.Errorf("fingerprints.txt: %q, want it to hold %s", text, want)
	}
}
