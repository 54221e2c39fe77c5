package packet_test

import (
	"reflect"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
)

// TestLimitsHaveTheDefaultsOfTheTable compares with fixtures/limits.json, both
// ways: each field is in the table, each row of this package has its field.
func TestLimitsHaveTheDefaultsOfTheTable(t *testing.T) {
	var table []struct {
		Counter string
		Fields  []struct {
			Struct, Field string
			Default       any // some limits are no numbers
		}
	}
	fixtures.JSON("limits.json", &table)
	counters := map[string]bool{}
	fields := map[string]any{}
	for _, row := range table {
		for _, f := range row.Fields {
			if f.Struct == "packet" {
				fields[f.Field] = f.Default
				counters[row.Counter] = true
			}
		}
	}
	v := reflect.ValueOf(packet.Limits{}.WithDefaults())
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if want, ok := fields[name]; !ok || want != float64(v.Field(i).Int()) {
			t.Errorf("%s: %d, want %v (in the table: %v)", name, v.Field(i).Int(), want, ok)
		}
		delete(fields, name)
	}
	if len(fields) > 0 {
		t.Errorf("in the table only: %v", fields)
	}
	for _, name := range []string{packet.CounterMalformed, packet.CounterTooBig, packet.CounterHeaderMalformed, packet.CounterHeaderTooBig} {
		if !counters[name] {
			t.Errorf("counter %s is not in the table, which has %v", name, counters)
		}
	}
}

func TestLimitsWithDefaults(t *testing.T) {
	const most = 1 << 30
	for _, tt := range []struct{ in, want packet.Limits }{
		{packet.Limits{MaxHeader: 1000}, packet.Limits{131072, 1000, 500, 80, 16, 64}},
		{packet.Limits{MaxHeader: 1000, MaxHeaderSend: 900}, packet.Limits{131072, 1000, 900, 80, 16, 64}},
		{packet.Limits{-1, -1, -1, -1, -1, -1}, packet.Limits{131072, 65536, 32768, 80, 16, 64}},
		{packet.Limits{1, 2, 3, 4, 5, 6}, packet.Limits{1, 2, 3, 4, 5, 6}},
		{packet.Limits{most + 1, most + 1, most + 1, most + 1, most + 1, most + 1}, packet.Limits{most, most, most, most, most, most}},
	} {
		if got := tt.in.WithDefaults(); got != tt.want {
			t.Errorf("WithDefaults of %+v: %+v, want %+v", tt.in, got, tt.want)
		}
	}
}
