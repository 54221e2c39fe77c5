//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A hostileSpec says whom a hostile child attacks.
type hostileSpec struct {
	Targets []string // host:port each
	Seed    uint64
}

// harms are what a hostile child sends after the TLS handshake: some of the rows P and L
// of THREATS 2.3, each of which the service is to survive alone.
var harms = []struct {
	id   string
	text string // sent once
	rest string // then sent again and again
}{
	{"P1", "HEADER x\r\n", ""},
	{"P1 long", "HEADER " + strings.Repeat("1", 200) + " 2\r\n", ""},
	{"P2", header(0, "Load.work") + "DATA 0 4294967295\r\n", ""},
	{"P3", "HEADER 0 2\r\n{}ENX\r\n", ""},
	{"P4", "__proto__ 0 0\r\nEND\r\n", ""},
	{"P5", "HEADER 0 4\r\nnullEND\r\n", ""},
	{"P6", "", "headers"},
	{"P7", "", "rapid resets"},
	{"P8", header(0, "Load.work") + "EOF 0 0\r\nEND\r\n" + strings.Repeat("garbage", 1000), ""},
	{"P10", header(0, "Load.work"), "ACK 0 1\r\n1END\r\n"},
	{"P12", "", "requests whose replies nobody reads"},
	{"P13", header(0, "Load.work"), "DATA 0 1\r\nxEND\r\n"},
	{"P15", "", "PING 0 0\r\nEND\r\n"},
}

func header(n int, action string) string {
	h := fmt.Sprintf(`{"type":"request","action":%q,"version":1,"envelope":"json","request_id":%d}`, action, n+1)
	return fmt.Sprintf("HEADER %d %d\r\n%sEND\r\n", n, len(h), h)
}

// beHostile attacks one service after the other until the stage has seen enough.
func beHostile(p *post) error {
	var spec hostileSpec
	if err := json.Unmarshal(p.spec, &spec); err != nil {
		return err
	}
	p.obey(nil)
	p.tell("ready", ready{})
	r := stream(spec.Seed, "hostile")
	for p.ctx.Err() == nil {
		target := spec.Targets[r.IntN(len(spec.Targets))]
		harm(p.ctx, target, r.IntN(len(harms)+1))
		select {
		case <-time.After(50 * time.Millisecond):
		case <-p.ctx.Done():
		}
	}
	return nil
}

// harm makes one connection and does harm on it for a moment. What becomes of it is the
// service's business.
func harm(ctx context.Context, target string, which int) {
	lasts := 150 * time.Millisecond
	if which == len(harms) {
		lasts = 2 * time.Second // longer than a handshake may take
	}
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		return // the service is being started
	}
	defer raw.Close()
	end, _ := ctx.Deadline()
	raw.SetDeadline(end)
	if which == len(harms) { // L5: a handshake that does not go on
		raw.Write([]byte{22, 3, 1})
		io.Copy(io.Discard, raw)
		return
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // whoever it is
	a := harms[which]
	if _, err := io.WriteString(c, a.text); err != nil {
		return
	}
	if a.id != "P12" {
		go io.Copy(io.Discard, c) // ends with the connection
	}
	for n := 0; a.rest != ""; n++ {
		text := a.rest
		switch a.id {
		case "P6":
			text = header(n, "Load.work")
		case "P7":
			text = header(n, "Load.work") + fmt.Sprintf("TXERR %d 4\r\nstopEND\r\n", n)
		case "P12":
			text = header(n, "Load.work") + fmt.Sprintf("EOF %d 0\r\nEND\r\n", n)
		default:
			text = strings.Repeat(text, 64)
		}
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
	io.Copy(io.Discard, c) // until the service has enough
}
