package audit

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
)

// lines tells of the lines and tokens of a file that discovery found odd.
func (j *judge) lines(file *File, rules *discovery.Authorized) {
	if rules == nil {
		return
	}
	marked := bytes.HasPrefix(file.Text, byteOrderMark)
	if marked {
		j.add("file-bom", Place{File: file.Path, Line: 1}, "the rules begin with a byte order mark, so that line 1 is no rule")
	}
	ids := map[discovery.LineKind]string{
		discovery.LineSkipped:   "rule-malformed",
		discovery.LineReplaces:  "rule-duplicate",
		discovery.LineLowerCase: "fingerprint-case",
		discovery.TokenNoRight:  "token-no-right",
		discovery.TokenClassALL: "token-class-all",
		discovery.LineUnended:   "rules-unended",
	}
	misnamed := j.misnamed(rules)
	text := strings.Split(string(file.Text), "\n")
	for _, w := range rules.Warnings {
		if w.Kind == discovery.LineSkipped && w.Line == 1 && marked {
			continue
		}
		line, _, _ := strings.Cut(text[w.Line-1], "#")
		line = strings.TrimSpace(line)
		f := j.add(ids[w.Kind], Place{File: w.File, Line: w.Line}, "%s", w.Text)
		switch w.Kind {
		case discovery.LineSkipped:
			word := likelyFingerprint(line)
			if meant, ok := misnamed[w.Line]; ok {
				f.Fix = meant.fix
			} else if word != "" && strings.EqualFold(word, line[:min(len(word), len(line))]) {
				f.Fix = "write the line anew"
			} else if word != "" {
				f.Fix = "write its first word as " + word
			}
		case discovery.LineLowerCase:
			f.Fix = "write " + strings.ToUpper(strings.Fields(line)[0])
		case discovery.LineReplaces:
			duplicate(f, rules)
		}
	}
}

// A misnaming is a line that was to name a certificate that was seen.
type misnaming struct {
	of  *holder
	fix string
}

// misnamed returns those lines, by their number.
func (j *judge) misnamed(rules *discovery.Authorized) map[int]misnaming {
	lines := make(map[int]misnaming)
	for _, h := range j.order {
		if rule, fix := rules.Misnamed(h.cert); fix != "" {
			lines[rule.Line] = misnaming{h, fix}
		}
	}
	return lines
}

var (
	hexForm     = regexp.MustCompile(`^[0-9A-Fa-f]{40}$`)
	longHexForm = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
	hexPair     = regexp.MustCompile(`..`)
	hexMarks    = strings.NewReplacer(":", "", "-", "", ".", "", "\ufeff", "")
)

// likelyFingerprint returns the fingerprint that the first word of a line was meant to
// be, if its digits are all there.
func likelyFingerprint(line string) string {
	word, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	_, digits, cut := strings.Cut(strings.ToLower(word), "sha256")
	if !cut {
		digits = word
	}
	digits = hexMarks.Replace(strings.TrimPrefix(digits, "="))
	switch {
	case hexForm.MatchString(digits):
		return strings.TrimSuffix(hexPair.ReplaceAllString(strings.ToUpper(digits), "$0:"), ":")
	case longHexForm.MatchString(digits):
		return "sha256:" + strings.ToLower(digits)
	}
	return ""
}

// duplicate says which rights an earlier line loses to the one of f.
func duplicate(f *Finding, rules *discovery.Authorized) {
	all := append(append([]discovery.Rule(nil), rules.Replaced()...), rules.Rules()...)
	var later *discovery.Rule
	for i := range all {
		if all[i].Line == f.Place.Line {
			later = &all[i]
		}
	}
	if later == nil {
		return
	}
	tokens := append([]string(nil), later.Tokens...)
	var lost []string
	for i := range all {
		earlier := &all[i]
		if earlier.Certificate != later.Certificate || earlier.Line >= later.Line {
			continue
		}
		for k, token := range earlier.Tokens {
			if !later.Covers(earlier.Token(k)) && !has(lost, token) {
				lost = append(lost, token)
			}
		}
	}
	if len(lost) > 0 {
		f.Text += "; it lacks what the earlier one allows: " + quote(some(lost))
		tokens = append(tokens, lost...)
	}
	f.Fix = "make one line of them: " + strings.TrimSpace(later.Certificate+" "+strings.Join(tokens, ", "))
}

func has(list []string, text string) bool {
	for _, s := range list {
		if s == text {
			return true
		}
	}
	return false
}
