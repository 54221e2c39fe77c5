package scamp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// Serve listens, announces the service and answers requests until ctx ends; then it
// withdraws, serves on for the grace time, refuses what comes later, waits for the
// requests and notifications in hand, closes and returns nil (PROTOCOL 12.5). Where callers still ask, it
// goes on to refuse for up to two seconds, so that nobody's request meets the end of its
// connection; not if the grace time is negative. It returns an error if the service could
// not start, if a handler does not return although its context has ended, or, without any
// of that, if the bus is closed before ctx ends (ErrClosed): nobody hears a withdrawal
// then. It may be called once.
func (s *Service) Serve(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	if s.bus.closed() {
		return fmt.Errorf("scamp: service %s: %w before it was served: want Serve to return before Close is called", clean(s.name), ErrClosed)
	}
	side, err := s.listen()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.inbound = side
	s.mu.Unlock()
	defer s.events.close(abandonTime)
	returned := false
	defer func() {
		if !returned { // a hook panics, or has ended its goroutine: nobody is to go on being served
			s.shut(side, 0, s.intake.close("shutting down"), ErrStopped)
		}
	}()
	err = s.run(ctx, side)
	returned = true
	return err
}

// run serves what has been opened, and closes it.
func (s *Service) run(ctx context.Context, side *inboundSide) error {
	// The announcers outlive ctx: they send the withdrawal.
	announcing, stopAnnouncing := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stopAnnouncing()
	if dir := s.bus.cfg.RunningServiceDir; dir != "" {
		file, err := createRunningFile(dir, s.ident)
		if err != nil {
			side.close(0, closeWait)
			return err
		}
		defer file.Remove()
		if old := file.removeLeftovers(s.name); len(old) > 0 {
			s.bus.log.slog.Info("removed the running-service files of instances that were killed", "dir", dir, "files", len(old))
		}
	}
	side.accept()
	s.bus.locals.set(s, side)
	defer s.bus.locals.set(s, nil)
	announcers, err := s.announcers(side)
	if err != nil {
		side.close(0, closeWait)
		return err
	}
	s.mu.Lock()
	s.announcing = announcers
	s.mu.Unlock()
	defer s.settleTurns() // also if there is no drain
	defer s.bus.announces(announcers)()
	for _, a := range announcers {
		running.Go(func() { a.Run(announcing) }) // ends with announcing
	}
	if s.guarded {
		if err := s.bus.tickets.trouble(); err != nil {
			s.bus.log.slog.Warn("no ticket is valid here", "service", clean(s.name), "error", err)
		}
	}
	s.unauthorized()
	for _, a := range announcers {
		a.Announced(ctx) // a sending that fails is logged, and tried again each interval
	}
	runHook(s.opts.Hooks.Ready)
	close(s.ready)

	select {
	case <-ctx.Done():
	case <-s.bus.ctx.Done():
		if ctx.Err() == nil {
			return errors.Join(s.orphaned(), s.shut(side, 0, s.intake.close("shutting down"), ErrClosed))
		}
	}
	runHook(s.opts.Hooks.Draining)
	if err := s.drain(side, announcers); err != nil {
		return err
	}
	runHook(s.opts.Hooks.Drained)
	return nil
}

func runHook(hook func()) {
	if hook != nil {
		hook()
	}
}

// begin checks what Handle collected. After it the actions do not change. Nobody else does
// so once it has begun, and Middleware, which is called here, may ask the service: so it
// holds no lock.
func (s *Service) begin() error {
	s.mu.Lock()
	again := s.serving
	s.serving = true
	s.mu.Unlock()
	if again {
		return errors.New("scamp: Serve was called twice")
	}
	if len(s.actions) == 0 {
		s.mistakes = append(s.mistakes, fmt.Errorf("scamp: service %s: no action is registered", clean(s.name)))
	}
	if err := s.addBuiltIns(); err != nil {
		s.mistakes = append(s.mistakes, fmt.Errorf("scamp: service %s: built-in actions: %w", clean(s.name), err))
	}
	if err := s.opts.checkAuthzTable(); err != nil {
		s.mistakes = append(s.mistakes, fmt.Errorf("scamp: service %s: %w", clean(s.name), err))
	}
	judge, err := s.callerJudge()
	if err != nil {
		s.mistakes = append(s.mistakes, fmt.Errorf("scamp: service %s: %w", clean(s.name), err))
	}
	s.mu.Lock()
	s.judge, s.events.judge = judge, judge
	s.mu.Unlock()
	s.index = make(map[actionID]*action, 2*len(s.actions))
	for id, a := range s.actions {
		a.handler = around(a.handler, s.middleware)
		if len(s.middleware)+len(s.observers) > 0 {
			a.typed = nil // it may look at the octets, and change them
		}
		if admit := s.admission(a); admit != nil {
			a.handler = admit(a.handler)
			s.guarded = true
		}
		if judge != nil {
			a.handler = judge.around(a)(a.handler)
		}
		a.handler = around(a.handler, s.observers)
		s.index[id] = a
		s.index[actionID{a.name, a.version}] = a // as announced, so that nothing is folded
	}
	return errors.Join(s.mistakes...)
}

// drain stops the service and loses nothing: PROTOCOL 12.5.
func (s *Service) drain(side *inboundSide, announcers []*discovery.Announcer) error {
	s.settleTurns() // Resume must not undo the withdrawal
	grace := time.NewTimer(max(s.opts.Grace, 0))
	defer grace.Stop()
	said, cancel := context.WithTimeout(context.Background(), time.Second)
	for _, a := range announcers {
		a.Withdraw(said) // what cannot be sent is logged; the instance expires then
	}
	cancel()
	<-grace.C
	side.stopListening()
	idle := s.intake.close("shutting down")
	rest := restWait
	if s.opts.Grace < 0 { // who stops so does not wait for those who are on their way
		rest = 0
	}
	if !within(max(s.opts.Drain, 0), idle) {
		rest = 0
		s.cutOff(side)
	}
	return s.shut(side, rest, idle, ErrStopped)
}

// cutOff counts and tells what is not waited for any longer.
func (s *Service) cutOff(side *inboundSide) {
	for _, p := range side.peers() {
		for _, r := range s.intake.unqueue(p) {
			s.bus.log.count("drain_refused")
			turnAway(p, r.in, "shutting down")
		}
	}
	n, actions := s.intake.namesInHand(side.peers())
	if n == 0 {
		return
	}
	for range n {
		s.bus.log.count("requests_cut_off")
	}
	s.bus.log.slog.Warn("requests are cut off: they were not done in time; raise service.shutdown_drain, or see what they wait for",
		"service", clean(s.name), "service.shutdown_drain", max(s.opts.Drain, 0), "requests", n, "actions", actions)
}

// shut ends what is left of a service, its connections after such a rest; idle is closed
// when nothing is in hand. What is, hears why.
func (s *Service) shut(side *inboundSide, rest time.Duration, idle <-chan struct{}, why error) error {
	side.endsFor(why)
	side.close(rest, closeWait)
	s.intake.lose(why)
	// What still ran has lost its connection, and its context has ended.
	if !within(abandonTime, idle) {
		return fmt.Errorf("scamp: service %s: requests in hand %v after their connections ended: %d (with notifications): want handlers that return when their context ends", clean(s.name), abandonTime, s.intake.left())
	}
	return nil
}

// orphaned says that the service has no bus any more.
func (s *Service) orphaned() error {
	return fmt.Errorf("scamp: service %s: %w while it was served: want the context of Serve to end before Close", clean(s.name), ErrClosed)
}

// Suspend asks everybody not to use the service for now: it withdraws, and goes on to
// answer whoever asks nevertheless. It returns when the withdrawal was sent. Safe for
// concurrent use while Serve runs.
func (s *Service) Suspend(ctx context.Context) error {
	return s.turn(ctx, "suspend", (*discovery.Announcer).Withdraw)
}

// Resume announces a suspended service again, and returns when that was sent.
func (s *Service) Resume(ctx context.Context) error {
	return s.turn(ctx, "resume", (*discovery.Announcer).Resume)
}

func (s *Service) turn(ctx context.Context, what string, do func(*discovery.Announcer, context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case s.turning <- struct{}{}:
	default:
		select {
		case s.turning <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("scamp: %s service %s: %w while it is suspended or resumed already", what, clean(s.name), ctx.Err())
		}
	}
	defer func() { <-s.turning }()
	s.mu.Lock()
	announcers := s.announcing
	s.turned = cancel
	s.mu.Unlock()
	if announcers == nil {
		return fmt.Errorf("scamp: %s service %s: it is not announced: want Serve to run, and not to end", what, clean(s.name))
	}
	var errs []error
	for _, a := range announcers {
		errs = append(errs, do(a, ctx))
	}
	return errors.Join(errs...)
}

// settleTurns has nobody suspend or resume the service any more, and who does so not wait: a
// sending may be stuck for as long as we announce.
func (s *Service) settleTurns() {
	s.mu.Lock()
	s.announcing = nil
	if s.turned != nil {
		s.turned()
	}
	s.mu.Unlock()
	s.turning <- struct{}{}
	<-s.turning
}

const (
	restWait    = 2 * time.Second // for callers that have not heard of the withdrawal to be refused
	closeWait   = time.Second     // PROTOCOL 12.5 step 4
	abandonTime = time.Second     // for handlers to notice that their context has ended
)

// within waits for done, at most so long, and says whether it came.
func within(most time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-t.C:
		return false
	case <-done:
		return true
	}
}

// announcers are what announces this service: one for each carrier.
func (s *Service) announcers(side *inboundSide) ([]*discovery.Announcer, error) {
	carriers, err := s.bus.carry()
	if err != nil {
		// Whoever knows the address can call all the same (PROTOCOL 7.11).
		s.bus.log.slog.Warn("the service is not announced", "service", clean(s.name), "error", err)
		return nil, nil
	}
	var all []*discovery.Announcer
	for i, c := range carriers {
		var signed func([]byte)
		if i == 0 {
			signed = s.announced // one of them is enough for subscribers
		}
		a, err := discovery.NewAnnouncer(c, discovery.AnnouncerOptions{
			Signed:      signed,
			Certificate: s.pair.Certificate, Key: s.pair.Key, Interval: s.opts.Interval,
			Limits: s.bus.limits.Discovery, Now: s.bus.opts.Now, Rand: s.bus.opts.Rand, Log: s.bus.log.slog,
		})
		if err == nil {
			err = a.Set(s.content(side.addresses(s.opts.Advertise)))
		}
		if err != nil {
			return nil, fmt.Errorf("scamp: service %s: %w", clean(s.name), err)
		}
		all = append(all, a)
	}
	return all, nil
}
