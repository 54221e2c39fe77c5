// Command perf measures RPC systems side by side; see the README of this module.
package main

import (
	"github.com/scampbus/scamp-go/bench"
	"github.com/scampbus/scamp-go/bench/peers/all"
)

func main() { bench.Main(all.Peers()...) }
