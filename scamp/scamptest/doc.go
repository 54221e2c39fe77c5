// Package scamptest is a whole bus in memory, for tests: real certificates, real TLS
// and the real multiplexer over pipes, announcements on a segment that exists only in
// the process. Nothing touches the network or the disk.
//
//	net := scamptest.New(t)
//	net.Serve("greeter", func(s *scamp.Service) { scamp.HandleJSON(s, "Greeter.hello", hello, nil) })
//	out, err := scamp.Call[string](ctx, net.Bus(nil), "Greeter.hello", "world")
//
// Everything ends with the test. It works inside testing/synctest bubbles, where time
// is synthetic: a five-second interval passes at once.
package scamptest
