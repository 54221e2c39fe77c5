//go:build linux && race

package main

// raced says that the race detector is at work: times mean nothing then.
const raced = true

// streamed is how long the bodies are that have no latency to speak of: the 1 % of the
// load whose calls take as long as their octets. The detector makes each last longer.
const streamed = 1 << 20
