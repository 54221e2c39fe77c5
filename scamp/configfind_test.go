package scamp_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// environment is what LocateConfig asks instead of os.Getenv.
type environment map[string]string

func (e environment) get(name string) string { return e[name] }

func TestLocateConfig(t *testing.T) {
	dir, root, bare := t.TempDir(), t.TempDir(), t.TempDir()
	one, two := writeFile(t, dir, "one.conf", ""), writeFile(t, dir, "two.conf", "")
	tree := writeFile(t, dir, "tree/etc/soa.conf", "")
	third := writeFile(t, root, "etc/GTSOA/soa.conf", "")
	writeFile(t, root, "etc/GTSOA/scamp.conf", "")
	missing := filepath.Join(dir, "missing")

	for _, tt := range []struct {
		name string
		env  environment
		root string
		want string // path, or what the error has
	}{
		{"SCAMP first", environment{"SCAMP": one, "SCAMP_CONFIG": two, "GTSOA": two}, root, one},
		{"SCAMP_CONFIG second", environment{"SCAMP_CONFIG": one, "GTSOA": two}, root, one},
		{"GTSOA names a file", environment{"GTSOA": one}, root, one},
		{"GTSOA names a directory", environment{"GTSOA": filepath.Join(dir, "tree")}, root, tree},
		{"GTSOA names a directory without one", environment{"GTSOA": bare}, root, "$GTSOA"},
		{"SCAMP names nothing", environment{"SCAMP": missing, "GTSOA": two}, root, "$SCAMP:"},
		{"SCAMP_CONFIG names nothing", environment{"SCAMP_CONFIG": missing}, root, "$SCAMP_CONFIG:"},
		{"known paths", environment{}, root, third},
		{"an empty variable is none", environment{"SCAMP": ""}, root, third},
		{"SCAMP_CONFIG_DIR names no file", environment{"SCAMP_CONFIG_DIR": dir}, root, third},
		{"none at all", environment{}, bare, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, err := scamp.LocateConfigIn(tt.env.get, tt.root)
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) || tt.want[0] != '$' {
					t.Errorf("env %q: error %v, want %q", tt.env, err, tt.want)
				}
				return
			}
			if path != tt.want {
				t.Errorf("env %q: %q, want %q", tt.env, path, tt.want)
			}
		})
	}
}

func TestLocateConfigOrderOfKnownPaths(t *testing.T) {
	root := t.TempDir()
	for _, path := range []string{"etc/GTSOA/scamp.conf", "etc/GTSOA/soa.conf", "etc/SCAMP/soa.conf", "etc/scamp/scamp.conf"} {
		want := writeFile(t, root, path, "")
		if got, err := scamp.LocateConfigIn(environment{}.get, root); err != nil || got != want {
			t.Errorf("after %s was made: %q, %v, want it", path, got, err)
		}
	}
}

func TestFindConfig(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "soa.conf", "rpc.timeout = 3")
	c, err := scamp.FindConfig(environment{"SCAMP": file, "SCAMP_CONFIG_DIR": "/somewhere"}.get)
	if err != nil {
		t.Fatal(err)
	}
	if c.File != file || c.ConfigDir != "/somewhere" || c.Limits.RPCTimeout != 3*time.Second {
		t.Errorf("FindConfig gives %+v", c)
	}
	t.Setenv("SCAMP", writeFile(t, dir, "bad.conf", "rpc.timeout = x"))
	if _, err := scamp.FindConfig(nil); err == nil || !strings.Contains(err.Error(), "bad.conf:1") {
		t.Errorf("FindConfig of a bad file: error %v, want one that names its line", err)
	}
}

func TestAuthorizedPath(t *testing.T) {
	beside, shared := t.TempDir(), t.TempDir()
	file := filepath.Join(beside, "soa.conf")
	besideRules, sharedRules := filepath.Join(beside, "authorized_services"), filepath.Join(shared, "authorized_services")
	check := func(when string, c scamp.Config, want string) {
		t.Helper()
		if got := c.AuthorizedPath(); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	check("nothing known", scamp.Config{}, "")
	check("neither exists", scamp.Config{File: file, ConfigDir: shared}, besideRules)
	check("no file", scamp.Config{ConfigDir: shared}, sharedRules)
	writeFile(t, shared, "authorized_services", "")
	check("only the shared one exists", scamp.Config{File: file, ConfigDir: shared}, sharedRules)
	writeFile(t, beside, "authorized_services", "")
	check("both exist", scamp.Config{File: file, ConfigDir: shared}, besideRules)
	check("configured", scamp.Config{File: file, ConfigDir: shared, AuthorizedServices: "/x"}, "/x")
}

func TestTicketKeyPathConfigured(t *testing.T) {
	c := parseConfig(t, "auth.ticket_verify_key = /x.pem")
	if got := c.TicketKeyPath(); got != "/x.pem" {
		t.Errorf("TicketKeyPath = %q, want the configured one", got)
	}
}

// TestKeyPairPaths has the order of PROTOCOL 13.3.
func TestKeyPairPaths(t *testing.T) {
	text := `
web.key = /b.key
web.cert = /b.crt
web.soa_key = a.key
web.soa_cert = a.crt
mail.soa_key = only.key
`
	c, err := scamp.ParseConfig([]byte(text), "/conf/soa.conf")
	if err != nil {
		t.Fatal(err)
	}
	c.ConfigDir = "/dir"
	for _, tt := range []struct {
		name string
		want []string // key and certificate, then the next pair
	}{
		{"web", []string{
			"/conf/a.key", "/conf/a.crt",
			"/b.key", "/b.crt",
			"/conf/services/web.key", "/conf/services/web.crt",
			"/dir/services/web.key", "/dir/services/web.crt",
			"/etc/GT_private/services/web.key", "/etc/GT_private/services/web.crt",
		}},
		{"mail", []string{
			"/conf/only.key", "",
			"/conf/services/mail.key", "/conf/services/mail.crt",
			"/dir/services/mail.key", "/dir/services/mail.crt",
			"/etc/GT_private/services/mail.key", "/etc/GT_private/services/mail.crt",
		}},
		{"team/api", []string{
			"/conf/services/team/api.key", "/conf/services/team/api.crt",
			"/dir/services/team/api.key", "/dir/services/team/api.crt",
			"/etc/GT_private/services/team/api.key", "/etc/GT_private/services/team/api.crt",
		}},
		{"../../etc/ssl/private/host", nil},
		{"a/../b", nil},
		{"/web", nil},
		{".", nil},
		{"", nil},
	} {
		var got []string
		for _, p := range c.KeyPairPaths(tt.name) {
			got = append(got, p.Key, p.Cert)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("KeyPairPaths(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestKeyPairFor(t *testing.T) {
	dir := t.TempDir()
	writeKeyPair := func(base, which string) {
		writeFile(t, dir, base+".key", string(fixtures.Bytes("keys/"+which+".key.pem")))
		writeFile(t, dir, base+".crt", string(fixtures.Bytes("keys/"+which+".crt.pem")))
	}
	writeKeyPair("services/web", "sample")
	writeKeyPair("services/both", "sample")
	writeKeyPair("own", "other")
	writeKeyPair("services/open", "sample")
	if err := os.Chmod(filepath.Join(dir, "services/open.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "services/half.key", string(fixtures.Bytes("keys/sample.key.pem")))
	text := `
both.soa_key = own.key
both.soa_cert = own.crt
gone.soa_key = gone.key
gone.soa_cert = gone.crt
one.key = own.key
`
	const sample, other = "41:A2:", "FD:4F:"
	for _, tt := range []struct {
		name, more string
		want       string // beginning of the fingerprint, or part of the error
	}{
		{"web", "", sample},
		{"both", "", other},
		{"gone", "", "gone.crt"},
		{"one", "", `only one of one.key and one.cert is set`},
		{"half", "", "half.crt"},
		{"nobody", "", filepath.Join(dir, "services", "nobody.key") + ", /etc/GT_private/services/nobody.key): want nobody.soa_key and nobody.soa_cert"},
		{"open", "", "chmod 600 " + filepath.Join(dir, "services", "open.key")},
		{"open", "tls.allow_readable_key = 1", sample},
		{"web", "tls.min_rsa_bits = 3072", "RSA key of 2048 bits"},
	} {
		c, err := scamp.ParseConfig([]byte(text+tt.more), filepath.Join(dir, "soa.conf"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := c.KeyPairFor(tt.name)
		got := fmt.Sprint(err)
		if err == nil {
			got = k.Certificate.Fingerprint
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("KeyPairFor(%q) with %q: %s, want %q", tt.name, tt.more, got, tt.want)
		}
	}
}
