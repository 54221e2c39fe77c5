package mux

import "time"

// Limits bounds what one connection may hold or be made to do. A zero or negative
// field means the default. The defaults are those of the table of limits that
// fixtures/limits.json records.
type Limits struct {
	ChunkSize        int           // octets of one DATA packet sent, at most 131072; zero means 16384
	MaxInflight      int           // unacknowledged octets per message sent to a peer without ext, at most 65536; zero means that
	MaxWindow        int           // window announced to and used toward peers that know ext, octets; zero means 1 MiB
	MaxUnreadMessage int           // unread octets of one message of a peer known to ignore the window; zero means 1 MiB
	MaxBuffered      int           // unread octets of the connection before new requests are refused; zero means 8 MiB
	MaxOpenMessages  int           // open messages in one direction; zero means 4096
	MaxHandlers      int           // handlers running for one connection; zero means 256
	MaxWriteQueue    int           // octets waiting to be written before senders wait; zero means 1 MiB
	WriteStall       time.Duration // a write without progress for so long closes the connection; zero means 10 s
	SendStall        time.Duration // a reply without an ACK or a write progressing for so long ends; zero means 60 s
	MaxPings         int           // PINGs per second, for 10 s, before the connection is closed; zero means 10
	MaxExtraAcks     int           // ACKs of one message beyond 4 for each DATA sent; zero means 1000
	MaxTinyData      int           // DATA packets per second that may average below 16 octets; zero means 2000
	MaxEmptyData     int           // empty DATA packets of one message; zero means 100
	MaxOddities      int           // replies that make no sense, in 10 s; zero means 100
}

// WithDefaults returns l with every zero field set to its default.
func (l Limits) WithDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.ChunkSize, 16384)
	l.ChunkSize = min(l.ChunkSize, 131072) // no peer takes more (PROTOCOL 2.2)
	def(&l.MaxInflight, 65536)
	def(&l.MaxWindow, 1<<20)
	def(&l.MaxUnreadMessage, 1<<20)
	def(&l.MaxBuffered, 8<<20)
	def(&l.MaxOpenMessages, 4096)
	def(&l.MaxHandlers, 256)
	def(&l.MaxWriteQueue, 1<<20)
	def(&l.MaxPings, 10)
	def(&l.MaxExtraAcks, 1000)
	def(&l.MaxTinyData, 2000)
	def(&l.MaxEmptyData, 100)
	def(&l.MaxOddities, 100)
	if l.WriteStall <= 0 {
		l.WriteStall = 10 * time.Second
	}
	if l.SendStall <= 0 {
		l.SendStall = 60 * time.Second
	}
	l.WriteStall, l.SendStall = min(l.WriteStall, Forever), min(l.SendStall, Forever)
	return l
}

// Forever is the longest time that a limit may be: what is longer means the same, and must
// not overflow when it is added to a time.
const Forever = 100 * 365 * 24 * time.Hour
