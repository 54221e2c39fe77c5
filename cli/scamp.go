// The scamp command; go run cli/scamp.go works. The command itself is package
// command.
package main

import (
	"os"

	"github.com/scampbus/scamp-go/cli/command"
)

func main() { os.Exit(command.Main()) }
