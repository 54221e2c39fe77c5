package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/scampbus/scamp-go/discovery"
)

// TestScripts runs the command as people type it: arguments and input in, output and
// exit code out, daemons as processes of their own. The scripts are in testdata/script;
// each has a multicast port of its own in $PORT.
func TestScripts(t *testing.T) {
	fixtures, err := filepath.Abs("../../fixtures")
	if err != nil {
		t.Fatal(err)
	}
	testscript.RunT(scanned{t}, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("FIXTURES", fixtures)
			env.Setenv("PORT", strconv.Itoa(20000+rand.IntN(40000)))
			env.Setenv("GOCOVERDIR", os.Getenv("GOCOVERDIR"))
			env.Setenv("GORACE", noExitSleep)
			env.Setenv("STALL", "14") // seconds; longer than an instance lives unheard
			if os.Getenv("SCAMP_TEST_LONG") != "" {
				env.Setenv("STALL", "30")
			}
			env.Values[processes{}] = make(map[string]*process)
			inner := env.T().(scanned).T
			env.Defer(func() { findTicketsOfDaemons(inner, env.WorkDir) })
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "netns":
			case "users":
				err := exec.Command("setpriv", "--reuid", "65534", "--clear-groups", "true").Run()
				if err != nil {
					t.Logf("SKIPPED: cannot be another user here: %v", err)
				}
				return err == nil, nil
			default:
				return false, fmt.Errorf("unknown condition %q", name)
			}
			err := exec.Command("unshare", "-n", "true").Run()
			if err != nil {
				t.Logf("SKIPPED in part: no network namespaces here: %v", err)
			}
			return err == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit":     scriptExit,
			"until":    scriptUntil,
			"json":     scriptJSON,
			"append":   scriptAppend,
			"empty":    scriptEmpty,
			"start":    scriptStart,
			"await":    scriptAwait,
			"field":    scriptField,
			"signal":   scriptSignal,
			"ended":    scriptEnded,
			"datagram": scriptDatagram,
		},
	})
}

// noExitSleep spares a process that the race detector watches the second it would
// sleep before it exits.
const noExitSleep = "atexit_sleep_ms=0"

// exitCode is the exit code of a command that was run.
func exitCode(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Fatalf("%v", err)
	return -1
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

// scriptExit is "exit CODE COMMAND...": the command ends with that code.
func scriptExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE COMMAND...")
	}
	if got, want := exitCode(ts, ts.Exec(args[1], args[2:]...)), number(ts, args[0]); got != want {
		ts.Fatalf("exit code of %q: %d, want %d", args[1:], got, want)
	}
}

// scriptUntil is "until SECONDS CODE COMMAND...": the command is run again and again
// until it ends with that code, for so long at most. SECONDS may be "11.5+NAME": a
// daemon of that name lets nobody expire while it could not listen, so what its log
// says of that is added.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: until SECONDS[+NAME] CODE COMMAND...")
	}
	text, daemon, _ := strings.Cut(args[0], "+")
	seconds, err := strconv.ParseFloat(text, 64)
	ts.Check(err)
	began := time.Now()
	for {
		got := exitCode(ts, ts.Exec(args[2], args[3:]...))
		if got == number(ts, args[1]) {
			return
		}
		if took := time.Since(began); took.Seconds() > seconds+stoodStill(ts, daemon) {
			ts.Fatalf("exit code of %q: still %d after %v, want %s", args[2:], got, took, args[1])
		}
		<-time.After(50 * time.Millisecond) // others want the processor too
	}
}

// stoodStill is for how many seconds a daemon was kept from running, by its own log.
func stoodStill(ts *testscript.TestScript, name string) (seconds float64) {
	if name == "" {
		return 0
	}
	text, err := os.ReadFile(strings.TrimSuffix(processNamed(ts, name).out, ".out") + ".err")
	ts.Check(err)
	for line := range strings.Lines(string(text)) {
		var entry struct {
			Message string
			For     float64 // milliseconds
		}
		if json.Unmarshal([]byte(line), &entry) == nil && strings.Contains(entry.Message, "stood still") {
			seconds += entry.For / 1000
		}
	}
	return seconds
}

// scriptJSON is "json PATH WANT": the first line of stdout is an object, and the value
// at PATH, names and numbers joined by dots, prints as WANT. With ! it has no such value.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg && len(args) != 1 || !neg && len(args) != 2 {
		ts.Fatalf("usage: json PATH WANT, or ! json PATH")
	}
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	got, ok := lookUp(ts, line, args[0])
	switch {
	case neg && ok:
		ts.Fatalf("%s in %s: %v, want none", args[0], line, got)
	case !neg && !ok:
		ts.Fatalf("%s in %s: none, want %q", args[0], line, args[1])
	case !neg && fmt.Sprint(got) != args[1]:
		ts.Fatalf("%s in %s: %v, want %q", args[0], line, got, args[1])
	}
}

// lookUp returns the value at a path in JSON.
func lookUp(ts *testscript.TestScript, text, path string) (any, bool) {
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("%q: %v", text, err)
	}
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[name]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// scriptAppend is "append FILE TEXT": the text becomes the last line of the file.
func scriptAppend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: append FILE TEXT")
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	ts.Check(err)
	_, err = f.WriteString(args[1] + "\n")
	ts.Check(errors.Join(err, f.Close()))
}

// scriptEmpty is "empty DIR": there is nothing in it.
func scriptEmpty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: empty DIR")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	if !errors.Is(err, os.ErrNotExist) {
		ts.Check(err)
	}
	if len(entries) > 0 {
		ts.Fatalf("%s: holds %v, want nothing", args[0], entries)
	}
}

// processes is the key of the processes that a script started, by name.
type processes struct{}

// A process was started by a script. Its stdout and stderr are files, NAME.out and
// NAME.err.
type process struct {
	cmd  *exec.Cmd
	out  string
	done chan struct{}
	err  error // of Wait; set before done is closed
}

func processNamed(ts *testscript.TestScript, name string) *process {
	p := ts.Value(processes{}).(map[string]*process)[name]
	if p == nil {
		ts.Fatalf("no process %q was started", name)
	}
	return p
}

// scriptStart is "start NAME COMMAND...": the command runs until it ends, or until the
// script does.
func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME COMMAND...")
	}
	path := args[1]
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(filepath.ListSeparator)) {
		if _, err := os.Stat(filepath.Join(dir, args[1])); err == nil {
			path = filepath.Join(dir, args[1])
			break
		}
	}
	p := &process{cmd: exec.Command(path, args[2:]...), out: ts.MkAbs(args[0] + ".out"), done: make(chan struct{})}
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR"), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"), "GORACE=" + noExitSleep}
	out, err := os.Create(p.out)
	ts.Check(err)
	errs, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	p.cmd.Stdout, p.cmd.Stderr = out, errs
	ts.Check(p.cmd.Start())
	ts.Value(processes{}).(map[string]*process)[args[0]] = p
	go func() { // ends with the process
		p.err = p.cmd.Wait()
		out.Close()
		errs.Close()
		close(p.done)
	}()
	ts.Defer(func() {
		p.cmd.Process.Kill()
		<-p.done
		if text, err := os.ReadFile(ts.MkAbs(args[0] + ".err")); err == nil && len(text) > 0 {
			ts.Logf("[stderr of %s]\n%s", args[0], text)
		}
	})
}

// scriptAwait is "await NAME TEXT": the stdout of a process comes to hold the text.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await NAME TEXT")
	}
	p := processNamed(ts, args[0])
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	limit := time.After(time.Minute)
	for ended := false; ; {
		text, err := os.ReadFile(p.out)
		ts.Check(err)
		if bytes.Contains(text, []byte(args[1])) {
			return
		}
		if ended {
			ts.Fatalf("%s has ended (%v) and printed %q, want %q", args[0], p.err, text, args[1])
		}
		select {
		case <-look.C:
		case <-p.done:
			ended = true
		case <-limit:
			ts.Fatalf("%s printed %q, want %q", args[0], text, args[1])
		}
	}
}

// scriptField is "field VARIABLE NAME PATH": a variable gets a value of the first line
// of JSON that a process printed.
func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field VARIABLE NAME PATH")
	}
	text, err := os.ReadFile(processNamed(ts, args[1]).out)
	ts.Check(err)
	line, _, _ := strings.Cut(string(text), "\n")
	v, ok := lookUp(ts, line, args[2])
	if !ok {
		ts.Fatalf("%s in %s: none", args[2], line)
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// scriptSignal is "signal NAME SIGNAL".
func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "HUP": syscall.SIGHUP}
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME TERM|INT|KILL|STOP|CONT|HUP")
	}
	ts.Check(processNamed(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// scriptEnded is "ended NAME CODE": the process ends with that code; -1 is a signal.
func scriptEnded(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ended NAME CODE")
	}
	p := processNamed(ts, args[0])
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		ts.Fatalf("%s has not ended", args[0])
	}
	if got := exitCode(ts, p.err); got != number(ts, args[1]) {
		ts.Fatalf("exit code of %s: %d, want %s", args[0], got, args[1])
	}
}

// scriptDatagram is "datagram TEXT": the text is sent to the multicast group of the
// script, on loopback.
func scriptDatagram(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: datagram TEXT")
	}
	lo := discovery.Iface{Addr: netip.MustParseAddr("127.0.0.1")}
	m, err := discovery.NewMulticast(discovery.MulticastOptions{Port: number(ts, ts.Getenv("PORT")), Ifaces: []discovery.Iface{lo}})
	ts.Check(err)
	ts.Check(errors.Join(m.Send(context.Background(), lo, []byte(args[0])), m.Close()))
}
