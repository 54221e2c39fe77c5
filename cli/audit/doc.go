// Package audit judges what a bus is made of: its configuration, the rules of
// authorized_services, certificates and keys, and who announces what. It reads no
// file and asks no network: whoever calls Run has read everything before.
//
//	files, announcements ──> Input ──Run──> Report ──WriteText──> people
//	                                          │  ├──Records─────> programs
//	                                          │  └──WriteSARIF──> code scanners
//	                                          └──Worst──> exit code
//
// A Finding is one thing that is not as it should be: a stable id (see Kinds), how
// bad it is, where it is, what is wrong in words, and what to do. The commands audit
// and check are two Inputs for one Run.
//
// What always holds:
//
//  1. Run depends on its Input alone: equal Inputs give equal Reports.
//  2. An id means the same in every version; Kinds is the whole list, and
//     docs/audit.md explains each.
//  3. Nothing is found that is not in the Input: what was not read is not judged, so a
//     rule counts as unused only where it is known what is announced.
//  4. No text of a Report holds anything that a terminal obeys, and none a private key.
//  5. A line that is advised does what it is advised for.
package audit
