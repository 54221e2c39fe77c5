package discovery_test

import (
	"bytes"
	"compress/zlib"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// seeds gives f every file of the fixtures that matches.
func seeds(f *testing.F, patterns ...string) {
	f.Helper()
	for _, pattern := range patterns {
		names, err := fs.Glob(fixtures.FS(), pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("no fixture matches %q", pattern)
		}
		for _, name := range names {
			f.Add(fixtures.Bytes(name))
		}
	}
}

// signedByItsCertificate checks a record without any of our code.
func signedByItsCertificate(record []byte, key *rsa.PublicKey) bool {
	parts := strings.Split(string(record), "\n\n")
	if len(parts) != 3 {
		return false
	}
	if block, rest := pem.Decode([]byte(parts[1] + "\n")); block == nil || len(rest) > 0 {
		return false
	}
	signature, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(parts[2], "\n", ""))
	sum := sha256.Sum256([]byte(parts[0]))
	return err == nil && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
}

// What is accepted reads the same when it is written again, and is verified with
// a good signature only.
func FuzzAnnounceText(f *testing.F) {
	seeds(f, "announce/*.packet", "announce/*.z", "transcripts/announce-*.bin", "twins/*.record")
	f.Add(unsigned(array(0, "3")))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		limits := discovery.Limits{MinRSABits: 1024}
		a, err := limits.Parse(datagram)
		if err != nil {
			if counterOf(err) == "" {
				t.Fatalf("error %v: want one with a counter", err)
			}
			return
		}
		b, err := limits.ParseRecord(a.Record())
		if err != nil || !sameMeaning(a, b) {
			t.Fatalf("record %q reads otherwise (error %v)", a.Record(), err)
		}
		if (a.Verify() == nil) != signedByItsCertificate(a.Record(), a.Certificate.Key()) {
			t.Fatalf("record %q: Verify %v: want what the library says", a.Record(), a.Verify())
		}
		text, err := limits.Inflate(datagram)
		if err != nil {
			t.Fatalf("Inflate after Parse: %v", err)
		}
		s, err := discovery.Split(text)
		if err != nil {
			t.Fatalf("Split after Parse: %v", err)
		}
		c, err := s.Certificate(limits)
		if err != nil {
			t.Fatalf("Certificate after Parse: %v", err)
		}
		if opened, err := s.Open(limits, c); (err == nil) != a.Verified() || err == nil && !sameMeaning(a, opened) {
			t.Fatalf("Open: error %v: want it as verified as Parse and Verify: %v", err, a.Verified())
		}
		a.Strict()
	})
}

// Whatever arrives, a directory holds signed octets only, keeps those it had, counts
// each refusal once, and knows what it has seen.
func FuzzReceive(f *testing.F) {
	seeds(f, "announce/*.packet", "announce/*.z", "transcripts/announce-*.bin", "twins/*.record")
	heard, packets := honestAir(2)
	x := newAir(f, 1, heard)
	for _, a := range attacks {
		if a.name != "D7_long_datagrams" {
			f.Add(a.make(x))
		}
	}
	z := rules("main:Rogue")
	limits := discovery.Limits{VerifyRate: 10, VerifyRateUnknown: 10}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		d := newDirectory(t, &discovery.DirectoryOptions{Authorized: z, Limits: limits})
		for _, p := range packets {
			if err := d.Receive(discovery.Datagram{Data: p}); err != nil {
				t.Fatal(err)
			}
		}
		refused, total := uint64(0), func() (n uint64) {
			for name, count := range d.Stats().Counters {
				if name != "announce_refreshed" && name != "announce_accepted" {
					n += count
				}
			}
			return n
		}
		for range 2 {
			before := total()
			err := d.Receive(discovery.Datagram{Data: datagram})
			if err != nil {
				refused++
			}
			if err != nil && (counterOf(err) == "" || total() != before+1) {
				t.Fatalf("%q: error %v moves %d counters: want one, which it names", datagram, err, total()-before)
			}
		}
		for _, e := range d.All() {
			a := e.Announcement
			if !signedByItsCertificate(a.Record(), a.Certificate.Key()) {
				t.Fatalf("%q: held without a good signature: %q", datagram, a.Record())
			}
		}
		if s := d.Stats(); refused == 2 && s.Instances+s.Unauthorized+s.Withdrawn != 2 {
			t.Fatalf("%q: refused, and %+v", datagram, s)
		}
		for i, p := range packets {
			if err := d.Receive(discovery.Datagram{Data: p}); err != nil {
				t.Fatalf("%q, then honest service %d: %v", datagram, i, err)
			}
		}
	})
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,255}$`)

// Whatever a rogue service signs stays within the limits and the grammar.
func FuzzAnnounceSigned(f *testing.F) {
	seeds(f, "announce/*.json")
	for _, element := range []string{`["json",{"acname":["a",[2,"b"]],"acns":[[3,"A"]],"acsec":[[3,"web"]],"acenv":[[3,"json"]],"acver":[1,[2,2]],"accompat":[[3,1]]}]`, `[1,{},"x"]`} {
		f.Add([]byte(array(6, element)))
	}
	f.Add([]byte(array(8, strings.Repeat(" ", 64_500)+"1"))) // too long for a datagram but by zlib
	f.Add([]byte(array(7, `[["A",["a",null,"2"],["b.c",""],[]],["\u0041",["\u212a"]]]`)))
	certificate, key := mustCertificate("sample"), mustKey("sample")
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := discovery.SignJSON(text, certificate, key)
		if err != nil {
			if counterOf(err) == "" {
				t.Fatalf("error %v: want one with a counter", err)
			}
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q is accepted, and no JSON", text)
		}
		if len(a.Actions) > 4096 || a.Weight < 0 || a.Weight > 100 || a.Timestamp < 0 || a.Ident == "" || len(a.Ident) > 255 || len(a.Warnings) > 8 {
			t.Fatalf("%q: %d actions, weight %d, timestamp %d, ident %q, %d warnings", text, len(a.Actions), a.Weight, a.Timestamp, a.Ident, len(a.Warnings))
		}
		for _, action := range a.Actions {
			if !nameForm.MatchString(action.Sector) || !nameForm.MatchString(action.Class) || !nameForm.MatchString(action.Name) ||
				strings.Contains(action.Name, ".") || action.Version < 1 || len(action.Flags) > 64 || len(action.Envelopes) > 64 {
				t.Fatalf("%q: action %+v found", text, action)
			}
			if n, ok := action.Timeout(); ok != (n > 0) {
				t.Fatalf("%q: timeout %v, %v", text, n, ok)
			}
		}
		if b, err := open(discovery.Compress(a.Packet())); err != nil || !sameMeaning(a, b) {
			t.Fatalf("%q: packet reads otherwise (error %v)", text, err)
		}
	})
}

// The output never passes the limit, and is what the library inflates.
func FuzzInflate(f *testing.F) {
	seeds(f, "announce/*.z", "announce/v3_ms.packet")
	f.Add(bomb(70_000))
	f.Add(append([]byte("R"), bomb(10)...))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		const most = 64 << 10
		text, err := discovery.Limits{MaxAnnounce: most}.Inflate(datagram)
		if len(text) > most {
			t.Fatalf("%d octets: want at most %d", len(text), most)
		}
		stream := datagram
		if len(stream) > 0 && (stream[0] == 'R' || stream[0] == 'D') {
			stream = stream[1:]
		}
		if err == nil && bytes.Equal(text, stream) {
			if stream[0] != '[' && stream[0] != '{' {
				t.Fatalf("%q taken for text", stream)
			}
			return
		}
		var want []byte
		src := bytes.NewReader(stream)
		z, wantErr := zlib.NewReader(src)
		if wantErr == nil {
			want, wantErr = io.ReadAll(io.LimitReader(z, most+1))
		}
		accepted := wantErr == nil && len(want) <= most && src.Len() == 0 && len(datagram) <= 65_507 && stream[0]>>4 <= 7
		if (err == nil) != accepted || err == nil && !bytes.Equal(text, want) {
			t.Fatalf("%d octets, error %v: want %d octets, accepted %v (%v)", len(text), err, len(want), accepted, wantErr)
		}
	})
}

// expandSlowly is PROTOCOL 7.4 by way of encoding/json.
func expandSlowly(text string, integers bool, most int) ([]string, bool) {
	var items []json.RawMessage
	if json.Unmarshal([]byte(text), &items) != nil || items == nil || len(items) > most {
		return nil, false
	}
	var all []string
	for _, item := range items {
		count, element := 1.0, item
		if item[0] == '[' {
			var pair []json.RawMessage
			var number any
			if json.Unmarshal(item, &pair) != nil || len(pair) != 2 || json.Unmarshal(pair[0], &number) != nil {
				return nil, false
			}
			var ok bool
			if count, ok = number.(float64); !ok {
				return nil, false
			}
			element = pair[1]
		}
		if count < 0 || count > float64(most-len(all)) || count != float64(int(count)) {
			return nil, false
		}
		var v any
		if json.Unmarshal(element, &v) != nil {
			return nil, false
		}
		switch v := v.(type) {
		case string:
			if integers {
				return nil, false
			}
		case float64:
			if !integers || v < 1 || v > 1<<31-1 || v != float64(int(v)) {
				return nil, false
			}
		default:
			return nil, false
		}
		for range int(count) {
			all = append(all, string(element))
		}
	}
	return all, true
}

// A vector expands as the slow way expands it, and what was expanded encodes to
// a vector that expands to the same.
func FuzzRLE(f *testing.F) {
	var vectors map[string][]struct{ Encoded json.RawMessage }
	fixtures.JSON("rle.json", &vectors)
	for _, kind := range vectors {
		for _, v := range kind {
			f.Add(string(v.Encoded), false)
			f.Add(string(v.Encoded), true)
		}
	}
	f.Add(`[[1e0,"a"],[0,"z"],"\u0061"]`, false)
	f.Fuzz(func(t *testing.T, text string, integers bool) {
		const most = 100
		if discovery.CheckJSON(text, 16) != nil {
			return
		}
		got, err := discovery.ExpandRuns(text, integers, most)
		want, ok := expandSlowly(text, integers, most)
		if (err == nil) != ok || err == nil && strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("%q expands to %q, error %v: want %q, %v", text, got, err, want, ok)
		}
		if err != nil {
			return
		}
		again, err := discovery.ExpandRuns(string(discovery.AppendRuns(nil, got)), integers, most)
		if err != nil || strings.Join(again, "\n") != strings.Join(got, "\n") {
			t.Fatalf("%q encodes to %s: want it to expand to the same", got, discovery.AppendRuns(nil, got))
		}
	})
}

// What passes is JSON for the library too, and the other way round but for what
// we refuse on purpose.
func FuzzJSON(f *testing.F) {
	seeds(f, "announce/*.json")
	for _, text := range []string{`{"a":[1,-0.5e+3,true,false,null,"\ud83d\ude00"]}`, ` [ ] `, `"\ud800"`, `[1e999]`, `01`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := discovery.CheckJSON(string(text), 16)
		if err == nil && !json.Valid(text) {
			t.Fatalf("%q passes: want what the library says", text)
		}
		printable := !bytes.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e })
		plain := printable && !bytes.Contains(text, []byte(`\u`)) && !bytes.ContainsAny(text, "eE") &&
			bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= 16 && len(text) <= 64
		if plain && err != nil && json.Valid(text) {
			t.Fatalf("%q: %v: want what the library says", text, err)
		}
	})
}

// A damaged file gives the rights of its well-formed lines and no others.
func FuzzAuthorizedServices(f *testing.F) {
	f.Add(string(fixtures.Bytes("authorized_services")), uint64(1))
	f.Add("sha256:"+strings.Repeat("0", 64)+" main:ALL, web:ALL\n", uint64(1))
	for seed := range uint64(5) {
		f.Add(someRules(rand.New(rand.NewPCG(seed, 0)), 10), seed)
	}
	f.Fuzz(func(t *testing.T, file string, seed uint64) {
		if file == "" || len(file) > 1<<16 || strings.Count(file, "\n") > 5000 || strings.Count(file, ",") > 1000 {
			return
		}
		new(slowRules).sameRights(t, rand.New(rand.NewPCG(seed, 1)), file, 20)
		z := mustRules(t, file)
		for _, c := range []*discovery.Certificate{mustCertificate("sample"), fingerprintOnly(fp("11"))} {
			if d := z.Decide(c, "main", "Sample.echo"); strings.ContainsFunc(d.String(), func(r rune) bool { return r < ' ' }) {
				t.Fatalf("%q: decision %q: want no control characters", file, d)
			}
		}
	})
}

// A token matches an action as in the rule of the JavaScript implementation,
// but for the empty prefix, which gives no right here.
func FuzzAuthzMatch(f *testing.F) {
	for _, token := range append(someTokens, someNames...) {
		f.Add(token, "main", "Sample.Item.list")
		f.Add(token, "web", "ALL.x")
	}
	certificate := fingerprintOnly(fp("11"))
	f.Fuzz(func(t *testing.T, token, sector, action string) {
		for _, s := range []string{token, sector, action} {
			// Around the token stands what ends it; beyond ASCII names are not found.
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '#' || r == ',' }) {
				return
			}
		}
		if token != strings.TrimSpace(token) || token == "" || strings.HasPrefix(token, ":") {
			return
		}
		z := mustRules(t, certificate.Fingerprint+" "+token+"\n")
		got := z.Decide(certificate, sector, action).Allowed
		want := mayOfferAsJavaScript(token, sector, action)
		if strings.HasSuffix(token, ":") && !strings.HasPrefix(action, "_meta.") {
			want = false
		}
		if got != want {
			t.Fatalf("token %q, %q:%q: allowed %v: want %v", token, sector, action, got, want)
		}
	})
}

// mayOfferAsJavaScript is the rule as that implementation has it: one
// expression without regard to case, anchored at the start, that ends at a dot
// or at the end.
func mayOfferAsJavaScript(token, sector, action string) bool {
	if strings.HasPrefix(action, "_meta.") {
		return true
	}
	if strings.Contains(sector, ":") || strings.Contains(action, ":") {
		return false
	}
	expression := regexp.QuoteMeta(token)
	switch {
	case !strings.Contains(token, ":"):
		expression = "main:" + expression
	case strings.HasSuffix(token, ":ALL"):
		expression = strings.TrimSuffix(expression, "ALL") + ".*"
	}
	return regexp.MustCompile(`^(?i:` + expression + `)(?:\.|$)`).MatchString(sector + ":" + action)
}

// An address that is accepted can be dialled.
func FuzzURI(f *testing.F) {
	for _, address := range []string{
		"beepish+tls://10.0.0.5:30123", "scamp+tls://[2001:db8::1]:30123/", "beepish+tls://localhost:1", "beepish+tls://0x7f000001:30123",
		"beepish+tls://user@10.0.0.5:30123", "beepish+tls://239.63.248.106:5555", "beepish+tls://[fe80::1%25eth0]:1",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if discovery.CheckAddress(address, 512) != nil {
			return
		}
		u, err := url.Parse(address)
		if err != nil || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || len(address) > 512 {
			t.Fatalf("%q accepted: parsed %+v, error %v", address, u, err)
		}
		port, err := strconv.Atoi(u.Port())
		if err != nil || port < 1 || port > 65535 || strconv.Itoa(port) != u.Port() {
			t.Fatalf("%q accepted: port %q", address, u.Port())
		}
		a := discovery.Announcement{Address: address}
		host, _, err := net.SplitHostPort(a.HostPort())
		if err != nil || host != u.Hostname() || a.Scheme() != u.Scheme {
			t.Fatalf("%q accepted: host %q, error %v", address, host, err)
		}
		if ip := net.ParseIP(host); ip != nil && (ip.IsUnspecified() || ip.IsMulticast()) {
			t.Fatalf("%q accepted: want the address of one host", address)
		}
	})
}
