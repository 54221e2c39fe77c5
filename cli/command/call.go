package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// callOptions are the flags of call.
type callOptions struct {
	action     string
	data       string
	hasData    bool
	ident      string
	connect    connectOptions
	ticketFile string
	as         string
	envelope   string
	headers    []string
	verbose    bool
}

func (a *app) callCommand() *cobra.Command {
	var o callOptions
	cmd := &cobra.Command{
		Use:   "call ACTION",
		Short: "Call an action",
		Long: `Call sends one request and writes the body of the reply to stdout. ACTION is
[SECTOR:]CLASS.NAME[~VERSION]; without them the sector is bus.default_sector and the version 1.

The body of the request is --data JSON, --data @FILE, or stdin. Stdin and stdout are streams: a
gigabyte passes through a few megabytes of memory. When stdin is a terminal and there is no --data,
the body is empty. On a terminal the reply is shown with everything escaped that does not print.

Call finds an instance as every program does. Without a cache file it has to listen for up to 5.5
seconds until a service repeats its announcement, also when the action is misspelled. --ident takes that one alone. --connect HOST:PORT
goes straight to an address: its certificate must be the announced one, that of --cert or
--fingerprint, or anybody's with --insecure-anyone.

--as NAME shows the service who calls: the certificate of NAME, which the configuration must have the
key of. Without it that is bus.identity, if that is set.

With -v it tells on stderr how the call went: route, connection, certificate, times. A call
without --timeout ends after rpc.timeout (75 s) without progress.

With --json it prints one object. Always: ok, action. If known: instance, address, fingerprint, ms
(until the whole reply was there). If ok: size (octets of the body) and the body as body (when it
is JSON), else text (when it is UTF-8), else base64; envelope if it is not that of the request. If not:
exit (the exit code) and error, an object with text, ran (yes, no or maybe: whether the request
was acted upon), advice if there is some, and code and data if the action answered.`,
		Example: `  scamp --config bus/soa.conf call hello.echo --data '"world"'
  scamp --config bus/soa.conf call main:Files.store~2 < big.bin > reply.json
  scamp --config bus/soa.conf call hello.hello --json -v --timeout 5s
  scamp call hello.echo --data 1 --connect 127.0.0.1:30100 --cert hello.crt`,
		Args:        callArgs,
		Annotations: map[string]string{logLevelOf: "error"}, // the error of the call says it all
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.completeFromCache(callable)
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			o.action, o.hasData = words[0], cmd.Flags().Changed("data")
			if err := o.check(); err != nil {
				return &usageError{"scamp call", err}
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			return a.call(ctx, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", "", "body of the request: `JSON`, or @FILE")
	flags.StringVar(&o.ident, "ident", "", "call this instance alone: an `IDENT`, or FINGERPRINT#IDENT")
	flags.StringVar(&o.ticketFile, "ticket-file", "", "send the ticket in this `FILE`")
	flags.StringVar(&o.as, "as", "", "show the certificate of this service, a `NAME` that the configuration has a key for")
	flags.StringVar(&o.envelope, "envelope", "json", "format of the body, a `NAME`")
	flags.StringArrayVar(&o.headers, "header", nil, "one more member of the request's header, `NAME=JSON`; can be repeated")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "tell on stderr how the call goes")
	o.connect.flags(cmd)
	return cmd
}

// callArgs takes the one argument of call, and says where the second one belongs.
func callArgs(cmd *cobra.Command, words []string) error {
	err := args(cobra.ExactArgs(1))(cmd, words)
	if len(words) == 2 {
		if body := words[1]; !json.Valid([]byte(body)) && !strings.HasPrefix(body, "@") {
			text, _ := json.Marshal(body) // of a string it does not fail
			words[1] = string(text)
		}
		return hint(err, "the body goes after --data: scamp call %s --data '%s'", clean(words[0]), clean(words[1]))
	}
	return err
}

// callable returns the actions that may be called, as a person would type them.
func callable(c *catalog) (names []string) {
	for _, act := range c.actions() {
		name := act.Name
		if act.Sector != "main" {
			name = act.Sector + ":" + name
		}
		if act.Version != 1 {
			name = fmt.Sprintf("%s~%d", name, act.Version)
		}
		if act.Authorized && !act.BuiltIn {
			names = append(names, name)
		}
	}
	return names
}

func (o *callOptions) check() error {
	if _, err := discovery.ParseAction(o.action); err != nil {
		return err
	}
	if o.hasData && !strings.HasPrefix(o.data, "@") && o.envelope == "json" && !json.Valid([]byte(o.data)) && o.data != "" {
		return hint(fmt.Errorf("--data %q: want JSON, or @FILE", clean(o.data)),
			`a text is JSON with quotes around it: --data '"text"'; anything else can come from stdin`)
	}
	if o.connect.address != "" && o.ident != "" {
		return errors.New("--ident and --connect: want one of them: an address is one instance")
	}
	return o.connect.check()
}

// request makes the request of the flags.
func (o *callOptions) request(a *app) (*scamp.Request, error) {
	req := &scamp.Request{Action: o.action, Envelope: o.envelope, Route: &scamp.RouteOptions{Ident: o.ident}}
	if o.ticketFile != "" {
		text, err := readFile(o.ticketFile)
		if err != nil {
			return nil, fmt.Errorf("scamp: ticket: %w", err)
		}
		if req.Ticket = scamp.Ticket(bytes.TrimSpace(text)); req.Ticket == "" {
			return nil, &usageError{"scamp call", fmt.Errorf("--ticket-file %s: no ticket in it", clean(o.ticketFile))}
		}
	}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" || !json.Valid([]byte(value)) {
			return nil, &usageError{"scamp call", fmt.Errorf("--header %q: want NAME=JSON, for example trace='\"7\"'", clean(h))}
		}
		if req.Extra == nil {
			req.Extra = make(map[string]json.RawMessage)
		}
		req.Extra[name] = json.RawMessage(value)
	}
	file, isFile := strings.CutPrefix(o.data, "@")
	switch {
	case o.hasData && isFile:
		if err := readable(file); err != nil {
			return nil, fmt.Errorf("scamp: request body: %w", err)
		}
		req.GetBody = func() (io.Reader, error) { return os.Open(file) }
	case o.hasData:
		req.Data = []byte(o.data)
	case isTerminal(a.stdin):
		if o.verbose {
			a.say("* body       empty: stdin is a terminal and there is no --data")
		}
	default:
		req.Body = stdinBody{a.stdin}
	}
	return req, nil
}

// readable says why a file cannot be read, before anything is sent. What is no file but
// a pipe can be opened only once, and is not.
func readable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory: want a file", path)
	case !info.Mode().IsRegular():
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// stdinBody marks errors of stdin: they are no trouble of the bus.
type stdinBody struct{ r io.Reader }

func (b stdinBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errStdin, err)
	}
	return n, err
}

// call makes the call.
func (a *app) call(ctx context.Context, o *callOptions) error {
	began := time.Now()
	cfg, err := a.config()
	if err != nil {
		return err
	}
	req, err := o.request(a)
	if err != nil {
		return err
	}
	way := &wayTaken{a: a, verbose: o.verbose, began: began}
	cfg, err = actAs(cfg, o.as, way)
	if err != nil {
		return err
	}
	caller, done, err := a.caller(ctx, cfg, &o.connect, way)
	var reply *scamp.Reply
	if err == nil {
		defer done()
		if _, ok := caller.(*scamp.Bus); ok {
			defer way.patience().Stop()
		}
		reply, err = caller.Call(scamp.WithTrace(ctx, way.trace()), req)
	}
	result := callJSON{Action: o.action}
	if err == nil && a.json {
		err = result.take(reply, o.envelope)
	} else if err == nil {
		err = a.copyBody(reply, way)
	}
	if bus, ok := caller.(*scamp.Bus); ok && err != nil {
		err = wholeIdent(bus, o.ident, err)
	}
	err = a.unconfigured(interrupted(ctx, err))
	if !a.json {
		return ranError(err)
	}
	result.fill(way, err)
	if perr := a.printJSON(&result); perr != nil {
		return perr
	}
	if err != nil {
		return &quietError{err} // it is in the object
	}
	return nil
}

// wholeIdent says of a call to what is no ident, and may be the name of a service, which
// idents there are.
func wholeIdent(bus *scamp.Bus, ident string, err error) error {
	if ident == "" || strings.ContainsAny(ident, ":#") || !errors.Is(err, scamp.ErrNotFound) && !errors.Is(err, scamp.ErrStale) {
		return err
	}
	if call, ok := err.(*scamp.CallError); ok {
		told := *call
		told.Advice = "" // the action is not what is wrong
		err = &told
	}
	const most = 5
	var there []string
	for _, e := range bus.Directory().List(discovery.Query{Service: ident}) {
		if there = append(there, clean(e.Peer.Ident)); len(there) == most {
			break
		}
	}
	if len(there) == 0 {
		return hint(err, "--ident %s: want a whole ident, as scamp list services shows them", clean(ident))
	}
	return hint(err, "--ident %s: want a whole ident, for example %s", clean(ident), strings.Join(there, " or "))
}

// ranError says of the error of a call also whether the request may have been acted
// upon. Where the action itself answered, that is plain.
func ranError(err error) error {
	var call *scamp.CallError
	var remote *scamp.RemoteError
	if !errors.As(err, &call) || errors.As(err, &remote) && call.Ran == scamp.RanYes {
		return err
	}
	told := *call
	told.Advice = ""
	switch {
	case errors.Is(call.Err, errInterrupted):
		told.Err = errInterrupted // by what means says nothing to a person
	case errors.Is(err, errInterrupted):
		told.Err = fmt.Errorf("%w: %w", errInterrupted, call.Err)
	}
	text := told.Error() + " (may have run)"
	switch call.Ran {
	case scamp.RanNo:
		text = told.Error() + " (did not run)"
	case scamp.RanYes:
		text = told.Error() + " (it ran)"
	}
	err = &toldError{err, text}
	if call.Advice != "" {
		return hint(err, "%s", call.Advice)
	}
	return err
}

// A toldError is an error in words for people.
type toldError struct {
	err  error
	text string
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.err }

// interrupted says that a person ended the call, if that is why it failed.
func interrupted(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) && !errors.Is(err, errInterrupted) {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return err
}

// actAs returns the configuration of who shows the certificate of a service.
func actAs(cfg *scamp.Config, name string, way *wayTaken) (*scamp.Config, error) {
	if name != "" {
		other := *cfg
		other.Identity = name
		cfg = &other
	}
	if cfg.Identity == "" {
		return cfg, nil
	}
	pair, err := cfg.KeyPairFor(cfg.Identity)
	if err != nil {
		return nil, err
	}
	way.tell("as", "%s, certificate %s", cfg.Identity, pair.Certificate.Fingerprint)
	return cfg, nil
}

// caller returns what to call through, and the function that closes it.
func (a *app) caller(ctx context.Context, cfg *scamp.Config, o *connectOptions, way *wayTaken) (scamp.Caller, func(), error) {
	if o.address == "" {
		bus, err := scamp.Open(cfg, &scamp.Options{Log: a.log})
		if err != nil {
			return nil, nil, err
		}
		return bus, func() { bus.Close() }, nil
	}
	return a.dial(ctx, cfg, o, way)
}

// copyBody streams the reply to stdout.
func (a *app) copyBody(reply *scamp.Reply, way *wayTaken) error {
	defer reply.Body.Close()
	out := &bodyWriter{w: a.stdout}
	if a.onTerminal() {
		out.safe = &safeWriter{w: a.stdout, last: '\n'}
		out.w = out.safe
	}
	n, err := io.Copy(out, reply.Body)
	if out.err != nil {
		return fmt.Errorf("%w: %w", errStdout, out.err)
	}
	if out.safe != nil {
		out.safe.Flush()
		if out.safe.last != '\n' {
			fmt.Fprintln(a.stdout) // or the prompt of the shell follows on the same line
		}
	}
	if out.safe == nil && way.verbose && n > 0 && out.last != '\n' {
		a.say("") // both may go to one place
	}
	if err == nil {
		way.ended(n)
	}
	return err
}

// A bodyWriter tells errors of stdout from those of the reply.
type bodyWriter struct {
	w    io.Writer
	safe *safeWriter // nil if octets go out as they are
	err  error
	last byte // octet written last
}

func (b *bodyWriter) Write(p []byte) (int, error) {
	n, err := b.w.Write(p)
	if n > 0 {
		b.last = p[n-1]
	}
	b.err = err
	return n, err
}
