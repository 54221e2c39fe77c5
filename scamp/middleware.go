package scamp

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"
)

// A Middleware makes a handler of a handler: it may look at a request before the
// handler does, refuse it, and see how it ended. What it makes is called by many
// goroutines at once.
type Middleware func(Handler) Handler

// Use puts middleware around every handler of the service, those registered before and
// after, and the built-in ones. The first is the outermost. It sees the octets of every request, so that calls
// within the process go as JSON too (see Call). Tickets and privileges are checked before any of
// it runs. After Serve it changes nothing, and says so in the log.
func (s *Service) Use(mw ...Middleware) { s.add("Use", &s.middleware, mw) }

// Observe is Use for middleware that also sees the requests that are refused because of
// their tickets or callers: for logs and measures. It is outside of what Use was given. What
// is refused before its turn reaches no middleware: an action that is not there, a full
// queue, a service that drains, a caller that has left. Stats counts the most of that. As with Use, calls within the process go as JSON.
func (s *Service) Observe(mw ...Middleware) { s.add("Observe", &s.observers, mw) }

func (s *Service) add(what string, to *[]Middleware, mw []Middleware) {
	err := error(nil)
	s.mu.Lock()
	switch {
	case s.serving:
		err = fmt.Errorf("scamp: service %s: %s was called after Serve", clean(s.name), what)
	case slices.ContainsFunc(mw, func(m Middleware) bool { return m == nil }):
		err = fmt.Errorf("scamp: service %s: %s was given a nil Middleware", clean(s.name), what)
	default:
		*to = append(*to, mw...)
	}
	s.mu.Unlock()
	if err != nil {
		s.mistake(err)
	}
}

// around returns h inside of mw.
func around(h Handler, mw []Middleware) Handler {
	for i := len(mw) - 1; i >= 0; i-- {
		h = mw[i](h)
	}
	return h
}

// AccessLog writes a line for each request that had its turn, when it ends: action, version, caller, where
// from, how long, octets of the reply, and the error code if it failed, also when it
// panicked or was answered in its handler's stead; user and client too of a ticket that let
// the request in. It waits for log. Tickets never show.
// Give it to Observe to hear of refused requests too. A nil log is silence.
func AccessLog(log *slog.Logger) Middleware {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return func(next Handler) Handler {
		return func(ctx context.Context, req *Request, rep *ReplyWriter) (err error) {
			began := time.Now()
			panicked := true
			defer func() {
				failure := err
				switch {
				case panicked:
					failure = errFailed // the service answers so
				case ctx.Err() != nil:
					failure = Cause(ctx)
				}
				logAccess(ctx, log, req, rep, time.Since(began), failure)
			}()
			err = next(ctx, req, rep)
			panicked = false
			return err
		}
	}
}

func logAccess(ctx context.Context, log *slog.Logger, req *Request, rep *ReplyWriter, took time.Duration, err error) {
	caller, from := "", "" // anonymous
	if req.Caller != nil {
		caller = req.Caller.Fingerprint
	}
	if req.Remote != nil {
		from = req.Remote.String()
	}
	attrs := []slog.Attr{
		slog.String("action", req.Sector+":"+req.Action), slog.Int("version", req.Version),
		slog.String("caller", caller), slog.String("from", from),
		slog.Duration("took", took), slog.Int64("octets", rep.size()),
	}
	if req.claims != nil {
		attrs = append(attrs, slog.Int64("user", req.claims.User), slog.Int64("client", req.claims.Client))
	}
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("code", codeOf(err)), slog.String("error", cutText(err.Error(), rep.logText())))
	}
	log.LogAttrs(context.WithoutCancel(ctx), level, "request", attrs...)
}

// Recover turns a panic of a handler into an error that tell makes of it; nil from tell
// makes it "general". The service counts it, but tell alone hears of it: Recover is for
// those who want to log it themselves, or answer otherwise. With a nil tell the service logs
// the stack and answers "general", as without Recover, and middleware outside of it sees
// an error in place of the panic.
func Recover(tell func(ctx context.Context, req *Request, panicked any, stack []byte) error) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, req *Request, rep *ReplyWriter) (err error) {
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				err = errFailed
				if log := rep.log(); log != nil {
					if tell != nil {
						log.count("handler_panicked")
					} else {
						log.panicked(req.Action, v)
					}
				}
				if tell != nil {
					if told := tell(ctx, req, v, debug.Stack()); told != nil {
						err = told
					}
				}
			}()
			return next(ctx, req, rep)
		}
	}
}
