package conform_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// serveOurs runs a service of ours with an echo on 127.0.0.1 until the test ends.
func serveOurs(t *testing.T) (addr string, cert *discovery.Certificate) {
	t.Helper()
	pair, err := scamp.GenerateKeyPair("conform test", 2048)
	if err != nil {
		t.Fatal(err)
	}
	segment := discovery.NewLoopback()
	cfg := &scamp.Config{BusAddress: []string{"127.0.0.1"}, Limits: scamp.Limits{ServerIdle: ourIdle}}
	bus, err := scamp.Open(cfg, &scamp.Options{Carriers: []discovery.Carrier{segment.Join()}})
	if err != nil {
		t.Fatal(err)
	}
	svc, err := bus.NewService("conform", &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: pair, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.echo", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		_, err := io.Copy(rep, req.Body)
		return err
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- svc.Serve(ctx) }() // ends with ctx, waited for below
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		bus.Close()
		segment.Close()
	})
	<-svc.Ready()
	return svc.Addr(), pair.Certificate
}

// ourIdle is after how long that service closes an idle connection.
const ourIdle = 2 * time.Second

var echo = conform.Action{Name: "Sample.echo"}

// TestConformance judges a service of ours by every case. The names of its parts begin
// with the line of the checklist.
func TestConformance(t *testing.T) {
	t.Parallel() // it mostly waits
	addr, cert := serveOurs(t)
	card, err := conform.Run(t.Context(), conform.Options{
		Addr: addr, Action: echo, Hostile: true, Timeout: 10 * time.Second, Quiet: 100 * time.Millisecond, Idle: ourIdle,
		Verify: func(der []byte) error {
			if !bytes.Equal(der, cert.DER) {
				return errors.New("another certificate")
			}
			return nil
		},
	}, conform.Cases())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range card.Results {
		t.Run(r.Case.Item+" "+r.Case.ID+" "+r.Case.Title, func(t *testing.T) {
			if r.Missed(true) {
				t.Errorf("%s (%s): %v\nsent: %q\nwant: %s\ncame: %s\n%q", r.Case.ID, r.Case.Title, r.Verdict, r.Sent, r.Case.Want, r.Came, r.Got)
			} else {
				t.Logf("%v %v %s: %s", r.Elapsed, r.Verdict, r.Case.Title, r.Came)
			}
		})
	}
}
