//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// This test is inside the package because a program exports nothing.

func TestFootprintOfThisProcess(t *testing.T) {
	before, err := footprintOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held := make([]byte, 32<<20)
	for i := range held {
		held[i] = byte(i) // touched, so that it is resident
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := 0
	for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
		for _, b := range held {
			sum += int(b)
		}
	}
	after, err := footprintOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.anonymous < before.anonymous+16<<20 || after.cpu <= before.cpu || after.descriptors <= before.descriptors || sum == 0 {
		t.Errorf("footprint %+v, then %+v: want 32 MiB, some time and a descriptor more", before, after)
	}
}

func TestFootprintRefuses(t *testing.T) {
	long := "1 (a) b) R" + strings.Repeat(" 7", 20)
	if got, err := cpuOf([]byte(long)); err != nil || got != 14*clockTick {
		t.Errorf("cpuOf(%q) = %v, %v; want %v", long, got, err, 14*clockTick)
	}
	for _, stat := range []string{"", "1 (a) R", strings.Replace(long, " 7", " x", 20)} {
		if got, err := cpuOf([]byte(stat)); err == nil {
			t.Errorf("cpuOf(%q) = %v: want an error", stat, got)
		}
	}
	for _, status := range []string{"", "RssAnon:\tmany kB\n"} {
		if got, err := anonymousOf([]byte(status)); err == nil {
			t.Errorf("anonymousOf(%q) = %v: want an error", status, got)
		}
	}
}
