package conform_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
)

// oddTLS gives the faults of the toy's handshake to its settings.
func (y *toy) oddTLS(c *tls.Config) *tls.Config {
	switch {
	case y.has("wants a client certificate"):
		c.ClientAuth = tls.RequireAnyClientCert
	case y.has("checks client certificates"):
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case y.has("wants ALPN"):
		c.NextProtos = []string{"toy"}
	case y.has("changes its certificate"):
		c.Certificates = []tls.Certificate{ecCertificate()}
	case y.has("speaks TLS 1.3 alone"):
		c.MinVersion = tls.VersionTLS13
	case y.has("speaks TLS 1.2 alone"):
		c.MaxVersion = tls.VersionTLS12
	case y.has("speaks TLS 1.0"):
		c.MinVersion = tls.VersionTLS10
	case y.has("speaks RC4"):
		c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_RC4_128_SHA}
	case y.has("speaks RSA key exchange alone"):
		c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	case y.has("issues tickets"):
		c = y.tls.Clone()
		c.SessionTicketsDisabled = false
		c.SetSessionTicketKeys([][32]byte{{1}})
	}
	return c
}

// ecCertificate is a certificate whose key is not RSA.
func ecCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(2)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
