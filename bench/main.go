package bench

import (
	"fmt"
	"os"
)

// Main is the command, with these adapters as its peers. It does not return after an
// error.
func Main(peers ...Adapter) {
	if err := run(peers, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(peers roster, args []string) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "serve": // we are the server process of a cell
		return childServe(peers, args[1:])
	case "client": // and here its client
		return childClient(peers, args[1:])
	case "list":
		for _, a := range peers {
			fmt.Printf("%-16s %s\n", a.Name(), a.Notes())
		}
		return nil
	case "report":
		r, err := readReports(args[1:])
		if err != nil {
			return err
		}
		fmt.Print(r.text())
		return nil
	}
	return drive(peers, args)
}
