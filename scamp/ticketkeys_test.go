package scamp_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// While a new key takes the place of an old one, both verify (issue: overlap).
func TestTicketKeysOverlap(t *testing.T) {
	key, _ := ticketKey(t)
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(next.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := slices.Concat(fixtures.Bytes("keys/ticket.pub.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	keys, err := scamp.ParseTicketKeys(text, nil)
	if err != nil || keys.Len() != 2 {
		t.Fatalf("ParseTicketKeys: %d keys, error %v, want 2", keys.Len(), err)
	}
	for _, k := range []*rsa.PrivateKey{key, next} {
		if _, err := keys.Verify(signTicket(t, k, "1,1,1,0,9000000000"), time.Now(), nil); err != nil {
			t.Errorf("Verify: %v, want both keys to do", err)
		}
	}
}

func TestParseTicketKeysSays(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKIXPublicKey(small.Public())
	good := string(fixtures.Bytes("keys/ticket.pub.pem"))
	smallPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for _, tt := range []struct {
		name string
		text []byte
		want string
	}{
		{"nothing", nil, "no PEM block"},
		{"the private key", fixtures.Bytes("keys/ticket.key.pem"), "private key, which only the issuer"},
		{"a certificate", fixtures.Bytes("keys/sample.crt.pem"), `"CERTIFICATE": want BEGIN PUBLIC KEY`},
		{"junk", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1, 2, 3}}), "scamp: ticket key: "},
		{"1024 bits", smallPEM, "1024 bits: want 2048 to 8192"},
		{"too many", []byte(strings.Repeat(string(fixtures.Bytes("keys/ticket.pub.pem"))+"\n", 9)), "more than 8 keys"},
		{"one of two cut off", []byte(good + good[:200]), "1 PEM blocks are whole of 2"},
		{"one of two without its last line", []byte(strings.Replace(good, "-----END PUBLIC KEY-----\n", "", 1) + good), "1 PEM blocks are whole of 2"},
		{"one of two without its first line", []byte(strings.Replace(good, "-----BEGIN PUBLIC KEY-----\n", "", 1) + good), "1 PEM blocks are whole of 2"},
		{"one of two mistyped", []byte(good + strings.Replace(good, "M", "!", 1)), "1 PEM blocks are whole of 2"},
	} {
		if _, err := scamp.ParseTicketKeys(tt.text, nil); !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	limits := new(scamp.Limits)
	limits.Discovery.MinRSABits = 1024
	if _, err := scamp.ParseTicketKeys(smallPEM, limits); err != nil {
		t.Errorf("1024 bits with tls.min_rsa_bits 1024: %v, want none", err)
	}
}

// publicPEM is the public key of a pair as a file has it.
func publicPEM(t testing.TB, pair *scamp.KeyPair) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pair.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
