//go:build linux && !race

package main

// raced says that the race detector is at work: times mean nothing then.
const raced = false

// streamed is how long the bodies are that have no latency to speak of: the 1 % of the
// load whose calls take as long as their octets.
const streamed = 8 << 20
