package scamp

import (
	"encoding/json"
	"testing"
)

// FuzzEvent is a white-box test: events are read by functions of the package. What is
// read, written again, reads the same; and no event gives more records than it may.
func FuzzEvent(f *testing.F) {
	for _, s := range []string{
		`[]`, `[{"code":"a","key":"","value":1}]`, `[{"code":"a","key":"x","value":null},{"code":"announce","key":"","value":"[3]\n\n"}]`,
		`[7,null,{"Code":"a","key":"x","value":0},{"code":"a","key":"x","value": {"n" : [ ] },"more":1}]`, `{"code":"a"}`, `[{"code":`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		records, err := parseEvent(body, 5)
		if err != nil {
			return
		}
		if len(records) > 5 {
			t.Fatalf("%q: %d records, want 5 at most", body, len(records))
		}
		again := []byte{'['}
		for i, r := range records {
			if i > 0 {
				again = append(again, ',')
			}
			if r.value != nil && !json.Valid(r.value) {
				t.Fatalf("%q: value %q", body, r.value)
			}
			again = appendEvent(again, &eventEntry{eventName: r.eventName, value: r.value})
		}
		twice, err := parseEvent(append(again, ']'), 5)
		if err != nil || len(twice) != len(records) {
			t.Fatalf("%q, written again %q: %d records, %v, want %d", body, again, len(twice), err, len(records))
		}
		for i, r := range records {
			if twice[i].eventName != r.eventName || (twice[i].value == nil) != (r.value == nil) || string(twice[i].value) != string(r.value) {
				t.Fatalf("%q, written again %q: record %v, want %v", body, again, twice[i], r)
			}
		}
	})
}
