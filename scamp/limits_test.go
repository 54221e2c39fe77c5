package scamp_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// A limitRow is a row of the table of limits.
type limitRow struct {
	Limit   string
	Counter string
	Fields  []struct {
		Struct, Field, Unit, Key string
		Default                  any
	}
	Derived string
}

// TestLimitsAgreeWithTable compares the zero value of every Limits, and the keys of
// the configuration, with the recorded table (THREATS 5.1).
func TestLimitsAgreeWithTable(t *testing.T) {
	var table []limitRow
	fixtures.JSON("limits.json", &table)
	l := scamp.Limits{}.WithDefaults()
	seen := map[string]bool{"scamp.Packet": true, "scamp.Mux": true, "scamp.Discovery": true}
	for _, row := range table {
		if len(row.Fields) == 0 && row.Derived == "" {
			t.Errorf("%s: neither a field nor derived from others", row.Limit)
		}
		for _, f := range row.Fields {
			name := f.Struct + "." + f.Field
			if seen[name] {
				t.Errorf("%s is twice in the table", name)
			}
			seen[name] = true
			got := limitField(&l, f.Struct, f.Field)
			if !got.IsValid() {
				t.Errorf("%s: %s.Limits has no field %s", row.Limit, f.Struct, f.Field)
				continue
			}
			want := limitValue(t, f.Default, f.Unit)
			if got.Int() != want {
				t.Errorf("%s: %s.Limits.%s is %d by default, want %d", row.Limit, f.Struct, f.Field, got.Int(), want)
			}
			if f.Key != "" {
				checkLimitKey(t, f.Struct, f.Field, f.Key, f.Unit, want)
			}
		}
	}
	for _, part := range []string{"packet", "mux", "discovery", "scamp"} {
		fields := limitStruct(&l, part).Type()
		for i := range fields.NumField() {
			if name := part + "." + fields.Field(i).Name; !seen[name] {
				t.Errorf("%s is not in the table", name)
			}
		}
	}
}

// checkLimitKey sets the key to one more than the default and looks at the field.
func checkLimitKey(t *testing.T, part, field, key, unit string, def int64) {
	t.Helper()
	step, scale := int64(1), int64(1)
	if unit == "duration" {
		step, scale = int64(time.Second), int64(time.Second)
	}
	text := fmt.Sprintf("%s = %d", key, (def+step)/scale)
	c := parseConfig(t, text)
	if got := limitField(&c.Limits, part, field).Int(); got != def+step {
		t.Errorf("%q sets %s.Limits.%s to %d, want %d", text, part, field, got, def+step)
	}
	if d := c.WithDefaults(); limitField(&d.Limits, part, field).Int() != def+step {
		t.Errorf("%q: WithDefaults changes %s.Limits.%s", text, part, field)
	}
}

func limitStruct(l *scamp.Limits, part string) reflect.Value {
	v := reflect.ValueOf(l).Elem()
	switch part {
	case "packet":
		return v.FieldByName("Packet")
	case "mux":
		return v.FieldByName("Mux")
	case "discovery":
		return v.FieldByName("Discovery")
	}
	return v
}

func limitField(l *scamp.Limits, part, field string) reflect.Value {
	return limitStruct(l, part).FieldByName(field)
}

func limitValue(t *testing.T, v any, unit string) int64 {
	t.Helper()
	if unit != "duration" {
		n, ok := v.(float64)
		if !ok {
			t.Fatalf("default %v: want a number", v)
		}
		return int64(n)
	}
	d, err := time.ParseDuration(fmt.Sprint(v))
	if err != nil {
		t.Fatal(err)
	}
	return int64(d)
}

// TestLimitsKeepWhatIsSet shows that WithDefaults fills only what is zero.
func TestLimitsKeepWhatIsSet(t *testing.T) {
	l := scamp.Limits{MaxConns: 1, ServerIdle: time.Millisecond}
	l.Packet.MaxPacket, l.Mux.MaxPings, l.Discovery.MaxUnknown = 2, 3, 4
	d := l.WithDefaults()
	if d.MaxConns != 1 || d.ServerIdle != time.Millisecond || d.Packet.MaxPacket != 2 || d.Mux.MaxPings != 3 || d.Discovery.MaxUnknown != 4 {
		t.Errorf("WithDefaults of %+v gives %+v", l, d)
	}
	if d.WithDefaults() != d {
		t.Errorf("WithDefaults twice gives %+v, want %+v", d.WithDefaults(), d)
	}
}
