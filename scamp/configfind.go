package scamp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LocateConfig returns the path of the configuration to use when none was given
// (PROTOCOL 13.1): that of $SCAMP, $SCAMP_CONFIG or $GTSOA, else the first file that
// exists of those that all implementations know. No file at all is no error: the
// path is then empty. Environment variables are asked of getenv, nil means
// os.Getenv.
func LocateConfig(getenv func(string) string) (path string, err error) {
	return locateConfig(getenv, "")
}

// locateConfig does the work of LocateConfig; root, prefixed to the paths known to
// all, is for tests.
func locateConfig(getenv func(string) string, root string) (string, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	for _, name := range []string{"SCAMP", "SCAMP_CONFIG", "GTSOA"} {
		path := getenv(name)
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err == nil && info.IsDir() && name == "GTSOA" {
			path = filepath.Join(path, "etc", "soa.conf")
			_, err = os.Stat(path)
		}
		if err != nil {
			return "", fmt.Errorf("scamp: configuration named by $%s: %w", name, err)
		}
		return path, nil
	}
	for _, path := range []string{
		"/etc/scamp/scamp.conf",
		"/etc/SCAMP/soa.conf",
		"/etc/GTSOA/soa.conf",
		"/etc/GTSOA/scamp.conf",
	} {
		if path = root + path; fileExists(path) {
			return path, nil
		}
	}
	return "", nil
}

// FindConfig reads the configuration that LocateConfig finds, and $SCAMP_CONFIG_DIR.
// Without any file it returns the defaults.
func FindConfig(getenv func(string) string) (*Config, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	path, err := LocateConfig(getenv)
	if err != nil {
		return nil, err
	}
	c := new(Config)
	if path != "" {
		if c, err = ReadConfig(path); err != nil {
			return nil, err
		}
	}
	c.ConfigDir = getenv("SCAMP_CONFIG_DIR")
	return c, nil
}

// resolve returns path as seen from the directory of the configuration.
func (c *Config) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) || c.File == "" {
		return path
	}
	return filepath.Join(filepath.Dir(c.File), path)
}

// AuthorizedPath returns the rules file: bus.authorized_services, else
// authorized_services beside the configuration or in ConfigDir, the first that
// exists. If none exists it returns where one would be looked for first; if there is
// no such place, an empty path.
func (c *Config) AuthorizedPath() string {
	if c.AuthorizedServices != "" {
		return c.AuthorizedServices
	}
	places := c.places("authorized_services")
	for _, path := range places {
		if fileExists(path) {
			return path
		}
	}
	if len(places) == 0 {
		return ""
	}
	return places[0]
}

// TicketKeyPath returns the file of the key that verifies tickets:
// auth.ticket_verify_key, else the first of the known ones that exists (PROTOCOL
// 10.2), else an empty path: without a key no ticket is valid. A bus asks again each
// time it looks for the key, so one that is installed later is found.
func (c *Config) TicketKeyPath() string { return c.ticketKeyPath("") }

// ticketKeyPath does the work of TicketKeyPath; root, prefixed to the known paths, is for
// tests.
func (c *Config) ticketKeyPath(root string) string {
	if c.TicketVerifyKey != "" {
		return c.TicketVerifyKey
	}
	for _, dir := range []string{"/etc/scamp/auth", "/etc/SCAMP/auth", "/etc/GTSOA/auth", "/etc/GT/auth"} {
		if path := filepath.Join(root+dir, "ticket_verify_public_key.pem"); fileExists(path) {
			return path
		}
	}
	return ""
}

// places returns where a file with a default name may be: beside the configuration
// first, then in ConfigDir.
func (c *Config) places(name string) []string {
	var paths []string
	if c.File != "" {
		paths = append(paths, filepath.Join(filepath.Dir(c.File), name))
	}
	if c.ConfigDir != "" {
		paths = append(paths, filepath.Join(c.ConfigDir, name))
	}
	return paths
}

// fileExists also takes for there what cannot be looked at: opening it will say why.
func fileExists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// KeyPairPaths are two files that may hold the key pair of a service.
type KeyPairPaths struct {
	Cert, Key string
	// From says what names them: keys of the configuration, which must then exist, or
	// empty for a default place.
	From string
}

// KeyPairPaths returns where the key pair of the service name may be, in the order to
// look (PROTOCOL 13.3): NAME.soa_key and NAME.soa_cert, NAME.key and NAME.cert, then
// services/NAME.key and services/NAME.crt beside the configuration, in ConfigDir, and in
// /etc/GT_private. Names that would leave those directories have no default place.
func (c *Config) KeyPairPaths(name string) []KeyPairPaths {
	var paths []KeyPairPaths
	for _, form := range []string{"soa_", ""} {
		key, _ := c.Lookup(name + "." + form + "key")
		cert, _ := c.Lookup(name + "." + form + "cert")
		if key != "" || cert != "" {
			paths = append(paths, KeyPairPaths{
				Cert: c.resolve(cert),
				Key:  c.resolve(key),
				From: fmt.Sprintf("%s.%skey and %[1]s.%[2]scert", name, form),
			})
		}
	}
	if !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." {
		return paths
	}
	base := filepath.Join("services", name)
	for _, place := range append(c.places(base), filepath.Join("/etc/GT_private", base)) {
		paths = append(paths, KeyPairPaths{Cert: place + ".crt", Key: place + ".key"})
	}
	return paths
}

// KeyPairFor loads the key pair of the service name from the first of KeyPairPaths
// that is configured or there. It refuses a private key that everybody can read, unless
// AllowReadableKey is set, and an RSA key of a size that peers refuse.
func (c *Config) KeyPairFor(name string) (*KeyPair, error) {
	var tried []string
	for _, p := range c.KeyPairPaths(name) {
		if p.From == "" && !fileExists(p.Key) && !fileExists(p.Cert) {
			tried = append(tried, p.Key)
			continue
		}
		if p.Key == "" || p.Cert == "" {
			return nil, fmt.Errorf("scamp: key pair of %s: only one of %s is set in %s: want both", quoteText(name), p.From, c.File)
		}
		k, err := LoadKeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, err
		}
		if err := k.CheckPrivate(); err != nil && !c.AllowReadableKey {
			return nil, err
		}
		if err := k.Certificate.CheckKey(c.Limits.Discovery); err != nil {
			return nil, fmt.Errorf("scamp: certificate %s: %w", p.Cert, err)
		}
		return k, nil
	}
	if len(tried) == 0 {
		return nil, fmt.Errorf("scamp: key pair of %s: want a name that can be a file's below the directory services, as scamp provision makes it: letters, digits, '_', '-' and '.'", quoteText(name))
	}
	return nil, fmt.Errorf("scamp: key pair of %s: none found (looked for %s): want %s.soa_key and %[3]s.soa_cert in the configuration, or scamp provision %[3]s",
		quoteText(name), strings.Join(tried, ", "), name)
}
