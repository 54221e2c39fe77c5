package mux

// A queue is a line of messages, first in, first out. It is linked through the
// messages, so that queueing allocates nothing; a message is in one queue at most.
type queue struct {
	head, tail *Outbound
	n          int
}

func (q *queue) push(o *Outbound) {
	o.in, o.prev, o.next = q, q.tail, nil
	if q.tail == nil {
		q.head = o
	} else {
		q.tail.next = o
	}
	q.tail = o
	q.n++
}

func (q *queue) pop() *Outbound {
	o := q.head
	if o != nil {
		o.leave()
	}
	return o
}

// leave takes o out of the queue it is in, if any.
func (o *Outbound) leave() {
	q := o.in
	if q == nil {
		return
	}
	if o.prev == nil {
		q.head = o.next
	} else {
		o.prev.next = o.next
	}
	if o.next == nil {
		q.tail = o.prev
	} else {
		o.next.prev = o.prev
	}
	o.in, o.prev, o.next = nil, nil, nil
	q.n--
}
