package scamp_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// A service asks for tickets, and for privileges in them; a caller puts the ticket of its
// user into the context of its calls.
func ExampleWithTicket() {
	block, _ := pem.Decode(fixtures.Bytes("keys/ticket.key.pem"))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	issuer := parsed.(*rsa.PrivateKey)             // whoever issues tickets has it
	const seeOrders, changeOrders = 30, 31         // privileges
	keys := scamp.NewTicketKeys(&issuer.PublicKey) // from a configuration: auth.ticket_verify_key

	bus, stop := exampleBusWith(&scamp.Options{TicketKeys: keys}, &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(svc *scamp.Service) {
		scamp.HandleJSON(svc, "Order.list", func(ctx context.Context, _ struct{}) (string, error) {
			who, err := scamp.RequestFrom(ctx).Principal()
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("orders of client %d", who.Client), nil
		}, &scamp.ActionOptions{Privileges: []int64{seeOrders}})
		scamp.HandleJSON(svc, "Order.cancel", func(context.Context, struct{}) (string, error) {
			return "cancelled", nil
		}, &scamp.ActionOptions{Privileges: []int64{changeOrders}})
	})
	defer stop()

	ticket, err := (&scamp.TicketClaims{User: 42, Client: 100, Start: time.Now().Unix(), Length: 3600, Privileges: []int64{seeOrders}}).Sign(issuer)
	if err != nil {
		log.Fatal(err)
	}
	ctx := scamp.WithTicket(context.Background(), ticket)
	fmt.Println(ticket) // no log shows it
	for _, action := range []string{"Order.list", "Order.cancel"} {
		out, err := scamp.Call[string](ctx, bus, action, struct{}{})
		var no *scamp.RemoteError
		if errors.As(err, &no) {
			fmt.Println(no.Code+":", no.Text)
			continue
		}
		fmt.Println(out)
	}
	// Output:
	// [ticket]
	// orders of client 100
	// authz: the ticket lacks privilege 31
}

// A file says whose certificate may call which action.
func ExampleServiceOptions_callers() {
	web, err := scamp.GenerateKeyPair("web", 2048) // from a configuration: bus.identity
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "scamp")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "callers") // from a configuration: service.callers
	if err := os.WriteFile(file, []byte(web.Certificate.Fingerprint+" main:Order.list\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	handler := func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }
	var svc *scamp.Service
	_, stop := exampleBusWith(&scamp.Options{}, &scamp.ServiceOptions{Callers: file}, func(s *scamp.Service) {
		svc = s
		svc.Handle("Order.list", handler, nil)
		svc.Handle("Order.cancel", handler, nil)
	})
	defer stop()

	ctx := context.Background()
	expected := scamp.Identity{Fingerprint: svc.Fingerprint()}
	for _, pair := range []*scamp.KeyPair{web, nil} {
		caller, err := scamp.Dial(ctx, svc.Addr(), expected, &scamp.Options{KeyPair: pair})
		if err != nil {
			log.Fatal(err)
		}
		for _, action := range []string{"Order.list", "Order.cancel"} {
			reply, err := caller.Call(ctx, &scamp.Request{Action: action})
			if err == nil {
				reply.Body.Close()
			}
			fmt.Println(action, "denied:", errors.Is(err, scamp.ErrDenied))
		}
		caller.Close()
	}
	// Output:
	// Order.list denied: false
	// Order.cancel denied: true
	// Order.list denied: true
	// Order.cancel denied: true
}
