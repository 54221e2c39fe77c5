package command_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/scampbus/scamp-go/cli/command"
)

func TestCleanEscapesWhatDoesNotPrint(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"plain text, größe, 日本", "plain text, größe, 日本"},
		{"a\nb\tc\r", `a\x0ab\x09c\x0d`},
		{"\x1b[31mred", `\x1b[31mred`},
		{"\u009b2J\u0085", `\u009b2J\u0085`},
		{"\xff\xfe", `\xff\xfe`},
		{"a\u202eb", `a\u202eb`},
		{"\U000e0001", `\U000e0001`},
		{"\x7f\x00", `\x7f\x00`},
		{strings.Repeat("x", 600), strings.Repeat("x", 512) + "…"},
	} {
		if got := command.Clean(tt.in); got != tt.want {
			t.Errorf("Clean(%q): %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestSafeWriterKeepsCharactersThatAreCut(t *testing.T) {
	const text = "größe\n日本\t🙂\x1b[0m\xe6\x97"
	want := "größe\n日本\t🙂\\x1b[0m\\xe6\\x97"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := command.NewSafeWriter(&out)
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			if got, err := w.Write(rest[:n]); got != n || err != nil {
				t.Fatalf("Write of %d octets: %d, %v", n, got, err)
			}
			rest = rest[n:]
		}
		w.Flush()
		if out.String() != want {
			t.Errorf("written in pieces of %d: %q, want %q", size, out.String(), want)
		}
	}
}

// Nothing that a terminal obeys gets through, however it is cut (THREATS X1).
func FuzzSafeWriter(f *testing.F) {
	f.Add([]byte("\x1b]0;title\x07"), 3)
	f.Add([]byte("\xc2\x9b2J"), 1)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var out bytes.Buffer
		w := command.NewSafeWriter(&out)
		cut = max(0, min(cut, len(text)))
		w.Write(text[:cut])
		w.Write(text[cut:])
		w.Flush()
		if !utf8.Valid(out.Bytes()) {
			t.Fatalf("%q: %q is not UTF-8", text, out.Bytes())
		}
		for _, r := range out.String() {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Fatalf("%q: %q lets %U through", text, out.Bytes(), r)
			}
		}
		var whole bytes.Buffer
		v := command.NewSafeWriter(&whole)
		v.Write(text)
		v.Flush()
		if !bytes.Equal(out.Bytes(), whole.Bytes()) {
			t.Fatalf("%q cut at %d: %q, want %q as in one piece", text, cut, out.Bytes(), whole.Bytes())
		}
	})
}

// A line of JSON is one line, harmless on a terminal, and says what it was made of.
func FuzzJSONLine(f *testing.F) {
	f.Add("\u009b\u2028\u202e\U000e0001\x1b")
	f.Add(`<a href="x">&`)
	f.Fuzz(func(t *testing.T, text string) {
		line, err := command.JSONLine(map[string]string{text: text})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range string(line) {
			if !unicode.IsPrint(r) && (r != '\n' || i != len(line)-1) {
				t.Fatalf("%q: %q holds %U", text, line, r)
			}
		}
		var got map[string]string
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %q: %v", text, line, err)
		}
		want := strings.ToValidUTF8(text, "\ufffd")
		if utf8.ValidString(text) && got[want] != want {
			t.Fatalf("%q: read back as %q", text, got)
		}
	})
}

// A line of the log is a line, whatever an instance calls itself (THREATS X1).
func TestLogLinesAreWhole(t *testing.T) {
	const hostile = "x\n\x1b[2J\u009b\u202e\U000e0001\xff\x7f\""
	for _, isJSON := range []bool{true, false} {
		var out bytes.Buffer
		log, err := command.NewLogger(command.NewSafeWriter(&out), "debug", isJSON)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("instance added", "ident", hostile, "error", errors.New(hostile))
		log.With("ident", hostile).WithGroup("g").Warn("gone", "why", hostile)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 2 {
			t.Errorf("JSON %v: %d lines, want 2: %q", isJSON, len(lines), lines)
		}
		for _, line := range lines {
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(line) {
				t.Errorf("JSON %v: %q, want only what prints", isJSON, line)
			}
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); isJSON && err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}

func TestEscapeJSONIsAlwaysJSON(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"{\"a\":\"größe\"}", "{\"a\":\"größe\"}"},
		{"{\"a\":\"\u009b2J\"}", `{"a":"\u009b2J"}`},
		{"{\"a\":\"\x9b2J\"}", `{"a":"\ufffd2J"}`},
		{"{\"a\":\"\xf0\x9f\"}", `{"a":"\ufffd\ufffd"}`},
		{"{\"a\":\"\U000e0001\"}", `{"a":"\udb40\udc01"}`},
	} {
		got := command.EscapeJSON([]byte(tt.in))
		if string(got) != tt.want || !json.Valid(got) || !utf8.Valid(got) {
			t.Errorf("line %q: %q, want %q", tt.in, got, tt.want)
		}
	}
}
