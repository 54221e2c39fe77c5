package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// maxSpecs bounds a file of service specs. 100,000 of them have some 25 MiB.
const maxSpecs = 64 << 20 // octets

// readSpecs reads the service specs in text, one JSON value after the other: an array is
// the announcement itself, an object says what it is to be made of.
func readSpecs(name string, text []byte) ([]*serviceSpec, error) {
	var specs []*serviceSpec
	for at := skipBlanks(text, 0); at < len(text); at = skipBlanks(text, at) {
		end, bad, err := checkValue(text, at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", placeIn(name, text, bad), err)
		}
		spec := &serviceSpec{from: placeIn(name, text, at), json: text[at:end]}
		switch text[at] {
		case '[':
			if bytes.ContainsAny(spec.json, "\r\n\t") { // such a one cannot be announced
				var line bytes.Buffer
				json.Compact(&line, spec.json) // it is valid
				spec.json = line.Bytes()
			}
		case '{':
			if spec, err = readObject(name, text, at, end); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s: %s: want an object {...}, or an announcement [3,...]", spec.from, clean(string(spec.json)))
		}
		specs = append(specs, spec)
		at = end
	}
	if len(specs) == 0 {
		return nil, fmt.Errorf("%s: nothing in it: want an object {...}, or an announcement [3,...]", name)
	}
	return specs, nil
}

// placeIn is FILE:LINE:COLUMN.
func placeIn(name string, text []byte, offset int) string {
	line, column := lineAndColumn(text, offset)
	return fmt.Sprintf("%s:%d:%d", name, line, column)
}

func skipBlanks(text []byte, at int) int {
	if at == 0 && bytes.HasPrefix(text, []byte("\ufeff")) {
		at = len("\ufeff") // as editors on Windows begin a file
	}
	for at < len(text) && strings.IndexByte(" \t\r\n", text[at]) >= 0 {
		at++
	}
	return at
}

// checkValue returns where the JSON value at a place ends, or what is wrong and where.
func checkValue(text []byte, at int) (end, bad int, err error) {
	end, closed := len(text), true
	if text[at] == '[' || text[at] == '{' {
		end, closed = endOfNest(text, at)
	} else if i := bytes.IndexAny(text[at:], " \t\r\n"); i >= 0 {
		end = at + i
	}
	var raw json.RawMessage
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(text[at:end], &raw); {
	case err == nil:
		return end, 0, nil
	case !errors.As(err, &syntax):
		return 0, at, err
	case !closed && int(syntax.Offset) >= end-at:
		return 0, at, fmt.Errorf("this %c is never closed: want its other half", text[at])
	default:
		return 0, at + max(int(syntax.Offset)-1, 0), fmt.Errorf("no JSON: %w", err)
	}
}

// endOfNest returns where the brackets that open at a place are closed, if they are:
// strings are passed over, nothing else is checked.
func endOfNest(text []byte, at int) (end int, closed bool) {
	depth, inString := 0, false
	for i := at; i < len(text); i++ {
		switch b := text[i]; {
		case inString && b == '\\':
			i++
		case b == '"':
			inString = !inString
		case inString:
		case b == '[' || b == '{':
			depth++
		case b == ']' || b == '}':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return len(text), false
}

// specMembers are the members of an object, and how each is read.
var specMembers = []struct {
	name string
	want string
	read func(*serviceSpec, json.RawMessage) error
}{
	{"service", "a string", func(s *serviceSpec, v json.RawMessage) error { return json.Unmarshal(v, &s.service) }},
	{"ident", "a string", func(s *serviceSpec, v json.RawMessage) error { return json.Unmarshal(v, &s.ident) }},
	{"sector", "a string", func(s *serviceSpec, v json.RawMessage) error { return json.Unmarshal(v, &s.sector) }},
	{"envelopes", `a list of strings, for example ["json"]`, func(s *serviceSpec, v json.RawMessage) error {
		s.envelopes = nil
		return json.Unmarshal(v, &s.envelopes)
	}},
	{"weight", "a whole number, 0 to 100", func(s *serviceSpec, v json.RawMessage) error { return json.Unmarshal(v, &s.weight) }},
	{"interval_ms", "a whole number of milliseconds", func(s *serviceSpec, v json.RawMessage) error {
		var ms int32
		err := json.Unmarshal(v, &ms)
		s.interval = time.Duration(ms) * time.Millisecond
		return err
	}},
	{"address", "a string, HOST:PORT", func(s *serviceSpec, v json.RawMessage) error { return json.Unmarshal(v, &s.address) }},
	{"actions", `a list of strings, for example ["Hello.echo~1#noauth"]`, func(s *serviceSpec, v json.RawMessage) error {
		return json.Unmarshal(v, &s.actions)
	}},
	{"timestamp_ms", "a whole number of milliseconds since 1970", func(s *serviceSpec, v json.RawMessage) error { return json.Unmarshal(v, &s.timestamp) }},
}

// specMember returns the index of a member, or -1.
func specMember(name string) int {
	for i, m := range specMembers {
		if m.name == name {
			return i
		}
	}
	return -1
}

// readObject reads the object in text[at:end], which is valid JSON.
func readObject(name string, text []byte, at, end int) (*serviceSpec, error) {
	s := newSpec(placeIn(name, text, at))
	d := json.NewDecoder(bytes.NewReader(text[at:end]))
	d.Token() // the brace
	var seen []int
	for d.More() {
		place := placeIn(name, text, at+startOfNext(text[at:end], int(d.InputOffset())))
		token, _ := d.Token()
		key, _ := token.(string)
		i := specMember(key)
		if i < 0 {
			return nil, unknownMember(place, key)
		}
		if slices.Contains(seen, i) {
			return nil, fmt.Errorf("%s: member %q twice: want it once", place, key)
		}
		seen = append(seen, i)
		place = placeIn(name, text, at+startOfNext(text[at:end], int(d.InputOffset())))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		if err := specMembers[i].read(s, value); err != nil || string(value) == "null" {
			return nil, fmt.Errorf("%s: %s: %s: want %s", place, key, clean(string(value)), specMembers[i].want)
		}
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", s.from, err)
	}
	return s, nil
}

// startOfNext skips what stands between the parts of an object.
func startOfNext(text []byte, at int) int {
	for at < len(text) && strings.IndexByte(" \t\r\n,:", text[at]) >= 0 {
		at++
	}
	return at
}

// unknownMember refuses a member, and names those that are spelled alike.
func unknownMember(place, key string) error {
	var names []string
	for _, m := range specMembers {
		names = append(names, m.name)
	}
	err := fmt.Errorf("%s: unknown member %q: want %s", place, clean(key), strings.Join(names, ", "))
	for _, n := range names {
		if discovery.Distance(strings.ToLower(key), n, 3) < 3 || strings.HasPrefix(n, strings.ToLower(key)) && len(key) > 2 {
			return hint(err, "did you mean %q?", n)
		}
	}
	return err
}
