//go:build failpoint && unix

package scamp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

func dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// deaths are the settings of a failpoint at some times that it is reached.
func deaths(place, who string, hits ...int) (all []string) {
	for _, hit := range hits {
		all = append(all, fmt.Sprintf("%s %d %s", place, hit, who))
	}
	return all
}

// A mortalCall is a call that ended, and how.
type mortalCall struct {
	id  int64
	big bool // with a large reply
	err error
}

// mortalCalls makes calls, numbered from first on, from several goroutines.
func mortalCalls(t *testing.T, bus *scamp.Bus, first, callers, calls int, idempotent bool) []mortalCall {
	t.Helper()
	ended := make([]mortalCall, callers*calls)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() { // ends with its last call
			for i := c * calls; i < (c+1)*calls; i++ {
				id, big := int64(first+i), i%5 == 4
				ended[i] = mortalCall{id, big, mortalEcho(t, bus, id, big, idempotent)}
			}
		})
	}
	all.Wait()
	return ended
}

// mortalEcho makes one call: of some octets, or one with a large reply.
func mortalEcho(t *testing.T, bus *scamp.Bus, id int64, big, idempotent bool) error {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	body := []byte(strconv.FormatInt(id, 10))
	req := &scamp.Request{Action: "Mortal.echo", Data: body, ClientID: id, Idempotent: idempotent}
	want := body
	if big {
		req.Action, want = "Mortal.big", make([]byte, mortalBig)
	}
	reply, err := bus.Call(ctx, req)
	if err != nil {
		return err
	}
	got, err := reply.Bytes(0)
	if err == nil && !bytes.Equal(got, want) {
		t.Errorf("call %d: %d octets came back, want %d others", id, len(got), len(want))
	}
	return err
}

// wantTrueRan compares what was said of calls with what their handlers have written down.
// It returns how many failed, and how many of them may have with a reply that had begun,
// which is sent again for nobody.
func wantTrueRan(t *testing.T, calls []mortalCall, runs map[int64]int, most int) (failed, begun int) {
	t.Helper()
	for _, c := range calls {
		n := runs[c.id]
		if c.err != nil {
			failed++
			if c.big {
				begun++
			}
		}
		switch ran := ranOf(c.err); {
		case n > most:
			t.Errorf("call %d: %v; %d runs, want %d at most", c.id, c.err, n, most)
		case c.err == nil && n == 0, c.err != nil && ran == scamp.RanNo && n > 0, ran == scamp.RanYes && n == 0:
			t.Errorf("call %d: %v with Ran %v, and its handler ran %d times", c.id, c.err, ran, n)
		case c.err != nil && ran != scamp.RanNo && ran != scamp.RanMaybe:
			t.Errorf("call %d: %v with Ran %v, want no or maybe", c.id, c.err, ran)
		}
	}
	return failed, begun
}

// TestFailpointServiceDies is THREATS 3.1: a service dies with a reply made and not sent,
// or with its header sent and not all of its body. Callers say so truly, what may have
// run runs again for Idempotent calls alone, and those have no error.
func TestFailpointServiceDies(t *testing.T) {
	const callers, calls = 8, 12
	for _, place := range append(deaths("afterReplyBeforeFlush", "process", 1, 9), deaths("afterHeaderWrite", "process", 2, 10)...) {
		for _, idempotent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/idempotent=%v", place, idempotent), func(t *testing.T) {
				t.Parallel() // they mostly wait for processes
				dies, lives := startMortal(t, place, ""), startMortal(t, "", "")
				ended := mortalCalls(t, mortalBus(t, dies, lives), 0, callers, calls, idempotent)
				dies.wantDeath()
				lives.end()
				runs, most := countRuns(t, dies, lives), 1
				if idempotent {
					most = 3 // attempts
				}
				failed, begun := wantTrueRan(t, ended, runs, most)
				lost := 0 // calls that ran where their reply was lost
				for id := range countRuns(t, dies) {
					if runs[id] > 1 || ended[id].err != nil {
						lost++
					}
				}
				switch {
				case idempotent && failed > begun:
					t.Errorf("%d idempotent calls failed before their reply had begun, want none", failed-begun)
				case failed > callers:
					t.Errorf("%d calls failed, want those at most that were under way: %d", failed, callers)
				}
				if strings.HasPrefix(place, "afterReply") && lost == 0 {
					t.Error("no reply was lost: the service did not die with one")
				}
				t.Logf("%d calls failed, %d replies were lost", failed, lost)
			})
		}
	}
}

// TestFailpointCallerDies: a request of a caller that dies before it is sent runs nowhere,
// one that was sent runs once at most, and the service has no trace of either.
func TestFailpointCallerDies(t *testing.T) {
	for place, last := range map[string]int{
		"betweenRegisterAndSend 1 process": 0, "betweenRegisterAndSend 7 process": 0,
		"afterHeaderWrite 1 process": 1, "afterHeaderWrite 7 process": 7, // which may run
	} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			service := startMortal(t, "", "")
			startMortal(t, place, service.addr).wantDeath()
			mustEcho(t, mortalBus(t, service), 1000)
			service.end()
			want := map[int64]int{1000: 1}
			if strings.Contains(place, " 7 ") {
				for id := range 6 {
					want[int64(id+1)] = 1
				}
			}
			got := countRuns(t, service)
			if got[int64(last)] == 1 {
				want[int64(last)] = 1
			}
			if !maps.Equal(got, want) {
				t.Errorf("handlers ran for %v, want %v", got, want)
			}
		})
	}
}

// TestFailpointConnectionDies has connections end between the steps of sending: what was
// not handed to TLS did not run and is sent again by itself, everything else may have.
func TestFailpointConnectionDies(t *testing.T) {
	const callers, calls = 8, 12
	a, b := startMortal(t, "", ""), startMortal(t, "", "")
	bus := mortalBus(t, a, b)
	var places []string
	for _, who := range []string{"connection", "network"} {
		places = append(places, deaths("betweenRegisterAndSend", who, 1, 20)...)
		places = append(places, deaths("afterHeaderWrite", who, 1, 20)...)
	}
	type load struct {
		place      string
		idempotent bool
		ended      []mortalCall
	}
	var loads []load
	for _, place := range places {
		for _, idempotent := range []bool{false, true} {
			t.Setenv(failpointAt, fmt.Sprintf("%s %d", place, len(loads)))
			first := len(loads) * callers * calls
			loads = append(loads, load{place, idempotent, mortalCalls(t, bus, first, callers, calls, idempotent)})
		}
	}
	t.Setenv(failpointAt, "")
	a.end() // so that nothing runs any more
	b.end()
	runs, broken := countRuns(t, a, b), 0
	for _, l := range loads {
		most := 1
		if l.idempotent {
			most = 3 // attempts
		}
		failed, begun := wantTrueRan(t, l.ended, runs, most)
		if failed > callers || l.idempotent && failed > begun {
			t.Errorf("%s, idempotent %v: %d calls failed, %d of them in their reply: want those under way at most, and no idempotent one before its reply", l.place, l.idempotent, failed, begun)
		}
		broken += failed
	}
	if broken == 0 {
		t.Errorf("no call of %d failed: no connection died", len(loads)*callers*calls)
	}
	t.Logf("%d of %d calls failed", broken, len(loads)*callers*calls)
}

// TestFailpointRedispatch has the connection of a lone call die: exactly what was not
// handed to TLS is sent again without being asked for, and if it can be.
func TestFailpointRedispatch(t *testing.T) {
	tests := []struct {
		name, at string
		once     bool // its body cannot be read again
		ran      scamp.Ran
		ok       bool
		runs     int // at most
	}{
		{"registered", "betweenRegisterAndSend 1 connection", false, scamp.RanNo, true, 1},
		{"registered, body is read once", "betweenRegisterAndSend 1 connection", true, scamp.RanNo, false, 0},
		{"sent", "afterHeaderWrite 1 connection", false, scamp.RanMaybe, false, 1},
	}
	a, b := startMortal(t, "", ""), startMortal(t, "", "")
	bus := mortalBus(t, a, b)
	for i := range 8 {
		mustEcho(t, bus, int64(100+i)) // connects to both
	}
	for i, tt := range tests {
		req := &scamp.Request{Action: "Mortal.echo", Data: []byte("x"), ClientID: int64(i)}
		if tt.name == "sent" {
			req.Action = "Mortal.wait" // else its reply may be faster than the failpoint
		}
		if tt.once {
			req.Data, req.Body = nil, io.MultiReader(bytes.NewReader([]byte("x")))
		}
		var causes []error
		ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Retried: func(_ int, cause error) { causes = append(causes, cause) }})
		t.Setenv(failpointAt, fmt.Sprintf("%s %d", tt.at, i))
		o := <-inBackground(ctx, bus, req)
		t.Setenv(failpointAt, "")
		if !tt.ok {
			wantRan(t, tt.name, o.err, tt.ran, scamp.ErrLost)
			if len(causes) > 0 {
				t.Errorf("%s: sent again for %v, want it left", tt.name, causes)
			}
		} else if o.err != nil || len(causes) != 1 || ranOf(causes[0]) != tt.ran {
			t.Errorf("%s: %v after retries for %v: want it sent again once for an error with Ran %v", tt.name, o.err, causes, tt.ran)
		}
	}
	a.end()
	b.end()
	runs := countRuns(t, a, b)
	for i, tt := range tests {
		if n := runs[int64(i)]; n > tt.runs || tt.ok && n == 0 {
			t.Errorf("%s: %d runs, want %d", tt.name, n, tt.runs)
		}
	}
}
