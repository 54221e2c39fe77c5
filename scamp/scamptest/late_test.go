package scamptest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A noted test has cleanups of its own, and keeps what it is told.
type noted struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (n *noted) Cleanup(f func()) { n.cleanups = append(n.cleanups, f) }
func (n *noted) Errorf(format string, args ...any) {
	n.errors = append(n.errors, fmt.Sprintf(format, args...))
}

// end does what the end of a test does.
func (n *noted) end() {
	for i := len(n.cleanups) - 1; i >= 0; i-- {
		n.cleanups[i]()
	}
}

// deafHandler does not listen to its context.
func deafHandler(end <-chan struct{}) scamp.Handler {
	return func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { <-end; return nil }
}

// TestHandlersMustEnd: a handler that does not return fails the test that has left it, and is
// named; one that returns late does not.
func TestHandlersMustEnd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		late  time.Duration // after the test has ended
		wants string
	}{
		{"late", 10 * time.Second, ""},
		{"never", time.Hour, "deafHandler"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test := &noted{TB: t}
				n, end := scamptest.New(test), make(chan struct{})
				s := n.Serve("deaf", func(s *scamp.Service) { s.Handle("Deaf.wait", deafHandler(end), nil) })
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := n.Bus(nil).Call(ctx, &scamp.Request{Action: "Deaf.wait"}); err == nil {
					t.Error("a call of a handler that hangs ended well")
				}
				n.Kill(s)
				timer := time.AfterFunc(tt.late, func() { close(end) })
				test.end()
				if text := strings.Join(test.errors, "\n"); (text == "") != (tt.wants == "") || !strings.Contains(text, tt.wants) {
					t.Errorf("the test is told %q, want %q in it", text, tt.wants)
				}
				if timer.Stop() {
					close(end)
				}
			})
		})
	}
}
