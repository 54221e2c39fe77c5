package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// exampleBus is a bus whose announcements stay in this process, with one service that
// register fills. Programs use Initialize instead, which reads soa.conf.
func exampleBus(register func(*scamp.Service)) (bus *scamp.Bus, stop func()) {
	return exampleBusWith(&scamp.Options{}, &scamp.ServiceOptions{}, register)
}

// exampleBusWith is exampleBus with options, which it completes.
func exampleBusWith(opts *scamp.Options, serve *scamp.ServiceOptions, register func(*scamp.Service)) (bus *scamp.Bus, stop func()) {
	opts.Carriers = []discovery.Carrier{discovery.NewLoopback()}
	bus, err := scamp.Open(nil, opts)
	if err != nil {
		log.Fatal(err)
	}
	pair, err := scamp.ParseKeyPair(fixtures.Bytes("keys/sample.crt.pem"), fixtures.Bytes("keys/sample.key.pem"))
	if err != nil {
		log.Fatal(err)
	}
	rules, err := discovery.ParseAuthorized(strings.NewReader(pair.Certificate.Fingerprint + " main:ALL\n"))
	if err != nil {
		log.Fatal(err)
	}
	bus.Directory().SetAuthorized(rules)
	serve.KeyPair, serve.Listen, serve.Grace = pair, []string{"127.0.0.1:0"}, -1
	svc, err := bus.NewService("example", serve)
	if err != nil {
		log.Fatal(err)
	}
	register(svc)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- svc.Serve(ctx) }() // ended by stop, which waits
	<-svc.Ready()
	return bus, func() {
		cancel()
		if err := <-done; err != nil {
			log.Print(err)
		}
		bus.Close()
	}
}

// Four lines serve an action, one line calls it.
func Example() {
	type who struct{ Name string }
	type greeting struct{ Text string }
	bus, stop := exampleBus(func(svc *scamp.Service) {
		scamp.HandleJSON(svc, "Greeter.hello", func(_ context.Context, in who) (greeting, error) {
			return greeting{"hello " + in.Name}, nil
		}, nil)
	})
	defer stop()

	out, err := scamp.Call[greeting](context.Background(), bus, "Greeter.hello", who{"world"})
	fmt.Println(out.Text, err)
	// Output: hello world <nil>
}

// A failed call says whether it may have run, and keeps apart what the action answered
// and what went wrong on the way.
func ExampleCallError() {
	bus, stop := exampleBus(func(svc *scamp.Service) {
		svc.Handle("Account.close", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			return &scamp.RemoteError{Code: "x_balance", Text: "the account is not empty"}
		}, nil)
	})
	defer stop()

	// A bus that has just been opened waits a moment for what it may not have heard yet.
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for _, action := range []string{"Account.close", "Account.burn"} {
		_, err := bus.Call(ctx, &scamp.Request{Action: action})
		var failed *scamp.CallError
		var answer *scamp.RemoteError
		switch {
		case errors.As(err, &answer):
			fmt.Println("the action says no:", answer.Code)
		case errors.Is(err, scamp.ErrNotFound):
			fmt.Println("nobody offers", action)
		}
		if errors.As(err, &failed) {
			fmt.Println("did it run?", failed.Ran)
		}
	}
	// Output:
	// the action says no: x_balance
	// did it run? yes
	// nobody offers Account.burn
	// did it run? no
}

// The error of a call tells how far it came, and what would cure it.
func ExampleCallError_Ladder() {
	bus, stop := exampleBus(func(svc *scamp.Service) {
		svc.Handle("Account.close", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }, nil)
	})
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := bus.Call(ctx, &scamp.Request{Action: "Account.close~2"})
	var failed *scamp.CallError
	if errors.As(err, &failed) {
		rung, _ := failed.Ladder().Failed()
		fmt.Println(rung)
		fmt.Println(rung.Fix)
	}

	// Why climbs without a call, and sends no request.
	fmt.Println(bus.Why(context.Background(), &scamp.Request{Action: "Account.close"}).Err)
	// Output:
	// FAIL  found      no service offers version 2 of this action, but version 1
	// ask for main:Account.close~1 with envelope json
	// <nil>
}

// Both bodies of a call are streams. Here each line is answered before the next one is
// sent.
func ExampleBus_Stream() {
	bus, stop := exampleBus(func(svc *scamp.Service) {
		svc.Handle("Text.upper", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			buf := make([]byte, 100)
			for {
				n, err := req.Body.Read(buf)
				if n > 0 {
					if _, err := io.WriteString(rep, strings.ToUpper(string(buf[:n]))); err != nil {
						return err
					}
				}
				if err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
			}
		}, nil)
	})
	defer stop()

	call, err := bus.Stream(context.Background(), &scamp.Request{Action: "Text.upper"})
	if err != nil {
		log.Fatal(err)
	}
	defer call.Close()
	buf := make([]byte, 5)
	for _, word := range []string{"first", "again"} {
		if _, err := io.WriteString(call, word); err != nil {
			log.Fatal(err)
		}
		if _, err := io.ReadFull(call, buf); err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(buf))
	}
	call.CloseSend()
	_, err = call.Read(buf)
	fmt.Println(err)
	// Output:
	// FIRST
	// AGAIN
	// EOF
}

// A large body goes through as it comes, in either direction.
func ExampleReplyWriter_ReadFrom() {
	bus, stop := exampleBus(func(svc *scamp.Service) {
		svc.Handle("File.get", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			_, err := rep.ReadFrom(strings.NewReader(strings.Repeat("line\n", 100_000))) // a file, say
			return err
		}, nil)
	})
	defer stop()

	reply, err := bus.Call(context.Background(), &scamp.Request{Action: "File.get"})
	if err != nil {
		log.Fatal(err)
	}
	defer reply.Body.Close()
	n, err := io.Copy(io.Discard, reply.Body)
	fmt.Println(n, err)
	// Output: 500000 <nil>
}

// With gives calls what they have in common.
func ExampleBus_With() {
	bus, stop := exampleBus(func(svc *scamp.Service) {
		scamp.HandleJSON(svc, "Tenant.id", func(ctx context.Context, _ struct{}) (int64, error) {
			return scamp.RequestFrom(ctx).ClientID, nil
		}, nil)
	})
	defer stop()

	tenant := bus.With(scamp.Request{ClientID: 77})
	id, err := scamp.Call[int64](context.Background(), tenant, "Tenant.id", struct{}{})
	fmt.Println(id, err)
	// Output: 77 <nil>
}
