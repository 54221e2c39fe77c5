package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
	"pgregory.net/rapid"
)

// TestModelOfServing has a peer send random requests to a service, whole and in parts,
// cancel them and break them off, while its handlers write, return and fail in any
// order: 60 sequences of up to 200 steps, more by SCAMP_MODEL_CHECKS. After each step so many run and so many wait as the limits say, and every
// request has had the one reply it must have, or none yet (THREATS 4.2).
func TestModelOfServing(t *testing.T) {
	modelChecks(t, 60)
	rapid.Check(t, func(r *rapid.T) {
		steps := drawSteps(r, servingSteps)
		var err error
		synctest.Test(t, func(t *testing.T) { err = runServing(t, steps) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

var servingSteps = []string{
	// of the peer
	"request", "request", "request", "request", "begin", "begin", "begin with time", "DATA", "EOF", "EOF", "TXERR", "cancel", "cancel", "cancel unknown", "PING", "notify",
	// of the handlers, and of time
	"write", "write", "return", "return", "return", "return", "fail", "fail", "wait", "rare",
}

// Limits of the service of the model: so few that sequences reach them.
const modelHandlers, modelQueue = 3, 4

// A servingModel says what became of requests.
type servingModel struct {
	t        *testing.T
	s        *scamptest.Service
	w        *wire
	all      []*modelRequest
	queue    []*modelRequest
	running  int
	next     int // number of the peer's next message
	draining bool
	dead     bool
	heard    map[uint64]*heard
	replies  map[string][]string // what came, by request id

	mu      sync.Mutex
	started map[string]*modelHandler // by request id
	over    bool                     // handlers are not told anything any more
}

// A modelRequest is one request of the peer.
type modelRequest struct {
	id, no  int
	end     string    // EOF or TXERR, empty while it goes on
	due     time.Time // when its caller's time is over; zero for never
	handler *modelHandler
	queued  bool
	left    bool // its handler has returned
	begun   bool // its reply has
	body    string
	want    string // its reply, empty before it is complete
}

// A modelHandler is a handler that does as it is told.
type modelHandler struct {
	ctx  context.Context
	acts chan string // "write", "return" or "fail"; closed at the end
}

func (m *servingModel) work(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	h := &modelHandler{ctx: ctx, acts: make(chan string, 1000)} // more than there are steps
	m.mu.Lock()
	m.started[string(req.Terminal)] = h
	if m.over {
		close(h.acts)
	}
	m.mu.Unlock()
	for act := range h.acts {
		switch act {
		case "write":
			rep.Write([]byte("abc")) // fails when the reply was given or cut already
		case "return":
			return nil
		default:
			return &scamp.RemoteError{Code: "lab", Text: "not today"}
		}
	}
	return errors.New("never told to return")
}

func runServing(t *testing.T, steps []step) error {
	m := &servingModel{t: t, heard: map[uint64]*heard{}, replies: map[string][]string{}, started: map[string]*modelHandler{}}
	n := scamptest.New(t)
	n.Limits = scamp.Limits{MaxQueue: modelQueue, ServerIdle: 1000 * time.Hour}
	n.Limits.Mux.MaxHandlers = modelHandlers
	m.s = n.ServeWith("model", &scamp.ServiceOptions{Drain: 1000 * time.Hour}, func(s *scamp.Service) {
		s.Handle("Model.work", m.work, &scamp.ActionOptions{Timeout: 24 * time.Hour})
	})
	m.w = callWire(t, n, m.s.Addr())
	m.w.acks.Store(true)
	m.message(`{"request_id":1,"type":"notify"}`) // who says nothing at first is not served
	err := m.run(steps)
	m.w.c.NetConn().Close()
	m.mu.Lock()
	m.over = true
	for _, h := range m.started {
		close(h.acts)
	}
	m.mu.Unlock()
	m.s.Stop()
	if running, waiting, inHand := scamp.WorkOf(m.s.Service); err == nil && running+waiting+inHand > 0 {
		err = fmt.Errorf("at the end %d run, %d wait, %d are in hand", running, waiting, inHand)
	}
	return err
}

func (m *servingModel) run(steps []step) error {
	for i, s := range steps {
		m.do(s)
		synctest.Wait()
		m.turn()
		if err := m.check(); err != nil {
			return fmt.Errorf("step %d, %v: %w", i, s, err)
		}
		if m.dead {
			return nil
		}
	}
	return nil
}

func (m *servingModel) do(s step) {
	switch s.op {
	case "request", "begin", "begin with time":
		m.request(s)
		return
	case "cancel unknown":
		m.message(`{"request_id":100000,"type":"cancel"}`)
		return
	case "notify":
		m.message(`{"request_id":1,"type":"notify"}`)
		return
	case "PING":
		m.w.send(pk("PING", 7, ""))
		return
	case "wait":
		time.Sleep(time.Duration(min(s.n, 100)) * time.Second)
		for _, r := range m.all {
			if r.handler != nil && !r.left && r.overdue() {
				m.cut(r)
			}
		}
		return
	case "rare":
		switch {
		case s.k == 0:
			m.dead = true
			m.w.c.NetConn().Close()
		case s.k < 3 && !m.draining:
			m.draining = true
			go m.s.Stop() // ends when all is done, at the latest with the connection
		}
		return
	}
	if r := m.pick(s); r != nil {
		m.doRequest(s.op, r)
	}
}

// pick chooses a request for which a step means something, now and then any.
func (m *servingModel) pick(s step) *modelRequest {
	var some []*modelRequest
	for _, r := range m.all {
		ofPeer := s.op == "DATA" || s.op == "EOF" || s.op == "TXERR"
		if s.k == 20 || ofPeer && r.end == "" || !ofPeer && !r.left && (r.handler != nil || r.queued && s.op == "cancel") {
			some = append(some, r)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[s.k%len(some)]
}

// doRequest is a step that concerns a request.
func (m *servingModel) doRequest(op string, r *modelRequest) {
	runs := r.handler != nil && !r.left
	switch op {
	case "DATA":
		if r.end == "" {
			m.w.send(pk("DATA", r.no, "more"))
		}
	case "EOF", "TXERR":
		if r.end == "" {
			r.end = op
			m.w.send(pk(op, r.no, map[string]string{"TXERR": "no"}[op]))
			if op == "TXERR" {
				m.giveUp(r)
			}
		}
	case "cancel":
		m.message(fmt.Sprintf(`{"request_id":%d,"type":"cancel"}`, r.id))
		m.giveUp(r)
	case "write":
		if runs {
			r.handler.acts <- op
			if r.want == "" {
				r.begun = true
				r.body += "abc"
			}
		}
	case "return", "fail":
		if !runs {
			return
		}
		r.handler.acts <- op
		r.left = true
		m.running--
		switch {
		case r.want != "":
			// It was given in the handler's stead, or cut.
		case r.begun && op == "fail":
			r.want = "cut"
		case op == "fail":
			r.want = "error lab"
		default:
			r.want = "reply " + r.body
		}
	}
}

// request has the peer send a request, or the beginning of one.
func (m *servingModel) request(s step) {
	r := &modelRequest{id: len(m.all) + 1, no: m.next}
	more := []string{"terminal", strconv.Quote(strconv.Itoa(r.id))}
	if s.op == "begin with time" {
		after := time.Duration(s.k+1)*1500*time.Millisecond + time.Millisecond
		r.due = time.Now().Add(after)
		more = append(more, "ext", fmt.Sprintf(`{"v":1,"ms":%d}`, after.Milliseconds()))
	}
	octets := pk("HEADER", r.no, ask("Model.work", r.id, more...)) + pk("DATA", r.no, strings.Repeat("x", s.n))
	if s.op == "request" {
		r.end = "EOF"
		octets += pk("EOF", r.no, "")
	}
	m.next++
	m.all = append(m.all, r)
	m.w.send(octets)
	switch {
	case m.draining || m.running == modelHandlers && m.waits() == modelQueue:
		r.want = "refused"
	default:
		r.queued = true
		m.queue = append(m.queue, r)
	}
}

// waits is how many requests wait for their turn.
func (m *servingModel) waits() (n int) {
	for _, r := range m.queue {
		if r.queued {
			n++
		}
	}
	return n
}

// turn has those run whose turn has come. One whose caller has no time left is refused
// then.
func (m *servingModel) turn() {
	for len(m.queue) > 0 && m.running < modelHandlers {
		r := m.queue[0]
		m.queue = m.queue[1:]
		switch {
		case !r.queued:
			// It was given up.
		case r.overdue():
			r.queued, r.want = false, "refused"
		default:
			r.queued = false
			m.running++
			m.mu.Lock()
			r.handler = m.started[strconv.Itoa(r.id)]
			m.mu.Unlock()
		}
	}
}

func (r *modelRequest) overdue() bool { return !r.due.IsZero() && !time.Now().Before(r.due) }

// giveUp is what a cancel, and a TXERR within its body, do to a request.
func (m *servingModel) giveUp(r *modelRequest) {
	switch {
	case r.queued:
		r.queued, r.want = false, "refused"
	case r.handler != nil && !r.left:
		m.cut(r)
	}
}

// cut gives a request up whose handler runs.
func (m *servingModel) cut(r *modelRequest) {
	if r.want != "" {
		return
	}
	r.want = "error transport"
	if r.begun {
		r.want = "cut"
	}
}

// message has the peer send a message without a body.
func (m *servingModel) message(header string) {
	m.w.send(pk("HEADER", m.next, header), pk("EOF", m.next, ""))
	m.next++
}
