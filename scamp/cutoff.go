package scamp

import (
	"fmt"
	"slices"
	"strings"
)

// maxNamed is how many actions a line of the log names.
const maxNamed = 10

// namesInHand says how many requests have their place and notifications are in hand, and
// names their actions for people: each once, with how many there are of it.
func (s *intake) namesInHand(peers []*peer) (all int, actions string) {
	n := make(map[string]int)
	for _, p := range peers {
		p.mu.Lock()
		for r := p.requests; r != nil; r = r.next {
			n[r.action.name]++
		}
		p.mu.Unlock()
	}
	s.mu.Lock()
	for d := s.inside; d != nil; d = d.next {
		n[d.action.name]++
	}
	if s.notices > 0 {
		n[eventHandler] = s.notices
	}
	s.mu.Unlock()
	var names []string
	for name, count := range n {
		all += count
		names = append(names, fmt.Sprintf("%s (%d)", name, count))
	}
	slices.Sort(names)
	if more := len(names) - maxNamed; more > 0 {
		names = append(names[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return all, strings.Join(names, ", ")
}
