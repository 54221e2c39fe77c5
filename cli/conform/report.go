package conform

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// MarshalJSON returns the case as a JSON object: id, section, title, paragraph, item,
// level, hostile, expected, why, and peers as an object of verdicts by implementation.
func (c Case) MarshalJSON() ([]byte, error) { return json.Marshal(c.view()) }

type caseView struct {
	ID        string            `json:"id"`
	Section   Section           `json:"section"`
	Title     string            `json:"title"`
	Paragraph string            `json:"paragraph"`
	Item      string            `json:"item,omitempty"`
	Level     string            `json:"level"`
	Hostile   bool              `json:"hostile"`
	Expected  string            `json:"expected"`
	Why       string            `json:"why"`
	Peers     map[string]string `json:"peers,omitempty"`
}

func (c Case) view() caseView {
	v := caseView{
		ID: c.ID, Section: c.Section, Title: c.Title, Paragraph: c.Paragraph, Item: c.Item,
		Level: c.Level.String(), Hostile: c.Hostile, Expected: c.Want, Why: c.Why,
	}
	c.Peers.each(func(name string, got Verdict) {
		if v.Peers == nil {
			v.Peers = make(map[string]string)
		}
		v.Peers[name] = got.String()
	})
	return v
}

// MarshalJSON returns the result as a JSON object: the members of its case, and verdict,
// came, sent, got and ms.
func (r Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		caseView
		Verdict string   `json:"verdict"`
		Came    string   `json:"came"`
		Sent    []string `json:"sent,omitempty"`
		Got     []string `json:"got,omitempty"`
		MS      float64  `json:"ms"`
	}{r.Case.view(), r.Verdict.String(), r.Came, r.Sent, r.Got, milliseconds(r.Elapsed)})
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// WriteText writes the card for people: a line for each case in its section, and under
// those that are missed what was sent, expected and came.
func WriteText(w io.Writer, card *Card, strict bool) error {
	var b strings.Builder
	for _, s := range Sections() {
		title := s.Title() + "\n"
		for _, r := range card.Results {
			if r.Case.Section == s {
				b.WriteString(title)
				title = ""
				r.write(&b)
			}
		}
	}
	fmt.Fprintf(&b, "%d PASS, %d NON-STRICT, %d FAIL, %d INFO, %d SKIP in %.1f s\n",
		card.Count(Pass), card.Count(NonStrict), card.Count(Fail), card.Count(Info), card.Count(Skip), card.Elapsed.Seconds())
	switch {
	case card.Gone:
		fmt.Fprintf(&b, "%s is gone: a case ended it\n", card.Addr)
	case card.Missed(strict):
		fmt.Fprintf(&b, "%s does not conform\n", card.Addr)
	case len(card.Results) == 0:
		fmt.Fprintf(&b, "%s was not tried\n", card.Addr)
	default:
		fmt.Fprintf(&b, "%s conforms, as far as was tried\n", card.Addr)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Result) write(b *strings.Builder) {
	fmt.Fprintf(b, "  %-10s  %-6s  %s", r.Verdict, r.Case.ID, r.Case.Title)
	switch r.Verdict {
	case Pass:
		b.WriteByte('\n')
		return
	case Info, Skip:
		fmt.Fprintf(b, ": %s\n", r.Came)
		return
	}
	fmt.Fprintf(b, "\n      paragraph  PROTOCOL %s, %s\n", r.Case.Paragraph, r.Case.Level)
	for i, sent := range r.Sent {
		if i == maxLines {
			fmt.Fprintf(b, "                 and %d pieces more\n", len(r.Sent)-i)
			break
		}
		fmt.Fprintf(b, "      sent       %s\n", sent)
	}
	fmt.Fprintf(b, "      expected   %s\n      came       %s\n      why        %s\n", r.Case.Want, r.Came, r.Case.Why)
	if as := r.Case.Peers.With(r.Verdict); as != "" {
		does := "does"
		if strings.Contains(as, " and ") {
			does = "do"
		}
		fmt.Fprintf(b, "      as         it differs as %s %s\n", as, does)
	}
}

// maxLines bounds the pieces of octets that the text card shows of one case.
const maxLines = 8

// Explain writes what the cases are about: what is expected, why it matters, and what
// the old implementations do.
func Explain(w io.Writer, cases []Case) error {
	var b strings.Builder
	for i, c := range cases {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s  %s\n  paragraph  PROTOCOL %s, %s\n  expected   %s\n  why        %s\n", c.ID, c.Title, c.Paragraph, c.Level, c.Want, c.Why)
		if c.Hostile {
			b.WriteString("  hostile    may crash or burden a fragile peer\n")
		}
		measured, read := c.Peers, Peers{CSharp: c.Peers.CSharp, Rust: c.Peers.Rust}
		measured.CSharp, measured.Rust = 0, 0
		for _, line := range []struct {
			name  string
			peers Peers
		}{{"measured", measured}, {"by source", read}} {
			var peers []string
			line.peers.each(func(name string, got Verdict) { peers = append(peers, name+" "+got.String()) })
			if len(peers) > 0 {
				fmt.Fprintf(&b, "  %-9s  %s\n", line.name, strings.Join(peers, ", "))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	Classname string        `xml:"classname,attr"`
	Time      string        `xml:"time,attr"`
	Failure   *junitMessage `xml:"failure"`
	Skipped   *junitMessage `xml:"skipped"`
	Out       string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the card as JUnit XML: a suite for each section. What counts against
// the judged side is a failure; INFO and, unless strict, NON-STRICT are passes with output.
func WriteJUnit(w io.Writer, card *Card, strict bool) error {
	all := junitSuites{Name: "scamp conform " + card.Addr, Time: seconds(card.Elapsed)}
	for _, s := range Sections() {
		suite := junitSuite{Name: s.Title()}
		for _, r := range card.Results {
			if r.Case.Section != s {
				continue
			}
			one := r.junit(strict)
			suite.Tests++
			if one.Failure != nil {
				suite.Failures++
			}
			if one.Skipped != nil {
				suite.Skipped++
			}
			suite.Cases = append(suite.Cases, one)
		}
		if suite.Tests > 0 {
			all.Tests, all.Failures, all.Skipped = all.Tests+suite.Tests, all.Failures+suite.Failures, all.Skipped+suite.Skipped
			all.Suites = append(all.Suites, suite)
		}
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("conform: JUnit: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

func (r Result) junit(strict bool) junitCase {
	c := junitCase{Name: r.Case.ID + " " + r.Case.Title, Classname: "conform." + string(r.Case.Section), Time: seconds(r.Elapsed)}
	var detail strings.Builder
	r.write(&detail)
	switch {
	case r.Missed(strict):
		c.Failure = &junitMessage{Message: r.Came, Type: r.Verdict.String(), Text: detail.String()}
	case r.Verdict == Skip:
		c.Skipped = &junitMessage{Message: r.Came}
	case r.Verdict != Pass:
		c.Out = detail.String()
	}
	return c
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
