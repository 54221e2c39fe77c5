// Package mux carries many messages at once over one connection, in both
// directions (PROTOCOL 2.4 and 4).
//
// A message is a header and a stream of octets with a good or a bad end, whatever
// its direction. Package scamp makes requests and replies of them.
//
//	Send, Write, CloseSend ─► Outbound ─► queues ─► pump ─► rw (TLS) ─► Link ─► network
//	                                        ▲ ACK                  non-blocking attempt,
//	                                        │                      then the writer goroutine
//	Read, Bytes, Discard ◄─ Inbound ◄─ reader ◄──────────── rw (TLS) ◄─ Link ◄─ network
//	                           └─► ackList ─► pump
//
// An inbound message lives through these states:
//
//	        HEADER           EOF
//	(none) --------> open ---------> done
//	                  |   TXERR, connection lost, window ignored
//	                  +------------> failed
//
// and an outbound one through these:
//
//	          HEADER written           EOF or TXERR written
//	queued -----------------> started ----------------------> ended
//	   |    aborted, lost        |        connection lost
//	   +-------------------------+--------------------------> ended
//
// A connection has two goroutines: Run's, which reads, and the writer. Whoever
// queues something writes it at once if it can be written without waiting (pump);
// the writer goroutine does what is left over.
//
// What always holds:
//
//  1. Message numbers in one direction start at 0 and rise by 1 with each HEADER.
//  2. The reader never waits for the writer, for a handler or for a limit, so two
//     peers that both send cannot jam.
//  3. Of a message never more than the window in force is unacknowledged, and what
//     lies beyond MinWindow comes from one budget per connection.
//  4. ACK counts of a message strictly rise, are never 0 and never exceed what was
//     taken; a count that was overtaken is never sent.
//  5. Before a reader of a body waits, all it took has been acknowledged or queued
//     to be; a complete message of at most half a MinWindow is never acknowledged.
//  6. No empty DATA is sent, no TXERR without text, and exactly one EOF or TXERR
//     ends each message that was started, unless the connection ends first.
//  7. ACK, PONG and HEADER overtake DATA; each stream sends one chunk a round.
//  8. No lock is held across a read or a write of the network.
//  9. A message that was not started when its sender gave up leaves no trace.
//
// 10. Every message ends once, at the latest when the connection does.
package mux
