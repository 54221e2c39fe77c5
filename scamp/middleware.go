package scamp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// A Middleware makes a handler of a handler: it may look at a request before the
// handler does, refuse it, and see how it ended. What it makes is called by many
// goroutines at once.
type Middleware func(Handler) Handler

// Use puts middleware around every handler of the service, those registered before and
// after. The first is the outermost. Tickets and privileges are checked before any of
// it runs. It must not be called after Serve.
func (s *Service) Use(mw ...Middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving {
		s.mistakes = append(s.mistakes, fmt.Errorf("scamp: service %s: Use was called after Serve", clean(s.name)))
		return
	}
	for _, m := range mw {
		if m == nil {
			s.mistakes = append(s.mistakes, fmt.Errorf("scamp: service %s: Use was given a nil Middleware", clean(s.name)))
			return
		}
	}
	s.middleware = append(s.middleware, mw...)
}

// around returns h inside of mw.
func around(h Handler, mw []Middleware) Handler {
	for i := len(mw) - 1; i >= 0; i-- {
		h = mw[i](h)
	}
	return h
}

// AccessLog writes a line for each request that ended: action, version, caller, where
// from, how long, octets of the reply, and the error code if there was one. It waits
// for log. Tickets never show.
func AccessLog(log *slog.Logger) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, req *Request, rep *ReplyWriter) error {
			began := time.Now()
			err := next(ctx, req, rep)
			caller := "" // anonymous
			if req.Caller != nil {
				caller = req.Caller.Fingerprint
			}
			from := ""
			if req.Remote != nil {
				from = req.Remote.String()
			}
			attrs := []slog.Attr{
				slog.String("action", req.Sector+":"+req.Action), slog.Int("version", req.Version),
				slog.String("caller", caller), slog.String("from", from),
				slog.Duration("took", time.Since(began)), slog.Int64("octets", rep.size()),
			}
			level := slog.LevelInfo
			if err != nil {
				level = slog.LevelWarn
				code := CodeGeneral
				if re, ok := errors.AsType[*RemoteError](err); ok {
					code = re.code()
				}
				attrs = append(attrs, slog.String("code", code), slog.String("error", clean(err.Error())))
			}
			log.LogAttrs(ctx, level, "request", attrs...)
			return err
		}
	}
}

// Recover turns a panic of a handler into an error that tell makes of it; nil makes
// "general" of all. Without it the service does the same and logs the stack: Recover is
// for those who want to hear of it, or answer otherwise.
func Recover(tell func(ctx context.Context, req *Request, panicked any, stack []byte) error) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, req *Request, rep *ReplyWriter) (err error) {
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				err = errFailed
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
