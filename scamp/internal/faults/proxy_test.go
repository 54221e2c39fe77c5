//go:build linux

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A proxy passes octets on whole and in order, and does to them what its weather says.
func TestProxy(t *testing.T) {
	sent, err := io.ReadAll(newBody(nil, [16]byte{1}, 40_000))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		weather weather
		least   time.Duration // an echo takes that long
		differ  bool          // other octets come back
		breaks  bool          // or none
		sliced  bool          // in segments of seven octets at most
	}{
		{"fair", weather{}, 0, false, false, false},
		{"latency", weather{latency: 50 * time.Millisecond, jitter: 20 * time.Millisecond}, 60 * time.Millisecond, false, false, false},
		{"slow", weather{rate: 100_000}, 300 * time.Millisecond, false, false, false},
		{"slices", weather{slice: 7}, 0, false, false, true},
		{"flips", weather{flip: 10_000}, 0, true, false, false},
		{"short lives", weather{latency: time.Second, lives: [2]time.Duration{20 * time.Millisecond, 30 * time.Millisecond}}, 0, false, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := echoing(t)
			p.set(tt.weather)
			began := time.Now()
			got, err := through(t, p, sent)
			if took := time.Since(began); took < tt.least {
				t.Errorf("%d octets there and back in %v, want %v at least", len(sent), took, tt.least)
			}
			if tt.breaks != (err != nil) {
				t.Errorf("echo through %+v: %v", tt.weather, err)
			}
			if !tt.breaks && (len(got) != len(sent) || bytes.Equal(got, sent) == tt.differ) {
				t.Errorf("%d octets came back, the same %v; want %d, the same %v", len(got), bytes.Equal(got, sent), len(sent), !tt.differ)
			}
			if segments := p.segments.Load(); !tt.breaks && tt.sliced != (7*segments >= int64(2*len(sent))) {
				t.Errorf("%d octets there and back in %d segments, want seven octets in each at most: %v", len(sent), segments, tt.sliced)
			}
			if flipped := p.flipped.Load(); tt.differ != (flipped > 0) {
				t.Errorf("%d bits were turned over", flipped)
			}
		})
	}
}

// What a hole swallows comes out of it, and nothing comes before its end.
func TestProxyHole(t *testing.T) {
	p := echoing(t)
	p.set(weather{hole: true})
	type end struct {
		got []byte
		err error
	}
	ends := make(chan end, 1)
	go func() { // ends with the echo
		got, err := through(t, p, []byte("patience"))
		ends <- end{got, err}
	}()
	select {
	case e := <-ends:
		t.Errorf("%q, %v came out of a hole", e.got, e.err)
	case <-time.After(100 * time.Millisecond):
	}
	p.set(weather{})
	if e := <-ends; string(e.got) != "patience" || e.err != nil {
		t.Errorf("%q, %v after the hole, want what was sent", e.got, e.err)
	}
}

// echoing returns a proxy before somebody who sends back what he gets.
func echoing(t *testing.T) *proxy {
	t.Helper()
	p, err := newProxy(7, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.point(l.Addr().String())
	done := make(chan struct{})
	go func() { // ends with the connection, or the listener
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		// Between two TCP connections io.Copy splices, and the pipes that it does so with
		// stay open until some collection finds them.
		io.Copy(struct{ io.Writer }{c}, c)
	}()
	before := pipes(t)
	t.Cleanup(func() {
		p.close()
		l.Close()
		<-done
		if n := pipes(t); n > before {
			t.Errorf("%d ends of pipes are open after the test, want the %d of before", n, before)
		}
	})
	return p
}

// pipes counts the ends of pipes that the process has open.
func pipes(t *testing.T) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// through sends octets and their end through a proxy and returns what comes back.
func through(t *testing.T, p *proxy, b []byte) ([]byte, error) {
	c, err := net.Dial("tcp", p.address())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { // ends when all is taken, or c is closed
		c.Write(b)
		c.(*net.TCPConn).CloseWrite()
	}()
	return io.ReadAll(c)
}
