//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// stream returns a source of random choices that belongs to a name: what others draw
// does not move it.
func stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// A part is one kind of body in a mix.
type part struct {
	Share  float64 // of the calls
	Octets int
}

// A mix is what callers do.
type mix struct {
	Rate       float64 // calls a second of all clients together
	Parts      []part
	Cancel     float64       // share of the calls that are given up at a random time
	Idempotent float64       // share of the calls that may run twice
	Deadline   time.Duration // of each call
	Down       bool          // all bodies come back, not half of them
	Again      bool          // every body can be produced again; else the long ones of calls that may not run twice cannot
}

// base is the load L of THREATS 3.3. Half of the bodies go out, half come back; the other
// direction has the nonce and a hash alone.
func baseMix() mix {
	return mix{
		Rate:   200,
		Parts:  []part{{0.60, 200}, {0.30, 8 << 10}, {0.09, 256 << 10}, {0.01, streamed}},
		Cancel: 0.05, Idempotent: 0.25, Deadline: 2 * time.Second,
	}
}

// at is the mix at another rate.
func (m mix) at(rate float64) mix { m.Rate = rate; return m }

// A load is what one client is to do.
type load struct {
	Mix     mix
	Name    string // of the stream of random choices, and how ids begin
	Seed    uint64
	Clients int       // that share the rate
	Begin   time.Time // the first call is not before
	Lasts   time.Duration
	Ident   string // of the instance that all are for; empty means any
}

// A planned call is one of a load.
type planned struct {
	ID         string
	At         time.Duration // after the load began
	Nonce      ledger.Nonce
	Request    int           // octets of the body
	Reply      int           // octets of the reply
	CancelAt   time.Duration // after the call began; zero means never. Its handler lingers longer
	Idempotent bool
	Again      bool // its body can be produced again

	// Of calls that a row plans by itself.
	Linger time.Duration // the handler takes so long
	Ident  string        // of the instance that it is for; empty means that of the load
}

// answerOctets is the least a reply has: the nonce and the hash of the request.
const answerOctets = 16 + 32

// plan yields the calls of a load in their order. It is the same whenever the load is,
// but for Begin.
func (l *load) plan(yield func(planned) bool) {
	r := stream(l.Seed, l.Name)
	gap := float64(time.Second) * float64(l.Clients) / l.Mix.Rate
	for i := 0; ; i++ {
		p := planned{ID: fmt.Sprintf("%s-%d", l.Name, i), At: time.Duration((float64(i) + r.Float64()) * gap)}
		if p.At >= l.Lasts {
			return
		}
		binary.BigEndian.PutUint64(p.Nonce[:], r.Uint64())
		binary.BigEndian.PutUint64(p.Nonce[8:], r.Uint64())
		octets, dice := l.Mix.Parts[0].Octets, r.Float64()
		for _, part := range l.Mix.Parts {
			octets = part.Octets
			if dice -= part.Share; dice < 0 {
				break
			}
		}
		octets = max(octets, answerOctets)
		if p.Request, p.Reply = octets, answerOctets; r.IntN(2) == 0 || l.Mix.Down {
			p.Request, p.Reply = answerOctets, octets
		}
		cancel, after := r.Float64(), r.Float64()
		if cancel < l.Mix.Cancel {
			// Most calls last milliseconds, so the times are spread over their magnitude: 0.1
			// ms to 1 s.
			p.CancelAt = time.Duration(float64(100*time.Microsecond) * pow10(4*after))
		}
		p.Idempotent = r.Float64() < l.Mix.Idempotent
		p.Again = l.Mix.Again || p.Idempotent || p.Request < 1<<20
		if !yield(p) {
			return
		}
	}
}
