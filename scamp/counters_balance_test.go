package scamp_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// What has begun and what has ended add up, over TLS and within the process: their
// difference is what is open now.
func TestCountersAddUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		local bool
	}{{"over TLS", false}, {"within the process", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				hold := make(chan struct{})
				svc := n.Serve("add", func(s *scamp.Service) {
					s.Handle("Add.up", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
						body, err := io.ReadAll(req.Body)
						if string(body) == "hold" {
							<-hold
						}
						return err
					}, nil)
				})
				bus := svc.Bus
				if !tt.local {
					bus = n.Bus(nil)
				}
				call := func(body string) error { // streamed, so that it takes a connection
					_, err := bus.Call(t.Context(), &scamp.Request{Action: "Add.up", Body: strings.NewReader(body)})
					return err
				}
				open := func(when string, requests, connections uint64) {
					t.Helper()
					synctest.Wait()
					b, s := bus.Stats(), svc.Bus.Stats()
					if d := s["request_started"] - s["request_ended"]; d != requests {
						t.Errorf("%s: %d requests started, %d ended: want %d running", when, s["request_started"], s["request_ended"], requests)
					}
					if d := b["conn_opened"] - b["conn_closed"]; d != connections {
						t.Errorf("%s: %d connections opened, %d closed: want %d open", when, b["conn_opened"], b["conn_closed"], connections)
					}
					if d := s["conn_accepted"] - s["conn_finished"]; d != connections {
						t.Errorf("%s: %d connections accepted, %d finished: want %d open", when, s["conn_accepted"], s["conn_finished"], connections)
					}
				}
				open("at first", 0, 0)
				for range 3 {
					if err := call("pass"); err != nil {
						t.Fatal(err)
					}
				}
				done := make(chan error)
				go func() { done <- call("hold") }() // ends with hold
				open("within a call", 1, 1)
				close(hold)
				if err := <-done; err != nil {
					t.Error(err)
				}
				open("after it", 0, 1)
				if started := svc.Bus.Stats()["request_started"]; started != 4 {
					t.Errorf("%d requests started, want 4", started)
				}
				svc.Stop()
				open("when the service has stopped", 0, 0)
			})
		})
	}
}
