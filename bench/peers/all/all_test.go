package all_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/bench"
	"github.com/scampbus/scamp-go/bench/peers/all"
)

// Every adapter echoes, streams both ways and serves many connections; a rival that
// is measured but does not work would flatter us.
func TestPeers(t *testing.T) {
	env, err := bench.MakeEnv(t.TempDir(), "rsa")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range all.Peers() {
		if slices.Contains(names, a.Name()) {
			t.Errorf("two adapters are named %q", a.Name())
		}
		names = append(names, a.Name())
		t.Run(a.Name(), func(t *testing.T) { exercise(t, a, env) })
	}
}

func exercise(t *testing.T, a bench.Adapter, env *bench.Env) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := a.Serve(env)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		c, err := a.Connect(ctx, s.Addr(), env)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, req := range []string{`{"a":1}`, `{"slow_ms":1,"id":"x"}`, string(bytes.Repeat([]byte("0123456789abcdef"), 1024))} {
			got, err := c.Unary(ctx, []byte(req), make([]byte, 0, len(req)))
			if err != nil || string(got) != req {
				t.Fatalf("echo of %.40q: %.40q, %v", req, got, err)
			}
		}
		const n = 5<<20 + 3
		if got, err := c.BulkUp(ctx, io.LimitReader(new(bench.Pattern), n), n); err != nil || got != n {
			t.Errorf("up: the server got %d, %v, want %d", got, err, n)
		}
		want := bytes.NewBuffer(nil)
		io.CopyN(want, new(bench.Pattern), n)
		var down bytes.Buffer
		if got, err := c.BulkDown(ctx, n, &down); err != nil || got != n || !bytes.Equal(down.Bytes(), want.Bytes()) {
			t.Errorf("down: %d and %d bytes, %v, want the pattern's %d", got, down.Len(), err, n)
		}
	}
}
