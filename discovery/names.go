package discovery

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// identRandom is the number of base64 characters at the end of an ident.
const identRandom = 24

// NewIdent returns a fresh ident for an instance of the service name: name, a
// colon and 24 random base64 characters (PROTOCOL 7.6). Every start of a
// service needs a new one, because replay protection is keyed by it.
func NewIdent(name string) string {
	var random [identRandom * 3 / 4]byte
	rand.Read(random[:]) // never fails
	return name + ":" + base64.StdEncoding.EncodeToString(random[:])
}

// ServiceName returns the part of an ident before the first colon, or before the
// dash in front of the last 24 characters, or all of it (PROTOCOL 7.6).
func ServiceName(ident string) string {
	if name, _, ok := strings.Cut(ident, ":"); ok {
		return name
	}
	if dash := len(ident) - identRandom - 1; dash > 0 && ident[dash] == '-' {
		return ident[:dash]
	}
	return ident
}

// indexable is IsName for a name with a limit in octets.
func indexable(name string, limit int) bool { return len(name) <= limit && IsName(name) }

// sendable is MaySend for a name with a limit in octets.
func sendable(name string, limit int, dots bool) bool {
	return len(name) <= limit && MaySend(name, dots)
}

func letterOrDigit(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9'
}

// Bounds of N in the flag tN, in seconds (PROTOCOL 4.9).
const (
	minTimeout = 1
	maxTimeout = 86400
)

// timeoutFlag reads the flag tN.
func timeoutFlag(flag string) (time.Duration, bool) {
	if len(flag) < 2 || flag[0] != 't' || flag[1] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(flag[1:], 10, 32)
	if err != nil || n < minTimeout || n > maxTimeout {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

// checkAddress says why an address cannot be dialled, or returns nil: scheme
// beepish+tls or scamp+tls, an IP literal or a host name, a port, and at most
// one slash (PROTOCOL 7.3, THREATS D22).
func checkAddress(uri string, limit int) error {
	if len(uri) > limit {
		return errors.New("too long: want at most " + strconv.Itoa(limit) + " octets")
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || scheme != "beepish+tls" && scheme != "scamp+tls" {
		return errors.New("want beepish+tls://HOST:PORT or scamp+tls://HOST:PORT")
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
	if err != nil {
		return errors.New("want HOST:PORT after the scheme")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
		return errors.New("want a port from 1 to 65535")
	}
	return checkHost(host, strings.HasPrefix(rest, "["))
}

func checkHost(host string, bracketed bool) error {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		if bracketed || !hostName(host) {
			return errors.New("want an IP address or a host name")
		}
		return nil
	}
	ip4 := ip.Unmap()
	switch {
	case ip.Is4() == bracketed:
		return errors.New("want IPv6 addresses in brackets, and no others")
	case ip.Zone() != "":
		return errors.New("want no zone: it means another interface on every host")
	case ip4.IsUnspecified() || ip4.IsMulticast() || ip4 == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errors.New("want the address of one host")
	}
	return nil
}

// hostName reports whether host is a name of letters, digits, dashes and dots
// that no resolver takes for an odd way to write a number.
func hostName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 253 {
		return false
	}
	var label string
	for label = range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			if !letterOrDigit(label[i]) && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	// 127.1, 0177.0.0.1 and 0x7f000001 are addresses to some resolvers.
	return label[0] < '0' || label[0] > '9'
}
