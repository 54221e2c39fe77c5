package discovery_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// mustKey returns a private key of the fixtures: "sample" or "other".
func mustKey(name string) *rsa.PrivateKey {
	block, _ := pem.Decode(fixtures.Bytes("keys/" + name + ".key.pem"))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	return key.(*rsa.PrivateKey)
}

// mustCertificate returns the certificate of that key.
func mustCertificate(name string) *discovery.Certificate {
	c, err := discovery.ParseCertificatePEM(fixtures.Bytes("keys/" + name + ".crt.pem"))
	if err != nil {
		panic(err)
	}
	return c
}

// fingerprintOnly returns a certificate that has nothing but a fingerprint, as
// the rules of the fixtures name them.
func fingerprintOnly(fingerprint string) *discovery.Certificate {
	return &discovery.Certificate{Fingerprint: fingerprint}
}

// signJSON returns the packet text for any JSON, valid or not, with a good
// signature: what only a rogue service would sign.
func signJSON(json string) []byte {
	return textOf(json, mustSign(mustKey("sample"), []byte(json)))
}

func mustSign(key crypto.Signer, octets []byte) []byte {
	h := crypto.SHA256.New()
	h.Write(octets)
	signature, err := key.Sign(nil, h.Sum(nil), crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return signature
}

// unsigned returns the packet text for any JSON with the signature of another:
// for everything that is judged without it.
func unsigned(json string) []byte { return textOf(json, make([]byte, 256)) }

func textOf(json string, signature []byte) []byte {
	var b bytes.Buffer
	b.WriteString(json + "\n\n")
	b.Write(bytes.TrimSpace(fixtures.Bytes("keys/sample.crt.pem")))
	b.WriteString("\n\n")
	b.WriteString(wrap(encode(signature), 76) + "\n\n")
	return b.Bytes()
}

// encode returns standard base64.
func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// wrap breaks text into lines.
func wrap(text string, columns int) string {
	var lines []string
	for ; len(text) > columns; text = text[columns:] {
		lines = append(lines, text[:columns])
	}
	return strings.Join(append(lines, text), "\n")
}

// array returns the array form with one element replaced, counted from 0.
func array(element int, text string) string {
	e := []string{`3`, `"sample:AAECAwQFBgcICQoLDA0ODxAR"`, `"main"`, `1`, `5000`, `"beepish+tls://10.0.0.5:30123"`,
		`["json"]`, `[["Sample",["echo","noauth",1]]]`, `1700000000123`}
	e[element] = text
	return "[" + strings.Join(e, ",") + "]"
}

// extended returns the array form with this extension object and no classes.
func extended(extension string) string {
	return strings.Replace(array(7, "[]"), `["json"]`, `["json",`+extension+`]`, 1)
}

// counterOf returns the counter that an error names, "" for none.
func counterOf(err error) string {
	if refusal, ok := errors.AsType[*discovery.Error](err); ok {
		return refusal.Counter
	}
	return ""
}

// names returns sector:Class.name~version of every action.
func names(a *discovery.Announcement) []string {
	var list []string
	for i := range a.Actions {
		list = append(list, fmt.Sprintf("%s:%s~%d", a.Actions[i].Sector, a.Actions[i].FullName(), a.Actions[i].Version))
	}
	return list
}

// records returns the records of a cache file as the plain split makes them.
func records(file []byte) [][]byte {
	return bytes.Split(append([]byte("\n"), file...), []byte("\n%%%\n"))[1:]
}

// reference returns a file of real production data. It is not ours to publish:
// the tests that need it run only where SCAMP_REFERENCE names its directory.
func reference(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("SCAMP_REFERENCE")
	if dir == "" {
		t.Skip("SKIPPED, NOT TESTED: real announcements: set SCAMP_REFERENCE to the directory that holds them")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cost returns the octets that f allocates and the processor time it takes, the
// least of a few calls.
func cost(f func()) (octets uint64, least time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f() // pools fill
	least = time.Hour
	for range 10 {
		start := cpuTime()
		f()
		least = min(least, cpuTime()-start)
	}
	octets = math.MaxUint64
	for range 3 { // others allocate at times
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		octets = min(octets, after.TotalAlloc-before.TotalAlloc)
	}
	return octets, least
}

// checkCost fails when f is dear. The race detector makes everything dear, so
// that resources are judged without it (THREATS 2.3).
func checkCost(t *testing.T, name string, octets uint64, most time.Duration, f func()) {
	t.Helper()
	if raceEnabled {
		return
	}
	got, least := cost(f)
	if got > octets || least > most {
		t.Errorf("%s: allocates %d octets and takes %v: want at most %d and %v", name, got, least, octets, most)
	}
}
