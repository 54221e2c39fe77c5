package mux

import "sync"

// Buffers of packets on their way out, and chunks of bodies on their way in.
// These are plain octets, so the pools may be shared by all connections.

const batchSize = 64 << 10 // octets of packets written to TLS at a time, about

// A buffer belongs to whoever got it, until that one gives it back.
type buffer struct{ b []byte }

// One message at the end of a batch may be longer than what is left of it: the
// room beside batchSize is for that, and for what TLS adds.
var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, batchSize+40<<10)} }}

// getBuffer returns an empty buffer with room for a batch.
func getBuffer() *buffer {
	b := buffers.Get().(*buffer)
	b.b = b.b[:0]
	return b
}

// putBuffer takes back a buffer. It may have grown; one that holds several
// batches is left to the garbage collector.
func putBuffer(b *buffer) {
	if cap(b.b) <= 4*batchSize {
		buffers.Put(b)
	}
}

// A chunk holds octets of a body that nobody has read yet. It belongs to one
// Inbound, under its lock.
type chunk struct {
	buf  []byte
	r, w int // unread octets are buf[r:w]
	next *chunk
}

// The sizes of chunks. A small body takes a small one, so that many messages
// with one octet each hold little.
var chunkSizes = [...]int{512, 4 << 10, 16 << 10, 32 << 10, 128 << 10}

var chunkPools [len(chunkSizes)]sync.Pool

// getChunk returns an empty chunk for at least n octets.
func getChunk(n int) *chunk {
	for i, size := range chunkSizes {
		if n > size {
			continue
		}
		if c, ok := chunkPools[i].Get().(*chunk); ok {
			return c
		}
		return &chunk{buf: make([]byte, size)}
	}
	return &chunk{buf: make([]byte, n)}
}

// putChunk takes a chunk back. One that is part of its Inbound stays there.
func putChunk(c *chunk) {
	c.r, c.w, c.next = 0, 0, nil
	for i, size := range chunkSizes {
		if len(c.buf) == size {
			chunkPools[i].Put(c)
			return
		}
	}
}
