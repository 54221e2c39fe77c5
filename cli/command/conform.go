package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/discovery"
)

// conformOptions are the flags of conform.
type conformOptions struct {
	action      string
	envelope    string
	cert        string
	fingerprint string
	sections    []string
	cases       []string
	explain     string
	junit       string
	dryrun      bool
	strict      bool
	hostile     bool
	myHost      bool
	idle        time.Duration
	listen      bool
	self        bool
	dir         string
	scheme      string
}

func (a *app) conformCommand() *cobra.Command {
	var o conformOptions
	cmd := &cobra.Command{
		Use:   "conform HOST:PORT",
		Short: "Judge a service or a client of any implementation by the protocol",
		Long: `Conform sends octets over TLS to the service at HOST:PORT and judges what comes back. Each case
has the number of its paragraph in the protocol, which --explain tells of. Verdicts: PASS, FAIL (a MUST is missed),
NON-STRICT (a SHOULD is missed), INFO (a fact that is not judged), SKIP (could not be judged).

It needs an action that returns the body of a request unchanged and wants no ticket: --action
CLASS.echo, such as serve --builtin echo offers. Without --action it looks up what is announced at
HOST:PORT and takes the action named echo. Without --cert and --fingerprint the certificate must
be the one that is announced at HOST:PORT, if a configuration says where to look and one is.

Nothing is sent that is known to end an honest but fragile peer. --hostile adds what is, and
floods; it needs --i-own-this-host. --timeout bounds each wait for an answer; default: 5s.
--idle TIME says after how long the peer closes an idle connection, which else is not tried.

With --listen it judges a requester, a client: it plays the service at HOST:PORT, default
127.0.0.1 and any ports. Each case has an action, and a port, of its own; a port other than 0
stands for itself and those after it. --dir DIR gets what a client needs to come here: soa.conf,
authorized_services and discovery, a cache file that is kept fresh; without it a temporary
directory does, and is removed. Keys are made for the occasion. The client runs this loop, a dozen
lines in any language (STRING is a JSON string, RESULT an object):

  results = []
  do      reply = call Conform.next with the body {"results":[RESULT,...]}, of the calls before
          {"action":"Conform.c4_3_ra","text":"abc...","times":5000,"calls":1,"give_up_ms":0,...}
  until   it is {"done":true}
  make    as many calls of the action, at once, each with the STRING of text so many times; give up
          after give_up_ms milliseconds, unless that is 0
  RESULT  {"ok":true,"octets":4}, how long the body of the reply was, or
          {"ok":false,"code":"transport","error":"..."}, error_code and error as the program sees
          them; code transport if there was no whole reply

A client that is started anew goes on where it ended. Actions that are called without Conform.next
are judged too, by what goes over the wire alone; Ctrl-C ends the run and prints the card. With
--self a client of our own runs the loop.

--section takes tls, line, header, numbers, data, ack, end, ping, correlation, errors, limits,
idle, authorization; --case takes ids (4.4-a), paragraphs (4.4) and patterns (4.4-*). --dryrun
lists the cases, and the verdicts of other implementations where they are known; --explain
PARAGRAPH says why it matters and who gets it wrong; both with --listen for the cases of clients.

The score card goes to stdout, to FILE as well with --junit FILE. With --json each case is an
object: id, section, title, paragraph, item (of the checklist), level, hostile, expected, why,
peers (verdicts of js, go and perl, measured, and of c# and rust, by their sources), verdict, came,
sent, got, ms; with --dryrun and --explain those up to peers. With --listen the first object is
{"event":"ready"} with action, address, dir, config, cache, authorized_services. The exit code is 9
when something is FAIL, and with --strict when something is NON-STRICT.`,
		Example: `  scamp conform 127.0.0.1:30100 --action hello.echo --cert hello.crt
  scamp conform 10.0.0.5:30100 --action Lab.echo --section ack,data --junit card.xml
  scamp conform --listen --dir kit
  scamp conform --explain 4.4`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			cases, err := o.check(words)
			switch {
			case err != nil:
				return &usageError{"scamp conform", err}
			case o.explain != "" || o.dryrun:
				return a.listCases(cases, o.explain != "")
			case o.listen:
				addr, err := o.checkListen(words)
				if err != nil {
					return &usageError{"scamp conform", err}
				}
				return a.conformListen(cmd.Context(), addr, cases, &o)
			}
			return a.conform(cmd.Context(), words[0], cases, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.action, "action", "", "the `ACTION` that echoes, [sector:]Class.name[~version]; default: one that is announced at HOST:PORT")
	flags.StringVar(&o.envelope, "envelope", "json", "`ENVELOPE` of its requests")
	flags.StringVar(&o.cert, "cert", "", "the certificate it must show, a PEM `FILE`")
	flags.StringVar(&o.fingerprint, "fingerprint", "", "the `FINGERPRINT` of that certificate, SHA-1 or sha256:")
	flags.StringSliceVar(&o.sections, "section", nil, "only these `SECTIONS`")
	flags.StringSliceVar(&o.cases, "case", nil, "only these `CASES`")
	flags.StringVar(&o.explain, "explain", "", "say what the cases of this `PARAGRAPH` are about")
	flags.BoolVar(&o.dryrun, "dryrun", false, "list the cases, send nothing")
	flags.BoolVar(&o.strict, "strict", false, "NON-STRICT counts as a failure")
	flags.StringVar(&o.junit, "junit", "", "write the score card to this `FILE` as JUnit XML")
	flags.DurationVar(&o.idle, "idle", 0, "after this `TIME` the peer closes an idle connection; default: unknown")
	flags.BoolVar(&o.listen, "listen", false, "judge a client: play the service at HOST:PORT")
	flags.BoolVar(&o.self, "self", false, "with --listen: judge a client of our own")
	flags.StringVar(&o.dir, "dir", "", "with --listen: put what a client needs into this directory, `DIR`")
	flags.StringVar(&o.scheme, "uri-scheme", "beepish+tls", "with --listen: `SCHEME` of the addresses; some old clients know scamp+tls alone")
	flags.BoolVar(&o.hostile, "hostile", false, "also what may crash or burden a fragile peer")
	flags.BoolVar(&o.myHost, "i-own-this-host", false, "with --hostile: I may do this to HOST")
	cmd.RegisterFlagCompletionFunc("section", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, s := range conform.Sections() {
			names = append(names, string(s)+"\t"+s.Title())
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// check returns the cases that are asked for.
func (o *conformOptions) check(words []string) ([]conform.Case, error) {
	var sections []conform.Section
	for _, s := range o.sections {
		sections = append(sections, conform.Section(s))
		if !slices.Contains(conform.Sections(), conform.Section(s)) {
			return nil, fmt.Errorf("--section %q: want one of %s", s, sectionNames())
		}
	}
	patterns := o.cases
	if o.explain != "" {
		patterns = append(patterns, o.explain)
	}
	all := conform.Cases()
	switch {
	case o.listen:
		all = conform.RequesterCases()
	case o.explain != "":
		all = append(all, conform.RequesterCases()...)
	}
	cases := conform.Select(all, sections, patterns)
	sends := o.explain == "" && !o.dryrun
	if o.explain == "" && !o.hostile {
		cases = slices.DeleteFunc(cases, func(c conform.Case) bool { return c.Hostile })
	}
	switch {
	case len(cases) == 0:
		list := "scamp conform --dryrun --hostile"
		if o.listen {
			list += " --listen"
		}
		return nil, fmt.Errorf("no case is left: %s lists all", list)
	case !o.listen && (o.self || o.dir != "" || o.scheme != "beepish+tls"):
		return nil, errors.New("--self, --dir and --uri-scheme: want them with --listen")
	case o.idle != 0 && o.idle < time.Second:
		return nil, fmt.Errorf("--idle %v: want at least 1s", o.idle)
	case sends && o.hostile != o.myHost:
		return nil, errors.New("--hostile and --i-own-this-host: want both or neither")
	case o.cert != "" && o.fingerprint != "":
		return nil, errors.New("--cert and --fingerprint: want one of them")
	case !sends || o.listen:
		return cases, nil
	case len(words) == 0:
		return nil, errors.New("no service: want HOST:PORT, or --listen to judge a client")
	}
	if err := checkHostPort(words[0], 1); err != nil {
		return nil, err
	}
	if o.action != "" {
		if _, err := discovery.ParseAction(o.action); err != nil {
			return nil, err
		}
	}
	if o.fingerprint != "" {
		if _, err := identityOf(o.fingerprint); err != nil {
			return nil, err
		}
	}
	return cases, nil
}

// checkHostPort wants an address with a port that is not below least.
func checkHostPort(addr string, least uint64) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q: want HOST:PORT", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < least {
		return fmt.Errorf("%q: want a port from %d to 65535", addr, least)
	}
	return nil
}

func sectionNames() string {
	var names []string
	for _, s := range conform.Sections() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// listCases prints what the cases are about.
func (a *app) listCases(cases []conform.Case, explain bool) error {
	if a.json {
		for _, c := range cases {
			if err := a.printJSON(c); err != nil {
				return err
			}
		}
		return nil
	}
	if explain {
		var text strings.Builder
		if err := conform.Explain(&text, cases); err != nil {
			return err
		}
		return a.printf("%s", text.String())
	}
	known := func(v conform.Verdict) string {
		if v == 0 {
			return "-"
		}
		return v.String()
	}
	t := &table{head: []string{"CASE", "LEVEL", "SECTION", "JS", "GO", "PERL", "C#", "RUST", "WHAT A GOOD ONE DOES"}}
	for _, c := range cases {
		p := c.Peers
		t.add(c.ID, c.Level.String(), string(c.Section), known(p.JS), known(p.Go), known(p.Perl), known(p.CSharp), known(p.Rust), c.Title)
	}
	return a.printTable(t)
}

// conform judges the service and prints the card.
func (a *app) conform(ctx context.Context, addr string, cases []conform.Case, o *conformOptions) (err error) {
	action, id, err := a.conformTarget(ctx, addr, o)
	if err != nil {
		return err
	}
	junit, err := o.openJUnit()
	if err != nil {
		return err
	}
	if junit != nil {
		defer func() { err = errors.Join(err, junit.Close()) }()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	opts := conform.Options{Addr: addr, Action: action, Timeout: a.timeout, Idle: o.idle, Hostile: o.hostile}
	if id.Anyone {
		a.say("nothing to compare the certificate with: judging whoever answers at %s", clean(addr))
	} else {
		opts.Verify = func(der []byte) error { return verify(addr, id, der) }
	}
	if a.json {
		opts.Each = func(r conform.Result) {
			if err := a.printJSON(r); err != nil {
				stop(err)
			}
		}
	}
	card, err := conform.Run(ctx, opts, cases)
	var noTLS tls.RecordHeaderError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, conform.ErrNoEcho):
		return hint(&codedError{ExitNotFound, err}, "name an action that returns the body of a request, for example one of: scamp serve NAME --builtin echo")
	case errors.As(err, &noTLS):
		return hint(&codedError{ExitTransport, err}, "what answers there speaks no TLS: is it the port of a SCAMP service?")
	case err != nil:
		return err
	}
	return a.printCard(card, junit, o)
}

// openJUnit makes the JUnit file now, not after a minute of work. It is nil if none is
// wanted.
func (o *conformOptions) openJUnit() (*os.File, error) {
	if o.junit == "" {
		return nil, nil
	}
	f, err := os.Create(o.junit)
	if err != nil {
		return nil, fmt.Errorf("scamp: JUnit file: %w", err)
	}
	return f, nil
}

// printCard prints the card, unless its parts were printed as JSON, and returns an error
// if something counts against who was judged.
func (a *app) printCard(card *conform.Card, junit *os.File, o *conformOptions) error {
	if !a.json {
		var text strings.Builder
		if err := conform.WriteText(&text, card, o.strict); err != nil {
			return err
		}
		if err := a.printf("%s", appendSafe(nil, []byte(text.String()), "\n")); err != nil {
			return err
		}
	}
	if junit != nil {
		if err := conform.WriteJUnit(junit, card, o.strict); err != nil {
			return fmt.Errorf("scamp: JUnit file: %w", err)
		}
	}
	if card.Missed(o.strict) {
		return exitf(ExitFindings, "scamp: %s does not conform: %d FAIL, %d NON-STRICT", card.Addr, card.Count(conform.Fail), card.Count(conform.NonStrict))
	}
	return nil
}
