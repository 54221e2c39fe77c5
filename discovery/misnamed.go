package discovery

import (
	"fmt"
	"strings"
)

// mostDigitsWrong is how many digits of a fingerprint may be wrong for it to look like
// a typing mistake.
const mostDigitsWrong = 3

// Misnamed returns the line that was to name c, as if it did, and how to mend it: one that
// is no rule, or names somebody else, for a few digits of its first word. There is none,
// and fix is "", when a rule names c.
func (z *Authorized) Misnamed(c *Certificate) (rule Rule, fix string) {
	if z == nil || c == nil || z.Named(c) {
		return Rule{}, ""
	}
	names := namesOf(c)
	for _, line := range z.skipped {
		first, rest := cutWord(line.line)
		if strings.Trim(rest, blanks) == "" || outlandish(rest) || !plainWord(first) {
			continue // another first word would not make it a rule, or not the one that was meant
		}
		if name := (skippedLine{line: first}).meant(names); name != "" {
			return z.renamed(Rule{Line: line.Line, Certificate: name}, rest, c)
		}
	}
	for i := range z.rules {
		if name := z.rules[i].meant(names); name != "" {
			return z.renamed(Rule{Line: z.rules[i].Line, Certificate: name}, strings.Join(z.rules[i].Tokens, ","), c)
		}
	}
	return Rule{}, ""
}

// plainWord says whether a word has no token behind its fingerprint, and no sign before it
// that may have been put there to take its rights away.
func plainWord(word string) bool {
	letter := lowerByte(word[0])
	return ('0' <= letter && letter <= '9' || 'a' <= letter && letter <= 'z') && !strings.ContainsAny(strings.TrimRight(word, ",;="), ",;=")
}

// renamed fills in the tokens of a rule that is to name c.
func (z *Authorized) renamed(rule Rule, rest string, c *Certificate) (Rule, string) {
	for text := range tokenTexts(rest) {
		rule.Tokens, rule.parts = append(rule.Tokens, text), append(rule.parts, ParseToken(text))
	}
	if z.RequireSHA256 {
		rule.Certificate = c.SHA256Text()
	}
	return rule, fmt.Sprintf("write the first word of %s:%d as %s", z.file(), rule.Line, rule.Certificate)
}

// A ruleName is how a rule may name a certificate, and its digits, in lower case.
type ruleName struct{ text, digits string }

// namesOf returns how a rule may name c.
func namesOf(c *Certificate) [2]ruleName {
	long := c.SHA256Text()
	return [...]ruleName{{long, strings.TrimPrefix(long, sha256Prefix)}, {c.Fingerprint, hexDigits(c.Fingerprint)}}
}

// meant returns which of names the rule has but for a few digits, or "".
func (r *Rule) meant(names [2]ruleName) string {
	for i := range names {
		if n := differences(r.Certificate, names[i].text); 0 < n && n <= mostDigitsWrong {
			return names[i].text
		}
	}
	return ""
}

// meant returns which of names the line was to begin with, by all but a few of its digits
// and whatever stands between them, or "".
func (l skippedLine) meant(names [2]ruleName) string {
	text := lowerASCII(l.line[:min(len(l.line), maxLogText)])
	if _, rest, ok := strings.Cut(text, "sha256"); ok {
		text = strings.TrimLeft(rest, blanks+":=")
	}
	if i := strings.IndexAny(text, blanks+",;="); i >= 0 {
		text = text[:i]
	}
	digits := hexDigits(text)
	for i := range names {
		if Distance(digits, names[i].digits, mostDigitsWrong) <= mostDigitsWrong {
			return names[i].text
		}
	}
	return ""
}

// hexDigits returns the hex digits in a text, in lower case.
func hexDigits(text string) string {
	b := make([]byte, 0, len(text))
	for i := range len(text) {
		if hexDigit(text[i]) {
			b = append(b, lowerByte(text[i]))
		}
	}
	return string(b)
}

// differences counts the places in which two texts of one length differ, as far as
// mostDigitsWrong and one more; others differ in all.
func differences(a, b string) int {
	n := 0
	if len(a) != len(b) {
		return max(len(a), len(b))
	}
	for i := 0; i < len(a) && n <= mostDigitsWrong; i++ {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}
