//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A ruleEdit is one change of the rules file: a case of THREATS 2.3, S1 to S8.
type ruleEdit struct {
	name   string
	states [][]bool // which services may serve, as readers may see it one after the other; the last one stays
	do     func(path string) error
}

// after says who may serve when the edit is done.
func (e *ruleEdit) after() []bool { return e.states[len(e.states)-1] }

// A ruleForm writes who is allowed in one of the ways that people and editors have. One
// that leaves nothing usable changes nobody's rights.
type ruleForm struct {
	name   string
	states func(allowed []bool) [][]bool                // what readers see; nil means allowed
	text   func(prints []string, allowed []bool) string // nil for what cannot be read: the last good rules stay
	put    func(path, text string) error
}

// granted and denied are the rights of a service that may serve, and of one that may not;
// they are of one length and differ in case alone (PROTOCOL 9.3).
const granted, denied = "main:ALL", "main:all"

func right(allowed bool) string {
	if allowed {
		return granted
	}
	return denied
}

// ruleLines writes a line for each service.
func ruleLines(prints []string, line func(i int, print string) string) string {
	var b strings.Builder
	for i, p := range prints {
		fmt.Fprintln(&b, line(i, p))
	}
	return b.String()
}

// plainRules has one line for each service, as scamp provision writes them.
func plainRules(prints []string, allowed []bool) string {
	return ruleLines(prints, func(i int, p string) string { return p + " " + right(allowed[i]) })
}

// nobody is who a file without rules allows.
func nobody(allowed []bool) [][]bool { return [][]bool{make([]bool, len(allowed))} }

// ruleForms are the cases. Root can read a file of any mode, so a directory stands for
// what cannot be read.
var ruleForms = []ruleForm{
	{name: "S7 by renaming", text: plainRules, put: renameRules},
	{name: "S7 in place", text: plainRules, put: writeRules},
	{name: "S1 removed", put: func(path, _ string) error { return os.Remove(path) }},
	{name: "S1 emptied", put: writeRules},
	{name: "S1 a directory", put: func(path, _ string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) }},
	{name: "S2 bad lines between", put: renameRules, text: func(prints []string, allowed []bool) string {
		return ruleLines(prints, func(i int, p string) string {
			return strings.Replace(p, ":", "", 3) + " main:ALL\n" + p + " " + right(allowed[i]) + "\n\x00\xff " + p
		})
	}},
	{name: "S3 nobody", states: nobody, put: renameRules, text: func([]string, []bool) string { return "# nobody\n" }},
	{name: "S4 each twice", put: writeRules, text: func(prints []string, allowed []bool) string {
		return ruleLines(prints, func(i int, p string) string { return p + " " + right(!allowed[i]) }) + plainRules(prints, allowed)
	}},
	{name: "S5 lower case", put: renameRules, text: func(prints []string, allowed []bool) string {
		return ruleLines(prints, func(i int, p string) string { return strings.ToLower(p) + " " + right(allowed[i]) })
	}},
	{name: "S6 blanks, commas and comments", put: writeRules, text: func(prints []string, allowed []bool) string {
		return ruleLines(prints, func(i int, p string) string {
			others := "ALL,main:Loa, Load.wor ,main:L.ad.work,web:ALL"
			if allowed[i] {
				others += " , load.WORK"
			}
			return " \t" + p + "   " + others + ",, # " + granted
		})
	}},
	{name: "S8 in the same second", put: writeTwice, text: plainRules, states: func(allowed []bool) [][]bool { return append(nobody(allowed), allowed) }},
}

// renameRules puts another file in the place of the old one.
func renameRules(path, text string) error {
	next := filepath.Join(filepath.Dir(path), "next")
	if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), clearPlace(path)); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// writeRules writes into the file that is there.
func writeRules(path, text string) error {
	if err := clearPlace(path); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// writeTwice denies all and then writes the text, with as many octets and a time in the
// same second: readers that look at whole seconds see one change.
func writeTwice(path, text string) error {
	if err := writeRules(path, strings.ReplaceAll(text, granted, denied)); err != nil {
		return err
	}
	second := time.Now().Truncate(time.Second)
	if err := os.Chtimes(path, second, second); err != nil {
		return err
	}
	if err := writeRules(path, text); err != nil {
		return err
	}
	return os.Chtimes(path, second, second.Add(500*time.Millisecond))
}

// clearPlace removes a directory that stands where the file should.
func clearPlace(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return os.Remove(path)
	}
	return nil
}

// ruleEdits draws n edits: each form comes before any comes again. A last one allows all.
// The rights of the services in the file at first are start.
func ruleEdits(r *rand.Rand, n int, prints []string, start []bool) []ruleEdit {
	var edits []ruleEdit
	earlier, last := start, start
	var order []int
	for range n {
		if len(order) == 0 {
			order = r.Perm(len(ruleForms))
		}
		f := &ruleForms[order[0]]
		order = order[1:]
		allowed := make([]bool, len(prints))
		for i := range allowed {
			allowed[i] = r.IntN(2) == 0
		}
		allowed[r.IntN(len(allowed))] = true
		e := f.edit(prints, allowed, earlier, last)
		edits = append(edits, e)
		if f.text != nil {
			earlier, last = last, e.after()
		}
	}
	return append(edits, ruleForms[0].edit(prints, slices.Repeat([]bool{true}, len(prints)), earlier, last))
}

// edit makes the edit that writes allowed in this form, when last is in force and earlier
// was. Whoever looks once a second may not have seen what is replaced by nothing that can be
// read: he goes by what was before.
func (f *ruleForm) edit(prints []string, allowed, earlier, last []bool) ruleEdit {
	e := ruleEdit{name: f.name, states: [][]bool{allowed}}
	if f.states != nil {
		e.states = f.states(allowed)
	}
	text := ""
	if f.text == nil {
		e.states = [][]bool{earlier, last}
	} else {
		text = f.text(prints, e.after())
	}
	e.do = func(path string) error {
		if f.text == nil { // what is removed must be there
			if err := regularFile(path); err != nil {
				return err
			}
		}
		return f.put(path, text)
	}
	return e
}

// regularFile makes an empty file where there is none.
func regularFile(path string) error {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return nil
	}
	return writeRules(path, "")
}

// ruleSlack is how long after a change requests may still go by the old file (THREATS 1.2).
const ruleSlack = 2 * time.Second

// A ruleTime says who is allowed from a time on.
type ruleTime struct {
	begin, end time.Time // of the edit: from end on it is sure to be in the file
	allowed    []bool
}

// A ruleHistory is all that was in the file, in order.
type ruleHistory []ruleTime

// between calls see with each state that the rules may have had somewhere between two
// times, until it says false.
func (h ruleHistory) between(from, to time.Time, see func(allowed []bool) bool) {
	for i, t := range h {
		replaced := i+1 < len(h) && h[i+1].end.Before(from)
		if !replaced && !t.begin.After(to) && !see(t.allowed) {
			return
		}
	}
}

// sometime says whether service i was allowed at some time between.
func (h ruleHistory) sometime(i int, from, to time.Time) (was bool) {
	h.between(from, to, func(allowed []bool) bool { was = was || allowed[i]; return !was })
	return was
}

// always says whether one service was allowed all the time between.
func (h ruleHistory) always(from, to time.Time) bool {
	var steady []bool
	h.between(from, to, func(allowed []bool) bool {
		if steady == nil {
			steady = slices.Clone(allowed)
		}
		for i, ok := range allowed {
			steady[i] = steady[i] && ok
		}
		return true
	})
	return slices.Contains(steady, true)
}
