package packet

import (
	"math"
	"strconv"
	"time"
)

// Ext is the header member by which peers that know extensions find each other
// (PROTOCOL 3.7). The zero value is none.
type Ext struct {
	V      int   // version of the extensions, at least 1; 0 means there is no ext
	Win    int64 // octets per message that the sender of the header will receive; 0 means not said
	Cancel bool  // the sender of the header understands cancel
	MS     int64 // milliseconds the caller has left, at least 1; 0 means not said
}

// MinWindow is the window of peers without ext, in octets. No peer announces
// less (PROTOCOL 3.7).
const MinWindow = 65536

// maxMS is the longest time that fits in a time.Duration.
const maxMS = int64(math.MaxInt64 / time.Millisecond)

// parseExt consumes the value of the member ext. Whatever is wrong with its
// meaning or that of a member of it counts as absent: it never fails a message. It also
// returns where the digits of MS stand.
func parseExt(s *scanner) (e Ext, ms span) {
	s.space()
	if s.pos == len(s.data) || s.data[s.pos] != '{' {
		s.value(1)
		return e, ms
	}
	var seen, twice uint8
	s.open('{', 2)
	for n := 0; s.more('}', n); n++ {
		name := s.name()
		v := s.value(2)
		i, ok := v.integer()
		var bit uint8
		switch {
		case name.is("v"):
			bit = 1
			if ok && i >= 1 {
				e.V = int(min(i, math.MaxInt32))
			}
		case name.is("win"):
			bit = 2
			if ok && i >= MinWindow {
				e.Win = i
			}
		case name.is("cancel"):
			bit = 4
			e.Cancel = ok && i == 1
		case name.is("ms"):
			bit = 8
			if ok && 1 <= i && i <= maxMS {
				e.MS, ms = i, span{s.pos - len(v.raw), s.pos, memberExt}
			}
		}
		twice |= seen & bit
		seen |= bit
	}
	if twice&2 != 0 {
		e.Win = 0
	}
	if twice&4 != 0 {
		e.Cancel = false
	}
	if twice&8 != 0 {
		e.MS, ms = 0, span{}
	}
	if e.V == 0 || twice&1 != 0 {
		return Ext{}, span{}
	}
	return e, ms
}

// append appends e as JSON to b, its members in the order of PROTOCOL 3.7.
func (e Ext) append(b []byte) []byte {
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, int64(e.V), 10)
	if e.Win >= MinWindow {
		b = append(b, `,"win":`...)
		b = strconv.AppendInt(b, e.Win, 10)
	}
	if e.Cancel {
		b = append(b, `,"cancel":1`...)
	}
	if e.MS > 0 {
		b = append(b, `,"ms":`...)
		b = strconv.AppendInt(b, e.MS, 10)
	}
	return append(b, '}')
}
