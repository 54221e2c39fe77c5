//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// loadAction is what the services of the load offer.
const loadAction = "Load.work"

// loadMember is the member of a request's header that says whose call it is: a service
// notes the run before it has read an octet of the body.
const loadMember = "load"

// A loadHead is its value.
type loadHead struct {
	ID     string        `json:"id"`
	Reply  int           `json:"reply"`            // octets
	Linger time.Duration `json:"linger,omitempty"` // before the answer, unless the caller leaves
}

// A serviceSpec says what a service child is.
type serviceSpec struct {
	Config    string // path of soa.conf
	Service   string // name, which names its key pair
	Listen    string
	Advertise string // host:port announced; empty means where it listens
	Grace     time.Duration
	Work      time.Duration // a handler takes so long before it answers
	Interval  time.Duration
	Limits    scamp.Limits
	Files     int  // descriptors it may have; zero means as many as we
	Mutable   bool // it can be told to be mute
	Hostile   bool // it also offers what an attacker calls
}

// beService serves Load.work and notes each run. Orders: stats; drain notes what the
// process holds when its callers have gone; suspend; resume.
func beService(p *post) error {
	var spec serviceSpec
	if err := json.Unmarshal(p.spec, &spec); err != nil {
		return err
	}
	cfg, err := scamp.ReadConfig(spec.Config)
	if err != nil {
		return err
	}
	opts := &scamp.Options{Log: p.log, Limits: spec.Limits}
	muting, err := spec.restrict(cfg, opts)
	if err != nil {
		return err
	}
	bus, err := scamp.Open(cfg, opts)
	if err != nil {
		return err
	}
	defer bus.Close()
	settled()
	w := &worker{book: p.book, work: spec.Work}
	svc, err := bus.NewService(spec.Service, &scamp.ServiceOptions{
		Listen: []string{spec.Listen}, Advertise: spec.Advertise, Grace: spec.Grace, Interval: spec.Interval,
	})
	if err != nil {
		return err
	}
	svc.Handle(loadAction, w.serve, nil)
	if spec.Hostile {
		serveHostile(svc)
	}
	served := make(chan error, 1)
	go func() { served <- svc.Serve(p.ctx) }() // ends with the post
	select {
	case <-svc.Ready():
	case err := <-served:
		return err
	}
	start := holds()
	start["goroutines"] += 2 // who reads our orders, and who follows the one to drain
	p.book.Start(start)
	p.obey(muting, orders{
		"stats": func(json.RawMessage) (any, error) { return bus.Stats(), nil },
		"drain": func(json.RawMessage) (any, error) {
			return drainBus(p.book, bus, start, func() error { return nil })
		},
		"suspend": func(json.RawMessage) (any, error) { return nil, svc.Suspend(p.ctx) },
		"resume":  func(json.RawMessage) (any, error) { return nil, svc.Resume(p.ctx) },
	})
	p.tell("ready", ready{svc.Ident(), svc.Addr(), svc.Fingerprint()})
	if err := <-served; err != nil {
		return err
	}
	_, err = drainBus(p.book, bus, start, bus.Close)
	return err
}

// A worker is the handler of Load.work.
type worker struct {
	book *ledger.Ledger
	work time.Duration
}

// serve answers with the nonce the request begins with, the hash of the request, and as
// many octets as its header asks for.
func (w *worker) serve(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	var head loadHead
	if err := json.Unmarshal(req.Extra[loadMember], &head); err != nil || head.ID == "" || head.Reply < 0 || head.Reply > 1<<30 || head.Linger > time.Minute {
		return &scamp.RemoteError{Code: scamp.CodeBadRequest, Text: fmt.Sprintf("header member %s: want an id and a length", loadMember)}
	}
	w.book.Run(head.ID)
	var nonce ledger.Nonce
	if _, err := io.ReadFull(req.Body, nonce[:]); err != nil {
		return err
	}
	if linger := w.work + head.Linger; linger > 0 {
		select {
		case <-time.After(linger):
		case <-ctx.Done():
		}
	}
	var arrived, sent ledger.Meter
	arrived.Write(nonce[:])
	_, err := io.Copy(&arrived, req.Body)
	if err != nil {
		w.book.Served(head.ID, arrived.Sum(), false, ledger.SumOf(nil))
		return err
	}
	request := arrived.Sum()
	begin := append(nonce[:], request.SHA256[:]...)
	reply := newBody(begin, nonce, max(head.Reply, len(begin)))
	if head.Reply <= 16<<10 {
		octets, _ := io.ReadAll(reply) // does not fail
		sent.Write(octets)
		err = rep.SetBytes(octets)
	} else {
		_, err = io.CopyBuffer(rep, struct{ io.Reader }{io.TeeReader(reply, &sent)}, make([]byte, 64<<10))
	}
	w.book.Served(head.ID, request, true, sent.Sum())
	return err
}
