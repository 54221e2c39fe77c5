package command

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
)

// An ensuredRule is the line for a certificate, as it is in the file now.
type ensuredRule struct {
	text  string
	line  int // counted from 1
	added bool
	wider []widerToken // what was asked for and is allowed by more than that
	anew  string       // what was there instead of rules: nothing, or a file without an octet
}

// A widerToken is a token that was asked for, and the one that allows it and more.
type widerToken struct{ want, have string }

// ensureRule makes sure that the rules at path let cert offer what tokens name. A line
// that is there is widened, since a second one for the same certificate would replace
// it (PROTOCOL 9.1). Two that run at once wait for each other.
func ensureRule(path string, cert *discovery.Certificate, tokens []string, name string, bySHA256 bool) (ensuredRule, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a link stays one
	}
	if _, err := makeDir(filepath.Dir(path)); err != nil {
		return ensuredRule{}, err
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return ensuredRule{}, err
	}
	defer unlock()
	text, anew, err := readRules(path)
	if err != nil {
		return ensuredRule{}, err
	}
	text, rule, err := widen(text, cert, tokens, name, bySHA256)
	if err != nil || !rule.added {
		return rule, err
	}
	rule.anew = anew
	return rule, replaceFile(path, text)
}

// readRules returns the rules file, or how a new one begins and what was there instead.
// One that is damaged is no ground to build on: with one good line more it would count, and
// take the rights of all whose lines were lost.
func readRules(path string) (text []byte, anew string, err error) {
	text, _, err = discovery.ReadFile(path, discovery.Limits{}.WithDefaults().MaxAuthzFile)
	if errors.Is(err, fs.ErrNotExist) {
		return []byte(rulesText), "was missing", nil
	}
	if err == nil && len(text) == 0 {
		return text, "was empty", nil
	}
	rules, parseErr := discovery.ParseAuthorized(bytes.NewReader(text))
	if err = cmp.Or(err, parseErr); err != nil {
		return nil, "", err
	}
	if err := rules.Damage(); err != nil {
		return nil, "", hint(err, "put the file back as it was, or mend its lines; move it away to begin anew, which takes the rights of all others")
	}
	return text, "", nil
}

// widen returns the rules with what tokens name allowed to cert.
func widen(text []byte, cert *discovery.Certificate, tokens []string, name string, bySHA256 bool) ([]byte, ensuredRule, error) {
	// A comment, so that a file of 0 octets is one that can be judged.
	rules, err := discovery.ParseAuthorized(bytes.NewReader(append(text[:len(text):len(text)], "\n#"...)))
	if err != nil {
		return nil, ensuredRule{}, err
	}
	rules.RequireSHA256 = bySHA256
	lines := strings.SplitAfter(string(text), "\n")
	rule, found := rules.RuleFor(cert)
	missing := rule.Lacks(tokens...)
	if !found {
		if n := len(lines) - 1; lines[n] != "" {
			lines[n] += "\n"
			lines = append(lines, "")
		}
		word := cert.Fingerprint
		if bySHA256 {
			word = cert.SHA256Text()
		}
		made := ensuredRule{text: word + " " + strings.Join(missing, ", "), line: len(lines) + 1, added: true}
		lines = append(lines, "# "+name+"\n", made.text+"\n")
		return widened(lines, made)
	}
	old := lines[rule.Line-1]
	content, comment, commented := strings.Cut(strings.TrimRight(old, "\r\n"), "#")
	content = strings.TrimSpace(content)
	if len(missing) == 0 {
		return text, ensuredRule{text: content, line: rule.Line, wider: wider(&rule, tokens)}, nil
	}
	// The first word stays as it is written there.
	word := strings.Fields(content)[0]
	made := ensuredRule{text: word + " " + strings.Join(append(rule.Tokens[:len(rule.Tokens):len(rule.Tokens)], missing...), ", "), line: rule.Line, added: true, wider: wider(&rule, tokens)}
	line := made.text
	if commented {
		line += " #" + comment
	}
	lines[rule.Line-1] = line + "\n"
	return widened(lines, made)
}

// widened returns lines as a whole, unless they pass a limit now: nobody would read them,
// and with them all rules would be gone.
func widened(lines []string, made ensuredRule) ([]byte, ensuredRule, error) {
	text := []byte(strings.Join(lines, ""))
	if _, err := discovery.ParseAuthorized(bytes.NewReader(text)); err != nil {
		return nil, ensuredRule{}, hint(err, "with this rule in it nobody would read the file any more: it stays as it is")
	}
	return text, made, nil
}

// wider returns what a rule has for those of tokens that it gives by a wider one.
func wider(rule *discovery.Rule, tokens []string) (pairs []widerToken) {
	for _, want := range tokens {
		t := discovery.ParseToken(want)
		for i, text := range rule.Tokens {
			if have := rule.Token(i); have.Covers(t) {
				if !t.Covers(have) {
					pairs = append(pairs, widerToken{want, text})
				}
				break
			}
		}
	}
	return pairs
}

// replaceFile writes a file whole: readers see the old one or the new one. Mode and
// owner stay as they were.
func replaceFile(path string, text []byte) (err error) {
	mode := fs.FileMode(0o644)
	info, statErr := os.Stat(path)
	if statErr == nil {
		mode = info.Mode().Perm()
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("want to replace it as a whole, which takes a directory we can write: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err == nil && statErr == nil {
		keepOwner(f, info)
	}
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir survive a crash of the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	d.Sync() // some file systems cannot; the rename is whole all the same
	return nil
}
