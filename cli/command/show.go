package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
)

func (a *app) showCommand() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "show IDENT",
		Short: "Show everything about one instance",
		Long: `Show prints all that is known of an instance: where it listens, its certificate, when it
was heard, and for each of its actions whether it may be called and which line of
authorized_services says so. IDENT is an ident, FINGERPRINT#IDENT, or as much of the beginning of
an ident as only one instance has.

` + sourceHelp + `

With --json: the fields of list services, and certificate (subject, bits, not_before, not_after),
envelopes, timestamp, expires_ms (until it is removed if it stays silent; absent while a cache file
holds it), and in each action file, line and rule of the decision.`,
		Example: `  scamp --config bus/soa.conf show hello:`,
		Args:    args(cobra.ExactArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.completeFromCache(func(c *catalog) (names []string) {
				for i := range c.entries {
					names = append(names, c.entries[i].Peer.Ident)
				}
				return names
			})
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			c, err := from.open(ctx, a)
			if err != nil {
				return err
			}
			e, err := c.find(words[0])
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(detail(e))
			} else {
				err = a.show(e)
			}
			if err != nil {
				return err
			}
			return from.finish(a, c)
		},
	}
	from.flag(cmd)
	return cmd
}

// find returns the one entry that text means.
func (c *catalog) find(text string) (*discovery.Entry, error) {
	var exact, begins []*discovery.Entry
	for i := range c.entries {
		e := &c.entries[i]
		switch {
		case e.Peer.Ident == text, strings.EqualFold(e.Peer.Certificate.Fingerprint+"#", prefixOf(text)) && e.Peer.Ident == identOf(text):
			exact = append(exact, e)
		case strings.HasPrefix(e.Peer.Ident, text):
			begins = append(begins, e)
		}
	}
	found := exact
	if len(found) == 0 {
		found = begins
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		err := exitf(ExitNotFound, "scamp: show %q: no such instance among %d", clean(text), len(c.entries))
		if c.stale != nil {
			return nil, hint(err, "%v", c.stale)
		}
		return nil, hint(err, "scamp list services --all shows what there is")
	}
	var names []string
	for _, e := range found {
		names = append(names, clean(e.Peer.Certificate.Fingerprint+"#"+e.Peer.Ident))
	}
	return nil, hint(exitf(ExitFailure, "scamp: show %q: %d instances: want one", clean(text), len(found)), "%s", strings.Join(names, "\n"))
}

// prefixOf and identOf are the parts of FINGERPRINT#IDENT.
func prefixOf(text string) string { return text[:strings.IndexByte(text, '#')+1] }
func identOf(text string) string  { return text[strings.IndexByte(text, '#')+1:] }

type detailJSON struct {
	serviceJSON
	Certificate certificateJSON `json:"certificate"`
	Envelopes   []string        `json:"envelopes"`
	Timestamp   string          `json:"timestamp"`
	ExpiresMS   int64           `json:"expires_ms,omitempty"`
	Actions     []decidedJSON   `json:"actions"`
}

type certificateJSON struct {
	Subject   string `json:"subject"`
	Bits      int    `json:"bits"`
	NotBefore string `json:"not_before"`
	NotAfter  string `json:"not_after"`
}

type decidedJSON struct {
	offeredJSON
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Rule string `json:"rule,omitempty"`
}

func detail(e *discovery.Entry) detailJSON {
	cert := e.Peer.Certificate
	d := detailJSON{
		serviceJSON: describe(e),
		Certificate: certificateJSON{cert.Subject(), cert.Bits(), cert.NotBefore().UTC().Format(timeForm), cert.NotAfter().UTC().Format(timeForm)},
		Envelopes:   list(e.Announcement.Envelopes),
		Timestamp:   time.UnixMicro(e.Announcement.Timestamp).UTC().Format("2006-01-02T15:04:05.000Z"),
		ExpiresMS:   e.Expires.Milliseconds(),
		Actions:     []decidedJSON{},
	}
	for i, o := range d.serviceJSON.Actions {
		decision := e.Decisions[i]
		d.Actions = append(d.Actions, decidedJSON{o, decision.File, decision.Line, decision.Rule})
	}
	return d
}

// ago says how old something is. The clock that gave its time is another host's.
func ago(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%v ahead of our clock", short(-d))
	}
	return short(d) + " ago"
}

func (a *app) show(e *discovery.Entry) error {
	d := detail(e)
	var b strings.Builder
	line := func(name, format string, args ...any) {
		b.WriteString(a.bold(fmt.Sprintf("%-12s", name)) + " " + clean(fmt.Sprintf(format, args...)) + "\n")
	}
	line("ident", "%s", d.Ident)
	line("name", "%s", d.Name)
	line("address", "%s (%s)", d.Address, d.URI)
	line("sector", "%s", d.Sector)
	line("envelopes", "%s", joined(d.Envelopes))
	line("weight", "%d", d.Weight)
	line("state", "%s", d.State)
	if d.Reason != "" {
		line("not called", "%s", d.Reason)
	}
	said := time.UnixMicro(e.Announcement.Timestamp)
	line("announced", "%s (%s, when it was last signed), repeated every %v", d.Timestamp, ago(time.Since(said)), e.Announcement.Interval)
	if !e.Source.Datagram {
		line("known", "by %s", d.Source) // when it was read says nothing of the instance
	} else {
		line("heard", "%v ago, by %s", e.Age.Round(time.Millisecond), d.Source)
	}
	if e.Expires > 0 {
		line("expires", "in %v if it stays silent", e.Expires.Round(time.Millisecond))
	}
	line("certificate", "%s, RSA %d bits, %s to %s", d.Certificate.Subject, d.Certificate.Bits, d.Certificate.NotBefore, d.Certificate.NotAfter)
	line("SHA-1", "%s", d.Fingerprint)
	line("SHA-256", "%s", d.SHA256)
	for i, act := range d.Actions {
		word := "denied: " + e.Decisions[i].String()
		switch {
		case act.Authorized && act.Line > 0:
			word = fmt.Sprintf("allowed: %s:%d says %q", act.File, act.Line, act.Rule)
		case act.Authorized:
			word = "allowed: " + e.Decisions[i].String()
		}
		if act.BuiltIn {
			word = "built in, " + word
		}
		flags := ""
		if len(act.Flags) > 0 {
			flags = " [" + joined(act.Flags) + "]"
		}
		line("action", "%s:%s~%d (%s)%s: %s", act.Sector, act.Name, act.Version, joined(act.Envelopes), flags, word)
	}
	return a.printf("%s", b.String())
}
