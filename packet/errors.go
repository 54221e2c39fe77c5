package packet

import "fmt"

// Names of the counters that an Error can carry.
const (
	CounterMalformed       = "packet_malformed"
	CounterTooBig          = "packet_too_big"
	CounterHeaderMalformed = "header_malformed"
	CounterHeaderTooBig    = "header_too_big"
)

// An Error says that the peer broke the grammar or passed a limit. It is fatal
// for the connection it came from (PROTOCOL 2.3) and for nothing else. It never
// quotes the value of a header member, so it cannot carry a ticket into a log.
type Error struct {
	Counter string // the counter to raise: one of the Counter constants
	What    string // what was wrong, foreign text quoted and cut
	Want    string // what was wanted instead
}

// Error returns "packet: what: want what".
func (e *Error) Error() string { return "packet: " + e.What + ": want " + e.Want }

// Bounds on the foreign text in an Error, in octets.
const (
	maxQuotedLine = 80
	maxQuotedName = 32
)

// quote returns foreign text fit for a message or a log.
func quote(b []byte, limit int) string {
	if len(b) > limit {
		return fmt.Sprintf("%q…", b[:limit])
	}
	return fmt.Sprintf("%q", b)
}
