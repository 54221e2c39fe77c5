package discovery_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

func TestIdentSplits(t *testing.T) {
	for _, tt := range []struct{ ident, want string }{
		{"sample:AAECAwQFBgcICQoLDA0ODxAR", "sample"},
		{"a/b:c:d", "a/b"},
		{"my-service-AAECAwQFBgcICQoLDA0ODxAR", "my-service"},
		{"-AAECAwQFBgcICQoLDA0ODxAR", "-AAECAwQFBgcICQoLDA0ODxAR"},
		{"no-random", "no-random"},
		{":x", ""},
		{"", ""},
	} {
		if got := discovery.ServiceName(tt.ident); got != tt.want {
			t.Errorf("service of ident %q: %q: want %q", tt.ident, got, tt.want)
		}
	}
}

func TestNewIdentIsNew(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		ident := discovery.NewIdent("my/service")
		random, ok := strings.CutPrefix(ident, "my/service:")
		if b, err := base64.StdEncoding.DecodeString(random); !ok || err != nil || len(b) != 18 || len(random) != 24 {
			t.Fatalf("ident %q: want my/service: and 24 base64 characters", ident)
		}
		if seen[ident] {
			t.Fatalf("ident %q twice", ident)
		}
		seen[ident] = true
	}
}

// PROTOCOL 4.9 and THREATS E12.
func TestTimeoutFlag(t *testing.T) {
	for _, tt := range []struct {
		flags []string
		want  time.Duration
	}{
		{nil, 0},
		{[]string{"noauth"}, 0},
		{[]string{"t1"}, time.Second},
		{[]string{"t86400"}, 24 * time.Hour},
		{[]string{"t0"}, 0},
		{[]string{"t86401"}, 0},
		{[]string{"t3000000"}, 0},
		{[]string{"t18446744073709551617"}, 0},
		{[]string{"t"}, 0},
		{[]string{"t-5"}, 0},
		{[]string{"t+5"}, 0},
		{[]string{"t5.0"}, 0},
		{[]string{"t5s"}, 0},
		{[]string{"t0x5"}, 0},
		{[]string{"t1_0"}, 0},
		{[]string{" t5"}, 0},
		{[]string{"T5"}, 0},
		{[]string{"t5", "t10"}, 10 * time.Second},
		{[]string{"t5", "noauth", "t0"}, 5 * time.Second},
	} {
		a := discovery.Action{Flags: tt.flags}
		if got, ok := a.Timeout(); got != tt.want || ok != (tt.want != 0) {
			t.Errorf("flags %q: %v, %v: want %v", tt.flags, got, ok, tt.want)
		}
	}
}

// THREATS D22.
func TestAddress(t *testing.T) {
	const most = 512
	for _, address := range []string{
		"beepish+tls://10.0.0.5:30123",
		"beepish+tls://10.0.0.5:30123/",
		"scamp+tls://10.0.0.5:1",
		"beepish+tls://127.0.0.1:65535",
		"beepish+tls://[2001:db8::1]:30123",
		"beepish+tls://[::1]:30123/",
		"beepish+tls://localhost:30123",
		"beepish+tls://host-1.example.com.:30123",
		"beepish+tls://my_host:30123",
	} {
		if err := discovery.CheckAddress(address, most); err != nil {
			t.Errorf("address %q: %v: want it accepted", address, err)
		}
	}
	for _, address := range []string{
		"", "x", "10.0.0.5:30123", "tcp://10.0.0.5:30123", "http://10.0.0.5:30123", "BEEPISH+TLS://10.0.0.5:30123",
		"beepish+tls:10.0.0.5:30123", "beepish+tls://", "beepish+tls://:30123", "beepish+tls://10.0.0.5", "beepish+tls://10.0.0.5:",
		"beepish+tls://10.0.0.5:0", "beepish+tls://10.0.0.5:65536", "beepish+tls://10.0.0.5:030123", "beepish+tls://10.0.0.5:-1",
		"beepish+tls://10.0.0.5:+1", "beepish+tls://10.0.0.5:http", "beepish+tls://10.0.0.5:30123//", "beepish+tls://10.0.0.5:30123/path",
		"beepish+tls://10.0.0.5:30123?a", "beepish+tls://10.0.0.5:30123#a", "beepish+tls://user@10.0.0.5:30123", "beepish+tls://u:p@10.0.0.5:30123",
		"beepish+tls://0.0.0.0:30123", "beepish+tls://[::]:30123", "beepish+tls://239.63.248.106:5555", "beepish+tls://[ff02::1]:30123",
		"beepish+tls://255.255.255.255:30123", "beepish+tls://[::ffff:0.0.0.0]:30123", "beepish+tls://[::ffff:224.0.0.1]:30123",
		"beepish+tls://[fe80::1%eth0]:30123", "beepish+tls://[10.0.0.5]:30123", "beepish+tls://2001:db8::1:30123", "beepish+tls://[host]:30123",
		"beepish+tls://127.1:30123", "beepish+tls://2130706433:30123", "beepish+tls://0x7f000001:30123", "beepish+tls://0177.0.0.1:30123",
		"beepish+tls://10.0.0.256:30123", "beepish+tls://a..b:30123", "beepish+tls://-a:30123", "beepish+tls://a-:30123", "beepish+tls://a b:30123",
		"beepish+tls://h\u00f6st:30123", "beepish+tls://a\x00b:30123", "beepish+tls://" + strings.Repeat("a", 64) + ":30123",
		"beepish+tls://" + strings.Repeat("a.", 2000) + "b:30123",
	} {
		if err := discovery.CheckAddress(address, most); err == nil {
			t.Errorf("address %q: accepted: want an error", address)
		}
	}
	a := discovery.Announcement{Address: "scamp+tls://[2001:db8::1]:30123/"}
	if addr, ok := a.AddrPort(); !ok || addr.String() != "[2001:db8::1]:30123" || a.HostPort() != "[2001:db8::1]:30123" || a.Scheme() != "scamp+tls" {
		t.Errorf("address %q: %v, %q, %q", a.Address, addr, a.HostPort(), a.Scheme())
	}
	a.Address = "beepish+tls://localhost:30123"
	if _, ok := a.AddrPort(); ok || a.HostPort() != "localhost:30123" {
		t.Errorf("address %q has numbers, or host and port %q", a.Address, a.HostPort())
	}
}
