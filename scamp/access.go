package scamp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AuthzTable says for which actions of a service that requires tickets the
// authorization table is asked (PROTOCOL 10.4). The table is the reply of
// Auth.getAuthzTable: what it does not list is denied.
type AuthzTable int

// For which actions the table is asked.
const (
	AuthzTableMain AuthzTable = iota // for those in the sector main
	AuthzTableOff                    // for none: ActionOptions.Privileges alone count
	AuthzTableAll                    // for those of every sector
)

// A Principal is on whose behalf a request came (PROTOCOL 10.3).
type Principal struct {
	Effective *TicketClaims // what the request's Ticket says: these rights count; nil without a valid one
	Real      *TicketClaims // who is really there: what IdentifyingToken says if it is valid, else Effective
	Client    int64         // the real ticket's client, else the request's ClientID
	Terminal  Ticket        // the request's Terminal
}

// Principal verifies the tickets of a handler's request. The error is a *RemoteError
// that answers authn when returned, or ratelimit when the caller showed too many bad
// tickets. It works whether the service requires tickets or not.
//
// A caller without a valid Ticket is an error for those who want one. The Principal is
// good beside it, as far as it goes: its Effective is nil, Real is who identifies himself
// by a token of his own, nil for nobody, and Client and Terminal are what the request says.
// After ratelimit nobody knows who was there: that request is to be refused.
func (r *Request) Principal() (Principal, error) {
	p := Principal{Terminal: r.Terminal, Client: r.ClientID}
	if r.guard == nil {
		return p, errors.New("scamp: Principal: want the request of a handler")
	}
	var err error
	if p.Effective, err = r.guard.claims(r.Ticket); remoteCode(err) == CodeRateLimit {
		return p, err
	}
	p.Real = p.Effective
	if strings.TrimSpace(string(r.IdentifyingToken)) != "" {
		switch is, bad := r.guard.look(r.IdentifyingToken); {
		case bad == nil:
			p.Real = is
		case !isInvalid(bad): // it may be valid: then who is there is another than Effective says
			return Principal{Terminal: r.Terminal, Client: r.ClientID}, refusedTicket(bad)
		}
	}
	if p.Real != nil && p.Real.Client != 0 {
		p.Client = p.Real.Client
	}
	return p, err
}

// A ticketGuard verifies the tickets of one connection.
type ticketGuard struct {
	checker  *ticketChecker
	failures *ticketFailures
}

// look returns what a ticket says. The error is a *TicketError, or that the caller is to
// come later.
func (g *ticketGuard) look(t Ticket) (*TicketClaims, error) { return g.checker.check(t, g.failures) }

// claims returns what a ticket says, or the error that refuses the request.
func (g *ticketGuard) claims(t Ticket) (*TicketClaims, error) {
	if strings.TrimSpace(string(t)) == "" {
		return nil, errNoTicket
	}
	c, err := g.look(t)
	return c, refusedTicket(err)
}

var errNoTicket = &RemoteError{Code: CodeAuthn, Text: "no ticket, and this wants one"}

// refusedTicket is the error of look as a caller hears it.
func refusedTicket(err error) error {
	if te, ok := errors.AsType[*TicketError](err); ok {
		return &RemoteError{Code: CodeAuthn, Text: "ticket: " + te.Text}
	}
	return err
}

// isInvalid says whether a ticket was looked at and is none: not that nobody could tell.
func isInvalid(err error) bool {
	te, ok := errors.AsType[*TicketError](err)
	return ok && te.Problem != TicketNoKey
}

// remoteCode is the code of a *RemoteError, empty for any other.
func remoteCode(err error) string {
	if re, ok := errors.AsType[*RemoteError](err); ok {
		return re.code()
	}
	return ""
}

// checkAuthzTable refuses options that protect nothing although they look so.
func (o *ServiceOptions) checkAuthzTable() error {
	switch {
	case o.AuthzTable < AuthzTableMain || o.AuthzTable > AuthzTableAll:
		return fmt.Errorf("authorization table %d: want one of the constants", o.AuthzTable)
	case o.AuthzTable == AuthzTableAll && !o.RequireTickets:
		return errors.New("the authorization table is to be asked for actions of every sector (AuthzTableAll), but tickets are not required: want RequireTickets")
	}
	return nil
}

// admission returns the middleware that refuses requests to an action whose tickets do
// not suffice, nil if it asks for none.
func (s *Service) admission(a *action) Middleware {
	byTable := s.opts.RequireTickets && (s.opts.AuthzTable == AuthzTableAll || s.opts.AuthzTable == AuthzTableMain && strings.EqualFold(a.sector, "main"))
	if slices.Contains(a.flags, FlagNoAuth) || !s.opts.RequireTickets && len(a.privileges) == 0 {
		return nil
	}
	return func(next Handler) Handler {
		return func(ctx context.Context, req *Request, rep *ReplyWriter) error {
			claims, err := req.guard.claims(req.Ticket)
			if err != nil {
				if err == errNoTicket {
					s.bus.log.count("ticket_refused")
				}
				return notRun{err}
			}
			err = missing(claims, a.privileges, nil, "")
			if err == nil && byTable {
				err = s.bus.access.check(ctx, claims, a)
			}
			if err != nil {
				s.bus.log.count("authz_refused")
				return notRun{err}
			}
			req.claims = claims
			return next(ctx, req, rep)
		}
	}
}

// A notRun is why a request was refused before its handler ran. Peers of ours are told
// so (PROTOCOL 5.5).
type notRun struct{ error }

func (e notRun) Unwrap() error { return e.error }

// What callers who may not read, and are advised by: privileges are asked for by the action
// itself, or by the table.
const (
	lacksPrivilege = "the ticket lacks privilege "
	asTableSays    = ", as " + accessAction + " says"
	notInTable     = "unconfigured action "
)

// missing says which privilege a ticket lacks, or returns nil. The source is who asks for
// it, if that is not the action.
func missing(claims *TicketClaims, want []int64, names map[int64]string, source string) error {
	for _, id := range want {
		if !claims.Has(id) {
			name := strconv.FormatInt(id, 10)
			if n := names[id]; n != "" {
				name = clean(n) + " (" + name + ")"
			}
			return &RemoteError{Code: CodeAuthz, Text: lacksPrivilege + name + source}
		}
	}
	return nil
}

// The first two are those of PROTOCOL 10.4, the others follow from them: they are no limits
// that anybody's load could reach, and a try that fails is counted (authz_table_failed).
const (
	accessFresh = 300 * time.Second // a table is used
	accessOld   = 600 * time.Second // and, while no newer one can be had, at most
	accessAgain = time.Second       // between tries to get one
	accessWait  = 30 * time.Second  // for an answer
	accessSlow  = time.Second       // for an answer, of a request that the old table may still judge
)

// An accessTable is which privileges each action wants, by its lower-case name.
type accessTable struct {
	rules map[string][]int64 // nil: denied whatever the ticket says
	names map[int64]string
	got   time.Time
}

// access keeps the authorization table of a bus.
type access struct {
	ctx   context.Context // ends with the bus
	fetch func(context.Context) (*accessTable, error)
	log   *logger

	mu      sync.Mutex // protects what follows
	table   *accessTable
	err     error         // why there is no newer one
	tried   time.Time     // when the last try ended
	running chan struct{} // closed when the try under way ends; nil if none is
	began   time.Time     // when that try began
	closed  bool
}

// close waits for a try under way; its context has ended.
func (x *access) close() {
	x.mu.Lock()
	x.closed = true
	running := x.running
	x.mu.Unlock()
	if running != nil {
		<-running
	}
}

// check says whether a ticket has what the table asks for an action.
func (x *access) check(ctx context.Context, claims *TicketClaims, a *action) error {
	t, err := x.current(ctx)
	if err != nil {
		return &RemoteError{Code: CodeInternal, Text: "the authorization table cannot be had: " + accessAction + " does not answer as it should"}
	}
	want, ok := t.rules[strings.ToLower(a.name)]
	if !ok || want == nil {
		return &RemoteError{Code: CodeAuthz, Text: notInTable + clean(strings.ToLower(a.name))}
	}
	return missing(claims, want, t.names, asTableSays)
}

// current returns a table that may be used. When that is no longer fresh the caller waits
// for another: it is used only if none can be had, or not soon (PROTOCOL 10.4).
func (x *access) current(ctx context.Context) (*accessTable, error) {
	for {
		x.mu.Lock()
		age := accessOld
		if x.table != nil {
			age = time.Since(x.table.got)
		}
		if age >= accessFresh && x.running == nil && !x.closed && (x.tried.IsZero() || time.Since(x.tried) >= accessAgain) {
			x.running, x.began = make(chan struct{}), time.Now()
			go x.renew(x.running) // ends after accessWait at the latest
		}
		t, err, running, began := x.table, x.err, x.running, x.began
		x.mu.Unlock()
		switch {
		case age < accessFresh, running == nil && age < accessOld:
			return t, nil
		case running == nil:
			return nil, cmp.Or(err, ErrClosed) // tried a moment ago, or the bus is closed
		}
		var slow <-chan time.Time // for ever, without a table that may be used
		if age < accessOld {
			slow = time.After(accessSlow - time.Since(began))
		}
		select {
		case <-running:
		case <-slow:
			return t, nil
		case <-ctx.Done():
			return nil, ctxError(ctx)
		}
	}
}

// renew fetches the table once.
func (x *access) renew(done chan struct{}) {
	ctx, cancel := context.WithTimeout(x.ctx, accessWait)
	defer cancel()
	x.log.guard("Balancer", func() {
		t, err := x.fetch(ctx)
		x.renewed(done, t, err)
	}, func(err error) { x.renewed(done, nil, err) })
}

// renewed ends a try.
func (x *access) renewed(done chan struct{}, t *accessTable, err error) {
	x.mu.Lock()
	x.err, x.tried, x.running = err, time.Now(), nil
	if err == nil {
		t.got = time.Now()
		x.table = t
	}
	x.mu.Unlock()
	close(done)
	if err != nil {
		x.log.odd("authz_table_failed", "no new authorization table: the old one counts for 300 s more, if there is one", "error", err)
	}
}

// accessAction is the action that tells the table (PROTOCOL 10.4).
const accessAction = "main:Auth.getAuthzTable~1"

// accessTable asks whoever offers Auth.getAuthzTable for the table.
func (b *Bus) accessTable(ctx context.Context) (*accessTable, error) {
	reply, err := b.Call(ctx, &Request{Action: accessAction, Data: []byte("{}")})
	if err != nil {
		return nil, err
	}
	body, err := reply.Bytes(0)
	if err != nil {
		return nil, err
	}
	return parseAccessTable(body)
}

// parseAccessTable reads the table. An entry that is not understood denies its action,
// and nothing else.
func parseAccessTable(body []byte) (*accessTable, error) {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(body, &entries); err != nil {
		return nil, fmt.Errorf("scamp: authorization table: %w: want a JSON object", err)
	}
	if entries == nil {
		return nil, errors.New("scamp: authorization table: null: want a JSON object")
	}
	t := &accessTable{rules: make(map[string][]int64, len(entries)), names: make(map[int64]string)}
	for name, text := range entries {
		if !strings.HasPrefix(name, "_") {
			t.rules[name] = parseAccessRule(text)
		}
	}
	var names []*string
	if json.Unmarshal(entries["_NAMES"], &names) == nil { // they are for people
		for id, name := range names {
			if name != nil {
				t.names[int64(id)] = *name
			}
		}
	}
	return t, nil
}

// parseAccessRule returns the privileges of an entry, not nil, or nil if it is not an
// array of ids.
func parseAccessRule(text json.RawMessage) []int64 {
	var ids []json.RawMessage
	if json.Unmarshal(text, &ids) != nil || ids == nil {
		return nil
	}
	rule := make([]int64, 0, len(ids))
	for _, raw := range ids {
		digits := string(raw)
		if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &digits) != nil {
			return nil
		}
		id, ok := parseDecimal(digits)
		if !ok {
			return nil
		}
		rule = append(rule, id)
	}
	return rule
}
