package discovery_test

import (
	"math/rand/v2"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
)

// slowDistance is the definition, written down.
func slowDistance(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	change := slowDistance(a[1:], b[1:])
	if a[0] != b[0] {
		change++
	}
	return min(change, slowDistance(a[1:], b)+1, slowDistance(a, b[1:])+1)
}

func TestDistanceAgreesWithDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	word := func() string {
		b := make([]byte, r.IntN(7))
		for i := range b {
			b[i] = "abA"[r.IntN(3)]
		}
		return string(b)
	}
	for range 2000 {
		a, b, most := word(), word(), r.IntN(6)
		if got, want := discovery.Distance(a, b, most), min(slowDistance(a, b), most+1); got != want {
			t.Fatalf("Distance(%q, %q, %d): %d, want %d", a, b, most, got, want)
		}
	}
}

// The grammar of names is in one place; what is found and what is sent differ.
func TestNameGrammar(t *testing.T) {
	for _, tt := range []struct {
		text                string
		name, plain, dotted bool
	}{
		{"main", true, true, true},
		{"Customer_2", true, true, true},
		{"Customer.Order", true, false, true},
		{"a-b", true, false, false},
		{".a", true, false, false},
		{"a.", true, false, false},
		{"a..b", true, false, false},
		{".", true, false, false},
		{"", false, false, false},
		{"a b", false, false, false},
		{"a:b", false, false, false},
		{"a*", false, false, false},
		{"a\x00", false, false, false},
		{"a\xff", false, false, false},
		{"Caf\u00e9", false, false, false},
		{"\u212aelvin", false, false, false},
		{"Me\u017fsage", false, false, false},
	} {
		if got := discovery.IsName(tt.text); got != tt.name {
			t.Errorf("IsName(%q): %v, want %v", tt.text, got, tt.name)
		}
		if plain, dotted := discovery.MaySend(tt.text, false), discovery.MaySend(tt.text, true); plain != tt.plain || dotted != tt.dotted {
			t.Errorf("MaySend(%q): %v without dots and %v with, want %v and %v", tt.text, plain, dotted, tt.plain, tt.dotted)
		}
	}
}
