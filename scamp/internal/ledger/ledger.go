package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A Ledger takes the notes of one process. It is made by New and safe for concurrent
// use.
type Ledger struct {
	by     string
	now    func() time.Time
	forget bool

	mu      sync.Mutex // protects what follows; also orders what is written
	w       io.Writer
	err     error
	records []Record
	runs    map[string]int
}

// Options change how a Ledger works. Nil means defaults.
type Options struct {
	// W gets every record as a line of JSON at once, in one write: one that does not
	// buffer keeps the notes of a process that is killed. Nil means none.
	W   io.Writer
	Now func() time.Time // nil means time.Now
	// Forget keeps nothing in memory, so that a process that notes for hours does not
	// grow: Records is empty, and Run does not count.
	Forget bool
}

// New returns an empty ledger. By names who notes in every record.
func New(by string, opts *Options) *Ledger {
	l := &Ledger{by: by, now: time.Now, runs: make(map[string]int)}
	if opts != nil {
		l.w, l.forget = opts.W, opts.Forget
		if opts.Now != nil {
			l.now = opts.Now
		}
	}
	return l
}

// Issue notes that a call is about to be made. The deadline may be zero for none.
func (l *Ledger) Issue(id string, nonce Nonce, request Sum, idempotent bool, deadline time.Time) {
	l.note(Record{Kind: KindIssue, ID: id, Nonce: nonce, Request: request, Idempotent: idempotent, Deadline: deadline})
}

// An End is how a call ended.
type End struct {
	Outcome   Outcome
	Nonce     Nonce  // that came back, of a call that ended OK
	Reply     Sum    // as above
	Cancelled bool   // the caller gave the call up
	Text      string // the error, for people
	Instance  string // the one at which it failed last, also where it was sent again and ended well
}

// End notes that a call has ended.
func (l *Ledger) End(id string, end End) {
	l.note(Record{Kind: KindEnd, ID: id, Outcome: end.Outcome, Nonce: end.Nonce, Reply: end.Reply, Cancelled: end.Cancelled, Text: end.Text, Instance: end.Instance})
}

// Run notes that a handler is about to run for a call, and returns how often one did in
// this process, from 1.
func (l *Ledger) Run(id string) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.forget {
		l.runs[id]++
	}
	l.noteLocked(Record{Kind: KindRun, ID: id, Count: l.runs[id]})
	return l.runs[id]
}

// Served notes that the reply to a call was handed over: what arrived, whether the
// handler was told that this was all, and what was sent.
func (l *Ledger) Served(id string, arrived Sum, complete bool, sent Sum) {
	l.note(Record{Kind: KindServed, ID: id, Request: arrived, Complete: complete, Reply: sent})
}

// Start notes what the process holds before the test, by name: goroutines, descriptors,
// sizes of tables, unread and unacknowledged octets.
func (l *Ledger) Start(holds map[string]int64) { l.note(Record{Kind: KindStart, Holds: holds}) }

// Drain notes the same after everything has ended.
func (l *Ledger) Drain(holds map[string]int64) { l.note(Record{Kind: KindDrain, Holds: holds}) }

func (l *Ledger) note(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteLocked(r)
}

// noteLocked keeps a record. The order of records is the order of their times, so the
// write is under the lock: nothing of a connection waits for it.
func (l *Ledger) noteLocked(r Record) {
	r.At, r.By = l.now(), l.by
	if !l.forget {
		l.records = append(l.records, r)
	}
	if l.w == nil || l.err != nil {
		return
	}
	line, err := json.Marshal(r)
	if err == nil {
		_, err = l.w.Write(append(line, '\n'))
	}
	l.err = err
}

// Records returns all records so far. The slice is the caller's.
func (l *Ledger) Records() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Record(nil), l.records...)
}

// Err returns why records could not be written, if so. They are kept all the same.
func (l *Ledger) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// maxLine bounds a record as a line of JSON, in octets.
const maxLine = 1 << 20

// Read reads records that a Ledger wrote. A last line without its end is that of a
// process that was killed while it wrote, and is left out.
func Read(r io.Reader) ([]Record, error) {
	var records []Record
	lines := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return records, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("ledger: line %d: more than %d octets: want a record", n, maxLine)
		case err != nil:
			return nil, fmt.Errorf("ledger: line %d: %w", n, err)
		}
		var record Record
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&record); err != nil {
			return nil, fmt.Errorf("ledger: line %d: %w", n, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("ledger: line %d: text after the record: want one record a line", n)
		}
		records = append(records, record)
	}
}
