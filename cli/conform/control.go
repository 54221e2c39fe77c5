package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// A Plan is what NextAction answers: the calls to make, or that all is done. A requester
// makes Calls calls of Action at once, each with the body that is Text, Times times,
// between quotation marks, and gives up after GiveUpMS milliseconds unless that is 0.
// Then it calls NextAction again, with what became of them.
type Plan struct {
	Done     bool   `json:"done"`
	Case     string `json:"case,omitempty"`
	Action   string `json:"action,omitempty"`
	Text     string `json:"text,omitempty"`
	Times    int    `json:"times"`
	Calls    int    `json:"calls"`
	GiveUpMS int64  `json:"give_up_ms"`
	Title    string `json:"title,omitempty"`
}

// A CallResult is what a program saw of one of its calls.
type CallResult struct {
	OK     bool   `json:"ok"`
	Octets int    `json:"octets"` // of the body
	Code   string `json:"code"`   // of an error
	Error  string `json:"error"`
}

// String describes the result in a sentence, in visible form.
func (r CallResult) String() string {
	if r.OK {
		return fmt.Sprintf("a reply of %d octets", r.Octets)
	}
	return fmt.Sprintf("error_code %q, error %q", cut(r.Code, maxText), cut(r.Error, maxText))
}

// A report is the body of a request for NextAction: what became of the calls before.
type report struct {
	Results []CallResult `json:"results"`
}

func (r report) String() string {
	if len(r.Results) == 0 {
		return "the requester says nothing"
	}
	var texts []string
	for _, one := range r.Results[:min(len(r.Results), 3)] {
		texts = append(texts, one.String())
	}
	return "the requester says: " + strings.Join(texts, ", ")
}

// maxReport bounds the body of a request for NextAction, in octets.
const maxReport = 64 << 10

// serveControl answers requests for NextAction until the listener is closed.
func (h *Host) serveControl(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	places := make(chan struct{}, maxWaiting) // connections at once
	for {
		raw, err := h.control.Accept()
		if err != nil {
			return
		}
		h.active()
		select {
		case places <- struct{}{}:
		default:
			raw.Close()
			continue
		}
		work.Go(func() { // ends with the connection, or with ctx
			defer func() { <-places }()
			h.attend(ctx, raw)
		})
	}
}

// attend answers the requests on one connection.
func (h *Host) attend(ctx context.Context, raw net.Conn) {
	r := h.newRun()
	l, err := h.shake(ctx, raw, nil, r, new(log), new(log))
	if err != nil {
		return
	}
	l.done = ctx.Done()
	defer func() {
		l.close()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.watch.merge(r.watch)
	}()
	for i := 0; l.err == nil && ctx.Err() == nil; i++ {
		whole := func() bool {
			return len(l.requests) > i && (l.requests[i].Ended || len(l.requests[i].Body) > maxReport)
		}
		if !l.awaitFor(forever, whole) {
			return
		}
		h.active()
		h.answer(ctx, l, l.requests[i])
	}
}

// forever is longer than any run.
const forever = 1000 * time.Hour

// answer replies to one request.
func (h *Host) answer(ctx context.Context, l *link, m *Message) {
	reply := newReply(l.session, m.Header.ID.String())
	var told report
	switch {
	case m.Header.ID.IsZero():
		return
	case !strings.EqualFold(m.Header.Action, NextAction):
		l.send(reply.With("error", `"want Conform.next"`).With("error_code", `"no_action"`).All(""))
		return
	case m.Broken || len(m.Body) > maxReport || len(m.Body) > 0 && json.Unmarshal(m.Body, &told) != nil:
		l.send(reply.With("error", `"want {\"results\":[...]}"`).With("error_code", `"bad_request"`).All(""))
		return
	}
	plan := h.plan(ctx, told)
	text, err := json.Marshal(plan)
	if err != nil {
		panic("conform: a plan that is no JSON: " + err.Error())
	}
	l.send(reply.All(string(text)))
	h.active()
	if plan.Done {
		l.awaitFor(h.opts.Quiet, func() bool { return l.err != nil }) // until it is read
		h.mu.Lock()
		defer h.mu.Unlock()
		h.finished = true
	}
}

// plan takes what the requester says of its latest calls and returns the next ones.
func (h *Host) plan(ctx context.Context, told report) Plan {
	h.driving.Lock()
	defer h.driving.Unlock()
	h.mu.Lock()
	h.driven = true
	h.mu.Unlock()
	if h.next > 0 {
		s := h.stations[h.next-1]
		select {
		case s.reports <- told:
		default: // the case is over, or was asked more often than it has steps
		}
		if h.step < len(s.c.Steps) {
			if s.c.Turns {
				select {
				case <-s.turns:
				case <-s.done:
				case <-ctx.Done():
				}
			}
			h.step++
			return s.plan(h.step - 1)
		}
		select {
		case <-s.done:
		case <-ctx.Done():
			return Plan{Done: true}
		}
	}
	for h.next < len(h.stations) {
		s := h.stations[h.next]
		h.next++
		select {
		case <-s.done: // somebody called it unasked
			continue
		default:
		}
		s.offer()
		h.step = 1
		return s.plan(0)
	}
	return Plan{Done: true}
}

// plan is one step of the case.
func (s *station) plan(step int) Plan {
	it := s.c.Steps[step]
	return Plan{
		Case: s.c.ID, Action: ActionOf(s.c), Text: StepText, Times: it.Times, Calls: max(it.Calls, 1),
		GiveUpMS: it.GiveUp.Milliseconds(), Title: s.c.Title,
	}
}
