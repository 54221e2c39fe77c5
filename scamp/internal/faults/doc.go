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
// How to add a row: an entry in the slice of its file (rows_KIND.go: one var of type []row,
// named in func rows), with a function that opens the stage, loads it, and judges:
//
//		func runExample(ctx context.Context, s *stage) error {
//			if err := s.open(ctx, layout{proxied: true}); err != nil { // processes are up and know each other
//				return err
//			}
//			var acts []act // what is done, and when after the load began
//			victims := s.rand("victims")
//			for at := range every(s.seconds, 3*time.Second) {
//				i := victims.IntN(3)
//				acts = append(acts, act{at, fmt.Sprintf("kill %s", serviceName(i)), func(ctx context.Context) error {
//					return errors.Join(s.services[i].kill(), s.startService(ctx, i))
//				}})
//			}
//			if err := s.load(ctx, acts); err != nil { // returns when every call has ended
//				return err
//			}
//			s.atLeast("kills", float64(len(acts)), 3) // a figure with a bound: beyond it the row fails
//			return nil
//		}
//
//	  - Only the plan is random: what an act does is drawn before the load, not in it.
//	  - Afterwards the frame drains all processes (rule 8), ends them, joins the ledgers and
//	    applies rules 1 to 9 with row.minOK. An error fails the row; skip("why") skips it.
//	  - s.services[i], s.clients[i] and s.cache are children: signal, kill, stop, stats, ask
//	    (an order to the role), directory (what its directory told of instances). startService,
//	    startClient and startCache start one anew. What more a child must do is another order
//	    of its role, or a role of its own (roles).
//	  - s.calls() is all calls that were made, with how they ended and how long they took; it
//	    may be asked during the load too. s.within is a bound on a time, which the race
//	    detector suspends.
//	  - s.base is the figures of F1 of the same run, nil if F1 did not run: rows that THREATS
//	    compares with a quiet bus look there, or load twice (loads).
//	  - Tests play a row with -scale and -rate: TestRows shows how.
//
// Nothing stays behind: children die with the stage, everything is in one temporary
// directory, multicast goes over loopback on a port of the run's own.
package main
