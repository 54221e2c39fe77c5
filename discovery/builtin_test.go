package discovery_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/discovery"
)

// PROTOCOL 12.3: what every service offers of itself, and nothing that looks alike.
func TestBuiltIn(t *testing.T) {
	for _, tt := range []struct {
		ident, class, name string
		version            int
		want               bool
	}{
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "sample", "queue_depth", 1, true},
		{"sample-AAECAwQFBgcICQoLDA0ODxAR", "sample", "queue_depth", 1, true}, // JavaScript
		{"web.sample:AAECAwQFBgcICQoLDA0ODxAR", "web.sample", "queue_depth", 1, true},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "_meta", "documentation", 1, true},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "sample", "queue_depth", 2, false},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "other", "queue_depth", 1, false},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "Sample", "queue_depth", 1, false},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "sample", "queue_depths", 1, false},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "sample", "documentation", 1, false},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "_meta", "documentation", 2, false},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "_Meta", "documentation", 1, false},
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "_meta", "look", 1, false},
	} {
		a := service{ident: tt.ident, actions: []discovery.Action{{Class: tt.class, Name: tt.name, Version: tt.version}}}.announce()
		if got := a.BuiltIn(&a.Actions[0]); got != tt.want {
			t.Errorf("%s.%s~%d of %q built in: %v, want %v", tt.class, tt.name, tt.version, tt.ident, got, tt.want)
		}
	}
}

// Who may offer nothing but what everybody may is of no use to anybody, though these
// actions are found.
func TestBuiltInsMakeNobodyUseful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		all := record(t, d.Watch(t.Context(), discovery.Query{}))
		main := record(t, d.Watch(t.Context(), discovery.Query{Sector: "main"}))
		t.Cleanup(d.Close) // before the tapes are waited for
		builtIn := []discovery.Action{{Class: "a", Name: "queue_depth"}, {Class: "_meta", Name: "documentation", Flags: []string{"noauth"}}}
		a := service{ident: "a:AAECAwQFBgcICQoLDA0ODxAR", address: "beepish+tls://10.0.0.1:1", actions: append(builtIn, discovery.Action{Class: "Page", Name: "show", Sector: "web"})}
		for _, tt := range []struct {
			name, rules string
			all         string
			allowed     int
			found       string // of queue_depth and documentation
		}{
			{"no rule", "", "", 0, "false true"},
			{"a rule for what is built in", " main:a", "", 0, "true true"},
			{"a rule for what it is for", " web:Page", "a:AAECAwQFBgcICQoLDA0ODxAR added allowed 10.0.0.1:1", 1, "false true"},
			{"and both", " main:a, web:Page", "", 1, "true true"},
			{"none again", "", "a:AAECAwQFBgcICQoLDA0ODxAR removed unauthorized 10.0.0.1:1", 0, "false true"},
		} {
			text := "# none\n"
			if tt.rules != "" {
				text = mustCertificate("sample").Fingerprint + tt.rules + "\n"
			}
			z, err := discovery.ParseAuthorized(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			d.SetAuthorized(z)
			d.Add(a.announce())
			if got := all.take(); got != tt.all {
				t.Errorf("%s: told %q, want %q", tt.name, got, tt.all)
			}
			if got := main.take(); got != "" {
				t.Errorf("%s: in sector main, where it has nothing else: told %q, want nothing", tt.name, got)
			}
			list := d.All()
			if n, of := list[0].Allowed(); n != tt.allowed || of != 1 {
				t.Errorf("%s: %d of %d actions allowed, want %d of 1", tt.name, n, of, tt.allowed)
			}
			if s := d.Stats(); s.Instances != tt.allowed || s.Unauthorized != 1-tt.allowed {
				t.Errorf("%s: %d instances, %d unauthorized, want %d and %d", tt.name, s.Instances, s.Unauthorized, tt.allowed, 1-tt.allowed)
			}
			depth, docs := d.Find(discovery.Query{Action: "a.queue_depth"}), d.Find(discovery.Query{Action: "_meta.documentation"})
			if got := fmt.Sprint(len(depth) == 1, len(docs) == 1); got != tt.found {
				t.Errorf("%s: queue_depth and documentation are found: %s, want %s", tt.name, got, tt.found)
			}
			if len(docs) == 1 && !docs[0].BuiltIn {
				t.Errorf("%s: offer %+v, want one that is built in", tt.name, docs[0].Offer)
			}
		}
		if n := len(d.List(discovery.Query{Sector: "main"})); n != 0 {
			t.Errorf("List of sector main: %d, want none", n)
		}
		if n := len(d.List(discovery.Query{Sector: "web"})) + len(d.List(discovery.Query{Action: "a.queue_depth"})); n != 2 {
			t.Errorf("List of sector web and of queue_depth: %d, want one each", n)
		}
	})
}
