package audit

import (
	"fmt"
	"io"
	"strings"
)

// TextOptions say how WriteText writes.
type TextOptions struct {
	Colour bool // for a terminal
	Most   int  // findings of one kind that are shown; 0 means all
}

// WriteText writes a report for people: groups, in them the worst first, and last a
// line that counts.
func WriteText(w io.Writer, r *Report, opts TextOptions) error {
	var b strings.Builder
	group, id, shown := "", "", 0
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.ID != id {
			opts.rest(&b, id, shown)
			id, shown = f.ID, 0
		}
		if title := kindOf(f.ID).Group.String(); title != group {
			if group != "" {
				b.WriteByte('\n')
			}
			group = title
			b.WriteString(opts.paint(bold, title) + "\n")
		}
		if shown++; opts.Most == 0 || shown <= opts.Most {
			opts.finding(&b, f)
		}
	}
	opts.rest(&b, id, shown)
	if len(r.Findings) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(r.Summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (o TextOptions) finding(b *strings.Builder, f *Finding) {
	at := f.Place.String()
	if at != "" {
		at = "  " + at
	}
	fmt.Fprintf(b, "  %s%s  %s%s\n", o.paint(colours[f.Severity], f.Severity.String()), strings.Repeat(" ", len("warning")-len(f.Severity.String())), f.ID, at)
	fmt.Fprintf(b, "           %s\n", f.Text)
	if f.Fix != "" {
		fmt.Fprintf(b, "           fix: %s\n", f.Fix)
	}
}

// rest says how many findings of a kind are not shown.
func (o TextOptions) rest(b *strings.Builder, id string, found int) {
	if o.Most > 0 && found > o.Most {
		fmt.Fprintf(b, "           and %d more of %s\n", found-o.Most, id)
	}
}

// What a terminal obeys.
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	plain  = "\x1b[0m"
)

var colours = [...]string{Info: cyan, Warning: yellow, Error: red}

func (o TextOptions) paint(colour, text string) string {
	if !o.Colour {
		return text
	}
	return colour + text + plain
}

// Summary says in one line what was found in what.
func (r *Report) Summary() string {
	var looked []string
	for _, l := range []struct {
		n    int
		what string
	}{{r.Looked.Rules, "rule"}, {r.Looked.Announcements, "announcement"}, {r.Looked.Certificates, "certificate"}, {r.Looked.Keys, "key"}} {
		if l.n > 0 {
			looked = append(looked, plural(l.n, l.what))
		}
	}
	in := ""
	if len(looked) > 0 {
		in = " in " + strings.Join(looked, ", ")
	}
	if len(r.Findings) == 0 {
		return "nothing found" + in
	}
	return fmt.Sprintf("%s, %s, %d info%s", plural(r.Count(Error), "error"), plural(r.Count(Warning), "warning"), r.Count(Info), in)
}

// A Record is a finding for programs. The names of its JSON members never change.
type Record struct {
	ID          string `json:"id"`
	Group       string `json:"group"`
	Severity    string `json:"severity"`
	File        string `json:"file,omitempty"`
	Line        int    `json:"line,omitempty"`
	Ident       string `json:"ident,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Text        string `json:"text"`
	Fix         string `json:"fix,omitempty"`
}

// Records returns the findings for programs, in the order of the report.
func (r *Report) Records() []Record {
	records := make([]Record, len(r.Findings))
	for i, f := range r.Findings {
		records[i] = Record{f.ID, kindOf(f.ID).Group.String(), f.Severity.String(), f.Place.File, f.Place.Line, f.Place.Ident, f.Fingerprint, f.Text, f.Fix}
	}
	return records
}
