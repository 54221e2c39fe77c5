//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// This test is inside the package because a program exports nothing.

// footprintChild tells a process of this test to be the one that is measured: in this one
// whatever other tests left open may end meanwhile.
const footprintChild = "SCAMP_FAULTS_FOOTPRINT"

func TestFootprint(t *testing.T) {
	if os.Getenv(footprintChild) != "" {
		grow(t)
		return
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFootprint$")
	c.Env = append(os.Environ(), footprintChild+"=1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	var all []footprint // before, and after
	for said.Scan() && strings.HasPrefix(said.Text(), "measure ") {
		f, err := footprintOf(c.Process.Pid)
		if err != nil {
			t.Error(err)
		}
		all = append(all, f)
		fmt.Fprintln(in)
	}
	for said.Scan() { // what the test framework says at last
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the process that is measured: %v", err)
	}
	if len(all) != 2 {
		t.Fatalf("footprints %+v: want two", all)
	}
	before, after := all[0], all[1]
	if after.anonymous < before.anonymous+16<<20 || after.cpu <= before.cpu || after.descriptors != before.descriptors+1 {
		t.Errorf("footprint %+v, then %+v: want 32 MiB, some time and a descriptor more", before, after)
	}
}

// grow lets itself be measured, then again with 32 MiB, some time and a descriptor more.
func grow(t *testing.T) {
	answers := bufio.NewReader(os.Stdin)
	measure := func(which string) {
		fmt.Println("measure", which)
		if _, err := answers.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	first, err := os.Open(os.DevNull) // the runtime opens what it needs for files of its own
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	measure("before")
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
	measure("after")
	if sum == 0 {
		t.Error("the sum of 32 MiB is 0")
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
