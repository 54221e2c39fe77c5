package scamp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// An Identity says which certificate a peer must show (PROTOCOL 6.2). The strongest
// field that is set counts.
type Identity struct {
	Certificate *discovery.Certificate // compared octet for octet
	SHA256      string                 // 64 hex digits, colons allowed
	Fingerprint string                 // SHA-1 in the form AA:BB:…; only for peers that nothing better is known of
	Anyone      bool                   // trust whoever answers: for diagnosis on a network you own
}

// identityOf is the Identity of an announced instance.
func identityOf(r discovery.Route) Identity { return Identity{Certificate: r.Certificate} }

func (id Identity) check() error {
	if id.Certificate != nil || id.SHA256 != "" || id.Fingerprint != "" || id.Anyone {
		return nil
	}
	return errors.New("scamp: dial: no identity given; want a certificate or fingerprint to compare, or Identity.Anyone")
}

// key tells connections to different identities apart.
func (id Identity) key() string {
	switch {
	case id.Certificate != nil:
		return string(id.Certificate.SHA256[:])
	case id.SHA256 != "":
		return "sha256:" + plainHex(id.SHA256)
	case id.Fingerprint != "":
		return "sha1:" + plainHex(id.Fingerprint)
	}
	return "anyone"
}

func plainHex(s string) string { return strings.ToUpper(strings.ReplaceAll(s, ":", "")) }

// verify compares the certificate a peer shows. It runs inside the handshake, before
// anything of ours but the handshake itself was sent.
func (id Identity) verify(addr string, shown [][]byte) error {
	if id.Anyone {
		return nil
	}
	pin := &PinError{Address: addr}
	var der []byte
	if len(shown) > 0 {
		der = shown[0]
		pin.Got = discovery.Fingerprint(der)
	}
	switch {
	case id.Certificate != nil:
		pin.Want = id.Certificate.Fingerprint
		if der != nil && bytes.Equal(der, id.Certificate.DER) {
			return nil
		}
	case id.SHA256 != "":
		sum := sha256.Sum256(der)
		pin.Want = id.SHA256
		if der != nil && fmt.Sprintf("%X", sum) == plainHex(id.SHA256) {
			return nil
		}
	default:
		pin.Want = id.Fingerprint
		if der != nil && plainHex(pin.Got) == plainHex(id.Fingerprint) {
			return nil
		}
	}
	return pin
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
		var shown [][]byte
		for _, c := range s.PeerCertificates {
			shown = append(shown, c.Raw)
		}
		return id.verify(addr, shown)
	}
	if own != nil {
		pair := own.TLS()
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return t
}

// serverTLS is the configuration of a service: it asks for a client certificate, so
// that the caller has a name, and takes callers without one.
func serverTLS(cfg *Config, own *KeyPair) *tls.Config {
	t := tlsConfig(cfg)
	t.Certificates = []tls.Certificate{own.TLS()}
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

// tlsAdvice says what would cure a handshake that failed, if we know.
func tlsAdvice(err error) string {
	var alert tls.AlertError
	if errors.As(err, &alert) && alert == 40 || err != nil && strings.Contains(err.Error(), "no cipher suite supported") {
		return "if the service has no ECDHE, set tls.legacy_rsa = 1"
	}
	if errors.As(err, &alert) && alert == 70 {
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
		raw.Control(func(fd uintptr) { setUserTimeout(int(fd), limits.UserTimeout/time.Millisecond) })
	}
}
