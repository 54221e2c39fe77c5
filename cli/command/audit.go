package command

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/cli/audit"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// auditOptions are the flags of audit.
type auditOptions struct {
	from        source
	rules       string
	keys, certs []string
	show        findingOptions
}

func (a *app) auditCommand() *cobra.Command {
	o := new(auditOptions)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Judge rules, certificates, keys and announcements together",
		Long: `Audit reads authorized_services, the certificates and keys of this host, and what is
announced, and tells what is not as it should be: services that offer what they may not
and the line that would allow it, rules that nobody uses or that allow too much, lines
and names that are nearly right, certificates that expire, weak keys, actions that two
services claim. docs/audit.md explains every id.

The rules are those of the configuration, or --rules FILE. Announcements come from
--cache FILE, or - for stdin; else the configured discovery.cache_path; else
` + scamp.DefaultCachePath + ` if it exists; else the network, after listening for 6 seconds.
Keys and certificates are those that the configuration names, those in services/ beside
it, and those given with --key and --cert: each such key must belong to such a
certificate. Keys that this user may not read are left out.

` + findingHelp,
		Example: `  scamp --config bus/soa.conf audit
  scamp audit --rules authorized_services --cache discovery --fail-on warning
  scamp audit --rules authorized_services --cert hello.crt --key hello.key --sarif > audit.sarif`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.show.check(a); err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			in, err := a.auditInput(ctx, o)
			if err != nil {
				return err
			}
			return a.tellFindings(audit.Run(*in), &o.show)
		},
	}
	o.from.flag(cmd)
	cmd.Flags().StringVar(&o.rules, "rules", "", "judge by this authorized_services `FILE`")
	cmd.Flags().StringArrayVar(&o.certs, "cert", nil, "also judge this certificate, a PEM `FILE`; may be repeated")
	cmd.Flags().StringArrayVar(&o.keys, "key", nil, "also judge this private key, a PEM `FILE`; may be repeated")
	o.show.flags(cmd)
	return cmd
}

// auditInput reads everything that audit judges.
func (a *app) auditInput(ctx context.Context, o *auditOptions) (*audit.Input, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, hint(err, "scamp check tells what is wrong with a configuration line by line")
	}
	cfg = cfg.WithDefaults()
	in := &audit.Input{Now: time.Now(), Config: cfg, Pairs: keyPairs(cfg, nil)}
	for i := range in.Pairs {
		in.Pairs[i].Foreign = true
	}
	for _, path := range o.certs {
		in.Certificates = append(in.Certificates, auditFile(path, maxFile))
	}
	for _, path := range o.keys {
		in.Keys = append(in.Keys, auditFile(path, maxFile))
	}
	rules := o.rules
	if rules == "" {
		rules = cfg.AuthorizedPath()
	}
	if rules != "" {
		in.Rules = new(auditFile(rules, cfg.Limits.Discovery.MaxAuthzFile))
	} else {
		a.log.Warn("no rules, so nobody's rights are judged: want --rules FILE or --config FILE")
	}
	return in, a.announced(ctx, o, cfg, in)
}

// announced finds out what is announced.
func (a *app) announced(ctx context.Context, o *auditOptions, cfg *scamp.Config, in *audit.Input) error {
	limits := cfg.Limits.Discovery
	path, maxAge := cfg.CachePath, limits.CacheMaxAge
	switch {
	case o.from.cache == "-":
		text, err := readAll(a.stdin, "stdin", limits.MaxCacheFile)
		in.Cache = audit.ReadCache(audit.File{Path: "stdin", Text: text, Err: err}, limits)
	case o.from.cache != "":
		path, maxAge = o.from.cache, 0
	case path == "" && exists(scamp.DefaultCachePath):
		path = scamp.DefaultCachePath
	}
	if path == "" && in.Cache == nil {
		return a.announcedLive(ctx, o, cfg, in)
	}
	if in.Cache == nil {
		in.Cache = readCache(path, maxAge, limits)
	}
	if in.Cache.File.Err == nil {
		in.Bus = in.Cache.Records
	}
	return nil
}

// readCache reads a cache file for judgement.
func readCache(path string, maxAge time.Duration, limits discovery.Limits) *audit.Cache {
	text, info, err := discovery.ReadFile(path, limits.MaxCacheFile)
	c := audit.ReadCache(audit.File{Path: path, Text: text, Err: err}, limits)
	if err == nil {
		c.Age, c.MaxAge = time.Since(info.ModTime()), maxAge
	}
	return c
}

// announcedLive listens to the network.
func (a *app) announcedLive(ctx context.Context, o *auditOptions, cfg *scamp.Config, in *audit.Input) error {
	limits := cfg.Limits.Discovery
	limits.MinRSABits = 1024 // so that short keys can be told of
	c := &catalog{dir: discovery.NewDirectory(&discovery.DirectoryOptions{Limits: limits, Log: a.log})}
	defer c.dir.Close()
	if err := a.hear(ctx, cfg, c, true); err != nil {
		return err
	}
	in.Bus = []audit.Announced{}
	for _, e := range c.dir.All() {
		in.Bus = append(in.Bus, audit.Announced{Announcement: e.Announcement, Place: audit.Place{Ident: e.Peer.Ident}})
	}
	return nil
}

// auditFile reads a file for judgement.
func auditFile(path string, most int) audit.File {
	text, info, err := discovery.ReadFile(path, most)
	f := audit.File{Path: path, Text: text, Err: err}
	if err == nil && runtime.GOOS != "windows" { // where the bits mean nothing
		f.Mode = info.Mode()
	}
	return f
}

// findingOptions are the flags of commands that tell findings.
type findingOptions struct {
	failOn string
	sarif  bool
	all    bool

	never bool // do not fail
	least audit.Severity
}

const findingHelp = `Each finding has an id, a severity (info, warning or error), a place, what is wrong and
what to do. The exit code is 9 when one is as bad as --fail-on says or worse: error unless
told otherwise, so that what works on is shown and breaks no script.

With --json, one object for each finding: id, group, severity, file, line, ident,
fingerprint (those that apply), text, fix. With --sarif, one document of SARIF 2.1.0.`

func (o *findingOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.failOn, "fail-on", "error", "exit with 9 for findings of this `SEVERITY` on: info, warning, error or never")
	cmd.Flags().BoolVar(&o.sarif, "sarif", false, "print one document of SARIF 2.1.0, which code scanners read")
	cmd.Flags().BoolVar(&o.all, "all", false, "show every finding, not only the first of one kind")
	cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"info", "warning", "error", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

// check reads the flags.
func (o *findingOptions) check(a *app) error {
	var ok bool
	o.least, ok = audit.ParseSeverity(o.failOn)
	o.never = o.failOn == "never"
	switch {
	case !ok && !o.never:
		return usagef("--fail-on %q: want info, warning, error or never", clean(o.failOn))
	case o.sarif && a.json:
		return usagef("--sarif and --json: want one of them")
	}
	return nil
}

// mostShown is how many findings of one kind people are shown without --all.
const mostShown = 10

// tellFindings prints a report, and fails when it is as bad as that.
func (a *app) tellFindings(r *audit.Report, o *findingOptions) error {
	var err error
	switch {
	case o.sarif:
		var b bytes.Buffer
		if err = audit.WriteSARIF(&b, r, readVersion().Version); err == nil {
			err = a.printf("%s", escapeJSON(b.Bytes()))
		}
	case a.json:
		for _, record := range r.Records() {
			if err = a.printJSON(record); err != nil {
				return err
			}
		}
	default:
		opts := audit.TextOptions{Colour: a.colours(), Most: mostShown}
		if o.all {
			opts.Most = 0
		}
		var b strings.Builder
		if err = audit.WriteText(&b, r, opts); err == nil {
			err = a.printf("%s", b.String())
		}
	}
	if err != nil {
		return err
	}
	if worst, found := r.Worst(); found && !o.never && worst >= o.least {
		return &quietError{exitf(ExitFindings, "scamp: %s", r.Summary())}
	}
	return nil
}
