package scamp

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TicketKeys are the public keys that tickets are verified with: usually one, and two
// while a new one takes the place of an old one. They do not change and are safe for
// concurrent use. Nil verifies nothing.
type TicketKeys struct{ keys []*rsa.PublicKey }

// NewTicketKeys returns keys that are at hand.
func NewTicketKeys(keys ...*rsa.PublicKey) *TicketKeys { return &TicketKeys{slices.Clone(keys)} }

// maxTicketKeys bounds what each bad ticket can cost. It needs no setting: the file is the
// operator's own, holds one key, or two while they change, and is refused with more.
const maxTicketKeys = 8

// ParseTicketKeys reads the PUBLIC KEY blocks of a PEM text. A key has 2048 to 8192
// bits, from 1024 on if Limits.Discovery.MinRSABits (tls.min_rsa_bits) says so. Nil
// limits are the defaults. A block that is damaged makes the whole text unusable: the key
// that it held would be missed by nobody but those whose tickets it verifies.
func ParseTicketKeys(text []byte, limits *Limits) (*TicketKeys, error) {
	if limits == nil {
		limits = new(Limits)
	}
	least := limits.Discovery.WithDefaults().MinRSABits
	k := new(TicketKeys)
	var others []string
	begun, ended, blocks := bytes.Count(text, []byte("-BEGIN ")), bytes.Count(text, []byte("-END ")), 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		blocks++
		if block.Type != "PUBLIC KEY" {
			others = append(others, block.Type)
			continue
		}
		key, err := parseTicketKey(block.Bytes, least)
		if err != nil {
			return nil, fmt.Errorf("scamp: ticket key: %w", err)
		}
		k.keys = append(k.keys, key)
		if len(k.keys) > maxTicketKeys {
			return nil, fmt.Errorf("scamp: ticket key: more than %d keys: want one, or two while one takes the place of the other", maxTicketKeys)
		}
	}
	switch {
	case begun != blocks || ended != blocks:
		return nil, fmt.Errorf("scamp: ticket key: %d PEM blocks are whole of %d: want each with all its lines, BEGIN and END", blocks, max(begun, ended))
	case len(k.keys) > 0:
		return k, nil
	case slices.ContainsFunc(others, func(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") }):
		return nil, errors.New("scamp: ticket key: it holds a private key, which only the issuer of tickets should have: want BEGIN PUBLIC KEY (openssl pkey -pubout)")
	case len(others) > 0:
		return nil, fmt.Errorf("scamp: ticket key: it holds %s: want BEGIN PUBLIC KEY", quoteText(others[0]))
	}
	return nil, errors.New("scamp: ticket key: no PEM block: want BEGIN PUBLIC KEY")
}

func parseTicketKey(der []byte, least int) (*rsa.PublicKey, error) {
	const most = 8192
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T: want RSA", parsed)
	}
	if bits := key.N.BitLen(); bits < least || bits > most {
		return nil, fmt.Errorf("RSA key of %d bits: want %d to %d", bits, least, most)
	}
	return key, nil
}

// Len is how many keys there are.
func (k *TicketKeys) Len() int {
	if k == nil {
		return 0
	}
	return len(k.keys)
}

// Verify returns what a ticket says if one of the keys signed it and it holds at now
// (PROTOCOL 10.2). The error is a *TicketError. Nil limits are the defaults.
func (k *TicketKeys) Verify(t Ticket, now time.Time, limits *Limits) (*TicketClaims, error) {
	l := new(Limits)
	if limits != nil {
		*l = *limits
	}
	*l = l.WithDefaults()
	c, err := k.read(t, l)
	if err != nil {
		return nil, err
	}
	if err := c.holds(now, l.TicketSkew); err != nil {
		return nil, err
	}
	return c, nil
}

// read returns what a ticket says whose signature is good, whatever the time.
func (k *TicketKeys) read(t Ticket, limits *Limits) (*TicketClaims, error) {
	signed, signature, err := t.split(limits)
	if err != nil {
		return nil, err
	}
	if k.Len() == 0 {
		return nil, badTicket(TicketNoKey, "no key to verify it with: want auth.ticket_verify_key to name the public key of whoever issues tickets")
	}
	if !k.signed(signed, signature) {
		return nil, badTicket(TicketUnsigned, "its signature is not by the key that tickets are verified with")
	}
	return parseClaims(string(signed), limits)
}

func (k *TicketKeys) signed(text, signature []byte) bool {
	sum := sha256.Sum256(text)
	return slices.ContainsFunc(k.keys, func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	})
}

// LoadTicketKeys reads public keys from a PEM file, as ParseTicketKeys does.
func LoadTicketKeys(path string, limits *Limits) (*TicketKeys, error) {
	text, _, err := readPEM(path)
	if err != nil {
		return nil, fmt.Errorf("scamp: ticket key: %w", err)
	}
	k, err := ParseTicketKeys(text, limits)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, path)
	}
	return k, nil
}

// LoadTicketSigner reads the private key that tickets are signed with from a PEM file.
// Everybody who can read it can be anybody.
func LoadTicketSigner(path string) (*rsa.PrivateKey, error) {
	text, mode, err := readPEM(path)
	if err != nil {
		return nil, fmt.Errorf("scamp: ticket signer: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("scamp: ticket signer %s: %w", path, err)
	}
	if everybody, _ := KeyOpenTo(mode); everybody != "" {
		return nil, fmt.Errorf("scamp: ticket signer %s: everybody can %s it: want chmod 600 %[1]s", path, everybody)
	}
	return key, nil
}
