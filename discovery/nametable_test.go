package discovery

import (
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
)

// White box: who is late and who is early is a matter of microseconds.

// TestNameTableIsNotTakenBack: of two who look at once, the one that comes with an older
// index gets the table of the newer one, with that index; nothing is made for him.
func TestNameTableIsNotTakenBack(t *testing.T) {
	d := NewDirectory(nil)
	defer d.Close()
	older := d.index.Load()
	a, err := Parse(fixtures.Bytes("announce/v3_ms.packet"))
	if err != nil {
		t.Fatal(err)
	}
	d.Add(a)
	newer := d.index.Load()
	if older == newer {
		t.Fatalf("adding %q made no index", a.Ident)
	}
	for _, tt := range []struct {
		name    string
		x, want *index
	}{{"before anything is there", older, older}, {"the newer", newer, newer}, {"the older again", older, newer}, {"the newer again", newer, newer}} {
		was := d.names.table
		x, table := d.names.at(tt.x)
		if x.number != tt.want.number || (len(table.find(a.Actions[0].FullName())) > 0) != (tt.want == newer) {
			t.Errorf("%s: index %d, and it has the name: %v, want index %d", tt.name, x.number, len(table.find(a.Actions[0].FullName())) > 0, tt.want.number)
		}
		if tt.want == newer && was != nil && tt.name != "the newer" && table != was {
			t.Errorf("%s: another table was made", tt.name)
		}
	}
}
