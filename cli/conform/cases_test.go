package conform_test

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/fixtures"
)

var caseID = regexp.MustCompile(`^([1-9][0-9]*\.[1-9][0-9]*)-(r?)[a-z]$`)

// allCases are those of both sides.
func allCases() []conform.Case { return slices.Concat(conform.Cases(), conform.RequesterCases()) }

// TestCasesAreComplete wants every field that the card and --explain show, and ids that
// say their paragraph and never change their meaning.
func TestCasesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCases() {
		m := caseID.FindStringSubmatch(c.ID)
		switch {
		case m == nil || m[1] != c.Paragraph:
			t.Errorf("case %q of paragraph %q: want an id like 4.4-a or 4.4-ra of that paragraph", c.ID, c.Paragraph)
		case (m[2] == "r") != (c.Play != nil) || (c.Run == nil) == (c.Play == nil):
			t.Errorf("case %q: want Play and the letter r for requesters, Run without it for services", c.ID)
		case seen[c.ID]:
			t.Errorf("case %q occurs twice", c.ID)
		case !slices.Contains(conform.Sections(), c.Section):
			t.Errorf("case %s is in section %q, which is none", c.ID, c.Section)
		case c.Title == "" || c.Why == "" || c.Want == "":
			t.Errorf("case %s lacks a title, a reason or what it wants: %+v", c.ID, c)
		case c.Level != conform.Must && c.Level != conform.Should:
			t.Errorf("case %s: level %v", c.ID, c.Level)
		}
		seen[c.ID] = true
	}
	for _, s := range conform.Sections() {
		if len(conform.Select(allCases(), []conform.Section{s}, nil)) == 0 || s.Title() == string(s) {
			t.Errorf("section %q has no case or no title", s)
		}
	}
}

// TestChecklistIsJudged wants a case for each line of the checklist of PROTOCOL 17 that
// shows outside of a service, or of a requester, in the sections that are judged.
func TestChecklistIsJudged(t *testing.T) {
	for _, side := range []struct {
		name   string
		cases  []conform.Case
		judged string
	}{
		// 40, 41 and 43 are judged in small by 42 and 4.8-b.
		{"services", conform.Cases(), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 18a 19b 19c 20 21 22 23 24 25 28 29 30 31 32 " +
			"33 33a 34 35 36 36a 37 37a 38 39 42 43 45 46 49 50 52 53 55 56 56a"},
		{"requesters", conform.RequesterCases(), "1 2 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18a 19 19b 19c 20 22 24 25 26 27 28 29 30 31 31a 32 " +
			"33 33a 34 35 36 36a 38 41 43 44 45 46 47 48 51 53 56 56a 61 84"},
	} {
		judged := strings.Fields(side.judged)
		var items []string
		for _, c := range side.cases {
			if c.Item != "" && !slices.Contains(judged, c.Item) {
				t.Errorf("case %s judges line %s, which is not on the list of %s", c.ID, c.Item, side.name)
			}
			items = append(items, c.Item)
		}
		for _, line := range judged {
			if !slices.Contains(items, line) {
				t.Errorf("no case for %s judges line %s of the checklist", side.name, line)
			}
		}
	}
}

// TestSourcesNameCases wants what is said of C# and Rust to belong to a case.
func TestSourcesNameCases(t *testing.T) {
	for _, id := range conform.SourceIDs() {
		if len(conform.Select(allCases(), nil, []string{id})) != 1 {
			t.Errorf("something is said of case %s, which is none", id)
		}
	}
}

// malformed says which case sends what fixtures/framing/cases.json calls fatal or
// incomplete. The cases send it within a request that is correct otherwise, so that a
// service which overlooks it answers.
var malformed = map[string]string{
	"too_large": "2.2-b", "bare_lf": "2.1-c", "overlong": "2.3-d", "not_yet_overlong": "2.3-d",
	"double_space": "2.1-d", "leading_space": "2.1-e", "trailing_space": "2.1-f", "two_fields": "2.1-h",
	"negative_len": "2.1-r", "plus_len": "2.1-m", "leading_zero": "2.1-j", "hex_len": "2.1-n", "huge_msgno": "2.3-e",
	"lowercase": "2.1-p", "unknown_type": "2.1-o", "bad_trailer": "2.3-f", "short_length": "2.3-i",
	"header_gap": "2.4-b", "header_repeat": "2.4-c", "data_unknown": "2.4-e", "data_after_eof": "2.4-h",
	"eof_unknown": "2.4-f", "eof_with_body": "2.4-n", "txerr_unknown": "2.4-g",
	"header_not_json": "3.1-e", "header_array": "3.1-f", "header_null": "3.1-q", "header_bad_utf8": "3.1-h", "incomplete": "2.3-c",
}

// TestRecordedMalformationsAreSent compares with the recorded streams, in both
// directions.
func TestRecordedMalformationsAreSent(t *testing.T) {
	var streams []struct{ Name, Expect, Note string }
	fixtures.JSON("framing/cases.json", &streams)
	left := len(malformed)
	for _, s := range streams {
		if s.Expect == "ok" {
			continue
		}
		id, ok := malformed[s.Name]
		if !ok || len(conform.Select(conform.Cases(), nil, []string{id})) != 1 {
			t.Errorf("%s (%s) is %s, and is sent by case %q: want one that exists", s.Name, s.Note, s.Expect, id)
		}
		left--
	}
	if left != 0 {
		t.Errorf("%d names in the list are in no recorded stream", left)
	}
}

func TestSelect(t *testing.T) {
	for _, tt := range []struct {
		sections []conform.Section
		patterns []string
		want     string
	}{
		{nil, []string{"2.1-c"}, "2.1-c"},
		{nil, []string{"5.5"}, "5.5-a 5.5-b"},
		{nil, []string{"4.7-[ab]", "5.5-a"}, "4.7-a 4.7-b 5.5-a"},
		{[]conform.Section{conform.SectionPing}, []string{"4.7-[ab]", "5.5-a"}, "4.7-a 4.7-b"},
		{[]conform.Section{conform.SectionErrors}, []string{"5.?"}, "5.2-a 5.2-b 5.3-a 5.3-b 5.3-c 5.2-c 5.2-d 5.5-a 5.5-b"},
		{[]conform.Section{"none"}, nil, ""},
		{nil, []string{"9.9", "["}, ""},
	} {
		var got []string
		for _, c := range conform.Select(conform.Cases(), tt.sections, tt.patterns) {
			got = append(got, c.ID)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("Select(%v, %v): %v, want %s", tt.sections, tt.patterns, got, tt.want)
		}
	}
	if n := len(conform.Select(conform.Cases(), nil, nil)); n != len(conform.Cases()) {
		t.Errorf("Select without conditions: %d cases, want all", n)
	}
	if _, err := path.Match("[", "x"); err == nil {
		t.Error("the pattern [ is meant to be a bad one")
	}
}

func ExampleExplain() {
	conform.Explain(os.Stdout, conform.Select(conform.Cases(), nil, []string{"4.7-b", "2.1-r"}))
	// Output:
	// 4.7-b  PONG has the number of the PING, whose body is ignored
	//   paragraph  PROTOCOL 4.7, MUST
	//   expected   PONG 7 0\r\nEND\r\n
	//   why        The number tells which PING is meant.
	//   measured   js PASS, go FAIL, perl FAIL
	//   by source  c# FAIL
	//
	// 2.1-r  a negative length closes
	//   paragraph  PROTOCOL 2.1, MUST
	//   expected   the connection closes, and nothing is answered
	//   why        The Go implementation ends its process on it.
	//   hostile    may crash or burden a fragile peer
	//   measured   js PASS, go FAIL, perl PASS
}
