package discovery

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/netip"
)

// Receive takes a datagram as it came from a carrier, in the order of
// PROTOCOL 7.10: cheap checks first, each signature once. The error is an *Error
// that names its counter; expected ones are Quiet.
func (d *Directory) Receive(dg Datagram) error {
	c, err := d.look(dg)
	if c != nil {
		err = d.check(c)
	}
	return d.count(err)
}

// An origin is where a datagram came from, and the sums it is known by.
type origin struct {
	iface Iface
	parts parts
	sums  sums
}

// sums are the SHA-256 of a datagram, and of its text when that is not the same.
type sums struct {
	sum [2][32]byte
	n   int
}

func (s *sums) add(sum [32]byte) {
	if s.n == 0 || s.sum[0] != sum {
		s.sum[s.n] = sum
		s.n++
	}
}

func (s *sums) list() [][32]byte { return s.sum[:s.n] }

// Refusals that a flood may cause, made once.
var (
	errRefusedBefore = &Error{Counter: countVerifyCached, Text: "datagram: refused before: want a valid one", Quiet: true}
	errNoLookLeft    = &Error{Counter: countOverrun, Text: "datagram: dropped unread: more new ones come than are looked at; want fewer a second"}
	errNoRoom        = &Error{Counter: countOverrun, Text: "announcement: dropped unread: too many wait for their signature check; want fewer new ones a second"}
	errNoCheckLeft   = &Error{Counter: countVerifyLimited, Text: "announcement: no signature check left this second: want VerifyRate or fewer new announcements"}
)

// look does all that precedes a signature check. It refreshes what a datagram
// repeats and returns neither a candidate nor an error then; it refuses what is no
// announcement; and it finds the lane of what is left.
func (d *Directory) look(dg Datagram) (*candidate, error) {
	if err := d.limits.checkForm(dg.Data); err != nil {
		return nil, err // costs less than to remember it
	}
	if err := d.limits.checkPossible(dg.Data); err != nil {
		return nil, err
	}
	from := origin{iface: dg.Iface, parts: partsOf(dg, d.limits)}
	from.sums.add(sha256.Sum256(dg.Data))
	if repeats, err := d.glance(from); repeats || err != nil {
		return nil, err
	}
	c, err := d.read(dg.Data, from)
	switch {
	case c != nil:
		c.from = dg.From
	case err != nil && err != errNoLookLeft:
		d.rememberRefusal(from.sums.sum[0])
	}
	return c, err
}

// glance judges a datagram by its sum alone: whether it repeats what is held, was
// refused a short time ago, or may be read at all.
func (d *Directory) glance(from origin) (repeats bool, err error) {
	d.mu.Lock()
	defer d.unlock()
	switch {
	case d.refreshLocked(from):
		return true, nil
	case d.refused.has(from.sums.sum[0]):
		return false, errRefusedBefore
	case !d.checks.looks.take():
		d.loseDatagramLocked()
		return false, errNoLookLeft
	}
	return false, nil
}

// read reads a new datagram as far as its certificate.
func (d *Directory) read(data []byte, from origin) (*candidate, error) {
	text, err := d.text(data)
	if err != nil {
		return nil, err
	}
	from.sums.add(sha256.Sum256(text))
	sections, err := Split(text)
	if err != nil {
		return nil, err
	}
	c := &candidate{origin: from, size: len(text), sections: sections}
	if c.der, err = decodePEM(sections.PEM); err != nil {
		return nil, err
	}
	id := identityOf(c.der)

	d.mu.Lock()
	defer d.unlock()
	if d.refreshLocked(from) {
		return nil, nil // the same text, compressed in another way
	}
	c.verified = d.verifiedLocked(from)
	c.known, c.certificate = d.rules.names(id), id.sha256
	return c, nil
}

// text returns the text of a datagram, which is the caller's. Most announcements are
// far shorter than they may be, so that a long text needs a budget of its own:
// what inflates to much cannot keep others from being read.
func (d *Directory) text(data []byte) ([]byte, error) {
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	l := d.limits
	l.MaxAnnounce = min(l.MaxAnnounce, usualText)
	text, _, err := z.text(l, data)
	if err == errInflated && l.MaxAnnounce < d.limits.MaxAnnounce {
		if !d.takeLongLook() {
			return nil, errNoLookLeft
		}
		text, _, err = z.text(d.limits, data)
	}
	d.endLook(max(len(text), len(z.out)))
	return bytes.Clone(text), err // the buffer is the inflater's, or the carrier's
}

// endLook gives back what a look of so many octets of text did not cost.
func (d *Directory) endLook(octets int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checks.looks.give(1 - max(leastLook, min(float64(octets)/wholeLook, 1)))
}

func (d *Directory) takeLongLook() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	ok := d.checks.long.take()
	if !ok {
		d.loseDatagramLocked()
	}
	return ok
}

// A candidate is an announcement that was read as far as its certificate, and
// needs a signature check. It owns its memory.
type candidate struct {
	from     netip.AddrPort // as the datagram claims
	origin   origin
	sections Sections
	size     int    // octets of text that the sections share
	der      []byte // of its certificate; nobody has looked into it
	verified bool   // these octets were verified before

	certificate [32]byte // SHA-256 of der
	known       bool     // a rule names the certificate
}

// check checks a candidate and holds it.
func (d *Directory) check(c *candidate) error {
	if !c.verified && !d.takeCheck(c) {
		return errNoCheckLeft // it may be good
	}
	a, err := c.open(d.limits)
	if err != nil {
		d.rememberRefusal(c.origin.sums.sum[0])
		return err
	}
	return d.store(a, c.origin)
}

func (c *candidate) open(l Limits) (*Announcement, error) {
	cert, err := ParseCertificate(c.der)
	if err != nil {
		return nil, err
	}
	if err := cert.CheckKey(l); err != nil {
		return nil, err
	}
	if !c.verified {
		return c.sections.Open(l, cert)
	}
	signature, err := c.sections.signature(cert)
	if err != nil {
		return nil, err
	}
	return l.parseSigned(c.sections.JSON, signature, cert, true)
}

func (d *Directory) rememberRefusal(sum [32]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused.add(sum)
}

// verifiedLocked tells whether the signature of a packet was found good before.
func (d *Directory) verifiedLocked(from origin) bool {
	for _, sum := range from.sums.list() {
		if _, ok := d.sums[sum]; ok {
			return true
		}
	}
	return false
}

// takeCheck takes one signature check from the budget of a lane. Certificates that
// a rule names have their own, so that no flood of others starves them (THREATS
// D20).
func (d *Directory) takeCheck(c *candidate) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.known {
		return d.checks.unknown.take()
	}
	ok := d.checks.takeKnown(c.certificate)
	if !ok {
		d.loseDatagramLocked()
	}
	return ok
}

// loseDatagramLocked notes that a datagram was dropped which may have come from
// one that a rule names.
func (d *Directory) loseDatagramLocked() { d.health.lost = d.clock.now() }

// overrun counts a candidate that there is no room for.
func (d *Directory) overrun(c *candidate) error {
	if c.known {
		d.mu.Lock()
		d.loseDatagramLocked()
		d.mu.Unlock()
	}
	return d.count(errNoRoom)
}

// missed notes datagrams that were lost before we could take them.
func (d *Directory) missed(n uint64) {
	d.mu.Lock()
	defer d.unlock()
	d.loseDatagramLocked()
	d.counters.add(countOverrun, int(n-1))
	d.warnLocked(countOverrun, "datagrams lost: more come than are taken; nobody expires who may have sent them", "lost", n)
}

// count counts a refusal by its name and returns it.
func (d *Directory) count(err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		d.counters.add(refusal.Counter, 1)
	}
	return err
}
