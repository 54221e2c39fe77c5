package bench

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"sync"
	"time"
)

// A probe reads the counters of the server's side.
type probe interface {
	snap() (Snap, error)
	settle() error
}

// A localProbe is for one process: the server's share is in the client's counters.
type localProbe struct{}

func (localProbe) snap() (Snap, error) { return Snap{}, nil }

func (localProbe) settle() error { return nil }

const probeTime = 15 * time.Second // for one answer; collecting garbage takes a while

// A remoteProbe asks a server process.
type remoteProbe struct {
	mu sync.Mutex // one question at a time
	c  net.Conn
	r  *bufio.Reader
}

func (p *remoteProbe) ask(what string) (Snap, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var s Snap
	p.c.SetDeadline(time.Now().Add(probeTime))
	if _, err := io.WriteString(p.c, what+"\n"); err != nil {
		return s, err
	}
	answer, err := p.r.ReadBytes('\n')
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(answer, &s)
}

func (p *remoteProbe) snap() (Snap, error) { return p.ask("snap") }

func (p *remoteProbe) settle() error { _, err := p.ask("settle"); return err }

// serveProbes answers the probes that connect to l. It ends when l is closed.
func serveProbes(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go answerProbe(c) // ends when the client process does
	}
}

func answerProbe(c net.Conn) {
	defer c.Close()
	for sc := bufio.NewScanner(c); sc.Scan(); {
		if sc.Text() == "settle" {
			settle()
		}
		if json.NewEncoder(c).Encode(snap()) != nil {
			return
		}
	}
}
