package discovery

import (
	"bytes"
	"os"
	"strconv"
)

// reassembly asks the kernel; what it does not say is 0.
func reassembly() (r reassembled) {
	if text, err := os.ReadFile("/proc/net/snmp"); err == nil {
		r.failures = parseSNMP(text)
	}
	if text, err := os.ReadFile("/proc/net/sockstat"); err == nil {
		r.open = parseSockstat(text)
	}
	return r
}

// parseSNMP reads ReasmFails out of two lines that begin with "Ip:", one of names and
// one of values.
func parseSNMP(text []byte) uint64 {
	var names [][]byte
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != "Ip:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		return valueOf("ReasmFails", names, fields)
	}
	return 0
}

// parseSockstat reads N out of a line "FRAG: inuse N memory M".
func parseSockstat(text []byte) uint64 {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) > 2 && string(fields[0]) == "FRAG:" {
			return valueOf("inuse", fields, fields[1:])
		}
	}
	return 0
}

// valueOf returns the number that stands where its name does, 0 when there is none.
func valueOf(name string, names, values [][]byte) uint64 {
	for i := range min(len(names), len(values)) {
		if string(names[i]) == name {
			n, _ := strconv.ParseUint(string(values[i]), 10, 64)
			return n
		}
	}
	return 0
}
