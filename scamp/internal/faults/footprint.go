//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A footprint is what a process holds, and what it has used since it began.
type footprint struct {
	anonymous   int64 // octets of resident memory that are in no file
	cpu         time.Duration
	descriptors int
}

// clockTick is USER_HZ, the unit of times in /proc.
const clockTick = time.Second / 100

// footprintOf asks the system what a process uses.
func footprintOf(pid int) (footprint, error) {
	var f footprint
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return f, err
	}
	if f.cpu, err = cpuOf(stat); err != nil {
		return f, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return f, err
	}
	if f.anonymous, err = anonymousOf(status); err != nil {
		return f, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	f.descriptors = len(files)
	return f, err
}

// cpuOf reads the times in user mode and in the system from /proc/PID/stat. The name of
// the program is in parentheses, and may hold blanks.
func cpuOf(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("faults: /proc/PID/stat of %d octets: want 13 fields behind the name", len(stat))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("faults: /proc/PID/stat: time in user mode: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("faults: /proc/PID/stat: time in the system: %w", err)
	}
	return time.Duration(user+system) * clockTick, nil
}

// anonymousOf reads RssAnon from /proc/PID/status.
func anonymousOf(status []byte) (int64, error) {
	for line := range strings.Lines(string(status)) {
		text, ok := strings.CutPrefix(line, "RssAnon:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("faults: /proc/PID/status: RssAnon: %w", err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("faults: /proc/PID/status: no RssAnon: want Linux 4.5 or later")
}
