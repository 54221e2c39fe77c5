//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A change is what a child's directory told of an instance.
type change struct {
	At    time.Time
	Kind  string // added, updated or removed
	Why   string
	Ident string
}

// directory returns what the child's directory told so far.
func (c *child) directory() []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.changes)
}

// added waits until the child's directory has told of so many instances.
func (c *child) added(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		idents := map[string]bool{}
		for _, ch := range c.directory() {
			if ch.Kind == "added" {
				idents[ch.Ident] = true
			}
		}
		if len(idents) >= n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return c.wrong(fmt.Sprintf("told of %d instances, want %d", len(idents), n), ctx.Err())
		}
	}
}

// removals counts the instances that left the child's directory after a time.
func (c *child) removals(after time.Time) (n int) {
	for _, ch := range c.directory() {
		if ch.Kind == "removed" && ch.At.After(after) {
			n++
		}
	}
	return n
}
