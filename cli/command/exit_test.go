package command_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/scampbus/scamp-go/cli/command"
	"github.com/scampbus/scamp-go/scamp"
)

func TestExitCode(t *testing.T) {
	call := func(err error) error { return &scamp.CallError{Action: "main:A.b~1", Err: err} }
	remote := func(code string) error { return call(&scamp.RemoteError{Code: code, Text: "no"}) }
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing wrong", nil, command.ExitOK},
		{"anything", errors.New("x"), command.ExitFailure},
		{"file", &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, command.ExitFailure},
		{"port in use", fmt.Errorf("x: %w", &net.OpError{Op: "listen", Err: syscall.EADDRINUSE}), command.ExitFailure},
		{"arguments", fmt.Errorf("x: %w", command.Usage()), command.ExitUsage},
		{"interrupted", fmt.Errorf("%w: %w", command.Interrupted, call(scamp.ErrLost)), command.ExitFailure},
		{"not found", call(fmt.Errorf("%w: x", scamp.ErrNotFound)), command.ExitNotFound},
		{"no_action", remote("no_action"), command.ExitNotFound},
		{"denied", call(scamp.ErrDenied), command.ExitDenied},
		{"authn", remote("authn"), command.ExitDenied},
		{"authz", remote("authz"), command.ExitDenied},
		{"timeout", call(fmt.Errorf("%w: %w", scamp.ErrTimeout, context.DeadlineExceeded)), command.ExitTimeout},
		{"deadline", context.DeadlineExceeded, command.ExitTimeout},
		{"timeout while dialling", call(fmt.Errorf("%w: %w", scamp.ErrTimeout, scamp.ErrNoDial)), command.ExitTimeout},
		{"pin", call(&scamp.PinError{Address: "a:1"}), command.ExitTransport},
		{"pin while dialling", call(fmt.Errorf("%w: %w", scamp.ErrNoDial, &scamp.PinError{})), command.ExitTransport},
		{"lost", call(scamp.ErrLost), command.ExitTransport},
		{"refused", call(fmt.Errorf("%w: %w", scamp.ErrRefused, &scamp.RemoteError{Code: "transport"})), command.ExitTransport},
		{"transport", remote("transport"), command.ExitTransport},
		{"dial", dial, command.ExitTransport},
		{"could not connect", fmt.Errorf("x: %w: %w", scamp.ErrNoDial, os.ErrNotExist), command.ExitTransport},
		{"reply broke off", call(errors.New("reply broke off")), command.ExitTransport},
		{"the action's own error", remote("x_mine"), command.ExitAnswered},
		{"general", remote("general"), command.ExitAnswered},
		{"without a code", remote(""), command.ExitAnswered},
		{"too big", remote("request_too_big"), command.ExitAnswered},
		{"stale", call(fmt.Errorf("%w: %w", scamp.ErrStale, scamp.ErrNotFound)), command.ExitStale},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := command.ExitCode(tt.err); got != tt.want {
				t.Errorf("ExitCode(%v): %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}

func TestErrorLines(t *testing.T) {
	one, two := errors.New("one"), errors.New("two\nscamp: forged")
	for _, tt := range []struct {
		err  error
		want []string
	}{
		{one, []string{"one"}},
		{two, []string{"two; scamp: forged"}},
		{errors.Join(one, two), []string{"one", "two; scamp: forged"}},
		{errors.Join(errors.Join(one, one), two), []string{"one", "one", "two; scamp: forged"}},
		{fmt.Errorf("x: %w", errors.Join(one, two)), []string{"x: one; two; scamp: forged"}},
		{fmt.Errorf("%w: %w", one, two), []string{"one: two; scamp: forged"}},
		{fmt.Errorf("%w", errors.Join(one, one)), []string{"one", "one"}},
	} {
		if got := command.ErrorLines(tt.err); !slices.Equal(got, tt.want) {
			t.Errorf("ErrorLines(%q): %q, want %q", tt.err, got, tt.want)
		}
	}
}
