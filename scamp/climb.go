package scamp

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/scampbus/scamp-go/discovery"
)

// Ladder tells rung by rung how far the call came: what it saw on its way, in the words
// of Bus.Why. That of an error which no bus or client made has no more than a name and an
// end.
func (e *CallError) Ladder() Ladder {
	if e.seen == nil {
		return Ladder{Action: e.Action, Err: e, Rungs: []Rung{
			{Name: RungName, State: RungOK, Text: printable(e.Action)},
			{Name: RungReply, State: RungFailed, Text: printable(e.Err.Error()), Fix: e.Advice},
		}}
	}
	l := e.seen.ladder(e.Err)
	l.Action, l.Err = e.Action, e
	return l
}

// ladder makes the rungs of what was seen before err ended it.
func (s *sighting) ladder(err error) Ladder {
	l := Ladder{Rungs: make([]Rung, 0, len(rungNames))}
	at := s.failedAt(err)
	last := slices.Index(rungNames, at)
	for i, name := range rungNames {
		r := Rung{Name: name}
		switch {
		case i == last:
			r.State = RungFailed
			r.Text, r.Fix = s.failure(name, err)
		case at == RungReply && !s.linked && slices.Contains([]string{RungTCP, RungTLS, RungPin}, name):
			// The request was given up before.
		case last < 0 || i < last:
			r.Text, r.Took = s.saw(name)
			if r.Text != "" {
				r.State = RungOK
			}
		}
		r.Text, r.Fix = printable(r.Text), printable(r.Fix)
		l.Rungs = append(l.Rungs, r)
	}
	return l
}

// saw says what was seen on a rung that holds; nothing if it was not looked at.
func (s *sighting) saw(name string) (text string, took time.Duration) {
	switch name {
	case RungName:
		return clean(s.query.String()), 0
	case RungConfig:
		return s.sawConfig(), 0
	case RungSource:
		return s.sawSource(), 0
	case RungFound:
		return s.sawFound(), 0
	case RungAge, RungSignature, RungReplay, RungExpiry, RungWeight:
		if !s.held {
			return "", 0
		}
		return s.sawEntry(name), 0
	case RungRule:
		if s.bus == nil || s.route.Peer == nil {
			return "", 0
		}
		return s.rules.Decide(s.route.Certificate, s.route.Sector, s.route.Action).String(), 0
	case RungAddress:
		return s.route.Address, 0
	case RungTCP:
		switch {
		case s.local:
			return "the service is one of this process: no socket and no TLS", 0
		case s.reused:
			return "the connection was open already", 0
		case s.bus != nil && s.bus.opts.Dial != nil:
			return "connected, by the program's own Dial", s.connect
		}
		return "connected", s.connect
	case RungTLS:
		if s.local {
			return "", 0
		}
		return s.sawTLS(), s.shook
	case RungPin:
		return s.sawPin(), 0
	}
	return s.sawReply(), 0
}

func (s *sighting) sawConfig() string {
	switch {
	case s.bus == nil:
		return ""
	case s.bus.cfg.File == "":
		return "given by the program, not read from a file"
	case len(s.bus.cfg.Warnings) > 0:
		return s.bus.cfg.File + "; " + count(len(s.bus.cfg.Warnings), "line") + " of it may not mean what was meant: scamp check tells"
	}
	return s.bus.cfg.File
}

func (s *sighting) sawSource() string {
	switch {
	case s.bus == nil:
		return ""
	case s.cache != nil && s.cache.Condition == discovery.CacheFresh:
		text := fmt.Sprintf("cache file %s, written %v ago, %s", s.cache.Path, s.cache.Age.Round(time.Second), count(s.cache.Records, "record"))
		if s.cache.Bad > 0 {
			text += fmt.Sprintf(", and %d refused", s.cache.Bad)
		}
		return text
	case s.cache != nil:
		return s.cache.String() + "; " + s.bus.hearing()
	}
	return s.bus.hearing()
}

// hearing says how announcements are heard.
func (b *Bus) hearing() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.carryErr != nil:
		return "nobody is heard: " + b.carryErr.Error()
	case b.listening.IsZero():
		return "nobody is listened to"
	case b.multicast == nil:
		return "the carriers of the program"
	}
	return fmt.Sprintf("multicast to %v on %s, for %v", b.multicast.Group(), ifaceList(b.multicast), time.Since(b.listening).Round(100*time.Millisecond))
}

// alone asks what may be wrong where nobody at all was heard by multicast; empty where
// nobody listens to that.
func (b *Bus) alone() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.multicast == nil || b.listening.IsZero() {
		return ""
	}
	return fmt.Sprintf("nobody was heard on %v within %v: is a service running, with this group and port, and on the network of %s?",
		b.multicast.Group(), time.Since(b.listening).Round(100*time.Millisecond), ifaceList(b.multicast))
}

// ifaceList names the interfaces of a carrier.
func ifaceList(m *discovery.Multicast) string {
	var ifaces []string
	for _, i := range m.Ifaces() {
		ifaces = append(ifaces, i.String())
	}
	return strings.Join(ifaces, ", ")
}

func (s *sighting) sawFound() string {
	switch {
	case s.bus == nil:
		return "" // a Client asks nobody
	case len(s.refused) > 0:
		return fmt.Sprintf("record %d of the cache file says it is %s and offers it", s.refused[0].Number, clean(s.refused[0].Ident))
	case s.why != nil:
		o := s.why.Offers[0]
		return fmt.Sprintf("%s offers %s:%s~%d", clean(o.Peer.Ident), o.Sector, o.Action, o.Version) + others(len(s.why.Offers)+s.why.More-1)
	}
	text := fmt.Sprintf("%s offers it", clean(s.route.Ident))
	if s.probed {
		text += others(len(s.bus.dir.Find(s.query)) - 1)
	}
	return text
}

func others(n int) string {
	if n <= 0 {
		return ""
	}
	return ", and " + count(n, "other")
}

// count returns a number of things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// sawEntry says what is held of the instance.
func (s *sighting) sawEntry(name string) string {
	e := &s.entry
	age := e.Age.Round(10 * time.Millisecond)
	switch name {
	case RungAge:
		switch {
		case e.Source.Datagram && e.Iface.String() != "":
			return fmt.Sprintf("heard %v ago on %v", age, e.Iface)
		case e.Source.Datagram:
			return fmt.Sprintf("heard %v ago", age)
		}
		return fmt.Sprintf("read from the cache file %v ago", age)
	case RungSignature:
		return fmt.Sprintf("good: RSA %d bits, certificate %s", e.Peer.Certificate.Bits(), e.Peer.Certificate.Fingerprint)
	case RungReplay:
		at := time.UnixMicro(e.Peer.Timestamp).UTC().Format("2006-01-02T15:04:05.000Z")
		switch {
		case e.Future:
			return fmt.Sprintf("announced at %s, which is ahead of our clock: taken because nothing better is known", at)
		case e.Newest > e.Peer.Timestamp:
			return fmt.Sprintf("announced at %s; the newest seen is of %s", at, time.UnixMicro(e.Newest).UTC().Format("2006-01-02T15:04:05.000Z"))
		}
		return fmt.Sprintf("announced at %s, the newest seen of this instance", at)
	case RungExpiry:
		switch {
		case e.State == discovery.Suspect:
			return fmt.Sprintf("silent for %v, longer than 2.1 intervals: taken because nobody else offers it", age)
		case e.Source.File:
			return "counts while it is in the cache file"
		}
		return fmt.Sprintf("in %v unless it is heard again", e.Expires.Round(10*time.Millisecond))
	}
	return fmt.Sprintf("%d", e.Announcement.Weight)
}

func (s *sighting) sawTLS() string {
	if !s.linked {
		return "the handshake went as far as the certificate"
	}
	text := tls.VersionName(s.state.Version) + ", " + tls.CipherSuiteName(s.state.CipherSuite)
	if s.bus == nil {
		return text
	}
	if own := s.bus.opts.KeyPair; own != nil {
		return text + "; we show " + own.Certificate.Fingerprint
	}
	return text + "; we show no certificate"
}

func (s *sighting) sawPin() string {
	if len(s.state.PeerCertificates) == 0 {
		return ""
	}
	shown := discovery.Fingerprint(s.state.PeerCertificates[0].Raw)
	if s.bus == nil {
		return "the peer shows " + shown + ", which is whom the program wants"
	}
	return "the announced certificate, octet for octet: " + shown
}

func (s *sighting) sawReply() string {
	if s.probed {
		return "the connection stays open; no request was sent"
	}
	return ""
}

// printable escapes what does not print, and leaves the length as it is: a line for a
// rules file must be whole. Foreign text in it was cut before.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s // RuneError also stands for octets that are no UTF-8, and that some terminals obey
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
