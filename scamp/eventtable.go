package scamp

import (
	"bytes"
	"container/list"
	"encoding/json"
	"errors"
	"reflect"
	"unicode/utf8"
)

// An eventTable is what a service tells its subscribers, and what a subscription knows:
// code → key → JSON value (PROTOCOL 14). Its entries stand in the order in which they
// changed last, also those that were deleted: whoever remembers up to which change he
// was told is told the latest of each entry that changed since, and costs nothing but
// that number. The caller has the lock.
type eventTable struct {
	limits  *Limits
	entries map[eventName]*eventEntry
	order   list.List // of *eventEntry, the one that changed last at the end
	change  uint64    // the last one
	lost    uint64    // deletions up to this one are forgotten
	octets  int       // of names and values
	deleted int       // entries without a value
}

// An eventName is what an entry is found by.
type eventName struct{ code, key string }

// An eventEntry is one entry. Only its change, value and octets may change.
type eventEntry struct {
	eventName
	value  json.RawMessage // compact; nil if it was deleted
	change uint64
	at     *list.Element
}

var (
	errEventsFull = errors.New("the table of events is full")
	errBehind     = errors.New("too much was deleted meanwhile")
)

func newEventTable(limits *Limits) *eventTable {
	return &eventTable{limits: limits, entries: make(map[eventName]*eventEntry)}
}

// live is how many entries have a value.
func (t *eventTable) live() int { return len(t.entries) - t.deleted }

// set stores a value, nil for none, and says whether that changes anything. What is
// stored must not be changed any more.
func (t *eventTable) set(name eventName, value json.RawMessage) (changed bool, err error) {
	e := t.entries[name]
	var old json.RawMessage
	if e != nil {
		old = e.value
	}
	if old == nil && value == nil || old != nil && value != nil && sameJSON(old, value) {
		return false, nil
	}
	more := len(value) - len(old)
	if e == nil {
		more += len(name.code) + len(name.key)
	}
	if value != nil {
		t.forget(e, func() bool { return t.octets+more > t.limits.MaxEventOctets })
		if old == nil && t.live() >= t.limits.MaxEventEntries || t.octets+more > t.limits.MaxEventOctets {
			return false, errEventsFull
		}
	}
	t.octets += more
	switch {
	case e == nil:
		e = &eventEntry{eventName: name}
		e.at = t.order.PushBack(e)
		t.entries[name] = e
	case old == nil:
		t.deleted--
	}
	t.change++
	e.value, e.change = value, t.change
	t.order.MoveToBack(e.at)
	if value == nil {
		t.deleted++
		t.forget(nil, func() bool { return t.deleted > t.limits.MaxEventEntries })
	}
	return true, nil
}

// forget bounds the deletions that are remembered for those who were not told yet: while
// they are too many the oldest go, all but keep, and who has missed one must begin anew.
func (t *eventTable) forget(keep *eventEntry, tooMany func() bool) {
	for at := t.order.Front(); at != nil && t.deleted > 0 && tooMany(); {
		e := at.Value.(*eventEntry)
		at = at.Next()
		if e.value == nil && e != keep {
			t.lost = max(t.lost, e.change)
			t.remove(e)
		}
	}
}

// remove takes out an entry without a value.
func (t *eventTable) remove(e *eventEntry) {
	t.order.Remove(e.at)
	delete(t.entries, e.eventName)
	t.octets -= len(e.code) + len(e.key)
	t.deleted--
}

// since calls f with each entry that changed after a change, oldest first, until f
// returns false. Who has been told nothing yet, told 0, hears of no deletion.
func (t *eventTable) since(told uint64, f func(*eventEntry) bool) error {
	if told > 0 && told < t.lost {
		return errBehind
	}
	at := t.order.Back()
	for at != nil && at.Value.(*eventEntry).change > told {
		at = at.Prev()
	}
	if at == nil {
		at = t.order.Front()
	} else {
		at = at.Next()
	}
	for ; at != nil; at = at.Next() {
		if e := at.Value.(*eventEntry); (told > 0 || e.value != nil) && !f(e) {
			return nil
		}
	}
	return nil
}

// sameJSON says whether two texts of JSON mean the same.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	for _, v := range []struct {
		text json.RawMessage
		to   *any
	}{{a, &x}, {b, &y}} {
		d := json.NewDecoder(bytes.NewReader(v.text))
		d.UseNumber()
		if d.Decode(v.to) != nil {
			return false
		}
	}
	return reflect.DeepEqual(x, y)
}

// maxEventName is how long a code or key may be, octets: what MaxEventOctets bounds in sum
// needs no setting for each. Records with longer ones are ignored, and Publish refuses them.
const maxEventName = 1024

func usableEventName(s string) bool { return len(s) <= maxEventName && utf8.ValidString(s) }

// appendEvent appends one record of an event.
func appendEvent(b []byte, e *eventEntry) []byte {
	code, _ := json.Marshal(e.code) // a string can be encoded
	key, _ := json.Marshal(e.key)
	b = append(append(b, `{"code":`...), code...)
	b = append(append(b, `,"key":`...), key...)
	b = append(b, `,"value":`...)
	if e.value == nil {
		b = append(b, "null"...)
	}
	return append(append(b, e.value...), '}')
}
