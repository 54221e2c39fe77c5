package discovery

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Query names an action and says who may answer it. The zero value of each
// field but Action has a meaning, so Query{Action: "Greetings.hello"} is a whole
// question. Sector and action are compared without regard to ASCII case.
//
// Without an Action it is a question about instances, for Watch and List: then what
// is zero leaves open what it says, Sector, Version and Envelope too.
type Query struct {
	Action   string // "Class.name", or "[sector:]Class.name[~version]", whose parts win over the fields below
	Sector   string // zero means main
	Version  int    // zero means 1
	Envelope string // zero means json; compared exactly
	Ident    string // zero means any instance; else an announced ident, or "FINGERPRINT#ident"
	Service  string // zero means any; else the name of the service, which is the ident without its random part
	Host     string // zero means any; else the host of the announced address, as a name or an IP address
}

// ParseAction reads "[sector:]Class.name[~version]", the form in which people
// and tools write an action. Sector and Version are zero where the text has
// none.
func ParseAction(text string) (Query, error) {
	q := Query{Action: text}
	if isPlain(text) {
		return q, nil
	}
	if i := strings.IndexByte(q.Action, ':'); i >= 0 {
		q.Sector, q.Action = q.Action[:i], q.Action[i+1:]
		if !IsName(q.Sector) {
			return Query{}, fmt.Errorf("discovery: action %s: sector %s: want letters, digits, '_', '.' or '-'", quoted(text), quoted(q.Sector))
		}
	}
	if i := strings.LastIndexByte(q.Action, '~'); i >= 0 {
		v, ok := parseVersion(q.Action[i+1:])
		if !ok {
			return Query{}, fmt.Errorf("discovery: action %s: version %s: want a positive integer", quoted(text), quoted(q.Action[i+1:]))
		}
		q.Version, q.Action = v, q.Action[:i]
	}
	if !isPlain(q.Action) {
		return Query{}, fmt.Errorf("discovery: action %s: want [sector:]Class.name[~version]", quoted(text))
	}
	return q, nil
}

// isPlain says whether an action is Class.name, with neither sector nor version. It is
// asked with every call.
func isPlain(action string) bool {
	dot := 0
	for i := range len(action) {
		switch c := action[i]; {
		case lowerName[c] == 0:
			return false
		case c == '.':
			dot = i
		}
	}
	return dot > 0 && dot < len(action)-1
}

// parseVersion reads a positive decimal integer without sign, at most nine digits.
func parseVersion(s string) (int, bool) {
	v := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		v = v*10 + int(s[i]-'0')
	}
	return v, len(s) >= 1 && len(s) <= 9 && v > 0
}

// normal returns q with every field filled in and Action without sector and
// version; not ok when Action cannot name anything. It does not allocate.
func (q Query) normal() (Query, bool) {
	if !isPlain(q.Action) && strings.ContainsAny(q.Action, ":~") {
		p, err := ParseAction(q.Action)
		if err != nil {
			return q, false
		}
		q.Action, q.Sector, q.Version = p.Action, cmp.Or(p.Sector, q.Sector), cmp.Or(p.Version, q.Version)
	}
	q.Sector = cmp.Or(q.Sector, "main")
	q.Version = cmp.Or(q.Version, 1)
	q.Envelope = cmp.Or(q.Envelope, "json")
	return q, true
}

// String returns the query as people write it: "main:Greetings.hello~1", then
// the envelope and the instances when they are not the usual ones.
func (q Query) String() string {
	var s string
	if q.Action == "" {
		s = "everything"
		if q.Sector != "" {
			s += " in sector " + q.Sector
		}
		if q.Version != 0 {
			s += " of version " + strconv.Itoa(q.Version)
		}
	} else {
		if n, ok := q.normal(); ok {
			q = n
		}
		s = q.Sector + ":" + q.Action + "~" + strconv.Itoa(q.Version)
	}
	if q.Envelope != "json" && q.Envelope != "" {
		s += " with envelope " + q.Envelope
	}
	if q.Ident != "" {
		s += " of " + q.Ident
	}
	if q.Service != "" {
		s += " of service " + q.Service
	}
	if q.Host != "" {
		s += " on host " + q.Host
	}
	return s
}

// whom says which instances q is about, where it is not about all.
func (q Query) whom() string {
	var parts []string
	for _, name := range []string{q.Service, q.Ident} {
		if name != "" {
			parts = append(parts, quoted(name))
		}
	}
	if q.Host != "" {
		parts = append(parts, "on host "+quoted(q.Host))
	}
	return strings.Join(parts, " ")
}

// appendKey appends the key of an index entry: "sector:class.base~version,envelope"
// with names in lower case (PROTOCOL 11.1). The envelope comes last because it
// alone may hold any character. Not ok means that no entry can have this key.
func appendKey(b []byte, sector, action string, version int, envelope string) ([]byte, bool) {
	for i := range len(sector) {
		c := lowerName[sector[i]]
		if c == 0 {
			return b, false
		}
		b = append(b, c)
	}
	b = append(b, ':')
	for i := range len(action) {
		c := lowerName[action[i]]
		if c == 0 {
			return b, false
		}
		b = append(b, c)
	}
	b = append(b, '~')
	b = strconv.AppendInt(b, int64(version), 10)
	b = append(b, ',')
	return append(b, envelope...), true
}

// An Instance tells service instances apart: the certificate and the ident
// together, never one alone (PROTOCOL 7.9, THREATS D15). It is comparable.
type Instance struct {
	SHA256 [32]byte // of the certificate
	Ident  string
}

// compareInstances sorts by ident, then by certificate.
func compareInstances(a, b Instance) int {
	return cmp.Or(cmp.Compare(a.Ident, b.Ident), bytes.Compare(a.SHA256[:], b.SHA256[:]))
}

// A Peer is one announced service instance: what a connection needs to know. It
// never changes after it was made, so it may be shared and kept.
type Peer struct {
	Instance    Instance
	Certificate *Certificate  // the connection must show exactly this one
	Ident       string        // as announced
	Address     string        // host:port
	Scheme      string        // "beepish+tls" or "scamp+tls"; both mean the same protocol
	Interval    time.Duration // between its announcements, as it announced
	Timestamp   int64         // of its announcement, microseconds since 1970; orders, and nothing else
	GoDialect   bool          // it speaks the original Go dialect (PROTOCOL 3.4)
}

// An Offer is one action as one instance offers it. It never changes.
type Offer struct {
	Sector    string
	Action    string // "Class.name" in the announced spelling, also behind an alias: what a request must carry
	Version   int
	Envelopes []string
	Flags     []string
	Timeout   time.Duration // N of its flag tN (PROTOCOL 4.9); zero when it has none
	NoAuth    bool          // it says it needs no ticket
	Rule      bool          // a rule allows it; false for _meta actions of strangers, who must get no ticket (PROTOCOL 18)
	BuiltIn   bool          // as Announcement.BuiltIn
}

// A Route is a way to have an action done: an instance, and the action as that
// instance offers it. A Route is two pointers to values that never change; it
// may be copied and kept, and stays whole when the instance is long gone.
type Route struct {
	*Peer
	*Offer
}

// withIdent returns the routes of one instance, a part of routes, which are
// sorted by ident. ident may be "FINGERPRINT#ident" (PROTOCOL 11.3).
func withIdent(routes []Route, ident string) []Route {
	first, found := slices.BinarySearchFunc(routes, ident, func(r Route, ident string) int { return cmp.Compare(r.Peer.Ident, ident) })
	if found {
		last := first + 1
		for last < len(routes) && routes[last].Peer.Ident == ident {
			last++ // the same ident under another certificate
		}
		return routes[first:last:last]
	}
	if fingerprint, rest, ok := strings.Cut(ident, "#"); ok {
		same := withIdent(routes, rest)
		for i, r := range same {
			if equalFoldASCII(r.Certificate.Fingerprint, fingerprint) {
				return same[i : i+1 : i+1]
			}
		}
	}
	return nil
}
