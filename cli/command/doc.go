// Package command is the scamp command: where people meet the bus.
//
//	arguments ─ translate ─ cobra ─ one file a command ─┬─ data → stdout
//	  old spellings ──┘                                 ├─ talk → stderr
//	                                                    └─ error ─ ExitCode → the shell
//
// What always holds:
//
//  1. Data goes to stdout and talk to stderr, so that a pipe gets data alone.
//  2. The exit code says what kind of failure it was; ExitCode is the one place
//     where errors become codes.
//  3. With --json every line on stdout is one JSON object with fields that stay.
//  4. Text from the network is escaped before it reaches a terminal: table cells and
//     messages by clean, everything else by safeWriter (THREATS X1).
//  5. Nothing here is given a secret as an argument: keys and tickets are files.
//  6. The first SIGINT or SIGTERM ends a command in an orderly way, the second at once.
package command
