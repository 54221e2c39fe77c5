package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// ready is what a server child reports on file descriptor 3.
type ready struct{ Addr, Ctl string }

// probe reads the server side's counters: over the control connection, or directly.
type probe interface {
	snap() (Snap, error)
	settle() error
}

type localProbe struct{}

// In one process the server's share is already in the client's own counters.
func (localProbe) snap() (Snap, error) { return Snap{}, nil }
func (localProbe) settle() error       { return nil }

type remoteProbe struct {
	mu sync.Mutex
	c  net.Conn
	r  *bufio.Reader
}

func (p *remoteProbe) ask(cmd string) (s Snap, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.c.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err = io.WriteString(p.c, cmd+"\n"); err != nil {
		return
	}
	line, err := p.r.ReadBytes('\n')
	if err != nil {
		return
	}
	err = json.Unmarshal(line, &s)
	return
}
func (p *remoteProbe) snap() (Snap, error) { return p.ask("snap") }
func (p *remoteProbe) settle() error       { _, err := p.ask("settle"); return err }

func serveCtl(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			sc := bufio.NewScanner(c)
			for sc.Scan() {
				if sc.Text() == "settle" {
					settle()
				}
				b, _ := json.Marshal(snap())
				if _, err := c.Write(append(b, '\n')); err != nil {
					return
				}
			}
		}()
	}
}

// childServe is the server process; it ends when its standard input closes.
func childServe(args []string) error {
	fs := flag.NewFlagSet("serve", flag.ExitOnError)
	peer := fs.String("peer", "", "")
	env := &Env{}
	fs.StringVar(&env.CertFile, "cert", "", "")
	fs.StringVar(&env.KeyFile, "key", "", "")
	prof := fs.String("profile", "", "")
	fs.Parse(args)
	a, err := lookup(*peer)
	if err != nil {
		return err
	}
	s, err := a.Serve(env)
	if err != nil {
		return err
	}
	stop, err := startProfile(*prof)
	if err != nil {
		return err
	}
	ctl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go serveCtl(ctl)
	out := os.NewFile(3, "ready")
	json.NewEncoder(out).Encode(ready{s.Addr(), ctl.Addr().String()})
	out.Close()
	io.Copy(io.Discard, os.Stdin)
	return stop()
}

// childClient is the client process: one cell, result on file descriptor 3.
func childClient(args []string) error {
	fs := flag.NewFlagSet("client", flag.ExitOnError)
	peer := fs.String("peer", "", "")
	addr := fs.String("addr", "", "")
	ctl := fs.String("ctl", "", "")
	cellJSON := fs.String("cell", "", "")
	env := &Env{}
	fs.StringVar(&env.CertFile, "cert", "", "")
	fs.StringVar(&env.KeyFile, "key", "", "")
	prof := fs.String("profile", "", "")
	fs.Parse(args)
	a, err := lookup(*peer)
	if err != nil {
		return err
	}
	var cell Cell
	if err := json.Unmarshal([]byte(*cellJSON), &cell); err != nil {
		return err
	}
	r := &runner{a: a, env: env, addr: *addr, probe: localProbe{}}
	if *ctl != "" {
		c, err := net.Dial("tcp", *ctl)
		if err != nil {
			return err
		}
		r.probe = &remoteProbe{c: c, r: bufio.NewReader(c)}
	} else { // one-process mode
		s, err := a.Serve(env)
		if err != nil {
			return err
		}
		r.addr = s.Addr()
	}
	stop, err := startProfile(*prof)
	if err != nil {
		return err
	}
	res := r.run(cell)
	if err := stop(); err != nil {
		return err
	}
	return json.NewEncoder(os.NewFile(3, "result")).Encode(res)
}

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
