// The tests of this package are white-box tests: the harness has no exported parts
// but Main and what adapters need.
package bench

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the child process of the cells that tests run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "client") {
		Main(testPeers...)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// testPeers has a limit, a peer that works, and one for each way to go wrong.
var testPeers = roster{
	plain{name: limitName}, plain{name: "plain"}, plain{name: "liar", lie: true}, plain{name: "broken", broken: true},
}

// plain is an adapter over bare TCP, one call at a time: a length and a body each way.
type plain struct {
	name        string
	lie, broken bool
}

func (p plain) Name() string  { return p.name }
func (p plain) Notes() string { return "for tests" }

func (p plain) Skip(scenario, _ string) string {
	if scenario == "bulk" {
		return "bulk is not what it is for"
	}
	return ""
}

type plainServer struct{ net.Listener }

func (s plainServer) Addr() string { return s.Listener.Addr().String() }

func (p plain) Serve(*Env) (Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.answer(c) // ends when the client leaves
		}
	}()
	return plainServer{l}, nil
}

func (p plain) answer(c net.Conn) {
	defer c.Close()
	for {
		b, err := readFrame(c)
		if err != nil || p.broken {
			return
		}
		b = Handle(b)
		if p.lie {
			b = make([]byte, len(b))
		}
		if writeFrame(c, b) != nil {
			return
		}
	}
}

func (p plain) Connect(ctx context.Context, addr string, _ *Env) (Client, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &plainClient{c: c}, nil
}

type plainClient struct {
	mu sync.Mutex // one call at a time
	c  net.Conn
}

func (c *plainClient) Unary(_ context.Context, req, _ []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := writeFrame(c.c, req); err != nil {
		return nil, err
	}
	return readFrame(c.c)
}

func (c *plainClient) BulkUp(context.Context, io.Reader, int64) (int64, error) { return 0, io.EOF }

func (c *plainClient) BulkDown(context.Context, int64, io.Writer) (int64, error) { return 0, io.EOF }

func (c *plainClient) Close() error { return c.c.Close() }

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, min(binary.BigEndian.Uint32(n[:]), 1<<20))
	_, err := io.ReadFull(r, b)
	return b, err
}
