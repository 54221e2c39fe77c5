package scamptest_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A ping is a network with one service, and a bus that calls it.
type ping struct {
	*scamptest.Network
	s    *scamptest.Service
	bus  *scamp.Bus
	runs int // of the handler; read when nothing runs
}

func newPing(t *testing.T) *ping {
	p := &ping{Network: scamptest.New(t)}
	p.s = p.Serve("ping", func(s *scamp.Service) {
		s.Handle("Ping.pong", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { p.runs++; return nil }, nil)
	})
	p.bus = p.Bus(nil)
	return p
}

// call calls, for at most so long, and says how long that took.
func (p *ping) call(t *testing.T, limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	_, err := p.bus.Call(ctx, &scamp.Request{Action: "Ping.pong", Retry: &scamp.RetryOptions{Attempts: 1}})
	return time.Since(began), err
}

func ran(err error) scamp.Ran {
	ce, ok := errors.AsType[*scamp.CallError](err)
	if !ok {
		return -1
	}
	return ce.Ran
}

// TestDelayAndRate: a call takes as many round trips as it should.
func TestDelayAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPing(t)
		p.Disturb(p.s, scamptest.Line{Delay: 100 * time.Millisecond})
		// TCP and TLS 1.3 take a round trip each, and so does the call.
		if took, err := p.call(t, time.Minute); err != nil || took != 600*time.Millisecond {
			t.Errorf("first call over a line of 100ms: %v after %v, want 600ms", err, took)
		}
		if took, err := p.call(t, time.Minute); err != nil || took != 200*time.Millisecond {
			t.Errorf("second call: %v after %v, want 200ms", err, took)
		}
		p.Disturb(p.s, scamptest.Line{Rate: 1000})
		if took, err := p.call(t, time.Minute); err != nil || took < 100*time.Millisecond || took > time.Second {
			t.Errorf("call at 1000 octets a second: %v after %v, want some tenths of a second", err, took)
		}
		p.Disturb(p.s, scamptest.Line{})
		<-time.After(time.Second)
		if took, err := p.call(t, time.Minute); err != nil || took != 0 {
			t.Errorf("call over a perfect line: %v after %v, want no time", err, took)
		}
	})
}

// TestCutAtEachOctet cuts the connection of a call behind every octet of its request, and
// of its reply: the call fails once, and says truly whether it may have run.
func TestCutAtEachOctet(t *testing.T) {
	for _, tt := range []struct {
		name string
		line func(n int) scamptest.Line
	}{
		{"request", func(n int) scamptest.Line { return scamptest.Line{CutTo: n} }},
		{"reply", func(n int) scamptest.Line { return scamptest.Line{CutFrom: n} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPing(t)
				for cut := 1; ; cut += 7 {
					p.Disturb(p.s, scamptest.Line{})
					if _, err := p.call(t, time.Minute); err != nil { // so that the connection is there
						t.Fatal(err)
					}
					synctest.Wait()
					before := p.runs
					p.Disturb(p.s, tt.line(cut))
					_, err := p.call(t, time.Minute)
					synctest.Wait()
					times := p.runs - before
					switch {
					case err == nil && cut > 40:
						return // all was through before the cut
					case err == nil || times > 1 || ran(err) == scamp.RanNo && times > 0 || ran(err) == scamp.RanYes && times == 0:
						t.Fatalf("cut after %d octets: %v with Ran %v, and it ran %d times", cut, err, ran(err), times)
					}
					p.Cut(p.s)
					synctest.Wait()
				}
			})
		})
	}
}

// TestPause: connecting works, and then nothing moves; afterwards all of it does.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPing(t)
		p.call(t, time.Minute)
		resume := p.Pause(p.s)
		if took, err := p.call(t, time.Second); !errors.Is(err, scamp.ErrTimeout) || ran(err) != scamp.RanMaybe || took != time.Second {
			t.Errorf("call of a paused service: %v with Ran %v after %v, want it timed out, perhaps run", err, ran(err), took)
		}
		synctest.Wait()
		if p.runs != 1 {
			t.Errorf("%d handlers ran: want the one before the pause", p.runs)
		}
		c, err := p.Dial(t.Context(), "tcp", p.s.Addr())
		if err != nil {
			t.Errorf("connecting to a paused service: %v, want no error, as kernels have it", err)
		} else {
			c.Close()
		}
		p.Await(p.bus, "Ping.pong", 0) // its silence is noticed
		resume()
		resume()
		p.Await(p.bus, "Ping.pong", 1)
		if _, err := p.call(t, time.Minute); err != nil {
			t.Errorf("after the pause: %v", err)
		}
		again := p.Pause(p.s)
		defer again()
		p.call(t, time.Second)
		p.Kill(p.s) // the dead do not wait
		if took, err := p.call(t, time.Minute); !errors.Is(err, scamp.ErrNoDial) || took != 0 {
			t.Errorf("call of a service killed in its pause: %v after %v, want ErrNoDial at once", err, took)
		}
	})
}

// TestStall: connections stop, and the service is announced as ever.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPing(t)
		p.call(t, time.Minute)
		p.Disturb(p.s, scamptest.Line{Stall: true})
		if _, err := p.call(t, 10*time.Second); !errors.Is(err, scamp.ErrTimeout) {
			t.Errorf("call over a connection that stalls: %v, want ErrTimeout", err)
		}
		<-time.After(30 * time.Second)
		p.Await(p.bus, "Ping.pong", 1)
		p.Disturb(p.s, scamptest.Line{})
		<-time.After(time.Minute) // a dial that hung is not repeated at once
		if _, err := p.call(t, time.Minute); err != nil {
			t.Errorf("after the stall: %v", err)
		}
	})
}

// TestPartition: two buses lose each other, and nobody else.
func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPing(t)
		other := p.Bus(nil)
		heal := p.Partition(p.bus, p.s.Bus)
		if took, err := p.call(t, 5*time.Second); ran(err) != scamp.RanNo || !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Errorf("call across a partition: %v with Ran %v after %v, want it to have waited to connect", err, ran(err), took)
		}
		if _, err := other.Call(t.Context(), &scamp.Request{Action: "Ping.pong"}); err != nil {
			t.Errorf("call from a bus that sees both: %v", err)
		}
		p.Await(p.bus, "Ping.pong", 0)
		p.Await(other, "Ping.pong", 1)
		heal()
		heal()
		p.Await(p.bus, "Ping.pong", 1)
		if _, err := p.call(t, time.Minute); err != nil {
			t.Errorf("after it was healed: %v", err)
		}
		// A connection that is open stops, and goes on.
		heal = p.Partition(p.s.Bus, p.bus)
		time.AfterFunc(3*time.Second, heal)
		if took, err := p.call(t, time.Minute); err != nil || took != 3*time.Second {
			t.Errorf("call over a connection that stood for 3s: %v after %v", err, took)
		}
	})
}

// TestRestart: the same address and key, another instance.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPing(t)
		p.call(t, time.Minute)
		next := p.Restart(p.s)
		if next.Addr() != p.s.Addr() || next.KeyPair != p.s.KeyPair || next.Ident() == p.s.Ident() {
			t.Errorf("restarted at %s as %s, was at %s as %s: want the same address and key, and another ident", next.Addr(), next.Ident(), p.s.Addr(), p.s.Ident())
		}
		p.Kill(p.s) // it is dead already: the new one is not harmed
		if _, err := p.call(t, time.Minute); err != nil || p.runs != 2 {
			t.Errorf("after the restart: %v, %d runs, want 2", err, p.runs)
		}
		if err := next.Stop(); err != nil {
			t.Error(err)
		}
		p.Await(p.bus, "Ping.pong", 0)
		p.Restart(next)
		if _, err := p.call(t, time.Minute); err != nil || p.runs != 3 {
			t.Errorf("after Stop and Restart: %v, %d runs, want 3", err, p.runs)
		}
	})
}

// TestClock: announcements carry the time of the bus's own clock, and one from the past
// is none of a restarted service.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		clock := new(scamptest.Clock)
		clock.Skew(-10 * 365 * 24 * time.Hour)
		bus := n.Bus(nil)
		s := n.ServeOn(n.Bus(&scamp.Options{Now: clock.Now}), "ping", nil, func(s *scamp.Service) { s.Handle("Ping.pong", pong, nil) })
		n.Await(bus, "Ping.pong", 1)
		all := bus.Directory().All()
		if stamp := time.UnixMicro(all[0].Peer.Timestamp); all[0].Peer.Ident != s.Ident() || time.Since(stamp) < 9*365*24*time.Hour {
			t.Errorf("announced at %v: want ten years ago", stamp)
		}
		// An interval later it says the same with the right time: newer, and so taken.
		clock.Skew(0)
		s.Suspend(t.Context())
		n.Await(bus, "Ping.pong", 0)
		if d := time.Since(clock.Now()); d != 0 {
			t.Errorf("the clock is %v off: want it right", d)
		}
	})
}

// TestSeed: what is left to chance is the same for the same seed.
func TestSeed(t *testing.T) {
	idents := func(seed uint64) (all [3]string) {
		n := scamptest.New(t)
		n.Seed = seed
		for i := range all {
			all[i] = n.Serve("ping", func(s *scamp.Service) { s.Handle("Ping.pong", pong, nil) }).Ident()
		}
		return all
	}
	a, b, c := idents(1), idents(1), idents(2)
	if a != b || a == c || a[0] == a[1] || discovery.ServiceName(a[0]) != "ping" || len(a[0]) != len(discovery.NewIdent("ping")) {
		t.Errorf("idents %v and %v of one seed, %v of another: want the first two alike", a, b, c)
	}
}

// TestFaultsOfEveryAddress: a fault of a service is one of all its addresses.
func TestFaultsOfEveryAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.ServeWith("ping", &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0", "127.0.0.2:0"}}, func(s *scamp.Service) {
			s.Handle("Ping.pong", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }, nil)
		})
		addrs := s.Addrs()
		if len(addrs) != 2 || addrs[0] != s.Addr() {
			t.Fatalf("addresses %q, want two, and %s first", addrs, s.Addr())
		}
		each := func(what string, check func(c net.Conn, took time.Duration, err error) bool) {
			for _, addr := range addrs {
				began := time.Now()
				c, err := n.Dial(t.Context(), "tcp", addr)
				if !check(c, time.Since(began), err) {
					t.Errorf("%s: %s connected in %v, %v", what, addr, time.Since(began), err)
				}
				if err == nil {
					c.Close()
				}
			}
		}
		n.Disturb(s, scamptest.Line{Delay: time.Second})
		each("delayed", func(_ net.Conn, took time.Duration, err error) bool { return err == nil && took == 2*time.Second })
		n.Disturb(s, scamptest.Line{})
		each("cut", func(c net.Conn, _ time.Duration, err error) bool {
			if err != nil {
				return false
			}
			n.Cut(s)
			_, err = c.Read(make([]byte, 1))
			return errors.Is(err, syscall.ECONNRESET)
		})
		n.Kill(s)
		each("killed", func(_ net.Conn, _ time.Duration, err error) bool { return errors.Is(err, syscall.ECONNREFUSED) })
		if again := n.Restart(s).Addrs(); !slices.Equal(again, addrs) {
			t.Errorf("restarted at %q, want %q", again, addrs)
		}
	})
}
