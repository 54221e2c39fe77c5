package command

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// watchOptions are the flags of watch.
type watchOptions struct {
	query    discovery.Query
	cache    string
	expected string
	settle   time.Duration
	write    bool
}

func (a *app) watchCommand() *cobra.Command {
	var o watchOptions
	cmd := &cobra.Command{
		Use:   "watch [ACTION]",
		Short: "Watch instances come and go, and compare them with an inventory",
		Long: `Watch prints a line for each instance that can be called now, and then for each that comes, changes
or goes, with the reason (built-in actions, see scamp list --help, do not count): announced, allowed (by a rule), goodbye, expired, unauthorized, replaced
(by an announcement without the action), left the file. It runs until SIGINT, SIGTERM or --timeout.

ACTION, [SECTOR:]CLASS.NAME[~VERSION], --sector, --service and --host narrow down what is watched, and
leave the inventory as it is. Instances are those of --cache FILE, else of the configured discovery.cache_path, and of the network while there is no
such file or it is stale.

--expected FILE compares what can be called with an inventory, a line for each action:

  ` + expectedGrammar + `     # comment

Fewer than RED instances (default 1) are a red incident, fewer than YELLOW (default RED) a yellow one.
Instances in all envelopes count, and no others than those a rule allows. A shortage opens an
incident when it lasts for --settle, its end closes it when that lasts as long: a restart is none.
Nothing is judged in the first 6 seconds where the network is listened to. When the cache file gets
stale or lost, watch is blind until the file is of use again, or until it has listened for 11 seconds
and heard somebody; from then on it judges by what it hears. It is blind too while there are no rules
to judge by: authorized_services is missing or was not read once. A line that is none of these is an
error, told with its number. SECTOR is bus.default_sector where it is left out, as in ACTION. --write-expected prints the inventory of what is there now:
red when nobody is left, yellow when there are fewer; it writes none, and the exit code is 8, when it is blind.

The exit code is 9 when watch ends and a red incident is open, or an action was red all the time; else
8 when it ends blind.

With --json each line is one object. Instances: event (added, updated, removed), time, ident,
address, fingerprint, why. Incidents: event (opened, changed, closed), time, action, level (red or
yellow), have, want (instances at least), since (when the shortage began), line (of the inventory). Whether it is
known who lives: event (blind, sees), time, why.`,
		Example: `  scamp --config bus/soa.conf watch
  scamp --config bus/soa.conf watch --write-expected > expected
  scamp --config bus/soa.conf watch --expected expected --json
  scamp --config bus/soa.conf watch --expected expected --timeout 20s   # a check, exit code 0, 8 or 9`,
		Args: args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.completeFromCache(callable)
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			if err := o.check(words, a.json); err != nil {
				return &usageError{"scamp watch", err}
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			return a.watch(ctx, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.query.Sector, "sector", "", "watch what is offered in this sector, a `NAME`")
	flags.StringVar(&o.query.Service, "service", "", "watch the instances of this service, a `NAME`")
	flags.StringVar(&o.query.Host, "host", "", "watch what is announced at this `HOST`, a name or an address")
	flags.StringVar(&o.cache, "cache", "", "follow this cache `FILE`")
	flags.StringVar(&o.expected, "expected", "", "compare with the inventory in this `FILE`")
	flags.DurationVar(&o.settle, "settle", 5*time.Second, "with --expected: what lasts for a shorter `TIME` is no incident, and no end of one")
	flags.BoolVar(&o.write, "write-expected", false, "print the inventory of what is there now, and end")
	return cmd
}

func (o *watchOptions) check(words []string, json bool) error {
	if len(words) > 0 {
		q, err := discovery.ParseAction(words[0])
		if err != nil {
			return err
		}
		if q.Sector != "" && o.query.Sector != "" {
			return fmt.Errorf("--sector %s and %s: want one sector", clean(o.query.Sector), clean(words[0]))
		}
		o.query.Action = words[0]
	}
	switch {
	case o.settle < 0:
		return fmt.Errorf("--settle %v: want a duration of 0 or more, for example 5s", o.settle)
	case o.write && o.expected != "":
		return errors.New("--write-expected and --expected: want one of them")
	case o.write && json:
		return errors.New("--write-expected and --json: want one of them: an inventory is lines of text")
	}
	return nil
}

// A watch is one run of scamp watch.
type watch struct {
	a     *app
	o     *watchOptions
	bus   *scamp.Bus
	guard *guard // nil without an inventory
	sight sight  // with an inventory; owned by compare until that has ended

	mu sync.Mutex // one line at a time
}

func (a *app) watch(ctx context.Context, o *watchOptions) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	w := &watch{a: a, o: o}
	if o.expected != "" {
		expected, err := readExpected(o.expected, cfg.WithDefaults().DefaultSector)
		if err != nil {
			return err
		}
		w.guard = newGuard(expected, o.settle)
	}
	if o.cache != "" {
		other := *cfg
		other.CachePath = o.cache
		cfg = &other
		if err := cacheThere(o.cache); err != nil {
			return err
		}
	}
	if w.bus, err = scamp.Open(cfg, &scamp.Options{Log: a.log}); err != nil {
		return err
	}
	defer w.bus.Close()
	if o.query.Action != "" && o.query.Sector == "" {
		o.query.Sector = w.bus.Config().DefaultSector
	}
	if o.write {
		if err := w.warmUp(ctx); err != nil {
			return err
		}
		if why := w.lawless(); why != "" {
			return hint(exitf(ExitStale, "scamp: it is not known who may be called: %s", clean(why)), "no inventory was written; scamp check says what is wrong with the rules")
		}
		if why := w.bus.Directory().Explain(discovery.Query{}).Stale; why != "" {
			return hint(exitf(ExitStale, "scamp: it is not known who lives: %s", clean(why)), "no inventory was written; start scamp cache with this configuration")
		}
		return a.printf("%s", inventory(instances(w.bus.Directory().All())))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	var compared error
	if o.query.Action != "" {
		work.Go(func() { w.doubtAction(ctx) }) // ends with ctx, or soon
	}
	if w.guard != nil {
		work.Go(func() { // ends with ctx
			if compared = w.compare(ctx); compared != nil {
				cancel(compared)
			}
		})
	}
	for e := range w.bus.Directory().Watch(ctx, o.query) {
		if err := w.instance(e); err != nil {
			cancel(err)
		}
	}
	<-ctx.Done() // also where nothing can match
	work.Wait()
	if compared != nil && !errors.Is(compared, errInterrupted) {
		return compared
	}
	return w.end(context.Cause(ctx))
}

func readExpected(path, sector string) ([]expectation, error) {
	text, _, err := discovery.ReadFile(path, maxExpected)
	if err != nil {
		return nil, fmt.Errorf("scamp: inventory: %w", err)
	}
	return parseExpected(string(text), path, sector)
}

// warmUp waits until everybody who lives could be known: at once when there is a cache file.
func (w *watch) warmUp(ctx context.Context) error {
	if w.bus.Config().CachePath != "" && w.bus.Directory().Explain(discovery.Query{}).Stale == "" {
		return nil
	}
	select {
	case <-time.After(warmUp):
		return nil
	case <-ctx.Done():
		if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return exitf(ExitTimeout, "scamp: --timeout %v is over before everybody could be heard, want at least %v", w.a.timeout, warmUp)
	}
}

// doubtAction says that nobody offers the action that is watched, once that can be known.
func (w *watch) doubtAction(ctx context.Context) {
	if w.warmUp(ctx) != nil || ctx.Err() != nil {
		return
	}
	if dir := w.bus.Directory(); len(dir.Find(w.o.query)) == 0 {
		w.a.say("%s matches nothing now: %s", clean(w.o.query.Action), clean(dir.Explain(w.o.query).String()))
	}
}

// lookTime is between two looks at what can be called.
const lookTime = time.Second

// compare tells of incidents until ctx ends. Its error is one of output, or that there was
// no time for a look.
func (w *watch) compare(ctx context.Context) error {
	if w.bus.Config().CachePath == "" {
		if err := w.warmUp(ctx); err != nil {
			return err
		}
	}
	tick := time.NewTicker(min(lookTime, max(w.o.settle/5, 10*time.Millisecond)))
	defer tick.Stop()
	for {
		if err := w.look(time.Now()); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look compares once, as far as it can be known who lives.
func (w *watch) look(now time.Time) error {
	unruled, news := w.sight.judge(w.lawless())
	for _, n := range news {
		if err := w.sighted(n); err != nil {
			return err
		}
	}
	if unruled {
		return nil
	}
	dir := w.bus.Directory()
	known, judged, news := w.sight.look(now, dir.Explain(discovery.Query{}).Stale, dir.All())
	for _, n := range news {
		if err := w.sighted(n); err != nil {
			return err
		}
	}
	if !judged {
		return nil
	}
	for _, i := range w.guard.look(now, instances(known)) {
		if err := w.incident(i); err != nil {
			return err
		}
	}
	return nil
}

// lawless says why there are no rules to judge by, "" when there are. Those that were read
// once stay in force, whatever becomes of their file.
func (w *watch) lawless() string {
	switch rules := w.bus.Directory().Authorized(); {
	case rules == nil:
		return "no configuration names any rules"
	case rules.Trouble() != nil:
		return rules.Trouble().Error()
	}
	return ""
}

// end says how it stands when watch ends because of why.
func (w *watch) end(why error) error {
	if !errors.Is(why, errInterrupted) && !errors.Is(why, context.DeadlineExceeded) {
		return why
	}
	if w.guard == nil {
		return nil
	}
	open := w.guard.red()
	switch {
	case len(open) == 0 && w.sight.lawless != "":
		return hint(exitf(ExitStale, "scamp: it is not known who may be called: %s", clean(w.sight.lawless)), "scamp check says what is wrong with the rules")
	case len(open) == 0 && w.sight.blind:
		return exitf(ExitStale, "scamp: it is not known who lives: %s", clean(w.sight.why))
	case len(open) == 0:
		return nil
	}
	err := exitf(ExitFindings, "scamp: %s:%d: %s has %s, want at least %d", w.o.expected, open[0].line, clean(open[0].name), count(open[0].have, "instance"), open[0].red)
	if len(open) > 1 {
		return hint(err, "and %s more red", count(len(open)-1, "action"))
	}
	return err
}

type watchEvent struct {
	Event       string `json:"event"`
	Time        string `json:"time"`
	Ident       string `json:"ident"`
	Address     string `json:"address"` // host:port
	Fingerprint string `json:"fingerprint"`
	Why         string `json:"why"`
}

type incidentEvent struct {
	Event  string `json:"event"`
	Time   string `json:"time"`
	Action string `json:"action"`
	Level  string `json:"level"`
	Have   int    `json:"have"`
	Want   int    `json:"want"`
	Since  string `json:"since"`
	Line   int    `json:"line"` // of the inventory
}

type sightEvent struct {
	Event string `json:"event"`
	Time  string `json:"time"`
	Why   string `json:"why"`
}

// The times of events: for programs, and for people where they are.
const (
	eventTime = "2006-01-02T15:04:05.000Z07:00"
	localTime = time.DateTime
)

// instance tells of an instance.
func (w *watch) instance(e discovery.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, p := time.Now(), e.Route.Peer
	if w.a.json {
		return w.a.printJSON(watchEvent{e.Kind.String(), now.UTC().Format(eventTime), p.Ident, p.Address, p.Certificate.Fingerprint, e.Why.String()})
	}
	colour := map[discovery.Kind]int{discovery.Added: green, discovery.Updated: grey, discovery.Removed: yellow}[e.Kind]
	return w.a.printf("%s %s %s at %s: %v\n", now.Format(localTime), w.a.paint(colour, fmt.Sprintf("%-8s", e.Kind)), clean(p.Ident), clean(p.Address), e.Why)
}

// sighted tells that it is not known who lives, or known again.
func (w *watch) sighted(s sighted) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.a.json {
		return w.a.printJSON(sightEvent{s.event, now.UTC().Format(eventTime), s.why})
	}
	colour := map[string]int{"blind": red, "sees": green}[s.event]
	return w.a.printf("%s %s %s\n", now.Format(localTime), w.a.paint(colour, fmt.Sprintf("%-8s", s.event)), clean(s.why))
}

// incident tells of an incident.
func (w *watch) incident(i incident) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.a.json {
		return w.a.printJSON(incidentEvent{i.event, now.UTC().Format(eventTime), i.name, i.level.String(), i.have, i.want(i.level), i.since.UTC().Format(eventTime), i.line})
	}
	colour := map[level]int{levelRed: red, levelYellow: yellow}[i.level]
	if i.event == "closed" {
		colour = green
	}
	return w.a.printf("%s %s %s %s: %s, want at least %d, since %s (%s:%d)\n", now.Format(localTime), w.a.paint(colour, fmt.Sprintf("%-8s", i.event)),
		i.level, clean(i.name), count(i.have, "instance"), i.want(i.level), i.since.Format(localTime), w.o.expected, i.line)
}
