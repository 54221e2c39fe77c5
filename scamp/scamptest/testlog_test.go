package scamptest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A recorder is a test that keeps what is logged.
type recorder struct {
	testing.TB
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// TestNetworkLogsPanics: whoever tests a handler that panics is told where, and of nothing less.
func TestNetworkLogsPanics(t *testing.T) {
	var r *recorder
	t.Run("test", func(t *testing.T) {
		r = &recorder{TB: t}
		n := scamptest.New(r)
		n.Serve("stock", func(s *scamp.Service) {
			scamp.HandleJSON(s, "Stock.left", func(context.Context, string) (int, error) { panic("out of lamps") }, nil)
		})
		if _, err := scamp.Call[int](t.Context(), n.Bus(nil), "Stock.left", "lamp"); err == nil {
			t.Error("a handler that panics has answered")
		}
	})
	if len(r.lines) != 1 || !strings.Contains(r.lines[0], "out of lamps") || !strings.Contains(r.lines[0], "testlog_test.go") {
		t.Errorf("the test logged %q: want the panic and its stack alone", r.lines)
	}
}
