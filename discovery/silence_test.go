package discovery

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// White box: sockets do not work in synthetic time, and what is reported depends on
// minutes of silence.

var (
	wire = Iface{Name: "eth0", Index: 2, Addr: netip.MustParseAddr("10.0.0.1")}
	loop = Iface{Name: "lo", Index: 1, Addr: netip.MustParseAddr("127.0.0.1")}
)

// TestSilence: what is told of silence, at most once for each beginning and end.
func TestSilence(t *testing.T) {
	const tick = followTime
	for _, tt := range []struct {
		name   string
		ifaces []Iface
		each   func(m *Multicast, at time.Duration) // what happens each two seconds, for two minutes
		want   string                               // what is said, in order
		ends   string                               // Trouble in the end
	}{
		{"nobody listens", []Iface{wire}, func(m *Multicast, _ time.Duration) { m.silence.sent(wire) }, "", ""},
		{"all is well", []Iface{wire}, func(m *Multicast, _ time.Duration) {
			m.silence.listen()
			m.silence.sent(wire)
			m.silence.heard(wire)
		}, "", ""},
		{"nobody there", []Iface{wire}, func(m *Multicast, _ time.Duration) { m.silence.listen() },
			"18s no announcement is heard: does a service run", "no announcement was heard for 1m58s"},
		{"nobody on loopback", []Iface{loop}, func(m *Multicast, _ time.Duration) { m.silence.listen() },
			"18s no announcement is heard: only services of this host", "no announcement was heard for 1m58s"},
		{"not even ourselves", []Iface{wire, loop}, func(m *Multicast, _ time.Duration) {
			m.silence.listen()
			m.silence.sent(wire)
			m.silence.sent(loop)
			m.silence.heard(loop)
		}, "18s not even our own announcements are heard: does a firewall; on=\"eth0 (10.0.0.1)\"", "not even our own announcements are heard on eth0 (10.0.0.1)"},
		{"for a minute", []Iface{wire}, func(m *Multicast, at time.Duration) {
			m.silence.listen()
			m.silence.sent(wire)
			if at < 30*time.Second || at > 90*time.Second {
				m.silence.heard(wire)
			}
		}, "46s not even our own|1m32s our own announcements are heard again", ""},
		{"others, for a minute", []Iface{wire}, func(m *Multicast, at time.Duration) {
			m.silence.listen()
			if at < 30*time.Second || at > 90*time.Second {
				m.silence.heard(wire)
			}
		}, "44s no announcement is heard|1m32s announcements are heard again", ""},
		{"services that announce less often", []Iface{wire}, func(m *Multicast, at time.Duration) {
			m.silence.listen()
			if at%(20*time.Second) == 0 {
				m.silence.heard(wire)
			}
		}, "18s no announcement is heard|20s announcements are heard again", ""},
		{"the interface goes", []Iface{wire}, func(m *Multicast, at time.Duration) {
			m.silence.listen()
			m.silence.heard(loop)
			if at < 30*time.Second {
				m.silence.sent(wire)
			} else {
				m.silence.forget(wire)
			}
		}, "18s not even our own", ""},
		{"an interface goes while we send", []Iface{wire, loop}, func(m *Multicast, at time.Duration) {
			m.silence.listen()
			if at == 4*time.Second {
				m.silence.forget(wire)
				m.silence.sent(wire)
			}
		}, "20s no announcement is heard", "no announcement was heard for 1m56s"},
		{"an interface goes in silence", []Iface{wire, loop}, func(m *Multicast, at time.Duration) {
			m.silence.listen()
			if at == 30*time.Second {
				m.silence.forget(wire)
			}
		}, "18s no announcement is heard", "no announcement was heard for 1m30s"},
		{"the only interface comes late", []Iface{wire}, func(m *Multicast, at time.Duration) {
			m.silence.listen()
			switch at {
			case tick:
				m.silence.forget(wire)
			case time.Minute:
				m.silence.use(wire)
			}
		}, "1m16s no announcement is heard", "no announcement was heard for 1m0s"},
		{"the only interface comes again", []Iface{wire}, func(m *Multicast, at time.Duration) {
			m.silence.listen()
			switch at {
			case time.Minute:
				m.silence.forget(wire)
			case 114 * time.Second:
				m.silence.use(wire)
			}
		}, "18s no announcement is heard", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				m := &Multicast{group: netip.MustParseAddrPort("239.1.1.1:5555"), silence: newSilence(0)}
				m.report = newReporter(slog.New(slog.NewTextHandler(&log, nil)), Limits{}.WithDefaults(), &m.counters)
				now := newInUse()
				now.ifaces = tt.ifaces
				m.use.Store(now)
				for _, iface := range tt.ifaces {
					m.silence.use(iface)
				}
				var said []string
				for at := tick; at <= 2*time.Minute; at += tick {
					time.Sleep(tick)
					tt.each(m, at)
					log.Reset()
					m.listenUp()
					if log.Len() > 0 {
						said = append(said, at.String()+" "+log.String())
					}
				}
				want := strings.FieldsFunc(tt.want, func(r rune) bool { return r == '|' })
				if len(said) != len(want) {
					t.Fatalf("said %q: want %q", said, want)
				}
				for i := range want {
					when, texts, _ := strings.Cut(want[i], " ")
					for text := range strings.SplitSeq(texts, "; ") {
						if !strings.HasPrefix(said[i], when+" ") || !strings.Contains(said[i], text) {
							t.Errorf("said %q: want at %s %q", said[i], when, text)
						}
					}
				}
				if got := m.Trouble(); got != tt.ends {
					t.Errorf("Trouble: %q: want %q", got, tt.ends)
				}
			})
		})
	}
}
