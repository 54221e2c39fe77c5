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
	"slices"
	"strings"
	"sync"
	"time"
)

type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 1200 {
		t.b = append([]byte(nil), t.b[len(t.b)-600:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}

type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *os.File
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
	c := &child{cmd: exec.CommandContext(ctx, exe, args...), out: pr, err: &tail{}}
	c.cmd.ExtraFiles = []*os.File{pw}
	c.cmd.Stderr = c.err
	c.cmd.WaitDelay = 2 * time.Second
	c.stdin, err = c.cmd.StdinPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	pw.Close()
	if err != nil {
		pr.Close()
		return nil, err
	}
	return c, nil
}

// runCell runs one cell of one peer in fresh processes.
func runCell(peer string, cell Cell, env *Env, twoProc bool, profiles string) Result {
	fail := func(f string, a ...any) Result { return Result{Failed: fmt.Sprintf(f, a...)} }
	a, err := lookup(peer)
	if err != nil {
		return fail("%v", err)
	}
	if s, ok := a.(Skipper); ok {
		if why := s.Skip(cell.Scenario, cell.Key()); why != "" {
			return Result{Failed: "skipped: " + why, Skipped: true}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), cell.limit())
	defer cancel()
	base := []string{"-peer", peer, "-cert", env.CertFile, "-key", env.KeyFile}
	profile := func(side string) []string {
		if profiles == "" {
			return base
		}
		name := strings.ReplaceAll(cell.Scenario+"-"+cell.Key(), " ", "-") + "." + peer + "." + side
		return append(slices.Clone(base), "-profile", filepath.Join(profiles, name))
	}
	var rd ready
	if twoProc {
		s, err := spawn(ctx, append([]string{"serve"}, profile("server")...)...)
		if err != nil {
			return fail("server: %v", err)
		}
		defer func() {
			s.stdin.Close() // the server ends by itself ...
			t := time.AfterFunc(2*time.Second, func() { s.cmd.Process.Kill() })
			s.cmd.Wait()
			t.Stop()
			s.out.Close()
		}()
		s.out.SetReadDeadline(time.Now().Add(20 * time.Second))
		if err := json.NewDecoder(s.out).Decode(&rd); err != nil {
			return fail("server: %v: %s", err, s.err)
		}
	}
	cj, _ := json.Marshal(cell)
	c, err := spawn(ctx, append(append([]string{"client"}, profile("client")...), "-addr", rd.Addr, "-ctl", rd.Ctl, "-cell", string(cj))...)
	if err != nil {
		return fail("client: %v", err)
	}
	defer c.out.Close()
	var res Result
	derr := json.NewDecoder(c.out).Decode(&res)
	c.stdin.Close()
	werr := c.cmd.Wait()
	if derr != nil {
		if ctx.Err() != nil {
			return fail("HUNG: killed after %v: %s", cell.limit(), c.err)
		}
		return fail("client: %v %v: %s", derr, werr, c.err)
	}
	if s := c.err.String(); s != "" && (res.Errs > 0 || res.Failed != "") {
		res.Note += " stderr: " + s
	}
	return res
}
