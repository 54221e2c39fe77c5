package scamp_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// FuzzConfig compares with a slow reading of PROTOCOL 13.1: the first of equal keys
// wins, and what is accepted can be used.
func FuzzConfig(f *testing.F) {
	f.Add(fixtures.Bytes("config.conf"))
	f.Add([]byte("discovery.port = 1\ndiscovery.port = 2\nscamp.first_port=9#"))
	f.Add([]byte("beepish.client_timeout = 0.1\r\n = \n\xff=\x00"))
	f.Add([]byte("\ufeffdiscovery.port = 1\n\ufeffdiscovery.port = 2"))
	f.Add([]byte("rpc.timeout = 1.0000000000000000000000001\nbus.address = ,if:,"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := scamp.ParseConfig(text, "f")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "scamp: f:") || len(err.Error()) > 100*1000 {
				t.Errorf("%q: error %q, want a bounded one that names the file", text, err)
			}
			return
		}
		for key, want := range slowConfig(text) {
			if got, ok := c.Lookup(key); !ok || got != want {
				t.Errorf("%q: Lookup(%q) = %q, %v, want %q", text, key, got, ok, want)
			}
		}
		if len(c.Warnings) > 101 {
			t.Errorf("%d warnings, want at most 101", len(c.Warnings))
		}
		twice, err := scamp.ParseConfig(append(append(bytes.Clone(text), '\n'), text...), "f")
		if err == nil && !reflect.DeepEqual(scamp.FieldsOf(c), scamp.FieldsOf(twice)) {
			t.Errorf("%q: the file twice means %+v, once %+v", text, scamp.FieldsOf(twice), scamp.FieldsOf(c))
		}
		d := c.WithDefaults()
		if d.FirstPort < 1 || d.LastPort < d.FirstPort || d.LastPort > 65535 || d.DiscoveryPort < 1 || d.DiscoveryPort > 65535 {
			t.Errorf("%q: ports %d to %d and %d", text, d.FirstPort, d.LastPort, d.DiscoveryPort)
		}
		if d.Limits.RPCTimeout <= 0 || d.Limits.ServerIdle <= 0 || d.Interval <= 0 || d.Limits.MaxHeld <= 0 {
			t.Errorf("%q: limits %+v, want each above 0", text, d.Limits)
		}
	})
}

func slowConfig(text []byte) map[string]string {
	values := make(map[string]string)
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // as editors on Windows begin a file
	for _, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if _, repeated := values[key]; found && key != "" && !repeated {
			values[key] = strings.TrimSpace(value)
		}
	}
	return values
}
