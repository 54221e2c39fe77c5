package discovery

import (
	"fmt"
	"strconv"
)

// A vector is a run-length list of the extension object (PROTOCOL 7.4): an item
// is a value, or a pair [count, value]. It is counted and checked as a whole
// before anything is expanded, so that a bomb costs one pass (THREATS D9).
type vector struct {
	text value
	kind vectorKind
	len  int // when expanded
}

// vectorKind is what all values of a vector must be.
type vectorKind byte

const (
	ofStrings  vectorKind = '"'
	ofIntegers vectorKind = '1' // 1 or more
)

// newVector checks v and counts it. An item may stand for no value at all, so
// the items are bounded as well as their sum.
func newVector(v value, kind vectorKind, most int) (vector, error) {
	if !v.is('[') {
		return vector{}, fmt.Errorf("%s: want an array", quoted(string(v)))
	}
	sum, n := 0, 0
	for items := v.items(); items.more(); n++ {
		start := items.rest
		count, element, ok := items.run()
		if !ok || !kind.holds(element) {
			return vector{}, fmt.Errorf("item %s: want %s, or a pair of a count and that", quoted(start[:len(start)-len(items.rest)]), kind)
		}
		if count > most-sum || n == most {
			return vector{}, fmt.Errorf("more than %d values: want at most that", most)
		}
		sum += count
	}
	return vector{text: v, kind: kind, len: sum}, nil
}

// run returns the count and the value of the next item.
func (c *cursor) run() (count int, element value, ok bool) {
	if !c.enter('[') {
		element, ok = c.next()
		return 1, element, ok
	}
	first, _ := c.next()
	count, ok = first.integer()
	if ok && c.more() {
		element, _ = c.next()
		return count, element, !c.more()
	}
	return 0, "", false
}

func (k vectorKind) holds(v value) bool {
	if k == ofStrings {
		return v.is('"')
	}
	n, ok := v.integer()
	return ok && n >= 1
}

// String returns what a value must be, as an error says it.
func (k vectorKind) String() string {
	if k == ofStrings {
		return "a string"
	}
	return "a whole number from 1"
}

// A runReader yields the values of a vector one after the other.
type runReader struct {
	items   cursor
	element value
	left    int
}

func (v vector) read() runReader {
	if v.text == "" {
		return runReader{}
	}
	return runReader{items: v.text.items()}
}

// next returns the next value; a run returns the same one again. After the last
// one it returns none.
func (r *runReader) next() value {
	for r.left == 0 {
		if !r.items.more() {
			return ""
		}
		r.left, r.element, _ = r.items.run()
	}
	r.left--
	return r.element
}

// appendRuns writes values, each the text of a JSON value, as a run-length
// vector: a run of one is the bare value, a longer one a pair.
func appendRuns(b []byte, values []string) []byte {
	b = append(b, '[')
	for i := 0; i < len(values); {
		n := 1
		for i+n < len(values) && values[i+n] == values[i] {
			n++
		}
		if i > 0 {
			b = append(b, ',')
		}
		if n == 1 {
			b = append(b, values[i]...)
		} else {
			b = strconv.AppendInt(append(b, '['), int64(n), 10)
			b = append(append(b, ','), values[i]...)
			b = append(b, ']')
		}
		i += n
	}
	return append(b, ']')
}
