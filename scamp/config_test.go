package scamp_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

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
		{"bus.identity = web/front", scamp.Config{Identity: "web/front"}},
		{"service.callers = who", scamp.Config{Callers: filepath.Join(dir, "who")}},
		{"service.callers = who\nservice.callers_mode = audit", scamp.Config{Callers: filepath.Join(dir, "who"), CallersMode: scamp.CallersAudit}},
		{"service.callers_mode = off", scamp.Config{CallersMode: scamp.CallersOff}},
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
		{"rpc.local = on", scamp.Config{}},
		{"rpc.local = off", scamp.Config{Local: scamp.LocalOff}},
		{"rpc.local = prefer", scamp.Config{Local: scamp.LocalPrefer}},
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
		{"rpc.local", "1", "want on, off or prefer"},
		{"bus.default_sector", "a:b", "want a sector"},
		{"bus.default_sector", strings.Repeat("a", 256), "want a sector"},
		{"bus.default_sector", "caf\xe9", "want UTF-8"},
		{"bus.identity", "a b", "want the name of a service"},
		{"service.callers_mode", "on", "want off, audit or enforce"},
		{"service.callers_mode", "Enforce", "want off, audit or enforce"},
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

// TestConfigPortsAndMark: a last port that is below the first is told, not only passed
// over, and the mark that some editors put before a text is no part of the first key.
func TestConfigPortsAndMark(t *testing.T) {
	for _, tt := range []struct{ text, warning string }{
		{"beepish.first_port = 31000\nbeepish.last_port = 30500", "x.conf:2: beepish.last_port is 30500, below the first port 31000: ports 31000 to 31299 are used"},
		{"scamp.last_port = 80", "x.conf:1: beepish.last_port is 80, below the first port 30100: ports 30100 to 30399 are used"},
		{"beepish.first_port = 65500\nbeepish.last_port = 1", "x.conf:2: beepish.last_port is 1, below the first port 65500: ports 65500 to 65535 are used"},
		{"beepish.first_port = 31000", ""},
		{"beepish.first_port = 31000\nbeepish.last_port = 31000", ""},
		{"\ufeffbus.address = 127.0.0.1", ""},
		{"\ufeff# a comment\nbus.address = 127.0.0.1", ""},
	} {
		c, err := scamp.ParseConfig([]byte(tt.text), "x.conf")
		if err != nil {
			t.Fatalf("%q: %v", tt.text, err)
		}
		if got := strings.Join(configWarnings(c), "\n"); got != tt.warning {
			t.Errorf("%q: warnings %q, want %q", tt.text, got, tt.warning)
		}
		if strings.Contains(tt.text, "bus.address") && !slices.Equal(c.BusAddress, []string{"127.0.0.1"}) {
			t.Errorf("%q: bus.address %q, want 127.0.0.1", tt.text, c.BusAddress)
		}
	}
	if _, err := scamp.ParseConfig([]byte("\ufeff-----BEGIN RSA PRIVATE KEY-----"), "x.conf"); err == nil {
		t.Error("a PEM file after a mark: no error")
	}
}

// A line that means nothing is told, and refused where it was to protect something.
func TestMisspelledProtectionIsAnError(t *testing.T) {
	for _, tt := range []struct{ text, err string }{
		{"service.callers: callers", `soa.conf:1: "service.callers:" sets nothing: want service.callers = VALUE`},
		{"service.callers callers", `"service.callers" sets nothing`},
		{"service.callers\tcallers = 1", `"service.callers" sets nothing`},
		{"service.caller = callers", `"service.caller" sets nothing: want service.callers = VALUE`},
		{"# callers\nService.Callers = callers", "soa.conf:2: "},
		{"service.callersmode = audit", "want service.callers_mode = VALUE"},
		{"bus.require_sha265 = 1", "want bus.require_sha256 = VALUE"},
		{"bus.require_sha256: 1", "want bus.require_sha256 = VALUE"},
		{"auth.ticket_verify_keys = key", "want auth.ticket_verify_key = VALUE"},
		{"bus.authorised_services = rules", "want bus.authorized_services = VALUE"},
		{"rpc.timeout = soon\nservice.caller = x", "want seconds"},
		{"service.callers = callers\nservice.callers_mode = audit\nbus.require_sha256 = 1", ""},
		{"service.calling = 1", ""},
		{"bus.requires = 1\nbus.adress = x\n= x\nnonsense\nweb.key = k\nweb.cert = c", ""},
	} {
		_, err := scamp.ParseConfig([]byte(tt.text), "soa.conf")
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: error %v, want one with %q", tt.text, err, tt.err)
		}
	}
}

// An empty value is the default, but where that opens a door: there it is an error, or told.
func TestEmptyValuesAreNoProtection(t *testing.T) {
	for _, tt := range []struct{ text, err, warning string }{
		{"service.callers =", "soa.conf:1: service.callers has no value", ""},
		{"service.callers = # callers\nservice.callers = callers", "soa.conf:1: service.callers has no value", ""},
		{"a.key = k\nservice.callers_mode =", "soa.conf:2: service.callers_mode has no value", ""},
		{"auth.ticket_verify_key =", "", "auth.ticket_verify_key has no value"},
		{"bus.identity =", "", "bus.identity has no value"},
		{"bus.authorized_services =\nbus.authorized_services = x", "", "bus.authorized_services has no value"},
		{"bus.require_sha256 = # 1", "", "bus.require_sha256 has no value"},
		{"bus.default_sector =", "", ""},
		{"service.callers = callers", "", ""},
	} {
		c, err := scamp.ParseConfig([]byte(tt.text), "soa.conf")
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: error %v, want one with %q", tt.text, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		told := fmt.Sprint(c.Warnings)
		if tt.warning == "" && len(c.Warnings) > 0 || !strings.Contains(told, tt.warning) {
			t.Errorf("%q: warnings %s, want one with %q", tt.text, told, tt.warning)
		}
	}
}
