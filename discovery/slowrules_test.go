package discovery_test

import (
	"crypto/sha256"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
)

// A slowRules is a slow reading of PROTOCOL 9 by regular expressions, written
// from the text alone: each well-formed line becomes one expression, and the
// last line of a fingerprint counts. Lines seen before are remembered.
type slowRules struct {
	lines map[string]slowLine
}

type slowLine struct {
	fingerprint string
	rights      *regexp.Regexp
}

var (
	commentForm = regexp.MustCompile(`#.*$`)
	lineForm    = regexp.MustCompile(`(?s)^((?:[0-9A-Fa-f]{2}:){19}[0-9A-Fa-f]{2})(?:[ \t\r]+(.*))?$`)
	foreignForm = regexp.MustCompile(`[\x00-\x08\x0a-\x1f\x7f]`)
	letterForm  = regexp.MustCompile(`[A-Za-z]`)
)

// read returns the rights of each fingerprint in a file.
func (s *slowRules) read(file string) map[string]*regexp.Regexp {
	if s.lines == nil {
		s.lines = map[string]slowLine{}
	}
	rights := map[string]*regexp.Regexp{}
	for _, text := range strings.Split(file, "\n") {
		line, seen := s.lines[text]
		if !seen {
			line = readSlowly(text)
			s.lines[text] = line
		}
		if line.rights != nil {
			rights[line.fingerprint] = line.rights
		}
	}
	return rights
}

func readSlowly(line string) slowLine {
	line = strings.Trim(commentForm.ReplaceAllString(line, ""), " \t\r")
	m := lineForm.FindStringSubmatch(line)
	if m == nil {
		return slowLine{}
	}
	if foreignForm.MatchString(line) || strings.ToValidUTF8(line, "") != line {
		m[2] = "" // no right, and that is what counts for the fingerprint
	}
	alternatives := []string{`\z.`} // nothing matches this
	for _, token := range strings.Split(m[2], ",") {
		token = strings.Trim(token, " \t\r")
		switch {
		case token == "" || strings.HasSuffix(token, ":") && strings.Count(token, ":") == 1:
			continue
		case !strings.Contains(token, ":"):
			token = "main:" + token
		case strings.HasSuffix(token, ":ALL") && len(token) > 4:
			alternatives = append(alternatives, fold(strings.TrimSuffix(token, "ALL"))+".*")
			continue
		}
		alternatives = append(alternatives, fold(token)+`(?:\..*)?`)
	}
	return slowLine{strings.ToUpper(m[1]), regexp.MustCompile(`^(?s:` + strings.Join(alternatives, "|") + `)$`)}
}

// fold quotes text for an expression that takes both cases of ASCII letters,
// and of no others: (?i) would take U+212A for k.
func fold(text string) string {
	return letterForm.ReplaceAllStringFunc(regexp.QuoteMeta(text), func(letter string) string {
		return "[" + strings.ToUpper(letter) + strings.ToLower(letter) + "]"
	})
}

// mayOffer answers as PROTOCOL 9.2 does, from what slowRules read.
func mayOffer(rights map[string]*regexp.Regexp, fingerprint, sector, action string) bool {
	switch {
	case strings.HasPrefix(action, "_meta."):
		return true
	case strings.Contains(sector+action, ":") || rights[fingerprint] == nil:
		return false
	}
	return rights[fingerprint].MatchString(sector + ":" + action)
}

// Pieces from which rules and questions are made, near to each other on purpose.
var (
	somePairs   = []string{"11", "22", "AB", "ab", "C0"}
	someSectors = []string{"main", "web", "MAIN", "Web", "background", "x", ""}
	someNames   = []string{"Sample", "sample.Item", "Sample.Item.list", "Sam", "ALL", "all", "Sample.", ".", "a.b", "Product.Sku", "Product", "_meta", "_Meta.x", "a b", "a-b_1", ""}
	someTokens  = []string{"main:ALL", "web:ALL", "MAIN:ALL", "main:all", ":ALL", "x:y:ALL", "main:", "a:b:c", "ALL", "*", "Sample.*", "(a|b)", "^Sample$", "Kelvin"}
	someMarks   = []string{",", ", ", " ,", ",,", " ", "\t", "#", " # ", ":", "\r", "\x00", "\xff", ".", "é"}
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// someRules returns a file of well-formed lines.
func someRules(r *rand.Rand, lines int) string {
	var b strings.Builder
	for range lines {
		b.WriteString(fp(pick(r, somePairs)) + " ")
		for i := range r.IntN(4) {
			if i > 0 {
				b.WriteString(pick(r, someMarks[:4]))
			}
			switch r.IntN(3) {
			case 0:
				b.WriteString(pick(r, someTokens))
			case 1:
				b.WriteString(pick(r, someNames))
			default:
				b.WriteString(pick(r, someSectors) + ":" + pick(r, someNames))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// mutate changes a file in a few places, as editors and accidents do.
func mutate(r *rand.Rand, file string) string {
	for range 1 + r.IntN(5) {
		i := r.IntN(len(file))
		switch r.IntN(5) {
		case 0:
			file = file[:i] + pick(r, someMarks) + file[i:]
		case 1:
			file = file[:i] + file[min(len(file), i+1+r.IntN(3)):]
		case 2:
			j := r.IntN(len(file))
			file = file[:i] + file[j:min(len(file), j+r.IntN(30))] + file[i:]
		case 3:
			file = file[:i] + string([]byte{file[i] ^ 1<<r.IntN(8)}) + file[i+1:]
		default:
			file = file[:i] + strings.ToUpper(file[i:min(len(file), i+10)]) + file[min(len(file), i+10):]
		}
		if file == "" {
			return "#"
		}
	}
	return file
}

// sameRights compares a file as we read it with the slow reading, by questions.
func (s *slowRules) sameRights(t testing.TB, r *rand.Rand, file string, questions int) {
	t.Helper()
	z := mustRules(t, file)
	rights := s.read(file)
	sum := sha256.Sum256([]byte(file)) // that no line of it names: the slow reading knows SHA-1 only
	for range questions {
		fingerprint, sector, action := strings.ToUpper(fp(pick(r, somePairs))), pick(r, someSectors), pick(r, someNames)
		if r.IntN(2) == 0 {
			action += "." + pick(r, someNames)
		}
		want := mayOffer(rights, fingerprint, sector, action)
		certificate := &discovery.Certificate{Fingerprint: fingerprint, SHA256: sum}
		if d := z.Decide(certificate, sector, action); d.Allowed != want {
			t.Fatalf("rules\n%q\n%s %s:%s: %v: want allowed %v", file, fingerprint, sector, action, d, want)
		}
	}
}

// THREATS S2: a file that was damaged gives the rights of its well-formed lines,
// and never more: invariant 5.
func TestDamagedRulesGiveNoMore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	file := someRules(r, 200)
	mutants := 2000
	if raceEnabled {
		mutants = 200
	}
	var slow slowRules
	for range mutants {
		slow.sameRights(t, r, mutate(r, file), 20)
	}
}

// THREATS S6: 100,000 pairs of a token and an action.
func TestRulesAgreeWithSlowReading(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	files := 2000
	if raceEnabled {
		files = 200
	}
	var slow slowRules
	for range files {
		slow.sameRights(t, r, someRules(r, 5), 50)
	}
}
