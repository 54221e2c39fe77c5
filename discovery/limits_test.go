package discovery_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// Every default is that of the table of limits, and every row of the table that
// concerns this package is a field.
func TestLimitsAreThoseOfTheTable(t *testing.T) {
	var table []struct {
		Limit  string
		Fields []struct {
			Struct, Field, Unit string
			Default             any
		}
	}
	fixtures.JSON("limits.json", &table)
	got := reflect.ValueOf(discovery.Limits{}.WithDefaults())
	named := map[string]bool{}
	for _, row := range table {
		for _, f := range row.Fields {
			field := got.FieldByName(f.Field)
			if f.Struct != "discovery" {
				continue
			}
			named[f.Field] = true
			if !field.IsValid() {
				t.Errorf("%s: no field %s", row.Limit, f.Field)
				continue
			}
			want, isNumber := f.Default.(float64)
			if text, ok := f.Default.(string); ok {
				d, err := time.ParseDuration(text)
				if err != nil {
					t.Fatal(err)
				}
				want, isNumber = float64(d), true
			}
			if !isNumber || float64(field.Int()) != want {
				t.Errorf("%s: field %s is %v: want %v %s", row.Limit, f.Field, field, f.Default, f.Unit)
			}
		}
	}
	shared := map[string]bool{"LogRate": true, "LogText": true} // rows of every package
	for i := range got.NumField() {
		if name := got.Type().Field(i).Name; !named[name] && !shared[name] {
			t.Errorf("field %s is in no row of the table", name)
		}
	}
}

func TestLimitsKeepWhatIsSet(t *testing.T) {
	l := discovery.Limits{MaxActions: 10, MinRSABits: 3072, FutureSkew: time.Second, MaxWeight: -1}.WithDefaults()
	if l.MaxActions != 10 || l.MinRSABits != 3072 || l.FutureSkew != time.Second || l.MaxWeight != 100 {
		t.Errorf("limits %+v: want what was set, and defaults for the rest", l)
	}
	if l := (discovery.Limits{MaxActions: 1 << 30, MinRSABits: 1}).WithDefaults(); l.MaxActions != 100_000 || l.MinRSABits != 1024 {
		t.Errorf("MaxActions %d, MinRSABits %d: want 100,000 and 1,024, which no setting passes", l.MaxActions, l.MinRSABits)
	}
	if again := l.WithDefaults(); again != l {
		t.Errorf("defaults of defaults: %+v: want %+v", again, l)
	}
}
