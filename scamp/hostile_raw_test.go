//go:build resource && linux

package scamp_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// A bare is a connection of an attacker: octets written as they are, through a buffer.
type bare struct {
	*bufio.Writer
	c  *tls.Conn
	no int // number of the next message
}

// dial makes a connection whose incoming octets are thrown away. It is nil when the
// service does not want it.
func (a *attacker) dial() *bare {
	b := a.deaf()
	if b != nil {
		a.work.Go(func() { io.Copy(io.Discard, b.c) }) // ends with the connection
	}
	return b
}

// deaf is dial for a connection that nobody reads.
func (a *attacker) deaf() *bare {
	raw, err := a.tcp("")
	if err != nil {
		if !a.ended() {
			a.t.Error(err)
		}
		return nil
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil
	}
	return &bare{Writer: bufio.NewWriterSize(c, 16<<10), c: c}
}

// header begins a request and returns the number of its message. Ids begin with 1.
func (b *bare) header(action string) int {
	no := b.no
	b.raw(fmt.Sprintf(`{"action":%q,"envelope":"json","request_id":%d,"sector":"main","type":"request","version":1}`, action, no+1))
	return no
}

// raw begins a message with any header.
func (b *bare) raw(header string) {
	fmt.Fprintf(b, "HEADER %d %d\r\n%sEND\r\n", b.no, len(header), header)
	b.no++
}

func (b *bare) packet(kind string, no int, body []byte) error {
	fmt.Fprintf(b, "%s %d %d\r\n", kind, no, len(body))
	b.Write(body)
	_, err := b.WriteString("END\r\n")
	return err
}

// request is a whole small request.
func (b *bare) request(action, body string) error {
	no := b.header(action)
	if body != "" {
		b.packet("DATA", no, []byte(body))
	}
	return b.packet("EOF", no, nil)
}

// beats keeps a connection from being closed as idle or dead, and shows that the service
// answers its PINGs: it fails the attacker's test when one takes too long. The
// caller must not write meanwhile.
func (b *bare) beats(a *attacker, every time.Duration, pongs <-chan struct{}) {
	for !a.ended() {
		b.packet("PING", 0, nil)
		if b.Flush() != nil {
			a.t.Error("the service has closed the connection of an attacker that it must bear with")
			return
		}
		select {
		case <-pongs:
		case <-time.After(10 * time.Second):
			a.t.Error("no answer to a PING in 10 s")
			return
		case <-a.over:
			return
		}
		select {
		case <-time.After(every):
		case <-a.over:
		}
	}
}

// hear reads packets until the connection ends and hands on each PONG and each HEADER.
func (a *attacker) hear(b *bare, pongs chan<- struct{}, heads chan<- packet.Header) {
	a.work.Go(func() { b.listen(a.over, pongs, heads) })
}

func (b *bare) listen(over <-chan struct{}, pongs chan<- struct{}, heads chan<- packet.Header) {
	r := packet.NewReader(b.c, packet.Limits{})
	hr := packet.NewHeaderReader(packet.Limits{})
	for {
		p, err := r.Next()
		if err != nil {
			return
		}
		switch {
		case p.Kind == packet.KindPONG && pongs != nil:
			select {
			case pongs <- struct{}{}:
			case <-over:
			}
		case p.Kind == packet.KindHeader && heads != nil:
			var h packet.Header
			if hr.Parse(p.Body, &h) == nil {
				select {
				case heads <- h:
				case <-over:
				}
			}
		}
	}
}

// many runs f on so many connections at once and returns when all have returned.
func many(n int, f func(i int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(n, 64) {
		all.Go(func() { // ends when next is closed
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}

// ackOf is the body of an ACK.
func ackOf(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
