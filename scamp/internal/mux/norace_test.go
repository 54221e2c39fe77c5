//go:build !race

package mux_test

const race = false
