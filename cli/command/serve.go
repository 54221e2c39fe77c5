package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	listen    []string
	advertise string
	sector    string
	class     string
	builtin   []string
	action    []string
	envelope  []string
	tickets   bool
	table     string
	programs  []program // parsed from action
}

// authzTables are the values of --authz-table.
var authzTables = map[string]scamp.AuthzTable{"main": scamp.AuthzTableMain, "off": scamp.AuthzTableOff, "all": scamp.AuthzTableAll}

func (a *app) serveCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve NAME",
		Short: "Offer built-in actions, or commands as actions",
		Long: `Serve runs the service NAME with its key pair until SIGINT, SIGTERM or --timeout. Then it
withdraws, finishes what it has in hand, and exits; a second signal exits at once, unless
it comes within half a second of the first.

Built-in actions (--builtin, in the class --class):
  echo   answers with the body of the request, as it streams
  hello  answers {"hello":NAME}
  size   {"bytes":N} answers with N octets of text
  slow   {"ms":M,"bytes":N} waits M milliseconds, then answers with N octets
  fail   answers with the error lab_error; {"text":TEXT} chooses its text
  abort  begins a reply and breaks it off
Without --builtin and --action it offers echo and hello.

With --action Class.name='COMMAND ARGUMENTS' a command answers: the body of the request is its
stdin, its stdout is the reply, both as streams. It is run for each request, without a shell;
quotes and backslashes work as in one, nothing else does. For a shell, say
--action Class.name='sh -c "..."'. An exit code other than 0 is an error reply with the end of its
stderr, or breaks a reply off that has begun. The command is killed when the caller leaves or its
time is over. Its environment has SCAMP_ACTION, SCAMP_SECTOR, SCAMP_VERSION, SCAMP_ENVELOPE,
SCAMP_CLIENT_ID, SCAMP_REMOTE (address of the caller) and SCAMP_CALLER (fingerprint of the
caller's certificate, empty if it shows none). At most service.max_concurrency run at once.

With service.callers in the configuration only those may call whose certificate that file names;
service.callers_mode = audit tells in the log whom it would refuse. See soa.conf.example.

With --require-tickets only those may call whose request has a ticket that the key of
auth.ticket_verify_key verifies; _meta.documentation answers anybody. For actions of sector main the
authorization table must grant the action too: it is asked of whoever offers Auth.getAuthzTable, and
where nobody does such calls fail. --authz-table all asks it for every sector, off for none, so that
any valid ticket will do.

With --json it prints events: {"event":"ready","address":HOST:PORT,"ident":...,"fingerprint":...,
"name":...,"actions":[...]}, {"event":"draining"} and {"event":"stopped","requests_cut_off":N}: so many
were open when service.shutdown_drain was over.`,
		Example: `  scamp --config bus/soa.conf serve hello
  scamp --config bus/soa.conf serve hello --class Lab --builtin echo,size,slow
  scamp --config bus/soa.conf serve tools --action Text.upper='tr a-z A-Z'
  scamp --config bus/soa.conf serve tools --action Text.upper='tr a-z A-Z' --require-tickets --authz-table off`,
		Args:        args(cobra.ExactArgs(1)),
		Annotations: map[string]string{logLevelOf: "info"},
		RunE: func(cmd *cobra.Command, words []string) error {
			err := o.check()
			if err == nil && cmd.Flags().Changed("authz-table") && !o.tickets {
				err = errors.New("--authz-table: want --require-tickets with it")
			}
			if err != nil {
				return &usageError{"scamp serve", err}
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			return a.serve(ctx, cfg, words[0], &o)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.listen, "listen", nil, "`HOST:PORT` to listen on, port 0 for any; can be repeated; default: service.address and a port of the configured range")
	flags.StringVar(&o.advertise, "advertise", "", "`HOST:PORT` to announce instead of the address listened on")
	flags.StringVar(&o.sector, "sector", "main", "sector of the actions")
	flags.StringVar(&o.class, "class", "", "class of the built-in actions; default: NAME")
	flags.StringSliceVar(&o.builtin, "builtin", nil, "built-in actions, a `LIST` of "+strings.Join(builtinNames, ","))
	flags.StringArrayVar(&o.action, "action", nil, "an action and the command that answers it, `CLASS.NAME='COMMAND'`; can be repeated")
	flags.StringSliceVar(&o.envelope, "envelope", nil, "envelopes taken, a `LIST`; default: json")
	flags.BoolVar(&o.tickets, "require-tickets", false, "refuse requests without a valid ticket")
	flags.StringVar(&o.table, "authz-table", "main", "with --require-tickets: `SECTORS` for which the authorization table decides too: main, all or off")
	cmd.RegisterFlagCompletionFunc("authz-table", cobra.FixedCompletions(slices.Sorted(maps.Keys(authzTables)), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("builtin", cobra.FixedCompletions(builtinNames, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *serveOptions) check() error {
	if len(o.builtin) == 0 && len(o.action) == 0 {
		o.builtin = []string{"echo", "hello"}
	}
	for _, name := range o.builtin {
		if !slices.Contains(builtinNames, name) {
			return fmt.Errorf("--builtin %q: want a list of %s", name, strings.Join(builtinNames, ", "))
		}
	}
	for _, text := range o.action {
		p, err := parseProgram(text)
		if err != nil {
			return fmt.Errorf("--action: %w", err)
		}
		o.programs = append(o.programs, p)
	}
	if _, ok := authzTables[o.table]; !ok {
		return fmt.Errorf("--authz-table %q: want main, off or all", o.table)
	}
	for _, address := range append(o.listen[:len(o.listen):len(o.listen)], o.advertise) {
		if address == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("address %q: want HOST:PORT", address)
		}
	}
	return nil
}

// register gives the service its actions and returns their names.
func (o *serveOptions) register(svc *scamp.Service, name string) (names []string, err error) {
	class := cmp.Or(o.class, name)
	if len(o.builtin) > 0 && !discovery.MaySend(class, true) {
		return nil, &usageError{"scamp serve", fmt.Errorf("class %q of the built-in actions: want letters, digits and '_' with dots between, set with --class", class)}
	}
	for _, b := range o.builtin {
		svc.Handle(class+"."+b, builtins[b](name), nil)
		names = append(names, class+"."+b)
	}
	for _, p := range o.programs {
		svc.Handle(p.name, p.serve, nil)
		names = append(names, p.name)
	}
	return names, nil
}

// serve runs a service until ctx ends and it is drained.
func (a *app) serve(ctx context.Context, cfg *scamp.Config, name string, o *serveOptions) error {
	bus, err := scamp.Open(cfg, &scamp.Options{Log: a.log})
	if err != nil {
		return err
	}
	defer bus.Close()
	svc, err := bus.NewService(name, &scamp.ServiceOptions{
		Listen: o.listen, Advertise: o.advertise, Sector: o.sector, Envelopes: o.envelope,
		RequireTickets: o.tickets, AuthzTable: authzTables[o.table],
	})
	if err != nil {
		return err
	}
	names, err := o.register(svc, name)
	if err == nil && o.tickets {
		err = checkTicketKey(cfg)
	}
	if err != nil {
		return err
	}
	ready := serveReady{Event: "ready", Ident: svc.Ident(), Fingerprint: svc.Fingerprint(), Name: name, Actions: names}
	ended := make(chan struct{})
	var left time.Time // when it began to stop
	var telling sync.WaitGroup
	telling.Go(func() { left = a.tellServe(ctx, cfg.WithDefaults(), svc, ready, ended) }) // ends with ended
	err = svc.Serve(ctx)
	close(ended)
	telling.Wait()
	if err != nil {
		return err
	}
	cut, took := bus.Stats()["requests_cut_off"], short(time.Since(left))
	if cut > 0 {
		a.log.Warn("stopped: "+count(int(cut), "request")+" cut off, since service.shutdown_drain was over; the listener is closed", "took", took)
	} else {
		a.log.Info("stopped: drained, and the listener closed", "took", took)
	}
	return a.event(serveStopped{"stopped", cut})
}

// checkTicketKey says why no ticket can be verified.
func checkTicketKey(cfg *scamp.Config) error {
	path := cfg.TicketKeyPath()
	if path == "" {
		return hint(errors.New("scamp: no key that verifies tickets: want auth.ticket_verify_key in the configuration"),
			"it is the public key of whoever issues tickets; scamp ticket keygen makes a pair")
	}
	_, err := scamp.LoadTicketKeys(path, &cfg.Limits)
	return err
}

type serveStopped struct {
	Event string `json:"event"`
	Cut   uint64 `json:"requests_cut_off"`
}

type serveReady struct {
	Event       string   `json:"event"`
	Address     string   `json:"address"` // host:port
	Ident       string   `json:"ident"`
	Fingerprint string   `json:"fingerprint"`
	Name        string   `json:"name"`
	Actions     []string `json:"actions"`
}

// positive is a time of the configuration, where a negative one means none at all.
func positive(d time.Duration) time.Duration { return max(d, 0) }

// tellServe says when the service is ready and when it begins to stop, and returns when
// that was.
func (a *app) tellServe(ctx context.Context, cfg *scamp.Config, svc *scamp.Service, ready serveReady, ended <-chan struct{}) time.Time {
	select {
	case <-svc.Ready():
	case <-ended:
		return time.Now()
	}
	ready.Address = svc.Addr()
	a.log.Info("serving", "address", ready.Address, "ident", ready.Ident, "actions", joined(ready.Actions))
	a.event(ready)
	select {
	case <-ctx.Done():
	case <-ended:
	}
	left := time.Now()
	a.log.Info("draining: withdrawn, served on for grace, then running requests finish for drain; a second signal exits at once",
		"grace", positive(cfg.ShutdownGrace).String(), "drain", positive(cfg.ShutdownDrain).String())
	a.event(event{"draining"})
	return left
}
