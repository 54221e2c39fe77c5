package conform_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A hosted is a host for requesters, and the keys that it is announced with.
type hosted struct {
	host        *conform.Host
	pair, other *scamp.KeyPair
}

func host(t *testing.T, opts conform.HostOptions, cases []conform.Case) *hosted {
	t.Helper()
	h := &hosted{pair: keyPairs()[0], other: keyPairs()[1]}
	opts.Addr, opts.Certificate, opts.Other = "127.0.0.1:0", h.pair.TLS(), h.other.TLS()
	var err error
	if h.host, err = conform.Listen(opts, cases); err != nil {
		t.Fatal(err)
	}
	return h
}

// keyPairs are two that all tests share: making one takes long.
var keyPairs = sync.OnceValue(func() (pairs [2]*scamp.KeyPair) {
	for i := range pairs {
		pair, err := scamp.GenerateKeyPair("conform test", 2048)
		if err != nil {
			panic(err)
		}
		pairs[i] = pair
	}
	return pairs
})

// publish writes what is announced into a cache file, and the rules, and returns the
// configuration of a bus that reads them.
func (h *hosted) publish(t *testing.T, extra string) *scamp.Config {
	t.Helper()
	dir := t.TempDir()
	var cache bytes.Buffer
	rules := h.pair.Certificate.Fingerprint
	for i, s := range h.host.Stations() {
		class, name, _ := strings.Cut(s.Action, ".")
		ann := &discovery.Announcement{
			Ident: "conform:" + strconv.Itoa(i), Weight: 1, Interval: time.Hour, Address: "beepish+tls://" + s.Addr, Envelopes: []string{"json"},
			Actions:     []discovery.Action{{Class: class, Name: name, Version: 1, Sector: "main", Envelopes: []string{"json"}}},
			Timestamp:   time.Now().UnixMicro(),
			Certificate: h.pair.Certificate,
		}
		if _, err := ann.Sign(h.pair.Key); err != nil {
			t.Fatal(err)
		}
		record := ann.Record()
		if s.Trap == conform.TrapSignature {
			record = bytes.Replace(record, []byte("conform:"+strconv.Itoa(i)), []byte("konform:"+strconv.Itoa(i)), 1)
		}
		fmt.Fprintf(&cache, "\n%%%%%%\n%s", record)
		if s.Trap != conform.TrapRule {
			rules += "," + s.Action
		}
	}
	rules = strings.Replace(rules, ",", " ", 1) + "\n"
	config := "bus.address = 127.0.0.1\ndiscovery.cache_path = " + filepath.Join(dir, "cache") + "\nbus.authorized_services = " + filepath.Join(dir, "rules") + "\n" + extra
	for name, text := range map[string]string{"cache": cache.String(), "rules": rules, "soa.conf": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := scamp.ReadConfig(filepath.Join(dir, "soa.conf"))
	if err != nil || len(cfg.Warnings) > 0 {
		t.Fatalf("%q: %v, %v", config, err, cfg.Warnings)
	}
	return cfg
}

// caller makes calls as a program of ours does.
func caller(c scamp.Caller) conform.Caller {
	return func(ctx context.Context, action, request string) ([]byte, conform.CallResult) {
		reply, err := c.Call(ctx, &scamp.Request{Action: action, Data: []byte(request)})
		var body []byte
		if err == nil {
			body, err = reply.Bytes(0)
		}
		var remote *scamp.RemoteError
		switch {
		case errors.As(err, &remote):
			return nil, conform.CallResult{Code: remote.Code, Error: remote.Text}
		case err != nil:
			return nil, conform.CallResult{Code: "transport", Error: err.Error()}
		}
		return body, conform.CallResult{OK: true, Octets: len(body)}
	}
}

// TestRequesterConformance has a bus of ours meet every case for requesters. The names
// of its parts begin with the line of the checklist.
func TestRequesterConformance(t *testing.T) {
	t.Parallel() // it mostly waits
	h := host(t, conform.HostOptions{Timeout: 4 * time.Second, Quiet: 100 * time.Millisecond, Idle: 2 * time.Second, Hostile: true}, conform.RequesterCases())
	cfg := h.publish(t, "rpc.timeout = 5\nbeepish.client_timeout = 2\n")
	done := make(chan *conform.Card)
	go func() { // ends with Run
		card, err := h.host.Run(t.Context())
		if err != nil {
			t.Errorf("Run: %v", err)
		}
		done <- card
	}()
	bus, err := scamp.Open(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := conform.Drive(t.Context(), caller(bus)); err != nil {
		t.Error(err)
	}
	card := <-done
	if len(card.Results) != len(conform.RequesterCases()) || card.Gone {
		t.Errorf("%d results, gone: %v; want %d", len(card.Results), card.Gone, len(conform.RequesterCases()))
	}
	for _, r := range card.Results {
		t.Run(r.Case.Item+" "+r.Case.ID+" "+r.Case.Title, func(t *testing.T) {
			if r.Missed(true) || r.Verdict == conform.Skip {
				t.Errorf("%s (%s): %v\nsent: %q\nwant: %s\ncame: %s\n%q", r.Case.ID, r.Case.Title, r.Verdict, r.Sent, r.Case.Want, r.Came, r.Got)
			} else {
				t.Logf("%v %v %s: %s", r.Elapsed, r.Verdict, r.Case.Title, r.Came)
			}
		})
	}
}
