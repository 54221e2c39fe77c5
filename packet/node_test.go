package packet_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/packet"
)

// nodeProgram has JSON.parse read a header a line, in base64, and says what it made
// of the members that decide what becomes of a message: "refused", or each of them as
// text in base64, "-" where there is none or null, "?" where it is something else.
const nodeProgram = `
const names = ["action", "type", "sector", "envelope", "ticket", "error", "error_code"];
const utf8 = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true});
function read(line) {
	let h;
	try { h = JSON.parse(utf8.decode(Buffer.from(line, "base64"))); } catch { return "refused"; }
	if (h === null || typeof h !== "object" || Array.isArray(h)) return "refused";
	return names.map(n => h[n] == null ? "-" : typeof h[n] === "string" ? "=" + Buffer.from(h[n]).toString("base64") : "?").join(" ");
}
let out = [];
const lines = require("readline").createInterface({input: process.stdin});
lines.on("line", line => {
	out.push(read(line));
	if (out.length === 1000) { process.stdout.write(out.join("\n") + "\n"); out = []; }
});
lines.on("close", () => process.stdout.write(out.join("\n") + (out.length ? "\n" : "")));
`

// TestParseAgreesWithNode has Parse and JSON.parse of Node read 200,000 headers,
// generated from those that were recorded: whatever Parse takes Node reads too, and
// to the same action and the same other members of text (THREATS P5). Parse may refuse
// what Node takes, for JSON.parse allows what peers must not send.
func TestParseAgreesWithNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("SKIP: no node to compare with: %v", err)
	}
	total := 200_000
	if race {
		total /= 10
	}
	cmd := exec.Command(node, "-e", nodeProgram)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	headers := make([][]byte, total)
	for i, g := 0, newHeaderGenerator(); i < total; i++ {
		headers[i] = g.next()
	}
	go func() { // ends when all is written, or node has ended
		defer in.Close()
		w := bufio.NewWriter(in)
		for _, body := range headers {
			fmt.Fprintln(w, base64.StdEncoding.EncodeToString(body))
		}
		w.Flush()
	}()
	taken := compareWithNode(t, out, headers)
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil && !t.Failed() {
		t.Fatalf("node: %v\n%s", err, complaint.Bytes())
	}
	t.Logf("%d headers, %d of them taken", total, taken)
	if !t.Failed() && (taken < total/4 || taken > total*9/10) {
		t.Errorf("%d of %d headers are taken: want many of both kinds", taken, total)
	}
}

// compareWithNode has Parse read the headers too. It stops at the first difference.
func compareWithNode(t *testing.T, out io.Reader, headers [][]byte) (taken int) {
	t.Helper()
	verdicts := bufio.NewScanner(out)
	verdicts.Buffer(nil, 1<<20)
	r := packet.NewHeaderReader(packet.Limits{})
	for i, body := range headers {
		if !verdicts.Scan() {
			t.Errorf("node read %d headers, %v; want %d", i, verdicts.Err(), len(headers))
			return taken
		}
		var h packet.Header
		err := r.Parse(body, &h)
		switch verdict := verdicts.Text(); {
		case err != nil:
			continue
		case verdict == "refused":
			t.Errorf("header %q: Parse takes it, JSON.parse does not", body)
			return taken
		default:
			if why := differs(&h, strings.Fields(verdict)); why != "" {
				t.Errorf("header %q: %s", body, why)
				return taken
			}
		}
		taken++
	}
	return taken
}

// differs says in what Parse and Node differ, and is empty if they agree.
func differs(h *packet.Header, members []string) string {
	typ := h.TypeText
	if h.Type != packet.TypeOther && h.Type != packet.TypeNone {
		typ = h.Type.String()
	}
	envelope := "json" // what an absent one means
	for i, tt := range []struct{ name, got, absent string }{
		{"action", h.Action, ""}, {"type", typ, ""}, {"sector", h.Sector, ""}, {"envelope", h.Envelope, envelope},
		{"ticket", h.Ticket, ""}, {"error", h.Error, ""}, {"error_code", h.ErrorCode, ""},
	} {
		want := tt.absent
		switch text, isText := strings.CutPrefix(members[i], "="); {
		case members[i] == "?":
			// Neither is a name of anything; what Parse keeps of it is its raw text.
			if tt.name != "type" && tt.name != "sector" && h.Bad == "" {
				return fmt.Sprintf("%s is no text, and Parse does not say so", tt.name)
			}
			continue
		case isText:
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return fmt.Sprintf("node: %s %q: %v", tt.name, text, err)
			}
			want = string(b)
			if tt.name == "envelope" && want == "" {
				want = envelope
			}
		}
		if tt.got != want {
			return fmt.Sprintf("%s %q, Node reads %q", tt.name, tt.got, want)
		}
	}
	return ""
}

// A headerGenerator makes headers, always the same ones in the same order.
type headerGenerator struct {
	*rand.Rand
	seeds []string
}

func newHeaderGenerator() *headerGenerator {
	return &headerGenerator{Rand: rand.New(rand.NewPCG(5, 5)), seeds: headerSeeds()}
}

func (g *headerGenerator) next() []byte {
	if g.IntN(3) > 0 {
		return []byte(g.object(0, true))
	}
	body := []byte(g.seeds[g.IntN(len(g.seeds))])
	for range g.IntN(4) {
		body = g.edit(body)
	}
	return body
}

// snippets are what the grammar of JSON, or ours, might stumble over.
var snippets = []string{
	`"`, `\`, `{`, `}`, `[`, `]`, `,`, `:`, ` `, "\t", "\n", "\r\n", "\v", "\x00", "\x7f", "\xff", "\xc0\x80", "\xed\xa0\x80", "\u2028", "\ufeff", "0", "-", "1e400", ".5",
	"-0", "01", "1.", "1e", "+1", "NaN", "nul", "null", "true", "tru", "\\u0061", "\\ud83d\\ude00", "\\ud83d", "\\u00", "\\x41", "\\/", "'", "/*x*/", "//x\n",
	`"action":"x",`, `"Action":"x",`, `"\u0061ction":"x",`, `"__proto__":{"action":"x"},`, `"constructor":1,`, `,"type":"cancel"`, `,"act\u0131on":"y"`,
}

// edit makes one small change.
func (g *headerGenerator) edit(b []byte) []byte {
	at := g.IntN(len(b) + 1)
	end := min(at+g.IntN(6), len(b))
	insert := snippets[g.IntN(len(snippets))]
	switch g.IntN(5) {
	case 0: // an octet becomes another
		insert, end = string(rune(g.IntN(128))), min(at+1, len(b))
	case 1: // some are lost
		insert = ""
	case 2: // some come twice
		insert, end = string(b[at:end]), at
	case 3: // something comes in
		end = at
	}
	return append(append(bytes.Clone(b[:at]), insert...), b[end:]...)
}

// object is a header, or an object within one.
func (g *headerGenerator) object(depth int, top bool) string {
	var b strings.Builder
	b.WriteString(g.space() + "{" + g.space())
	for i := range g.IntN(7) {
		if i > 0 {
			b.WriteString(g.space() + "," + g.space())
		}
		name := g.text()
		if top && g.IntN(4) > 0 {
			name = `"` + slowKnown[g.IntN(len(slowKnown))] + `"`
			if i < 2 {
				name = []string{`"action"`, `"type"`}[i]
			}
		}
		b.WriteString(name + g.space() + ":" + g.space() + g.value(depth+1))
	}
	b.WriteString(g.space() + "}" + g.space())
	return b.String()
}

func (g *headerGenerator) value(depth int) string {
	switch n := g.IntN(24); {
	case n < 12:
		return g.text()
	case n < 16:
		return []string{"0", "-0", "1", "17", "-5", "9007199254740993", "1e3", "0.5e-7", "1E+2", "123456789012345678901234567890", "1e999"}[g.IntN(11)]
	case n < 18:
		return "null"
	case n < 20:
		return []string{"true", "false"}[g.IntN(2)]
	case n < 22 && depth < 4:
		return g.object(depth, false)
	case n < 23 && depth < 4:
		return "[" + g.value(depth+1) + "," + g.space() + g.value(depth+1) + "]"
	case n < 23:
		return "[]"
	}
	return snippets[g.IntN(len(snippets))] // most likely no value at all
}

// text is a string, with escapes of all kinds.
func (g *headerGenerator) text() string {
	var b strings.Builder
	b.WriteByte('"')
	words := []string{"Sample", ".", "echo", "main", "request", "reply", "", "é", "\u2028", "😀", `\n`, `\"`, `\\`, `\/`, `\b\f\r\t`, `\u0041`, `\u00e9`, `\u0000`,
		`\ud83d\ude00`, "a b", "~1", "\x7f", "x", "Lab", "json"}
	for range g.IntN(4) {
		b.WriteString(words[g.IntN(len(words))])
	}
	if g.IntN(60) == 0 {
		b.WriteString(snippets[g.IntN(len(snippets))])
	}
	b.WriteByte('"')
	return b.String()
}

func (g *headerGenerator) space() string {
	if g.IntN(8) > 0 {
		return ""
	}
	return []string{" ", "\n", "\t", "\r\n", "  "}[g.IntN(5)]
}
