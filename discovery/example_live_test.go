package discovery_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
)

// A service announces itself, and somebody on the same network finds it.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cert, key := mustCertificate("sample"), mustKey("sample")

	// Who may offer what stands in one file.
	rules, err := discovery.ParseAuthorized(strings.NewReader(cert.Fingerprint + " main:Greetings\n"))
	if err != nil {
		fmt.Println(err)
	}
	directory := discovery.NewDirectory(&discovery.DirectoryOptions{Authorized: rules})
	defer directory.Close()

	network := discovery.NewLoopback() // NewMulticast on a real one
	observer := discovery.NewObserver(network.Join(), directory, nil)
	announcer, err := discovery.NewAnnouncer(network, discovery.AnnouncerOptions{
		Ifaces: []discovery.Iface{network.Iface()}, Certificate: cert, Key: key,
	})
	if err != nil {
		fmt.Println(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- observer.Run(ctx) }()  // ends with ctx
	go func() { ended <- announcer.Run(ctx) }() // ends with ctx
	err = announcer.Set(discovery.Content{
		Ident:     "greeter:AAECAwQFBgcICQoLDA0ODxAR",
		Envelopes: []string{"json"},
		Addresses: []string{"beepish+tls://127.0.0.1:30100"},
		Actions:   []discovery.Action{{Class: "Greetings", Name: "hello"}, {Class: "Secrets", Name: "tell"}},
	})
	if err != nil {
		fmt.Println(err)
	}

	routes, err := directory.Wait(ctx, discovery.Query{Action: "greetings.hello"})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(routes[0].Action, "at", routes[0].Address)
	fmt.Println(directory.Explain(discovery.Query{Action: "Greetings.helo"}))
	fmt.Println(directory.Explain(discovery.Query{Action: "Greetings.hello", Version: 2}))

	cancel()
	<-ended
	<-ended
	// Output:
	// Greetings.hello at 127.0.0.1:30100
	// no service offers this action; did you mean Greetings.hello?
	// no service offers version 2 of this action, but version 1
}
