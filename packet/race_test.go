//go:build race

package packet_test

// race says that the race detector slows everything down.
const race = true
