package command_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/command"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// Provision keeps an expired pair and says how to make a new one; serve tells of it once.
func TestExpiredPair(t *testing.T) {
	dir := t.TempDir()
	key, err := scamp.ParseKey(fixtures.Bytes("sample.key"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	shape := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: began, NotAfter: began.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, shape, shape, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		args = append([]string{"--config", filepath.Join(dir, "soa.conf")}, args...)
		if code := command.Run(args, strings.NewReader(""), &out, &errs, func(string) string { return "" }); code != 0 {
			t.Fatalf("scamp %q: exit code %d: %s", args, code, &errs)
		}
		return errs.String()
	}
	run("init", "--dir", dir)
	pair := filepath.Join(dir, "services", "old")
	for path, text := range map[string][]byte{pair + ".key": fixtures.Bytes("sample.key"), pair + ".crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"expired on 2021-01-01", "works on", "move " + pair + ".crt and old.key away and run provision again", "take line "} {
		if said := run("provision", "old", "main:old"); !strings.Contains(said, want) {
			t.Errorf("provision with an expired pair says %q, want %q in it", said, want)
		}
	}
	if said := run("serve", "old", "--listen", "127.0.0.1:0", "--timeout", "1ms"); strings.Count(said, "has expired") != 1 {
		t.Errorf("serve with an expired pair says %q, want once that it has expired", said)
	}
}
