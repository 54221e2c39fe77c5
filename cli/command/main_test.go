package command_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/scampbus/scamp-go/cli/command"
)

// TestMain lets the test binary be the command when it is called scamp, which is how
// scripts run it, as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){
		"scamp": func() { os.Exit(command.Main()) },
	})
}

// leakFree fails a package that leaves a goroutine behind.
type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
