//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
)

// An attackerSpec says whom to attack.
type attackerSpec struct{ Addr string }

// attackOrderArgs are those of the order attack.
type attackOrderArgs struct {
	Name  string
	Lasts time.Duration
}

// beAttacker attacks a service, with one connection at a time. Order: attack, which
// answers how many packets it sent.
func beAttacker(p *post) error {
	var spec attackerSpec
	if err := json.Unmarshal(p.spec, &spec); err != nil {
		return err
	}
	p.obey(orders{"attack": func(args json.RawMessage) (any, error) {
		var a attackOrderArgs
		if err := json.Unmarshal(args, &a); err != nil {
			return nil, err
		}
		run := attacks[a.Name]
		if run == nil {
			return nil, fmt.Errorf("attack %q: want one of %q", a.Name, attackOrder)
		}
		ctx, cancel := context.WithTimeout(p.ctx, a.Lasts)
		defer cancel()
		sent := 0
		for ctx.Err() == nil {
			sent += run(ctx, spec.Addr)
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return sent, nil
	}})
	p.tell("ready", ready{})
	<-p.ctx.Done()
	return nil
}

// A bare is a connection of an attacker: octets written as they are, through a buffer.
type bare struct {
	*bufio.Writer
	c       *tls.Conn
	no      int // number of the next message
	sent    int // packets
	unwatch func() bool
	reading sync.WaitGroup
}

// dialBare connects. The connection ends with ctx at the latest.
func dialBare(ctx context.Context, addr string) (*bare, error) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // whoever answers is attacked
	dialing, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := d.DialContext(dialing, "tcp", addr)
	if err != nil {
		return nil, err
	}
	b := &bare{Writer: bufio.NewWriterSize(c, 16<<10), c: c.(*tls.Conn)}
	b.unwatch = context.AfterFunc(ctx, func() { b.c.NetConn().Close() })
	return b, nil
}

// onBare makes an attack of what is done on a connection.
func onBare(attack func(ctx context.Context, b *bare) int) func(context.Context, string) int {
	return func(ctx context.Context, addr string) int {
		b, err := dialBare(ctx, addr)
		if err != nil {
			return 0 // the service may be too busy to greet in time
		}
		defer b.close()
		return attack(ctx, b)
	}
}

func (b *bare) close() {
	b.unwatch()
	b.c.NetConn().Close()
	b.reading.Wait()
}

// forget throws away what comes in.
func (b *bare) forget() {
	b.reading.Go(func() { io.Copy(io.Discard, b.c) }) // ends with the connection
}

// header begins a request and returns the number of its message.
func (b *bare) header(action string) int {
	no := b.no
	header := fmt.Sprintf(`{"action":%q,"envelope":"json","request_id":%d,"sector":"main","type":"request","version":1}`, action, no+1)
	b.packet("HEADER", no, []byte(header))
	b.no++
	return no
}

func (b *bare) packet(kind string, no int, body []byte) error {
	fmt.Fprintf(b, "%s %d %d\r\n", kind, no, len(body))
	b.Write(body)
	_, err := b.WriteString("END\r\n")
	b.sent++
	return err
}

// headersAlone is P6: HEADERs, nothing else.
func headersAlone(ctx context.Context, b *bare) int {
	b.forget()
	for b.header(hostileWork); b.Flush() == nil; b.header(hostileWork) {
		for range 99 {
			b.header(hostileWork)
		}
	}
	return b.sent
}

// readsNothing is P12: it asks for 100 replies of 1 MiB, acknowledges all of them and
// reads nothing more.
func readsNothing(ctx context.Context, b *bare) int {
	// What the kernel would take for us can be more than all there is to send.
	if b.c.NetConn().(*net.TCPConn).SetReadBuffer(64<<10) != nil {
		return 0
	}
	const replies, window = 100, 64 << 10
	for range replies {
		no := b.header(hostileBig)
		b.packet("DATA", no, []byte("1048576"))
		b.packet("EOF", no, nil)
	}
	b.Flush()
	r := packet.NewReader(b.c, packet.Limits{})
	for got := 0; got < replies*window; {
		p, err := r.Next()
		if err != nil {
			return b.sent
		}
		if p.Kind == packet.KindData {
			got += len(p.Body)
		}
	}
	for no := range replies {
		b.packet("ACK", no, strconv.AppendInt(nil, window, 10))
	}
	for b.packet("PING", 0, nil) == nil && b.Flush() == nil {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return b.sent
}

// endlessBodies is P14: requests whose bodies never end, for an action that wants them
// whole. Eight go as fast as the service takes them, eight drip an octet a second.
func endlessBodies(ctx context.Context, addr string) int {
	c, err := scamp.Dial(ctx, addr, scamp.Identity{Anyone: true}, nil)
	if err != nil {
		return 0
	}
	defer c.Close()
	var sent atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		body := io.Reader(zeros{})
		if i%2 == 1 {
			body = drip{ctx}
		}
		all.Go(func() { // ends with ctx, or the connection
			for ctx.Err() == nil {
				sent.Add(1)
				if _, err := c.Call(ctx, &scamp.Request{Action: hostileCollect, Body: body}); scampRan(err) != scamp.RanYes {
					return // no answer but the end of the connection
				}
			}
		})
	}
	all.Wait()
	return int(sent.Load())
}

// scampRan is what an error says about whether the call ran.
func scampRan(err error) scamp.Ran {
	if ce, ok := errors.AsType[*scamp.CallError](err); ok {
		return ce.Ran
	}
	return scamp.RanMaybe
}

// drip is a body of an octet a second, until ctx ends.
type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = 'x'
		return 1, nil
	case <-d.ctx.Done():
		return 0, context.Cause(d.ctx)
	}
}

// neverRead is P21: bodies that nobody reads. It ignores its window on as many messages
// as one connection may have, until each has been ended, and begins anew.
func neverRead(ctx context.Context, b *bare) int {
	b.forget()
	chunk := make([]byte, 16<<10)
	for {
		var open []int
		for range 200 {
			open = append(open, b.header(hostileWait))
		}
		for range 96 { // 1.5 MiB each, unless they are ended before
			for _, no := range open {
				if b.packet("DATA", no, chunk) != nil {
					return b.sent
				}
			}
		}
		for _, no := range open {
			b.packet("EOF", no, nil)
		}
		if b.Flush() != nil {
			return b.sent
		}
	}
}
