package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/cli/audit"
	"github.com/scampbus/scamp-go/scamp"
)

func (a *app) checkCommand() *cobra.Command {
	o := new(findingOptions)
	cmd := &cobra.Command{
		Use:   "check [NAME...]",
		Short: "Check the configuration before something is started with it",
		Long: `Check reads soa.conf and everything it names, as the user who will run the programs, and
tells with file and line what is wrong: keys that nobody reads, values out of range, files
and directories that are missing or cannot be used, addresses that are none of this host, a ticket key that verifies nothing,
key pairs that do not belong together or that everybody can read, lines of the rules that
are none, in those of service.callers too, a cache file that is old or broken. Whether the rules are wise is for audit.
docs/audit.md explains every id.

With names, each of these services must have a key pair that this user can read; keys of others
may be closed to this user, and so may the directory of the cache file, where only the user
of scamp cache writes.

` + findingHelp,
		Example: `  scamp --config bus/soa.conf check
  scamp --config /etc/SCAMP/soa.conf check hello --fail-on warning`,
		RunE: func(_ *cobra.Command, names []string) error {
			if err := o.check(a); err != nil {
				return err
			}
			in, err := a.checkInput(names)
			if err != nil {
				return err
			}
			return a.tellFindings(audit.Run(*in), o)
		},
	}
	o.flags(cmd)
	return cmd
}

// maxConfig bounds soa.conf, as scamp.ReadConfig does.
const maxConfig = 1 << 20 // octets

// checkInput reads everything that check judges.
func (a *app) checkInput(names []string) (*audit.Input, error) {
	path := a.configFile
	var err error
	if path == "" {
		if path, err = scamp.LocateConfig(a.getenv); err != nil {
			return nil, err
		}
		if path == "" {
			return nil, errors.New(noConfigText)
		}
	}
	settings := audit.ReadSettings(auditFile(path, maxConfig))
	cfg := settings.Config
	if a.configFile == "" {
		cfg.ConfigDir = a.getenv("SCAMP_CONFIG_DIR")
	}
	in := &audit.Input{Now: time.Now(), Config: cfg, Settings: settings}
	if settings.Unreadable() {
		return in, nil
	}
	if settings.Host, err = scamp.HostIfaces(); err != nil {
		return nil, err
	}
	limits := cfg.WithDefaults().Limits.Discovery
	if cfg.Identity != "" {
		names = append(names, cfg.Identity)
	}
	in.Pairs = keyPairs(cfg, names)
	for i, p := range in.Pairs {
		in.Pairs[i].Foreign = !slices.Contains(names, p.Service) // another user may run it
	}
	if rules := cfg.AuthorizedPath(); rules != "" {
		in.Rules = new(auditFile(rules, limits.MaxAuthzFile))
	}
	if cfg.Callers != "" && cfg.CallersMode != scamp.CallersOff {
		in.Callers = new(auditFile(cfg.Callers, limits.MaxAuthzFile))
	}
	if cfg.TicketVerifyKey != "" {
		f := auditFile(cfg.TicketVerifyKey, maxFile)
		in.TicketKeys = &f
		settings.Paths = append(settings.Paths, audit.Path{Key: "auth.ticket_verify_key", Path: f.Path, Err: f.Err})
	}
	if dir := cfg.RunningServiceDir; dir != "" {
		settings.Dirs = append(settings.Dirs, audit.Dir{Key: "service.running_service_file_dir_path", Path: dir, Err: usableDir(dir, false)})
	}
	if cache := cfg.CachePath; cache != "" {
		dir := filepath.Dir(cache)
		settings.Dirs = append(settings.Dirs, audit.Dir{Key: "discovery.cache_path", Path: dir, Err: usableDir(dir, true), Foreign: foreign(dir, cache)})
		in.Cache = readCache(cache, limits.CacheMaxAge, limits)
	}
	return in, nil
}

// foreign reports whether this user cannot keep a file in a directory, and need not: both
// are another user's, and others cannot replace files there.
func foreign(dir, file string) bool {
	info, err := os.Stat(dir)
	if err != nil || owned(info) || !errors.Is(usableDir(dir, true), fs.ErrPermission) {
		return false
	}
	info, err = os.Stat(file)
	return err != nil || !owned(info)
}

// usableDir says why no file can be kept in a directory, or returns nil. In a private
// one others must not be able to replace files (THREATS C8).
func usableDir(dir string, private bool) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case private && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		return fmt.Errorf("others can replace files in %s: want it writable by one user only, or sticky (chmod +t)", dir)
	}
	if err := writable(dir); err != nil {
		return fmt.Errorf("this user cannot write in %s: %w", dir, err)
	}
	return nil
}

// maxKeyFiles bounds the files that are looked at for key pairs.
const maxKeyFiles = 10_000

// keyPairs returns the key pairs of the services that the configuration names, of those
// that have files in a services directory, and of names.
func keyPairs(cfg *scamp.Config, names []string) []audit.Pair {
	wanted := make(map[string]bool)
	all := append(cfg.Services(), names...)
	for _, name := range names {
		wanted[name] = true
	}
	for _, path := range cfg.KeyPairPaths("x") { // where such files may be
		if path.From == "" {
			all = append(all, servicesIn(filepath.Dir(path.Key))...)
		}
	}
	slices.Sort(all)
	var pairs []audit.Pair
	for _, name := range slices.Compact(all) {
		if p, ok := keyPair(cfg, name); ok || wanted[name] {
			p.Expected = p.Expected || wanted[name]
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// servicesIn returns the names of services that have a key or a certificate below dir.
func servicesIn(dir string) []string {
	var names []string
	looked := 0
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real // WalkDir does not follow a link that it begins with
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if looked++; err != nil || looked > maxKeyFiles {
			return fs.SkipDir
		}
		ext := filepath.Ext(path)
		if name, err := filepath.Rel(dir, path); err == nil && !d.IsDir() && (ext == ".key" || ext == ".crt") {
			names = append(names, filepath.ToSlash(strings.TrimSuffix(name, ext)))
		}
		return nil
	})
	return names
}

// keyPair reads the files that scamp.Config.KeyPairFor would load, and false when there
// are none.
func keyPair(cfg *scamp.Config, name string) (audit.Pair, bool) {
	places := cfg.KeyPairPaths(name)
	for _, place := range places {
		if place.From == "" && !exists(place.Key) && !exists(place.Cert) {
			continue
		}
		p := audit.Pair{Service: name, Expected: place.From != ""}
		if place.From != "" {
			p.From = audit.Place{File: cfg.File}
			for _, suffix := range []string{".soa_key", ".soa_cert", ".key", ".cert"} {
				if p.From.Line = cfg.Line(name + suffix); p.From.Line > 0 {
					break
				}
			}
		}
		if place.Key != "" {
			p.Key = auditFile(place.Key, maxFile)
		}
		if place.Cert != "" {
			p.Cert = auditFile(place.Cert, maxFile)
		}
		return p, true
	}
	p := audit.Pair{Service: name}
	if len(places) > 0 {
		p.Key, p.Cert = auditFile(places[0].Key, maxFile), auditFile(places[0].Cert, maxFile)
	}
	return p, false
}
