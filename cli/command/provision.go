package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

func (a *app) provisionCommand() *cobra.Command {
	var bits int
	cmd := &cobra.Command{
		Use:   "provision NAME SECTOR...",
		Short: "Make the key of a service and the rule that allows it",
		Long: `Provision makes an RSA key and a certificate for the service NAME, services/NAME.key and
services/NAME.crt beside the configuration, and adds a line to authorized_services that lets
this certificate offer actions. SECTOR:CLASS allows one class or action; SECTOR alone
stands for all actions of a sector, which is more than most services need.

A key that exists is kept, and so is a rule: only what is missing of it is added. A key whose
certificate is missing gets a new one, so provision can be run again when it was ended. The
rules file is replaced as a whole, so that readers see the old one or the new one. One that was
missing or empty is begun anew, with a warning; one that is damaged is left as it is, which is an error.

For a new pair in the place of one that is there, move both files away, run provision again,
restart the service, and then take the line of the old certificate out of authorized_services.

With --json: name, key, cert, fingerprint, sha256, authorized_services, rule, made (the key
is new), cert_made, rule_added.`,
		Example: `  scamp --config bus/soa.conf provision hello main:hello
  scamp --config bus/soa.conf provision orders main:Customer.Order web`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(_ *cobra.Command, words []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			p, err := provision(cfg, words[0], words[1:], bits)
			if err != nil {
				return err
			}
			return a.tellProvision(p)
		},
	}
	cmd.Flags().IntVar(&bits, "bits", 2048, "size of a new key; with more than 2048 an announcement needs several IP fragments")
	return cmd
}

// A provisioned is what there is for a service, and what of it is new.
type provisioned struct {
	Name        string `json:"name"`
	Key         string `json:"key"`
	Cert        string `json:"cert"`
	Fingerprint string `json:"fingerprint"`
	SHA256      string `json:"sha256"`
	Authorized  string `json:"authorized_services"`
	Rule        string `json:"rule"` // the whole line, as it is in the file now
	Made        bool   `json:"made"`
	CertMade    bool   `json:"cert_made"`
	RuleAdded   bool   `json:"rule_added"`
	line        int
	config      string
	wider       []widerToken // already allowed
	expired     time.Time    // when the certificate did; zero while it has not
	anew        string       // what there was instead of rules, "" when there were some
	sectors     []string     // as asked for
}

// provision makes what is missing of a service: its key pair and its rule.
func provision(cfg *scamp.Config, name string, sectors []string, bits int) (*provisioned, error) {
	tokens, err := ruleTokens(sectors)
	if err != nil {
		return nil, err
	}
	if !serviceName.MatchString(name) {
		return nil, usagef("service name %q: want letters, digits, '_', '-' and '.'", name)
	}
	if cfg.File == "" && cfg.ConfigDir == "" {
		return nil, hint(errors.New("scamp: provision: there is no configuration, so no place for keys"),
			"name one with --config FILE, or make one with: scamp init --dir DIR")
	}
	rules := cfg.AuthorizedPath()
	places := cfg.KeyPairPaths(name)
	place := places[0] // the configured one, else the one beside the configuration
	for _, p := range places {
		if p.From == "" && exists(p.Key) && exists(p.Cert) {
			place = p // it has a pair already
			break
		}
	}
	if place.Key == "" || place.Cert == "" {
		return nil, fmt.Errorf("scamp: provision %s: only one of %s is set in %s: want both", name, place.From, cfg.File)
	}
	pair, made, err := ensureKeyPair(name, place, bits)
	if err != nil {
		return nil, err
	}
	cert := pair.Certificate
	rule, err := ensureRule(rules, cert, tokens, name, cfg.RequireSHA256)
	if err != nil {
		return nil, fmt.Errorf("scamp: provision %s: rules %s: %w", name, rules, err)
	}
	p := &provisioned{
		Name: name, Key: absolute(place.Key), Cert: absolute(place.Cert), Fingerprint: cert.Fingerprint, SHA256: cert.SHA256Text(),
		Authorized: absolute(rules), Rule: rule.text, Made: made.key, CertMade: made.cert, RuleAdded: rule.added, line: rule.line, config: cfg.File,
		wider: rule.wider, anew: rule.anew, sectors: sectors,
	}
	if end := cert.NotAfter(); !end.After(time.Now()) {
		p.expired = end
	}
	return p, nil
}

var serviceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$`)

// ruleTokens makes the tokens of a rule from SECTOR and SECTOR:CLASS.
func ruleTokens(sectors []string) ([]string, error) {
	var tokens []string
	for _, s := range sectors {
		sector, class, narrow := strings.Cut(s, ":")
		if !narrow {
			class = "ALL"
		}
		if !discovery.MaySend(sector, false) || !discovery.MaySend(class, true) {
			return nil, usagef("sector %q: want SECTOR, for example main, or SECTOR:CLASS, for example main:Customer.Order", s)
		}
		tokens = append(tokens, sector+":"+class)
	}
	return tokens, nil
}

// absolute is a path that holds from everywhere.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ensureKeyPair loads the key pair at place, or makes it. A key without certificate, as a
// provision leaves it that is killed, gets one.
func ensureKeyPair(name string, place scamp.KeyPairPaths, bits int) (pair *scamp.KeyPair, made madePair, err error) {
	switch key, cert := exists(place.Key), exists(place.Cert); {
	case key && cert:
		pair, err = scamp.LoadKeyPair(place.Cert, place.Key)
		return pair, made, err
	case cert:
		return nil, made, fmt.Errorf("scamp: provision %s: %s exists, and its key %s is missing: want both or none; put the key back, or move the certificate away for a new pair",
			name, place.Cert, place.Key)
	case key:
		text, err := readFile(place.Key)
		if err == nil {
			pair, err = scamp.CertifyKey(name, text)
		}
		if err != nil {
			return nil, made, fmt.Errorf("scamp: provision %s: %s exists without certificate: %w", name, place.Key, err)
		}
	default:
		if pair, err = scamp.GenerateKeyPair(name, bits); err != nil {
			return nil, made, &usageError{"scamp provision", err}
		}
		text, err := pair.KeyPEM()
		if err == nil {
			err = writeInDir(place.Key, text, 0o600)
		}
		if err != nil {
			return nil, made, fmt.Errorf("scamp: provision %s: %w", name, err)
		}
		made.key = true
	}
	if err := writeInDir(place.Cert, pair.CertificatePEM(), 0o644); err != nil {
		return nil, made, fmt.Errorf("scamp: provision %s: the key is there, the certificate is not: want it run again: %w", name, err)
	}
	made.cert = true
	return pair, made, nil
}

// A madePair says what of a key pair is new.
type madePair struct{ key, cert bool }

// writeInDir writes a new file, and makes its directory if that is missing.
func writeInDir(path string, text []byte, mode fs.FileMode) error {
	if _, err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return writeNew(path, text, mode)
}

// inMain reports whether what was asked for is in the sector that serve takes by itself.
func inMain(sector string) bool { return sector == "main" || strings.HasPrefix(sector, "main:") }

func (a *app) tellProvision(p *provisioned) error {
	if !p.expired.IsZero() {
		a.say("warning: %s expired on %s. No SCAMP program looks at the dates, so it works on. For a new pair move %s and %s away and run provision again; then take line %d out of %s",
			clean(p.Cert), p.expired.UTC().Format(time.DateOnly), clean(p.Cert), clean(filepath.Base(p.Key)), p.line, clean(p.Authorized))
	}
	if p.anew != "" {
		a.say("warning: %s %s, and now allows %s alone: if it ever held the rules of others, they have no rights any more; put it back as it was, and run provision again",
			clean(p.Authorized), p.anew, clean(p.Name))
	}
	for _, s := range p.sectors {
		if s != "main" && !strings.Contains(s, ":") { // the help says what main is
			a.say("warning: %s is a whole sector, with everything in it; for one class write SECTOR:CLASS, for example main:%s", clean(s), clean(p.Name))
		}
	}
	for _, w := range p.wider {
		a.say("%s is already allowed by %s; to narrow it, edit %s:%d", clean(w.want), clean(w.have), clean(p.Authorized), p.line)
	}
	if a.json {
		return a.printJSON(p)
	}
	word := func(is bool, word string) string {
		if is {
			return word
		}
		return "exists"
	}
	err := a.printf("%s\t%s\n%s\t%s\n%s\t%s:%d: %s\n", word(p.Made, "made"), clean(p.Key), word(p.CertMade, "made"), clean(p.Cert),
		word(p.RuleAdded, "added"), clean(p.Authorized), p.line, clean(p.Rule))
	if err == nil {
		config := ""
		if p.config != "" {
			config = " --config " + p.config
		}
		class := ""
		if !discovery.MaySend(p.Name, true) { // the class is the name, if that can be one
			class = " --class CLASS"
		}
		sector := ""
		if first, _, _ := strings.Cut(p.sectors[0], ":"); !slices.ContainsFunc(p.sectors, inMain) {
			sector = " --sector " + first
		}
		a.say("next: scamp%s serve %s%s%s", config, p.Name, class, sector)
	}
	return err
}
