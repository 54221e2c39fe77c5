//go:build linux && failpoint

package main

// failpoints says whether a cache manager can die at a failpoint.
const failpoints = true
