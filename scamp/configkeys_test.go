package scamp_test

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// TestConfigKeys compares the table of keys with the fields: what it calls the
// default is what a zero Config means.
func TestConfigKeys(t *testing.T) {
	zero := scamp.FieldsOf(new(scamp.Config).WithDefaults())
	for _, s := range scamp.ConfigSettings() {
		if s.Default == "" {
			continue
		}
		c := parseConfig(t, s.Key+" = "+s.Default)
		if got := scamp.FieldsOf(c.WithDefaults()); !reflect.DeepEqual(got, zero) {
			t.Errorf("%s = %s gives %+v, want what a zero Config means, %+v", s.Key, s.Default, got, zero)
		}
	}
}

func TestConfigAliases(t *testing.T) {
	n := 0
	for _, s := range scamp.ConfigSettings() {
		if s.Alias == "" {
			continue
		}
		n++
		read := func(text string) scamp.Config { return scamp.FieldsOf(parseConfig(t, text)) }
		one, two := s.Key+" = 41\n", s.Alias+" = 42\n"
		newer, older := read(one), read(s.Key+" = 42\n")
		if reflect.DeepEqual(newer, older) {
			t.Errorf("%s = 41 and = 42 mean the same", s.Key)
		}
		for text, want := range map[string]scamp.Config{
			two:                    older,
			one + two:              newer,
			two + one:              newer,
			s.Key + " =\n" + two:   older,
			s.Alias + " =\n" + one: newer,
		} {
			if got := read(text); !reflect.DeepEqual(got, want) {
				t.Errorf("%q gives %+v, want %+v", text, got, want)
			}
		}
	}
	if n != 6 {
		t.Errorf("%d keys have an older name, want the 6 of PROTOCOL 13.3", n)
	}
}

// TestConfigForeignFile: another file given by mistake is refused with one error, which
// quotes none of it.
func TestConfigForeignFile(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a private key", string(fixtures.Bytes("sample.key")), "soa.conf:1: this is a PEM file"},
		{"a certificate", "\r\n" + string(fixtures.Bytes("sample.crt")), "soa.conf:2: this is a PEM file"},
		{"a configuration with a key in it", "a.b = c\n -----BEGIN PRIVATE KEY-----\nMIIE\n", "soa.conf:2: this is a PEM file"},
		{"a cache file", "\n%%%\n[3]\n\nx\n", "soa.conf:2: this is a discovery cache file"},
	} {
		c, err := scamp.ParseConfig([]byte(tt.text), "soa.conf")
		if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "MII") {
			t.Errorf("%s: %v, %v: want no configuration and one line with %q", tt.name, c, err, tt.want)
		}
	}
	if c, err := scamp.ParseConfig([]byte("# -----BEGIN and\n# %%%\na.b = %%%"), "soa.conf"); err != nil {
		t.Errorf("such text in a comment or a value: %v, %v: want it read", c, err)
	}
}

func TestConfigWarns(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"bus.adress = x", `key "bus.adress" is unknown: did you mean bus.address?`},
		{"Bus.Address = x", `key "Bus.Address" is unknown: did you mean bus.address?`},
		{"rpc.timeoutt = 3", `did you mean rpc.timeout?`},
		{"flow.max_paket = 3", `did you mean flow.max_packet?`},
		{"something.else = 3", `key "something.else" is unknown`},
		{"zmq.port = 3", `no implementation reads it`},
		{"discovery.crosspost = 3", `no implementation reads it`},
		{".key = x", `key ".key" is unknown`},
		{"beepish.client_timeout = 120", "beepish.client_timeout is not below"},
		{"\nbeepish.server_timeout = 90", "soa.conf:2: beepish.client_timeout is not below"},
		{"a\x1b[2Jb", "soa.conf:1: line 1 is no KEY = VALUE"}, // no name of a key is quoted
		{"hush+", "line 1 is no KEY = VALUE"},
		{"hush/hush==", "key (not shown: no name) is unknown"},
		{"hush+=1\nhush+=2", "key (not shown: no name) repeated: the first one, in line 1, holds"},
		{"MIIEvgIBADANBgkqhush", "line 1 is no KEY = VALUE"},
		{"miievgibadanbgkqhkighushg", "line 1 is no KEY = VALUE"},
		{"MIIEvgIBADANBgkqhushQ==", "key (not shown: no name) is unknown"},
		{"circular.secret hush", `no '=' after "circular.secret": want KEY = VALUE`},
		{"beepish.client_timeout = 119", ""},
		{"\nservice.callers_mode = enforce", "soa.conf:2: service.callers_mode is enforce, and service.callers names no file"},
		{"service.callers_mode = enforce\nservice.callers = x", ""},
		{"web/front.soa_key = a\nweb/front.soa_cert = b\nx.key = a\nx.cert = b", ""},
		{"worker.limit = 3\nx.logfile = 3\nx.stderr = 3\ndispatcher.port = 1\ncircular.secret = hush\nlog.level = 2", ""},
	} {
		got := strings.Join(configWarnings(parseConfig(t, tt.text)), "\n")
		if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%q: warnings %q, want %q", tt.text, got, tt.want)
		}
		if strings.ContainsRune(got, '\x1b') || strings.Contains(got, "hush") {
			t.Errorf("%q: warnings %q hold a control octet or a secret", tt.text, got)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	var none *scamp.Config
	d := none.WithDefaults()
	if zero := new(scamp.Config).WithDefaults(); !reflect.DeepEqual(d, zero) {
		t.Errorf("nil means %+v, want the same as a zero Config, %+v", d, zero)
	}
	if got, want := d.MulticastAddress.String(), "239.63.248.106"; got != want {
		t.Errorf("MulticastAddress %s, want %s", got, want)
	}
	for _, tt := range []struct{ first, last, wantFirst, wantLast int }{
		{0, 0, 30100, 30399},
		{31000, 0, 31000, 31299},
		{31000, 30000, 31000, 31299},
		{31000, 31000, 31000, 31000},
		{65500, 0, 65500, 65535},
		{0, 30200, 30100, 30200},
	} {
		c := scamp.Config{FirstPort: tt.first, LastPort: tt.last}
		if d := c.WithDefaults(); d.FirstPort != tt.wantFirst || d.LastPort != tt.wantLast {
			t.Errorf("ports %d to %d: got %d to %d, want %d to %d", tt.first, tt.last, d.FirstPort, d.LastPort, tt.wantFirst, tt.wantLast)
		}
	}
	c := scamp.Config{BusAddress: []string{"a"}, ServiceAddress: []string{"b"}, ShutdownGrace: -1}
	d = c.WithDefaults()
	if !slices.Equal(d.DiscoveryAddress, c.BusAddress) || !slices.Equal(d.ServiceAddress, c.ServiceAddress) || d.ShutdownGrace >= 0 {
		t.Errorf("%+v means %+v, want discovery on a, service on b, no grace", c, d)
	}
	if c.DiscoveryAddress != nil || c.DefaultSector != "" {
		t.Errorf("WithDefaults changed its receiver to %+v", c)
	}
}

// TestConfigExample reads the example at the root: it must give no warning, mean the
// defaults, and show every key with its default.
func TestConfigExample(t *testing.T) {
	const file = "../soa.conf.example"
	c, err := scamp.ReadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := scamp.FieldsOf(c); !reflect.DeepEqual(got, scamp.Config{}) || len(c.Warnings) > 0 {
		t.Errorf("as it stands it means %+v, warnings %q, want a zero Config", got, c.Warnings)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	active := regexp.MustCompile(`(?m)^#(\S+ = )`).ReplaceAll(text, []byte("$1"))
	c, err = scamp.ParseConfig(active, file)
	if err != nil || len(c.Warnings) > 0 {
		t.Fatalf("without the comment signs: error %v, warnings %q, want none", err, c.Warnings)
	}
	for _, s := range scamp.ConfigSettings() {
		if got, ok := c.Lookup(s.Key); !ok || s.Default != "" && got != s.Default {
			t.Errorf("%s: shown as %q (%v), want %q", s.Key, got, ok, s.Default)
		}
	}
	for _, key := range []string{"helloworld.soa_key", "helloworld.soa_cert"} {
		if _, ok := c.Lookup(key); !ok {
			t.Errorf("%s is not shown", key)
		}
	}
}

// TestAuthorizedExample reads the sample rules at the root: they must give no warning,
// as they stand and with the examples in force.
func TestAuthorizedExample(t *testing.T) {
	text, err := os.ReadFile("../authorized_services")
	if err != nil {
		t.Fatal(err)
	}
	active := regexp.MustCompile(`(?m)^# ((?:[0-9A-F]{2}:|sha256:))`).ReplaceAll(text, []byte("$1"))
	for _, tt := range []struct {
		text  []byte
		rules int
	}{{text, 0}, {active, 3}} {
		z, err := discovery.ParseAuthorized(bytes.NewReader(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(z.Rules()); n != tt.rules || len(z.Warnings) > 0 {
			t.Errorf("%s\n%d rules, warnings %q, want %d and none", tt.text, n, z.Warnings, tt.rules)
		}
	}
}

func configWarnings(c *scamp.Config) []string {
	var all []string
	for _, w := range c.Warnings {
		all = append(all, w.String())
	}
	return all
}
