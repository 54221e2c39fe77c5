package bench

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"net"
	"os"
)

// ready is what a server child reports on file descriptor 3.
type ready struct{ Addr, Ctl string }

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
