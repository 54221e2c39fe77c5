package bench

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"net"
	"os"
)

// A job is what a child process is told on its command line.
type job struct {
	peer, cert, key string
	profile         string // prefix of profile files; empty for none
	cell            string // client only, JSON
	ready                  // client only; empty in one-process mode
}

// ready is what a server process reports on descriptor 3.
type ready struct{ Addr, Probe string }

func (j *job) args() []string {
	return []string{"-peer", j.peer, "-cert", j.cert, "-key", j.key, "-profile", j.profile, "-cell", j.cell, "-addr", j.Addr, "-probe", j.Probe}
}

func parseJob(args []string) (*job, error) {
	j := new(job)
	fs := flag.NewFlagSet("child", flag.ContinueOnError)
	fs.StringVar(&j.peer, "peer", "", "")
	fs.StringVar(&j.cert, "cert", "", "")
	fs.StringVar(&j.key, "key", "", "")
	fs.StringVar(&j.profile, "profile", "", "")
	fs.StringVar(&j.cell, "cell", "", "")
	fs.StringVar(&j.Addr, "addr", "", "")
	fs.StringVar(&j.Probe, "probe", "", "")
	return j, fs.Parse(args)
}

// childServe is the server process; it ends when its standard input does.
func childServe(peers roster, args []string) error {
	j, err := parseJob(args)
	if err != nil {
		return err
	}
	a, err := peers.find(j.peer)
	if err != nil {
		return err
	}
	env, err := NewEnv(j.cert, j.key)
	if err != nil {
		return err
	}
	s, err := a.Serve(env)
	if err != nil {
		return err
	}
	probes, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go serveProbes(probes) // ends with the process
	stop, err := startProfile(j.profile)
	if err != nil {
		return err
	}
	if err := report(ready{s.Addr(), probes.Addr().String()}); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	return stop()
}

// childClient is the client process: one cell.
func childClient(peers roster, args []string) error {
	j, err := parseJob(args)
	if err != nil {
		return err
	}
	a, err := peers.find(j.peer)
	if err != nil {
		return err
	}
	env, err := NewEnv(j.cert, j.key)
	if err != nil {
		return err
	}
	var c Cell
	if err := json.Unmarshal([]byte(j.cell), &c); err != nil {
		return err
	}
	r := &runner{a: a, env: env, addr: j.Addr, probe: localProbe{}}
	if j.Probe != "" {
		conn, err := net.Dial("tcp", j.Probe)
		if err != nil {
			return err
		}
		defer conn.Close()
		r.probe = &remoteProbe{c: conn, r: bufio.NewReader(conn)}
	} else {
		s, err := a.Serve(env)
		if err != nil {
			return err
		}
		r.addr = s.Addr()
	}
	stop, err := startProfile(j.profile)
	if err != nil {
		return err
	}
	res := r.run(c)
	if err := stop(); err != nil {
		return err
	}
	return report(res)
}

// report tells the parent process, on descriptor 3: standard output is the peer's.
func report(v any) error {
	out := os.NewFile(3, "report")
	defer out.Close()
	return json.NewEncoder(out).Encode(v)
}
