package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// The steps of the demo in which instances leave.

func (d *demo) impostor(ctx context.Context) (string, error) {
	pair, err := scamp.GenerateKeyPair("impostor", 0)
	if err != nil {
		return "", err
	}
	d.two.kill()
	d.killed = time.Now()
	thief, err := newImpostor(d.two.address, pair)
	if err != nil {
		return "", err
	}
	defer thief.close()
	aimed := &scamp.Request{Action: demoHello, Route: &scamp.RouteOptions{Ident: d.two.ident}}
	var refused error
	err = poll(ctx, func() bool {
		_, refused = d.bus.Call(ctx, aimed)
		return !errors.Is(refused, scamp.ErrLost) // the connection of the one that was killed
	})
	callers, octets := thief.seen()
	switch {
	case err != nil:
		return "", err
	case !errors.Is(refused, scamp.ErrPin):
		return "", fmt.Errorf("a call to the impostor: %v, want another certificate noticed", refused)
	case callers == 0 || octets > 0:
		return "", fmt.Errorf("the impostor got %d octets of %d callers, want 0 of at least 1", octets, callers)
	}
	_, reply, err := scamp.CallWith[map[string]string](ctx, d.bus, &scamp.Request{Action: demoHello}, struct{}{})
	if err != nil {
		return "", fmt.Errorf("a call to whoever is left: %w", err)
	}
	return fmt.Sprintf("%s shows %s: refused, 0 octets of the request were sent; other calls go to %s", d.two.address, pair.Certificate.Fingerprint, reply.Instance), nil
}

func (d *demo) expire(ctx context.Context) (string, error) {
	if err := poll(ctx, func() bool { return len(d.routes(d.two.ident)) == 0 }); err != nil {
		return "", fmt.Errorf("still listed: %w", err)
	}
	return fmt.Sprintf("%s after it was killed; an instance announces itself every 5 s", short(time.Since(d.killed))), nil
}

// demoSlowTime is how long the request runs that meets the goodbye.
const demoSlowTime = 3 * time.Second

func (d *demo) goodbye(ctx context.Context) (string, error) {
	sent := make(chan struct{})
	traced := scamp.WithTrace(ctx, &scamp.Trace{Sent: func() { close(sent) }})
	body := fmt.Appendf(nil, `{"ms":%d,"bytes":26}`, demoSlowTime.Milliseconds())
	go func() { // ends with the call, which ends with ctx
		reply, err := d.bus.Call(traced, &scamp.Request{Action: demoSlow, Data: body, Route: &scamp.RouteOptions{Ident: d.one.ident}})
		var text []byte
		if err == nil {
			text, err = reply.Bytes(0)
		}
		if err == nil && string(text) != "abcdefghijklmnopqrstuvwxyz" {
			err = fmt.Errorf("the reply is %q", text)
		}
		d.slow <- err
	}()
	select {
	case <-sent:
	case err := <-d.slow:
		return "", fmt.Errorf("the request could not be sent: %w", err)
	}
	began := time.Now()
	if err := d.one.terminate(); err != nil {
		return "", err
	}
	if err := poll(ctx, func() bool { return len(d.routes(d.one.ident)) == 0 }); err != nil {
		return "", fmt.Errorf("still listed: %w", err)
	}
	return fmt.Sprintf("SIGTERM to process %d; %s later nobody lists it any more, and its request of %v goes on", d.one.pid(), since(began), demoSlowTime), nil
}

func (d *demo) drain(ctx context.Context) (string, error) {
	select {
	case err := <-d.slow:
		if err != nil {
			return "", fmt.Errorf("the request that was running: %w", err)
		}
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if err := d.one.exited(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("the reply came back whole, and process %d exited with 0", d.one.pid()), nil
}
