package mux

import "sync"

// Buffers of packets on their way out, and chunks of bodies on their way in.
// These are plain octets, so the pools may be shared by all connections.

const batchSize = 64 << 10 // octets of packets written to TLS at a time

var batches = sync.Pool{New: func() any { b := make([]byte, 0, batchSize+40<<10); return &b }}

// getBuffer returns an empty slice with room for a batch.
func getBuffer() []byte { return (*batches.Get().(*[]byte))[:0] }

// putBuffer takes back a slice of getBuffer. It may have grown; one that holds
// several batches is left to the garbage collector.
func putBuffer(b []byte) {
	if cap(b) <= 4*batchSize && cap(b) >= batchSize {
		batches.Put(&b)
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

func putChunk(c *chunk) {
	c.r, c.w, c.next = 0, 0, nil
	for i, size := range chunkSizes {
		if len(c.buf) == size {
			chunkPools[i].Put(c)
			return
		}
	}
}
