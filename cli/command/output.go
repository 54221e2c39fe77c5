package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxCell is how many octets of a foreign text are shown in one place.
const maxCell = 512

// clean makes foreign text fit for a line: what does not print is escaped, and what
// is long is cut (THREATS X1).
func clean(s string) string {
	if len(s) > maxCell {
		s = strings.ToValidUTF8(s[:maxCell], "") + "…"
	}
	return string(appendSafe(nil, []byte(s), ""))
}

// appendSafe appends text with everything escaped that does not print, except for the
// characters in keep.
func appendSafe(dst, text []byte, keep string) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = fmt.Appendf(dst, `\x%02x`, text[0])
		case unicode.IsPrint(r) || strings.ContainsRune(keep, r):
			dst = append(dst, text[:n]...)
		case r < 0x80:
			dst = fmt.Appendf(dst, `\x%02x`, r)
		case r <= 0xffff:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = fmt.Appendf(dst, `\U%08x`, r)
		}
		text = text[n:]
	}
	return dst
}

// A safeWriter lets no octet through that a terminal would obey, but line ends and
// tabs. A character that is cut by the end of a Write waits for the next one; Flush
// writes what still waits. Safe for concurrent use.
type safeWriter struct {
	w io.Writer

	mu   sync.Mutex
	part []byte // of a character
	last byte   // octet written last
}

func (s *safeWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := append(s.part, b...)
	whole := len(text)
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if c := text[len(text)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(text[len(text)-i:]) {
				whole = len(text) - i
			}
			break
		}
	}
	if err := s.putLocked(appendSafe(nil, text[:whole], "\n\t")); err != nil {
		return 0, err
	}
	s.part = append([]byte(nil), text[whole:]...)
	return len(b), nil
}

// Flush writes what is left of a character that never became whole.
func (s *safeWriter) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := appendSafe(nil, s.part, "\n\t")
	s.part = nil
	return s.putLocked(text)
}

func (s *safeWriter) putLocked(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	s.last = text[len(text)-1]
	_, err := s.w.Write(text)
	return err
}

// say writes one line of talk to stderr, which escapes what does not print.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

// printf writes data to stdout. Foreign text among args must have gone through clean.
func (a *app) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(a.stdout, format, args...); err != nil {
		return fmt.Errorf("%w: %w", errStdout, err)
	}
	return nil
}

// printJSON writes v as one line. Everything outside of printable text is escaped, so
// that the line is harmless on a terminal too.
func (a *app) printJSON(v any) error {
	line, err := jsonLine(v)
	if err != nil {
		return err
	}
	if _, err := a.stdout.Write(line); err != nil {
		return fmt.Errorf("%w: %w", errStdout, err)
	}
	return nil
}

// jsonLine returns v as JSON and a newline.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("scamp: output: %w", err)
	}
	return escapeJSON(b.Bytes()), nil
}

// escapeJSON escapes what does not print in lines of JSON. That is only inside of
// strings: the rest is ASCII.
func escapeJSON(text []byte) []byte {
	line := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1: // an octet that is no UTF-8
			line = append(line, `\ufffd`...)
		case r == '\n' || unicode.IsPrint(r):
			line = append(line, text[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			line = fmt.Appendf(line, `\u%04x\u%04x`, high, low)
		default:
			line = fmt.Appendf(line, `\u%04x`, r)
		}
		text = text[n:]
	}
	return line
}

// A jsonWriter escapes what does not print in lines of JSON, each of them one Write.
type jsonWriter struct{ w io.Writer }

func (j jsonWriter) Write(line []byte) (int, error) {
	if _, err := j.w.Write(escapeJSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// A table is rows of text, aligned on a terminal and separated by tabs in a pipe.
type table struct {
	head []string // shown on a terminal only
	rows [][]string
}

// add adds a row of foreign text.
func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// print writes the table to stdout.
func (a *app) printTable(t *table) error {
	var b strings.Builder
	if !a.onTerminal() {
		for _, row := range t.rows {
			b.WriteString(strings.Join(row, "\t") + "\n")
		}
		return a.printf("%s", b.String())
	}
	rows := append([][]string{t.head}, t.rows...)
	width := make([]int, len(t.head))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for i, row := range rows {
		line := ""
		for j, cell := range row {
			line += cell
			if j < len(row)-1 {
				line += strings.Repeat(" ", width[j]-utf8.RuneCountInString(cell)+2)
			}
		}
		if i == 0 {
			line = a.bold(line)
		}
		b.WriteString(line + "\n")
	}
	return a.printf("%s", b.String())
}

// bold returns text that stands out on a terminal that may have colours.
func (a *app) bold(text string) string {
	if !a.colours() {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// colours reports whether stdout is a terminal that may have them.
func (a *app) colours() bool {
	return a.onTerminal() && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// paint returns text in a colour where there may be any.
func (a *app) paint(colour int, text string) string {
	if !a.colours() {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, text)
}

// onTerminal reports whether people read stdout.
func (a *app) onTerminal() bool { return isTerminal(a.stdout) }

// isTerminal reports whether stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	c, err := f.SyscallConn() // Fd would make reads of it block a thread
	if err != nil {
		return false
	}
	is := false
	c.Control(func(fd uintptr) { is = terminal(int(fd)) })
	return is
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// joined is a list in one cell.
func joined(list []string) string { return strings.Join(list, ",") }
