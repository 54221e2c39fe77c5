package scamp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// judgesCallers returns the middleware that lets only those call an action whom the
// callers file names, nil if nobody is asked for.
func (s *Service) judgesCallers() (func(*action) Middleware, error) {
	mode, path, err := s.callersMode()
	if err != nil || mode == CallersOff {
		return nil, err
	}
	c := s.bus.callers(path)
	return func(a *action) Middleware {
		return func(next Handler) Handler {
			return func(ctx context.Context, req *Request, rep *ReplyWriter) error {
				d := c.rules.Load().Decide(req.Caller, a.sector, a.name)
				why := error(nil)
				if d.Allowed && d.Line > 0 {
					why = strongEnough(req.Caller, &s.bus.limits)
				}
				switch {
				case d.Allowed && why == nil:
				case mode == CallersAudit:
					s.bus.log.odd("caller_would_deny", "a caller is served that enforce would refuse", "service", s.name, "reason", callerReason{d, why})
				default:
					s.bus.log.odd("caller_denied", "caller refused", "service", s.name, "reason", callerReason{d, why})
					return notRun{callerRefused(req.Caller, a)}
				}
				return next(ctx, req, rep)
			}
		}
	}, nil
}

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
	d   discovery.Decision
	why error
}

// LogValue implements slog.LogValuer.
func (r callerReason) LogValue() slog.Value {
	if r.why != nil {
		return slog.StringValue(r.why.Error())
	}
	return slog.StringValue(r.d.String())
}
