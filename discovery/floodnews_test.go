package discovery_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// TestFloodLetsNewsThrough: while somebody floods us, services that are new and those that
// leave are heard soon, by the datagrams that they send anyway: three times in 5 s while they
// live, and a goodbye five times at 200 ms and then every second (PROTOCOL 7.7).
func TestFloodLetsNewsThrough(t *testing.T) {
	// Announcements of a certificate that a rule names, which it did not sign.
	text, forged := service{ident: "x", key: "other"}.announce().Packet(), make([][]byte, 1000)
	for i := range forged {
		forged[i] = discovery.Compress(bytes.Replace(text, []byte(`"x"`), fmt.Appendf(nil, `"x%d"`, i), 1))
	}
	for _, tt := range []struct {
		name  string
		rate  int // a second
		junk  func(n int) []byte
		bound time.Duration
	}{
		{"few octets", 20_000, func(n int) []byte { return fmt.Appendf(nil, "[%d", n) }, 3 * time.Second},
		{"text without a certificate", 50_000, func(n int) []byte { return fmt.Appendf(nil, "[%d]\n\n-----BEGIN\n\n%d", n, n) }, 3 * time.Second},
		{"short streams", 20_000, func(n int) []byte { return fmt.Appendf([]byte("\x78\xda"), "%d", n) }, 3 * time.Second},
		{"text with a certificate line", 20_000, func(n int) []byte { return fmt.Appendf(nil, "[%d\n\n-----BEGIN CERTIFICATE-----\n", n) }, 20 * time.Second},
		{"another known certificate", 1_000, func(n int) []byte { return variant(forged[n%1000], n/1000) }, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newsAt(t, tt.rate, tt.junk, tt.bound) })
		})
	}
}

func newsAt(t *testing.T, rate int, junk func(n int) []byte, bound time.Duration) {
	const services = 20
	d := newDirectory(t, &discovery.DirectoryOptions{Authorized: rules("main:ALL")})
	random, n := rand.New(rand.NewPCG(1, 2)), 0
	var hello, goodbye [][]byte
	for i := range services {
		s := service{ident: fmt.Sprint("new", i), address: fmt.Sprintf("beepish+tls://10.0.0.7:%d", 30_000+i)}
		hello = append(hello, s.datagram())
		s.weight, s.at = -1, epoch.Add(time.Second)
		goodbye = append(goodbye, s.datagram())
	}
	found := func() (n int) {
		for _, r := range d.Find(discovery.Query{Action: "Sample.echo"}) {
			if strings.HasPrefix(r.Ident, "new") {
				n++
			}
		}
		return n
	}
	// until sends packets in the midst of the flood, again and again after a pause, until
	// so many services are found.
	until := func(packets [][]byte, want int, pause func(sent int) time.Duration) time.Duration {
		start, sent, due := time.Now(), make([]int, len(packets)), make([]time.Duration, len(packets))
		for i := range due {
			due[i] = time.Duration(random.Int64N(int64(pause(0))))
		}
		for time.Since(start) <= bound {
			air := make([][]byte, 0, rate/1000+1)
			for range rate / 1000 {
				air = append(air, junk(n))
				n++
			}
			for i, p := range packets {
				if time.Since(start) >= due[i] {
					air = append(air, p)
					due[i] += pause(sent[i])
					sent[i]++
				}
			}
			random.Shuffle(len(air), func(i, j int) { air[i], air[j] = air[j], air[i] })
			for _, p := range air {
				d.Receive(discovery.Datagram{Data: p})
			}
			if found() == want {
				return time.Since(start)
			}
			time.Sleep(time.Millisecond)
		}
		if want >= 0 {
			t.Errorf("after %v of %d junk datagrams a second %d services are found: want %d", bound, rate, found(), want)
		}
		return bound
	}
	until(nil, -1, nil) // all budgets are used up
	heard := until(hello, services, func(int) time.Duration { return 1666 * time.Millisecond })
	gone := until(goodbye, 0, func(sent int) time.Duration {
		if sent < 5 {
			return 200 * time.Millisecond
		}
		return time.Second
	})
	t.Logf("%d a second: %d new after %v, gone after %v", rate, services, heard, gone)
}
