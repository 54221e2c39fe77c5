package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/scamp"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "See a whole bus at work on this machine",
		Long: `Demo runs a whole bus on 127.0.0.1 alone and explains each step: keys and rules, the cache
daemon, two instances that announce themselves, calls, a stream, a service that no rule allows, an
impostor, and how instances leave. It takes about 15 seconds.

The daemon and the instances are processes of their own, of this same binary. The keys are made
for the occasion, the multicast port is a random one, and everything is in a temporary directory
that is removed at the end, also after Ctrl-C.

With --json each step is one object: step, ok, ms, detail. The exit code is 1 if a step fails.`,
		Example: "  scamp demo\n  scamp demo --json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.timeout == 0 {
				a.timeout = time.Minute
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			return a.demo(ctx)
		},
	}
}

// A demo is one run of scamp demo.
type demo struct {
	a       *app
	program string // this binary
	dir     string // everything is in here
	layout  busLayout
	cfg     *scamp.Config
	bus     *scamp.Bus // the caller's
	cache   *child
	one     *child // instances of the same service
	two     *child
	killed  time.Time // when two was
	slow    chan error
}

// A demoStep does one thing and says in a line what came of it.
type demoStep struct {
	name string // stable, for --json
	what string // for somebody who sees a bus for the first time
	run  func(context.Context) (detail string, err error)
}

type demoStepJSON struct {
	Step   string `json:"step"`
	OK     bool   `json:"ok"`
	MS     int64  `json:"ms"`
	Detail string `json:"detail"`
}

func (a *app) demo(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("scamp: demo: %w", err)
	}
	dir, err := os.MkdirTemp("", "scamp-demo-")
	if err != nil {
		return fmt.Errorf("scamp: demo: %w", err)
	}
	d := &demo{a: a, program: program, dir: dir, slow: make(chan error, 1)}
	if !a.json {
		a.printf("A bus on 127.0.0.1 alone, with keys and files that live as long as this demo.\n\n")
	}
	var failed error
	steps := d.steps()
	for i, s := range steps {
		if failed = d.step(ctx, i+1, s); failed != nil {
			break
		}
	}
	// Also after Ctrl-C, so not with ctx.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	cleanup := d.step(end, len(steps)+1, demoStep{"cleanup", "Every process is stopped, and the directory with the keys is removed.", d.cleanup})
	switch {
	case errors.Is(context.Cause(ctx), errInterrupted):
		return errInterrupted
	case failed != nil:
		return &codedError{ExitFailure, failed}
	case cleanup == nil && !a.json:
		return a.printf("\nNext: scamp init --dir DIR makes a bus that stays.\n")
	}
	if cleanup != nil {
		return &codedError{ExitFailure, cleanup}
	}
	return nil
}

// step runs one step and tells of it.
func (d *demo) step(ctx context.Context, number int, s demoStep) error {
	if !d.a.json {
		d.a.printf("%s %s\n", d.a.bold(fmt.Sprintf("%2d %-9s", number, s.name)), s.what)
	}
	began := time.Now()
	detail, err := s.run(ctx)
	if err != nil {
		detail = err.Error()
	}
	took := time.Since(began)
	var perr error
	if d.a.json {
		perr = d.a.printJSON(demoStepJSON{s.name, err == nil, took.Milliseconds(), detail})
	} else {
		word := "ok"
		if err != nil {
			word = "FAILED"
		}
		perr = d.a.printf("%12s %s: %s (%s)\n", "", word, clean(detail), short(took))
	}
	if err != nil {
		return fmt.Errorf("scamp: demo: step %s: %w", s.name, err)
	}
	return perr
}

// cleanup ends all processes and removes everything.
func (d *demo) cleanup(ctx context.Context) (string, error) {
	if d.bus != nil {
		d.bus.Close()
	}
	var errs []error
	stopped := 0
	for _, c := range []*child{d.one, d.two, d.cache} {
		if c == nil {
			continue
		}
		if err := c.stop(ctx); err != nil {
			errs = append(errs, err)
		}
		stopped++
	}
	errs = append(errs, os.RemoveAll(d.dir))
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d processes ended, %s is gone", stopped, d.dir), nil
}
