package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"time"
)

// A Kind says what a record notes.
type Kind string

// The kinds of record.
const (
	KindIssue  Kind = "issue"  // a call is about to be made
	KindEnd    Kind = "end"    // it has ended
	KindRun    Kind = "run"    // a handler is about to run
	KindServed Kind = "served" // its reply was handed over
	KindStart  Kind = "start"  // what a process holds before the test
	KindDrain  Kind = "drain"  // what it holds after the drain
)

// An Outcome is how a call ended, for its caller. It is one for one what the library
// tells about a failed call: an answer, certainly not run, perhaps run.
type Outcome string

// The outcomes.
const (
	OK       Outcome = "replied_ok"
	Error    Outcome = "replied_error" // the action answered no
	NotRun   Outcome = "failed_not_run"
	MaybeRun Outcome = "failed_maybe"
)

// A Nonce travels with a request and comes back with its reply, so that a reply that
// belongs to another call is seen.
type Nonce [16]byte

// String returns the nonce in hexadecimal.
func (n Nonce) String() string { return hex.EncodeToString(n[:]) }

// MarshalText returns the nonce in hexadecimal.
func (n Nonce) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads the nonce in hexadecimal.
func (n *Nonce) UnmarshalText(text []byte) error { return unhex(n[:], text, "nonce") }

// A Sum stands for a body: its length and its SHA-256. The zero Sum is that of a body
// nobody looked at; the empty body has a SHA-256 like every other.
type Sum struct {
	Octets int64  `json:"octets"`
	SHA256 Digest `json:"sha256"`
}

// A Digest is a SHA-256.
type Digest [sha256.Size]byte

// MarshalText returns the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

// UnmarshalText reads the digest in hexadecimal.
func (d *Digest) UnmarshalText(text []byte) error { return unhex(d[:], text, "SHA-256") }

func unhex(to, text []byte, what string) error {
	if n, err := hex.Decode(to, text[:min(len(text), 2*len(to))]); err != nil || n != len(to) || len(text) != 2*len(to) {
		return fmt.Errorf("ledger: %s of %d digits: want %d hexadecimal digits", what, len(text), 2*len(to))
	}
	return nil
}

// SumOf returns the Sum of a body.
func SumOf(body []byte) Sum { return Sum{int64(len(body)), sha256.Sum256(body)} }

// A Meter is a writer that keeps the Sum of what it is given. The zero Meter is ready.
// It is for one goroutine at a time.
type Meter struct {
	n int64
	h hash.Hash
}

// Write adds octets. It does not fail.
func (m *Meter) Write(b []byte) (int, error) {
	if m.h == nil {
		m.h = sha256.New()
	}
	m.n += int64(len(b))
	return m.h.Write(b)
}

// Sum returns the Sum of all octets so far.
func (m *Meter) Sum() Sum {
	if m.h == nil {
		return SumOf(nil)
	}
	return Sum{m.n, Digest(m.h.Sum(nil))}
}

// A Record is one note. Which fields count depends on its Kind.
type Record struct {
	Kind Kind      `json:"kind"`
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"` // the process, or the part of it, that notes
	ID   string    `json:"id,omitempty"` // the call; unique in the whole test

	// Issue: what is sent. Served: what arrived.
	Request Sum `json:"request,omitzero"`
	// End: what came back. Served: what was sent.
	Reply Sum `json:"reply,omitzero"`
	// Issue: what is sent. End: what came back.
	Nonce Nonce `json:"nonce,omitzero"`

	Idempotent bool      `json:"idempotent,omitempty"` // Issue: may run more than once
	Deadline   time.Time `json:"deadline,omitzero"`    // Issue: zero means none
	Outcome    Outcome   `json:"outcome,omitempty"`    // End
	Cancelled  bool      `json:"cancelled,omitempty"`  // End: the caller gave the call up
	Text       string    `json:"text,omitempty"`       // End: the error, for people
	Instance   string    `json:"instance,omitempty"`   // End: the one at which it failed last

	Count    int  `json:"count,omitempty"`    // Run: of this id in this process, from 1
	Complete bool `json:"complete,omitempty"` // Served: the handler was told that the body was whole

	Holds map[string]int64 `json:"holds,omitempty"` // Start, Drain: what is held, by name
}
