package discovery

import (
	"bytes"
	"compress/zlib"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"sync"
)

var separator = []byte("\n\n")

// Refusals of what is not an announcement at all. They are made once, because a
// flood of them must cost nothing (THREATS D25).
var (
	errEmpty    = &Error{Counter: countMalformed, Text: "datagram: no announcement in it: want zlib, or text that starts with [ or {"}
	errTooLong  = &Error{Counter: countTooBig, Text: "datagram: longer than the limit: want at most MaxDatagram octets"}
	errInflated = &Error{Counter: countTooBig, Text: "announcement: longer than the limit: want at most MaxAnnounce octets of text"}
	errRecord   = &Error{Counter: countCacheTooBig, Text: "cache record: longer than the limit: want at most MaxCacheRecord octets"}
	errShort    = &Error{Counter: countMalformed, Text: "datagram: zlib stream shorter than a signature: want an announcement", Quiet: true}
	errTrailing = &Error{Counter: countMalformed, Text: "datagram: octets after the zlib stream: want none"}
	errSections = &Error{Counter: countMalformed, Text: "announcement: fewer than three sections: want JSON, certificate and signature with an empty line between"}
)

// Inflate returns the text of a datagram, compressed or plain (PROTOCOL 7.2).
// It stops at MaxAnnounce octets of output. The result may be part of datagram.
func (l Limits) Inflate(datagram []byte) ([]byte, error) {
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	text, inflated, err := z.text(l.WithDefaults(), datagram)
	if inflated {
		text = bytes.Clone(text)
	}
	return text, err
}

// An inflater keeps what a zlib reader needs, some 40 KiB, and its output.
type inflater struct {
	src  bytes.Reader
	zlib io.ReadCloser
	out  []byte
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// text returns the text of a datagram, and whether it was inflated: then it is
// valid until the next call.
func (z *inflater) text(l Limits, datagram []byte) (text []byte, inflated bool, err error) {
	if err := l.checkForm(datagram); err != nil {
		return nil, false, err
	}
	datagram = unprefixed(datagram)
	z.out = z.out[:0]
	switch {
	case compressed(datagram):
		text, err = z.inflate(datagram, l.MaxAnnounce)
		return text, true, err
	case len(datagram) > l.MaxAnnounce:
		return nil, false, errInflated
	}
	return datagram, false, nil
}

// checkForm refuses what cannot be an announcement by its length and its first
// octets (PROTOCOL 7.2).
func (l Limits) checkForm(datagram []byte) error {
	if len(datagram) > l.MaxDatagram {
		return errTooLong
	}
	datagram = unprefixed(datagram)
	if len(datagram) < 2 || !compressed(datagram) && datagram[0] != '[' && datagram[0] != '{' {
		return errEmpty
	}
	return nil
}

// checkPossible refuses what passed checkForm and still cannot be an announcement:
// a text without a certificate, and a stream too short for a signature, which nothing
// compresses. It costs less than a look.
func (l Limits) checkPossible(datagram []byte) error {
	datagram = unprefixed(datagram)
	if compressed(datagram) {
		if len(datagram) < l.MinRSABits/8 {
			return errShort
		}
		return nil
	}
	if !bytes.Contains(datagram, certificateBegin) {
		return errSections
	}
	return nil
}

var certificateBegin = []byte("\n\n" + pemBegin)

// unprefixed takes off the octet that newer Perl services may send first.
func unprefixed(datagram []byte) []byte {
	if len(datagram) > 0 && (datagram[0] == 'R' || datagram[0] == 'D') {
		return datagram[1:]
	}
	return datagram
}

// compressed tells whether a datagram of two octets or more is a zlib stream.
func compressed(datagram []byte) bool {
	return datagram[0]&0x0f == 8 && datagram[0]>>4 <= 7 && (int(datagram[0])<<8|int(datagram[1]))%31 == 0
}

func (z *inflater) inflate(stream []byte, limit int) ([]byte, error) {
	z.src.Reset(stream)
	var err error
	if z.zlib == nil {
		z.zlib, err = zlib.NewReader(&z.src)
	} else {
		err = z.zlib.(zlib.Resetter).Reset(&z.src, nil)
	}
	if err == nil {
		z.out, err = readUpTo(z.out, z.zlib, limit)
	}
	switch {
	case err == errInflated:
		return nil, errInflated
	case err != nil:
		return nil, &Error{Counter: countMalformed, Text: "datagram", Err: err}
	case z.src.Len() > 0: // zlib reads a bytes.Reader no further than the stream goes
		return nil, errTrailing
	}
	return z.out, nil
}

// readUpTo appends what r holds to buf, unless it is longer than limit.
func readUpTo(buf []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(limit+1-len(buf), max(8<<10, len(buf))))
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), limit+1)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return buf, errInflated
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// Compress returns text as the zlib stream that goes into a datagram.
func Compress(text []byte) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestCompression) // fails for unknown levels only
	w.Write(text)                                         // a bytes.Buffer takes everything
	w.Close()
	return b.Bytes()
}

// Sections are the three parts of an announcement as they were received. They
// point into its text. Nothing in them has been checked: a caller asks for the
// certificate, then opens (PROTOCOL 7.10 steps 4 to 8), so that what is cheap
// to refuse is refused first.
type Sections struct {
	JSON      []byte // what is signed, octet for octet
	PEM       []byte
	Signature []byte // base64 in lines of any width
}

// Split finds the sections of an announcement. What follows the third is
// ignored: nobody signed it.
func Split(text []byte) (Sections, error) {
	json, rest, one := bytes.Cut(text, separator)
	pem, rest, two := bytes.Cut(rest, separator)
	signature, _, _ := bytes.Cut(rest, separator)
	if !one || !two || len(json) == 0 || len(pem) == 0 || len(signature) == 0 {
		return Sections{}, errSections
	}
	return Sections{JSON: json, PEM: pem, Signature: signature}, nil
}

// Certificate reads the certificate section and checks its form and its key.
func (s Sections) Certificate(l Limits) (*Certificate, error) {
	der, err := decodePEM(s.PEM)
	if err != nil {
		return nil, err
	}
	c, err := ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := c.CheckKey(l); err != nil {
		return nil, err
	}
	return c, nil
}

// Open verifies the signature and only then reads the JSON. The certificate c
// must be the one that s.Certificate returned. The announcement keeps no part
// of the text.
func (s Sections) Open(l Limits, c *Certificate) (*Announcement, error) {
	signature, err := s.signature(c)
	if err != nil {
		return nil, err
	}
	if err := verify(c, s.JSON, signature); err != nil {
		return nil, err
	}
	return l.parseSigned(s.JSON, signature, c, true)
}

// signature decodes the signature section, which must have the length of the
// key: that is known before anything is allocated for it.
func (s Sections) signature(c *Certificate) ([]byte, error) {
	characters := s.characters()
	want := c.key.Size()
	if characters != base64.StdEncoding.EncodedLen(want) {
		return nil, refuse(countBadSignature, "announcement of certificate %s: signature of %d characters: want %d for its key",
			c.Fingerprint, characters, base64.StdEncoding.EncodedLen(want))
	}
	signature := make([]byte, base64.StdEncoding.DecodedLen(characters))
	n, err := decodeBase64(signature, s.Signature)
	if err == nil && n != want {
		err = fmt.Errorf("%d octets: want %d", n, want)
	}
	if err != nil {
		return nil, &Error{Counter: countBadSignature, Text: "announcement of certificate " + c.Fingerprint + ": signature", Err: err}
	}
	return signature[:n:n], nil
}

// characters returns how long the signature section is without its line feeds.
func (s Sections) characters() int {
	return len(s.Signature) - bytes.Count(s.Signature, separator[:1])
}

// verify checks a PKCS#1 v1.5 signature with SHA-256 over exactly these octets.
func verify(c *Certificate, json, signature []byte) error {
	digest := sha256.Sum256(json)
	if rsa.VerifyPKCS1v15(c.key, crypto.SHA256, digest[:], signature) != nil {
		return refuse(countBadSignature, "announcement of certificate %s: signature does not match: want one made with its key", c.Fingerprint)
	}
	return nil
}

// Parse reads a datagram with the default limits. It checks everything but the
// signature: call Verify before believing a word of it.
func Parse(datagram []byte) (*Announcement, error) { return Limits{}.Parse(datagram) }

// Parse is the function Parse with limits.
func (l Limits) Parse(datagram []byte) (*Announcement, error) {
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	text, _, err := z.text(l.WithDefaults(), datagram)
	if err != nil {
		return nil, err
	}
	return l.parseText(text)
}

// ParseRecord reads one record of a cache file (PROTOCOL 8.1): an announcement
// that is never compressed. Like Parse it leaves the signature to Verify.
func (l Limits) ParseRecord(text []byte) (*Announcement, error) {
	l = l.WithDefaults()
	if len(text) > l.MaxCacheRecord {
		return nil, errRecord
	}
	return l.parseText(text)
}

func (l Limits) parseText(text []byte) (*Announcement, error) {
	s, err := Split(text)
	if err != nil {
		return nil, err
	}
	c, err := s.Certificate(l)
	if err != nil {
		return nil, err
	}
	signature, err := s.signature(c)
	if err != nil {
		return nil, err
	}
	return l.parseSigned(s.JSON, signature, c, false)
}
