//go:build linux

package main

import (
	"io"
	"math"
	"math/rand/v2"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

func pow10(x float64) float64 { return math.Pow(10, x) }

// pattern is what bodies are cut out of, so that making eight mebibytes costs no more
// than copying them.
var pattern = func() []byte {
	b := make([]byte, 251<<10) // no multiple of any chunk
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

// A body is so many octets that belong to a nonce, with a head before them.
type body struct {
	head []byte
	left int // after the head
	at   int // in pattern
}

// newBody returns a body of so many octets in all that begins with head.
func newBody(head []byte, nonce ledger.Nonce, octets int) *body {
	return &body{head: head, left: octets - len(head), at: (int(nonce[0])<<16 | int(nonce[1])<<8 | int(nonce[2])) % len(pattern)}
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	if b.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), b.left)], pattern[b.at:])
	b.left -= n
	b.at = (b.at + n) % len(pattern)
	return n, nil
}

// sum returns what the ledger notes of a body, and reads it for that.
func sum(b *body) ledger.Sum {
	var m ledger.Meter
	io.Copy(&m, b) // neither fails
	return m.Sum()
}

// A front keeps the first octets that are written to it.
type front struct {
	b [answerOctets]byte
	n int
}

func (f *front) Write(p []byte) (int, error) {
	f.n += copy(f.b[f.n:], p)
	return len(p), nil
}
