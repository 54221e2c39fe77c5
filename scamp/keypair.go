package scamp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"runtime"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A KeyPair is what a service proves its identity with: a certificate, and the RSA
// key that signs its announcements and its TLS handshakes (PROTOCOL 6.1). It is not
// changed once made and is safe for concurrent use.
type KeyPair struct {
	Certificate *discovery.Certificate
	Key         crypto.Signer // the private key; never logged or printed

	file string // of the private key
	open string // what everybody can do with that file; see KeyOpenTo
}

const maxPEMFile = 1 << 20 // octets

// LoadKeyPair reads a key pair from two PEM files, which may be the same. A key file
// that everybody can read is loaded; CheckPrivate tells.
func LoadKeyPair(certFile, keyFile string) (*KeyPair, error) {
	certPEM, _, err := readPEM(certFile)
	if err != nil {
		return nil, fmt.Errorf("scamp: certificate: %w", err)
	}
	keyPEM, mode, err := readPEM(keyFile)
	if err != nil {
		return nil, fmt.Errorf("scamp: private key: %w", err)
	}
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("scamp: certificate %s: %w", certFile, err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("scamp: private key %s: %w", keyFile, err)
	}
	k, err := newKeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("scamp: private key %s and certificate %s: %w", keyFile, certFile, err)
	}
	k.file = keyFile
	k.open, _ = KeyOpenTo(mode)
	return k, nil
}

// readPEM reads one file and returns its mode as it was when it was read.
func readPEM(path string) ([]byte, fs.FileMode, error) {
	text, info, err := discovery.ReadFile(path, maxPEMFile)
	if err != nil {
		return nil, 0, err
	}
	return text, info.Mode(), nil
}

// ParseKeyPair reads a key pair from PEM: the first certificate, and the first
// private key, RSA in PKCS #1 or PKCS #8. Other blocks and text around them are
// passed over.
func ParseKeyPair(certPEM, keyPEM []byte) (*KeyPair, error) {
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("scamp: certificate: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("scamp: private key: %w", err)
	}
	k, err := newKeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("scamp: private key and certificate: %w", err)
	}
	return k, nil
}

// ParseKey reads the first private key in PEM, as ParseKeyPair does, without a
// certificate to go with it.
func ParseKey(keyPEM []byte) (*rsa.PrivateKey, error) {
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("scamp: private key: %w", err)
	}
	return key, nil
}

// newKeyPair joins a certificate with its key.
func newKeyPair(cert *discovery.Certificate, key *rsa.PrivateKey) (*KeyPair, error) {
	if public := cert.Key(); public == nil || !key.PublicKey.Equal(public) {
		return nil, fmt.Errorf("they do not belong together: want the key that %s was made with", cert.Fingerprint)
	}
	return &KeyPair{Certificate: cert, Key: key}, nil
}

func parseCertificate(text []byte) (*discovery.Certificate, error) {
	types := pemTypes(text)
	switch kind := firstWith(types, "PRIVATE KEY"); {
	case len(types) == 0:
		return nil, errors.New("no PEM block: want BEGIN CERTIFICATE")
	case firstWith(types, "CERTIFICATE") == "" && kind != "":
		return nil, fmt.Errorf("it holds a private key (%s): want BEGIN CERTIFICATE", kind)
	}
	cert, err := discovery.ParseCertificatePEM(text)
	if err != nil {
		return nil, err
	}
	if cert.Key() == nil {
		return nil, errors.New("its key is not RSA: want RSA, announcements are signed with nothing else")
	}
	return cert, nil
}

// parseKey returns the first private key in text, or says what is there instead.
func parseKey(text []byte) (*rsa.PrivateKey, error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return parseKeyBlock(block)
		}
	}
	types := pemTypes(text)
	switch {
	case len(types) == 0:
		return nil, errors.New("no PEM block: want BEGIN PRIVATE KEY")
	case firstWith(types, "CERTIFICATE") != "":
		return nil, errors.New("it holds a certificate: want BEGIN PRIVATE KEY")
	case firstWith(types, "PUBLIC KEY") != "":
		return nil, errors.New("it holds a public key: want BEGIN PRIVATE KEY")
	}
	return nil, fmt.Errorf("it holds %s: want BEGIN PRIVATE KEY", quoteText(types[0]))
}

func parseKeyBlock(block *pem.Block) (*rsa.PrivateKey, error) {
	const want = "want RSA, announcements are signed with nothing else"
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errors.New("it is encrypted: want it without a pass phrase (openssl pkey -in KEY -out NEWKEY)")
	case block.Type == "RSA PRIVATE KEY":
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("RSA PRIVATE KEY: %w", err)
		}
		return key, nil
	case block.Type == "OPENSSH PRIVATE KEY":
		return nil, errors.New("it is in the form of OpenSSH: want PEM (ssh-keygen -p -m PEM -f KEY)")
	case block.Type != "PRIVATE KEY":
		return nil, fmt.Errorf("it holds %s: %s", quoteText(block.Type), want)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("PRIVATE KEY: %w: %s", err, want)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return nil, fmt.Errorf("it is an ECDSA key (%s): %s", key.Params().Name, want)
	case ed25519.PrivateKey:
		return nil, fmt.Errorf("it is an Ed25519 key: %s", want)
	}
	return nil, fmt.Errorf("it is a key of type %T: %s", key, want)
}

// pemTypes returns the types of all PEM blocks in text.
func pemTypes(text []byte) []string {
	var types []string
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return types
		}
		types = append(types, block.Type)
	}
}

func firstWith(types []string, suffix string) string {
	for _, t := range types {
		if strings.HasSuffix(t, suffix) {
			return t
		}
	}
	return ""
}

// GenerateKeyPair makes an RSA key of bits, zero means 2048, and a certificate for it
// that it signs itself, valid for 20 years. 2048 is what lets an announcement fit one
// datagram (PROTOCOL 6.3).
func GenerateKeyPair(commonName string, bits int) (*KeyPair, error) {
	setDefault(&bits, 2048)
	if bits < 2048 || bits > 4096 {
		return nil, fmt.Errorf("scamp: RSA key of %d bits: want 2048 to 4096", bits)
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("scamp: new key: %w", err)
	}
	return certify(commonName, key)
}

// CertifyKey makes a certificate as GenerateKeyPair does, for a private key that is there
// in PEM. It is another one each time, with another fingerprint.
func CertifyKey(commonName string, keyPEM []byte) (*KeyPair, error) {
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("scamp: private key: %w", err)
	}
	return certify(commonName, key)
}

// certify makes a certificate that key signs itself.
func certify(commonName string, key *rsa.PrivateKey) (*KeyPair, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("scamp: new certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:       serial.Add(serial, big.NewInt(1)),
		Subject:            pkix.Name{CommonName: commonName},
		NotBefore:          now.Add(-24 * time.Hour), // clocks differ
		NotAfter:           now.AddDate(20, 0, 0),
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("scamp: new certificate: %w", err)
	}
	cert, err := discovery.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("scamp: new certificate: %w", err)
	}
	return newKeyPair(cert, key)
}

// TLS returns the pair as crypto/tls wants it: the leaf alone, since no peer looks at
// a chain.
func (k *KeyPair) TLS() tls.Certificate {
	// Parsed here so that handshakes need not; crypto/tls can do with nil.
	leaf, _ := x509.ParseCertificate(k.Certificate.DER)
	return tls.Certificate{Certificate: [][]byte{k.Certificate.DER}, PrivateKey: k.Key, Leaf: leaf}
}

// CertificatePEM returns the certificate as a file has it, with a last newline.
func (k *KeyPair) CertificatePEM() []byte { return append(k.Certificate.PEM(), '\n') }

// KeyPEM returns the private key as a file has it, in PKCS #8. Write it with mode
// 0600 and keep it out of logs.
func (k *KeyPair) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Key)
	if err != nil {
		return nil, fmt.Errorf("scamp: private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// KeyOpenTo says whom the mode of a private key's file lets at it, beside its owner:
// what everybody on this host can do, "read", "write" or "" for nothing, which is a
// mistake; and whether its group can do either, which may be meant so.
func KeyOpenTo(mode fs.FileMode) (everybody string, group bool) {
	if runtime.GOOS == "windows" { // where these bits mean nothing
		return "", false
	}
	switch bits := mode.Perm(); {
	case bits&0o004 != 0:
		everybody = "read"
	case bits&0o002 != 0:
		everybody = "write"
	}
	return everybody, mode.Perm()&0o060 != 0
}

// CheckPrivate returns an error that names the key file and the cure if everybody on
// this host could read or write the private key when it was loaded, else nil. Services refuse
// such a key unless tls.allow_readable_key is 1; tools warn.
func (k *KeyPair) CheckPrivate() error {
	if k.open == "" {
		return nil
	}
	return fmt.Errorf("scamp: private key %s: everybody can %s it: want chmod 600 %[1]s, or tls.allow_readable_key = 1", k.file, k.open)
}
