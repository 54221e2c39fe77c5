package bench

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"sync"
	"time"
)

// probe reads the server side's counters: over the control connection, or directly.
type probe interface {
	snap() (Snap, error)
	settle() error
}

type localProbe struct{}

// In one process the server's share is already in the client's own counters.
func (localProbe) snap() (Snap, error) { return Snap{}, nil }

func (localProbe) settle() error { return nil }

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

func (p *remoteProbe) settle() error { _, err := p.ask("settle"); return err }

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
