package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/scamp"
)

// conformReady is the first object of conform --listen --json.
type conformReady struct {
	Event   string `json:"event"` // "ready"
	Action  string `json:"action"`
	Address string `json:"address"` // of the action
	Dir     string `json:"dir"`
	Config  string `json:"config"`
	Cache   string `json:"cache"`
	Rules   string `json:"authorized_services"`
}

// checkListen returns the address to listen on.
func (o *conformOptions) checkListen(words []string) (addr string, err error) {
	for _, f := range []struct {
		set  bool
		flag string
	}{{o.action != "", "--action"}, {o.cert != "", "--cert"}, {o.fingerprint != "", "--fingerprint"}} {
		if f.set {
			return "", fmt.Errorf("%s is about a service: want it without --listen", f.flag)
		}
	}
	if o.scheme != "beepish+tls" && o.scheme != "scamp+tls" {
		return "", fmt.Errorf("--uri-scheme %q: want beepish+tls or scamp+tls", o.scheme)
	}
	if len(words) == 0 {
		return "127.0.0.1:0", nil
	}
	if err := checkHostPort(words[0], 0); err != nil {
		return "", fmt.Errorf("address to listen on: %w", err)
	}
	host, _, err := net.SplitHostPort(words[0])
	if ip, ipErr := netip.ParseAddr(host); host == "" || ipErr == nil && ip.IsUnspecified() {
		return "", fmt.Errorf("%q: want the address that clients connect to, since it is announced", words[0])
	}
	return words[0], err
}

// conformListen judges a requester and prints the card.
func (a *app) conformListen(ctx context.Context, addr string, cases []conform.Case, o *conformOptions) (err error) {
	junit, err := o.openJUnit()
	if err != nil {
		return err
	}
	if junit != nil {
		defer func() { err = errors.Join(err, junit.Close()) }()
	}
	kit, err := newConformKit(o.dir, o.scheme)
	if err != nil {
		return err
	}
	if o.dir == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(kit.dir)) }()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	opts := conform.HostOptions{
		Addr: addr, Certificate: kit.pair.TLS(), Other: kit.other.TLS(), Timeout: a.timeout, Idle: o.idle, Hostile: o.hostile,
	}
	if a.json {
		opts.Each = func(r conform.Result) {
			if err := a.printJSON(r); err != nil {
				stop(err)
			}
		}
	}
	host, err := conform.Listen(opts, cases)
	if err != nil {
		return err
	}
	timeout := a.timeout
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	stations := host.Stations()
	if err := kit.write(stations, timeout, o.idle); err != nil {
		host.Close()
		return err
	}
	if err := a.tellListening(kit, stations, o); err != nil {
		host.Close()
		return err
	}
	card, err := a.runHost(ctx, stop, host, kit, o)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	switch {
	case errors.Is(err, errStdout):
		return err
	case err != nil && card.Count(conform.Skip) == len(card.Results):
		a.say("no client came")
		return err
	}
	return errors.Join(a.printCard(card, junit, o), err)
}

// tellListening says how a client comes here.
func (a *app) tellListening(kit *conformKit, stations []conform.Station, o *conformOptions) error {
	if a.json {
		return a.printJSON(conformReady{"ready", stations[0].Action, stations[0].Addr, kit.dir, kit.config, kit.cache, kit.rules})
	}
	if o.self {
		a.say("judging a client of our own at %s", stations[0].Addr)
		return nil
	}
	a.say("waiting for a client at %s and %d more ports", stations[0].Addr, len(stations)-1)
	a.say("start it with the configuration %s", clean(kit.config))
	a.say("or give it the cache file %s and the rules %s", clean(kit.cache), clean(kit.rules))
	a.say("it calls %s and does what the reply says until that is {\"done\":true}: see scamp conform --help", conform.NextAction)
	return nil
}

// runHost plays the service while somebody looks after the cache file and, with --self,
// a client of ours meets it.
func (a *app) runHost(ctx context.Context, stop context.CancelCauseFunc, host *conform.Host, kit *conformKit, o *conformOptions) (*conform.Card, error) {
	inner, end := context.WithCancel(ctx)
	defer end()
	var work sync.WaitGroup
	work.Go(func() { // ends with inner
		if err := kit.keep(inner); err != nil {
			stop(err)
		}
	})
	if o.self {
		work.Go(func() { // ends with the plan, or with inner
			if err := a.meet(inner, kit); err != nil && inner.Err() == nil {
				stop(err)
			}
		})
	}
	card, err := host.Run(ctx)
	end()
	work.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil // the cause is told
	}
	return card, err
}

// meet is a client of our own that does what the host asks for.
func (a *app) meet(ctx context.Context, kit *conformKit) error {
	cfg, err := scamp.ReadConfig(kit.config)
	if err != nil {
		return err
	}
	bus, err := scamp.Open(cfg, nil) // what it would log is what the cases do to it
	if err != nil {
		return err
	}
	defer bus.Close()
	return conform.Drive(ctx, func(ctx context.Context, action, request string) ([]byte, conform.CallResult) {
		reply, err := bus.Call(ctx, &scamp.Request{Action: action, Data: []byte(request)})
		var body []byte
		if err == nil {
			body, err = reply.Bytes(0)
		}
		var remote *scamp.RemoteError
		switch {
		case errors.As(err, &remote):
			return nil, conform.CallResult{Code: remote.Code, Error: remote.Text}
		case err != nil:
			return nil, conform.CallResult{Code: scamp.CodeTransport, Error: err.Error()}
		}
		return body, conform.CallResult{OK: true, Octets: len(body)}
	})
}
