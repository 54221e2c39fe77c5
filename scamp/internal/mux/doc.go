// Package mux carries many messages at once over one connection, in both
// directions (PROTOCOL 2.4 and 4).
//
// A message is a header and a stream of octets with a good or a bad end, whatever
// its direction. Package scamp makes requests and replies of them.
//
//	Send ────────────► packets at once ─► made ┐
//	Write, CloseSend ─► Outbound ─► queues ────┴► pump ─► rw (TLS) ─► Link ─► network
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
//	          HEADER made              EOF or TXERR made
//	queued -----------------> started ----------------------> ended
//	   |    aborted, lost        |        connection lost
//	   +-------------------------+--------------------------> ended
//
// Who sends a message makes its packets at once, under the lock of the connection, and
// the next batch begins with them; only while the link is full, or others wait already,
// does a message wait in heads. A message that ends with its connection before its
// batch was handed to TLS has not started after all.
//
// A connection has two goroutines: Run's, which reads, and the writer, which is
// started when there is something for it and leaves at a heartbeat that finds the
// connection idle.
// Whoever queues something writes it at once if it can be written without waiting
// (pump), together with what others have queued; one goroutine does so at a time,
// and wakes the writer goroutine for what it leaves. So nothing waits in a queue
// that could be sent but for the time of one batch.
//
// Where something waits for something:
//
//	Outbound.Write   for its octets to be taken: window, turn, link      woken by pump, Abort, the end
//	Inbound.Read     for octets or an end                                woken by the reader
//	wide queue       for credit of the connection                        looked at by pump; an ACK wakes the writer
//	ready, heads     for room in the link                                the writer drains it, then pumps
//	writer           for the network, and for a signal                   closed connection, stall
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
//     to be; once a message of at most half a MinWindow is complete, no ACK of it
//     is sent any more.
//  6. No empty DATA is sent, no TXERR without text, and exactly one EOF or TXERR
//     ends each message that was started, unless the connection ends first.
//  7. ACK, PONG and HEADER overtake DATA; streams that are ready send one chunk
//     each in turn, and are not starved by what overtakes them.
//  8. No lock is held across a read or a write of the network or a callback, save
//     Prepare, which must not block.
//  9. A request that was not started when its sender gave up leaves no trace.
//  10. Every message ends once, at the latest when the connection does, and that
//     the connection ended is never taken for the end of a body.
//  11. Nobody but its owner looks at an Inbound that was whole when it was handed up,
//     nor the Conn at an Outbound that has ended: they may be used again.
package mux
