package packet

import "sync"

// Sizes of the buffers of a Reader, in octets. Each is a little more than the
// round number, so that a body of the round number fits with its line and
// trailer: a DATA chunk, the largest HEADER, the largest packet.
const (
	sizeIdle  = 512 // inside the Reader: all that an idle connection holds
	sizeSmall = 4 << 10
	sizeChunk = 18 << 10
	sizeLarge = 72 << 10
	sizeFull  = 136 << 10
)

// Pools of plain bytes: nobody's state, so they may be shared by all.
var (
	smallPool = sync.Pool{New: func() any { return new([sizeSmall]byte) }}
	chunkPool = sync.Pool{New: func() any { return new([sizeChunk]byte) }}
	largePool = sync.Pool{New: func() any { return new([sizeLarge]byte) }}
	fullPool  = sync.Pool{New: func() any { return new([sizeFull]byte) }}
)

// largerBuffer returns a buffer one step larger than size. Above the largest
// packet of the default limits the steps double and are not pooled.
func largerBuffer(size int) []byte {
	switch {
	case size < sizeSmall:
		return smallPool.Get().(*[sizeSmall]byte)[:]
	case size < sizeChunk:
		return chunkPool.Get().(*[sizeChunk]byte)[:]
	case size < sizeLarge:
		return largePool.Get().(*[sizeLarge]byte)[:]
	case size < sizeFull:
		return fullPool.Get().(*[sizeFull]byte)[:]
	}
	return make([]byte, 2*size)
}

// recycle gives back a buffer that nobody looks at any more.
func recycle(b []byte) {
	switch len(b) {
	case sizeSmall:
		smallPool.Put((*[sizeSmall]byte)(b))
	case sizeChunk:
		chunkPool.Put((*[sizeChunk]byte)(b))
	case sizeLarge:
		largePool.Put((*[sizeLarge]byte)(b))
	case sizeFull:
		fullPool.Put((*[sizeFull]byte)(b))
	}
}
