package scamp_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

func samplePair(t testing.TB) *scamp.KeyPair {
	t.Helper()
	k, err := scamp.ParseKeyPair(fixtures.Bytes("keys/sample.crt.pem"), fixtures.Bytes("keys/sample.key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestParseKeyPairTakes(t *testing.T) {
	cert, key := fixtures.Bytes("keys/sample.crt.pem"), fixtures.Bytes("keys/sample.key.pem")
	pkcs1 := encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(samplePair(t).Key.(*rsa.PrivateKey)))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, []byte("\n")) }
	for _, tt := range []struct {
		name      string
		cert, key []byte
	}{
		{"PKCS 8", cert, key},
		{"PKCS 1", cert, pkcs1},
		{"CR LF", bytes.ReplaceAll(cert, []byte("\n"), []byte("\r\n")), bytes.ReplaceAll(key, []byte("\n"), []byte("\r\n"))},
		{"text before", join([]byte("Certificate:\n  Data: ..."), cert), join([]byte("the key of web"), key)},
		{"both in one file", join(key, cert), join(key, cert)},
		{"certificate first", join(cert, key), join(cert, pkcs1)},
		{"a chain behind", join(cert, fixtures.Bytes("keys/other.crt.pem")), key},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := scamp.ParseKeyPair(tt.cert, tt.key)
			if err != nil {
				t.Fatal(err)
			}
			const want = "41:A2:0E:D5:19:8E:AF:A1:E1:7F:80:FC:4C:3E:9B:02:17:EE:86:4A"
			if k.Certificate.Fingerprint != want {
				t.Errorf("fingerprint %s, want %s", k.Certificate.Fingerprint, want)
			}
			sum := sha256.Sum256([]byte("text"))
			sig, err := k.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			if err := rsa.VerifyPKCS1v15(k.Certificate.Key(), crypto.SHA256, sum[:], sig); err != nil {
				t.Errorf("its signature: %v", err)
			}
			if err := k.CheckPrivate(); err != nil {
				t.Errorf("CheckPrivate of a pair from memory: %v, want nil", err)
			}
		})
	}
}

func TestParseKeyPairRefuses(t *testing.T) {
	cert, key := fixtures.Bytes("keys/sample.crt.pem"), fixtures.Bytes("keys/sample.key.pem")
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, edKey := must2(ed25519.GenerateKey(rand.Reader))
	ecTemplate := &x509.Certificate{SerialNumber: must(rand.Int(rand.Reader, samplePair(t).Certificate.Key().N)), NotAfter: time.Now()}
	ecCert := encodePEM("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, ecTemplate, ecTemplate, ecKey.Public(), ecKey)))
	ecSEC1 := encodePEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey)))
	oldEncrypted := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"

	for _, tt := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"another's key", cert, fixtures.Bytes("keys/other.key.pem"), "do not belong together: want the key that 41:A2:"},
		{"EC in PKCS 8", cert, encodePEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ecKey))), "an ECDSA key (P-256): want RSA"},
		{"Ed25519", cert, encodePEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey))), "an Ed25519 key: want RSA"},
		{"EC", cert, ecSEC1, `"EC PRIVATE KEY": want RSA`},
		{"EC with parameters", cert, append(encodePEM("EC PARAMETERS", []byte{6, 0}), ecSEC1...), `"EC PRIVATE KEY": want RSA`},
		{"DSA", cert, encodePEM("DSA PRIVATE KEY", []byte{48, 0}), `"DSA PRIVATE KEY": want RSA`},
		{"OpenSSH", cert, encodePEM("OPENSSH PRIVATE KEY", []byte("x")), "ssh-keygen -p -m PEM"},
		{"encrypted", cert, encodePEM("ENCRYPTED PRIVATE KEY", []byte{48, 0}), "encrypted: want it without a pass phrase"},
		{"encrypted in the old way", cert, []byte(oldEncrypted), "encrypted: want it without a pass phrase"},
		{"PKCS 8 that is none", cert, encodePEM("PRIVATE KEY", []byte("junk")), "private key: PRIVATE KEY: "},
		{"PKCS 1 that is none", cert, encodePEM("RSA PRIVATE KEY", []byte("junk")), "private key: RSA PRIVATE KEY: "},
		{"public key", cert, encodePEM("PUBLIC KEY", []byte{48, 0}), "holds a public key"},
		{"certificate for a key", cert, cert, "private key: it holds a certificate"},
		{"something else for a key", cert, encodePEM("DH PARAMETERS", nil), `it holds "DH PARAMETERS"`},
		{"no PEM for a key", cert, []byte("0"), "private key: no PEM block"},
		{"empty key", cert, nil, "private key: no PEM block"},
		{"key for a certificate", key, key, "certificate: it holds a private key (PRIVATE KEY)"},
		{"no PEM for a certificate", []byte("0"), key, "certificate: no PEM block"},
		{"request for a certificate", encodePEM("CERTIFICATE REQUEST", nil), key, "CERTIFICATE"},
		{"certificate that is none", encodePEM("CERTIFICATE", []byte("junk")), key, "certificate: discovery:"},
		{"EC certificate", ecCert, key, "its key is not RSA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := scamp.ParseKeyPair(tt.cert, tt.key)
			if err == nil || !strings.HasPrefix(err.Error(), "scamp: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

func TestLoadKeyPair(t *testing.T) {
	dir := t.TempDir()
	cert := writeFile(t, dir, "web.crt", string(fixtures.Bytes("keys/sample.crt.pem")))
	key := writeFile(t, dir, "web.key", string(fixtures.Bytes("keys/sample.key.pem")))
	other := writeFile(t, dir, "other.key", string(fixtures.Bytes("keys/other.key.pem")))
	large := writeFile(t, dir, "large", strings.Repeat("\n", 1<<20+1))
	missing := filepath.Join(dir, "missing")

	for _, tt := range []struct{ cert, key, want string }{
		{cert, missing, missing},
		{missing, key, missing},
		{cert, other, other + " and certificate " + cert},
		{key, cert, "certificate " + key + ": it holds a private key"},
		{cert, cert, "private key " + cert + ": it holds a certificate"},
		{large, key, large + ": more than 1048576 octets"},
		{cert, large, large + ": more than 1048576 octets"},
		{cert, dir, dir},
	} {
		if _, err := scamp.LoadKeyPair(tt.cert, tt.key); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("LoadKeyPair(%q, %q): error %v, want one with %q", tt.cert, tt.key, err, tt.want)
		}
	}
}

// TestCheckPrivate is X5 of THREATS: a key that everybody can read is named, with the
// cure.
func TestCheckPrivate(t *testing.T) {
	dir := t.TempDir()
	cert := writeFile(t, dir, "web.crt", string(fixtures.Bytes("keys/sample.crt.pem")))
	key := writeFile(t, dir, "web.key", string(fixtures.Bytes("keys/sample.key.pem")))
	for _, tt := range []struct {
		mode os.FileMode
		want string
	}{
		{0o600, "<nil>"},
		{0o400, "<nil>"},
		{0o640, "<nil>"},
		{0o644, "scamp: private key " + key + ": everybody can read it: want chmod 600 " + key + ", or tls.allow_readable_key = 1"},
		{0o604, "everybody can read it"},
		{0o602, "everybody can write it: want chmod 600 " + key},
	} {
		if err := os.Chmod(key, tt.mode); err != nil {
			t.Fatal(err)
		}
		k, err := scamp.LoadKeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(k.CheckPrivate()); !strings.Contains(got, tt.want) {
			t.Errorf("mode %o: %s, want %s", tt.mode, got, tt.want)
		}
	}
}

func TestGenerateKeyPair(t *testing.T) {
	k, err := scamp.GenerateKeyPair("web front", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Certificate.Bits(); got != 2048 {
		t.Errorf("%d bits, want 2048", got)
	}
	leaf, err := x509.ParseCertificate(k.Certificate.DER)
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Subject.CommonName != "web front" || leaf.SignatureAlgorithm != x509.SHA256WithRSA {
		t.Errorf("certificate of %q signed with %v, want web front and SHA256-RSA", leaf.Subject.CommonName, leaf.SignatureAlgorithm)
	}
	if err := leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
		t.Errorf("not signed by itself: %v", err)
	}
	now := time.Now()
	if !leaf.NotBefore.Before(now) || leaf.NotAfter.Before(now.AddDate(19, 11, 0)) || leaf.NotAfter.After(now.AddDate(20, 1, 0)) {
		t.Errorf("valid from %v to %v, want now to in 20 years", leaf.NotBefore, leaf.NotAfter)
	}
	if err := k.Certificate.CheckKey(scamp.Limits{}.Discovery); err != nil {
		t.Errorf("peers refuse it: %v", err)
	}

	keyPEM, err := k.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := scamp.ParseKeyPair(k.CertificatePEM(), keyPEM)
	if err != nil {
		t.Fatalf("what it writes it does not read: %v", err)
	}
	if !bytes.Equal(again.Certificate.DER, k.Certificate.DER) || !k.Key.(*rsa.PrivateKey).Equal(again.Key) {
		t.Error("read again it is another pair")
	}
	if text := k.CertificatePEM(); !bytes.HasSuffix(text, []byte("-----END CERTIFICATE-----\n")) {
		t.Errorf("certificate PEM ends in %q", text[len(text)-30:])
	}
	other, err := scamp.GenerateKeyPair("web front", 2048)
	if err != nil {
		t.Fatal(err)
	}
	if other.Certificate.SHA256 == k.Certificate.SHA256 {
		t.Error("two pairs are equal")
	}
	// A certificate for a key that is there.
	text, err := k.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	third, err := scamp.CertifyKey("web front", text)
	if err != nil || third.Certificate.SHA256 == k.Certificate.SHA256 || !third.Certificate.Key().Equal(k.Certificate.Key()) {
		t.Errorf("CertifyKey: %v, want another certificate of the same key", err)
	}
	if _, err := scamp.CertifyKey("web front", k.CertificatePEM()); err == nil || !strings.Contains(err.Error(), "want BEGIN PRIVATE KEY") {
		t.Errorf("CertifyKey of a certificate: error %v, want one that says so", err)
	}
	for _, bits := range []int{-1, 1, 1024, 2047, 4097, 1 << 20} {
		if _, err := scamp.GenerateKeyPair("x", bits); err == nil || !strings.Contains(err.Error(), "want 2048 to 4096") {
			t.Errorf("%d bits: error %v, want a refusal", bits, err)
		}
	}
}

// FuzzKeyPair: what is accepted belongs together and reads the same when written again.
func FuzzKeyPair(f *testing.F) {
	cert, key := fixtures.Bytes("keys/sample.crt.pem"), fixtures.Bytes("keys/sample.key.pem")
	f.Add(cert, key)
	f.Add(key, cert)
	f.Add(append(cert, key...), append(key, cert...))
	f.Add(cert, fixtures.Bytes("keys/other.key.pem"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		k, err := scamp.ParseKeyPair(cert, key)
		if err != nil {
			return
		}
		keyPEM, err := k.KeyPEM()
		if err != nil {
			t.Fatalf("%q and %q: accepted, then KeyPEM: %v", cert, key, err)
		}
		again, err := scamp.ParseKeyPair(k.CertificatePEM(), keyPEM)
		if err != nil || again.Certificate.SHA256 != k.Certificate.SHA256 || !again.Certificate.Key().Equal(k.Key.Public()) {
			t.Errorf("%q and %q: accepted, written again they read as %+v, %v", cert, key, again, err)
		}
	})
}

// TestKeyPairInTLS makes a handshake and sees the announced certificate, alone.
func TestKeyPairInTLS(t *testing.T) {
	k := samplePair(t)
	near, far := net.Pipe()
	defer near.Close()
	served := make(chan error, 1)
	go func() { // ends with the handshake, or when near is closed
		served <- tls.Server(far, &tls.Config{
			Certificates:           []tls.Certificate{k.TLS()},
			SessionTicketsDisabled: true, // nobody would read one
		}).Handshake()
	}()
	client := tls.Client(near, &tls.Config{
		InsecureSkipVerify: true, // the comparison below is the verification
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) != 1 || !bytes.Equal(s.PeerCertificates[0].Raw, k.Certificate.DER) {
				return fmt.Errorf("%d certificates, want exactly ours", len(s.PeerCertificates))
			}
			return nil
		},
	})
	if err := client.Handshake(); err != nil {
		t.Error(err)
		near.Close()
	}
	if err := <-served; err != nil {
		t.Errorf("service: %v", err)
	}
}

// A key can be read without its certificate, to see whether they belong together.
func TestParseKeyAlone(t *testing.T) {
	pair, err := scamp.GenerateKeyPair("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pair.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if key, err := scamp.ParseKey(text); err != nil || !key.PublicKey.Equal(pair.Certificate.Key()) {
		t.Errorf("ParseKey: %v, want the key of the pair", err)
	}
	if _, err := scamp.ParseKey(pair.CertificatePEM()); err == nil || !strings.Contains(err.Error(), "it holds a certificate") {
		t.Errorf("ParseKey of a certificate: %v, want it to say so", err)
	}
}
