package conform

import (
	"bytes"
	"maps"
	"slices"

	"github.com/scampbus/scamp-go/packet"
)

// HasNull is white box: whether a header has a null shows in a whole run only.
func HasNull(header []byte) bool { return hasNull(header) }

// SourceIDs are the cases of which something is said in a table apart.
func SourceIDs() []string { return slices.Sorted(maps.Keys(sources)) }

// Feed has a session take the packets of a service, as a connection would, and returns
// how often each rule was broken and how the messages look.
func Feed(octets []byte) (broken int, messages []string) { return feed(octets, false) }

// FeedGuest is Feed for the packets of a requester, before anything was sent.
func FeedGuest(octets []byte) (broken int, messages []string) { return feed(octets, true) }

func feed(octets []byte, guest bool) (broken int, messages []string) {
	s := newSession(new(watch))
	if s.guest = guest; !guest {
		s.sending(Sent)
	}
	r := packet.NewReader(bytes.NewReader(octets), packet.Limits{})
	for {
		p, err := r.Next()
		if err != nil {
			break
		}
		s.take(p)
	}
	for _, n := range s.watch.times {
		broken += n
	}
	for _, m := range s.messages {
		messages = append(messages, m.String())
	}
	return broken, messages
}

// Sent is what was sent before Feed: a request with id 1 and 7 octets of body.
const Sent = "HEADER 0 56\r\n" + `{"action":"Sample.echo","request_id":1,"type":"request"}` + "END\r\nDATA 0 7\r\n\"abcde\"END\r\nEOF 0 0\r\nEND\r\n"
