package command

import "github.com/spf13/cobra"

// exitCodesTopic is what scamp help exit-codes says: a command that cannot be run is a
// topic of help.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit code of a command says, and what to do about it",
		Long: `A command ends with one of these codes, also with --json. They never change.

  0  ok
  1  failure       anything that has no code of its own; the text says what
  2  usage         wrong arguments or flags: see scamp COMMAND --help
  3  not found     nobody offers the action, or there is no such instance: scamp list actions --all
                   shows what there is and what no rule allows
  4  denied        no rule lets an instance offer the action (change authorized_services, or
                   scamp provision NAME SECTOR), or the service refused the caller (a ticket?)
  5  timeout       no answer in time: it may have run; --timeout and rpc.timeout say how long
  6  transport     no connection, another certificate than the announced one, or the
                   connection was lost; the text says whether the request may have run
  7  answered      the action ran and answered with an error, which is on stderr
  8  stale         the discovery cache is missing, old, closed to this user or no cache file:
                   is scamp cache running, with the same discovery.cache_path? Or watch has no
                   rules to judge by
  9  findings      a check (conform, audit, watch, ...) found something

A second Ctrl-C ends a command at once, with 1.`,
	}
}
