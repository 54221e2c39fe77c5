//go:build !unix

package mux

import "errors"

// canAttempt says that the writer goroutine writes everything here.
const canAttempt = false

func attempt(uintptr, []byte) (int, error) { return 0, nil }

var errAgain = errors.New("mux: nothing to read yet")

func attemptRead(uintptr, []byte) (int, error) { return 0, errAgain }
