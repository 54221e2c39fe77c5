// Package scamptest is for tests of programs that call and serve: a fake caller for unit
// tests, and a whole bus in memory for all others.
//
// What only calls is tested with a Caller, which answers as it was told and remembers
// what it was asked:
//
//	fake := new(scamptest.Caller)
//	fake.Reply("Stock.left", 3)
//	fake.Fail("Mail.send", scamp.ErrLost)
//
// What serves is tested on a Network: real certificates, real TLS and the real
// multiplexer over pipes, announcements on a segment that exists only in the process.
// Nothing touches the network or the disk, and everything ends with the test.
//
//	net := scamptest.New(t)
//	net.Serve("greeter", func(s *scamp.Service) { scamp.HandleJSON(s, "Greeter.hello", hello, nil) })
//	out, err := scamp.Call[string](ctx, net.Bus(nil), "Greeter.hello", "world")
//
// Nobody needs to wait for a service before calling it. Await waits until a bus has heard
// of all instances of an action, or that all have gone.
//
// What goes wrong in networks goes wrong here when the test says so:
//
//	Kill, Restart      a crash, and what a supervisor does then
//	Pause              SIGSTOP, and SIGCONT
//	Cut                every connection to a service is reset
//	Disturb            its connections are slow, stall, or break at an octet: see Line
//	Partition          two buses do not reach each other
//	Segment().Disturb  announcements are lost or late
//	Clock              a bus has the wrong time
//	Service.Stop       an orderly end; Suspend and Resume are those of scamp.Service
//
// Handlers must end with their context, as in a program that is to stop: a test that leaves
// one behind fails, and is told which.
//
// All of it works inside testing/synctest bubbles, where time is synthetic: an interval
// of five seconds passes at once, and a call that takes a second takes exactly that.
//
//	func TestShopWithoutStock(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			net := scamptest.New(t)
//			stock := net.Serve("stock", registerStock)
//			resume := net.Pause(stock)
//			time.AfterFunc(30*time.Second, resume) // no test waits for that
//			…
//		})
//	}
//
// Chance is repeatable: Network.Seed begins it, and what is done in the same order then
// has the same end, at the same nanosecond. What a test does at one instant from two
// goroutines has no order; times that differ by one nanosecond have.
package scamptest
