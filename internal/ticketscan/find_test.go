package ticketscan_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/internal/ticketscan"
)

func TestFind(t *testing.T) {
	signature := strings.Repeat("aB3-_9", 57)
	user := "1,42,100,1700000000,3600,1+2+30," + signature
	for _, tt := range []struct{ name, text, want string }{
		{"alone", user, "1,42,100,1700000000,3600,1+2+30,"},
		{"in a line", `level=ERROR msg=x panic="ticket ` + user + `"`, "1,42,100,1700000000,3600,1+2+30,"},
		{"as a value", "ticket=" + user + "\n", "1,42,100,1700000000,3600,1+2+30,"},
		{"in JSON", `{"x":["a","` + user + `"]}`, "1,42,100,1700000000,3600,1+2+30,"},
		{"without privileges", "1,42,100,1700000000,3600,," + signature, "1,42,100,1700000000,3600,,"},
		{"short", "1,42,100,1700000000,3600," + signature, "1,42,100,1700000000,3600,"},
		{"of a station", "2,7,100," + signature, "2,7,100,"},
		{"of a station, with empty fields", "2,7,100,,,," + signature, "2,7,100,,,,"},
		{"begun late", "0,1700000000,3600," + signature, "0,1700000000,3600,"},
		{"cut", user[:128] + "...", "1,42,100,1700000000,3600,1+2+30,"},
		{"in the standard alphabet", "1,42,100,1700000000,3600," + strings.Repeat("aB3+/9", 57) + "==", "1,42,100,1700000000,3600,"},
		{"behind another long word", signature + " " + user, "1,42,100,1700000000,3600,1+2+30,"},
		{"in hexadecimal digits", fmt.Sprintf("body %x.", user), "1,42,100,1700000000,3600,1+2+30,"},
		{"in capital ones", fmt.Sprintf("body %X.", user), "1,42,100,1700000000,3600,1+2+30,"},
		{"in base64", base64.StdEncoding.EncodeToString([]byte("x " + user + "?>")), "1,42,100,1700000000,3600,1+2+30,"},
		{"in base64url", base64.RawURLEncoding.EncodeToString([]byte("x " + user + "?>")), "1,42,100,1700000000,3600,1+2+30,"},

		{"nothing", "", ""},
		{"said to be one", "ticket=[ticket] identifying_token=[ticket]", ""},
		{"claims alone", "1,42,100,1700000000,3600,1+2+30,", ""},
		{"a signature alone", signature, ""},
		{"too little of a signature", user[:90], ""},
		{"fields of words", "main,Sample.read,json," + signature, ""},
		{"a list of numbers", strings.Repeat("1700000000,", 100), ""},
		{"a certificate", "MIIC" + strings.Repeat("AbCd", 400) + "==", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, found := ticketscan.Find([]byte(tt.text))
			if got != tt.want || found != (tt.want != "") {
				t.Errorf("Find in %q: %q, %t; want %q", tt.text, got, found, tt.want)
			}
		})
	}
}
