package scamp

import (
	"maps"
	"sync/atomic"

	"github.com/scampbus/scamp-go/packet"
)

// A dialect is whether a service is one of the original Go implementation, as far as
// its replies have shown (PROTOCOL 3.4). The connections to one target share one, also one
// after the other. Safe for concurrent use.
type dialect struct{ shown atomic.Int32 }

// What a dialect has shown.
const (
	shownNothing int32 = iota
	shownOriginal
	shownOther
)

// original says whether requests must go out as the original Go implementation needs
// them. What is assumed counts until a reply has come.
func (d *dialect) original(assumed bool) bool {
	switch d.shown.Load() {
	case shownOriginal:
		return true
	case shownOther:
		return false
	}
	return assumed
}

func (d *dialect) show(original bool) {
	if original {
		d.shown.Store(shownOriginal)
	} else {
		d.shown.Store(shownOther)
	}
}

// original says what is assumed of the instance before it has replied: what it
// announced, and the worst of one that nobody announced.
func (a *attempt) original() bool { return a.route.GoDialect || a.route.Ident == "" }

// original says whether requests to the instance of what must go out as the original Go
// implementation needs them.
func (pl *pool) original(what attempt, id Identity) bool {
	assumed := what.original()
	pin, err := id.pin()
	if err != nil {
		return assumed
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if d := pl.dialects[target{addr: what.route.Address, pin: pin, local: what.local}]; d != nil {
		return d.original(assumed)
	}
	return assumed
}

// maxDialects is how many targets without a connection are remembered for what they
// have shown. It is none of Limits: nothing is refused, and the first reply of one that was
// forgotten shows it again.
const maxDialects = 1024

// dialectLocked returns the dialect of a shared target. What it has shown outlives its
// connection: else every stream to one that nobody announced would have to dial. The
// first reply of the next connection corrects it, as any assumption.
func (pl *pool) dialectLocked(key target) *dialect {
	if d := pl.dialects[key]; d != nil {
		return d
	}
	if key.local != nil {
		return new(dialect) // it is one of ours, and not to be kept when it has ended
	}
	if len(pl.dialects) >= maxDialects {
		maps.DeleteFunc(pl.dialects, func(old target, _ *dialect) bool { return pl.entries[old] == nil })
	}
	d := new(dialect)
	pl.dialects[key] = d
	return d
}

// meet takes the first reply of a connection, which corrects what was assumed. It is
// false if no reply of this connection can be told from another: the original Go
// implementation numbers them as requests are completed. The reader's goroutine runs it.
func (p *peer) meet(h *packet.Header) bool {
	original := h.GoDialect()
	p.dialect.show(original)
	if !original || p.alone {
		return true
	}
	switch open, inOrder := p.conn.Ends(); {
	case !inOrder || open > 1:
		return false
	case open == 1:
		p.retire() // a later request must not end before that one
	}
	return true
}
