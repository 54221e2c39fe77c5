package discovery_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/scampbus/scamp-go/discovery"
)

// An intended file is one of 200 lines, each for another certificate, and what
// it means by the slow reading.
type intendedFile struct {
	text  string
	asked [][2]string // sector and action
	may   map[string][]bool
}

func newIntendedFile(r *rand.Rand) *intendedFile {
	f := &intendedFile{may: map[string][]bool{}}
	var b strings.Builder
	for i := range 199 {
		fmt.Fprintf(&b, "%02X:%s", i, fp("A5")[3:])
		for j := range 1 + r.IntN(4) {
			if j == 0 {
				b.WriteString(" ")
			} else {
				b.WriteString(", ")
			}
			b.WriteString([]string{"main:ALL", "web:ALL", "Sample.Item", "web:Product.Sku", "background:Product", "Sample"}[r.IntN(6)])
		}
		b.WriteString("\n")
	}
	b.WriteString("# end\n")
	f.text = b.String()
	for _, sector := range []string{"main", "web", "background", "we", "ALL"} {
		for _, action := range []string{"Sample.echo", "Sample.Item.list", "Sample.Itemize", "Product.Sku.get", "Product.list", "Sam.x", "S.x", "ALL.x", "Item.list"} {
			f.asked = append(f.asked, [2]string{sector, action})
		}
	}
	var slow slowRules
	rights := slow.read(f.text)
	for name := range rights {
		f.may[name] = make([]bool, len(f.asked))
		for i, q := range f.asked {
			f.may[name][i] = mayOffer(rights, name, q[0], q[1])
		}
	}
	return f
}

// outside holds what no part of a line may have, and nothing that separates parts.
var outside = []string{"\x00", "\x01", "\x1b", "\x7f", "\xff", "\xc3", "\u00e9", "\u212a", "\u017f", "\u200b", "*", "?", "[", "]", "(", ")", "{", "}",
	"|", "^", "$", "+", "\\", "/", "\"", "'", ";", "=", "<", ">", "@", "!", "~", "&", "%"}

// damage does to a file what makes a line or a part of one no rule any more. What
// makes another rule of it, as a comma, a dot or a # in a name do, is not among it:
// nobody can tell that from what was meant.
func damage(r *rand.Rand, file string) string {
	lines := strings.SplitAfter(file, "\n")
	n := r.IntN(len(lines) - 2)
	line := lines[n]
	at := r.IntN(len(line) - 1)
	mark := outside[r.IntN(len(outside))]
	switch r.IntN(9) {
	case 0, 1, 2:
		line = line[:at] + mark + line[at:]
	case 3, 4:
		line = line[:at] + mark + line[at+1:]
	case 5: // a fingerprint that lacks a digit or a colon, or has one that is none
		at = r.IntN(59)
		line = line[:at] + []string{"", "G", ":", "00"}[r.IntN(4)] + line[at+1:]
		if strings.HasPrefix(line[min(59, len(line)):], " ") && !strings.Contains(line[:59], "G") {
			line = "-" + line // it happens to be another fingerprint
		}
	case 6:
		line = strings.ReplaceAll(line, ":ALL", []string{":All", ":all", ":", "::ALL", ":ALL.", ":*"}[r.IntN(6)])
	case 7:
		line = ""
	default:
		line = strings.Replace(line, " ", []string{"", "=", "\x00", ":", " :"}[r.IntN(5)], 1)
	}
	lines[n] = line
	switch r.IntN(40) {
	case 0:
		lines[0] = "\ufeff" + lines[0]
	case 1:
		lines = lines[:n+1]
	case 2: // UTF-16, as an editor may save it
		var wide strings.Builder
		for _, unit := range utf16.Encode([]rune(strings.Join(lines, ""))) {
			wide.WriteByte(byte(unit))
			wide.WriteByte(byte(unit >> 8))
		}
		return wide.String()
	}
	return strings.Join(lines, "")
}

// THREATS S2: 2,000 mutants of a file of 200 lines never grant more than that file.
func TestDamagedLinesOnlyRemoveRights(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	f := newIntendedFile(r)
	removed, mutants := 0, 2000
	if raceEnabled {
		mutants = 400
	}
	for range mutants {
		text := damage(r, f.text)
		z := mustRules(t, text)
		for _, rule := range z.Rules() {
			may, c := f.may[rule.Certificate], fingerprintOnly(rule.Certificate)
			if may == nil {
				t.Fatalf("rules\n%q\nname %s, which the intended file does not", text, rule.Certificate)
			}
			asked := f.asked
			if strings.Contains(f.text, rule.Certificate+" "+strings.Join(rule.Tokens, ", ")+"\n") {
				asked = asked[:1] // the line is as it was
			}
			for i, q := range asked {
				switch d := z.Decide(c, q[0], q[1]); {
				case d.Allowed && !may[i]:
					t.Fatalf("rules\n%q\nline %d: %v: want it denied, as by the intended file", text, rule.Line, d)
				case !d.Allowed && may[i]:
					removed++
				}
			}
		}
		removed += 199 - len(z.Rules())
	}
	if removed < mutants {
		t.Errorf("%d mutants removed %d rights: want as many at least, or nothing was damaged", mutants, removed)
	}
}

// THREATS S1: while rules are swapped, each lookup is answered by all of the old
// ones or all of the new ones, and by the new ones alone once the swap is over.
func TestRulesSwapUnderLoad(t *testing.T) {
	d := discovery.NewDirectory(nil)
	defer d.Close()
	d.LoadFile([]*discovery.Announcement{service{ident: "a"}.announce(), service{ident: "b", key: "other"}.announce()})
	files := [2]*discovery.Authorized{
		mustRules(t, mustCertificate("sample").Fingerprint+" Sample\n"),
		mustRules(t, mustCertificate("other").Fingerprint+" Sample\n"),
	}
	d.SetAuthorized(files[0])
	done := make(chan struct{})
	var readers sync.WaitGroup
	var wrong sync.Map
	looked := make(chan struct{}, 1)
	for range 4 {
		readers.Go(func() { // ends with done
			for {
				select {
				case <-done:
					return
				default:
				}
				routes := d.Find(discovery.Query{Action: "Sample.echo"})
				if len(routes) != 1 {
					wrong.Store(fmt.Sprintf("%d routes", len(routes)), true)
				}
				select {
				case looked <- struct{}{}:
				default:
				}
			}
		})
	}
	for i := range 50 {
		<-looked // somebody looks up all the while
		d.SetAuthorized(files[(i+1)%2])
		want := [2]string{"a", "b"}[(i+1)%2]
		if routes := d.Find(discovery.Query{Action: "Sample.echo"}); len(routes) != 1 || routes[0].Ident != want {
			t.Errorf("after swap %d: %v is allowed, want %s alone", i, routes, want)
		}
	}
	close(done)
	readers.Wait()
	wrong.Range(func(what, _ any) bool {
		t.Errorf("a lookup during a swap found %v: want the one that the old rules or the new ones allow", what)
		return true
	})
}

// TestDamagedLastLineBringsNoOtherBack: the last line of a certificate counts also when
// it is damaged behind the fingerprint, else an earlier one would give what it took.
func TestDamagedLastLineBringsNoOtherBack(t *testing.T) {
	a := fp("AA")
	for _, last := range []string{"main:Foo, main:B\x01r", "main:B\xffr", "\x00", "main:Foo\x7f", "main:Foo\r\x1b"} {
		text := a + " main:ALL\n" + a + " " + last + "\n"
		if d := mustRules(t, text).Decide(fingerprintOnly(a), "main", "Secret.read"); d.Allowed {
			t.Errorf("rules %q: %v: want it denied", text, d)
		}
	}
}

// TestCutRulesGiveNoMore: a file that was cut anywhere, in place, gives no right that the
// whole file does not give. A token cut at a dot would give more than it did.
func TestCutRulesGiveNoMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authorized_services")
	a, b := fp("AA"), fp("BB")
	text := "# rules\n" + a + " main:Customer.Order.create, web:Page\n" + b + " main:Customer.Order.create\n"
	whole := mustRules(t, text)
	for n := range len(text) {
		d := newDirectory(t, nil)
		r := discovery.NewAuthorizedReader(path, d, nil)
		age := time.Now().Add(-time.Minute)
		write := func(text string, at time.Time) error {
			if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, at, at)); err != nil {
				t.Fatal(err)
			}
			return r.Load()
		}
		if err := write(text, age); err != nil {
			t.Fatal(err)
		}
		err := write(text[:n], age.Add(time.Second))
		for _, fingerprint := range []string{a, b} {
			for _, action := range []string{"Customer.delete", "Customer.Order.list", "Cust.x", "Customer.Order.create"} {
				got, want := d.Authorized().Decide(fingerprintOnly(fingerprint), "main", action), whole.Decide(fingerprintOnly(fingerprint), "main", action)
				if got.Allowed && !want.Allowed {
					t.Errorf("rules cut to %q: Load: %v: %v: want it denied", text[:n], err, got)
				}
			}
		}
		if inLine := n > 0 && text[n-1] != '\n' && n < len(text)-1; (err != nil) != (inLine || n == 0) {
			t.Errorf("rules cut to %q: Load: %v: want an error: %v", text[:n], err, inLine || n == 0)
		}
		if err := write(text+"#\n", age.Add(2*time.Second)); err != nil || r.State().Err != nil {
			t.Errorf("whole again: Load: %v, state %v", err, r.State())
		}
	}
}

// TestUnendedRulesAreDoubtful: at the first reading nobody can tell whether a last line
// without line feed is whole, so it counts and is told.
func TestUnendedRulesAreDoubtful(t *testing.T) {
	for text, want := range map[string]bool{
		fp("AA") + " main:Sample\n": false, fp("AA") + " main:Sample": true, fp("AA") + " main:Sample\n# end": false,
	} {
		warnings := mustRules(t, text).Warnings
		got := slices.ContainsFunc(warnings, func(w discovery.LineWarning) bool { return w.Kind == discovery.LineUnended })
		if got != want {
			t.Errorf("rules %q: warnings %v: want one about the last line: %v", text, warnings, want)
		}
	}
}
