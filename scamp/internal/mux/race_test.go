//go:build race

package mux_test

// race says that the race detector slows everything down.
const race = true
