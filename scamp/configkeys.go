package scamp

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/scampbus/scamp-go/discovery"
)

// A setting is one key of PROTOCOL 13.3 that has a field.
type setting struct {
	key   string
	alias string // older name of the same setting, used where key is absent
	def   string // the default as one would write it; empty if it depends on the machine
	// read takes a value into its field and returns what is wanted instead if it
	// cannot be used.
	read func(c *Config, value string) (want string)
}

// settings holds every key that has a field, in the order of soa.conf.example.
var settings = []setting{
	{"bus.address", "", "", readList(func(c *Config) *[]string { return &c.BusAddress })},
	{"discovery.address", "", "", readList(func(c *Config) *[]string { return &c.DiscoveryAddress })},
	{"service.address", "", "", readList(func(c *Config) *[]string { return &c.ServiceAddress })},

	{"bus.authorized_services", "", "", readPath(func(c *Config) *string { return &c.AuthorizedServices })},
	{"bus.require_sha256", "", "0", readFlag(func(c *Config) *bool { return &c.RequireSHA256 }, "1")},
	{"bus.default_sector", "", "main", readSector},
	{"auth.ticket_verify_key", "", "", readPath(func(c *Config) *string { return &c.TicketVerifyKey })},
	{"bus.identity", "", "", readIdentity},
	{"service.callers", "", "", readPath(func(c *Config) *string { return &c.Callers })},
	{"service.callers_mode", "", "", readCallersMode},

	{"discovery.cache_path", "", "", readPath(func(c *Config) *string { return &c.CachePath })},
	{"discovery.cache_max_age", "", "120", readSeconds(func(c *Config) *time.Duration { return &c.Limits.Discovery.CacheMaxAge }, 1)},
	{"discovery.multicast_address", "", "239.63.248.106", readGroup},
	{"discovery.port", "", "5555", readCount(func(c *Config) *int { return &c.DiscoveryPort }, "a port", 1, 65535)},
	{"discovery.interval", "", "5000", readInterval},
	{"discovery.strict_cache", "", "1", readFlag(func(c *Config) *bool { return &c.LooseCache }, "0")},
	{"discovery.publish", "", "all", readPublish},
	{"discovery.max_packet", "", "262144", readOctets(func(c *Config) *int { return &c.Limits.Discovery.MaxAnnounce }, 4096)},
	{"discovery.max_actions", "", "4096", readCount(func(c *Config) *int { return &c.Limits.Discovery.MaxActions }, "a number of actions", 1, 100000)},

	{"beepish.first_port", "scamp.first_port", "30100", readCount(func(c *Config) *int { return &c.FirstPort }, "a port", 1, 65535)},
	{"beepish.last_port", "scamp.last_port", "30399", readCount(func(c *Config) *int { return &c.LastPort }, "a port", 1, 65535)},
	{"beepish.bind_tries", "scamp.bind_tries", "20", readCount(func(c *Config) *int { return &c.BindTries }, "a number of tries", 1, 65535)},
	{"beepish.client_timeout", "scamp.client_timeout", "90", readSeconds(func(c *Config) *time.Duration { return &c.Limits.ClientIdle }, 1)},
	{"beepish.server_timeout", "scamp.server_timeout", "120", readSeconds(func(c *Config) *time.Duration { return &c.Limits.ServerIdle }, 1)},
	{"beepish.heartbeat", "scamp.heartbeat", "0", readSeconds(func(c *Config) *time.Duration { return &c.Heartbeat }, 0)},

	{"rpc.timeout", "", "75", readSeconds(func(c *Config) *time.Duration { return &c.Limits.RPCTimeout }, 0.001)},
	{"rpc.local", "", "on", readLocal},
	{"worker.timeout", "", "60", readSeconds(func(c *Config) *time.Duration { return &c.Limits.WorkerTimeout }, 0.001)},

	{"service.uri_scheme", "", "beepish+tls", readScheme},
	{"service.running_service_file_dir_path", "", "", readPath(func(c *Config) *string { return &c.RunningServiceDir })},
	{"service.max_concurrency", "", "1024", readCount(func(c *Config) *int { return &c.Limits.MaxConcurrency }, "a number of handlers", 1, math.MaxInt32)},
	{"service.max_queue", "", "4096", readCount(func(c *Config) *int { return &c.Limits.MaxQueue }, "a number of requests", 1, math.MaxInt32)},
	{"service.shutdown_grace", "", "5", readPause(func(c *Config) *time.Duration { return &c.ShutdownGrace })},
	{"service.shutdown_drain", "", "30", readPause(func(c *Config) *time.Duration { return &c.ShutdownDrain })},

	{"tls.min_version", "", "1.2", readTLSVersion},
	{"tls.legacy_rsa", "", "0", readFlag(func(c *Config) *bool { return &c.LegacyRSA }, "1")},
	{"tls.min_rsa_bits", "", "2048", readCount(func(c *Config) *int { return &c.Limits.Discovery.MinRSABits }, "bits", 1024, 4096)},
	{"tls.allow_readable_key", "", "0", readFlag(func(c *Config) *bool { return &c.AllowReadableKey }, "1")},

	{"flow.max_inflight", "", "65536", readOctets(func(c *Config) *int { return &c.Limits.Mux.MaxInflight }, 1)},
	{"flow.max_window", "", "1048576", readOctets(func(c *Config) *int { return &c.Limits.Mux.MaxWindow }, 65536)},
	{"flow.chunk_size", "", "16384", readCount(func(c *Config) *int { return &c.Limits.Mux.ChunkSize }, "octets", 1, 131072)},
	{"flow.max_packet", "", "131072", readOctets(func(c *Config) *int { return &c.Limits.Packet.MaxPacket }, 1024)},
	{"flow.max_header", "", "65536", readOctets(func(c *Config) *int { return &c.Limits.Packet.MaxHeader }, 1024)},
	{"flow.max_body", "", "16777216", readOctets(func(c *Config) *int { return &c.Limits.MaxBody }, 1)},
	{"flow.max_unread_message", "", "1048576", readOctets(func(c *Config) *int { return &c.Limits.Mux.MaxUnreadMessage }, 65536)},
	{"flow.max_buffered", "", "8388608", readOctets(func(c *Config) *int { return &c.Limits.Mux.MaxBuffered }, 65536)},
	{"flow.max_held", "", "268435456", readOctets(func(c *Config) *int { return &c.Limits.MaxHeld }, 65536)},
	{"flow.max_open_messages", "", "4096", readCount(func(c *Config) *int { return &c.Limits.Mux.MaxOpenMessages }, "a number of messages", 1, math.MaxInt32)},
	{"flow.max_handlers", "", "256", readCount(func(c *Config) *int { return &c.Limits.Mux.MaxHandlers }, "a number of handlers", 1, math.MaxInt32)},
}

// Suffixes of keys about one service, NAME.key for example; see KeyPairPaths.
var serviceKeys = []string{".soa_key", ".soa_cert", ".key", ".cert"}

// Keys and beginnings of keys that others read from the same file, so that a shared
// file gives no warnings.
var (
	othersKeys = []string{
		"discovery.seed_hosts", "discovery.known_hosts", "discovery.auth_localhost",
		"discovery.local_multicast", "discovery.local_multicast_address", "discovery.local_port",
		"log.level",
		"worker.limit", "worker.min_spares", "worker.max_spares", "worker.start", "worker.kill_delay", "worker.max_requests",
	}
	othersPrefixes = []string{"dispatcher.", "httpgateway.", "http.", "circular."}
	othersSuffixes = []string{".logfile", ".stderr"}
	nobodysKeys    = []string{"discovery.crosspost", "cache.ping_interval", "zmq."}
)

// unknownKey says why key has no effect, or nothing if it has or is not ours.
func unknownKey(key string) string {
	if settingFor(key) != nil || hasOne(strings.HasSuffix, key, serviceKeys) ||
		slices.Contains(othersKeys, key) || hasOne(strings.HasPrefix, key, othersPrefixes) || hasOne(strings.HasSuffix, key, othersSuffixes) {
		return ""
	}
	if hasOne(strings.HasPrefix, key, nobodysKeys) {
		return fmt.Sprintf("key %s: no implementation reads it", quoteKey(key))
	}
	if near := nearestKey(key); near != "" {
		return fmt.Sprintf("key %s is unknown: did you mean %s?", quoteKey(key), near)
	}
	return fmt.Sprintf("key %s is unknown", quoteKey(key))
}

func settingFor(key string) *setting {
	for i := range settings {
		if s := &settings[i]; s.key == key || s.alias != "" && s.alias == key {
			return s
		}
	}
	return nil
}

// hasOne says whether key stands in relation to one of list; "NAME.key" needs a NAME.
func hasOne(relation func(key, part string) bool, key string, list []string) bool {
	for _, part := range list {
		if relation(key, part) && (part[0] != '.' || len(key) > len(part)) {
			return true
		}
	}
	return false
}

// nearestKey returns the known key that differs from key by letter case or by at
// most two letters, if there is one.
func nearestKey(key string) string {
	best, nearest := 3, ""
	for _, s := range settings {
		if strings.EqualFold(s.key, key) {
			return s.key
		}
		if d := discovery.Distance(s.key, key, best); d < best {
			best, nearest = d, s.key
		}
	}
	return nearest
}

// protectors are the keys whose absence lets more people in.
var protectors = []string{"service.callers", "service.callers_mode", "bus.require_sha256", "auth.ticket_verify_key", "bus.authorized_services"}

// misspelledProtection returns the first word of a line, and which of protectors was meant
// by it, "" when none was: the line sets no key that anybody reads, and its first word is
// one of them but for two letters. Such a line is refused, as one without a value is:
// stricter than PROTOCOL 13.1, which skips it and so lets everybody in.
func misspelledProtection(line, key string, set bool) (word, meant string) {
	if set && unknownKey(key) == "" {
		return "", ""
	}
	if end := strings.IndexFunc(line, func(r rune) bool { return r == '=' || unicode.IsSpace(r) }); end >= 0 {
		line = line[:end]
	}
	word = line
	name := strings.ToLower(strings.TrimRight(word, ":"))
	best := 3
	for _, p := range protectors {
		if d := discovery.Distance(p, name, best); d < best {
			best, meant = d, p
		}
	}
	return word, meant
}
