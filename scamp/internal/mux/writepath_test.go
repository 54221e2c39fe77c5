package mux_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// writePath is what the design asks of writing, and the tests that hold each point.
// Those of package scamp are marked.
var writePath = []struct{ property, tests string }{
	{"a caller whose octets are stuck leaves at its deadline", "TestStuckWriterLeavesAtItsDeadline TestWriteOfALostConnectionReportsWhatWasTaken"},
	{"the reader goes on when the peer stops reading", "TestReaderGoesOnWhenThePeerStopsReading TestLinkWriteNeverBlocks TestModel"},
	{"key updates of TLS included", "TestKeyUpdatesWhilePeerStopsReading TestTLSWritesOfItselfAreBounded"},
	{"no deadline is ever set on a TLS write", "TestNoDeadlineIsSetOnTLS TestNobodySetsDeadlinesOfTLS"},
	{"a stall closes the socket instead", "TestStalledWriteClosesTheConnection"},
	{"many packets leave in one system call under load", "TestManyPacketsLeaveInOneWrite TestAnswersLeaveTogether"},
	{"at once when idle, without a goroutine hop", "TestIdleWriteIsTheCallersOwn"},
	{"synthetic time does not freeze on a mutex held across a write", "TestSynctestDoesNotFreeze TestInvariants"},
	{"frame production stops when the buffer is full", "TestWriteQueueIsBounded TestStreamsStopWhenTheLinkIsBehind"},
	{"DynamicRecordSizingDisabled", "scamp:TestRecordsAreLargeFromTheFirst"},
	{"one chunk per message per round", "TestRoundRobin TestStreamsAreNotStarved"},
	{"ACK, PONG and HEADER overtake queued DATA", "TestInvariants TestRoundRobin TestSmallMessageOvertakes"},
	{"no wake-up is lost", "TestWorkThatComesDuringTheLastRound TestModel TestTwoEnds"},
}

// TestWritePath fails when a test of the list above is gone.
func TestWritePath(t *testing.T) {
	here, above := testsIn(t, "."), testsIn(t, filepath.Join("..", ".."))
	for _, p := range writePath {
		for _, name := range strings.Fields(p.tests) {
			there, ofScamp := strings.CutPrefix(name, "scamp:")
			if ofScamp && !above[there] || !ofScamp && !here[name] {
				t.Errorf("%s: no test %s", p.property, name)
			}
		}
	}
}

// testsIn returns the names of the test functions in a directory.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("test files in %s: %d, %v", dir, len(files), err)
	}
	names := map[string]bool{}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

// A tracedConn is a TCP connection that knows who writes to it.
type tracedConn struct {
	*net.TCPConn
	by func(stack string)
}

func (c tracedConn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.TCPConn.SyscallConn()
	return tracedRaw{raw, c.by}, err
}

func (c tracedConn) Write(p []byte) (int, error) {
	c.by(stack())
	return c.TCPConn.Write(p)
}

type tracedRaw struct {
	syscall.RawConn
	by func(stack string)
}

func (r tracedRaw) Write(f func(fd uintptr) bool) error {
	r.by(stack())
	return r.RawConn.Write(f)
}

// stack is the names of the functions that are running.
func stack() string {
	pc := make([]uintptr, 100)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	var names strings.Builder
	for {
		f, more := frames.Next()
		names.WriteString(f.Function + "\n")
		if !more {
			return names.String()
		}
	}
}

// TestIdleWriteIsTheCallersOwn: on a connection at rest, whoever sends hands the octets
// to the network itself, all of them in one write; and what the reader has to answer
// the reader does.
func TestIdleWriteIsTheCallersOwn(t *testing.T) {
	for _, n := range []string{"tcp", "tls"} {
		t.Run(n, func(t *testing.T) {
			var writes, others, readers atomic.Int32
			near, far := tcp(t)
			traced := tracedConn{near.(*net.TCPConn), func(stack string) {
				writes.Add(1)
				switch {
				case strings.Contains(stack, "mux_test.sendAtRest"):
				case strings.Contains(stack, "mux.(*reader).run"):
					readers.Add(1)
				default:
					others.Add(1)
				}
			}}
			a, b := bare(traced), bare(far)
			if n == "tls" {
				a, b = secure(t, traced, far)
			}
			var s atomic.Int32
			e := run(t, a.rw, a.link, mux.Options{})
			other := run(t, b.rw, b.link, mux.Options{Accept: func(m *mux.Inbound) { m.Discard(); s.Add(1) }})
			writes.Store(0) // those of the handshake
			others.Store(0)
			for i := range int32(10) {
				sendAtRest(t, e)
				if w := writes.Load(); w != i+1 {
					t.Fatalf("after %d messages, %d writes when Send returns; want one for each", i+1, w)
				}
				waitFor(t, "the message", func() bool { return s.Load() == i+1 })
			}
			writes.Store(0)
			send(t, other, reply(), mux.Body{Data: octets(40_000), More: true}) // nobody takes it: it is acknowledged
			waitFor(t, "an ACK", func() bool { return writes.Load() > 0 })
			if o, r := others.Load(), readers.Load(); o != 0 || r == 0 {
				t.Errorf("%d writes by another goroutine and %d by the reader, want none and some", o, r)
			}
		})
	}
}

func sendAtRest(t *testing.T, e *end) {
	if _, err := e.Send(request(), mux.Body{Data: octets(64)}, nil); err != nil {
		t.Fatal(err)
	}
}

// A jealousConn is TLS as far as its methods go. It minds deadlines.
type jealousConn struct {
	*mux.Link
	set atomic.Int32
}

func (c *jealousConn) SetDeadline(time.Time) error      { c.set.Add(1); return nil }
func (c *jealousConn) SetWriteDeadline(time.Time) error { c.set.Add(1); return nil }
func (c *jealousConn) SetReadDeadline(time.Time) error  { c.set.Add(1); return nil }

// TestNobodySetsDeadlinesOfTLS: whatever becomes of a connection, callers with
// deadlines, a stall, silence and a shutdown included.
func TestNobodySetsDeadlinesOfTLS(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*end, *wire)
		want error
	}{
		{"stall", func(*end, *wire) {}, mux.ErrWriteStalled},
		{"silence", func(_ *end, w *wire) { w.listen() }, mux.ErrIdle},
		{"shutdown", func(e *end, w *wire) { w.listen(); e.Shutdown(time.Second) }, mux.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				c := &jealousConn{Link: mux.NewLink(near)}
				e := run(t, c, c.Link, mux.Options{Idle: time.Minute, Heartbeat: time.Minute})
				w := &wire{t: t, conn: far}
				ctx, stop := context.WithTimeout(t.Context(), time.Second)
				defer stop()
				o := send(t, e, request(), mux.Body{More: true})
				if _, err := o.Write(ctx, octets(100_000)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Write to a peer that does not read: %v, want the context's error", err)
				}
				o.Abort("enough")
				tt.end(e, w)
				<-e.ran
				if n := c.set.Load(); n != 0 || !errors.Is(e.err, tt.want) {
					t.Errorf("%d deadlines set, ended with %v; want none and %v", n, e.err, tt.want)
				}
			})
		})
	}
}

// TestStreamsStopWhenTheLinkIsBehind: however many streams have octets, no more than
// about one batch of them is made while as much waits for the network, so that what is
// small has little in front of it.
func TestStreamsStopWhenTheLinkIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := mute(t, mux.Options{})
		for range 200 {
			send(t, e, request(), mux.Body{Data: octets(65536), More: true})
		}
		synctest.Wait()
		if n := mux.Queued(e.Conn); n > 200<<10 {
			t.Errorf("200 streams of 65536 octets: %d octets wait to be written, want at most 200 KiB", n)
		}
		send(t, e, request(), mux.Body{Data: []byte("small")})
		synctest.Wait()
		w.listen()
		before := 0
		for _, p := range w.packets() {
			if p.MsgNo == 200 && p.Kind == packet.KindEOF {
				break
			}
			before += len(p.Body)
		}
		if before > 250<<10 {
			t.Errorf("%d octets before the small message, want at most 250 KiB of 12.5 MiB", before)
		}
	})
}
