package audit_test

import (
	"crypto/x509"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/cli/audit"
	"github.com/scampbus/scamp-go/discovery"
)

// A realBus is a cache file of a real bus, and rules that allow exactly what is in it.
// What they hold is not ours to show: failures name ids and numbers alone.
type realBus struct {
	cache *audit.Cache
	certs []*discovery.Certificate
	lines map[string][]string // by fingerprint: the tokens that the certificate needs
}

func readRealBus(t *testing.T, name string) *realBus {
	dir := os.Getenv("SCAMP_REFERENCE")
	if dir == "" {
		t.Skip("SKIPPED, NOT TESTED: the audit of real caches: set SCAMP_REFERENCE to the directory that holds them")
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	b := &realBus{cache: audit.ReadCache(audit.File{Path: "cache", Text: text}, discovery.Limits{}), lines: map[string][]string{}}
	for _, a := range b.cache.Records {
		c := a.Announcement.Certificate
		if _, ok := b.lines[c.Fingerprint]; !ok {
			b.certs = append(b.certs, c)
			b.lines[c.Fingerprint] = nil
		}
		for i := range a.Announcement.Actions {
			act := &a.Announcement.Actions[i]
			token := strings.ToLower(act.Sector + ":" + act.Class)
			if !slices.Contains(b.lines[c.Fingerprint], token) && !strings.HasPrefix(act.FullName(), "_meta.") {
				b.lines[c.Fingerprint] = append(b.lines[c.Fingerprint], token)
			}
		}
	}
	return b
}

// rules returns a file with both kinds of lines for every certificate.
func (b *realBus) rules(change func(c *discovery.Certificate, tokens string) []string) string {
	text := "# rules of a real bus\n"
	for _, c := range b.certs {
		if len(b.lines[c.Fingerprint]) == 0 {
			continue
		}
		tokens := strings.Join(b.lines[c.Fingerprint], ", ")
		lines := []string{c.Fingerprint + " " + tokens, c.SHA256Text() + " " + tokens}
		if change != nil {
			lines = change(c, tokens)
		}
		for _, line := range lines {
			text += line + "\n"
		}
	}
	return text
}

// count returns how many findings of each kind there are.
func (b *realBus) count(rules string) map[string]int {
	r := audit.Run(audit.Input{Now: now, Rules: &audit.File{Path: "rules", Text: []byte(rules)}, Cache: b.cache, Bus: b.cache.Records})
	counts := make(map[string]int)
	for _, f := range r.Findings {
		counts[f.ID]++
	}
	return counts
}

// What is found in real caches is what is there, and what is planted in their rules is
// found and nothing else.
func TestRealCaches(t *testing.T) {
	for _, name := range []string{"announce_cache", "discovery_cache_file", "sample_discovery_cache"} {
		t.Run(name, func(t *testing.T) {
			b := readRealBus(t, name)
			base := b.count(b.rules(nil))
			if want := b.byHand(t); !maps.Equal(base, want) {
				t.Errorf("found %v, want %v", base, want)
			}
			var victims []*discovery.Certificate
			for _, c := range b.certs {
				if len(b.lines[c.Fingerprint]) > 0 {
					victims = append(victims, c)
				}
			}
			for i := range plants {
				b.plant(t, base, victims[i%len(victims)], i)
			}
		})
	}
}

// byHand counts what is odd about the announcements and certificates themselves.
func (b *realBus) byHand(t *testing.T) map[string]int {
	want := make(map[string]int)
	note := func(id string, is bool) {
		if is {
			want[id]++
		}
	}
	for _, c := range b.certs {
		parsed, err := x509.ParseCertificate(c.DER)
		if err != nil {
			t.Fatal(err)
		}
		note("cert-expired", parsed.NotAfter.Before(now))
		note("signature-weak", strings.HasPrefix(parsed.SignatureAlgorithm.String(), "SHA1"))
		note("key-weak", c.Bits() < 2048)
	}
	for _, a := range b.cache.Records {
		note("announcement-too-long", len(discovery.Compress(a.Announcement.Packet())) > 1472)
		note("announcement-not-strict", a.Announcement.Strict() != nil)
	}
	names := make(map[string][]string) // of the services that have a key, by that
	for _, a := range b.cache.Records {
		key, name := string(a.Announcement.Certificate.Key().N.Bytes()), a.Announcement.ServiceName()
		if a.Announcement.Weight > 0 && !slices.Contains(names[key], name) {
			names[key] = append(names[key], name)
		}
	}
	for _, n := range names {
		note("key-shared", len(n) > 1)
	}
	return want
}

// plants is how many mistakes there are to plant.
const plants = 13

// plant makes one of the mistakes in the rules of one certificate.
func (b *realBus) plant(t *testing.T, base map[string]int, victim *discovery.Certificate, number int) {
	t.Helper()
	first := b.lines[victim.Fingerprint][0]
	sector, class, _ := strings.Cut(first, ":")
	misspelled := sector + ":" + class + "x"
	aliases := 0 // whether losing the first class, or all, concerns one
	all := 0
	for _, a := range b.cache.Records {
		for i := range a.Announcement.Actions {
			act := &a.Announcement.Actions[i]
			if a.Announcement.Certificate.SHA256 == victim.SHA256 && len(act.Aliases()) > 0 {
				all = 1
				if strings.EqualFold(act.Sector+":"+act.Class, first) && !b.covered(victim, first, act) {
					aliases = 1
				}
			}
		}
	}
	lost := 1 // whether losing the first class is felt
	if b.coveredAll(victim, first) {
		lost = 0
	}
	long, short := victim.SHA256Text(), victim.Fingerprint
	wrong := long[:len(long)-1] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", long[len(long)-1])+1)%16])
	tt := [plants]struct {
		name  string
		lines func(tokens string) []string
		want  map[string]int
	}{
		{"no rule", func(string) []string { return nil }, map[string]int{"service-denied": 1, "alias-unauthorized": all}},
		{"misspelled", func(tokens string) []string {
			tokens = strings.Replace(tokens, first, misspelled, 1)
			return []string{short + " " + tokens, long + " " + tokens}
		}, map[string]int{"service-denied": lost, "alias-unauthorized": aliases, "token-near-miss": lost, "token-unused": 1 - lost}},
		{"lower case", func(tokens string) []string {
			return []string{strings.ToLower(short) + " " + tokens, long + " " + tokens}
		},
			map[string]int{"fingerprint-case": 1}},
		{"SHA-1 alone", func(tokens string) []string { return []string{short + " " + tokens} }, map[string]int{"rule-sha1-only": 1}},
		{"twice", func(tokens string) []string {
			return []string{short + " " + tokens, long + " gone", long + " " + tokens}
		},
			map[string]int{"rule-duplicate": 1}},
		{"twice, and the last line lacks all", func(tokens string) []string { return []string{short + " " + tokens, long + " " + tokens, long} },
			map[string]int{"rule-duplicate": 1, "rule-empty": 1, "service-denied": 1, "alias-unauthorized": all}},
		{"malformed", func(tokens string) []string {
			return []string{short + " " + tokens, long + " " + tokens, strings.ReplaceAll(short, ":", "-") + " main:ALL"}
		}, map[string]int{"rule-malformed": 1}},
		{"a stranger", func(tokens string) []string {
			return []string{short + " " + tokens, long + " " + tokens, "sha256:" + strings.Repeat("5a", 32) + " x"}
		}, map[string]int{"rule-unused": 1}},
		{"too broad", func(tokens string) []string {
			return []string{short + " " + tokens, long + " " + tokens + ", " + sector + ":ALL"}
		},
			map[string]int{"rule-too-broad": 1}},
		{"pattern", func(tokens string) []string { return []string{short + " " + tokens, long + " " + tokens + ", other.*"} },
			map[string]int{"token-no-right": 1}},
		{"ALL without a sector", func(tokens string) []string { return []string{short + " " + tokens, long + " " + tokens + ", ALL"} },
			map[string]int{"token-class-all": 1, "token-unused": 1}},
		{"gone", func(tokens string) []string {
			return []string{short + " " + tokens, long + " " + tokens + ", zzz.nothing.like.it"}
		},
			map[string]int{"token-unused": 1}},
		{"a digit", func(tokens string) []string { return []string{wrong + " " + tokens} },
			map[string]int{"fingerprint-near-miss": 1, "service-denied": 1, "alias-unauthorized": all}},
	}[number]
	got := b.count(b.rules(func(c *discovery.Certificate, tokens string) []string {
		if c == victim {
			return tt.lines(tokens)
		}
		return []string{c.Fingerprint + " " + tokens, c.SHA256Text() + " " + tokens}
	}))
	want := maps.Clone(base)
	for id, n := range tt.want {
		if want[id] += n; want[id] == 0 {
			delete(want, id)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("planted %q: found %v, want %v", tt.name, got, want)
	}
}

// covered reports whether another class of c than the one taken away allows an action.
func (b *realBus) covered(c *discovery.Certificate, without string, act *discovery.Action) bool {
	name := strings.ToLower(act.Sector + ":" + act.FullName())
	for _, token := range b.lines[c.Fingerprint] {
		if token != without && strings.HasPrefix(name, token+".") {
			return true
		}
	}
	return false
}

func (b *realBus) coveredAll(c *discovery.Certificate, without string) bool {
	for _, a := range b.cache.Records {
		for i := range a.Announcement.Actions {
			act := &a.Announcement.Actions[i]
			name := strings.ToLower(act.Sector + ":" + act.FullName())
			if a.Announcement.Certificate.SHA256 == c.SHA256 && strings.HasPrefix(name, without+".") && !b.covered(c, without, act) {
				return false
			}
		}
	}
	return true
}
