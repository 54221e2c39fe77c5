package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// runCell runs one cell of one peer in fresh processes.
func runCell(o *options, peer string, cell Cell, env *Env) Result {
	a, err := o.roster.find(peer)
	if err != nil {
		return Result{Failed: err.Error()}
	}
	if s, ok := a.(Skipper); ok {
		if why := s.Skip(cell.Scenario, cell.Key()); why != "" {
			return Result{Failed: "skipped: " + why, Skipped: true}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), cell.limit())
	defer cancel()
	j := &job{peer: peer, cert: env.CertFile, key: env.KeyFile}
	if o.mode == "two" {
		stop, err := serveCell(ctx, o, j, cell)
		if err != nil {
			return Result{Failed: err.Error()}
		}
		defer stop()
	}
	return callCell(ctx, o, j, cell)
}

// profileOf is the prefix of the profiles of one process.
func (o *options) profileOf(peer string, c Cell, side string) string {
	if o.profiles == "" {
		return ""
	}
	return filepath.Join(o.profiles, strings.ReplaceAll(c.Scenario+" "+c.Key(), " ", "-")+"."+peer+"."+side)
}

const (
	startTime = 20 * time.Second // for a server to listen
	stopTime  = 2 * time.Second  // for it to end by itself
)

// serveCell starts the server process and puts in j how to reach it.
func serveCell(ctx context.Context, o *options, j *job, cell Cell) (stop func(), err error) {
	j.profile = o.profileOf(j.peer, cell, "server")
	s, err := spawn(ctx, append([]string{"serve"}, j.args()...)...)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	stop = func() {
		s.stdin.Close() // then the server ends by itself
		kill := time.AfterFunc(stopTime, func() { s.cmd.Process.Kill() })
		s.cmd.Wait()
		kill.Stop()
		s.out.Close()
	}
	s.out.SetReadDeadline(time.Now().Add(startTime))
	if err := json.NewDecoder(s.out).Decode(&j.ready); err != nil {
		stop()
		return nil, fmt.Errorf("server: %w: %s", err, s.err)
	}
	return stop, nil
}

// callCell runs the client process to its end.
func callCell(ctx context.Context, o *options, j *job, cell Cell) Result {
	spec, err := json.Marshal(cell)
	if err != nil {
		return Result{Failed: err.Error()}
	}
	j.cell, j.profile = string(spec), o.profileOf(j.peer, cell, "client")
	c, err := spawn(ctx, append([]string{"client"}, j.args()...)...)
	if err != nil {
		return Result{Failed: "client: " + err.Error()}
	}
	defer c.out.Close()
	var res Result
	decodeErr := json.NewDecoder(c.out).Decode(&res)
	c.stdin.Close()
	waitErr := c.cmd.Wait()
	switch {
	case decodeErr != nil && ctx.Err() != nil:
		return Result{Failed: fmt.Sprintf("HUNG: killed after %v: %s", cell.limit(), c.err)}
	case decodeErr != nil:
		return Result{Failed: fmt.Sprintf("client: %v, %v: %s", decodeErr, waitErr, c.err)}
	}
	if s := c.err.String(); s != "" && (res.Errs > 0 || res.Failed != "") {
		res.Note += " stderr: " + s
	}
	return res
}

// A child is a process of this binary.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *os.File // its descriptor 3
	err   *tail
}

func spawn(ctx context.Context, args ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer pw.Close()
	c := &child{cmd: exec.CommandContext(ctx, exe, args...), out: pr, err: new(tail)}
	c.cmd.ExtraFiles = []*os.File{pw}
	c.cmd.Stderr = c.err
	c.cmd.WaitDelay = stopTime
	c.stdin, err = c.cmd.StdinPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		pr.Close()
		return nil, err
	}
	return c, nil
}

const (
	tailMost = 1200 // bytes, before the older half goes
	tailKeep = 600
)

// A tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex // protects b
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailMost {
		t.b = bytes.Clone(t.b[len(t.b)-tailKeep:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
