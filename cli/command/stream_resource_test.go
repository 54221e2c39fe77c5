//go:build resource && linux

package command_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Does a body of 256 MiB pass through call and serve in memory that does not grow with
// it? Both are processes of their own, so that their memory is all that is measured.
func TestStreamsInConstantMemory(t *testing.T) {
	const (
		small, big = 8 << 20, 256 << 20
		most       = 16 << 10 // KiB that the big one may take more than the small one
	)
	dir := t.TempDir()
	config := filepath.Join(dir, "soa.conf")
	run(t, "init", "--dir", dir, "--port", fmt.Sprint(20000+mathrand.IntN(40000)))
	run(t, "--config", config, "provision", "hello", "main")
	serve := self("--config", config, "serve", "hello", "--class", "Hello", "--builtin", "echo", "--json")
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		serve.Process.Kill()
		serve.Wait()
	}()
	var ready struct{ Address string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &ready) != nil {
		t.Fatalf("serve printed %q, %v, want an address", line, err)
	}
	echo := func(size int64) (callKiB, serveKiB int64) {
		call := self("call", "Hello.echo", "--connect", ready.Address, "--cert", filepath.Join(dir, "services", "hello.crt"))
		call.Stdin = io.LimitReader(rand.Reader, size)
		var got counter
		call.Stdout, call.Stderr = &got, os.Stderr
		if err := call.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { // ends with the call
			err = call.Wait()
			close(done)
		}()
		look := time.NewTicker(10 * time.Millisecond)
		defer look.Stop()
		for {
			serveKiB = max(serveKiB, rssAnon(t, serve.Process.Pid))
			select {
			case <-look.C:
				continue
			case <-done:
			}
			if err != nil || int64(got) != size {
				t.Fatalf("call with %d octets: %d came back, %v", size, got, err)
			}
			return call.ProcessState.SysUsage().(*syscall.Rusage).Maxrss, serveKiB
		}
	}
	callSmall, serveSmall := echo(small)
	callBig, serveBig := echo(big)
	t.Logf("call: %d KiB for %d MiB, %d KiB for %d MiB; serve: %d KiB, %d KiB", callSmall, small>>20, callBig, big>>20, serveSmall, serveBig)
	if callBig-callSmall > most {
		t.Errorf("call grows by %d KiB, want at most %d", callBig-callSmall, most)
	}
	if serveBig-serveSmall > most {
		t.Errorf("serve grows by %d KiB, want at most %d", serveBig-serveSmall, most)
	}
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// self is this test binary as the command.
func self(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "scamp"
	return cmd
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := self(args...).CombinedOutput(); err != nil {
		t.Fatalf("scamp %q: %v: %s", args, err, out)
	}
}

// rssAnon is the anonymous resident memory of a process, in KiB.
func rssAnon(t *testing.T, pid int) (kib int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if text, ok := strings.CutPrefix(string(line), "RssAnon:"); ok {
			fmt.Sscan(text, &kib)
		}
	}
	return kib
}
