package scamp_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// overTCP runs the services and calls of a benchmark over real connections on
// loopback; announcements stay in memory.
func overTCP(b testing.TB, register func(*scamp.Service)) *scamp.Bus {
	segment := discovery.NewLoopback()
	b.Cleanup(func() { segment.Close() })
	pair, err := scamp.GenerateKeyPair("benchmark", 2048)
	if err != nil {
		b.Fatal(err)
	}
	rules, err := discovery.ParseAuthorized(strings.NewReader(pair.Certificate.Fingerprint + " main:ALL\n"))
	if err != nil {
		b.Fatal(err)
	}
	open := func() *scamp.Bus {
		bus, err := scamp.Open(&scamp.Config{BusAddress: []string{"127.0.0.1"}}, &scamp.Options{Carriers: []discovery.Carrier{segment.Join()}})
		if err != nil {
			b.Fatal(err)
		}
		bus.Directory().SetAuthorized(rules)
		b.Cleanup(func() { bus.Close() })
		return bus
	}
	server, client := open(), open()
	svc, err := server.NewService("bench", &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: pair, Grace: -1})
	if err != nil {
		b.Fatal(err)
	}
	register(svc)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Serve(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	<-svc.Ready()
	return client
}

// What does one small call cost, both ends together, over TLS on loopback?
func BenchmarkEcho64(b *testing.B) {
	bus := overTCP(b, func(s *scamp.Service) {
		s.Handle("Bench.echo", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			body, err := req.Bytes()
			if err != nil {
				return err
			}
			return rep.SetBytes(body)
		}, nil)
	})
	body := bytes.Repeat([]byte{'x'}, 64)
	call := func() error {
		reply, err := bus.Call(context.Background(), &scamp.Request{Action: "Bench.echo", Data: body})
		if err != nil {
			return err
		}
		got, err := reply.Bytes(0)
		if err == nil && len(got) != len(body) {
			err = fmt.Errorf("%d octets came back", len(got))
		}
		return err
	}
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(callers/2, 1))
			if callers == 1 {
				for b.Loop() {
					if err := call(); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := call(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
