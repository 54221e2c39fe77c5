//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A process of the stage that dies by itself fails the row, whatever its ledger says.
func TestCrashFailsTheRow(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	u := newSuite(setting{seed: 3, scale: 1, rate: 0.2}, &out, &out)
	crash := row{id: "X", fault: "a process panics", seconds: 3, minOK: 0.9, run: func(ctx context.Context, s *stage) error {
		if err := s.open(ctx, layout{}); err != nil {
			return err
		}
		return s.load(ctx, []act{{time.Second, "crash", func(context.Context) error {
			return s.cache.signal(syscall.SIGQUIT) // as a panic: stack on stderr, exit code 2
		}}})
	}}
	if err := u.run(t.Context(), []row{crash}); err == nil || !strings.Contains(out.String(), "ended by itself") {
		t.Errorf("the cache manager crashed, and the row says %v:\n%s", err, out.String())
	}
}

// Nor does a service pass that ends well, and was not told to end.
func TestEndByItselfFailsTheRow(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	u := newSuite(setting{seed: 3, scale: 1, rate: 0.2}, &out, &out)
	leave := row{id: "X", fault: "a service leaves", seconds: 6, minOK: 0.9, run: func(ctx context.Context, s *stage) error {
		if err := s.open(ctx, layout{}); err != nil {
			return err
		}
		return s.load(ctx, []act{{time.Second, "leave", func(context.Context) error {
			return s.services[0].signal(syscall.SIGTERM) // as if its Serve had returned: stop would note that it was told
		}}})
	}}
	if err := u.run(t.Context(), []row{leave}); err == nil || !strings.Contains(out.String(), "ended by itself: with exit code 0") {
		t.Errorf("a service left, and the row says %v:\n%s", err, out.String())
	}
}

// A reply that is cut off and seems whole is a violation of rule 2 though nobody noted what was
// sent: the service was killed.
func TestShortReplyIsSeen(t *testing.T) {
	n := scamptest.New(t)
	var left atomic.Int32 // octets that are not sent
	n.Serve("svc", func(s *scamp.Service) {
		s.Handle(loadAction, func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			var head loadHead
			if err := json.Unmarshal(req.Extra[loadMember], &head); err != nil {
				return err
			}
			body, err := req.Bytes()
			if err != nil {
				return err
			}
			begin := append([]byte(nil), body[:16]...)
			digest := ledger.SumOf(body).SHA256
			reply, err := io.ReadAll(newBody(append(begin, digest[:]...), ledger.Nonce(body[:16]), head.Reply))
			if err != nil {
				return err
			}
			return rep.SetBytes(reply[:len(reply)-int(left.Load())])
		}, nil)
	})
	for _, short := range []int32{0, 1} {
		left.Store(short)
		book := ledger.New("client", nil)
		c := &client{bus: n.Bus(nil), book: book}
		c.burst(t.Context(), &burst{Name: "x", Calls: 1, Call: planned{Reply: 1000}, Deadline: 10 * time.Second})
		service := ledger.New("svc", nil)
		service.Run("x-0") // and it was killed
		report := ledger.Check(slices.Concat(book.Records(), service.Records()), 1)
		if bad := len(report.Violations) == 1 && report.Violations[0].Rule == 2; bad != (short > 0) || !bad && len(report.Violations) > 0 {
			t.Errorf("%d octets short: %v", short, report)
		}
	}
}
