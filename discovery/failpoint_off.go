//go:build !failpoint

package discovery

// failpoints tells whether failpoint does anything: with the build tag failpoint.
const failpoints = false

// failpoint marks a place at which tests let the process die (THREATS 3.1).
func failpoint(string) {}
