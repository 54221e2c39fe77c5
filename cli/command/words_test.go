package command_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/cli/command"
)

func TestSplitWords(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
		err  string
	}{
		{in: `tr a-z A-Z`, want: []string{"tr", "a-z", "A-Z"}},
		{in: "  a\t b\n", want: []string{"a", "b"}},
		{in: `a 'b c' "d e"`, want: []string{"a", "b c", "d e"}},
		{in: `a'b'"c"d`, want: []string{"abcd"}},
		{in: `a '' ""`, want: []string{"a", "", ""}},
		{in: `a "b\"c\\d\e"`, want: []string{"a", `b"c\d\e`}},
		{in: `a 'b\c'`, want: []string{"a", `b\c`}},
		{in: `a b\ c \'`, want: []string{"a", "b c", "'"}},
		{in: `sh -c "echo $HOME; rm *"`, want: []string{"sh", "-c", "echo $HOME; rm *"}},
		{in: `größe '日本'`, want: []string{"größe", "日本"}},
		{in: ``, err: "no command"},
		{in: "  ", err: "no command"},
		{in: `a 'b`, err: "want another '"},
		{in: `a "b`, err: `want another "`},
		{in: `a\`, err: "backslash at the end"},
	} {
		got, err := command.SplitWords(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("SplitWords(%q): error %v, want one with %q", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("SplitWords(%q): %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

// Whatever words there are, quoting each as a person would gives them back.
func FuzzSplitWords(f *testing.F) {
	f.Add("tr", "a-z", `it's "so"`)
	f.Add("", `\`, "\t")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		want := []string{a, b, c}
		for i, w := range want {
			want[i] = strings.ToValidUTF8(w, "")
		}
		var line []string
		for _, w := range want {
			line = append(line, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		got, err := command.SplitWords(strings.Join(line, " "))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("SplitWords(%q): %q, %v, want %q", line, got, err, want)
		}
		command.SplitWords(a) // any text: no panic
	})
}
