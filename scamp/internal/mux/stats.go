package mux

import "sync/atomic"

// A Counter names one thing that is counted. The names are those of the table of
// limits.
type Counter int

const (
	PacketMalformed Counter = iota
	PacketTooBig
	HeaderTooBig
	HeaderMalformed
	SequenceBroken
	AckRefused
	AckRepeated
	AckFlood
	WindowWaits
	WindowViolated
	BufferedRefused
	OpenMessagesExceeded
	HandlersQueued
	WriteBlocked
	WriteStalled
	SendStalled
	PingFlood
	TinyData
	EmptyData
	ReplyLate
	ReplyUnknown
	MessageIgnored
	IdleClosed
	PeerSilent
	counters
)

var counterNames = [counters]string{
	"packet_malformed", "packet_too_big", "header_too_big", "header_malformed",
	"sequence_broken", "ack_refused", "ack_repeated", "ack_flood", "window_waits",
	"window_violated", "buffered_refused", "open_messages_exceeded",
	"handlers_queued", "write_blocked", "write_stalled", "send_stalled",
	"ping_flood", "tiny_data", "empty_data", "reply_late", "reply_unknown",
	"message_ignored", "idle_closed", "peer_silent",
}

func (c Counter) String() string { return counterNames[c] }

// Counters counts for any number of connections. The zero value is ready; safe
// for concurrent use.
type Counters struct{ n [counters]atomic.Uint64 }

// Add counts one.
func (s *Counters) Add(c Counter) { s.n[c].Add(1) }

// Count returns the value of one counter.
func (s *Counters) Count(c Counter) uint64 { return s.n[c].Load() }

// Each calls f for every counter.
func (s *Counters) Each(f func(name string, n uint64)) {
	for i := range s.n {
		f(counterNames[i], s.n[i].Load())
	}
}

// addNamed counts one for a counter of package packet, which names its own.
func (s *Counters) addNamed(name string) {
	for i, n := range counterNames {
		if n == name {
			s.n[i].Add(1)
			return
		}
	}
}
