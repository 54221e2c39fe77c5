package command_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/command"
)

func TestParseExpected(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
		err        string
	}{
		{"defaults", "Hello.echo\n", []string{"1 main:Hello.echo~1 1 1"}, ""},
		{"all of it", "\n# one\n\tweb:Page.show~3\t2 5 # two\r\nA.b 0 0", []string{"3 web:Page.show~3 2 5", "4 main:A.b~1 0 0"}, ""},
		{"red alone", "A.b 3", []string{"1 main:A.b~1 3 3"}, ""},
		{"nothing", "# nothing\n", nil, "expected: no action in it"},
		{"no action", "echo 1", nil, `expected:1: discovery: action "echo"`},
		{"not a number", "A.b one", nil, `expected:1: threshold "one": want a number`},
		{"a sign", "A.b +1", nil, `threshold "+1"`},
		{"a zero before", "A.b 01", nil, `threshold "01"`},
		{"too much", "A.b 1000001", nil, "to 1000000"},
		{"too many words", "A.b 1 2 3", nil, "4 words: want [SECTOR:]CLASS.NAME"},
		{"yellow below red", "A.b 2 1", nil, "want yellow no lower than red"},
		{"twice", "A.b\nmain:a.B~1 2", []string{"1 main:A.b~1 1 1"}, "expected:2: main:a.B~1 again: want it once, line 1 names it"},
		{"control octets", "A.b \x1b[31m", nil, `threshold`},
	} {
		got, err := command.ParseExpected(tt.text)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: parseExpected(%q): %q, %v, want %q, %q", tt.name, tt.text, got, err, tt.want, tt.err)
		}
	}
}

// A name without a sector means the one that ACTION gets (bus.default_sector).
func TestExpectedDefaultSector(t *testing.T) {
	got, err := command.ExpectedIn("web", "A.b\nmain:A.b\n")
	if want := []string{"web:A.b~1", "main:A.b~1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("inventory of a bus of sector web: %q, %v, want %q", got, err, want)
	}
}

// TestSight: records of a cache file that is of no use do not count as alive, and who is
// heard does, after there was time to hear everybody.
func TestSight(t *testing.T) {
	times := func(n int, counts ...int) (all []int) {
		for _, c := range counts {
			for range n {
				all = append(all, c)
			}
		}
		return all
	}
	for _, tt := range []struct {
		name        string
		file, heard []int
		judged      []int
		news        []string
		blind       bool
	}{
		{"a good file", []int{3, 3}, []int{0, 0}, []int{3, 3}, nil, false},
		{"a moment", []int{3, -1, 3}, []int{0, 0, 0}, []int{3, -1, 3}, []string{"1 blind", "2 sees"}, false},
		{"ends blind", []int{3, -1, -1}, []int{0, 0, 2}, []int{3, -1, -1}, []string{"1 blind"}, true},
		{"nobody lives", append([]int{3}, times(12, -1)...), times(13, 0), append([]int{3}, append(times(11, -1), 0)...), []string{"1 blind"}, true},
		{"some live", append([]int{3}, times(12, -1)...), times(13, 2), append([]int{3}, append(times(11, -1), 2)...), []string{"1 blind", "12 sees"}, false},
		{"blind from the start", times(7, -1), times(7, 0), append(times(6, -1), 0), []string{"0 blind"}, true},
		{"twice", []int{3, -1, 3, -1}, times(4, 0), []int{3, -1, 3, -1}, []string{"1 blind", "2 sees", "3 blind"}, true},
	} {
		judged, news, blind := command.Sight(tt.file, tt.heard)
		if !slices.Equal(judged, tt.judged) || !slices.Equal(news, tt.news) || blind != tt.blind {
			t.Errorf("%s: file %v, heard %v: judged %v, told %q, blind %v, want %v, %q, %v", tt.name, tt.file, tt.heard, judged, news, blind, tt.judged, tt.news, tt.blind)
		}
	}
}

// Whatever a file holds, what is read of it reads the same again.
func FuzzParseExpected(f *testing.F) {
	f.Add("main:Hello.echo~1 1 2\n# comment\nweb:A.b\n")
	f.Add("A.b 2 1\nA.b\nA.b ~ :")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := command.ParseExpected(text)
		if err != nil {
			return
		}
		var lines []string
		for _, line := range got {
			_, line, _ = strings.Cut(line, " ")
			lines = append(lines, line)
		}
		again, err := command.ParseExpected(strings.Join(lines, "\n"))
		for i := range again {
			_, again[i], _ = strings.Cut(again[i], " ")
		}
		if err != nil || !slices.Equal(again, lines) {
			t.Errorf("parseExpected(%q): %q, read again %q, %v", text, lines, again, err)
		}
	})
}

// TestGuard: what lasts is an incident, and what does not is none.
func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		name string
		have []int // each second, with red below 1, yellow below 3, 2 s to settle
		want []string
		open int
	}{
		{"well", []int{3, 3, 4, 3}, nil, 0},
		{"never there", []int{0, 0, 0, 0}, []string{"2 opened red 0 since 0"}, 1},
		{"never there, and no time", []int{0, 0}, nil, 1},
		{"there late", []int{0, 3, 3, 3, 3}, nil, 0},
		{"a restart", []int{3, 3, 0, 3, 3, 3}, nil, 0},
		{"gone", []int{3, 0, 0, 0}, []string{"3 opened red 0 since 1"}, 1},
		{"gone a moment ago", []int{3, 3, 3, 0}, nil, 0},
		{"fewer", []int{3, 2, 2, 2, 2}, []string{"3 opened yellow 2 since 1"}, 0},
		{"fewer, then none", []int{3, 2, 2, 2, 0, 0, 0}, []string{"3 opened yellow 2 since 1", "6 changed red 0 since 1"}, 1},
		{"fewer and fewer", []int{3, 2, 1, 0, 0}, []string{"3 opened red 0 since 1"}, 1},
		{"back", []int{3, 0, 0, 0, 3, 3, 3}, []string{"3 opened red 0 since 1", "6 closed red 3 since 1"}, 0},
		{"back for a moment", []int{3, 0, 0, 0, 3, 0, 3, 0}, []string{"3 opened red 0 since 1"}, 1},
		{"back and fewer", []int{0, 0, 0, 2, 2, 2, 3, 3, 3}, []string{"2 opened red 0 since 0", "5 changed yellow 2 since 0", "8 closed yellow 3 since 0"}, 0},
	} {
		got, open := command.Guard(2*time.Second, 1, 3, tt.have...)
		if !slices.Equal(got, tt.want) || open != tt.open {
			t.Errorf("%s: %v instances: %q and %d red, want %q and %d", tt.name, tt.have, got, open, tt.want, tt.open)
		}
	}
}
