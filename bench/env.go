package bench

import (
	"crypto"
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
	"time"
)

// An Env is what all adapters share: the server's certificate. It is not changed
// once made and is safe for concurrent use.
type Env struct {
	CertFile, KeyFile string

	certPEM []byte
	pair    tls.Certificate
	roots   *x509.CertPool
}

// NewEnv reads the certificate and key of the server from PEM files.
func NewEnv(certFile, keyFile string) (*Env, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	e := &Env{CertFile: certFile, KeyFile: keyFile, certPEM: certPEM, pair: pair, roots: x509.NewCertPool()}
	e.roots.AppendCertsFromPEM(certPEM)
	return e, nil
}

// MakeEnv makes a certificate and a key, rsa (2048 bits) or ecdsa (P-256), in dir.
func MakeEnv(dir, kind string) (*Env, error) {
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := writePEM(certFile, "CERTIFICATE", cert); err != nil {
		return nil, err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", pkcs8); err != nil {
		return nil, err
	}
	return NewEnv(certFile, keyFile)
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("bench: key %q: want rsa or ecdsa", kind)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// CertPEM is the server's certificate. It must not be changed.
func (e *Env) CertPEM() []byte { return e.certPEM }

// ServerTLS is a server configuration for TLS 1.3 only.
func (e *Env) ServerTLS(alpn ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{e.pair}, MinVersion: tls.VersionTLS13, NextProtos: alpn}
}

// ClientTLS is a client configuration for TLS 1.3 only that checks the certificate.
// It has no session cache: every connection pays a full handshake.
func (e *Env) ClientTLS(alpn ...string) *tls.Config {
	return &tls.Config{RootCAs: e.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13, NextProtos: alpn}
}
