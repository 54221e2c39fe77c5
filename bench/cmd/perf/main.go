// Command perf runs the RPC benchmark harness with the built-in peers.
package main

import (
	"github.com/scampbus/scamp-go/bench"
	"github.com/scampbus/scamp-go/bench/peers/all"
)

func main() {
	all.Register()
	bench.Main()
}
