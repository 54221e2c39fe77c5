package scamp

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// readList reads a comma-separated list. Which items exist is seen when they are used.
func readList(field func(*Config) *[]string) func(*Config, string) string {
	return func(c *Config, value string) string {
		var items []string
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		if len(items) == 0 {
			return "IPv4 addresses or if:NAME, separated by commas"
		}
		*field(c) = items
		return ""
	}
}

func readPath(field func(*Config) *string) func(*Config, string) string {
	return func(c *Config, value string) string {
		if strings.ContainsRune(value, 0) {
			return "a path"
		}
		*field(c) = c.resolve(value)
		return ""
	}
}

// readFlag reads 0 or 1. The field is true for the one that is not the default, so
// that its zero value means the default.
func readFlag(field func(*Config) *bool, when string) func(*Config, string) string {
	return func(c *Config, value string) string {
		if value != "0" && value != "1" {
			return "0 or 1"
		}
		*field(c) = value == when
		return ""
	}
}

// readCount reads a decimal number from least to most of what.
func readCount(field func(*Config) *int, what string, least, most int) func(*Config, string) string {
	return func(c *Config, value string) string {
		n, ok := decimal(value)
		switch {
		case ok && n >= int64(least) && n <= int64(most):
		case most == math.MaxInt:
			return fmt.Sprintf("%s, %d or more", what, least)
		default:
			return fmt.Sprintf("%s, %d to %d", what, least, most)
		}
		*field(c) = int(n)
		return ""
	}
}

func readOctets(field func(*Config) *int, least int) func(*Config, string) string {
	return readCount(field, "octets", least, math.MaxInt)
}

// decimal reads an unsigned decimal number without sign, blanks or separators.
func decimal(s string) (n int64, ok bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

const maxSeconds = 100_000_000 // three years; keeps sums of times far from overflow

// readSeconds reads a time of at least least seconds; fractions are allowed.
func readSeconds(field func(*Config) *time.Duration, least float64) func(*Config, string) string {
	return func(c *Config, value string) string {
		d, ok := decimalSeconds(value)
		if !ok || d < time.Duration(least*float64(time.Second)) {
			return fmt.Sprintf("seconds, %v to %d", least, maxSeconds)
		}
		*field(c) = d
		return ""
	}
}

// readPause reads a time that may be none. The field is then negative, since its zero
// value means the default.
func readPause(field func(*Config) *time.Duration) func(*Config, string) string {
	return func(c *Config, value string) string {
		d, ok := decimalSeconds(value)
		if !ok {
			return fmt.Sprintf("seconds, 0 to %d", maxSeconds)
		}
		if d == 0 {
			d = -1
		}
		*field(c) = d
		return ""
	}
}

// decimalSeconds reads "75" or "0.25"; digits below a nanosecond are dropped.
func decimalSeconds(s string) (time.Duration, bool) {
	whole, fraction, point := strings.Cut(s, ".")
	n, ok := decimal(whole)
	if !ok || n > maxSeconds {
		return 0, false
	}
	d := time.Duration(n) * time.Second
	if !point {
		return d, true
	}
	if fraction == "" || strings.Trim(fraction, "0123456789") != "" {
		return 0, false
	}
	nanos, _ := decimal((fraction + "000000000")[:9])
	return d + time.Duration(nanos), true
}

// readSector accepts the sectors that announcements may have (PROTOCOL 7.5).
func readSector(c *Config, value string) string {
	if len(value) > 255 || !discovery.IsName(value) {
		return "a sector: letters, digits, '_', '.' or '-', at most 255"
	}
	c.DefaultSector = value
	return ""
}

// readIdentity reads the name of a service whose key pair is there for KeyPairFor.
func readIdentity(c *Config, value string) string {
	if !validServiceName(value) {
		return "the name of a service: " + serviceNames
	}
	c.Identity = value
	return ""
}

func readCallersMode(c *Config, value string) string {
	for m := CallersOff; m <= CallersEnforce; m++ {
		if value == m.String() {
			c.CallersMode = m
			return ""
		}
	}
	return "off, audit or enforce"
}

func readGroup(c *Config, value string) string {
	addr, err := netip.ParseAddr(value)
	if err != nil || !addr.Is4() || !addr.IsMulticast() {
		return "an IPv4 multicast address, 224.0.0.0 to 239.255.255.255"
	}
	c.MulticastAddress = addr
	return ""
}

func readInterval(c *Config, value string) string {
	const least, most = 100, 3_600_000 // milliseconds; receivers count with 5 s to 1 h (PROTOCOL 7.8)
	n, ok := decimal(value)
	if !ok || n < least || n > most {
		return fmt.Sprintf("milliseconds, %d to %d", least, most)
	}
	c.Interval = time.Duration(n) * time.Millisecond
	return ""
}

func readPublish(c *Config, value string) string {
	if value != "all" && value != "authorized" {
		return "all or authorized"
	}
	c.PublishKnown = value == "authorized"
	return ""
}

func readLocal(c *Config, value string) string {
	switch value {
	case "on":
		c.Local = LocalOn
	case "off":
		c.Local = LocalOff
	case "prefer":
		c.Local = LocalPrefer
	default:
		return "on, off or prefer"
	}
	return ""
}

func readScheme(c *Config, value string) string {
	if value != "beepish+tls" && value != "scamp+tls" {
		return "beepish+tls or scamp+tls"
	}
	c.URIScheme = value
	return ""
}

func readTLSVersion(c *Config, value string) string {
	switch value {
	case "1.2":
		c.TLSMinVersion = tls.VersionTLS12
	case "1.3":
		c.TLSMinVersion = tls.VersionTLS13
	default:
		return "1.2 or 1.3"
	}
	return ""
}
