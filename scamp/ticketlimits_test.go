package scamp_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestTicketLimits has the limits of tickets at their value, one above it and back below
// it, with their counters (THREATS 5.1).
func TestTicketLimits(t *testing.T) {
	privileges := func(count int) []int64 {
		list := make([]int64, count)
		for i := range list {
			list[i] = int64(i) + 1
		}
		return list
	}
	// A ticket of so many octets: each privilege of three digits takes four of them.
	long := func(n *scamptest.Network, octets int) scamp.Ticket {
		c := scamp.TicketClaims{User: 1, Privileges: []int64{100}}
		short := len(n.Ticket(c))
		for range (octets - short) / 4 {
			c.Privileges = append(c.Privileges, 100)
		}
		for range (octets - short) % 4 {
			c.User *= 10
		}
		return n.Ticket(c)
	}
	type shown struct {
		ticket scamp.Ticket
		after  time.Duration
		code   string
		count  uint64 // of the counter, from then on
	}
	for _, tt := range []struct {
		name, counter string
		limits        scamp.Limits
		shown         func(n *scamptest.Network) []shown
	}{
		{"MaxTicket", "ticket_malformed", scamp.Limits{MaxTicket: 1000}, func(n *scamptest.Network) []shown {
			return []shown{
				{long(n, 1000), 0, "ok", 0},
				{long(n, 1001), 0, "authn", 1},
				{long(n, 999), 0, "ok", 1},
			}
		}},
		{"MaxPrivileges", "ticket_malformed", scamp.Limits{MaxPrivileges: 20}, func(n *scamptest.Network) []shown {
			with := func(count int) scamp.Ticket {
				return n.Ticket(scamp.TicketClaims{User: 1, Privileges: privileges(count)})
			}
			return []shown{{with(20), 0, "ok", 0}, {with(21), 0, "authn", 1}, {with(21), 0, "authn", 2}, {with(19), 0, "ok", 2}}
		}},
		{"TicketSkew", "ticket_malformed", scamp.Limits{TicketSkew: 5 * time.Second}, func(n *scamptest.Network) []shown {
			soon := n.Ticket(scamp.TicketClaims{Start: time.Now().Unix() + 6, Length: 10})
			return []shown{
				{soon, 0, "authn", 0},
				{soon, time.Second, "ok", 0},
				{soon, 19 * time.Second, "ok", 0}, // 4 s after its end
				{soon, time.Second, "authn", 0},
			}
		}},
		{"MaxTicketFailures", "ticket_limited", scamp.Limits{MaxTicketFailures: 2}, func(n *scamptest.Network) []shown {
			good := n.Ticket(scamp.TicketClaims{User: 1})
			return []shown{
				{"1,1,1,1,1,AAAA", 0, "authn", 0},
				{"1,2,1,1,1,AAAA", 0, "authn", 0},
				{"1,3,1,1,1,AAAA", 0, "ratelimit", 1},
				{good, 0, "ratelimit", 2}, // nobody looks at it
				{"1,1,1,1,1,AAAA", 0, "authn", 2},
				{good, time.Second, "ok", 2},
			}
		}},
		{"TicketCache", "ticket_limited", scamp.Limits{TicketCache: 2, MaxTicketFailures: 3}, func(n *scamptest.Network) []shown {
			bad := func(i int) scamp.Ticket { return scamp.Ticket(fmt.Sprintf("1,%d,1,1,1,AAAA", i)) }
			return []shown{
				{bad(1), 0, "authn", 0},
				{bad(2), 0, "authn", 0},
				{bad(1), 0, "authn", 0}, // known, and the latest again
				{bad(3), 0, "authn", 0}, // the third that is looked at: 2 is forgotten
				{bad(1), 0, "authn", 0},
				{bad(3), 0, "authn", 0},
				{bad(2), 0, "ratelimit", 1},
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				n.Limits = tt.limits
				svc := n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) {
					s.Handle("Sample.read", ok, nil)
				})
				bus := n.Bus(nil)
				for i, s := range tt.shown(n) {
					<-time.After(s.after)
					code, text := callCode(t, bus, "Sample.read", s.ticket)
					if got := svc.Bus.Stats()[tt.counter]; code != s.code || got != s.count {
						t.Errorf("ticket %d, of %d octets: %s %q and %s is %d, want %s and %d", i, len(strings.TrimSpace(string(s.ticket))), code, text, tt.counter, got, s.code, s.count)
					}
				}
			})
		})
	}
}
