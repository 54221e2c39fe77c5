package command

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A conformKit is the directory with all that a requester needs to find the actions of
// conform --listen: a configuration, a cache file and rules.
type conformKit struct {
	dir, config, cache, rules string

	pair, other *scamp.KeyPair // announced with, and shown where the announcement is wrong
	stations    []conform.Station
	idents      []string // of stations
	scheme      string
	stamp       int64 // of the latest announcements, in milliseconds
}

// kitMark is the first line of a configuration that may be written over.
const kitMark = "# Configuration of a client that scamp conform --listen judges, made by it.\n"

// newConformKit makes the keys and the directory; an empty dir means a temporary one.
func newConformKit(dir, scheme string) (*conformKit, error) {
	k := &conformKit{scheme: scheme}
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "scamp-conform-")
	} else {
		_, err = makeDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("scamp: conform: %w", err)
	}
	layout, err := layoutOf(dir)
	if err != nil {
		return nil, err
	}
	k.dir, k.config, k.rules, k.cache = layout.dir, layout.config, layout.rules, filepath.Join(layout.dir, "discovery")
	if err := k.checkOurs(); err != nil {
		return nil, err
	}
	for _, pair := range []**scamp.KeyPair{&k.pair, &k.other} {
		if *pair, err = scamp.GenerateKeyPair("scamp conform", 2048); err != nil {
			return nil, fmt.Errorf("scamp: conform: %w", err)
		}
	}
	return k, nil
}

// checkOurs refuses a directory with files of somebody else.
func (k *conformKit) checkOurs() error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return fmt.Errorf("scamp: conform: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	text, err := readFile(k.config)
	if err == nil && bytes.HasPrefix(text, []byte(kitMark)) {
		return nil
	}
	return usagef("--dir %s: want an empty directory, or one that conform --listen made", clean(k.dir))
}

// write makes the files for stations.
func (k *conformKit) write(stations []conform.Station, timeout, idle time.Duration) error {
	k.stations = stations
	rule := []string{}
	for _, s := range stations {
		k.idents = append(k.idents, discovery.NewIdent("conform"))
		if s.Trap != conform.TrapRule {
			rule = append(rule, s.Action)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nbus.authorized_services = %s\ndiscovery.cache_path = %s\n", kitMark, k.rules, k.cache)
	fmt.Fprintf(&b, "\n# So that cases need not wait for long.\nrpc.timeout = %d\n", int(math.Ceil(2*timeout.Seconds())))
	if idle > 0 {
		fmt.Fprintf(&b, "beepish.client_timeout = %s\n", strconv.FormatFloat(idle.Seconds(), 'f', -1, 64))
	}
	for _, f := range []struct{ path, text string }{
		{k.rules, k.pair.Certificate.Fingerprint + " " + strings.Join(rule, ",") + "\n"}, {k.config, b.String()},
	} {
		if err := os.WriteFile(f.path, []byte(f.text), 0o644); err != nil {
			return fmt.Errorf("scamp: conform: %w", err)
		}
	}
	return k.announce()
}

// announce writes the cache file anew, with fresh timestamps.
func (k *conformKit) announce() error {
	k.stamp = max(k.stamp+1, time.Now().UnixMilli())
	var cache bytes.Buffer
	for i, s := range k.stations {
		class, name, _ := strings.Cut(s.Action, ".")
		ann := &discovery.Announcement{
			Ident: k.idents[i], Weight: 1, Interval: kitInterval, Address: k.scheme + "://" + s.Addr, Envelopes: []string{"json"},
			Actions:   []discovery.Action{{Sector: "main", Class: class, Name: name, Version: 1, Envelopes: []string{"json"}, Flags: []string{"noauth"}}},
			Timestamp: k.stamp * 1000, Certificate: k.pair.Certificate,
		}
		if _, err := ann.Sign(k.pair.Key); err != nil {
			return fmt.Errorf("scamp: conform: announcement of %s: %w", s.Action, err)
		}
		record := ann.Record()
		if s.Trap == conform.TrapSignature {
			record = bytes.Replace(record, []byte(k.idents[i]), []byte("konform"+strings.TrimPrefix(k.idents[i], "conform")), 1)
		}
		fmt.Fprintf(&cache, "\n%%%%%%\n%s", record)
	}
	if err := replaceFile(k.cache, cache.Bytes()); err != nil {
		return fmt.Errorf("scamp: conform: cache file: %w", err)
	}
	return nil
}

// kitInterval is how often the services announce themselves.
const kitInterval = 5 * time.Second

// keep writes the cache file again and again until ctx ends: readers forget services
// that are not heard of.
func (k *conformKit) keep(ctx context.Context) error {
	tick := time.NewTicker(kitInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := k.announce(); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
