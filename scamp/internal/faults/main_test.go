//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// The tests look inside: a program has nothing to import.

// TestMain is a child too, when a stage starts this binary as one.
func TestMain(m *testing.M) {
	if name, ok := childRole(os.Args); ok {
		os.Exit(beChild(name))
	}
	goleak.VerifyTestMain(m)
}

// play runs rows as a user does, and returns the exit code, the results and all that was
// printed.
func play(t *testing.T, args ...string) (int, []result, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "results")
	var out bytes.Buffer
	code := command(append(args, "-json", path), &out, &out)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var all []result
	for line := range strings.Lines(string(text)) {
		var r result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, r)
	}
	return code, all, out.String()
}

// A quiet bus passes, and one whose connections are reset; the calls are as many as were
// planned, and nothing is left behind.
func TestRows(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	code, all, out := play(t, "-rows", "F1,F6", "-quick", "-scale", "0.25", "-rate", "0.2", "-seed", "7")
	if code != 0 || len(all) != 2 || all[0].Verdict != pass || all[1].Verdict != pass {
		t.Fatalf("exit code %d, want 0 and two passes\n%s", code, out)
	}
	r := all[0]
	if r.Issued < 100 || r.OK+r.Cancelled != r.Issued || r.Runs < r.OK || r.Lost+r.Twice != 0 {
		t.Errorf("%+v, want all of at least 100 calls ok but for some that were given up", r)
	}
	if want := 120; r.Issued != want {
		t.Errorf("%d calls in 3 s of 40 a second, want %d", r.Issued, want)
	}
	if all[1].Plan == r.Plan || all[1].Figures["connections"] == 0 {
		t.Errorf("%+v beside %+v: want another plan, and connections", all[1], r)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-list"}, 0, "F1 "},
		{[]string{"-rows", "F1,F99"}, 2, `row "F99"`},
		{[]string{"-scale", "0"}, 2, "scale 0"},
		{[]string{"-rows", "F1,F8", "-quick", "-scale", "0.3"}, 2, "row F8 in 3.6s: want 6 s at least"},
		{[]string{"-rows", "F24", "-scale", "0.08"}, 2, "row F24 in 4.8s: want 12 s at least"},
		{[]string{"-rows", "F12,F14,F15,F16", "-quick", "-scale", "0.9"}, 2, "row F14 in 18s: want 20 s at least"},
		{[]string{"-rows", "soak", "-scale", "0.013"}, 2, "row soak in 7.41s: want 20 s at least"},
		{[]string{"F1"}, 2, `arguments ["F1"`},
		{[]string{"-nonsense"}, 2, "nonsense"},
		{[]string{"-help"}, 0, "Faults breaks"},
	} {
		if code, _, out := play(t, tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%q: exit code %d and %q, want %d and %q", tt.args, code, out, tt.code, tt.want)
		}
	}
}

// Every row has an id of its own, and what it needs.
func TestRowsAreComplete(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rows() {
		if seen[r.id] || r.id == "" || r.fault == "" || r.run == nil || r.minOK < 0 || r.minOK > 1 {
			t.Errorf("row %+v: want an id of its own, a fault, a function and a share of 1", r)
		}
		seen[r.id] = true
		if cut := r.lasts(true, 1); cut.Seconds() < r.least {
			t.Errorf("row %s lasts %v with -quick, want the %v s without which it shows nothing", r.id, cut, r.least)
		}
		if most := r.lasts(true, 1); most > 20*time.Second && r.quick && !r.simulated {
			t.Errorf("row %s lasts %v in the CI subset, want 20 s at most", r.id, most)
		}
	}
	for id := range knownSkips {
		if !seen[id] {
			t.Errorf("%s may skip and is no row", id)
		}
	}
}

// The plan of a load is the same for the same seed and name, and another otherwise; its
// shares are those of the mix.
func TestPlan(t *testing.T) {
	l := load{Mix: baseMix(), Name: "client1", Seed: 1, Clients: 4, Lasts: 400 * time.Second}
	first := slices.Collect(l.plan)
	l.Begin = time.Now()
	if !reflect.DeepEqual(first, slices.Collect(l.plan)) {
		t.Error("two plans of one seed differ")
	}
	for _, other := range []load{
		{Mix: baseMix(), Name: "client2", Seed: 1, Clients: 4, Lasts: l.Lasts},
		{Mix: baseMix(), Name: "client1", Seed: 2, Clients: 4, Lasts: l.Lasts},
	} {
		if p := slices.Collect(other.plan); p[0].Nonce == first[0].Nonce || p[0].At == first[0].At {
			t.Errorf("plans of %s seed %d and of %s seed %d begin alike: %v", l.Name, l.Seed, other.Name, other.Seed, p[0])
		}
	}
	if n := len(first); n != 20000 {
		t.Fatalf("%d calls in 400 s of a quarter of 200 a second, want 20000", n)
	}
	count := func(is func(p planned) bool) (n int) {
		for _, p := range first {
			if is(p) {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		what string
		is   func(p planned) bool
		want float64
	}{
		{"200 octets", func(p planned) bool { return max(p.Request, p.Reply) == 200 }, 0.6},
		{"8 MiB", func(p planned) bool { return max(p.Request, p.Reply) == streamed }, 0.01},
		{"long requests", func(p planned) bool { return p.Request > p.Reply }, 0.5},
		{"given up", func(p planned) bool { return p.CancelAt > 0 }, 0.05},
		{"idempotent", func(p planned) bool { return p.Idempotent }, 0.25},
	} {
		if got := float64(count(tt.is)) / float64(len(first)); got < tt.want*0.8 || got > tt.want*1.2 {
			t.Errorf("share of calls with %s: %v, want about %v", tt.what, got, tt.want)
		}
	}
}

// A row that is interrupted has not failed, though its calls are open; the run ends, does
// not pass, and leaves nothing behind unless that is wanted.
func TestInterrupted(t *testing.T) {
	for _, keep := range []bool{false, true} {
		tmp := t.TempDir()
		t.Setenv("TMPDIR", tmp)
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		r := row{id: "X", seconds: 1, minOK: 1, run: func(ctx context.Context, s *stage) error {
			s.children = []*child{openCall(t, s.dir)}
			interrupt()
			return context.Cause(ctx)
		}}
		var out bytes.Buffer
		u := newSuite(setting{seed: 7, scale: 1, rate: 1, keep: keep, json: "-", md: filepath.Join(t.TempDir(), "report")}, &out, &out)
		err := u.run(ctx, []row{r, r})
		report, _ := os.ReadFile(u.md)
		for _, text := range []string{fmt.Sprint(err), out.String(), string(report)} {
			if !strings.Contains(text, "interrupted") || strings.Contains(text, "rule") || strings.Contains(text, "fail") {
				t.Errorf("an interrupted run says %q: want that, and no failure", text)
			}
		}
		if len(u.results) != 1 {
			t.Errorf("%d rows ran, want one", len(u.results))
		}
		if left, _ := filepath.Glob(filepath.Join(tmp, "*")); (len(left) > 0) != keep {
			t.Errorf("left behind: %q, want something: %v", left, keep)
		}
	}
}

// The command that is told with a row plays it again.
func TestAgain(t *testing.T) {
	for _, tt := range []struct {
		r    result
		want string
	}{
		{result{Row: "F6", Seed: 7, Scale: 1, Rate: 1}, "./scamp/internal/faults -rows F6 -seed 7"},
		{result{Row: "F6", Seed: 7, Quick: true, Scale: 0.25, Rate: 0.2}, "./scamp/internal/faults -rows F6 -seed 7 -quick -scale 0.25 -rate 0.2"},
		{result{Row: "F6", Seed: 7, Scale: 1, Rate: 1, Raced: true}, "-race "},
	} {
		if got := tt.r.again(); !strings.Contains(got, tt.want) || tt.r.Raced != strings.Contains(got, "-race") {
			t.Errorf("%+v: %q, want %q in it", tt.r, got, tt.want)
		}
	}
}

// openCall is a child that has ended, and whose ledger has a call that did not.
func openCall(t *testing.T, dir string) *child {
	c := &child{name: "client", ledger: filepath.Join(dir, "client.ledger"), cmd: exec.Command("true"), done: make(chan struct{})}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Run(); err != nil {
		t.Fatal(err)
	}
	close(c.done)
	f, err := os.Create(c.ledger)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ledger.New("client", &ledger.Options{W: f}).Issue("open", ledger.Nonce{}, ledger.Sum{}, false, time.Time{})
	return c
}

// A row fails for what the ledger says, for a figure beyond its bound, and for an error;
// a skip is no failure where it is known.
func TestJudge(t *testing.T) {
	at := time.Now()
	end := func(o ledger.Outcome) []ledger.Record {
		return []ledger.Record{{Kind: ledger.KindIssue, ID: "a", At: at, By: "client"}, {Kind: ledger.KindEnd, ID: "a", At: at, By: "client", Outcome: o}}
	}
	for _, tt := range []struct {
		name    string
		records []ledger.Record
		figure  float64
		err     error
		verdict string
		why     string
	}{
		{"good", end(ledger.NotRun), 1, nil, pass, ""},
		{"lost", end(ledger.NotRun)[:1], 1, nil, fail, "ended 0 times"},
		{"slow", end(ledger.NotRun), 3, nil, fail, "slow_ms is 3, want <= 2"},
		{"error", nil, 1, os.ErrClosed, fail, "closed"},
		{"skip", nil, 1, skip("no %s", "TUN"), skipRow, "no TUN"},
	} {
		s := &stage{suite: &suite{}, row: row{id: "X"}, result: new(result), dir: t.TempDir()}
		c := &child{name: "client", ledger: filepath.Join(s.dir, "client.ledger")}
		s.children = []*child{c}
		var b bytes.Buffer
		for _, r := range tt.records {
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		if err := os.WriteFile(c.ledger, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		s.atMost("slow_ms", tt.figure, 2)
		s.judge(t.Context(), tt.err)
		if text := s.result.text(); s.result.Verdict != tt.verdict || !strings.Contains(text, tt.why) {
			t.Errorf("%s: %s, want %s with %q", tt.name, text, tt.verdict, tt.why)
		}
		if again := "again: go run"; strings.Contains(s.result.text(), again) != (tt.verdict == fail) {
			t.Errorf("%s: %s, want %q with what failed alone", tt.name, s.result.text(), again)
		}
		if s.suite.good(row{id: "X"}, s.result) != (tt.verdict == pass) {
			t.Errorf("%s: the run takes %s for good, or does not take a pass", tt.name, tt.verdict)
		}
	}
}
