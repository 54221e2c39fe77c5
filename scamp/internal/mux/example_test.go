package mux_test

import (
	"fmt"
	"net"
	"sync"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Two ends over a connection in memory: one sends a message, the other answers it
// with its body. Over TLS, rw is the tls.Conn that was made over the Link.
func Example() {
	near, far := net.Pipe()
	done := make(chan string)

	link := mux.NewLink(far)
	server := mux.New(link, link, mux.Options{Accept: func(m *mux.Inbound) {
		go func() { // Accept must not wait for the body; ends with the message
			body, err := m.Bytes(1 << 20)
			if err != nil {
				return
			}
			m.Conn().Send(&packet.Header{Type: packet.TypeReply, ID: m.Header.ID}, mux.Body{Data: body}, nil)
		}()
	}})
	link = mux.NewLink(near)
	client := mux.New(link, link, mux.Options{Accept: func(m *mux.Inbound) {
		go func() { // ends with the message
			body, err := m.Bytes(1 << 20)
			done <- fmt.Sprintf("reply to %s: %q, %v", m.Header.ID, body, err)
		}()
	}})

	var running sync.WaitGroup
	running.Go(func() { server.Run() }) // ends when the client closes
	running.Go(func() { client.Run() }) // ends with Close

	h := packet.Header{Type: packet.TypeRequest, Action: "Lab.echo", Sector: "main", ID: packet.NumberID(1)}
	if _, err := client.Send(&h, mux.Body{Data: []byte("hello")}, nil); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-done)
	client.Close()
	running.Wait()
	// Output: reply to 1: "hello", <nil>
}
