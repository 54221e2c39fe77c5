// The scamp command under a directory of its name, so that go install makes a
// binary that is called scamp. The command itself is package command.
package main

import (
	"os"

	"github.com/scampbus/scamp-go/cli/command"
)

func main() { os.Exit(command.Main()) }
