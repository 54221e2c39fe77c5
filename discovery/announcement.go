package discovery

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// An Announcement says where one instance of a service listens and what it
// offers. It is either read (Parse, ParseRecord, Sections.Open) or filled in and
// signed (Sign, SignJSON).
//
// One that was read or signed holds its signed octets apart from the fields:
// Record writes those octets, whatever the fields say by then. Its fields are
// shared and must not be changed; Verify is safe for concurrent use.
type Announcement struct {
	Ident       string
	Sector      string        // of the actions that name none; Sign takes "" as main
	Weight      int           // 0 to MaxWeight; 0 means do not use me
	Interval    time.Duration // as announced, which may be anything; Sign takes 0 as 5 s
	Address     string        // the URI, for example beepish+tls://10.0.0.5:30123
	Envelopes   []string      // of the actions that name none
	Actions     []Action
	Timestamp   int64        // microseconds since 1970, normalised (PROTOCOL 7.9)
	Certificate *Certificate // of the key that signs
	Warnings    []Warning    // what was left out or changed in reading, one for each counter

	fractionalSeconds bool // the timestamp was in seconds with a fraction
	seal              *seal
}

// A seal is what the signature covers, and whether it does.
type seal struct {
	json      string
	signature []byte
	verified  atomic.Bool
}

// A Warning tells of parts of a valid announcement that do not count as sent.
type Warning struct {
	Counter string // for example "announce_bad_name"
	Count   int    // how often it happened
	Text    string // the first time, foreign text quoted and cut
}

// An Action is one operation that an instance offers.
type Action struct {
	Sector    string
	Class     string // with dots inside
	Name      string // the base name, without dots
	Version   int    // at least 1
	Envelopes []string
	Flags     []string
}

// FullName returns Class.Name, the name that requests carry and rules judge.
func (a *Action) FullName() string { return a.Class + "." + a.Name }

// Timeout returns N of the last valid flag tN (PROTOCOL 4.9): the service has
// that long to start its reply, and the requester waits 5 s more.
func (a *Action) Timeout() (time.Duration, bool) {
	for i := len(a.Flags) - 1; i >= 0; i-- {
		if n, ok := timeoutFlag(a.Flags[i]); ok {
			return n, true
		}
	}
	return 0, false
}

// Aliases returns the base names under which a is found as well: "_create" for
// the flag create, and so on (PROTOCOL 11.2). Rules judge the real name.
func (a *Action) Aliases() []string {
	var names []string
	for _, flag := range a.Flags {
		switch flag {
		case "create", "read", "update", "destroy":
			names = append(names, "_"+flag)
		}
	}
	return names
}

// NoAuth reports whether a says that it needs no ticket.
func (a *Action) NoAuth() bool {
	for _, flag := range a.Flags {
		if flag == "noauth" {
			return true
		}
	}
	return false
}

// Scheme returns the scheme of the address: beepish+tls or scamp+tls.
func (a *Announcement) Scheme() string {
	scheme, _, _ := strings.Cut(a.Address, "://")
	return scheme
}

// HostPort returns the host and port of the address, as net.Dial takes them.
func (a *Announcement) HostPort() string {
	_, rest, _ := strings.Cut(a.Address, "://")
	return strings.TrimSuffix(rest, "/")
}

// hostOf returns the host of HOST:PORT, without brackets.
func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address) // checked when it was read
	return host
}

// AddrPort returns the address as numbers, and false when it names its host.
func (a *Announcement) AddrPort() (netip.AddrPort, bool) {
	addr, err := netip.ParseAddrPort(a.HostPort())
	return addr, err == nil
}

// ServiceName returns the part of the ident that stays the same from one start
// of the service to the next.
func (a *Announcement) ServiceName() string { return ServiceName(a.Ident) }

// Withdrawn reports whether the instance asks not to be used.
func (a *Announcement) Withdrawn() bool { return a.Weight <= 0 }

// elsewhere tells whether a is b for another network of its host: signed at the same
// time, and the same but for the address (PROTOCOL 7.7). Another port of one host is
// another process.
func (a *Announcement) elsewhere(b *Announcement) bool {
	if a.Timestamp != b.Timestamp || hostOf(a.HostPort()) == hostOf(b.HostPort()) {
		return false
	}
	before, after, plain := strings.Cut(a.seal.json, `"`+a.Address+`"`)
	first, second, also := strings.Cut(b.seal.json, `"`+b.Address+`"`)
	return plain && also && before == first && after == second
}

// BuiltIn reports whether an action is one that services offer of themselves, whatever
// they are for: NAME.queue_depth with the name of the service, and _meta.documentation
// (PROTOCOL 12.3). Who asks what an instance is good for means the others.
func (a *Announcement) BuiltIn(action *Action) bool {
	switch {
	case action.Version != 1:
		return false
	case action.Name == "queue_depth":
		return action.Class == a.ServiceName()
	}
	return action.Name == "documentation" && action.Class == "_meta"
}

// GoDialect reports whether the announcement looks like one of the original Go
// implementation, whose connections need care (PROTOCOL 3.4).
func (a *Announcement) GoDialect() bool {
	return a.fractionalSeconds && a.Interval == 2500*time.Millisecond
}

// JSON returns the signed octets, nil before Sign. The slice is the caller's.
func (a *Announcement) JSON() []byte {
	if a.seal == nil {
		return nil
	}
	return []byte(a.seal.json)
}

// Verified reports whether the signature is known to be good.
func (a *Announcement) Verified() bool { return a.seal != nil && a.seal.verified.Load() }

// Verify checks the signature: PKCS#1 v1.5 with SHA-256 over the JSON exactly as
// it was received (PROTOCOL 7.1). A good result is remembered.
func (a *Announcement) Verify() error {
	switch {
	case a.seal == nil || a.Certificate == nil:
		return refuse(countBadSignature, "announcement from %q: no signature: want a signed one", cut(a.Ident))
	case a.seal.verified.Load():
		return nil
	}
	if err := verify(a.Certificate, []byte(a.seal.json), a.seal.signature); err != nil {
		return refuse(countBadSignature, "announcement from %q: signature does not match its certificate: want one made with the key of %s",
			cut(a.Ident), a.Certificate.Fingerprint)
	}
	a.seal.verified.Store(true)
	return nil
}

// Record returns the canonical form of PROTOCOL 8.1, the only one that may be
// written to a file: the signed JSON unchanged, certificate and signature
// encoded anew, nothing else that was received. It is nil before Sign. The
// slice is the caller's.
func (a *Announcement) Record() []byte {
	if a.seal == nil || a.Certificate == nil {
		return nil
	}
	text := make([]byte, 0, len(a.seal.json)+len(a.Certificate.DER)*3/2+len(a.seal.signature)*3/2+128)
	text = append(text, a.seal.json...)
	text = append(text, separator...)
	text = append(text, a.Certificate.PEM()...)
	text = append(text, separator...)
	text = appendBase64(text, a.seal.signature, signatureColumns)
	return append(text, '\n')
}

// Packet returns the text that goes into a datagram (PROTOCOL 7.1), before
// compression: the record and one more LF. It is nil before Sign.
func (a *Announcement) Packet() []byte {
	text := a.Record()
	if text == nil {
		return nil
	}
	return append(text, '\n')
}

// signatureColumns is the line width of signatures, where certificates have 64.
const signatureColumns = 76
