package scamp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TicketClaims are what a user's ticket says (PROTOCOL 10.1). They never change once
// they were verified, and may be kept.
type TicketClaims struct {
	User       int64
	Client     int64
	Start      int64   // UNIX seconds: the first one at which the ticket holds
	Length     int64   // seconds
	Privileges []int64 // of an authorization ticket, in the ticket's order
	Short      bool    // it has no list of privileges at all: an authentication ticket
}

// Starts is when the ticket begins to hold, for people: what is later than year 9999,
// the last that RFC 3339 can say, is its last second.
func (c *TicketClaims) Starts() time.Time { return sayable(c.Start) }

// Ends is when the ticket no longer holds; like Starts it is no later than year 9999.
func (c *TicketClaims) Ends() time.Time { return sayable(c.end()) }

func sayable(seconds int64) time.Time {
	const last = 253402300799 // 9999-12-31T23:59:59Z
	return time.Unix(min(seconds, last), 0)
}

// end is the first second at which the ticket no longer holds. What would be later
// than any clock can say is as late as it can.
func (c *TicketClaims) end() int64 {
	if c.Length > math.MaxInt64-c.Start {
		return math.MaxInt64
	}
	return c.Start + c.Length
}

// Has says whether the ticket grants a privilege.
func (c *TicketClaims) Has(privilege int64) bool { return slices.Contains(c.Privileges, privilege) }

// A TicketProblem is why a string is no valid ticket.
type TicketProblem int

// Why a string is no valid ticket.
const (
	TicketMalformed TicketProblem = iota // it is not in the form of a user's ticket
	TicketUnsigned                       // no key that we know made its signature
	TicketNotYet                         // its time has not begun
	TicketOver                           // its time has ended
	TicketNoKey                          // there is no key to verify tickets with
)

// String returns the problem in a few words.
func (p TicketProblem) String() string {
	names := [...]string{
		TicketMalformed: "malformed", TicketUnsigned: "bad signature", TicketNotYet: "not valid yet",
		TicketOver: "expired", TicketNoKey: "no key",
	}
	if p >= 0 && int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// A TicketError says why a ticket is not valid. Its text never holds the ticket, nor a
// part of it that could be used. It is ErrDenied.
type TicketError struct {
	Problem TicketProblem
	Text    string
}

func (e *TicketError) Error() string { return "scamp: ticket: " + e.Text }

// Is lets errors.Is see that whoever shows such a ticket is refused.
func (e *TicketError) Is(target error) bool { return target == ErrDenied }

func badTicket(p TicketProblem, format string, args ...any) *TicketError {
	return &TicketError{p, fmt.Sprintf(format, args...)}
}

// holds says whether it is the ticket's time, which has no grace on either side unless
// Limits.TicketSkew gives one.
func (c *TicketClaims) holds(now time.Time, skew time.Duration) error {
	switch {
	case now.Add(skew).Unix() < c.Start:
		return badTicket(TicketNotYet, "valid from %s, and it is %s", c.Starts().UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case now.Add(-skew).Unix() >= c.end():
		return badTicket(TicketOver, "expired %s, and it is %s", c.Ends().UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// split returns the octets that are signed, and the signature.
func (t Ticket) split(limits *Limits) (signed, signature []byte, err error) {
	text := strings.TrimSpace(string(t))
	switch {
	case text == "":
		return nil, nil, badTicket(TicketMalformed, "it is empty: want a ticket")
	case len(text) > limits.MaxTicket:
		return nil, nil, badTicket(TicketMalformed, "%d octets: want at most %d", len(text), limits.MaxTicket)
	}
	i := strings.LastIndexByte(text, ',')
	if i < 0 {
		return nil, nil, badTicket(TicketMalformed, "no comma in it: want fields and a signature")
	}
	signature, err = decodeSignature(text[i+1:])
	if err != nil {
		return nil, nil, badTicket(TicketMalformed, "behind the last comma is no signature: want base64")
	}
	return []byte(text[:i]), signature, nil
}

// decodeSignature takes the alphabet of URLs and the standard one, with padding or
// without (PROTOCOL 10.2), and nothing else: encoding/base64 would pass over line ends.
func decodeSignature(text string) ([]byte, error) {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	if strings.ContainsAny(text, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.DecodeString(text)
}

// parseClaims reads the fields of a ticket whose signature is good.
func parseClaims(signed string, limits *Limits) (*TicketClaims, error) {
	fields := strings.SplitN(signed, ",", 7)
	switch {
	case fields[0] == "2":
		return nil, badTicket(TicketMalformed, "type 2, of a station: want a user's, which begins with \"1,\"")
	case fields[0] != "1":
		return nil, badTicket(TicketMalformed, "type %s: want 1", quoteText(fields[0]))
	case len(fields) < 5 || len(fields) > 6:
		return nil, badTicket(TicketMalformed, "%d fields before the signature: want type, user, client, start, length and perhaps privileges", len(fields))
	}
	c := new(TicketClaims)
	for i, field := range []*int64{&c.User, &c.Client, &c.Start, &c.Length} {
		n, ok := parseDecimal(fields[i+1])
		if !ok {
			names := [...]string{"user", "client", "start", "length"}
			return nil, badTicket(TicketMalformed, "%s %s: want decimal digits, below 2^63", names[i], quoteText(fields[i+1]))
		}
		*field = n
	}
	if len(fields) == 5 {
		c.Short = true
		return c, nil
	}
	var err error
	c.Privileges, err = parsePrivileges(fields[5], limits.MaxPrivileges)
	return c, err
}

func parsePrivileges(list string, most int) ([]int64, error) {
	if list == "" {
		return nil, nil
	}
	n := strings.Count(list, "+") + 1
	if n > most {
		return nil, badTicket(TicketMalformed, "%d privileges: want at most %d", n, most)
	}
	all := make([]int64, 0, n)
	for text := range strings.SplitSeq(list, "+") {
		id, ok := parseDecimal(text)
		if !ok {
			return nil, badTicket(TicketMalformed, "privilege %s: want decimal digits, below 2^63", quoteText(text))
		}
		all = append(all, id)
	}
	return all, nil
}

// parseDecimal takes digits and nothing else.
func parseDecimal(text string) (int64, bool) {
	if text == "" || text[0] == '+' || text[0] == '-' { // which strconv takes
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// Sign returns the ticket that says c, signed by key (PROTOCOL 10.1).
func (c *TicketClaims) Sign(key *rsa.PrivateKey) (Ticket, error) {
	for _, n := range append([]int64{c.User, c.Client, c.Start, c.Length}, c.Privileges...) {
		if n < 0 {
			return "", fmt.Errorf("scamp: sign ticket: %d: want no number below 0", n)
		}
	}
	switch {
	case c.Length == 0:
		return "", fmt.Errorf("scamp: sign ticket: length 0: it would never hold, want seconds")
	case c.Short && len(c.Privileges) > 0:
		return "", fmt.Errorf("scamp: sign ticket: a short ticket with %d privileges: want one or the other", len(c.Privileges))
	}
	text := fmt.Sprintf("1,%d,%d,%d,%d", c.User, c.Client, c.Start, c.Length)
	if !c.Short {
		list := make([]string, len(c.Privileges))
		for i, p := range c.Privileges {
			list[i] = strconv.FormatInt(p, 10)
		}
		text += "," + strings.Join(list, "+")
	}
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("scamp: sign ticket: %w", err)
	}
	return Ticket(text + "," + base64.RawURLEncoding.EncodeToString(signature)), nil
}
