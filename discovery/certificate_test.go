package discovery_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

func TestCertificateTellsWhatItIs(t *testing.T) {
	c := mustCertificate("sample")
	if got, want := string(c.PEM()), strings.TrimSpace(string(fixtures.Bytes("keys/sample.crt.pem"))); got != want {
		t.Errorf("PEM of the sample certificate:\n%s\nwant\n%s", got, want)
	}
	if c.Bits() != 2048 || c.Subject() != "sample scamp vector" || c.SHA256 != sha256.Sum256(c.DER) {
		t.Errorf("certificate of %d bits, subject %q, SHA-256 %x: want 2048, \"sample scamp vector\", %x",
			c.Bits(), c.Subject(), c.SHA256, sha256.Sum256(c.DER))
	}
	if from, to := c.NotBefore().Year(), c.NotAfter().Year(); from != 2020 || to != 2040 {
		t.Errorf("certificate valid from %d to %d: want 2020 to 2040", from, to)
	}
	if want := fmt.Sprintf("sha256:%x", c.SHA256); c.SHA256Text() != want {
		t.Errorf("SHA256Text: %s: want %s", c.SHA256Text(), want)
	}
	if got := discovery.Fingerprint(c.DER); got != c.Fingerprint {
		t.Errorf("Fingerprint of the DER: %s: want %s", got, c.Fingerprint)
	}
	if !c.Key().Equal(mustKey("sample").Public()) {
		t.Error("key of the sample certificate is not that of the sample key")
	}
}

// Operators keep certificates in files of many forms (PROTOCOL 7.1).
func TestParseCertificatePEMTakesFilesAsTheyAre(t *testing.T) {
	block := strings.TrimSpace(string(fixtures.Bytes("keys/sample.crt.pem")))
	key := string(fixtures.Bytes("keys/sample.key.pem"))
	for _, tt := range []struct{ name, file string }{
		{"as it is", block},
		{"newlines at the end", block + "\n\n\n"},
		{"text before", "subject: CN = sample\n\n" + block + "\n"},
		{"CR LF", strings.ReplaceAll(block, "\n", "\r\n") + "\r\n"},
		{"key before", key + block},
		{"another certificate after", block + "\n" + string(fixtures.Bytes("keys/other.crt.pem"))},
	} {
		c, err := discovery.ParseCertificatePEM([]byte(tt.file))
		if err != nil {
			t.Errorf("%s: error %v: want the sample certificate", tt.name, err)
			continue
		}
		if string(c.PEM()) != block {
			t.Errorf("%s: PEM\n%s\nwant\n%s", tt.name, c.PEM(), block)
		}
	}
	for _, file := range []string{"", "no certificate", key, block[:200], strings.Replace(block, "MIIC", "MIIB", 1)} {
		if c, err := discovery.ParseCertificatePEM([]byte(file)); err == nil {
			t.Errorf("file of %d octets: certificate %s: want an error", len(file), c.Fingerprint)
		}
	}
}

// certificateFor returns DER with any public key in it, signed with another.
func certificateFor(t testing.TB, public any) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "odd"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: "parent"}}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, mustKey("sample"))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// oddModulus returns a number of that length, which need not be a product of
// primes: no key is judged by that.
func oddModulus(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.Add(n, big.NewInt(12345))
}

func sectionOf(der []byte) string {
	return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// THREATS D14: everything but one RSA certificate of the right size.
func TestCertificateSectionRefusesOddOnes(t *testing.T) {
	sample := strings.TrimSpace(string(fixtures.Bytes("keys/sample.crt.pem")))
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := func(n *big.Int, e int) string { return sectionOf(certificateFor(t, &rsa.PublicKey{N: n, E: e})) }
	recorded := func(name string) string {
		s, err := discovery.Split(fixtures.Bytes("twins/" + name + ".record"))
		if err != nil {
			t.Fatal(err)
		}
		return string(s.PEM)
	}
	for _, tt := range []struct{ name, section, want string }{
		{"two certificates", sample + "\n" + sample, "base64"},
		{"another certificate after", sample + "\n" + strings.TrimSpace(string(fixtures.Bytes("keys/other.crt.pem"))), "base64"},
		{"a key", strings.TrimSpace(string(fixtures.Bytes("keys/sample.key.pem"))), "exactly one block"},
		{"PEM headers", strings.Replace(sample, "-----\n", "-----\nProc-Type: 4\n", 1), "base64"},
		{"text before", "text\n" + sample, "exactly one block"},
		{"line feed before", "\n" + sample, "exactly one block"},
		{"text after", sample + "text", "exactly one block"},
		{"CR LF", strings.ReplaceAll(sample, "\n", "\r\n"), "exactly one block"},
		{"CR inside", strings.Replace(sample, "BAgIC", "BAgIC\r", 1), "CR at octet"},
		{"nothing in it", "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----", "certificate"},
		{"junk in it", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "certificate"},
		{"octets after the DER", sectionOf(append(bytes.Clone(mustCertificate("sample").DER), 0)), "trailing"},
		{"cut DER", sectionOf(mustCertificate("sample").DER[:600]), "certificate"},
		{"EC", sectionOf(certificateFor(t, elliptical.Public())), "ECDSA key: want RSA"},
		{"Ed25519", sectionOf(certificateFor(t, edwards)), "Ed25519 key: want RSA"},
		{"RSA 512", recorded("rsa512"), "512 bits: want 2048 to 4096 (tls.min_rsa_bits goes down to 1024)"},
		{"RSA 1024", recorded("rsa1024"), "1024 bits: want 2048 to 4096, or tls.min_rsa_bits = 1024"},
		{"RSA 2047", key(oddModulus(2047), 65537), "2047 bits: want 2048 to 4096, or tls.min_rsa_bits = 2047"},
		{"RSA 4097", key(oddModulus(4097), 65537), "4097 bits: want 2048 to 4096"},
		{"RSA 8193", key(oddModulus(8193), 65537), "8193 bits: want 2048 to 4096"},
		{"even modulus", key(new(big.Int).Lsh(big.NewInt(1), 2047), 65537), "even modulus"},
		{"exponent 1", key(oddModulus(2048), 1), "exponent 1: want an odd one from 3 to 65537"},
		{"exponent 2", key(oddModulus(2048), 2), "exponent 2: want"},
		{"exponent 65538", key(oddModulus(2048), 65538), "exponent 65538: want"},
		{"exponent 65539", key(oddModulus(2048), 65539), "exponent 65539: want"},
		{"exponent 2^31-1", key(oddModulus(2048), 1<<31-1), "exponent 2147483647: want"},
		{"exponent 2^32+1", key(oddModulus(2048), 1<<32+1), "exponent 4294967297: want"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := discovery.Sections{PEM: []byte(tt.section)}
			_, err := s.Certificate(discovery.Limits{})
			if counterOf(err) != "announce_badkey" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("section %.80q...: error %v: want announce_badkey with %q", tt.section, err, tt.want)
			}
			checkCost(t, tt.name, 64<<10, time.Millisecond, func() { s.Certificate(discovery.Limits{}) })
		})
	}
}

func TestCheckKeyTakesTheWholeRange(t *testing.T) {
	for _, tt := range []struct {
		bits, exponent int
		limits         discovery.Limits
		ok             bool
	}{
		{2048, 65537, discovery.Limits{}, true},
		{2048, 3, discovery.Limits{}, true},
		{3072, 65537, discovery.Limits{}, true},
		{4096, 65537, discovery.Limits{}, true},
		{1024, 65537, discovery.Limits{MinRSABits: 1024}, true},
		{1536, 65537, discovery.Limits{MinRSABits: 1024}, true},
		{1023, 65537, discovery.Limits{MinRSABits: 512}, false}, // the floor has a floor
		{3072, 65537, discovery.Limits{MaxRSABits: 2048}, false},
	} {
		c, err := discovery.ParseCertificate(certificateFor(t, &rsa.PublicKey{N: oddModulus(tt.bits), E: tt.exponent}))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckKey(tt.limits); (err == nil) != tt.ok {
			t.Errorf("RSA key of %d bits, exponent %d, limits from %d: error %v: want ok %v", tt.bits, tt.exponent, tt.limits.MinRSABits, err, tt.ok)
		}
	}
}

// What is in a certificate costs time to read, so that its length is bounded.
func TestLongCertificatesAreRefused(t *testing.T) {
	long := func(names int) []byte {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
		for i := range names {
			template.Subject.Organization = append(template.Subject.Organization, fmt.Sprint(i))
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, mustKey("sample").Public(), mustKey("sample"))
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for _, tt := range []struct {
		names int
		ok    bool
	}{{0, true}, {300, true}, {400, false}, {9_000, false}} {
		der := long(tt.names)
		for _, columns := range []int{1, 64} {
			section := []byte("-----BEGIN CERTIFICATE-----\n" + wrap(encode(der), columns) + "\n-----END CERTIFICATE-----")
			read := func() error {
				_, err := discovery.Sections{PEM: section}.Certificate(discovery.Limits{})
				return err
			}
			name := fmt.Sprintf("certificate of %d octets in lines of %d", len(der), columns)
			if err := read(); (err == nil) != tt.ok || !tt.ok && counterOf(err) != "announce_badkey" {
				t.Errorf("%s: error %v: want ok %v", name, err, tt.ok)
			}
			checkCost(t, name, 256<<10, time.Millisecond, func() { read() })
		}
	}
}
