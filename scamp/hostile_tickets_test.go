//go:build resource && linux

package scamp_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// TestResourceHostileTickets is THREATS T5: who shows bad tickets costs others nothing,
// and who has many users is taken for no attacker.
func TestResourceHostileTickets(t *testing.T) {
	for _, a := range []attack{
		{name: "T5_bad_tickets", memory: 16 << 20, fair: true, hold: 2 * time.Second, counters: []string{"ticket_limited", "ticket_refused"}},
		{name: "T5_many_users", fair: true, hold: 2 * time.Second},
	} {
		t.Run(a.name, a.run)
	}
}

// tickets shows one ticket after the other at that rate, on one connection, and returns
// how many were answered with each code.
func (a *attacker) tickets(perSecond, least int, next func(i int) scamp.Ticket) map[string]int {
	c, err := scamp.Dial(a.ctx, a.addr, scamp.Identity{Anyone: true}, nil)
	if err != nil {
		a.t.Error(err)
		return nil
	}
	defer c.Close()
	var all sync.WaitGroup
	var mu sync.Mutex
	codes := make(map[string]int)
	var busy atomic.Int32
	began := time.Now()
	a.going()
	for a.again(least) {
		i := a.sent
		for busy.Load() > 200 || time.Since(began) < time.Duration(i)*time.Second/time.Duration(perSecond) {
			time.Sleep(time.Millisecond) // the pace
		}
		busy.Add(1)
		all.Go(func() { // ends with the call
			defer busy.Add(-1)
			reply, err := c.Call(a.t.Context(), &scamp.Request{Action: "Victim.ticket", Ticket: next(i)})
			code := "ok"
			if re, is := errors.AsType[*scamp.RemoteError](err); is {
				code = re.Code
			} else if err != nil {
				a.t.Error(err)
			} else {
				reply.Body.Close()
			}
			mu.Lock()
			codes[code]++
			mu.Unlock()
		})
	}
	all.Wait()
	return codes
}

// badTickets: 5,000 a second, each another one, whose signature is as long as a good one.
func badTickets(a *attacker) {
	codes := a.tickets(5000, 10_000, func(i int) scamp.Ticket {
		return scamp.Ticket(fmt.Sprintf("1,%d,1,1,1,%s", i, strings.Repeat("A", 342)))
	})
	if codes["ok"] > 0 || codes["ratelimit"] == 0 {
		a.t.Errorf("bad tickets were answered %v, want ratelimit and no ok", codes)
	}
}

// manyUsers: 2,000 users a second, each with a good ticket that nobody has seen.
func manyUsers(a *attacker) {
	key, _ := ticketKey(a.t)
	users := make([]scamp.Ticket, 8000)
	var all sync.WaitGroup
	for part := range 4 {
		all.Go(func() {
			for i := part; i < len(users); i += 4 {
				users[i], _ = (&scamp.TicketClaims{User: int64(i), Start: time.Now().Unix() - 10, Length: 3600, Privileges: []int64{1}}).Sign(key)
			}
		})
	}
	all.Wait()
	codes := a.tickets(2000, 4000, func(i int) scamp.Ticket { return users[i%len(users)] })
	if codes["ok"] < 4000 || len(codes) > 1 {
		a.t.Errorf("good tickets were answered %v, want ok alone", codes)
	}
}
