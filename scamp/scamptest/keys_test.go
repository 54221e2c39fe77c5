package scamptest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestTicketHolds: a ticket holds from now on unless it says from when, and for an hour
// unless it says for how long.
func TestTicketHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			scamp.HandleJSON(s, "Sample.ok", func(context.Context, int) (int, error) { return 1, nil }, &scamp.ActionOptions{Privileges: []int64{5}})
		})
		bus := n.Bus(nil)
		for _, tt := range []struct {
			name          string
			start, length int64 // start before now
			holds         time.Duration
		}{
			{"nothing said", 0, 0, time.Hour},
			{"length", 0, 600, 10 * time.Minute},
			{"start and length", 600, 1200, 10 * time.Minute},
		} {
			claims := scamp.TicketClaims{User: 1, Privileges: []int64{5}, Length: tt.length}
			if tt.start > 0 {
				claims.Start = time.Now().Unix() - tt.start
			}
			ticket := n.Ticket(claims)
			works := func() bool {
				_, err := scamp.Call[int](scamp.WithTicket(t.Context(), ticket), bus, "Sample.ok", 1)
				return err == nil
			}
			now := works()
			time.Sleep(tt.holds - 10*time.Second)
			before := works()
			time.Sleep(time.Minute)
			if behind := works(); !now || !before || behind {
				t.Errorf("%s: works at once %v, 10 s before %v is over %v, 50 s behind it %v; want true, true, false", tt.name, now, tt.holds, before, behind)
			}
		}
	})
}
