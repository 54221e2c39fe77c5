package scamp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A Handler serves an action. It may be called by many goroutines at once. Returning
// nil ends the reply well; an error returned before the first octet of the reply
// becomes an error reply (a *RemoteError chooses code and text, any other error is
// "general" with its text), and after it breaks the reply off with that text.
//
// ctx ends when the caller has left, also by breaking its request off, its time is over,
// or the connection is lost.
// req, its Body and rep are invalid after the handler has returned.
type Handler func(ctx context.Context, req *Request, rep *ReplyWriter) error

// ActionOptions say more about an action. Nil means defaults. What they hold is copied.
type ActionOptions struct {
	Sector    string        // empty means the service's
	Version   int           // zero means the version in the action's name, then 1
	Envelopes []string      // empty means the service's
	Flags     []string      // some of the Flag constants; not tN, which Timeout makes
	Timeout   time.Duration // announced as flag tN, whole seconds: how long a call may take to begin its reply; zero means worker.timeout

	// Doc is HTML that tells people what the action does. An action with the flag public is
	// listed with it in the reply of _meta.documentation; of any other it is told to nobody.
	Doc string

	// Privileges are what a caller's ticket must grant, all of them. With any, the action
	// wants a valid ticket even if the service requires none (PROTOCOL 10.4).
	Privileges []int64
}

// ServiceOptions say how a service listens and announces itself. Nil means what the
// configuration says. Their slices are copied.
type ServiceOptions struct {
	Listen    []string      // "host:port" each, port 0 for any; empty means service.address with a port of the configured range
	Advertise string        // "host:port" announced instead of the listener's own address
	KeyPair   *KeyPair      // nil means the configured files of the service's name
	Sector    string        // empty means main
	Envelopes []string      // empty means json
	Weight    int           // zero means 1
	Interval  time.Duration // between announcements; zero means discovery.interval

	Grace time.Duration // served on after the withdrawal; zero means service.shutdown_grace, negative not at all
	Drain time.Duration // waited for running requests; zero means service.shutdown_drain, negative not at all

	// OmitBuiltIns leaves out the actions that every service has otherwise: NAME.queue_depth,
	// if NAME may be part of an action's name, and _meta.documentation (PROTOCOL 12.3).
	// Monitoring tools ask for them, and subscribers tell by the first that a service has
	// events. A service that registers one of them itself replaces it; middleware, tickets
	// and callers are as for any action.
	OmitBuiltIns bool

	// RequireTickets refuses every request without a valid ticket, but for actions with
	// the flag noauth (PROTOCOL 10.4). AuthzTable says for which actions the
	// authorization table is asked too; without RequireTickets it is asked for none, and
	// AuthzTableAll is a mistake.
	RequireTickets bool
	AuthzTable     AuthzTable

	// Notified is called with each message of type notify (PROTOCOL 14), one after the
	// other for those of one connection; nil drains them. It counts as a handler: it waits
	// for a place among Limits.MaxConcurrency, Serve waits for it, and ctx ends after
	// Limits.WorkerTimeout and with the connection. What comes while 16 of a connection
	// wait, or still waits when the connection ends, is dropped and counted, as is with
	// CallersEnforce what comes from somebody whom no rule names. Tickets are not asked for.
	Notified func(ctx context.Context, n *Notification)

	// Callers is a file that says whose certificate may call which action, in the form of
	// authorized_services; empty means service.callers. It is followed as those are. Events
	// are for those whom any of its rules names, but for the announcement of the service,
	// which everybody may have.
	Callers     string
	CallersMode CallersMode // zero means service.callers_mode

	Hooks ServiceHooks
}

// ServiceHooks are told how far a service is, each once and in this order. Nil means that
// nobody wants to know. Serve waits for them. A service whose bus is closed is told only that
// it was ready.
type ServiceHooks struct {
	Ready    func() // it listens and its first announcement is out
	Draining func() // its context has ended: it is about to withdraw, and serves on for the grace time
	Drained  func() // no request is in hand and every connection is closed; Serve returns nil
}

// A Service offers actions. Handle registers them, then Serve runs it, once.
type Service struct {
	bus   *Bus
	name  string
	opts  ServiceOptions
	pair  *KeyPair
	ident string

	intake  *intake
	events  *eventSource
	ready   chan struct{} // closed when the service listens and announces itself
	turning chan struct{} // has one value while somebody suspends, resumes or begins to drain

	mu         sync.Mutex   // protects what follows
	mistakes   []error      // of Handle and Use, returned by Serve
	middleware []Middleware // of Use
	observers  []Middleware // of Observe
	actions    map[actionID]*action
	index      map[actionID]*action // made by Serve, then read without the lock
	serving    bool
	guarded    bool         // some action wants tickets; set by Serve
	judge      *callerJudge // set by Serve; nil lets everybody call
	inbound    *inboundSide
	announcing []*discovery.Announcer // from Serve until the drain begins
	turned     context.CancelFunc     // ends the wait of who suspended or resumed last; nil if nobody has
}

// NewService returns a service of that name. Its key pair is read now; nothing is
// opened until Serve.
func (b *Bus) NewService(name string, opts *ServiceOptions) (*Service, error) {
	if b.closed() {
		return nil, fmt.Errorf("scamp: service %s: %w: want one that is open until Serve has returned", clean(name), ErrClosed)
	}
	s := &Service{bus: b, name: name, ready: make(chan struct{}), turning: make(chan struct{}, 1), actions: make(map[actionID]*action)}
	if opts != nil {
		s.opts = *opts
		s.opts.Listen, s.opts.Envelopes = slices.Clone(opts.Listen), slices.Clone(opts.Envelopes)
	}
	if !validServiceName(name) {
		return nil, fmt.Errorf("scamp: service name %q: want %s", clean(name), serviceNames)
	}
	def(&s.opts.Sector, "main")
	def(&s.opts.Weight, 1)
	def(&s.opts.Interval, b.cfg.Interval)
	def(&s.opts.Interval, 5*time.Second)
	def(&s.opts.Grace, b.cfg.ShutdownGrace)
	def(&s.opts.Grace, 5*time.Second)
	def(&s.opts.Drain, b.cfg.ShutdownDrain)
	def(&s.opts.Drain, 30*time.Second)
	if len(s.opts.Envelopes) == 0 {
		s.opts.Envelopes = []string{"json"}
	}
	s.pair = s.opts.KeyPair
	if s.pair == nil {
		pair, err := b.cfg.KeyPairFor(name)
		if err != nil {
			return nil, err
		}
		s.pair = pair
	}
	if err := s.pair.Certificate.CheckKey(b.limits.Discovery); err != nil {
		return nil, fmt.Errorf("scamp: service %s: %w", clean(name), err)
	}
	if end := s.pair.Certificate.NotAfter(); !end.After(time.Now()) {
		b.log.slog.Warn("the certificate of a service has expired: no SCAMP program looks at the dates, so it works on; scamp provision --help says how to make a new pair",
			"service", clean(name), "expired", end.UTC().Format(time.DateOnly))
	}
	s.ident = b.opts.ident(name)
	s.intake = &intake{dispatcher: b.serving, made: time.Now(), find: s.find}
	s.intake.guard = ticketGuard{b.tickets, &s.intake.tickets}
	s.events = newEventSource(s.intake, s.opts.Notified)
	return s, nil
}

const serviceNames = "letters, digits, '_', '-', '.' or '/', at most 200"

func validServiceName(name string) bool {
	return name != "" && !strings.ContainsAny(name, ":\x00 \t\r\n") && len(name) <= 200
}

// Ident is the unique name of this instance, new with each NewService.
func (s *Service) Ident() string { return s.ident }

// Ready is closed when the service listens and its first announcement is out.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Addr is the first address the service listens on, "host:port"; empty until Ready.
func (s *Service) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inbound == nil || len(s.inbound.listeners) == 0 {
		return ""
	}
	return s.inbound.listeners[0].Addr().String()
}

// Addrs are all addresses the service listens on, in the order of ServiceOptions.Listen;
// nil until Ready. The slice belongs to the caller.
func (s *Service) Addrs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inbound == nil {
		return nil
	}
	return s.inbound.addresses("")
}

// Fingerprint is that of the service's certificate, as rules name it.
func (s *Service) Fingerprint() string { return s.pair.Certificate.Fingerprint }

// Handle registers a handler for an action, "[sector:]Class.name[~version]". Mistakes
// are collected and returned by Serve. After Serve it changes nothing, and says so in the
// log.
func (s *Service) Handle(name string, h Handler, opts *ActionOptions) {
	s.handle(name, h, opts, nil)
}

// handle is Handle for a handler of the types that typed stands for; nil for octets.
func (s *Service) handle(name string, h Handler, opts *ActionOptions, typed any) {
	a, err := s.newAction(name, h, opts)
	if err == nil {
		a.typed = typed
		err = s.register(a)
	}
	if err != nil {
		s.mistake(fmt.Errorf("scamp: service %s: action %q: %w", clean(s.name), clean(name), err))
	}
}

func (s *Service) register(a *action) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving {
		return errors.New("registered after Serve")
	}
	if first := s.actions[lowerID(a.name, a.version)]; first != nil {
		return fmt.Errorf("%s:%s~%d is registered already: want another name or version, requests are not told apart by sector or letter case", first.sector, first.name, first.version)
	}
	s.actions[lowerID(a.name, a.version)] = a
	return nil
}

// mistake notes what Serve is to return. Once that has begun, the log is all there is.
func (s *Service) mistake(err error) {
	s.mu.Lock()
	late := s.serving
	if !late {
		s.mistakes = append(s.mistakes, err)
	}
	s.mu.Unlock()
	if late {
		s.bus.log.slog.Error("a service that serves cannot be changed: want it before Serve", "error", err)
	}
}

func (s *Service) newAction(name string, h Handler, opts *ActionOptions) (*action, error) {
	if opts == nil {
		opts = new(ActionOptions)
	}
	if h == nil {
		return nil, errors.New("no handler")
	}
	q, err := discovery.ParseAction(name)
	if err != nil {
		return nil, err
	}
	if err := agree(q, opts.Sector, opts.Version); err != nil {
		return nil, err
	}
	a := &action{sector: q.Sector, name: q.Action, version: q.Version, envelopes: slices.Clone(opts.Envelopes), handler: h, doc: opts.Doc}
	def(&a.sector, opts.Sector)
	def(&a.sector, s.opts.Sector)
	def(&a.version, opts.Version)
	def(&a.version, 1)
	if len(a.envelopes) == 0 {
		a.envelopes = s.opts.Envelopes
	}
	for _, f := range opts.Flags {
		if !slices.Contains(sendableFlags, f) {
			return nil, fmt.Errorf("flag %q: want one of %s", clean(f), strings.Join(sendableFlags, ", "))
		}
	}
	a.flags = slices.Sorted(slices.Values(opts.Flags))
	if slices.Contains(a.flags, "noauth") && len(opts.Privileges) > 0 {
		return nil, errors.New("privileges beside the flag noauth: want one or the other")
	}
	a.privileges = slices.Clone(opts.Privileges)
	if opts.Timeout != 0 {
		n := opts.Timeout / time.Second
		if n < 1 || n > 86400 || opts.Timeout%time.Second != 0 {
			return nil, fmt.Errorf("timeout %v: want whole seconds from 1 s to 24 h", opts.Timeout)
		}
		a.timeout = opts.Timeout
		a.flags = append(a.flags, fmt.Sprintf("t%d", n))
	}
	return a, nil
}

// Flags of actions (PROTOCOL 7.5).
const (
	FlagCreate  = "create"  // it is what Class._create stands for; the next three likewise
	FlagRead    = "read"    //
	FlagUpdate  = "update"  //
	FlagDestroy = "destroy" //
	FlagNoAuth  = "noauth"  // it wants no ticket, also where the service requires them
	FlagPublic  = "public"  // _meta.documentation tells of it
)

var sendableFlags = []string{FlagCreate, FlagDestroy, FlagNoAuth, FlagPublic, FlagRead, FlagUpdate}

// find is asked with every request: one look-up, when the name is spelled as announced.
func (s *Service) find(name string, version int) *action {
	if a := s.index[actionID{name, version}]; a != nil {
		return a
	}
	return s.index[lowerID(name, version)]
}

// HandleJSON registers a function from one JSON value to another. An error of fn is
// an error reply, as for a Handler. RequestFrom and ReplyFrom reach the rest. A caller
// in this process with the same types may share its values with fn: see Call. The Data of
// such a request is nil until its Bytes or JSON is called.
func HandleJSON[In, Out any](s *Service, name string, fn func(context.Context, In) (Out, error), opts *ActionOptions) {
	if fn == nil {
		s.Handle(name, nil, opts)
		return
	}
	s.handle(name, func(ctx context.Context, req *Request, rep *ReplyWriter) error {
		if c, ok := req.values.(*typedCall[In, Out]); ok {
			out, err := fn(ctx, c.in)
			if err == nil && rep.set {
				err = errReplyBegun
			}
			c.out = out
			return err
		}
		body, err := req.Bytes()
		if err != nil {
			return err
		}
		var in In
		if len(body) > 0 {
			if err := json.Unmarshal(body, &in); err != nil {
				return &RemoteError{Code: CodeBadRequest, Text: "request body: " + err.Error()}
			}
		}
		out, err := fn(ctx, in)
		if err != nil {
			return err
		}
		return rep.SetJSON(out)
	}, opts, typedAction[In, Out]{})
}

// content is what the service says of itself when it listens at these addresses.
func (s *Service) content(addresses []string) discovery.Content {
	c := discovery.Content{Ident: s.ident, Sector: s.opts.Sector, Weight: s.opts.Weight, Envelopes: s.opts.Envelopes}
	for _, a := range addresses {
		c.Addresses = append(c.Addresses, s.bus.cfg.URIScheme+"://"+a)
	}
	for _, a := range s.actions {
		i := strings.LastIndexByte(a.name, '.')
		c.Actions = append(c.Actions, discovery.Action{
			Sector: a.sector, Class: a.name[:i], Name: a.name[i+1:], Version: a.version, Envelopes: a.envelopes, Flags: a.flags,
		})
	}
	return c
}

// unauthorized tells of the actions that no rule in force lets this service offer:
// nobody would call them, and nobody would say why.
func (s *Service) unauthorized() {
	if s.bus.rules == nil {
		return // this host has no rules to judge by
	}
	z := s.bus.dir.Authorized()
	for _, a := range s.actions {
		switch d := z.Decide(s.pair.Certificate, a.sector, a.name); {
		case d.Allowed:
		case a.builtIn: // nobody asked for it, so nobody may miss it
			s.bus.log.slog.Debug("nobody will call this built-in action", "reason", d.String())
		default:
			s.bus.log.slog.Warn("nobody will call this action", "reason", d.String())
		}
	}
}
