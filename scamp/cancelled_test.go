package scamp_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A service that notes the number of each request whose handler runs.
type runNoter struct {
	*scamptest.Service
	mu  sync.Mutex
	ran map[int64]bool
}

func newRunNoter(t *testing.T, n *scamptest.Network) *runNoter {
	s := &runNoter{ran: make(map[int64]bool)}
	s.Service = n.Serve("lab", func(svc *scamp.Service) {
		svc.Handle("Lab.run", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ran[req.ClientID] = true
			return nil
		}, nil)
	})
	return s
}

// runs says whether the handler ran for a request.
func (s *runNoter) runs(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ran[id]
}

// request i of a connection, with that number as its id.
func numbered(no, i int) string {
	return msg(no, ask("Lab.run", i, "client_id", strconv.Itoa(i)), "")
}

func cancelOf(no, i int) string {
	return msg(no, fmt.Sprintf(`{"request_id":%d,"type":"cancel"}`, i), "")
}

func idOf(m heard) int64 {
	id, _ := m.header.ID.Number()
	return int64(id)
}

// A request that has its place but no worker yet, and is cancelled, runs no handler, and
// that is what its caller is told (PROTOCOL 3.7, THREATS P7). The one behind it runs.
func TestCancelledInLineDoesNotRun(t *testing.T) {
	n := scamptest.New(t)
	s := newRunNoter(t, n)
	w := callWire(t, n, s.Addr())
	release := scamp.HoldWorkers(s.Service.Service)
	w.send(numbered(0, 1) + numbered(1, 2) + cancelOf(2, 1))
	if m := w.message(); idOf(m) != 1 || !m.header.DispatchFailure() {
		t.Errorf("a request was cancelled in line: reply %s, want one to request 1 with dispatch_failure", m.json)
	}
	release()
	if m := w.message(); idOf(m) != 2 || m.header.ErrorCode != "" {
		t.Errorf("the request behind the cancelled one: reply %s, want one to request 2 without an error", m.json)
	}
	if s.runs(1) {
		t.Error("the handler ran for a request that was refused")
	}
}

// The same holds for one that is given up within its body, and for one whose time is over.
func TestOverInLineDoesNotRun(t *testing.T) {
	for name, over := range map[string]struct{ ext, end string }{
		"given up within its body": {`{"v":1}`, pk("TXERR", 0, "no more")},
		"its time is over":         {`{"v":1,"ms":50}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := scamptest.New(t)
			s := newRunNoter(t, n)
			w := callWire(t, n, s.Addr())
			release := scamp.HoldWorkers(s.Service.Service)
			w.send(pk("HEADER", 0, ask("Lab.run", 1, "client_id", "1", "ext", over.ext)) + pk("DATA", 0, "some"))
			if over.end != "" {
				if !scamptest.Eventually(func() bool { running, _, _ := scamp.WorkOf(s.Service.Service); return running == 1 }) {
					t.Fatal("the request has no place")
				}
				w.send(over.end)
			}
			if m := w.message(); !m.header.DispatchFailure() {
				t.Errorf("reply %s, want one with dispatch_failure", m.json)
			}
			release()
			s.Service.Stop()
			if s.runs(1) {
				t.Error("the handler ran for a request that was refused")
			}
		})
	}
}

// Where a worker and a cancel come to a request at once, one of them has it: none is
// refused as not run whose handler runs.
func TestCancelledIsRefusedOrRuns(t *testing.T) {
	n := scamptest.New(t)
	s := newRunNoter(t, n)
	w := callWire(t, n, s.Addr())
	const rounds, requests = 20, 100 // each round its own chance that they meet
	var refused []int64
	for round := range rounds {
		var b strings.Builder
		for i := round * requests; i < (round+1)*requests; i++ {
			b.WriteString(numbered(2*i, i+1) + cancelOf(2*i+1, i+1))
		}
		w.send(b.String())
		for range requests {
			if m := w.message(); m.header.DispatchFailure() {
				refused = append(refused, idOf(m))
			}
		}
	}
	s.Service.Stop()
	for _, id := range refused {
		if s.runs(id) {
			t.Errorf("request %d was refused as not run, and its handler ran", id)
		}
	}
}
