//go:build !race

package packet_test

const race = false
