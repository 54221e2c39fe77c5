package command

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// whyOptions are the flags of why.
type whyOptions struct {
	action   string
	from     string
	ident    string
	envelope string
	cache    string
}

func (a *app) whyCommand() *cobra.Command {
	var o whyOptions
	cmd := &cobra.Command{
		Use:   "why ACTION",
		Short: "Tell why an action can be called, or why not",
		Long: `Why climbs the ladder that every call climbs, from the name of the action to a connection with an
instance, and prints a line for each rung: ok or FAIL. It stops at the rung that fails, says what would cure it,
and names the rungs that were not reached. ACTION is [SECTOR:]CLASS.NAME[~VERSION].

Why does no harm: it connects once, compares the certificate, and sends no request. So it cannot tell
whether the service lets you in (its service.callers, a ticket that the action wants): to see that, and
the reply, call: scamp call ACTION -v. Of several instances it takes one as a call does; --ident takes that
one alone.

The rungs: name (understood), config, source (cache file or multicast), found (somebody offers it),
age, signature, replay (no old announcement), expiry, weight (not withdrawn), rule (which line of
authorized_services), address, tcp, tls, pin (the announced certificate, octet for octet), reply (the
service keeps the connection).

--from NAME climbs as the service NAME would, with the key that the configuration has for it: the
instance sees the certificate of NAME. The rules do not depend on who calls; they are those of this
configuration, as is the cache file, unless --cache names another one.

With --json each rung is one object: rung, state (ok, fail or skipped), text, fix (of the one that
failed), ms (if it took time), exit (of the one that failed). The exit code is that of a call that
fails so: 3 not found, 4 denied, 5 timeout, 6 no connection or another certificate, 8 the discovery
cache is missing or stale; 1 without any configuration.`,
		Example: `  scamp --config bus/soa.conf why hello.echo
  scamp --config bus/soa.conf why main:Files.store~2 --from web --json`,
		Args: args(cobra.ExactArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.completeFromCache(callable)
		},
		Annotations: map[string]string{logLevelOf: "error"}, // the ladder says it all
		RunE: func(cmd *cobra.Command, words []string) error {
			o.action = words[0]
			if _, err := discovery.ParseAction(o.action); err != nil {
				return &usageError{"scamp why", err}
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			return a.why(ctx, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.from, "from", "", "climb as this service, a `NAME` that the configuration has a key for")
	flags.StringVar(&o.ident, "ident", "", "climb to this instance alone: an `IDENT`, or FINGERPRINT#IDENT")
	flags.StringVar(&o.envelope, "envelope", "json", "format of the body, a `NAME`")
	flags.StringVar(&o.cache, "cache", "", "take the instances of this cache `FILE`")
	return cmd
}

// rungJSON is one rung.
type rungJSON struct {
	Rung  string  `json:"rung"`
	State string  `json:"state"`
	Text  string  `json:"text,omitempty"`
	Fix   string  `json:"fix,omitempty"`
	MS    float64 `json:"ms,omitempty"`
	Exit  int     `json:"exit,omitempty"`
}

// why climbs and tells.
func (a *app) why(ctx context.Context, o *whyOptions) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	opts := &scamp.Options{Log: a.log}
	if o.from != "" {
		if opts.KeyPair, err = cfg.KeyPairFor(o.from); err != nil {
			return err
		}
	}
	if o.cache != "" {
		other := *cfg
		other.CachePath = o.cache
		cfg = &other
		if err := cacheThere(o.cache); err != nil {
			return err
		}
	}
	if info, err := os.Stat(cfg.CachePath); err == nil {
		a.tellAhead(cfg.CachePath, info.ModTime(), cfg)
	}
	bus, err := scamp.Open(cfg, opts)
	if err != nil {
		return err
	}
	defer bus.Close()
	req := &scamp.Request{Action: o.action, Envelope: o.envelope}
	if o.ident != "" {
		req.Route = &scamp.RouteOptions{Ident: o.ident}
	}
	ladder := bus.Why(ctx, req)
	err = a.unconfigured(interrupted(ctx, wholeIdent(bus, o.ident, ladder.Err)))
	if perr := a.printLadder(ladder, ExitCode(err)); perr != nil {
		return perr
	}
	if err == nil || errors.Is(err, errInterrupted) {
		return err
	}
	return &quietError{err} // it is in the ladder
}

// printLadder prints a line for each rung. Text from the network in them was made fit by
// those who made the ladder.
func (a *app) printLadder(l scamp.Ladder, exit int) error {
	rungs := l.Rungs
	if !a.json {
		rungs = l.Reached()
	}
	for _, r := range rungs {
		if a.json {
			line := rungJSON{Rung: r.Name, State: stateWords[r.State], Text: r.Text, Fix: r.Fix, MS: float64(r.Took/time.Microsecond) / 1000}
			if r.State == scamp.RungFailed {
				line.Exit = exit
			}
			if err := a.printJSON(line); err != nil {
				return err
			}
			continue
		}
		line := r.String()
		if word := r.State.String(); a.colours() {
			line = a.paint(stateColours[r.State], word) + strings.TrimPrefix(line, word)
		}
		if err := a.printf("%s\n", line); err != nil {
			return err
		}
		if r.Fix != "" {
			if err := a.printf("      %s\n", a.bold(r.FixLine())); err != nil {
				return err
			}
		}
	}
	rest := l.NotReached()
	if l.Err == nil {
		rest = "-     not tried: whether the service lets you in (service.callers, ticket)"
	}
	if rest != "" && !a.json {
		return a.printf("%s\n", a.paint(grey, rest))
	}
	return nil
}

var stateWords = map[scamp.RungState]string{scamp.RungOK: "ok", scamp.RungFailed: "fail", scamp.RungSkipped: "skipped"}

// The colours of a terminal.
const (
	red    = 31
	green  = 32
	yellow = 33
	grey   = 90
)

var stateColours = map[scamp.RungState]int{scamp.RungOK: green, scamp.RungFailed: red, scamp.RungSkipped: grey}
