package discovery

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	defaultSector   = "main"
	defaultInterval = 5 * time.Second
	mostJSON        = 65536 // the Go cache reader stops at longer lines (PROTOCOL 7.11)
)

// Sign writes the announcement as JSON (PROTOCOL 7.3 to 7.5), signs it with the
// key of a.Certificate and returns the packet text of PROTOCOL 7.1, to be
// compressed and sent. The fields stay as they are, but for a timestamp, which
// travels as whole milliseconds and is cut to them.
//
// An action without sector or envelopes has those of the announcement, one
// without version has 1. Sign refuses what a peer would not accept or not find:
// names outside the grammar, unknown flags, an action twice, a long JSON text.
func (a *Announcement) Sign(key crypto.Signer) ([]byte, error) {
	text, err := a.appendJSON(nil)
	if err != nil {
		return nil, err
	}
	signed, err := SignJSON(text, a.Certificate, key)
	if err != nil {
		return nil, err
	}
	a.Timestamp, a.seal = signed.Timestamp, signed.seal
	return a.Packet(), nil
}

// SignJSON signs the JSON text of an announcement as it is, without its last
// newlines. It must be one announcement on one line, of the kind that a peer
// accepts; Strict says more about old peers.
func SignJSON(json []byte, cert *Certificate, key crypto.Signer) (*Announcement, error) {
	json = bytes.TrimRight(json, "\r\n")
	if len(json) >= mostJSON {
		return nil, refuse(countTooBig, "sign: announcement of %d octets: want fewer than %d: offer fewer actions, or make two services of it", len(json), mostJSON)
	}
	if err := checkSigner(cert, key); err != nil {
		return nil, err
	}
	a, err := Limits{}.parseSigned(json, nil, cert, false)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(json)
	if a.seal.signature, err = key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
		return nil, &Error{Counter: countBadKey, Text: "sign", Err: err}
	}
	return a, a.Verify() // a key outside of this process may do anything
}

// checkSigner makes sure that key is the RSA key of cert.
func checkSigner(cert *Certificate, key crypto.Signer) error {
	if cert == nil || key == nil {
		return refuse(countBadKey, "sign: want a certificate and its key")
	}
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok || cert.key == nil {
		return refuse(countBadKey, "sign: %T and %s certificate: want RSA", key.Public(), cert.kind)
	}
	if !public.Equal(cert.key) {
		return refuse(countBadKey, "sign: key does not belong to certificate %s: want its own key", cert.Fingerprint)
	}
	return nil
}

// appendJSON writes the array form.
func (a *Announcement) appendJSON(b []byte) ([]byte, error) {
	sector := cmp.Or(a.Sector, defaultSector)
	interval := cmp.Or(a.Interval, defaultInterval)
	limits := Limits{}.WithDefaults()
	switch {
	case a.Ident == "" || len(a.Ident) > limits.MaxIdent || !utf8.ValidString(a.Ident):
		return nil, refuse(countBadName, "sign: ident %s: want 1 to %d octets", quoted(a.Ident), limits.MaxIdent)
	case !sendable(sector, limits.MaxName, false):
		return nil, refuse(countBadName, "sign: sector %s: want A-Z a-z 0-9 _", quoted(sector))
	case a.Weight < 0 || a.Weight > limits.MaxWeight:
		return nil, refuse(countMalformed, "sign: weight %d: want 0 to %d", a.Weight, limits.MaxWeight)
	case interval < time.Millisecond:
		return nil, refuse(countMalformed, "sign: interval %v: want at least 1 ms", interval)
	case a.Timestamp/1000 < secondsBelow || a.Timestamp/1000 >= millisBelow:
		return nil, refuse(countMalformed, "sign: timestamp %d us: want microseconds since 1970, after 1973: what is sent are milliseconds, and less or more is read as another unit", a.Timestamp)
	}
	if err := checkAddress(a.Address, limits.MaxURI); err != nil {
		return nil, &Error{Counter: countBadName, Text: "sign: address " + quoted(a.Address), Err: err}
	}
	plain, extended, err := a.sortedActions(sector)
	if err != nil {
		return nil, err
	}
	b = append(b, "["...)
	b = strconv.AppendInt(b, arrayVersion, 10)
	b = appendString(append(b, ','), a.Ident)
	b = appendString(append(b, ','), sector)
	b = strconv.AppendInt(append(b, ','), int64(a.Weight), 10)
	b = strconv.AppendInt(append(b, ','), interval.Milliseconds(), 10)
	b = appendString(append(b, ','), a.Address)
	b = append(b, ",["...)
	for i, envelope := range a.Envelopes {
		if !sendable(envelope, limits.MaxName, false) {
			return nil, refuse(countBadName, "sign: envelope %s: want A-Z a-z 0-9 _", quoted(envelope))
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, envelope)
	}
	if len(extended) > 0 {
		if len(a.Envelopes) > 0 {
			b = append(b, ',')
		}
		b = appendExtension(b, extended)
	}
	b = appendClasses(append(b, "],"...), plain)
	b = strconv.AppendInt(append(b, ','), a.Timestamp/1000, 10)
	return append(b, ']'), nil
}

// A sentAction is an action with its lists written out.
type sentAction struct {
	Action
	flags, envelopes string
}

// sortedActions returns the actions for element 7 and those that only the
// extension object can express, in the order in which they are sent.
func (a *Announcement) sortedActions(sector string) (plain, extended []sentAction, err error) {
	all := make([]sentAction, len(a.Actions))
	for i, action := range a.Actions {
		if all[i], err = a.sent(action, sector); err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(all, func(x, y sentAction) int {
		return cmp.Or(cmp.Compare(x.Class, y.Class), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version),
			cmp.Compare(x.Sector, y.Sector))
	})
	seen := make(map[string]bool, len(all))
	for _, s := range all {
		name := lowerASCII(s.Sector + ":" + s.FullName() + "~" + strconv.Itoa(s.Version))
		if seen[name] {
			return nil, nil, refuse(countBadName, "sign: action %s twice: want it once", name)
		}
		seen[name] = true
		if s.Sector == sector && sameSet(s.Envelopes, a.Envelopes) {
			plain = append(plain, s)
		} else {
			extended = append(extended, s)
		}
	}
	return plain, extended, nil
}

// sent fills in what an action takes from its announcement, and checks it.
func (a *Announcement) sent(action Action, sector string) (sentAction, error) {
	most := Limits{}.WithDefaults().MaxName
	action.Sector = cmp.Or(action.Sector, sector)
	action.Version = cmp.Or(action.Version, 1)
	if action.Envelopes == nil {
		action.Envelopes = a.Envelopes
	}
	if !sendable(action.Sector, most, false) || !sendable(action.Class, most, true) || !sendable(action.Name, most, false) {
		return sentAction{}, refuse(countBadName, "sign: action %s:%s: want names of A-Z a-z 0-9 _, with dots in the class only",
			cut(action.Sector), quoted(action.FullName()))
	}
	if action.Version < 1 {
		return sentAction{}, refuse(countBadName, "sign: action %s: version %d: want at least 1", action.FullName(), action.Version)
	}
	for _, envelope := range action.Envelopes {
		if !sendable(envelope, most, false) {
			return sentAction{}, refuse(countBadName, "sign: action %s: envelope %s: want A-Z a-z 0-9 _", action.FullName(), quoted(envelope))
		}
	}
	flags, err := flagText(action.Flags)
	if err != nil {
		return sentAction{}, refuse(countBadName, "sign: action %s: %v", action.FullName(), err)
	}
	return sentAction{action, flags, strings.Join(action.Envelopes, ",")}, nil
}

// knownFlags are the words a peer may send (PROTOCOL 7.5).
var knownFlags = []string{"create", "destroy", "noauth", "public", "read", "secret", "update"}

// flagText writes flags as PROTOCOL 7.5 wants them: known words in alphabetical
// order, tN last.
func flagText(flags []string) (string, error) {
	words := slices.Compact(slices.Sorted(slices.Values(flags)))
	timeout := ""
	for i, word := range words {
		_, isTimeout := timeoutFlag(word)
		switch {
		case isTimeout && timeout != "":
			return "", errors.New("two flags tN: want one")
		case isTimeout:
			timeout, words[i] = word, ""
		case !slices.Contains(knownFlags, word):
			return "", fmt.Errorf("flag %s: want one of %s, or tN with N from %d to %d",
				quoted(word), strings.Join(knownFlags, " "), minTimeout, maxTimeout)
		}
	}
	if timeout != "" {
		words = append(words, timeout)
	}
	words = slices.DeleteFunc(words, func(word string) bool { return word == "" })
	return strings.Join(words, ","), nil
}

// sameSet reports whether two lists hold the same strings.
func sameSet(a, b []string) bool {
	contains := func(list []string) func(string) bool {
		return func(s string) bool { return !slices.Contains(list, s) }
	}
	return !slices.ContainsFunc(a, contains(b)) && !slices.ContainsFunc(b, contains(a))
}

// appendClasses writes element 7: one list for each class, one for each action.
func appendClasses(b []byte, actions []sentAction) []byte {
	b = append(b, '[')
	for i, action := range actions {
		switch {
		case i == 0:
			b = appendString(append(b, '['), action.Class)
		case action.Class != actions[i-1].Class:
			b = appendString(append(b, "],["...), action.Class)
		}
		b = appendString(append(b, ",["...), action.Name)
		b = appendString(append(b, ','), action.flags)
		b = strconv.AppendInt(append(b, ','), int64(action.Version), 10)
		b = append(b, ']')
	}
	if len(actions) > 0 {
		b = append(b, ']')
	}
	return append(b, ']')
}

// appendExtension writes the extension object with all its keys: Rust drops the
// actions of one without accompat (PROTOCOL 7.4).
func appendExtension(b []byte, actions []sentAction) []byte {
	b = append(b, `{"vmaj":4,"vmin":0`...)
	for _, c := range []struct {
		name string
		of   func(sentAction) string
	}{
		{"acname", func(a sentAction) string { return string(appendString(nil, a.Name)) }},
		{"acns", func(a sentAction) string { return string(appendString(nil, a.Class)) }},
		{"acver", func(a sentAction) string { return strconv.Itoa(a.Version) }},
		{"acflag", func(a sentAction) string { return string(appendString(nil, a.flags)) }},
		{"acsec", func(a sentAction) string { return string(appendString(nil, a.Sector)) }},
		{"acenv", func(a sentAction) string { return string(appendString(nil, a.envelopes)) }},
		{"accompat", func(sentAction) string { return "1" }},
	} {
		b = append(b, `,"`+c.name+`":`...)
		values := make([]string, len(actions))
		for i, a := range actions {
			values[i] = c.of(a)
		}
		b = appendRuns(b, values)
	}
	return append(b, '}')
}

// appendString writes a JSON string in ASCII.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case 0x20 <= r && r <= 0x7e:
			b = append(b, byte(r))
		case r <= 0xffff:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		}
	}
	return append(b, '"')
}
