//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// A suite is one run of the program.
type suite struct {
	setting
	stdout, stderr io.Writer
	dir            string
	pairs          []*scamp.KeyPair // made once: an RSA key takes long
	base           map[string]float64
	results        []*result
}

func newSuite(o setting, stdout, stderr io.Writer) *suite {
	return &suite{setting: o, stdout: stdout, stderr: stderr}
}

// run runs rows one after the other and returns an error if something is not as it must
// be.
func (u *suite) run(ctx context.Context, chosen []row) error {
	say := u.stdout
	if u.json == "-" {
		say = u.stderr
	}
	fmt.Fprintf(say, "seed %d, %d rows\n", u.seed, len(chosen))
	var err error
	if u.dir, err = os.MkdirTemp("", "scamp-faults-"); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	out := io.Discard
	switch u.json {
	case "":
	case "-":
		out = u.stdout
	default:
		f, err := os.Create(u.json)
		if err != nil {
			return fmt.Errorf("faults: %w", err)
		}
		defer f.Close()
		out = f
	}
	bad := 0
	for _, r := range chosen {
		if ctx.Err() != nil {
			break
		}
		res := u.play(ctx, r)
		u.results = append(u.results, res)
		if r.id == "F1" {
			u.base = res.Figures
		}
		line, err := json.Marshal(res)
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		if err != nil {
			return fmt.Errorf("faults: result of %s: %w", r.id, err)
		}
		fmt.Fprint(say, res.text())
		if !u.good(r, res) {
			bad++
		}
	}
	var errs []error
	if u.md != "" {
		errs = append(errs, os.WriteFile(u.md, u.markdown(), 0o644))
	}
	if left, err := os.ReadDir(u.dir); err == nil && len(left) == 0 {
		errs = append(errs, os.Remove(u.dir))
	}
	if ctx.Err() != nil {
		errs = append(errs, errors.New("faults: interrupted"))
	}
	if bad > 0 {
		errs = append(errs, fmt.Errorf("faults: %d of %d rows failed, or skipped without being known to: seed %d", bad, len(chosen), u.seed))
	}
	return errors.Join(errs...)
}

// good says whether a result is one that lets the run pass.
func (u *suite) good(r row, res *result) bool {
	switch res.Verdict {
	case pass:
		return true
	case interrupted:
		return true // the run does not pass for it
	case skipRow:
		return r.root && os.Geteuid() != 0 || knownSkips[r.id] != ""
	}
	return false
}

// play runs one row, and takes away what it left unless somebody may want to look at it.
func (u *suite) play(ctx context.Context, r row) *result {
	s := &stage{
		suite: u, row: r, seed: u.seed, quick: u.quick, seconds: r.lasts(u.quick, u.scale), base: u.base,
		dir: filepath.Join(u.dir, r.id), result: &result{Row: r.id, Fault: r.fault, Seed: u.seed, Quick: u.quick, Scale: u.scale, Rate: u.rate, Raced: raced},
	}
	began := time.Now()
	var err error
	if r.root && os.Geteuid() != 0 {
		err = skip("it needs root")
	} else {
		err = s.play(ctx)
	}
	s.result.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	s.judge(ctx, err)
	if s.result.Verdict != fail && !u.keep {
		if err := os.RemoveAll(s.dir); err != nil {
			s.result.Why = strings.TrimSpace(s.result.Why + " " + err.Error())
		}
	} else {
		s.result.Ledgers = s.dir
	}
	return s.result
}

// pair returns a key pair of the run.
func (u *suite) pair(i int) (*scamp.KeyPair, error) {
	for len(u.pairs) <= i {
		p, err := scamp.GenerateKeyPair(fmt.Sprintf("faults %d", len(u.pairs)), 2048)
		if err != nil {
			return nil, err
		}
		u.pairs = append(u.pairs, p)
	}
	return u.pairs[i], nil
}

// markdown is the report.
func (u *suite) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Faults, seed %d\n\n", u.seed)
	b.WriteString("| row | fault | verdict | issued | ok | error | not run | maybe | cancelled | seconds | figures |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range u.results {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d | %d | %d | %d | %.0f | %s |\n", r.Row, r.Fault, r.Verdict,
			r.Issued, r.OK, r.Error, r.NotRun, r.Maybe, r.Cancelled, r.Seconds, strings.Join(r.figures(), ", "))
	}
	for _, r := range u.results {
		if r.Verdict != pass {
			fmt.Fprintf(&b, "\n## %s: %s\n\n```\n%s```\n", r.Row, r.Verdict, r.text())
		}
	}
	return b.Bytes()
}
