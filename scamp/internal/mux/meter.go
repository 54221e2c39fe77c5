package mux

import "time"

// A pingMeter sees a lasting flood of PINGs: too many in each of ten seconds that
// follow one another.
type pingMeter struct {
	n     int           // in the second that began at start
	start time.Duration // on the clock of Conn.Now
	over  int           // seconds before it, in a row, with too many
}

const pingSeconds = 10

func (m *pingMeter) flood(now time.Duration, most int) bool {
	if passed := now - m.start; passed >= time.Second {
		if m.n > most && passed < 2*time.Second {
			m.over++
		} else {
			m.over = 0
		}
		m.n, m.start = 0, now
	}
	m.n++
	return m.over >= pingSeconds
}

// A tinyMeter sees a lasting flood of tiny DATA packets: many a second and hardly
// an octet in each.
type tinyMeter struct {
	packets, octets int
	start           time.Duration // on the clock of Conn.Now
}

const (
	tinyPackets = 10000 // are judged together
	tinyOctets  = 16    // on average in a packet are not tiny
)

func (m *tinyMeter) flood(octets int, now time.Duration, perSecond int) bool {
	m.packets++
	m.octets += octets
	if m.packets < tinyPackets {
		return false
	}
	tiny := m.octets < tinyOctets*m.packets
	took := now - m.start
	*m = tinyMeter{start: now}
	return tiny && took < tinyPackets*time.Second/time.Duration(perSecond)
}
