package discovery_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A capture is a carrier that keeps what is sent.
type capture struct {
	discovery.Carrier
	start time.Time

	mu   sync.Mutex // protects all below
	sent []sending
	err  error // of all further sendings
}

type sending struct {
	at    time.Duration
	iface discovery.Iface
	data  []byte
}

// announced returns what was sent, as one that reads it.
func (s sending) announced(t *testing.T) *discovery.Announcement {
	a, err := discovery.Parse(s.data)
	if err == nil {
		err = a.Verify()
	}
	if err != nil {
		t.Fatalf("sent after %v: %v", s.at, err)
	}
	return a
}

func (c *capture) Send(_ context.Context, iface discovery.Iface, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.sent = append(c.sent, sending{time.Since(c.start), iface, bytes.Clone(data)})
	return nil
}

// take returns what was sent since the last take.
func (c *capture) take() []sending {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}

// count returns how many packets were sent since the last take.
func (c *capture) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

// fail makes all further sendings fail, or none.
func (c *capture) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// times returns when.
func times(sent []sending) (list []time.Duration) {
	for _, s := range sent {
		list = append(list, s.at)
	}
	return list
}

var (
	first  = discovery.Iface{Name: "eth0", Index: 2, Addr: netip.MustParseAddr("10.0.0.1")}
	second = discovery.Iface{Name: "eth1", Index: 3, Addr: netip.MustParseAddr("192.168.0.1")}
)

func newAnnouncer(t *testing.T, c discovery.Carrier, change func(*discovery.AnnouncerOptions)) *discovery.Announcer {
	opts := discovery.AnnouncerOptions{
		Ifaces: []discovery.Iface{first}, Certificate: mustCertificate("sample"), Key: mustKey("sample"), Jitter: -1, Sendings: 1,
		Now: func() time.Time { return epoch },
	}
	if change != nil {
		change(&opts)
	}
	a, err := discovery.NewAnnouncer(c, opts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func content() discovery.Content {
	return discovery.Content{
		Ident: "web:AAECAwQFBgcICQoLDA0ODxAR", Envelopes: []string{"json"}, Addresses: []string{"beepish+tls://10.0.0.1:30100", "beepish+tls://192.168.0.1:30101"},
		Actions: []discovery.Action{{Class: "Sample", Name: "echo", Flags: []string{"noauth"}}},
	}
}

// TestAnnouncerRepeats: at once, then the same octets at every interval; a new
// packet with a higher timestamp only when something changes, and at once then.
func TestAnnouncerRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &capture{start: time.Now()}
		a := newAnnouncer(t, c, nil)
		run(t, a.Run)
		time.Sleep(time.Second)
		if sent := c.take(); len(sent) != 0 {
			t.Fatalf("%d packets are sent before there is anything to say", len(sent))
		}
		if err := a.Set(content()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second)
		if err := a.Set(content()); err != nil { // nothing new
			t.Fatal(err)
		}
		sent := c.take()
		if want := []time.Duration{time.Second, 6 * time.Second, 11 * time.Second}; !slices.Equal(times(sent), want) {
			t.Errorf("sent at %v: want %v", times(sent), want)
		}
		for _, s := range sent {
			if !bytes.Equal(s.data, sent[0].data) {
				t.Errorf("sent after %v: other octets though nothing changed", s.at)
			}
		}
		got := sent[0].announced(t)
		if got.Weight != 1 || got.Interval != 5*time.Second || got.Timestamp != epoch.UnixMicro() || len(got.Actions) != 1 || got.Address != content().Addresses[0] {
			t.Errorf("announced: %+v: want what was set", got)
		}
		changed := content()
		changed.Actions = append(changed.Actions, discovery.Action{Class: "Sample", Name: "more"})
		if err := a.Set(changed); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		sent = c.take()
		if want := []time.Duration{13 * time.Second, 18 * time.Second}; !slices.Equal(times(sent), want) {
			t.Fatalf("after a change sent at %v: want %v", times(sent), want)
		}
		if next := sent[0].announced(t); next.Timestamp != got.Timestamp+1000 || len(next.Actions) != 2 {
			t.Errorf("after a change: timestamp %d, %d actions: want one millisecond more than %d, and 2", next.Timestamp, len(next.Actions), got.Timestamp)
		}
	})
}

// TestAnnouncerTimestampsRise: also when the clock goes back.
func TestAnnouncerTimestampsRise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &capture{start: time.Now()}
		now := epoch
		a := newAnnouncer(t, c, func(o *discovery.AnnouncerOptions) { o.Now = func() time.Time { return now } })
		run(t, a.Run)
		last := int64(0)
		for i, jump := range []time.Duration{0, time.Hour, -48 * time.Hour, 0, 49 * time.Hour} {
			now = now.Add(jump)
			changed := content()
			changed.Weight = i + 1
			if err := a.Set(changed); err != nil {
				t.Fatal(err)
			}
			sent := c.take()
			if got := sent[len(sent)-1].announced(t).Timestamp; got <= last || got%1000 != 0 {
				t.Errorf("clock moved by %v: timestamp %d after %d: want a higher one in whole milliseconds", jump, got, last)
			} else {
				last = got
			}
		}
	})
}

// TestAnnouncerWithdraws is PROTOCOL 7.7: at once, four times at 200 ms, then
// every second; then back.
func TestAnnouncerWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &capture{start: time.Now()}
		a := newAnnouncer(t, c, nil)
		if err := a.Withdraw(t.Context()); err == nil {
			t.Error("Withdraw before Set: no error")
		}
		stop := run(t, a.Run)
		a.Set(content())
		time.Sleep(7 * time.Second)
		before := c.take()[0].announced(t)
		if err := a.Withdraw(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := c.count(); n != 1 {
			t.Errorf("%d packets were sent when Withdraw returned: want 1", n)
		}
		if err := a.Withdraw(t.Context()); err != nil { // twice is once
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		changed := content()
		changed.Addresses = []string{"beepish+tls://10.0.0.9:1"}
		if err := a.Set(changed); err != nil {
			t.Fatal(err)
		}
		sent := c.take()
		want := []time.Duration{7000, 7200, 7400, 7600, 7800, 8800, 9800}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(times(sent), want) {
			t.Errorf("withdrawals at %v: want %v", times(sent), want)
		}
		for _, s := range sent {
			got := s.announced(t)
			if got.Weight != 0 || len(got.Actions) != 0 || got.Timestamp <= before.Timestamp || got.Interval != 5*time.Second ||
				!strings.HasSuffix(string(got.JSON()), `,["json"],[],`+fmt.Sprint(got.Timestamp/1000)+`]`) {
				t.Errorf("withdrawal: %s: want weight 0, [] as element 7, no extension and a higher timestamp than %d", got.JSON(), before.Timestamp)
			}
		}
		withdrawn := sent[0].announced(t).Timestamp
		if err := a.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		sent = c.take()
		if len(sent) != 2 {
			t.Fatalf("resumed: sent at %v: want at once and after 5 s", times(sent))
		}
		if got := sent[0].announced(t); got.Weight != 1 || got.Timestamp <= withdrawn || got.Address != changed.Addresses[0] {
			t.Errorf("resumed: %s: want what was set meanwhile, newer than the withdrawal", got.JSON())
		}
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Withdraw(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Withdraw when nobody sends: %v: want the end of its context", err)
		}
		if err := a.Withdraw(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Withdraw again, when nobody sent the first: %v: want the end of its context", err)
		}
	})
}

// TestAnnouncerInterfaces: each interface hears of the listener on its own
// address, with one timestamp for all; one that cannot be sent on harms no other.
func TestAnnouncerInterfaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		third := discovery.Iface{Name: "eth2", Index: 4, Addr: netip.MustParseAddr("172.16.0.1")}
		c := &capture{start: time.Now()}
		a := newAnnouncer(t, c, func(o *discovery.AnnouncerOptions) { o.Ifaces = []discovery.Iface{first, second, third} })
		run(t, a.Run)
		a.Set(content())
		sent := c.take()
		var got []string
		for _, s := range sent {
			got = append(got, s.iface.Name+" "+s.announced(t).Address)
			if ts := s.announced(t).Timestamp; ts != sent[0].announced(t).Timestamp {
				t.Errorf("on %s: timestamp %d: want that of all, %d", s.iface, ts, sent[0].announced(t).Timestamp)
			}
		}
		want := []string{"eth0 beepish+tls://10.0.0.1:30100", "eth1 beepish+tls://192.168.0.1:30101", "eth2 beepish+tls://10.0.0.1:30100"}
		if !slices.Equal(got, want) {
			t.Errorf("sent %v: want %v", got, want)
		}
		c.fail(errors.New("network is unreachable"))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := a.Stats().Counters["announce_send_failed"]; n != 3 {
			t.Errorf("announce_send_failed is %d: want 3", n)
		}
		c.fail(nil)
		time.Sleep(5 * time.Second)
		if sent := c.take(); len(sent) != 3 {
			t.Errorf("%d packets after the network came back: want 3", len(sent))
		}
	})
}

// TestAnnouncerJitter: packets come early by up to a twentieth of the interval,
// and not all by the same time; the first repetition at any time
// of it, so that services that start together do not stay together.
func TestAnnouncerJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &capture{start: time.Now()}
		a := newAnnouncer(t, c, func(o *discovery.AnnouncerOptions) { o.Jitter = 0 })
		run(t, a.Run)
		a.Set(content())
		time.Sleep(5 * time.Minute)
		sent := times(c.take())
		pauses := make(map[time.Duration]bool)
		for i := 1; i < len(sent); i++ {
			pause := sent[i] - sent[i-1]
			pauses[pause] = true
			least := 4750 * time.Millisecond
			if i == 1 {
				least = 500 * time.Millisecond
			}
			if pause > 5*time.Second || pause < least {
				t.Errorf("pause %d of %v: want %v to 5 s", i, pause, least)
			}
		}
		if len(pauses) < 2 {
			t.Errorf("all pauses are %v: want them to differ", pauses)
		}
	})
}

// TestAnnouncerRand: announcers with the same numbers of chance send at the same times.
func TestAnnouncerRand(t *testing.T) {
	var all [2][]time.Duration
	for i := range all {
		synctest.Test(t, func(t *testing.T) {
			c := &capture{start: time.Now()}
			numbers := mathrand.New(mathrand.NewPCG(1, 2))
			a := newAnnouncer(t, c, func(o *discovery.AnnouncerOptions) { o.Jitter, o.Rand = 0, numbers.IntN })
			run(t, a.Run)
			a.Set(content())
			time.Sleep(5 * time.Minute)
			all[i] = times(c.take())
		})
	}
	if len(all[0]) < 50 || !slices.Equal(all[0], all[1]) {
		t.Errorf("sent at %v and at %v: want the same times", all[0], all[1])
	}
}

// TestAnnouncerSizes: a warning above what fits into one IP packet, a refusal
// above what fits into a datagram, and then the old content stays.
func TestAnnouncerSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &capture{start: time.Now()}
		a := newAnnouncer(t, c, func(o *discovery.AnnouncerOptions) {
			o.Log = textLog(&log)
			o.Limits = discovery.Limits{MaxDatagram: 2000}
		})
		run(t, a.Run)
		if err := a.Set(content()); err != nil || log.Len() > 0 {
			t.Fatalf("small content: %v, log %q", err, log.String())
		}
		large := func(n int) discovery.Content {
			big := content()
			for range n {
				big.Actions = append(big.Actions, discovery.Action{Class: "Big", Name: rand.Text()}) // which does not compress
			}
			return big
		}
		if err := a.Set(large(30)); err != nil || !strings.Contains(log.String(), "fragments") || a.Stats().Counters["announce_fragmented"] != 1 {
			t.Errorf("30 actions: %v, log %q, %d octets: want a warning", err, log.String(), a.Stats().Octets)
		}
		before := c.take()
		if err := a.Set(large(400)); !errors.Is(err, discovery.ErrTooLarge) {
			t.Errorf("400 actions: %v: want ErrTooLarge", err)
		}
		time.Sleep(5 * time.Second)
		if after := c.take(); len(after) != 1 || !bytes.Equal(after[0].data, before[len(before)-1].data) {
			t.Errorf("after a refusal something else is sent: want the old content")
		}
		for _, broken := range []func(*discovery.Content){
			func(c *discovery.Content) { c.Addresses = nil },
			func(c *discovery.Content) { c.Addresses = []string{"http://10.0.0.1"} },
			func(c *discovery.Content) { c.Ident = "" },
			func(c *discovery.Content) { c.Actions = []discovery.Action{{Class: "A:b", Name: "c"}} },
		} {
			x := content()
			broken(&x)
			if err := a.Set(x); err == nil {
				t.Errorf("Set of %+v: no error", x)
			}
		}
	})
}

func TestNewAnnouncerRefuses(t *testing.T) {
	good := discovery.AnnouncerOptions{Ifaces: []discovery.Iface{first}, Certificate: mustCertificate("sample"), Key: mustKey("sample")}
	for name, change := range map[string]func(*discovery.AnnouncerOptions){
		"no key":          func(o *discovery.AnnouncerOptions) { o.Key = nil },
		"no certificate":  func(o *discovery.AnnouncerOptions) { o.Certificate = nil },
		"key of another":  func(o *discovery.AnnouncerOptions) { o.Key = mustKey("other") },
		"negative time":   func(o *discovery.AnnouncerOptions) { o.Interval = -1 },
		"too much jitter": func(o *discovery.AnnouncerOptions) { o.Jitter = 0.9 },
	} {
		opts := good
		change(&opts)
		if _, err := discovery.NewAnnouncer(discovery.NewLoopback(), opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestAnnouncerAnnounced: it waits for the first sending of what was set last, and
// says how that went.
func TestAnnouncerAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &capture{start: time.Now()}
		a := newAnnouncer(t, c, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Announced(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing set: %v: want the end of its context", err)
		}
		run(t, a.Run)
		a.Set(content())
		if err := a.Announced(t.Context()); err != nil || c.count() != 1 {
			t.Errorf("set: %v after %d sendings: want one", err, c.count())
		}
		c.fail(errors.New("network is unreachable"))
		changed := content()
		changed.Weight = 2
		a.Set(changed)
		for range 2 { // the second time it is over already
			if err := a.Announced(t.Context()); err == nil {
				t.Error("the network is down: no error")
			}
		}
	})
}
