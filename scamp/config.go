package scamp

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A Config is what a soa.conf says (PROTOCOL 13). The zero value is usable: a zero
// field means the default its comment names. A Config is plain data; it is not
// changed by those it is given to, and must not be changed while they use it.
type Config struct {
	File string // where it was read; paths that are not absolute start at its directory
	// ConfigDir holds services/NAME.key, services/NAME.crt and authorized_services
	// for names that neither the keys nor the files beside File settle.
	// It is $SCAMP_CONFIG_DIR if the environment led to the file, else empty.
	ConfigDir string

	BusAddress       []string // bus.address: IPv4 addresses or if:NAME; empty means autodetect (PROTOCOL 7.11)
	DiscoveryAddress []string // discovery.address; empty means BusAddress
	ServiceAddress   []string // service.address; empty means BusAddress

	AuthorizedServices string // bus.authorized_services; empty: see AuthorizedPath
	RequireSHA256      bool   // bus.require_sha256: rules that name a certificate by SHA-1 do not count
	DefaultSector      string // bus.default_sector of requests; empty means main
	TicketVerifyKey    string // auth.ticket_verify_key; empty: see TicketKeyPath

	Identity    string      // bus.identity: the service whose key pair callers of this bus show; empty means none
	Callers     string      // service.callers: the file that says who may call; empty means nobody is asked for
	CallersMode CallersMode // service.callers_mode; zero means CallersEnforce with Callers, else CallersOff

	FirstPort int // beepish.first_port of listeners; zero means 30100
	LastPort  int // beepish.last_port; zero or below FirstPort means FirstPort + 299
	BindTries int // beepish.bind_tries: ports tried for each address; zero means 20
	// Heartbeat is beepish.heartbeat: a peer of any make that is silent for so long while
	// we wait for it gets a PING, which old ones do not know. Zero means 15 s, and only
	// toward peers that have shown to know it (PROTOCOL 4.7).
	Heartbeat time.Duration

	Local LocalCalls // rpc.local: how the services of the same bus are called; zero means LocalOn

	MulticastAddress netip.Addr    // discovery.multicast_address; zero means 239.63.248.106
	DiscoveryPort    int           // discovery.port; zero means 5555
	CachePath        string        // discovery.cache_path; empty: a bus listens itself, tools use DefaultCachePath
	Interval         time.Duration // discovery.interval between announcements; zero means 5 s
	LooseCache       bool          // discovery.strict_cache = 0: the cache daemon writes records old readers choke on (PROTOCOL 8.4)
	PublishKnown     bool          // discovery.publish = authorized: the cache daemon leaves out certificates without a rule

	URIScheme         string        // service.uri_scheme announced: beepish+tls or scamp+tls; empty means beepish+tls
	RunningServiceDir string        // service.running_service_file_dir_path; empty means no file (PROTOCOL 12.4)
	ShutdownGrace     time.Duration // service.shutdown_grace: served on after the withdrawal; zero means 5 s, negative not at all
	ShutdownDrain     time.Duration // service.shutdown_drain: waited for running requests; zero means 30 s, negative not at all

	TLSMinVersion    uint16 // tls.min_version: tls.VersionTLS12 or tls.VersionTLS13; zero means TLS 1.2
	LegacyRSA        bool   // tls.legacy_rsa: also offer the suites without forward secrecy (PROTOCOL 6.3)
	AllowReadableKey bool   // tls.allow_readable_key: serve with a private key that everybody can read

	Limits Limits // flow., rpc. and worker. keys, and those of others that bound something

	// Warnings are the lines that were skipped and why. They hold no secrets.
	Warnings []ConfigWarning

	values map[string]configValue // every key of the file, as it stands there
}

// DefaultCachePath is the cache file of the cache daemon and of tools that list
// the bus, if the configuration names none.
const DefaultCachePath = "/tmp/scamp_discovery_cache"

// A ConfigWarning is a line of the configuration that has no effect, or not the
// one its author may have had in mind.
type ConfigWarning struct {
	File    string
	Line    int
	Unknown bool // it has a key that nobody reads
	Text    string
}

// String returns file, line and text in the form compilers use.
func (w ConfigWarning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// A ConfigError is a line of the configuration that cannot be used.
type ConfigError struct {
	File string
	Line int
	Text string // what is wrong with it, and what is wanted
}

// Error implements error.
func (e *ConfigError) Error() string { return fmt.Sprintf("scamp: %s:%d: %s", e.File, e.Line, e.Text) }

type configValue struct {
	text string
	line int
}

const (
	maxConfigFile    = 1 << 20 // octets
	maxConfigReports = 100     // warnings, and errors, after which the rest is only counted
)

// byteOrderMark is what some editors put before a text in UTF-8. It is no part of the
// first key.
var byteOrderMark = []byte("\ufeff")

// ReadConfig reads the configuration at path and no environment. Values that
// cannot be used are errors, all of them in one; lines that mean nothing are Warnings.
func ReadConfig(path string) (*Config, error) {
	text, _, err := discovery.ReadFile(path, maxConfigFile)
	if err != nil {
		return nil, fmt.Errorf("scamp: configuration: %w", err)
	}
	return ParseConfig(text, path)
}

// ParseConfig reads a configuration from text as ReadConfig does. The name of the
// file is used in errors and warnings, and for paths that are not absolute.
func ParseConfig(text []byte, file string) (*Config, error) {
	if len(text) > maxConfigFile {
		return nil, fmt.Errorf("scamp: %s: more than %d octets: want a configuration file", file, maxConfigFile)
	}
	text = bytes.TrimPrefix(text, byteOrderMark)
	if line, is := foreignLine(text); is != "" {
		return nil, &ConfigError{file, line, "this is " + is + ": want a configuration file, with lines KEY = VALUE"}
	}
	c := &Config{File: file, values: make(map[string]configValue)}
	unsafe := c.readLines(text)
	if err := errors.Join(append(unsafe, c.readSettings()...)...); err != nil {
		return nil, err
	}
	return c, nil
}

// foreignLine finds the first line that shows the text to be another file of a bus,
// given by mistake, and says which. A private key must not be read line by line, since
// what is wrong with the lines is told.
func foreignLine(text []byte) (line int, is string) {
	for raw := range bytes.Lines(text) {
		line++
		switch raw = bytes.TrimSpace(raw); {
		case bytes.HasPrefix(raw, []byte("-----BEGIN ")):
			return line, "a PEM file, such as a key or a certificate"
		case string(raw) == "%%%":
			return line, "a discovery cache file"
		}
	}
	return 0, ""
}

// readLines fills values by the grammar of PROTOCOL 13.1. It returns an error for each line
// that means nothing and was to protect something.
func (c *Config) readLines(text []byte) (unsafe []error) {
	line := 0
	for raw := range bytes.Lines(text) {
		line++
		content, _, _ := bytes.Cut(raw, []byte("#"))
		content = bytes.TrimSpace(content)
		if len(content) == 0 {
			continue
		}
		k, v, found := strings.Cut(string(content), "=")
		key, value := strings.TrimSpace(k), strings.TrimSpace(v)
		if word, meant := misspelledProtection(string(content), key, found); meant != "" {
			if len(unsafe) < maxConfigReports {
				unsafe = append(unsafe, &ConfigError{c.File, line, fmt.Sprintf("%q sets nothing: want %s = VALUE, or no such line; as it stands it protects nothing", word, meant)})
			}
			continue
		}
		switch first, repeated := c.values[key]; {
		case !found:
			// Its first word alone: what follows may be a secret.
			if word := strings.Fields(key)[0]; likeKey(word) {
				c.warn(line, "no '=' after %q: want KEY = VALUE", word)
			} else {
				c.warn(line, "line %d is no KEY = VALUE", line)
			}
		case key == "":
			c.warn(line, "no key before '=': want KEY = VALUE")
		case repeated:
			c.warn(line, "key %s repeated: the first one, in line %d, holds", quoteKey(key), first.line)
		default:
			c.values[key] = configValue{value, line}
			if why := unknownKey(key); why != "" {
				c.warn(line, "%s", why)
				if last := &c.Warnings[len(c.Warnings)-1]; last.Text == why { // else it is only counted
					last.Unknown = true
				}
			}
		}
	}
	return unsafe
}

// An empty value is none, as it is for the other implementations. Where that would protect
// less than its author may have meant it is an error in keys that only we read, and is told
// in others.
var (
	neverEmpty  = []string{"service.callers", "service.callers_mode"}
	hardlyEmpty = []string{"auth.ticket_verify_key", "bus.identity", "bus.authorized_services", "bus.require_sha256"}
)

// readSettings takes the keys that have a field from values into it.
func (c *Config) readSettings() (errs []error) {
	for _, s := range settings {
		key, v := s.find(c.values)
		if v.text == "" {
			if v.line > 0 && slices.Contains(neverEmpty, s.key) {
				errs = append(errs, &ConfigError{c.File, v.line, key + " has no value: want one, or no such line; as it stands it would let everybody call"})
			} else if v.line > 0 && slices.Contains(hardlyEmpty, s.key) {
				c.warn(v.line, "%s has no value: the default is used, and no later line counts", key)
			}
			continue
		}
		want := "UTF-8"
		if utf8.ValidString(v.text) {
			want = s.read(c, v.text)
		}
		if want == "" {
			continue
		}
		if len(errs) == maxConfigReports {
			break
		}
		errs = append(errs, &ConfigError{c.File, v.line, fmt.Sprintf("%s = %s: want %s", key, quoteText(v.text), want)})
	}
	l := c.Limits.WithDefaults()
	if len(errs) == 0 && l.ClientIdle >= l.ServerIdle {
		_, v := settingFor("beepish.client_timeout").find(c.values)
		if v.text == "" {
			_, v = settingFor("beepish.server_timeout").find(c.values)
		}
		c.warn(v.line, "beepish.client_timeout is not below beepish.server_timeout: requests may meet a connection that is just closing")
	}
	if first := cmp.Or(c.FirstPort, 30100); len(errs) == 0 && c.LastPort != 0 && c.LastPort < first {
		_, v := settingFor("beepish.last_port").find(c.values)
		c.warn(v.line, "beepish.last_port is %d, below the first port %d: ports %d to %d are used", c.LastPort, first, first, min(first+299, 65535))
	}
	if len(errs) == 0 {
		if c.CallersMode > CallersOff && c.Callers == "" {
			_, v := settingFor("service.callers_mode").find(c.values)
			c.warn(v.line, "service.callers_mode is %v, and service.callers names no file: a service that names none itself will not start", c.CallersMode)
		}
		c.warnCapped("flow.max_inflight", c.Limits.Mux.MaxInflight, mux.MinWindow, "a peer that announces no window takes no more")
		c.warnCapped("flow.max_window", c.Limits.Mux.MaxWindow, l.Mux.MaxBuffered/2, "a window that is announced may be half of flow.max_buffered")
	}
	return errs
}

// warnCapped tells of a setting that is more than can be used.
func (c *Config) warnCapped(key string, value, most int, why string) {
	if value > most {
		_, v := settingFor(key).find(c.values)
		c.warn(v.line, "%s is %d, but %d is used: %s", key, value, most, why)
	}
}

// find returns what the file says about the setting and under which of its keys.
// An empty value is none, as it is for the other implementations.
func (s *setting) find(values map[string]configValue) (string, configValue) {
	if v := values[s.key]; v.text != "" || s.alias == "" {
		return s.key, v
	}
	return s.alias, values[s.alias]
}

func (c *Config) warn(line int, format string, args ...any) {
	switch n := len(c.Warnings); {
	case n < maxConfigReports:
		c.Warnings = append(c.Warnings, ConfigWarning{File: c.File, Line: line, Text: fmt.Sprintf(format, args...)})
	case n == maxConfigReports:
		c.Warnings = append(c.Warnings, ConfigWarning{File: c.File, Line: line, Text: "more lines like these from here on"})
	}
}

// quoteText renders text of a file for a message: quoted, and cut where it gets long.
func quoteText(text string) string {
	const most = 128 // octets
	if len(text) > most {
		return fmt.Sprintf("%q...", text[:most])
	}
	return fmt.Sprintf("%q", text)
}

// quoteKey renders what stands before a '=' for a message, if it is the name of a key.
// Otherwise it may be the end of something secret in base64, and stays untold.
func quoteKey(key string) string {
	if !likeKey(key) {
		return "(not shown: no name)"
	}
	return fmt.Sprintf("%q", key)
}

// likeKey says whether a word could be the name of a key, and not a piece of base64:
// that has no dots, and is long or soon has both cases and digits.
func likeKey(word string) bool {
	const letters, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	if len(word) > 64 || strings.Trim(strings.ToLower(word), letters+digits+"._-") != "" {
		return false
	}
	kinds := 0
	for _, kind := range []string{letters, strings.ToUpper(letters), digits} {
		if strings.ContainsAny(word, kind) {
			kinds++
		}
	}
	return strings.Contains(word, ".") || len(word) < 16 && kinds < 3
}

// Lookup returns the value of a key as it stands in the file, also of keys that
// have no field here, and whether the file has it.
func (c *Config) Lookup(key string) (value string, found bool) {
	v, found := c.values[key]
	return v.text, found
}

// Line returns the line of the file that sets key, or an older name of it, counted
// from 1; 0 when none does.
func (c *Config) Line(key string) int {
	if s := settingFor(key); s != nil {
		_, v := s.find(c.values)
		return v.line
	}
	return c.values[key].line
}

// Services returns the names of the services whose key pairs the file names, sorted.
func (c *Config) Services() []string {
	var names []string
	for key, v := range c.values {
		if v.text == "" || settingFor(key) != nil || hasOne(strings.HasPrefix, key, othersPrefixes) {
			continue
		}
		for _, suffix := range serviceKeys {
			if name, ok := strings.CutSuffix(key, suffix); ok && name != "" {
				names = append(names, name)
				break
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// WithDefaults returns a copy of c with every zero field set to its default. A nil
// c means a zero Config. Paths stay empty: their defaults depend on which files exist.
func (c *Config) WithDefaults() *Config {
	var d Config
	if c != nil {
		d = *c
	}
	if len(d.DiscoveryAddress) == 0 {
		d.DiscoveryAddress = d.BusAddress
	}
	if len(d.ServiceAddress) == 0 {
		d.ServiceAddress = d.BusAddress
	}
	setDefault(&d.DefaultSector, "main")
	setDefault(&d.FirstPort, 30100)
	if d.LastPort < d.FirstPort {
		d.LastPort = min(d.FirstPort+299, 65535)
	}
	setDefault(&d.BindTries, 20)
	setDefault(&d.MulticastAddress, netip.AddrFrom4([4]byte{239, 63, 248, 106}))
	setDefault(&d.DiscoveryPort, 5555)
	setDefault(&d.Interval, 5*time.Second)
	setDefault(&d.URIScheme, "beepish+tls")
	setDefault(&d.ShutdownGrace, 5*time.Second)
	setDefault(&d.ShutdownDrain, 30*time.Second)
	setDefault(&d.TLSMinVersion, tls.VersionTLS12)
	d.Limits = d.Limits.WithDefaults()
	return &d
}
