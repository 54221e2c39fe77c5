//go:build linux

// Faults breaks a bus of real processes on purpose, while it is under load, and proves
// from the notes of both ends of every call that nothing was lost (THREATS 3). It runs
// on Linux alone.
//
//	stage ── child "cache"             hears announcements, writes the cache file
//	  │ ├─── child "svc1" "svc2" …     serve Load.work, note what ran   ──► ledgers
//	  │ └─── child "client1" …         make the planned calls, note ends ─► ledgers
//	  │
//	  ├ proxies below TLS, between clients and services (rows that ask for them)
//	  ├ faults: what the row does, and when
//	  └ verdict: ledger.Check over all ledgers, and the row's own figures
//
// Every random choice comes from the seed, by a stream that has a name of its own
// (stage.rand). So two runs of one seed make the same calls and do the same faults at the
// same times; the result has a hash of that plan. How real processes run is not in it.
//
// How to add a row:
//
//  1. Write a function func(ctx, *stage) error and an entry in the slice of your file
//     (rows_KIND.go: one var of type []row), and name that slice in rows (rows.go).
//  2. The function opens the stage, loads it, and judges:
//
//     func runExample(ctx context.Context, s *stage) error {
//     if err := s.open(ctx, layout{proxied: true}); err != nil { // processes are up and know each other
//     return err
//     }
//     var acts []act // what is done, and when after the load began
//     for at := range every(s.seconds, 3*time.Second) {
//     svc := s.rand("victims").IntN(3)
//     acts = append(acts, act{at, fmt.Sprintf("kill svc%d", svc+1), func(ctx context.Context) error { return s.services[svc].kill() }})
//     }
//     if err := s.load(ctx, acts); err != nil { // returns when every call has ended
//     return err
//     }
//     s.atMost("p99_ms", s.calls().small().quantile(0.99), 50) // a figure with a bound: beyond it the row fails
//     return nil
//     }
//
//     Only the plan is random: draw what an act does before the load, not in it.
//  3. After the function the frame drains all processes (rule 8), ends them, joins the
//     ledgers and applies rules 1 to 9 with row.minOK. An error of the function fails the
//     row; skip("why") skips it.
//  4. s.services[i], s.clients[i] and s.cache are children: signal, kill, stop, restart,
//     ask (an order to the role: "stats", "holds", and those of the role). Whatever more a
//     child must do is another order of its role, or a role of its own (roles).
//  5. s.base is the figures of F1 of the same run, empty if F1 did not run: rows that
//     THREATS compares with a quiet bus look there, else they load twice themselves.
//  6. s.quick says that the row is cut; s.seconds is how long to load.
//
// Nothing stays behind: children die with the stage, everything is in one temporary
// directory, multicast goes over loopback on a port of the run's own.
package main
