package command

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// signOptions are the flags of sign.
type signOptions struct {
	specs, keys, certs []string
	service            serviceSpec
	count              int
	cache              string
	force              bool
}

func (a *app) signCommand() *cobra.Command {
	o := signOptions{service: *newSpec("")}
	cmd := &cobra.Command{
		Use:   "sign --spec FILE | --service NAME --address HOST:PORT --action ACTION",
		Short: "Sign service specs as records of a discovery cache",
		Long: `Sign makes records of a discovery cache by hand: of services that announce themselves nowhere,
that are behind a load balancer, or that do not exist at all. It prints each as an empty line, the
line %%% and the record, so that what it prints is a whole cache file; or with --cache FILE it puts
them into that file.

What to sign is in flags, or in spec files (--spec, can be repeated). A spec file holds any number
of JSON values. An object says what an announcement is to be made of:

  {"service": "hello", "address": "10.0.0.5:30100", "actions": ["Hello.echo~1#noauth"]}

and may have ident, sector (main), envelopes (["json"]), weight (1), interval_ms (5000) and
timestamp_ms (now). An array is the announcement itself and is signed octet for octet:

  [3,"sample:AAEC","main",1,5000,"beepish+tls://127.0.0.1:30100",["json"],
   [["Sample",["echo","noauth",1]]],1700000000000]

(here on two lines; one that is on several is signed without what JSON may leave out): version 3,
ident, sector, weight, interval in milliseconds, address, envelopes, classes with their actions,
timestamp. An ACTION, in a flag or a spec, is [SECTOR:]CLASS.NAME[~VERSION][#FLAG,...][@ENVELOPE,...]
with the flags create, read, update, destroy, noauth, public, secret and tN (seconds).

An ident that is not given is made of service, certificate and address: signing again replaces
the record. --count N makes N instances, at as many addresses from the given one on; {n} in names
and actions becomes 0, 1, ... With several pairs of --key and --cert the instances take turns.
Without --key and --cert the key pair is that of the service in the configuration.

--cache FILE replaces the records of these instances, by fingerprint and ident, adds new ones, and
takes out those with weight 0. All other records stay octet for octet, and readers see the old
file or the new one. A file that a cache daemon writes is left alone.

The key is RSA, in PKCS #1 or PKCS #8 PEM, without a pass phrase. The old spelling works too:
scamp -announcepath=SPEC -keypath=KEY -certpath=CERT.

With --json: ident, fingerprint, record and, with --cache, change (added, replaced, unchanged,
removed or not there).`,
		Example: `  scamp sign --service hello --address 10.0.0.5:30100 --action 'Hello.echo#noauth' \
      --key hello.key --cert hello.crt --cache discovery
  scamp sign --spec hello.json --key hello.key --cert hello.crt >> discovery
  scamp --config bus/soa.conf sign --service load --address 127.0.0.1:20000 --action 'Load{n}.run' --count 10000`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd.Flags().Changed); err != nil {
				return &usageError{"scamp sign", err}
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			return a.sign(ctx, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.specs, "spec", nil, "service specs, a `FILE` or - for stdin; can be repeated")
	flags.StringArrayVar(&o.keys, "key", nil, "private key, a PEM `FILE`; can be repeated, with as many --cert")
	flags.StringArrayVar(&o.certs, "cert", nil, "certificate, a PEM `FILE`; can be repeated")
	flags.StringVar(&o.service.service, "service", "", "`NAME` of the service, instead of --spec")
	flags.StringVar(&o.service.ident, "ident", "", "whole `IDENT` of the instance; default: made of service, certificate and address")
	flags.StringVar(&o.service.address, "address", "", "`HOST:PORT` where it listens, or a URI")
	flags.StringArrayVar(&o.service.actions, "action", nil, "an `ACTION` it offers, for example 'Hello.echo~1#noauth'; can be repeated")
	flags.StringVar(&o.service.sector, "sector", o.service.sector, "sector of the actions that name none")
	flags.StringSliceVar(&o.service.envelopes, "envelope", o.service.envelopes, "envelopes of the actions that name none, a `LIST`")
	flags.IntVar(&o.service.weight, "weight", o.service.weight, "0 to 100: more than 0 offers the actions, 0 withdraws")
	flags.DurationVar(&o.service.interval, "interval", o.service.interval, "`TIME` between its announcements")
	flags.Int64Var(&o.service.timestamp, "timestamp", 0, "when it was signed, in milliseconds `MS` since 1970, for example of date +%s000; default: now")
	flags.IntVar(&o.count, "count", 1, "make `N` instances")
	flags.StringVar(&o.cache, "cache", "", "put the records into this cache `FILE` instead of printing them")
	flags.BoolVar(&o.force, "force", false, "with --cache: also if a cache daemon writes the file, which will put its own back, and also what makes old readers lose the whole file")
	return cmd
}

// ofService are the flags that describe a service without a spec file.
var ofService = []string{"service", "ident", "address", "action", "sector", "envelope", "weight", "interval", "timestamp"}

// mostInstances bounds --count. With 2048 bits so many records have 200 MB.
const mostInstances = 100_000

func (o *signOptions) check(given func(flag string) bool) error {
	switch {
	case len(o.specs) == 0 && !given("service") && !given("ident"):
		return errors.New("what to sign is missing: want --spec FILE, or --service NAME --address HOST:PORT --action CLASS.NAME")
	case o.count < 1 || o.count > mostInstances:
		return fmt.Errorf("--count %d: want 1 to %d", o.count, mostInstances)
	case o.force && o.cache == "":
		return errors.New("--force goes with --cache FILE")
	case len(o.keys) != len(o.certs):
		missing, there := "--cert", "--key"
		if len(o.keys) < len(o.certs) {
			missing, there = there, missing
		}
		return fmt.Errorf("%s is missing: want one for each %s", missing, there)
	}
	stdin := 0
	for _, file := range o.specs {
		if file == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return errors.New("--spec - twice: stdin can be read once")
	}
	if len(o.specs) == 0 {
		if err := o.service.check(); err != nil {
			return fmt.Errorf("--%w", err)
		}
		if o.count > 1 && o.service.ident != "" && !strings.Contains(o.service.ident, "{n}") {
			return fmt.Errorf("--count and --ident %q: want no --ident, or one with {n}", clean(o.service.ident))
		}
		for _, text := range o.service.actions {
			if _, err := parseActionSpec(expandNumber(text, 0)); err != nil {
				return fmt.Errorf("--%w", err)
			}
		}
		return nil
	}
	for _, flag := range ofService {
		if given(flag) {
			return fmt.Errorf("--%s and --spec: want one of them: a spec says it itself", flag)
		}
	}
	return nil
}

// sign signs everything and prints it, or puts it into a cache file.
func (a *app) sign(ctx context.Context, o *signOptions) error {
	specs, err := a.signSpecs(o)
	if err != nil {
		return err
	}
	pairs, err := a.signPairs(o, specs)
	if err != nil {
		return err
	}
	announcements, err := signAll(ctx, specs, o.count, pairs)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return exitf(ExitTimeout, "scamp: --timeout %v is over before everything was signed: want more, for one or two milliseconds each", a.timeout)
	case err != nil:
		return interrupted(ctx, err)
	}
	for i := 0; i < len(announcements); i += o.count { // the others are like it
		a.doubtSigned(announcements[i])
	}
	if o.cache != "" {
		return a.fileSigned(ctx, o, announcements)
	}
	for _, ann := range announcements {
		if a.json {
			err = a.printJSON(signJSON{ann.Ident, ann.Certificate.Fingerprint, string(ann.Record()), ""})
		} else {
			err = a.printf("\n%%%%%%\n%s", ann.Record())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// signSpecs returns what the flags describe, or the spec files hold.
func (a *app) signSpecs(o *signOptions) ([]*serviceSpec, error) {
	if len(o.specs) == 0 {
		return []*serviceSpec{&o.service}, nil
	}
	var specs []*serviceSpec
	for _, file := range o.specs {
		name, text, err := a.readSpecFile(file)
		if err != nil {
			return nil, fmt.Errorf("scamp: service spec: %w", err)
		}
		more, err := readSpecs(name, text)
		if err != nil {
			return nil, fmt.Errorf("scamp: service spec %w", err)
		}
		specs = append(specs, more...)
	}
	if o.count > 1 {
		for _, s := range specs {
			if s.json != nil || s.ident != "" && !strings.Contains(s.ident, "{n}") {
				return nil, fmt.Errorf("scamp: service spec %s: its ident is fixed, so there is one of it: want no --count, or no ident, or one with {n}", s.from)
			}
		}
	}
	return specs, nil
}

func (a *app) readSpecFile(file string) (name string, text []byte, err error) {
	if file == "-" {
		text, err = readAll(a.stdin, "stdin", maxSpecs)
		return "stdin", text, err
	}
	text, _, err = discovery.ReadFile(file, maxSpecs)
	return clean(file), text, err
}

// signPairs loads the key pairs of the flags, else those that the configuration has for
// the services.
func (a *app) signPairs(o *signOptions, specs []*serviceSpec) (func(spec, n int) *scamp.KeyPair, error) {
	var pairs []*scamp.KeyPair
	for i := range o.keys {
		pair, err := scamp.LoadKeyPair(o.certs[i], o.keys[i])
		if err != nil {
			return nil, err
		}
		a.doubtPair(pair)
		pairs = append(pairs, pair)
	}
	if len(pairs) > 0 {
		return func(spec, n int) *scamp.KeyPair { return pairs[(spec*o.count+n)%len(pairs)] }, nil
	}
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if cfg.File == "" && cfg.ConfigDir == "" {
		return nil, &usageError{"scamp sign", errors.New("--key and --cert are missing: want --key FILE --cert FILE, or --config FILE with a key pair of that service")}
	}
	own := *cfg
	own.AllowReadableKey = true // for serving it matters; here it is told
	byName := make(map[string]*scamp.KeyPair)
	for _, s := range specs {
		name := s.name()
		if byName[name] != nil {
			continue
		}
		pair, err := own.KeyPairFor(name)
		if err != nil {
			return nil, hint(err, "or name files with --key FILE --cert FILE")
		}
		a.doubtPair(pair)
		byName[name] = pair
	}
	return func(spec, _ int) *scamp.KeyPair { return byName[specs[spec].name()] }, nil
}

// signAll signs each spec count times, on all cores, until ctx ends.
func signAll(ctx context.Context, specs []*serviceSpec, count int, pair func(spec, n int) *scamp.KeyPair) ([]*discovery.Announcement, error) {
	now := time.Now()
	all := make([]*discovery.Announcement, len(specs)*count)
	errs := make([]error, len(all))
	var next atomic.Int64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range min(len(all), runtime.GOMAXPROCS(0)) {
		workers.Go(func() { // ends when there is no work left, or no use in it
			for i := int(next.Add(1)) - 1; i < len(all) && ctx.Err() == nil && !failed.Load(); i = int(next.Add(1)) - 1 {
				s := specs[i/count]
				if all[i], errs[i] = s.sign(i%count, pair(i/count, i%count), now); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, context.Cause(ctx)
}

// sign signs instance n of s.
func (s *serviceSpec) sign(n int, pair *scamp.KeyPair, now time.Time) (ann *discovery.Announcement, err error) {
	if s.json != nil {
		ann, err = discovery.SignJSON(s.json, pair.Certificate, pair.Key)
	} else if s, err = s.instance(n); err == nil {
		if ann, err = s.announcement(pair.Certificate, now); err == nil {
			_, err = ann.Sign(pair.Key)
		}
	}
	switch {
	case err != nil && s != nil && s.from != "":
		return nil, fmt.Errorf("scamp: service spec %s: %w", s.from, err)
	case err != nil:
		return nil, err
	}
	return ann, nil
}

// doubtPair tells of a key that others can read, or refuse.
func (a *app) doubtPair(pair *scamp.KeyPair) {
	if err := pair.CheckPrivate(); err != nil {
		a.log.Warn("the private key is not private", "error", err)
	}
	if err := pair.Certificate.CheckKey(discovery.Limits{}); err != nil {
		a.log.Warn("peers refuse this key", "error", err)
	}
}

// doubtSigned tells what of an announcement others do not take as it is meant.
func (a *app) doubtSigned(ann *discovery.Announcement) {
	for _, w := range ann.Warnings {
		a.log.Warn("a part of the spec does not count", "part", w.Text)
	}
	if err := ann.Strict(); err != nil {
		a.log.Warn("old readers lose more than this record", "error", err)
	}
	if ahead := time.Until(time.UnixMicro(ann.Timestamp)); ahead > (discovery.Limits{}).WithDefaults().FutureSkew {
		a.log.Warn("the timestamp is in the future: any other record of this instance wins over it", "ident", clean(ann.Ident), "ahead", ahead.Round(time.Second).String())
	}
}

// fileSigned puts announcements into the cache file.
func (a *app) fileSigned(ctx context.Context, o *signOptions, announcements []*discovery.Announcement) error {
	done, err := discovery.UpdateCacheFile(ctx, o.cache, announcements, &discovery.CacheUpdateOptions{Loose: o.force, IgnoreLock: o.force})
	if errors.Is(err, discovery.ErrCacheLocked) {
		return hint(err, "stop the cache daemon, or name another file, for scamp list --cache FILE; --force changes this one until the daemon writes it again")
	}
	if err != nil {
		return interrupted(ctx, err)
	}
	for _, b := range done.Bad {
		a.log.Warn("a record that nobody can read stays as it is", "cache", clean(o.cache), "error", b)
	}
	counts := make(map[discovery.CacheChange]int)
	for i, ann := range announcements {
		counts[done.Changes[i]]++
		if a.json {
			err := a.printJSON(signJSON{ann.Ident, ann.Certificate.Fingerprint, string(ann.Record()), done.Changes[i].String()})
			if err != nil {
				return err
			}
		}
	}
	if a.json {
		return nil
	}
	var words []string
	for c := discovery.RecordAdded; c <= discovery.RecordAbsent; c++ {
		if n := counts[c]; n > 0 {
			words = append(words, strconv.Itoa(n)+" "+c.String())
		}
	}
	a.say("%s: %s, %d in all", clean(o.cache), strings.Join(words, ", "), done.Records)
	return nil
}

type signJSON struct {
	Ident       string `json:"ident"`
	Fingerprint string `json:"fingerprint"`
	Record      string `json:"record"`
	Change      string `json:"change,omitempty"` // of the cache file
}
