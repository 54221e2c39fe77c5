package scamp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/scampbus/scamp-go/discovery"
)

// A CallersMode says what becomes of a request whose caller no rule of the callers file
// lets call the action (key service.callers_mode).
type CallersMode int

// What becomes of callers that no rule names.
const (
	CallersUnset   CallersMode = iota // CallersEnforce if a callers file is named, else CallersOff
	CallersOff                        // they are served: nobody looks at the file
	CallersAudit                      // they are served, and the log says whom CallersEnforce would refuse
	CallersEnforce                    // they are answered authz, and the log says which line would let them
)

// String returns the mode as the configuration has it.
func (m CallersMode) String() string {
	names := [...]string{CallersUnset: "unset", CallersOff: "off", CallersAudit: "audit", CallersEnforce: "enforce"}
	if m >= 0 && int(m) < len(names) {
		return names[m]
	}
	return "unknown"
}

// callerRules are who may call, as one file says. The certificate is the one that the
// caller showed in its TLS handshake: who shows none, no rule can name.
type callerRules struct {
	first  sync.Once // reads the file
	reader *discovery.AuthorizedReader
	rules  atomic.Pointer[discovery.Authorized] // never nil: before the first good file they let nobody call
}

// callers returns the rules of a file, which the bus follows from then on.
func (b *Bus) callers(path string) *callerRules {
	c := b.callerFile(path)
	c.first.Do(func() {
		c.reader.Load() // what is wrong is in the log
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.ctx.Err() == nil {
			b.work.Go(func() { c.reader.Run(b.ctx) }) // ends with Close
		}
	})
	return c
}

func (b *Bus) callerFile(path string) *callerRules {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.callerFiles[path]; c != nil {
		return c
	}
	c := new(callerRules)
	c.rules.Store(&discovery.Authorized{File: path, Callers: true})
	c.reader = discovery.NewAuthorizedReader(path, b.dir, &discovery.AuthorizedReaderOptions{
		Callers: true, RequireSHA256: b.cfg.RequireSHA256, Log: b.log.slog, OnLoad: c.rules.Store,
	})
	if b.callerFiles == nil {
		b.callerFiles = make(map[string]*callerRules)
	}
	b.callerFiles[path] = c
	return c
}

// callersMode is what the service's options and the configuration say together, with the
// file to judge by. Without a file nobody could be let in, and nothing be looked up.
func (s *Service) callersMode() (CallersMode, string, error) {
	mode, path := s.opts.CallersMode, s.opts.Callers
	def(&mode, s.bus.cfg.CallersMode)
	def(&path, s.bus.cfg.Callers)
	switch {
	case mode < CallersUnset || mode > CallersEnforce:
		return mode, path, fmt.Errorf("callers mode %d: want one of the constants", mode)
	case mode == CallersUnset && path == "":
		mode = CallersOff
	case mode == CallersUnset:
		mode = CallersEnforce
	case mode != CallersOff && path == "":
		return mode, path, fmt.Errorf("callers are to be judged (%v), and no file says who may call: want service.callers", mode)
	}
	return mode, path, nil
}

// A callerJudge lets only those in whom the callers file of a service names. Nil lets
// everybody in.
type callerJudge struct {
	s     *Service
	mode  CallersMode // CallersAudit or CallersEnforce
	rules *callerRules
}

// callerJudge returns who judges the callers of the service, nil if nobody is asked for.
func (s *Service) callerJudge() (*callerJudge, error) {
	mode, path, err := s.callersMode()
	if err != nil || mode == CallersOff {
		return nil, err
	}
	return &callerJudge{s, mode, s.bus.callers(path)}, nil
}

// CallersState says which rules judge the callers of the service, how old they are, and
// why the file cannot be used now. It is false while none do: before Serve, and with
// CallersOff.
func (s *Service) CallersState() (discovery.AuthorizedState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.judge == nil {
		return discovery.AuthorizedState{}, false
	}
	return s.judge.rules.reader.State(), true
}

// around returns the middleware that lets only those call an action whom a rule lets.
func (j *callerJudge) around(a *action) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, req *Request, rep *ReplyWriter) error {
			d := j.rules.rules.Load().Decide(req.Caller, a.sector, a.name)
			why := error(nil)
			if d.Allowed && d.Line > 0 {
				why = j.believes(req.Caller)
			}
			if d.Allowed && why == nil || j.serves(req.Caller, a.sector+":"+a.name, callerReason{d: d, why: why}) {
				return next(ctx, req, rep)
			}
			return notRun{callerRefused(req.Caller, a)}
		}
	}
}

// hears says whether a subscribe or notify is taken that comes with a certificate: from
// those whom some rule names, for whatever it lets them call (PROTOCOL 14 knows no
// actions).
func (j *callerJudge) hears(c *discovery.Certificate, what string) bool {
	why := j.names(c)
	return why == nil || j.serves(c, what, callerReason{why: why})
}

// names says why no rule can be for who shows a certificate, or returns nil.
func (j *callerJudge) names(c *discovery.Certificate) error {
	rule, named := j.rules.rules.Load().RuleFor(c)
	switch {
	case c == nil:
		return errAnonymous
	case !named || !rule.Gives():
		return fmt.Errorf("no rule names the certificate: add %q to %s", c.Fingerprint+" "+j.s.opts.Sector+":ALL", j.rules.rules.Load().File)
	}
	return j.believes(c)
}

var errAnonymous = errors.New("a caller without a certificate, which no rule can name: want bus.identity where it runs")

// serves notes that enforce refuses a caller, and says whether it is served for all that.
func (j *callerJudge) serves(c *discovery.Certificate, what string, why callerReason) bool {
	kind, text, caller := "caller_denied", "caller refused", "none"
	if j.mode == CallersAudit {
		kind, text = "caller_would_deny", "a caller is served that enforce would refuse"
	}
	if c != nil {
		caller = c.Fingerprint
	}
	why.rules = j.rules
	j.s.bus.log.oddOf(kind, caller+" "+what, text, "service", j.s.name, "caller", caller, "asks", what, "reason", why)
	return j.mode == CallersAudit
}

// believes refuses certificates that tell too little of who shows them, whatever a rule
// says.
func (j *callerJudge) believes(c *discovery.Certificate) error {
	if rule, _ := j.rules.rules.Load().RuleFor(c); !strings.HasPrefix(rule.Certificate, "sha256:") && j.s.bus.dir.Twin(c) {
		return errTwinCaller
	}
	return strongEnough(c, &j.s.bus.limits)
}

// errTwinCaller says that a rule by SHA-1 cannot tell whom it names.
var errTwinCaller = errors.New("scamp: another certificate with the same SHA-1 fingerprint is on the bus, and one of them was made to pass for the other: want a rule by sha256")

// errWeakCaller says that a caller's certificate proves little.
var errWeakCaller = errors.New("scamp: the key of its certificate is too short to tell who it is: want tls.min_rsa_bits or more")

// strongEnough refuses keys that others could compute, as with announcements.
func strongEnough(c *discovery.Certificate, limits *Limits) error {
	if c.Key() != nil && c.Bits() < limits.Discovery.MinRSABits {
		return errWeakCaller
	}
	return nil
}

// What callers who are refused read, and are advised by.
const (
	callersRefuse = "callers must show a certificate here"
	mayNotCall    = "may not call"
)

// callerRefused is all that a caller hears: no line and no file of this host.
func callerRefused(c *discovery.Certificate, a *action) error {
	text := callersRefuse + ", and none was shown"
	if c != nil {
		text = fmt.Sprintf("certificate %s %s %s:%s", c.Fingerprint, mayNotCall, a.sector, a.name)
	}
	return &RemoteError{Code: CodeAuthz, Text: text}
}

// A callerReason is why a caller is refused, put into words only for a line that is
// written: who asks often must not make us look for what is nearly right each time. It is
// longer than text of the network may be in a log, and none of it is: a fingerprint, our
// own action, our own file.
type callerReason struct {
	d     discovery.Decision
	why   error
	rules *callerRules
}

// LogValue implements slog.LogValuer.
func (r callerReason) LogValue() slog.Value {
	if s := r.rules.reader.State(); s.Err != nil && s.Rules == nil {
		return slog.StringValue(s.String())
	}
	if r.why != nil {
		return slog.StringValue(r.why.Error())
	}
	return slog.StringValue(r.d.String())
}
