package conform

import (
	"fmt"
	"strings"
)

// Bounds on what a result shows, in octets and in entries.
const (
	maxShown   = 600 // of one piece of octets
	maxText    = 200 // of a text from the service within a sentence
	maxEntries = 40  // pieces sent and packets received
)

// visible returns octets as one line of ASCII: \r\n and other control characters are
// shown, and the middle of what is long is left out.
func visible(octets string) string {
	return cut(octets, maxShown)
}

func cut(octets string, most int) string {
	if len(octets) <= most {
		return escape(octets)
	}
	head, tail := most*2/3, most/3
	return fmt.Sprintf("%s<<%d octets left out>>%s", escape(octets[:head]), len(octets)-head-tail, escape(octets[len(octets)-tail:]))
}

func escape(octets string) string {
	var b strings.Builder
	for i := 0; i < len(octets); i++ {
		switch c := octets[i]; {
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\\':
			b.WriteString(`\\`)
		case c < 0x20 || c > 0x7e:
			fmt.Fprintf(&b, `\x%02X`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// A log keeps the first entries and counts the rest, so that a flood fills no memory.
type log struct {
	entries []string
	dropped int
}

// add keeps an entry. Most of a flood is only counted, so making it is put off.
func (l *log) add(entry func() string) {
	if len(l.entries) < maxEntries {
		l.entries = append(l.entries, entry())
		return
	}
	l.dropped++
}

// list returns what was kept and how much was not.
func (l *log) list() []string {
	if l.dropped == 0 {
		return l.entries
	}
	return append(l.entries[:len(l.entries):len(l.entries)], fmt.Sprintf("… %d more", l.dropped))
}
