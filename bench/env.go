package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Env carries what every adapter shares: the certificate.
type Env struct {
	CertFile, KeyFile string
	once              sync.Once
	pair              tls.Certificate
	roots             *x509.CertPool
	err               error
}

func (e *Env) load() {
	e.once.Do(func() {
		e.pair, e.err = tls.LoadX509KeyPair(e.CertFile, e.KeyFile)
		if e.err != nil {
			return
		}
		pem, err := os.ReadFile(e.CertFile)
		if err != nil {
			e.err = err
			return
		}
		e.roots = x509.NewCertPool()
		e.roots.AppendCertsFromPEM(pem)
	})
	if e.err != nil {
		panic(e.err)
	}
}

// KeyPair is the server's certificate and key.
func (e *Env) KeyPair() tls.Certificate { e.load(); return e.pair }

// CertPEM is the server's certificate in PEM form.
func (e *Env) CertPEM() []byte { b, _ := os.ReadFile(e.CertFile); return b }

// ServerTLS is a TLS 1.3-only server configuration.
func (e *Env) ServerTLS(alpn ...string) *tls.Config {
	e.load()
	return &tls.Config{Certificates: []tls.Certificate{e.pair}, MinVersion: tls.VersionTLS13, NextProtos: alpn}
}

// ClientTLS is a TLS 1.3-only client configuration that checks the certificate.
// It has no session cache: every connection pays a full handshake.
func (e *Env) ClientTLS(alpn ...string) *tls.Config {
	e.load()
	return &tls.Config{RootCAs: e.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13, NextProtos: alpn}
}

func writeCert(dir, kind string) (*Env, error) {
	var key any
	var pub any
	switch kind {
	case "rsa":
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		key, pub = k, &k.PublicKey
	case "ecdsa":
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		key, pub = k, &k.PublicKey
	default:
		return nil, fmt.Errorf("key type %q: want rsa or ecdsa", kind)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, pub, key)
	if err != nil {
		return nil, err
	}
	kder, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	e := &Env{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	if err := os.WriteFile(e.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	return e, os.WriteFile(e.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder}), 0o600)
}
