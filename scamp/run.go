package scamp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// ErrInterrupted is the cause of a context of UntilSignal that a signal has ended.
var ErrInterrupted = errors.New("interrupted")

// Run serves services until SIGINT or SIGTERM comes, or one of them fails, and returns
// when all have drained (PROTOCOL 12.5). The second signal ends the process at once, unless
// it comes within half a second: see UntilSignal. Run tells systemd, if that has started the process, when all are ready and when they begin
// to stop. It is all that the main function of a service needs:
//
//	bus, err := scamp.Initialize("")
//	svc, err := bus.NewService("greeter", nil)
//	scamp.HandleJSON(svc, "Greeter.hello", hello, nil)
//	err = scamp.Run(svc)
func Run(services ...*Service) error {
	ctx, stop := UntilSignal(context.Background())
	defer stop()
	return run(ctx, newNotifier(os.Getenv("NOTIFY_SOCKET")), services)
}

// run is Run without its surroundings.
func run(ctx context.Context, tell notifier, services []*Service) error {
	if len(services) == 0 {
		return errors.New("scamp: Run: no service: want at least one")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failures := make([]error, len(services))
	var running sync.WaitGroup
	for i, s := range services {
		running.Go(func() { // ends with ctx, when the service has drained
			failures[i] = s.Serve(ctx)
			cancel() // who loses one service loses all: whatever started them starts them anew
		})
	}
	ready := true
	for _, s := range services {
		select {
		case <-s.Ready():
		case <-ctx.Done():
			ready = false
		}
	}
	if ready {
		tell.say("READY=1")
	}
	<-ctx.Done()
	tell.say("STOPPING=1")
	running.Wait()
	return errors.Join(failures...)
}

// sameSignal is for how long after the first signal another one is a copy of it.
const sameSignal = 500 * time.Millisecond

// UntilSignal returns a context that ends at the first SIGINT or SIGTERM, with the cause
// ErrInterrupted. The second one ends the process with exit code 1 and a line on stderr; what comes within half
// a second of the first counts as that one, for whoever stops a process may send to it and
// to its group (timeout of the coreutils does, and supervisors). Stop gives the signals back;
// it must be called.
func UntilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1) // one that nobody has seen yet stands for all
	// Without this the second would not end it by itself: a shell starts what is in the
	// background with SIGINT ignored.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		var first time.Time
		for {
			select {
			case <-signals:
			case <-quit:
				return
			}
			switch {
			case first.IsZero():
				first = time.Now()
				cancel(ErrInterrupted)
			case time.Since(first) > sameSignal:
				exitAtOnce()
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		cancel(nil)
		close(quit)
		<-done
	})
}

// exitAtOnce ends the process, and says so to who would wonder about requests that broke
// off. Nobody waits for long who does not read that.
func exitAtOnce() {
	told := make(chan struct{})
	go func() { // ends with the process, if not before
		fmt.Fprintln(os.Stderr, "scamp: second signal: the process ends at once, and requests that are open are dropped")
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(sameSignal):
	}
	os.Exit(1)
}
