//go:build failpoint && unix

package mux

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// failpointHits counts how often the place named by SCAMP_FAILPOINT was reached since it
// names that. It is a variable of the package because the place may be anywhere; only
// builds for tests have it.
var failpointHits struct {
	sync.Mutex
	setting string
	n       int64
}

var errFailpoint = errors.New("mux: the connection dies at a failpoint")

// failpoint lets somebody die at the place and the time that SCAMP_FAILPOINT names:
// "afterHeaderWrite 3" lets the process, as kill -9 does, when it is there for the third
// time; "afterHeaderWrite 3 connection" the Conn, and "afterHeaderWrite 3 network" what
// is below it. What follows tells one such setting from the next. A place counts when
// packets, what is being sent, begin a message, a reply if it has that in its name.
func (c *Conn) failpoint(name string, packets []byte) {
	begins := bytes.HasPrefix(packets, []byte("HEADER ")) || bytes.Contains(packets, []byte("\r\nHEADER "))
	if !begins || name == "afterReplyBeforeFlush" && !bytes.Contains(packets, []byte(`"type":"reply"`)) {
		return
	}
	switch reached(name) {
	case "connection":
		c.fail(errFailpoint)
	case "network":
		c.link.Conn.Close()
	}
}

// failpointLocked is failpoint where a message was made, and nobody else can send it yet.
func (c *Conn) failpointLocked(name string) {
	switch reached(name) {
	case "connection":
		c.silent = true // whoever is about to send must find nothing when the lock opens
		c.mu.Unlock()
		c.fail(errFailpoint)
		c.mu.Lock()
	case "network":
		c.link.Conn.Close()
	}
}

// reached says who is to die here and now, other than the process, which does.
func reached(name string) (who string) {
	setting := os.Getenv("SCAMP_FAILPOINT")
	var place string
	var hit int64
	if n, _ := fmt.Sscan(setting, &place, &hit, &who); n < 2 || place != name {
		return ""
	}
	failpointHits.Lock()
	if failpointHits.setting != setting {
		failpointHits.setting, failpointHits.n = setting, 0
	}
	failpointHits.n++
	here := failpointHits.n == hit
	failpointHits.Unlock()
	if !here {
		return ""
	}
	if who != "connection" && who != "network" {
		fmt.Fprintln(os.Stderr, "dies at", name)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
	return who
}
