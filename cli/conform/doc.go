// Package conform judges a SCAMP service from outside: it sends octets over TLS and
// looks at what comes back. It knows nothing of how the service is made and shares no
// code with it but package packet, which reads and writes the octets.
//
//	Case ──Run──> Probe ──octets──> service
//	  │             │ <──packets──────┘
//	  └── Result <──┘ verdict, octets sent, what was expected, what came
//
// A Case is one sentence of PROTOCOL.md: its number, why it matters, and a function
// that tries it on a connection of its own. Run tries many and returns a Card. What
// all cases together saw the service write is judged by cases that run last.
//
// The service needs one action that returns the body of a request unchanged; the
// command serve offers it as built-in "echo".
//
// What always holds:
//
//  1. A case has connections of its own; it leaves none behind.
//  2. No packet is sent before the certificate of the service was compared, where one
//     to compare with was given.
//  3. Nothing that is known to crash an honest peer is sent without Options.Hostile.
//  4. A verdict is about what came, never about how fast, within Options.Timeout.
//  5. What is kept of a service's octets is bounded, whatever it sends.
//  6. After each case that the service met badly, and each hostile one, a further
//     connection must be served; a service that is gone ends the run.
package conform
