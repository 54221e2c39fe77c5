package discovery_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A ruleFile is an authorized_services file under test.
type ruleFile struct {
	t      *testing.T
	path   string
	d      *discovery.Directory
	reader *discovery.AuthorizedReader
	log    *syncBuffer
	loads  int
}

func newRuleFile(t *testing.T) *ruleFile {
	f := &ruleFile{t: t, path: filepath.Join(t.TempDir(), "authorized_services"), log: new(syncBuffer)}
	f.d = discovery.NewDirectory(&discovery.DirectoryOptions{Limits: discovery.Limits{LogRate: 1000}, Now: func() time.Time { return epoch }})
	t.Cleanup(f.d.Close)
	f.reader = discovery.NewAuthorizedReader(f.path, f.d, &discovery.AuthorizedReaderOptions{
		Log: textLog(f.log), OnLoad: func(*discovery.Authorized) { f.loads++ },
	})
	f.d.LoadFile([]*discovery.Announcement{service{ident: "a"}.announce(), service{ident: "b", key: "other"}.announce()})
	return f
}

// put writes the file in place.
func (f *ruleFile) put(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// load loads the file and checks who is allowed then.
func (f *ruleFile) load(when, allowed string, good bool) {
	f.t.Helper()
	err := f.reader.Load()
	var list []string
	for _, r := range f.d.Find(discovery.Query{Action: "Sample.echo"}) {
		list = append(list, r.Ident)
	}
	if got := strings.Join(list, " "); got != allowed || (err == nil) != good {
		f.t.Errorf("%s: %q is allowed, Load: %v: want %q, and an error only when it cannot be used", when, got, err, allowed)
	}
	if (f.reader.State().Err == nil) != good {
		f.t.Errorf("%s: State says %v", when, f.reader.State())
	}
}

// TestAuthorizedReaderKeeps is THREATS S1, S3 and S8, and PROTOCOL 17 item 78.
func TestAuthorizedReaderKeeps(t *testing.T) {
	f := newRuleFile(t)
	sample, other := mustCertificate("sample").Fingerprint, mustCertificate("other").Fingerprint
	if got := f.reader.State().String(); !strings.Contains(got, "nothing is allowed") {
		t.Errorf("before the first Load: %q", got)
	}
	f.load("missing from the start", "", false)
	if log := f.log.String(); strings.Contains(log, "stay in force") || !strings.Contains(log, "nothing is allowed") || !strings.Contains(log, "bus.authorized_services") {
		t.Errorf("missing from the start: log %q: want that nothing is allowed, and the key", log)
	}
	f.put(sample + " Sample\n")
	f.load("there", "a", true)
	f.put(other + " Sample\n")
	f.load("changed", "b", true)
	f.load("not changed", "b", true)

	for name, do := range map[string]func() error{
		"removed":      func() error { return nil },
		"empty":        func() error { return os.WriteFile(f.path, nil, 0o644) },
		"a directory":  func() error { return os.Mkdir(f.path, 0o755) },
		"a FIFO":       func() error { return syscall.Mkfifo(f.path, 0o644) },
		"a long line":  func() error { return os.WriteFile(f.path, []byte(sample+strings.Repeat(" Sample,", 2000)), 0o644) },
		"a large file": func() error { return os.WriteFile(f.path, make([]byte, 9<<20), 0o644) },
	} {
		if err := errors.Join(os.RemoveAll(f.path), do()); err != nil {
			t.Fatal(name, err)
		}
		f.load(name, "b", false)
		if got := f.reader.State().String(); !strings.Contains(got, "stay in force") {
			t.Errorf("%s: %q: want it to say that the last good rules stay in force", name, got)
		}
	}
	os.RemoveAll(f.path)
	f.put("# everybody is out\n")
	f.load("a comment and no rule", "", true)
	f.put(sample + " Sample\n" + "nonsense Sample\n")
	f.load("one bad line", "a", true)
	if !strings.Contains(f.log.String(), "line=2") {
		t.Errorf("log %q: want the number of the bad line", f.log)
	}
	f.put(sample + " Sampl3\n" + "nonsense Sample\n") // same size, and mostly the same second
	f.load("same length", "", true)
	if n := f.d.Stats().Counters["authz_reload_failed"]; n != 7 {
		t.Errorf("authz_reload_failed is %d: want 7", n)
	}
	if f.loads != 5 {
		t.Errorf("OnLoad was called %d times: want 5", f.loads)
	}
}

// TestAuthorizedReaderDamaged: a file with lines, of which none is a rule or names a
// certificate, is damaged, and changes nothing, in either kind of file. One that names a
// certificate is honoured, though it gives no right: who spoils the only line of it, on
// purpose or not, takes the right away. So are comments alone (THREATS S2, S3).
func TestAuthorizedReaderDamaged(t *testing.T) {
	sample, sum := mustCertificate("sample").Fingerprint, mustCertificate("sample").SHA256Text()
	for _, tt := range []struct {
		name, text string
		want       string // in the error; empty when the file is honoured
	}{
		{"other file", "[section]\nkey = value\n", `line 1 is the first that is none (line skipped: \"[section]\"`},
		{"comments before", "# rules\n\nmain:ALL\n", "line 3 is the first"},
		{"UTF-16", "\xff\xfeA\x00B\x00\n", "line 1 is the first"},
		{"octets of no text", "#\n" + sample + " Sample\x00\x01\n", "line 2 is the first"},
		{"zeros", strings.Repeat("\x00", 80), "line 1 is the first"},
		{"octets of no UTF-8", sample + " Sample\xff\n", "line 1 is the first"},
		{"half a record", "sample:AAECAwQFBgcICQoLDA0ODxAR 41:A2:0E:D5\n", "line 1 is the first"},
		{"IPv6 addresses", "2001:0db8:85a3:0000:0000:8a2e:0370:7334 host\n", "line 1 is the first"},
		{"nine pairs", sample[:26] + " Sample\n", "line 1 is the first"},
		{"ten pairs", sample[:29] + " Sample\n", ""},
		{"without colons", strings.ReplaceAll(sample, ":", "") + " Sample\n", ""},
		{"taken out by slashes", "//" + sample + " Sample\n", ""},
		{"taken out by a word", "# rules\nREVOKED " + sample + " Sample\n", ""},
		{"taken out, with an older comment", "; " + sample + " Sample # f\xfcr Probe\n", ""},
		{"a digit too few", sample[1:] + " Sample\n", ""},
		{"a wrong digit at the end", sample[:58] + "G Sample\n", ""},
		{"a wrong digit in the middle", sample[:27] + "O" + sample[28:] + " Sample\n", ""},
		{"a wrong digit behind the middle", sample[:30] + "O" + sample[31:] + " Sample\n", ""},
		{"sha256, taken out", "-" + sum + " Sample\n", ""},
		{"sha256, a digit too few", sum[:70] + " Sample\n", ""},
		{"a control character", sample + " Sample\x01\n", ""},
		{"comments alone", "# nobody\n  # any more\n", ""},
		{"blank lines alone", "\n \r\n", ""},
		{"a fingerprint alone", "nonsense\n" + sample + "\n", ""},
	} {
		for _, callers := range []bool{false, true} {
			log := new(syncBuffer)
			d := discovery.NewDirectory(nil)
			t.Cleanup(d.Close)
			path := filepath.Join(t.TempDir(), "rules")
			var last *discovery.Authorized
			r := discovery.NewAuthorizedReader(path, d, &discovery.AuthorizedReaderOptions{
				Callers: callers, Log: textLog(log), OnLoad: func(z *discovery.Authorized) { last = z },
			})
			may := func() bool { return last.Decide(mustCertificate("sample"), "main", "Sample.echo").Allowed }
			put := func(text string) error {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return r.Load()
			}
			if err := put(tt.text); (err != nil) != (tt.want != "") || may() {
				t.Errorf("%s, callers %v, at first: %v, allowed %v: want an error %q, and nothing allowed", tt.name, callers, err, may(), tt.want)
			}
			if err := put(sample + " Sample\n"); err != nil || !may() {
				t.Fatalf("%s, callers %v: rules: %v, allowed %v: want them in force", tt.name, callers, err, may())
			}
			err := put(tt.text)
			if tt.want == "" {
				if err != nil || may() || r.State().Err != nil {
					t.Errorf("%s, callers %v: %v, allowed %v, %v: want it honoured", tt.name, callers, err, may(), r.State())
				}
				continue
			}
			if err == nil || !may() || !strings.Contains(r.State().String(), "stay in force") {
				t.Errorf("%s, callers %v: %v, allowed %v, %v: want the last good rules in force", tt.name, callers, err, may(), r.State())
			}
			if got := log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(strings.ReplaceAll(got, `\\\"`, `\"`), tt.want) || !strings.Contains(got, path) {
				t.Errorf("%s, callers %v: log %s: want an error with the file and %s", tt.name, callers, got, tt.want)
			}
		}
	}
}

// TestAuthorizedReaderLoadWaits: a file that is being written is read when it is whole.
func TestAuthorizedReaderLoadWaits(t *testing.T) {
	f := newRuleFile(t)
	first := mustCertificate("sample").Fingerprint + " Sample\n"
	f.put(first)
	written := make(chan struct{})
	time.AfterFunc(60*time.Millisecond, func() {
		defer close(written)
		os.WriteFile(f.path, []byte(first+mustCertificate("other").Fingerprint+" Sample\n"), 0o644)
	})
	f.load("written in two pieces", "a b", true)
	<-written
}

// TestAuthorizedReaderComesBack: a file that was away and is the same again is in
// order, though there is nothing to load.
func TestAuthorizedReaderComesBack(t *testing.T) {
	f := newRuleFile(t)
	f.put(mustCertificate("sample").Fingerprint + " Sample\n")
	f.load("there", "a", true)
	for range 2 {
		if err := os.Rename(f.path, f.path+".away"); err != nil {
			t.Fatal(err)
		}
		f.load("away", "a", false)
		if err := os.Rename(f.path+".away", f.path); err != nil {
			t.Fatal(err)
		}
		f.load("back, the same", "a", true)
	}
	if f.loads != 1 {
		t.Errorf("OnLoad was called %d times: want once", f.loads)
	}
	if n := f.d.Stats().Counters["authz_reload_failed"]; n != 2 {
		t.Errorf("authz_reload_failed is %d: want one for each time it was away", n)
	}
}

// TestAuthorizedReaderRequiresSHA256 is PROTOCOL 18: key bus.require_sha256.
func TestAuthorizedReaderRequiresSHA256(t *testing.T) {
	f := newRuleFile(t)
	f.reader = discovery.NewAuthorizedReader(f.path, f.d, &discovery.AuthorizedReaderOptions{RequireSHA256: true})
	f.put(mustCertificate("sample").Fingerprint + " Sample\n" + mustCertificate("other").SHA256Text() + " Sample\n")
	f.load("both kinds of lines", "b", true)
}

// TestAuthorizedReaderFollows: a change counts within two seconds, each time.
func TestAuthorizedReaderFollows(t *testing.T) {
	f := newRuleFile(t)
	sample, other := mustCertificate("sample").Fingerprint, mustCertificate("other").Fingerprint
	f.put(sample + " Sample\n")
	if err := f.reader.Load(); err != nil {
		t.Fatal(err)
	}
	stop := run(t, f.reader.Run)
	for _, tt := range []struct{ fingerprint, ident string }{{other, "b"}, {sample, "a"}} {
		f.put(tt.fingerprint + " Sample\n")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := f.d.Wait(ctx, discovery.Query{Action: "Sample.echo", Ident: tt.ident}); err != nil {
			t.Errorf("rules for %s: %v", tt.ident, err)
		}
		cancel()
		if n := len(f.d.Find(discovery.Query{Action: "Sample.echo"})); n != 1 {
			t.Errorf("rules for %s: %d are allowed: want one", tt.ident, n)
		}
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v: want the end of its context", err)
	}
}
