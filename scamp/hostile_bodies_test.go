//go:build resource && linux

package scamp_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// announcedBodies: 1,000 connections say that 131,072 octets come and send ten.
func announcedBodies(a *attacker) {
	many(1000, func(int) {
		if b := a.dial(); b != nil {
			b.WriteString("DATA 0 131072\r\n0123456789")
			b.Flush()
		}
	})
	a.going()
}

// bodiesNeverRead: 4,096 requests with 64 KiB each that no handler reads.
func bodiesNeverRead(a *attacker) {
	b := a.deaf()
	pongs := make(chan struct{})
	a.hear(b, pongs, nil)
	body := make([]byte, 16384)
	for range 4096 {
		no := b.header("Victim.wait")
		for range 4 {
			b.packet("DATA", no, body)
		}
		b.Flush()
	}
	a.going()
	b.beats(a, 20*time.Millisecond, pongs)
}

// windowIgnored is a caller of the kind that may leave more unread, with requests that
// no handler reads: it sends 2 MiB in each.
func windowIgnored(a *attacker) {
	a.leaveUnread(`{"action":"Victim.wait","envelope":"json","request_id":%d,"type":"request","version":1}`, 32, 0)
}

// windowsUsed knows ext: each of its requests has 196,608 octets unread, and together
// they have as much more as the service has announced.
func windowsUsed(a *attacker) {
	a.leaveUnread(`{"action":"Victim.wait","envelope":"json","ext":{"v":1,"win":1048576,"cancel":1},"request_id":%d,"sector":"main","type":"request","version":1}`, 3, 16)
}

// leaveUnread has as many requests with that header as may have handlers, and sends 64 KiB
// so many times in each of them, and once more in the first ones.
func (a *attacker) leaveUnread(header string, times, more int) {
	b := a.deaf()
	pongs := make(chan struct{})
	a.hear(b, pongs, nil)
	for no := range 256 {
		b.raw(fmt.Sprintf(header, no+1))
	}
	body := make([]byte, 65536)
	for range times {
		for no := range 256 {
			b.packet("DATA", no, body)
		}
		b.Flush()
	}
	for no := range more {
		b.packet("DATA", no, body)
	}
	b.Flush()
	a.going()
	b.beats(a, 20*time.Millisecond, pongs)
}

// fullWindows is 100 pairs that send to each other at once, as much as they can.
func fullWindows(a *attacker) {
	each := int64(a.size(2<<20, 64<<20))
	a.going()
	var clients []*scamp.Client
	for range 100 {
		c, err := scamp.Dial(context.Background(), a.addr, scamp.Identity{Anyone: true}, nil)
		if err != nil {
			a.t.Fatal(err)
		}
		defer c.Close()
		// A reply shows who this is: else the exchange would have a connection of its own.
		call(a.t, c, "Victim.echo", []byte("hello"))
		clients = append(clients, c)
	}
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() { // ends with the exchange
			reply, err := c.Call(context.Background(), &scamp.Request{Action: "Victim.stream", Body: io.LimitReader(&pattern{}, each)})
			if err != nil {
				a.t.Error(err)
				return
			}
			defer reply.Body.Close()
			if n, err := io.Copy(&wantPattern{}, reply.Body); n != each || err != nil {
				a.t.Errorf("echo of %d octets beside 99 others: %d came back, error %v", each, n, err)
			}
		})
	}
	all.Wait()
}
