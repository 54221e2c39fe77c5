package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

const (
	floodRate = 20_000 // datagrams a second (THREATS D20)
	floodMust = 0.60   // of a core, for 50 services that live through it
	honest    = 50
)

// A flood is a carrier of datagrams of valid form with bad signatures, no two the
// same, half of them of a certificate that a rule names; and among them the honest
// services, each once a second.
type flood struct {
	bad    [2][]byte // text of a known certificate and of a stranger's
	at     [2]int    // where the signature begins
	good   [][]byte
	start  time.Time
	sent   int
	honest int
	room   []byte
}

func newFlood(b *bus) (*flood, error) {
	stranger, err := scamp.GenerateKeyPair("stranger", 2048)
	if err != nil {
		return nil, err
	}
	f := new(flood)
	for i, pair := range []*scamp.KeyPair{b.pairs[0], stranger} {
		a := &discovery.Announcement{
			Ident: "flood:AAECAwQFBgcICQoLDA0ODxAR", Weight: 1, Envelopes: []string{"json"}, Address: "beepish+tls://10.9.9.9:30100",
			Timestamp: b.since.UnixMicro(), Certificate: pair.Certificate, Actions: []discovery.Action{{Class: "Common", Name: "ping"}},
		}
		if _, err := a.Sign(pair.Key); err != nil {
			return nil, err
		}
		f.bad[i] = a.Packet()
		f.at[i] = len(f.bad[i]) - base64.StdEncoding.EncodedLen(256) - 256/57 - 2
	}
	for i := range min(honest, len(b.records)) {
		f.good = append(f.good, append(b.records[i], '\n'))
	}
	return f, nil
}

// Receive returns the next datagram when it is due.
func (f *flood) Receive(ctx context.Context) (discovery.Datagram, error) {
	if f.start.IsZero() {
		f.start = time.Now()
	}
	for {
		if err := ctx.Err(); err != nil {
			return discovery.Datagram{}, err
		}
		passed := time.Since(f.start).Seconds()
		if f.honest < int(passed*float64(len(f.good)))+len(f.good) {
			f.honest++
			return discovery.Datagram{Data: f.good[f.honest%len(f.good)]}, nil
		}
		if f.sent < int(passed*floodRate) {
			return discovery.Datagram{Data: f.next()}, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// next makes a signature that nobody has seen yet.
func (f *flood) next() []byte {
	which := f.sent % 2
	f.sent++
	f.room = append(f.room[:0], f.bad[which]...)
	var number [6]byte
	binary.BigEndian.PutUint32(number[:], uint32(f.sent))
	base64.StdEncoding.Encode(f.room[f.at[which]:], number[:])
	return f.room
}

// Send implements discovery.Carrier.
func (*flood) Send(context.Context, discovery.Iface, []byte) error {
	return errors.New("bench: the flood takes nothing")
}

// Close implements discovery.Carrier.
func (*flood) Close() error { return nil }

// flooding measures the processor time that a directory spends in a flood, without
// what it costs to make the datagrams.
func flooding(p *printer, b *bus, o options) error {
	alone, err := newFlood(b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.flood)
	defer cancel()
	made := measure(func() {
		for err == nil {
			_, err = alone.Receive(ctx)
		}
	})
	f, err := newFlood(b)
	if err != nil {
		return err
	}
	d := b.directory()
	defer d.Close()
	ctx, cancel = context.WithTimeout(context.Background(), o.flood)
	defer cancel()
	took := measure(func() { discovery.NewObserver(f, d, nil).Run(ctx) })
	if n := len(d.Find(discovery.Query{Action: "Common.ping"})); n != len(f.good) {
		return fmt.Errorf("%d of %d services are found in the flood: want all", n, len(f.good))
	}
	if f.sent == 0 || alone.sent == 0 {
		return errors.New("no datagram went through: want a longer flood")
	}
	each := float64(took.cpu-made.cpu*time.Duration(f.sent)/time.Duration(alone.sent)) / float64(f.sent)
	p.print("flood_cores", each*floodRate/float64(time.Second), "cores", floodMust)
	p.print("flood_rate", float64(f.sent)/took.wall.Seconds(), "datagrams/s", noLimit)
	return nil
}
