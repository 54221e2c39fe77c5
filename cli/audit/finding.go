package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A Severity says how bad a finding is.
type Severity uint8

// How bad a finding is, the least first.
const (
	Info    Severity = iota // worth knowing
	Warning                 // works, but not as somebody may think
	Error                   // does not work, or is not safe
)

// String returns info, warning or error.
func (s Severity) String() string {
	names := [...]string{Info: "info", Warning: "warning", Error: "error"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// ParseSeverity reads what String returns.
func ParseSeverity(text string) (Severity, bool) {
	for s := Info; s <= Error; s++ {
		if s.String() == text {
			return s, true
		}
	}
	return 0, false
}

// A Place is where something was found. Fields that say nothing are zero.
type Place struct {
	File  string
	Line  int    // counted from 1; 0 for the whole file
	Ident string // of the instance that announces it
}

// String returns "file:line ident", as much of it as there is.
func (p Place) String() string {
	text := p.File
	if p.File != "" && p.Line > 0 {
		text += ":" + strconv.Itoa(p.Line)
	}
	if p.Ident != "" {
		text += " " + p.Ident
	}
	return strings.TrimSpace(text)
}

// A Finding is one thing that is not as it should be.
type Finding struct {
	ID          string // which kind; see Kinds
	Severity    Severity
	Place       Place
	Fingerprint string // of the certificate it is about, if it is about one
	Text        string // what is wrong
	Fix         string // what to do
}

// A Report is what Run found. The Findings are in order: by group, the worst first,
// then by id and place.
type Report struct {
	Findings []Finding
	Looked   Looked
}

// Looked counts what was judged.
type Looked struct {
	Rules, Certificates, Keys, Announcements int
}

// Count returns how many findings have this severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Worst returns the highest severity found, and false when nothing was.
func (r *Report) Worst() (Severity, bool) {
	var worst Severity
	for i := range r.Findings {
		worst = max(worst, r.Findings[i].Severity)
	}
	return worst, len(r.Findings) > 0
}

// add adds a finding with the severity and the fix that its kind has by default.
func (r *Report) add(id string, at Place, format string, args ...any) *Finding {
	kind := kindOf(id)
	r.Findings = append(r.Findings, Finding{ID: id, Severity: kind.Severity, Place: at, Text: fmt.Sprintf(format, args...), Fix: kind.Fix})
	return &r.Findings[len(r.Findings)-1]
}

// permit gives a finding the fix that belongs to it when err is that this user may not.
func (f *Finding) permit(err error) {
	if errors.Is(err, fs.ErrPermission) {
		f.Fix = "run this as the user who will run the program, or give the file to that user (chown)"
	}
}

// finish brings the findings in order and makes their texts harmless (invariant 4).
func (r *Report) finish() {
	for i := range r.Findings {
		f := &r.Findings[i]
		for _, text := range []*string{&f.Text, &f.Fix, &f.Place.File, &f.Place.Ident} {
			*text = visible(*text)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(kindOf(a.ID).Group, kindOf(b.ID).Group), -cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line), cmp.Compare(a.Place.Ident, b.Place.Ident), cmp.Compare(a.Text, b.Text))
	})
}

// visible returns text with everything escaped that does not print.
func visible(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return text
	}
	q := strconv.Quote(text)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// quote returns foreign text quoted and cut.
func quote(text string) string {
	const most = 128 // octets
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strconv.Quote(text)
}

// some returns a list in words, cut after a few.
func some(list []string) string {
	const most = 5
	if extra := len(list) - most; extra > 1 {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", extra)
	}
	return strings.Join(list, ", ")
}

// plural returns "1 thing" or "n things".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
