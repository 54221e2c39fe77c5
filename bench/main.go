package bench

import (
	"encoding/json"
	"fmt"
	"os"
)

// Main is the command: run (default), and the child modes serve and client.
func Main() {
	args := os.Args[1:]
	var err error
	switch {
	case len(args) > 0 && args[0] == "serve":
		err = childServe(args[1:])
	case len(args) > 0 && args[0] == "client":
		err = childClient(args[1:])
	case len(args) > 0 && args[0] == "list":
		for _, n := range order {
			fmt.Printf("%-16s %s\n", n, registry[n].Notes())
		}
	case len(args) > 0 && args[0] == "report":
		err = rerender(args[1:])
	case len(args) > 0 && args[0] == "run":
		err = drive(args[1:])
	default:
		err = drive(args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "perf:", err)
		os.Exit(1)
	}
}

// rerender prints the tables of one or more JSON reports.
func rerender(files []string) error {
	all := &Report{}
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var r Report
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if i == 0 {
			all = &r
			continue
		}
		all.Rows = append(all.Rows, r.Rows...)
		all.Rounds = max(all.Rounds, r.Rounds)
		all.Load = r.Load
	}
	all.Summary = summarize(all.Rows)
	fmt.Print(essence(all) + markdown(all))
	return nil
}
