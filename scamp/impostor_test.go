package scamp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// pairLike is a key pair with a certificate made from template.
func pairLike(t testing.TB, template *x509.Certificate) (tls.Certificate, *discovery.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := discovery.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, c
}

func plainTemplate(name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0)}
}

// An impostor accepts TCP connections and shows a certificate of its own. It counts
// the octets it gets after the handshake: what TLS would have kept from others.
type impostor struct {
	l      net.Listener
	octets atomic.Int64
	shakes atomic.Int64
	conns  sync.WaitGroup
}

func newImpostor(t testing.TB, cfg *tls.Config) *impostor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	im := &impostor{l: l}
	im.conns.Go(func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			im.conns.Go(func() { im.listen(tls.Server(c, cfg)) }) // ends with the connection
		}
	})
	t.Cleanup(func() { l.Close(); im.conns.Wait() })
	return im
}

func (im *impostor) listen(c *tls.Conn) {
	defer c.Close()
	if c.Handshake() == nil {
		im.shakes.Add(1)
	}
	n, _ := io.Copy(io.Discard, c)
	im.octets.Add(n)
}
