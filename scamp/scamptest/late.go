package scamptest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"weak"

	"github.com/scampbus/scamp-go/scamp"
)

// A late service has stopped while handlers of its bus had not returned.
type late struct {
	name string
	bus  *scamp.Bus
}

// running says whether a handler of a bus has not returned.
func running(b *scamp.Bus) bool {
	all := b.Stats()
	return all["request_started"] > all["request_ended"]
}

// stopped notes a service that has stopped. Its handlers may return until the test ends.
func (n *Network) stopped(name string, bus weak.Pointer[scamp.Bus]) {
	if b := bus.Value(); b != nil && running(b) {
		n.mu.Lock()
		n.late = append(n.late, late{name, b})
		n.mu.Unlock()
	}
}

// wait fails the test if a handler does not return that nobody waits for any more: else the
// test would end with goroutines that nothing explains. All have one time together.
func (n *Network) wait() {
	n.t.Helper()
	n.mu.Lock()
	left := slices.Clone(n.late)
	n.mu.Unlock()
	if len(left) == 0 || Eventually(func() bool {
		left = slices.DeleteFunc(left, func(l late) bool { return !running(l.bus) })
		return len(left) == 0
	}) {
		return
	}
	names := make([]string, len(left))
	for i, l := range left {
		names[i] = l.name
	}
	n.t.Errorf("scamptest: stopped, and a handler has not returned: service %s; what runs now: %s; a handler must end with its context",
		strings.Join(names, ", "), handlers())
}

// handlers names the functions that serve requests now, with where they are: those of
// tests beside this one too.
func handlers() string {
	text := make([]byte, 1<<20)
	text = text[:runtime.Stack(text, true)]
	const ours = "github.com/scampbus/scamp-go/scamp."
	var found []string
	for stack := range strings.SplitSeq(string(text), "\n\n") {
		before, _, ok := strings.Cut(stack, "\n"+ours+"(*serving).call(")
		if !ok {
			before, _, ok = strings.Cut(stack, "\n"+ours+"(*direct).run(")
		}
		if !ok {
			continue
		}
		lines := strings.Split(before, "\n") // a function, and where it is, from the innermost
		for i := len(lines) - 2; i > 0; i -= 2 {
			if !strings.HasPrefix(lines[i], ours) {
				name := lines[i]
				if k := strings.LastIndexByte(name, '('); k > 0 {
					name = name[:k] // its arguments tell nobody anything
				}
				found = append(found, fmt.Sprintf("%s at %s", name, strings.TrimSpace(lines[i+1])))
				break
			}
		}
	}
	return strings.Join(found, ", ")
}
