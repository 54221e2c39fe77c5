package discovery

import (
	"crypto/sha256"
	"errors"
)

// Receive takes a datagram as it came from a carrier, in the order of
// PROTOCOL 7.10: cheap checks first, each signature once. The error is an *Error
// that names its counter; expected ones are Quiet.
func (d *Directory) Receive(dg Datagram) error {
	return d.count(d.receive(dg))
}

// repeat does the cheap part of Receive: it takes a datagram that repeats what is
// held, octet for octet, or that was refused a short time ago.
func (d *Directory) repeat(dg Datagram) bool {
	if len(dg.Data) > d.limits.MaxDatagram {
		d.count(errTooLong)
		return true
	}
	from := origin{iface: dg.Iface}
	from.sums.add(sha256.Sum256(dg.Data))
	if d.refresh(from) {
		return true
	}
	if d.wasRefused(from.sums.sum[0]) {
		d.count(errRefusedBefore)
		return true
	}
	return false
}

// An origin is where a datagram came from, and the sums it is known by.
type origin struct {
	iface Iface
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

func (d *Directory) receive(dg Datagram) error {
	if len(dg.Data) > d.limits.MaxDatagram {
		return errTooLong
	}
	from := origin{iface: dg.Iface}
	from.sums.add(sha256.Sum256(dg.Data))
	if d.refresh(from) {
		return nil
	}
	if d.wasRefused(from.sums.sum[0]) {
		return errRefusedBefore
	}
	a, err := d.open(dg.Data, &from)
	switch {
	case err == errNoCheckLeft:
		return err // it may be good
	case err != nil:
		d.rememberRefusal(from.sums.sum[0])
		return err
	case a == nil:
		return nil // it repeats what is held
	}
	return d.store(a, from)
}

// Refusals that a flood may cause, made once.
var (
	errRefusedBefore = &Error{Counter: countVerifyCached, Text: "datagram: refused before: want a valid one", Quiet: true}
	errNoCheckLeft   = &Error{Counter: countVerifyLimited, Text: "announcement: no signature check left this second: want VerifyRate or fewer new announcements"}
)

// open reads a datagram and checks its signature. It returns neither an
// announcement nor an error when the text repeats what is held.
func (d *Directory) open(data []byte, from *origin) (*Announcement, error) {
	text, err := d.limits.Inflate(data)
	if err != nil {
		return nil, err
	}
	from.sums.add(sha256.Sum256(text))
	if d.refresh(*from) {
		return nil, nil
	}
	sections, err := Split(text)
	if err != nil {
		return nil, err
	}
	cert, err := sections.Certificate(d.limits)
	if err != nil {
		return nil, err
	}
	if d.wasVerified(*from) {
		return sections.reopen(d.limits, cert)
	}
	if !d.takeCheck(cert) {
		return nil, errNoCheckLeft
	}
	return sections.Open(d.limits, cert)
}

// reopen reads an announcement whose octets were verified before.
func (s Sections) reopen(l Limits, c *Certificate) (*Announcement, error) {
	signature, err := s.signature(c)
	if err != nil {
		return nil, err
	}
	return l.parseSigned(s.JSON, signature, c, true)
}

// wasRefused tells whether a datagram was refused a short time ago.
func (d *Directory) wasRefused(sum [32]byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused.has(sum)
}

func (d *Directory) rememberRefusal(sum [32]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused.add(sum)
}

// wasVerified tells whether the signature of a packet was found good before.
func (d *Directory) wasVerified(from origin) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, sum := range from.sums.list() {
		if _, ok := d.sums[sum]; ok {
			return true
		}
	}
	return false
}

// takeCheck takes one signature check from the budget that the certificate's
// lane has left. Certificates that a rule names have their own, so that no
// flood of others starves them (THREATS D20).
func (d *Directory) takeCheck(c *Certificate) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rules.Named(c) {
		return d.checks.known.take()
	}
	return d.checks.unknown.take()
}

// count counts a refusal by its name and returns it.
func (d *Directory) count(err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		d.counters.add(refusal.Counter, 1)
	}
	return err
}
