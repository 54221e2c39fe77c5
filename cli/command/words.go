package command

import (
	"errors"
	"strings"
)

// splitWords takes a command apart as a shell does, but without any expansion: words
// are separated by blanks; '...' holds anything; in "..." and outside of quotes a
// backslash takes the next character as it is.
func splitWords(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	open := false // a word has begun, if only with an empty pair of quotes
	quote := rune(0)
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, open = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case strings.ContainsRune(" \t\r\n", r):
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			word.WriteRune(r)
			open = true
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("a quote is not closed: want another " + string(quote))
	case escaped:
		return nil, errors.New("a backslash at the end: want a character behind it")
	case open:
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("no command: want a program and its arguments")
	}
	return words, nil
}
