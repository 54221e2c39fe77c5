package packet

import (
	"fmt"
	"strings"
	"testing"
)

// White-box: whether a header was parsed or taken over from the last one, and what of it
// is kept, is not to be seen from outside.

// TestHeadersAreTakenOver: a header like the one before but for its numbers is not parsed
// again, and no other is taken for one.
func TestHeadersAreTakenOver(t *testing.T) {
	const request = `{"action":"a.b","envelope":"json","ext":{"v":1,"ms":4000},"request_id":17,"sector":"main","type":"request","version":1}`
	for _, tt := range []struct {
		name, before, body string
		hit                bool
	}{
		{"the same", request, request, true},
		{"other id", request, strings.Replace(request, "17", "1234567", 1), true},
		{"other time", request, strings.Replace(request, "4000", "7", 1), true},
		{"both", request, strings.NewReplacer("17", "18", "4000", "12").Replace(request), true},
		{"a reply", `{"type":"reply","request_id":9}`, `{"type":"reply","request_id":10}`, true},
		{"no numbers", `{"type":"notify"}`, `{"type":"notify"}`, true},
		{"nothing before", `{`, request, false},
		{"other action", request, strings.Replace(request, "a.b", "a.c", 1), false},
		{"longer", request, request + " ", false},
		{"shorter", request, request[:len(request)-1], false},
		{"id that is none", request, strings.Replace(request, "17", "0", 1), false},
		{"time that is none", request, strings.Replace(request, "4000", "99999999999999999999", 1), false},
		{"long ones", strings.Replace(request, "main", strings.Repeat("m", maxLast), 1), strings.Replace(request, "main", strings.Repeat("m", maxLast), 1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewHeaderReader(Limits{})
			r.Parse([]byte(tt.before), new(Header))
			if hit := r.last.parse([]byte(tt.body), new(Header)); hit != tt.hit {
				t.Errorf("header %s after %s: taken over %t, want %t", tt.body, tt.before, hit, tt.hit)
			}
		})
	}
}

// TestNoSecretIsRemembered: a header with a ticket, a token or a text of somebody's is not
// the last one for those that follow, and nothing of it is in the tables.
func TestNoSecretIsRemembered(t *testing.T) {
	const plain, secret = `{"action":"a.b","request_id":1,"type":"request"}`, "hush-hush"
	for _, member := range []string{
		`"ticket":"hush-hush"`, `"identifying_token":"hush-hush"`, `"terminal":"hush-hush"`, `"station":"hush-hush"`,
		`"error":"hush-hush"`, `"error_data":{"a":"hush-hush"}`, `"other":"hush-hush"`,
	} {
		t.Run(member, func(t *testing.T) {
			body := []byte(`{"action":"a.b",` + member + `,"request_id":2,"type":"request"}`)
			r := NewHeaderReader(Limits{})
			for _, b := range [][]byte{[]byte(plain), body} {
				if err := r.Parse(b, new(Header)); err != nil {
					t.Fatalf("header %s: %v", b, err)
				}
			}
			if got := string(r.last.body); got != plain {
				t.Errorf("after %s the last header is %s, want %s", body, got, plain)
			}
			if kept := fmt.Sprintf("%+v %+v %s", r.last.header, r.names.sets, r.scratch); strings.Contains(kept, secret) {
				t.Errorf("after %s the reader keeps %s, want nothing with %q", body, kept, secret)
			}
			if r.last.parse(body, new(Header)) {
				t.Errorf("header %s is taken over from one before, want it parsed", body)
			}
		})
	}
}
