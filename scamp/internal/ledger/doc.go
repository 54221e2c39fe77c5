// Package ledger proves for a test with faults that nothing was lost: both ends note
// what they did with each request, and Check joins the notes.
//
//	caller                              service
//	Issue   before the call             Run    before the handler runs
//	End     when the call has ended     Served after the reply was handed over
//	        \                          /
//	         records, as JSON lines if they come from several processes
//	                     |
//	                   Check → Totals, violations
//
// A Tally does the same for millions of small calls within one process, in five bits a
// call.
//
// What always holds, by the number that a Violation carries:
//
//  1. Every issued id ends once, in one outcome: issued = ok + error + not run + maybe.
//  2. A call that ended ok ran once; the request arrived and the reply came back octet
//     for octet, with the nonce of the request.
//  3. A call that failed as not run did not run.
//  4. A call that failed as maybe run ran at most once.
//  5. No call ran more than once unless it was issued as idempotent, whatever its
//     outcome: 2 and 4 allow such a call more runs.
//  6. No body that is not all of what was sent is presented as complete.
//  7. No call is open later than a second after its deadline.
//  8. What a process holds (goroutines, descriptors, tables, octets) is after the drain
//     no more than it was at the start.
//  9. As many calls as the test asks for ended ok.
package ledger
