package mux

import (
	"context"
	"strings"
	"unicode/utf8"
)

// Write sends p and returns when its octets have been taken, the message has
// ended, or ctx has: then it says how many were taken, and p is the caller's again.
// Tiny writes that follow one another closely are gathered: then it returns at once, and
// what goes wrong with them the next Write or CloseSend tells.
func (o *Outbound) Write(ctx context.Context, p []byte) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	c := o.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := o.takenLocked(ctx); err != nil { // what Send was given comes first
		return 0, err
	}
	if o.ended || o.aborted || o.eof {
		return 0, o.endErrLocked()
	}
	if len(p) == 0 || len(p) < gatherOctets && o.gatherLocked(p) {
		return len(p), nil
	}
	first := len(o.small)
	if first > 0 {
		p = append(o.small, p...) // those that were gathered go first
		o.small = nil
	}
	before := o.sent
	o.data = p
	c.scheduleLocked(o)
	c.mu.Unlock()
	c.pump(callerRounds)
	c.mu.Lock()
	err := o.takenLocked(ctx)
	o.data = nil
	n := int(o.sent - before)
	if n < first && !o.ended && !o.aborted {
		o.small = p[n:first:first] // they were reported as written already
		c.gatherSoonLocked(o)
	}
	switch {
	case n == len(p):
		err = nil
	case err == nil:
		err = o.endErrLocked()
	}
	return max(n-first, 0), err
}

// takenLocked waits until no octets wait any more, the message has ended or ctx has.
func (o *Outbound) takenLocked(ctx context.Context) error {
	for len(o.data) > 0 && !o.ended {
		if err := o.waitLocked(ctx); err != nil {
			return err
		}
	}
	return nil
}

// waitLocked opens the lock until something has changed or ctx has ended.
func (o *Outbound) waitLocked(ctx context.Context) error {
	if o.wake == nil {
		o.wake = make(chan struct{}, 1)
	}
	wake := o.wake
	o.c.mu.Unlock()
	defer o.c.mu.Lock()
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (o *Outbound) endErrLocked() error {
	switch {
	case o.err != nil:
		return o.err
	case o.aborted:
		return ErrAborted
	}
	return errEnded
}

// CloseSend ends the message well: EOF follows its last octet.
func (o *Outbound) CloseSend() error {
	c := o.c
	c.mu.Lock()
	if o.ended || o.aborted || o.eof {
		defer c.mu.Unlock()
		if o.eof && !o.aborted && o.err == nil {
			return nil
		}
		return o.endErrLocked()
	}
	o.eof = true
	o.ungatherLocked()
	c.scheduleLocked(o)
	c.mu.Unlock()
	c.pump(callerRounds)
	return nil
}

// Abort ends the message with TXERR and text. Octets not yet taken are dropped. A
// message with a Preparer whose HEADER was not written yet leaves without a trace;
// one without is a reply that somebody waits for, and its HEADER still goes out.
// Aborting a message that has ended does nothing.
func (o *Outbound) Abort(text string) {
	c := o.c
	c.mu.Lock()
	if o.ended || o.aborted {
		c.mu.Unlock()
		return
	}
	o.aborted, o.abortText, o.data, o.small = true, abortText(text), nil, nil
	switch {
	case o.started:
		c.scheduleLocked(o)
		o.wakeLocked()
	case o.prepare == nil && o.in != nil:
		o.wakeLocked()
	default:
		o.leave()
		o.finishLocked(ErrAborted)
	}
	c.mu.Unlock()
	c.pump(callerRounds)
}

const maxAbortText = 1024 // octets

// abortText makes text one that every peer takes: UTF-8, short, and neither empty
// nor "0" (PROTOCOL 2.4, 4.1).
func abortText(text string) string {
	if len(text) > maxAbortText {
		text = text[:maxAbortText]
		for i := 0; i < utf8.UTFMax && !utf8.ValidString(text); i++ {
			text = text[:len(text)-1] // the cut went through a character
		}
	}
	if text = strings.ToValidUTF8(text, "\uFFFD"); text == "" || text == "0" {
		return "aborted"
	}
	return text
}
