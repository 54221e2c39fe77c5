//go:build linux && failpoint

package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// A call that is left in the tables of a client fails the row, though the bus that is
// closed behind it ends it as it must.
func TestFailpointTablesFailTheRow(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, tt := range []struct {
		name   string
		linger time.Duration // of a call that the row forgets
		want   string
	}{
		{"nothing is left", 0, ""},
		{"a call is", 20 * time.Second, "rule 8: client1 holds 1 caller: calls pending after the drain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			u := newSuite(setting{seed: 5, scale: 1, rate: 0.2}, &out, &out)
			forgetful := row{id: "X", fault: "a call that nobody ends", seconds: 1, minOK: 0.5, run: func(ctx context.Context, s *stage) error {
				if err := s.open(ctx, layout{services: 1, clients: 1}); err != nil {
					return err
				}
				if err := s.load(ctx, nil); err != nil {
					return err
				}
				if tt.linger == 0 {
					return nil
				}
				_, err := s.clients[0].order("burst", burst{Name: "forgotten", Calls: 1, Call: planned{Linger: tt.linger}, Deadline: 2 * tt.linger})
				if err != nil {
					return err
				}
				return runs(s.services[0], "forgotten-0")
			}}
			err := u.run(t.Context(), []row{forgetful})
			if (err != nil) != (tt.want != "") || !strings.Contains(out.String(), tt.want) {
				t.Errorf("%v, want one that says %q:\n%s", err, tt.want, out.String())
			}
		})
	}
}

// runs waits until a service has noted that a call runs.
func runs(c *child, id string) error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		records, err := c.records()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(records, func(r ledger.Record) bool { return r.Kind == ledger.KindRun && r.ID == id }) {
			return nil
		}
	}
	return fmt.Errorf("%s does not run %s", c.name, id)
}
