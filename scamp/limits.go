package scamp

import (
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Limits bounds what a bus may hold, wait for or be made to do. A zero or negative field
// means the default; the defaults are those that fixtures/limits.json records. Each limit
// that refuses, drops or ends something counts that in Stats.
type Limits struct {
	Packet    packet.Limits    // packets and headers
	Mux       mux.Limits       // one connection
	Discovery discovery.Limits // announcements, cache and rule files

	// Work and memory of the bus: a process with several buses, or Clients, which hold for
	// themselves, may come to as many times that.
	MaxHeld        int // octets held for all peers, a quarter of it for one peer address; zero means 256 MiB
	MaxBody        int // octets of a body collected whole, streamed ones have no limit; zero means 16 MiB
	MaxConcurrency int // handlers running; zero means 1024
	MaxQueue       int // requests waiting for a handler; zero means 4096

	// Connections.
	MaxConns         int           // accepted connections; zero means 8192
	MaxConnsPerAddr  int           // accepted connections of one peer address; zero means 1024
	MaxHandshakes    int           // accepted connections in their handshake, then none is accepted; zero means 64
	HandshakeSilence time.Duration // an accepted connection without an octet for so long gives way then; zero means 1 s
	HandshakeTimeout time.Duration // TLS and the first header line, service side; zero means 5 s
	DialTimeout      time.Duration // TCP and TLS, requester side; zero means 10 s
	MaxDials         int           // dials under way to one instance; zero means 4
	MaxBackoff       time.Duration // longest pause between probes of an instance, or dials of a Client, that fail: the first is 1 s and each doubles, and jitter of up to a quarter is added; zero means 60 s
	ServerIdle       time.Duration // an accepted connection that is not busy closes then; zero means 120 s
	ClientIdle       time.Duration // the same for one we opened, to be less than ServerIdle; zero means 90 s
	RetireTime       time.Duration // a retired connection closes at the latest then; zero means 30 s
	KeepAlive        time.Duration // interval of TCP keep-alive, 3 probes; zero means 15 s
	UserTimeout      time.Duration // TCP data unacknowledged for so long ends the connection; zero means 30 s

	// Requests.
	RPCTimeout    time.Duration // a request without progress ends then; zero means 75 s
	WorkerTimeout time.Duration // a handler starts its reply by then, unless its action has a flag tN; zero means 60 s
	AvoidTime     time.Duration // an instance that refused to dispatch is passed over so long; zero means 1 s

	// Tickets.
	MaxTicket         int           // octets of a ticket; zero means 8192
	MaxPrivileges     int           // privileges in a ticket; zero means 4096
	TicketSkew        time.Duration // how far the clock of a ticket's issuer may be off; zero means not at all
	MaxTicketFailures int           // failed ticket checks per second and connection, after which tickets that are not known yet, good ones too, have to wait for the next second; zero means 50
	TicketCache       int           // checked tickets remembered; zero means 10000

	// Events: the table of a service, and that of a subscription.
	MaxEventEntries int // entries, and as many deletions that somebody may not have been told yet; zero means 10000
	MaxEventOctets  int // octets of their names and values; zero means 4 MiB
	MaxSubscribers  int // connections subscribed to one service; zero means 1024

	// Logging.
	LogRate int // lines per second of one kind, the rest is counted; zero means 1
	LogText int // octets of a text from the network in one line; zero means 128
	// LogFirst is how many callers, for each action they ask for, have a first line of
	// their own when they are refused, or would be (CallersAudit), whatever the others have
	// made of LogRate; zero means 1024.
	LogFirst int
}

// WithDefaults returns l with every zero field set to its default, also those of
// the limits it holds.
func (l Limits) WithDefaults() Limits {
	l.Packet = l.Packet.WithDefaults()
	l.Mux = l.Mux.WithDefaults()
	l.Discovery = l.Discovery.WithDefaults()

	setLimit(&l.MaxHeld, 256<<20)
	setLimit(&l.MaxBody, 16<<20)
	setLimit(&l.MaxConcurrency, 1024)
	setLimit(&l.MaxQueue, 4096)

	setLimit(&l.MaxConns, 8192)
	setLimit(&l.MaxConnsPerAddr, 1024)
	setLimit(&l.MaxHandshakes, 64)
	setLimit(&l.HandshakeSilence, time.Second)
	setLimit(&l.HandshakeTimeout, 5*time.Second)
	setLimit(&l.DialTimeout, 10*time.Second)
	setLimit(&l.MaxDials, 4)
	setLimit(&l.MaxBackoff, 60*time.Second)
	setLimit(&l.ServerIdle, 120*time.Second)
	setLimit(&l.ClientIdle, 90*time.Second)
	setLimit(&l.RetireTime, 30*time.Second)
	setLimit(&l.KeepAlive, 15*time.Second)
	setLimit(&l.UserTimeout, 30*time.Second)

	setLimit(&l.RPCTimeout, 75*time.Second)
	setLimit(&l.WorkerTimeout, 60*time.Second)
	setLimit(&l.AvoidTime, time.Second)

	setLimit(&l.MaxTicket, 8192)
	setLimit(&l.MaxPrivileges, 4096)
	setLimit(&l.MaxTicketFailures, 50)
	setLimit(&l.TicketCache, 10000)

	setLimit(&l.MaxEventEntries, 10000)
	setLimit(&l.MaxEventOctets, 4<<20)
	setLimit(&l.MaxSubscribers, 1024)

	setLimit(&l.LogRate, 1)
	setLimit(&l.LogText, 128)
	setLimit(&l.LogFirst, 1024)
	return l
}

// setLimit sets *field to def unless it is a limit: nothing works with less than none.
func setLimit[T int | time.Duration](field *T, def T) {
	if *field <= 0 {
		*field = def
	}
	if d, ok := any(field).(*time.Duration); ok {
		*d = min(*d, mux.Forever)
	}
}

// setDefault sets *field to def if it is zero.
func setDefault[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}
