// Package packet turns the bytes of a connection into packets and the body of
// a HEADER packet into a Header, and both back into bytes. It does no input or
// output but the Read calls of a Reader, starts no goroutine and keeps no time.
//
// A connection carries one stream of packets in each direction (PROTOCOL 2.1):
//
//	HEADER 0 86\r\n{"action":"Sample.echo", … ,"version":1}END\r\n
//	DATA 0 7\r\n{"a":1}END\r\n
//	EOF 0 0\r\nEND\r\n
//	 |   | |
//	 |   | length of the body in octets
//	 |   message number
//	 Kind
//
//	bytes → Reader.Next → Packet → HeaderReader.Parse → Header
//	bytes ← Packet.AppendTo ← Packet ← Header.AppendTo ← Header
//
// Whether a packet makes sense at its place (sequence, open messages, windows)
// is decided by the package that follows messages, not here.
//
// What always holds:
//
//  1. A Reader returns the same packets whatever the sizes of the reads that
//     brought their bytes.
//  2. A Reader judges a line when its line feed has arrived or MaxLine octets
//     have arrived without one, never earlier, and refuses a length over the
//     limit before it waits for the body.
//  3. A Reader holds memory for what has arrived, never for what was announced,
//     and next to none while it waits between packets.
//  4. A Reader that failed stays failed: no octet after a malformed one counts.
//  5. A header that Parse accepts means the same to every JSON reader: one
//     object in UTF-8, no member twice, none that only looks like a known one.
//  6. A Header never points into the body it was parsed from.
//  7. What Header.AppendTo writes Parse reads with the same meaning; no member
//     is null, none occurs twice.
package packet
