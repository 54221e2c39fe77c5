// Package bench measures RPC systems side by side. An adapter plugs one system in;
// the harness drives every adapter through the same cells and compares each with
// limit-tls, the practical limit of one TLS connection, in the same minute:
//
//	drive ─► pass: limit-tls, the peers, limit-tls again ─► Rows ─► Summary ─► tables, lines
//	           │ for each: two fresh processes of this binary
//	           ├─► serve:  Adapter.Serve ◄────── requests ──────┐
//	           │             └ counters ◄── probe ──┐           │
//	           └─► client: runner ──────────────────┴── Adapter.Connect
//	                         └► Result, on descriptor 3
//
// What always holds:
//
//  1. A ratio divides by the limit of the same pass, never by that of another.
//  2. Every reply is compared with its request; one that belongs to another request
//     is counted and shown, not timed away.
//  3. Every loop is bounded in time and count, and a cell that hangs is killed.
//  4. All traffic stays on 127.0.0.1.
package bench
