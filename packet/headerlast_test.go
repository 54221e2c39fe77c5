package packet_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/packet"
)

// What a header means must not depend on those before it: a HeaderReader that
// remembers the last one says the same as a new one.
func TestHeaderAfterAnother(t *testing.T) {
	const sample = `{"action":"a.b","envelope":"json","ext":{"v":1,"ms":4000},"request_id":17,"sector":"main","type":"request","version":1}`
	numbers := []string{"1", "17", "0", "017", "-1", "+1", "1.5", "1e3", `"17"`, "null", "true", "", " 17", "17 ", "17,", "1 7",
		"9007199254740992", "9007199254740993", "9223372036854", "9223372036855", "18446744073709551616", "99999999999999999999999"}
	headers := []string{sample, `{}`, `{"request_id":1}`, ` {"request_id":1} `, `{"request_id":1,"request_id":2}`, `{"ext":{"v":1,"ms":1}}`,
		`{"request_id":1,"ext":{"v":1,"ms":1}}`, `{"ext":{"v":1,"ms":1,"ms":2},"request_id":3}`, `{"ext":{"ms":1},"request_id":3}`,
		`{"request_id":1,"ticket":"1,2"}`, `{"request_id":1,"identifying_token":"1"}`, `{"request_id":1,"x":1}`, `{"request_id":1,"error_data":{"a":1}}`,
		`{"request_id":1,"error":"1","error_code":"2"}`, `{"request_id":1,"version":"x"}`, `{"request_id":1`, `{"request_id":1}}`, "",
		`{"request_id":1,"sector":"` + strings.Repeat("s", 600) + `"}`}
	for _, n := range numbers {
		headers = append(headers, strings.Replace(sample, "17", n, 1), strings.Replace(sample, "4000", n, 1),
			strings.NewReplacer("17", n, "4000", n).Replace(sample))
	}
	for _, before := range headers {
		for _, body := range headers {
			sameAfter(t, before, body)
		}
	}
}

func FuzzHeaderAfterAnother(f *testing.F) {
	f.Add(`{"request_id":1,"ext":{"v":1,"ms":1}}`, `{"request_id":2,"ext":{"v":1,"ms":12}}`)
	f.Add(`{"type":"reply","request_id":9}`, `{"type":"reply","request_id":10}`)
	f.Fuzz(func(t *testing.T, before, body string) { sameAfter(t, before, body) })
}

func sameAfter(t *testing.T, before, body string) {
	t.Helper()
	var got, want packet.Header
	fresh := packet.NewHeaderReader(packet.Limits{}).Parse([]byte(body), &want)
	r := packet.NewHeaderReader(packet.Limits{})
	r.Parse([]byte(before), new(packet.Header))
	after := r.Parse([]byte(body), &got)
	if (fresh == nil) != (after == nil) || !reflect.DeepEqual(got, want) {
		t.Errorf("header %s after %s:\n%+v, %v\nwant\n%+v, %v", body, before, got, after, want, fresh)
	}
}

// What must not be kept is not: tickets, and headers over the limit in force.
func TestHeaderReaderKeepsToItsLimit(t *testing.T) {
	r := packet.NewHeaderReader(packet.Limits{MaxHeader: 20})
	var h packet.Header
	for _, tt := range []struct {
		body string
		ok   bool
	}{{`{"request_id":12345}`, true}, {`{"request_id":123456}`, false}, {`{"request_id":54321}`, true}} {
		if err := r.Parse([]byte(tt.body), &h); (err == nil) != tt.ok {
			t.Errorf("header of %d octets, at most 20 allowed: %v", len(tt.body), err)
		}
	}
}
