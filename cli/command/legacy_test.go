package command_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/cli/command"
)

func TestTranslate(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"-announcepath=S -keypath=K -certpath=C", "sign --spec=S --key=K --cert=C"},
		{"--certpath=C --announcepath=S --keypath=K", "sign --cert=C --spec=S --key=K"},
		{"-announcepath S -keypath K -certpath C", "sign --spec=S --key=K --cert=C"},
		{"-announcepath=a=b -keypath= -certpath=C --json", "sign --spec=a=b --key= --cert=C --json"},
		{"-fingerprintpath=C", "fingerprint --sha1 -- C"},
		{"-fingerprintpath -C", "fingerprint --sha1 -- -C"},
		{"-fingerprintpath=C -fingerprintpath D --json", "fingerprint --json --sha1 -- C D"},
		{"sign --spec S", "sign --spec S"},
		{"call A.b --data -announcepath", "call A.b --data -announcepath"},
		{"announcepath=S", "announcepath=S"},
		{"-config x", "-config x"},
		{"", ""},
	} {
		got, err := command.Translate(strings.Fields(tt.in))
		if err != nil || !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("Translate(%s): %q, %v, want %s", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"-keypath", "-fingerprintpath=C -keypath=K", "-keypath=K -fingerprintpath=C"} {
		if got, err := command.Translate(strings.Fields(in)); command.ExitCode(err) != command.ExitUsage {
			t.Errorf("Translate(%s): %q, %v, want a mistake in the arguments", in, got, err)
		}
	}
}
