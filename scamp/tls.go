package scamp

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
)

// An Identity says which certificate a peer must show (PROTOCOL 6.2). The strongest
// field that is set counts.
type Identity struct {
	Certificate *discovery.Certificate // compared octet for octet
	SHA256      string                 // 64 hex digits, also with colons, or after "sha256:" as in rules
	Fingerprint string                 // SHA-1 in the form AA:BB:…; only for peers that nothing better is known of
	Anyone      bool                   // trust whoever answers: for diagnosis on a network you own
}

// identityOf is the Identity of an announced instance.
func identityOf(r discovery.Route) Identity { return Identity{Certificate: r.Certificate} }

// A pin is what of an Identity is compared, in a form that tells connections apart.
type pin struct {
	kind pinKind
	sum  [sha256.Size]byte // the first 20 octets, for a SHA-1
}

type pinKind byte

const (
	pinAnyone pinKind = iota
	pinCertificate
	pinSHA256
	pinSHA1
)

// pin says what is compared, or that the Identity names nobody.
func (id Identity) pin() (pin, error) {
	switch {
	case id.Certificate != nil:
		return pin{pinCertificate, id.Certificate.SHA256}, nil
	case id.SHA256 != "":
		return hexPin(pinSHA256, strings.TrimPrefix(id.SHA256, "sha256:"), sha256.Size)
	case id.Fingerprint != "":
		return hexPin(pinSHA1, id.Fingerprint, sha1.Size)
	case id.Anyone:
		return pin{kind: pinAnyone}, nil
	}
	return pin{}, errors.New("scamp: dial: no identity given; want a certificate or fingerprint to compare, or Identity.Anyone")
}

func hexPin(kind pinKind, text string, size int) (pin, error) {
	p := pin{kind: kind}
	sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(sum) != size {
		return pin{}, fmt.Errorf("scamp: dial: identity %q: want %d hex digits, with or without colons", clean(text), 2*size)
	}
	copy(p.sum[:], sum)
	return p, nil
}

// verify compares the certificate a peer shows. It runs inside the handshake, before
// anything of ours but the handshake itself was sent.
func (id Identity) verify(addr string, shown []byte) error {
	want, err := id.pin()
	if err != nil || want.kind == pinAnyone {
		return err
	}
	no := &PinError{Address: addr}
	if len(shown) > 0 {
		no.Got = discovery.Fingerprint(shown)
	}
	same := false
	switch want.kind {
	case pinCertificate:
		no.Want = id.Certificate.Fingerprint
		same = bytes.Equal(shown, id.Certificate.DER)
	case pinSHA256:
		sum := sha256.Sum256(shown)
		no.Want, no.Got = fmt.Sprintf("sha256:%x", want.sum), fmt.Sprintf("sha256:%x", sum)
		same = sum == want.sum
	case pinSHA1:
		no.Want = strings.ReplaceAll(fmt.Sprintf("% X", want.sum[:sha1.Size]), " ", ":")
		sum := sha1.Sum(shown)
		same = bytes.Equal(sum[:], want.sum[:sha1.Size])
	}
	if same && len(shown) > 0 {
		return nil
	}
	return no
}

// tlsConfig holds what both roles share (PROTOCOL 6.3): no CA, no names, no dates,
// no resumption.
func tlsConfig(cfg *Config) *tls.Config {
	t := &tls.Config{
		MinVersion:                  cfg.TLSMinVersion,
		SessionTicketsDisabled:      true,
		ClientSessionCache:          nil,
		DynamicRecordSizingDisabled: true,
	}
	t.CipherSuites = []uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	}
	if cfg.LegacyRSA {
		t.CipherSuites = append(t.CipherSuites,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
	}
	return t
}

// clientTLS is the configuration for one dial.
func clientTLS(cfg *Config, addr string, id Identity, own *KeyPair) *tls.Config {
	t := tlsConfig(cfg)
	// The chain is not verified because nobody signs it: VerifyConnection compares
	// the whole certificate instead, and runs on every handshake.
	t.InsecureSkipVerify = true
	t.VerifyConnection = func(s tls.ConnectionState) error {
		var leaf []byte
		if len(s.PeerCertificates) > 0 {
			leaf = s.PeerCertificates[0].Raw
		}
		return id.verify(addr, leaf)
	}
	if own != nil {
		pair := own.TLS()
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return t
}

// serverTLS is the configuration of a service: it asks for a client certificate, so
// that the caller has a name, and takes callers without one. Operations with its key
// take turns.
func serverTLS(cfg *Config, own *KeyPair, turns chan struct{}) *tls.Config {
	t := tlsConfig(cfg)
	pair := own.TLS()
	pair.PrivateKey = newTurnKey(own.Key, turns)
	t.Certificates = []tls.Certificate{pair}
	t.ClientAuth = tls.RequestClientCert
	return t
}

// handshake runs the client side over conn, which it closes on failure.
func handshake(ctx context.Context, conn net.Conn, t *tls.Config) (*tls.Conn, error) {
	c := tls.Client(conn, t)
	if err := c.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// tlsAdvice says what would cure a handshake that failed, if we know. What the other
// side says has no exported type, so its text must do.
func tlsAdvice(err error) string {
	var remote *net.OpError
	alert := ""
	if errors.As(err, &remote) && remote.Op == "remote error" {
		alert = remote.Err.Error()
	}
	switch {
	case alert == "tls: handshake failure", strings.Contains(err.Error(), "no cipher suite supported"):
		return "if the service has no ECDHE, set tls.legacy_rsa = 1"
	case alert == "tls: protocol version not supported", strings.Contains(err.Error(), "unsupported protocol version"):
		return "the service and tls.min_version have no TLS version in common"
	}
	return ""
}

// setTCP applies what PROTOCOL 4.7 and 6.1 ask of a TCP connection.
func setTCP(c net.Conn, limits *Limits) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	t.SetNoDelay(true)
	t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: limits.KeepAlive, Interval: limits.KeepAlive, Count: 3})
	if raw, err := t.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { tuneTCP(int(fd), limits.UserTimeout) })
	}
}
