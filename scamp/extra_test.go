package scamp_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
)

// Tokens of stations and sessions show themselves as little as tickets do (PROTOCOL 18): those of
// stations do not even end.
func TestTokensAreNotShown(t *testing.T) {
	req := scamp.Request{Action: "A.b", Terminal: "2,STATION,100,sig", Extra: map[string]json.RawMessage{
		"new_session": json.RawMessage(`"SESSION"`), "new_terminal": json.RawMessage(`"STATION"`), "http_status": json.RawMessage(`"200"`), "x\n": json.RawMessage(`"SESSION"`)}}
	reply := scamp.Reply{Extra: req.Extra}
	who := scamp.Principal{Terminal: req.Terminal}
	var said strings.Builder
	for _, v := range []any{req, &req, reply.Extra, who, &who, req.Terminal} {
		fmt.Fprintf(&said, "%v %+v %#v %s %q %x %d\n", v, v, v, v, v, v, v)
		slog.New(slog.NewTextHandler(&said, nil)).Error("said", "value", v)
	}
	text := said.String()
	for _, secret := range []string{"STATION", "SESSION", "53 54 41 54", "83 84 65 84", "53455353", "83 69 83 83"} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("it shows %q: …%.200q", secret, text[max(0, i-100):])
		}
	}
	for _, want := range []string{"http_status=", "200", "new_session", `x\n`} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not show %q: %.400q", want, text)
		}
	}
	if _, err := json.Marshal(who); err == nil {
		t.Error("a Principal with a token is written as JSON")
	}
}
