package discovery

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"
)

const (
	pemBegin   = "-----BEGIN CERTIFICATE-----\n"
	pemEnd     = "\n-----END CERTIFICATE-----"
	pemType    = "CERTIFICATE"
	pemColumns = 64
)

// A Certificate is the identity of a service: nothing but its octets counts.
// Issuer, names and dates are never checked (PROTOCOL 6.1), and its SHA-1 only
// looks up rules; two certificates are the same when their DER is (PROTOCOL 6.2).
//
// A Certificate never changes after it was made and is safe for concurrent use.
// Nobody may write to DER.
type Certificate struct {
	DER         []byte   // the whole certificate
	SHA256      [32]byte // of DER; the key of all tables
	Fingerprint string   // SHA-1 of DER as "AA:BB:...", 59 characters

	key       *rsa.PublicKey // nil when the key is of another kind
	kind      string         // of the key: "RSA", "ECDSA", ...
	subject   string
	notBefore time.Time
	notAfter  time.Time
}

// ParseCertificate reads one certificate in DER. It keeps a copy of der. The
// key may be of any kind and size: CheckKey judges it.
func ParseCertificate(der []byte) (*Certificate, error) {
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, &Error{Counter: countBadKey, Text: "certificate", Err: err}
	}
	id := identityOf(der)
	c := &Certificate{
		DER:         bytes.Clone(der),
		SHA256:      id.sha256,
		Fingerprint: id.fingerprint,
		kind:        parsed.PublicKeyAlgorithm.String(),
		subject:     parsed.Subject.CommonName,
		notBefore:   parsed.NotBefore,
		notAfter:    parsed.NotAfter,
	}
	if key, ok := parsed.PublicKey.(*rsa.PublicKey); ok {
		// A copy, so that nothing else of the parsed certificate is kept.
		c.key = &rsa.PublicKey{N: new(big.Int).Set(key.N), E: key.E}
	}
	return c, nil
}

// An identity is what rules know a certificate by. It takes its octets only, whatever
// they are.
type identity struct {
	sha256      [32]byte
	fingerprint string // as Certificate.Fingerprint
}

func identityOf(der []byte) identity { return identity{sha256.Sum256(der), Fingerprint(der)} }

// ParseCertificatePEM reads the first certificate of a PEM file, as operators
// keep them: text before the block, other blocks, CR LF and missing last
// newlines are fine. What arrives by network goes through Sections.Certificate.
func ParseCertificatePEM(text []byte) (*Certificate, error) {
	other := false // a block was there
	for rest := text; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && other && strings.Contains(string(text), "PRIVATE KEY-----"):
			return nil, refuse(countBadKey, "certificate file of %d octets: it holds a private key and no certificate: want a block %s", len(text), strings.TrimSpace(pemBegin))
		case block == nil:
			return nil, refuse(countBadKey, "certificate file of %d octets: want a block %s", len(text), strings.TrimSpace(pemBegin))
		}
		if block.Type == pemType {
			return ParseCertificate(block.Bytes)
		}
		other = true
	}
}

// Fingerprint returns the fingerprint of a DER certificate that may be anything, as
// Certificate.Fingerprint has it.
func Fingerprint(der []byte) string { return fingerprintText(sha1.Sum(der)) }

// fingerprintText returns the form in which people and rule files know a SHA-1.
func fingerprintText(sum [sha1.Size]byte) string {
	const digits = "0123456789ABCDEF"
	var text [3*sha1.Size - 1]byte
	for i, b := range sum {
		if i > 0 {
			text[3*i-1] = ':'
		}
		text[3*i], text[3*i+1] = digits[b>>4], digits[b&15]
	}
	return string(text[:])
}

// Key returns the RSA key of c, or nil when it has another kind of key. The key
// is shared: nobody may change it.
func (c *Certificate) Key() *rsa.PublicKey { return c.key }

// Bits returns the length of the RSA modulus, or 0 for another kind of key.
func (c *Certificate) Bits() int {
	if c.key == nil {
		return 0
	}
	return c.key.N.BitLen()
}

// NotBefore returns the first date in c. The protocol ignores it; people ask.
func (c *Certificate) NotBefore() time.Time { return c.notBefore }

// NotAfter returns the last date in c. The protocol ignores it; people ask.
func (c *Certificate) NotAfter() time.Time { return c.notAfter }

// Subject returns the common name in c, foreign text that proves nothing.
func (c *Certificate) Subject() string { return c.subject }

// SHA256Text returns the form of rule lines that does not depend on SHA-1:
// "sha256:" and 64 hex digits (PROTOCOL 18).
func (c *Certificate) SHA256Text() string { return sha256Prefix + hex.EncodeToString(c.SHA256[:]) }

// PEM returns c as the one PEM block of PROTOCOL 7.1: lines of 64 characters
// and no newline at the end. The slice belongs to the caller.
func (c *Certificate) PEM() []byte {
	text := make([]byte, 0, len(pemBegin)+len(pemEnd)+len(c.DER)*22/16+4)
	text = append(text, pemBegin...)
	text = appendBase64(text, c.DER, pemColumns)
	return append(text, pemEnd...)
}

// CheckKey says why the key of c may not be used, or returns nil: RSA of
// MinRSABits to MaxRSABits with an odd modulus and an odd public exponent of 3
// to 65537 (PROTOCOL 6.3).
func (c *Certificate) CheckKey(l Limits) error {
	l = l.WithDefaults()
	switch bits := c.Bits(); {
	case c.key == nil:
		return refuse(countBadKey, "certificate %s: %s key: want RSA", c.Fingerprint, c.kind)
	case bits < l.MinRSABits && bits >= fewestRSABits:
		return refuse(countBadKey, "certificate %s: RSA key of %d bits: want %d to %d, or tls.min_rsa_bits = %d",
			c.Fingerprint, bits, l.MinRSABits, l.MaxRSABits, bits)
	case bits < l.MinRSABits || bits > l.MaxRSABits:
		return refuse(countBadKey, "certificate %s: RSA key of %d bits: want %d to %d (tls.min_rsa_bits goes down to %d)",
			c.Fingerprint, bits, l.MinRSABits, l.MaxRSABits, fewestRSABits)
	case c.key.N.Bit(0) == 0:
		return refuse(countBadKey, "certificate %s: RSA key with an even modulus: want an odd one", c.Fingerprint)
	case c.key.E < 3 || c.key.E > 65537 || c.key.E%2 == 0:
		return refuse(countBadKey, "certificate %s: RSA key with exponent %d: want an odd one from 3 to 65537", c.Fingerprint, c.key.E)
	}
	return nil
}

// decodePEM decodes a certificate section: one block and nothing around it, base64
// in lines of any width, no CR, no PEM headers (PROTOCOL 7.1).
func decodePEM(section []byte) (der []byte, err error) {
	body, begins := bytes.CutPrefix(section, []byte(pemBegin))
	body, ends := bytes.CutSuffix(body, []byte(pemEnd))
	if !begins || !ends {
		return nil, refuse(countBadKey, "certificate section %q: want exactly one block %s", cut(section), strings.TrimSpace(pemBegin))
	}
	// Half of the characters may be line feeds.
	if len(body) > 2*base64.StdEncoding.EncodedLen(maxCertificate) {
		return nil, refuse(countBadKey, "certificate section of %d octets: want a certificate of at most %d", len(section), maxCertificate)
	}
	der = make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := decodeBase64(der, body)
	switch {
	case err != nil:
		return nil, &Error{Counter: countBadKey, Text: "certificate section", Err: err}
	case n > maxCertificate:
		return nil, refuse(countBadKey, "certificate of %d octets: want at most %d", n, maxCertificate)
	}
	return der[:n], nil
}

// appendBase64 appends src in lines of the given width, without a last newline.
func appendBase64(dst, src []byte, columns int) []byte {
	start := len(dst)
	dst = base64.StdEncoding.AppendEncode(dst, src)
	text := len(dst) - start
	breaks := max(0, (text-1)/columns)
	dst = append(dst, make([]byte, breaks)...)
	line := dst[start:]
	// From the back, each line moves right by the breaks before it.
	for ; breaks > 0; breaks-- {
		copy(line[breaks*(columns+1):], line[breaks*columns:min(text, (breaks+1)*columns)])
		line[breaks*(columns+1)-1] = '\n'
	}
	return dst
}

// strictBase64 refuses wrong padding and last bits that are not zero.
var strictBase64 = base64.StdEncoding.Strict()

// decodeBase64 decodes src, in which a line feed may stand anywhere.
func decodeBase64(dst, src []byte) (int, error) {
	// The library would skip a CR, which the protocol forbids.
	if i := bytes.IndexByte(src, '\r'); i >= 0 {
		return 0, fmt.Errorf("CR at octet %d: want LF", i)
	}
	return strictBase64.Decode(dst, src)
}
