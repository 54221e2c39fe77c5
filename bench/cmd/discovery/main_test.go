// The test of a command is a white-box test: there is nothing exported.
package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOutput: every figure is one JSON object a line, with these four members, a value
// that was measured, and a ratio where there is a limit.
func TestOutput(t *testing.T) {
	var out bytes.Buffer
	err := run(&out, options{services: 60, large: 120, keys: 2, rounds: 1, flood: 300 * time.Millisecond, callable: 1})
	if err != nil {
		t.Fatal(err)
	}
	limited := map[string]bool{ // whether it has a limit
		"cold_load_ratio": true, "cold_load_ms": false, "cold_load_checks_ms": false, "cold_load_cores": true,
		"reload_unchanged_ms": true, "reload_one_changed_ms": false, "bytes_per_service": false,
		"find_ns": true, "find_allocs": true, "publish_change_us": false, "swap_rules_ms": false,
		"flood_cores": true, "flood_rate": false, "serve_to_callable_ms": true,
		"large_bytes_per_service": false, "large_load_ratio": true, "large_load_ms": false, "large_find_ns": true,
	}
	for line := range strings.Lines(out.String()) {
		var f figure
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&f); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		for _, member := range []string{`"metric":`, `"value":`, `"unit":`, `"limit_ratio":`} {
			if strings.Count(line, member) != 1 {
				t.Errorf("line %q: want one member %s", line, member)
			}
		}
		limit, ok := limited[f.Metric]
		if !ok {
			t.Errorf("metric %q: want each of the known ones once", f.Metric)
		}
		delete(limited, f.Metric)
		if (f.LimitRatio != nil) != limit {
			t.Errorf("%s: ratio %v: want one only where there is a limit", f.Metric, f.LimitRatio)
		}
		if f.Unit == "" || math.IsNaN(f.Value) || f.Value < 0 || f.Value == 0 && f.Metric != "find_allocs" {
			t.Errorf("%s: %v %q: want a value and its unit", f.Metric, f.Value, f.Unit)
		}
	}
	for metric := range limited {
		t.Errorf("no line for %q: want one", metric)
	}
}

// TestRatio: a ratio is the value by its limit, the value itself where nothing is
// allowed, and null where there is no limit.
func TestRatio(t *testing.T) {
	for _, tt := range []struct {
		value, limit float64
		want         string
	}{
		{3, 2, `{"metric":"m","value":3,"unit":"u","limit_ratio":1.5}`},
		{0.123456, 1, `{"metric":"m","value":0.1235,"unit":"u","limit_ratio":0.1235}`},
		{0, 0, `{"metric":"m","value":0,"unit":"u","limit_ratio":0}`},
		{2, 0, `{"metric":"m","value":2,"unit":"u","limit_ratio":2}`},
		{2, noLimit, `{"metric":"m","value":2,"unit":"u","limit_ratio":null}`},
	} {
		var out bytes.Buffer
		p := &printer{w: json.NewEncoder(&out)}
		p.print("m", tt.value, "u", tt.limit)
		if got := strings.TrimSpace(out.String()); got != tt.want {
			t.Errorf("print of %v with limit %v: %s, want %s", tt.value, tt.limit, got, tt.want)
		}
	}
}
