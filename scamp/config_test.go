package scamp_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// parseConfig reads text as a file named soa.conf and fails the test on an error.
func parseConfig(t testing.TB, text string) *scamp.Config {
	t.Helper()
	c, err := scamp.ParseConfig([]byte(text), "soa.conf")
	if err != nil {
		t.Fatalf("ParseConfig of %q: %v", text, err)
	}
	return c
}

// TestConformanceConfig holds the lines of PROTOCOL 17 that concern the file.
func TestConformanceConfig(t *testing.T) {
	t.Run("85_first_wins_aliases_comments_blanks", func(t *testing.T) {
		var cases struct {
			File      string
			Raw       map[string]string
			Absent    []string
			Effective struct {
				Client int `json:"client_timeout_seconds"`
				Server int `json:"server_timeout_seconds"`
				Port   int `json:"discovery_port"`
			}
			Warnings []string
		}
		fixtures.JSON("config.cases.json", &cases)
		c, err := scamp.ParseConfig(fixtures.Bytes(cases.File), cases.File)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range cases.Raw {
			if got, ok := c.Lookup(key); !ok || got != want {
				t.Errorf("Lookup(%q) = %q, %v, want %q", key, got, ok, want)
			}
		}
		for _, key := range cases.Absent {
			if got, ok := c.Lookup(key); ok {
				t.Errorf("Lookup(%q) = %q, want nothing", key, got)
			}
		}
		if got, want := c.Limits.ClientIdle, time.Duration(cases.Effective.Client)*time.Second; got != want {
			t.Errorf("ClientIdle = %v, want %v", got, want)
		}
		if got, want := c.Limits.ServerIdle, time.Duration(cases.Effective.Server)*time.Second; got != want {
			t.Errorf("ServerIdle = %v, want %v", got, want)
		}
		if c.DiscoveryPort != cases.Effective.Port {
			t.Errorf("DiscoveryPort = %d, want %d", c.DiscoveryPort, cases.Effective.Port)
		}
		// The three warnings of the fixture in our words, and its keys that nobody knows.
		want := []string{
			`config.conf:4: key "discovery.port" repeated: the first one, in line 3, holds`,
			`config.conf:6: key "empty.value" is unknown`,
			`config.conf:7: key "has.equals" is unknown`,
			`config.conf:8: key "spaces.inside" is unknown`,
			`config.conf:9: no '=' after "no": want KEY = VALUE`,
			`config.conf:13: key "path.hash" is unknown`,
			`config.conf:14: no key before '=': want KEY = VALUE`,
		}
		if got := configWarnings(c); !slices.Equal(got, want) {
			t.Errorf("warnings %q, want %q", got, want)
		}
	})

	t.Run("85a_explicit_path_reads_no_environment", func(t *testing.T) {
		dir, other := t.TempDir(), t.TempDir()
		path := writeFile(t, dir, "soa.conf", "rpc.timeout = 7")
		decoy := writeFile(t, other, "soa.conf", "rpc.timeout = 8")
		for _, name := range []string{"SCAMP", "SCAMP_CONFIG", "GTSOA"} {
			t.Setenv(name, decoy)
		}
		t.Setenv("SCAMP_CONFIG_DIR", other)
		writeFile(t, other, "authorized_services", "")
		rules := writeFile(t, dir, "authorized_services", "")

		c, err := scamp.ReadConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.Limits.RPCTimeout != 7*time.Second || c.ConfigDir != "" {
			t.Errorf("RPCTimeout %v, ConfigDir %q: want 7s and none", c.Limits.RPCTimeout, c.ConfigDir)
		}
		if got := c.AuthorizedPath(); got != rules {
			t.Errorf("AuthorizedPath = %q, want the one beside the file, %q", got, rules)
		}
		if got, want := c.KeyPairPaths("web")[0].Key, filepath.Join(dir, "services", "web.key"); got != want {
			t.Errorf("first key of web: %q, want %q", got, want)
		}
	})
}

func configWarnings(c *scamp.Config) []string {
	var all []string
	for _, w := range c.Warnings {
		all = append(all, w.String())
	}
	return all
}

func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigGrammar(t *testing.T) {
	for _, tt := range []struct{ name, text, key, want string }{
		{"plain", "a.b=c", "a.b", "c"},
		{"blanks", " \ta.b \t=\t c \t", "a.b", "c"},
		{"CR LF", "a.b = c\r\nd = e\r\n", "a.b", "c"},
		{"comment", "a.b = c # d", "a.b", "c"},
		{"comment without blank", "a.b = c#d=e", "a.b", "c"},
		{"second equals sign", "a.b = c = d", "a.b", "c = d"},
		{"inner blanks", "a.b = c  d", "a.b", "c  d"},
		{"no last newline", "x = 1\na.b = c", "a.b", "c"},
		{"first wins", "a.b = c\na.b = d", "a.b", "c"},
		{"first wins although empty", "a.b =\na.b = d", "a.b", ""},
		{"letter case counts", "A.B = d\na.b = c", "a.b", "c"},
		{"quotes are nothing special", `a.b = "c"`, "a.b", `"c"`},
		{"backslash is nothing special", "a.b = c\\\nd = e", "a.b", "c\\"},
		{"blanks in the key", "a b = c", "a b", "c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := parseConfig(t, tt.text).Lookup(tt.key); !ok || got != tt.want {
				t.Errorf("%q: Lookup(%q) = %q, %v, want %q", tt.text, tt.key, got, ok, tt.want)
			}
		})
	}
}

// TestConfigTakes reads one value of each kind into its field.
func TestConfigTakes(t *testing.T) {
	dir := t.TempDir()
	abs := filepath.Join(dir, "x")
	for _, tt := range []struct {
		text string
		want scamp.Config
	}{
		{"bus.address = 10.0.0.5 , if:eth1,", scamp.Config{BusAddress: []string{"10.0.0.5", "if:eth1"}}},
		{"discovery.address = 127.0.0.1", scamp.Config{DiscoveryAddress: []string{"127.0.0.1"}}},
		{"service.address = 127.0.0.1", scamp.Config{ServiceAddress: []string{"127.0.0.1"}}},
		{"bus.authorized_services = rules", scamp.Config{AuthorizedServices: filepath.Join(dir, "rules")}},
		{"bus.authorized_services = " + abs, scamp.Config{AuthorizedServices: abs}},
		{"bus.require_sha256 = 1", scamp.Config{RequireSHA256: true}},
		{"bus.default_sector = web", scamp.Config{DefaultSector: "web"}},
		{"auth.ticket_verify_key = t.pem", scamp.Config{TicketVerifyKey: filepath.Join(dir, "t.pem")}},
		{"discovery.cache_path = cache", scamp.Config{CachePath: filepath.Join(dir, "cache")}},
		{"discovery.multicast_address = 239.1.2.3", scamp.Config{MulticastAddress: netip.MustParseAddr("239.1.2.3")}},
		{"discovery.interval = 250", scamp.Config{Interval: 250 * time.Millisecond}},
		{"discovery.strict_cache = 0", scamp.Config{LooseCache: true}},
		{"discovery.strict_cache = 1", scamp.Config{}},
		{"discovery.publish = authorized", scamp.Config{PublishKnown: true}},
		{"discovery.publish = all", scamp.Config{}},
		{"beepish.heartbeat = 15", scamp.Config{Heartbeat: 15 * time.Second}},
		{"service.uri_scheme = scamp+tls", scamp.Config{URIScheme: "scamp+tls"}},
		{"service.running_service_file_dir_path = run", scamp.Config{RunningServiceDir: filepath.Join(dir, "run")}},
		{"service.shutdown_grace = 0", scamp.Config{ShutdownGrace: -1}},
		{"service.shutdown_grace = 0.0000000001", scamp.Config{ShutdownGrace: -1}},
		{"service.shutdown_grace = 0.25", scamp.Config{ShutdownGrace: 250 * time.Millisecond}},
		{"service.shutdown_drain = 1.5", scamp.Config{ShutdownDrain: 1500 * time.Millisecond}},
		{"tls.min_version = 1.3", scamp.Config{TLSMinVersion: tls.VersionTLS13}},
		{"tls.legacy_rsa = 1", scamp.Config{LegacyRSA: true}},
		{"tls.allow_readable_key = 1", scamp.Config{AllowReadableKey: true}},
		{"rpc.timeout = 0.5", scamp.Config{Limits: scamp.Limits{RPCTimeout: 500 * time.Millisecond}}},
		{"rpc.timeout =", scamp.Config{}},
	} {
		c, err := scamp.ParseConfig([]byte(tt.text), filepath.Join(dir, "soa.conf"))
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if got := scamp.FieldsOf(c); !reflect.DeepEqual(got, tt.want) || len(c.Warnings) > 0 {
			t.Errorf("%q: %+v, warnings %q, want %+v", tt.text, got, c.Warnings, tt.want)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, tt := range []struct{ key, value, want string }{
		{"bus.address", ",", "want IPv4 addresses or if:NAME"},
		{"bus.authorized_services", "a\x00b", "want a path"},
		{"bus.require_sha256", "yes", "want 0 or 1"},
		{"bus.default_sector", "a:b", "want a sector"},
		{"bus.default_sector", strings.Repeat("a", 256), "want a sector"},
		{"bus.default_sector", "caf\xe9", "want UTF-8"},
		{"discovery.port", "0", "want a port, 1 to 65535"},
		{"discovery.port", "65536", "want a port, 1 to 65535"},
		{"discovery.port", "+5555", "want a port"},
		{"discovery.port", "-1", "want a port"},
		{"discovery.port", "0x10", "want a port"},
		{"discovery.port", "1e3", "want a port"},
		{"discovery.port", "99999999999999999999", "want a port"},
		{"discovery.port", "5555,5556", "want a port"},
		{"discovery.port", "٥", "want a port"},
		{"discovery.multicast_address", "10.0.0.1", "want an IPv4 multicast address"},
		{"discovery.multicast_address", "ff02::1", "want an IPv4 multicast address"},
		{"discovery.multicast_address", "localhost", "want an IPv4 multicast address"},
		{"discovery.interval", "99", "want milliseconds, 100 to 3600000"},
		{"discovery.interval", "5s", "want milliseconds"},
		{"discovery.publish", "some", "want all or authorized"},
		{"discovery.max_actions", "100001", "want a number of actions, 1 to 100000"},
		{"scamp.first_port", "x", "want a port"},
		{"beepish.client_timeout", "0.5", "want seconds, 1 to 100000000"},
		{"beepish.heartbeat", "-1", "want seconds, 0 to 100000000"},
		{"rpc.timeout", "0", "want seconds, 0.001 to"},
		{"rpc.timeout", "75s", "want seconds"},
		{"rpc.timeout", ".5", "want seconds"},
		{"rpc.timeout", "5.", "want seconds"},
		{"rpc.timeout", "1.2.3", "want seconds"},
		{"rpc.timeout", "NaN", "want seconds"},
		{"rpc.timeout", "100000001", "want seconds"},
		{"service.uri_scheme", "http", "want beepish+tls or scamp+tls"},
		{"tls.min_version", "1.1", "want 1.2 or 1.3"},
		{"tls.min_rsa_bits", "512", "want bits, 1024 to 4096"},
		{"flow.chunk_size", "131073", "want octets, 1 to 131072"},
		{"flow.max_window", "65535", "want octets, 65536 or more"},
		{"flow.max_body", "16 MiB", "want octets, 1 or more"},
	} {
		text := fmt.Sprintf("# first line\n%s = %s\n", tt.key, tt.value)
		_, err := scamp.ParseConfig([]byte(text), "/etc/x.conf")
		start := fmt.Sprintf("scamp: /etc/x.conf:2: %s = ", tt.key)
		if err == nil || !strings.HasPrefix(err.Error(), start) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want one with %q and %q", text, err, start, tt.want)
		}
	}
}

// TestConfigNamesAllErrors shows that a file with several mistakes needs one run.
func TestConfigNamesAllErrors(t *testing.T) {
	_, err := scamp.ParseConfig([]byte("discovery.port = x\nrpc.timeout = y\n"), "f")
	for _, want := range []string{"f:1: discovery.port", "f:2: rpc.timeout"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestConfigBounds has files as large as they may be, and larger (THREATS X3).
func TestConfigBounds(t *testing.T) {
	const most = 1 << 20
	line := "bus.default_sector = main"
	for _, tt := range []struct {
		name, text, want string
	}{
		{"at the limit", line + strings.Repeat("\n", most-len(line)), ""},
		{"above", line + strings.Repeat("\n", most-len(line)+1), "more than 1048576 octets"},
		{"huge line", "bus.default_sector = " + strings.Repeat("a", most-100), "f:1: bus.default_sector"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, t.TempDir(), "f", tt.text)
			_, err := scamp.ReadConfig(path)
			if got := fmt.Sprint(err); (err == nil) != (tt.want == "") || !strings.Contains(got, tt.want) || len(got) > 1000 {
				t.Errorf("ReadConfig: error %.1000q, want one with %q, not long", got, tt.want)
			}
		})
	}
	c := parseConfig(t, strings.Repeat("x\n", 10_000))
	if n := len(c.Warnings); n != 101 || c.Warnings[100].Line != 101 {
		t.Errorf("%d warnings for 10000 bad lines, want 100 and one that ends them", n)
	}
	c = parseConfig(t, strings.Repeat("k", 100_000)+" = v\n")
	if len(c.Warnings) != 1 || len(c.Warnings[0].Text) > 1000 {
		t.Errorf("warnings for a key of 100000 octets: %.1000q, want a short one", configWarnings(c))
	}
}

func TestReadConfigNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "missing.conf"), dir} {
		if _, err := scamp.ReadConfig(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("ReadConfig(%q): error %v, want one that names it", path, err)
		}
	}
}

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

// FuzzConfig compares with a slow reading of PROTOCOL 13.1: the first of equal keys
// wins, and what is accepted can be used.
func FuzzConfig(f *testing.F) {
	f.Add(fixtures.Bytes("config.conf"))
	f.Add([]byte("discovery.port = 1\ndiscovery.port = 2\nscamp.first_port=9#"))
	f.Add([]byte("beepish.client_timeout = 0.1\r\n = \n\xff=\x00"))
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

func ExampleParseConfig() {
	text := `
bus.address = 127.0.0.1
rpc.timeout = 10    # seconds
rpc.timout  = 20
`
	cfg, err := scamp.ParseConfig([]byte(text), "soa.conf")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.BusAddress, cfg.Limits.RPCTimeout, cfg.WithDefaults().DefaultSector)
	for _, w := range cfg.Warnings {
		fmt.Println(w)
	}

	_, err = scamp.ParseConfig([]byte("rpc.timeout = soon"), "soa.conf")
	fmt.Println(err)
	// Output:
	// [127.0.0.1] 10s main
	// soa.conf:4: key "rpc.timout" is unknown: did you mean rpc.timeout?
	// scamp: soa.conf:1: rpc.timeout = "soon": want seconds, 0.001 to 100000000
}

// Whoever judges a configuration line by line learns where everything is.
func TestConfigPlaces(t *testing.T) {
	c, err := scamp.ParseConfig([]byte("# x\nscamp.first_port = 31000\nb.soa_key = k\na.cert = c\nb.key = l\n"+
		"dispatcher.key = d\nbus.adress = 10.0.0.1\nno equals\nempty.key =\n"), "x/soa.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key  string
		want int
	}{{"beepish.first_port", 2}, {"scamp.first_port", 2}, {"b.soa_key", 3}, {"bus.address", 0}, {"bus.adress", 7}, {"", 0}} {
		if got := c.Line(tt.key); got != tt.want {
			t.Errorf("Line(%q): %d, want %d", tt.key, got, tt.want)
		}
	}
	if got := strings.Join(c.Services(), " "); got != "a b" {
		t.Errorf("Services: %q, want a and b", got)
	}
	if len(c.Warnings) != 2 || !c.Warnings[0].Unknown || c.Warnings[1].Unknown {
		t.Errorf("warnings %+v: want an unknown key, then a line that is none", c.Warnings)
	}
	_, err = scamp.ParseConfig([]byte("\nrpc.timeout = soon\n"), "soa.conf")
	var line *scamp.ConfigError
	if !errors.As(err, &line) || line.File != "soa.conf" || line.Line != 2 || !strings.HasPrefix(line.Text, `rpc.timeout = "soon": want`) {
		t.Errorf("value out of range: %v, want a ConfigError of line 2", err)
	}
}
