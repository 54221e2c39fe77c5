package audit

import (
	"bytes"
	"io/fs"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// An Input is what was read. What is nil was not read, and is not judged.
type Input struct {
	Now          time.Time     // dates are judged by it
	Config       *scamp.Config // limits and switches; nil means the defaults
	Settings     *Settings     // soa.conf itself
	Rules        *File         // authorized_services
	Callers      *File         // the file of service.callers
	Pairs        []Pair        // key pairs of services
	Keys         []File        // private keys without a name
	Certificates []File        // certificates without a name
	TicketKeys   *File         // the file of auth.ticket_verify_key
	Cache        *Cache        // the cache file itself
	Bus          []Announced   // what is announced; nil means that nobody knows
}

// A File is what reading a file gave.
type File struct {
	Path string
	Text []byte
	Mode fs.FileMode // 0 where it means nothing
	Err  error       // why it could not be read
}

// A Pair is the files of a service's key pair.
type Pair struct {
	Service   string
	From      Place // the line that names them; zero when they lie at their default place
	Key, Cert File  // a Path that is empty is not configured
	Expected  bool  // it was named, so that a missing file is a mistake
	Foreign   bool  // others use it: that we may not read the key is right so
}

// An Announced is an announcement and where it was found. Its signature is good.
type Announced struct {
	Announcement *discovery.Announcement
	Place        Place
}

// A Cache is a discovery cache file, taken apart.
type Cache struct {
	File    File
	Age     time.Duration // since it was written
	MaxAge  time.Duration // an older one is stale; 0 means that its age does not matter
	Records []Announced
	Bad     []Announced // what was refused, with no Announcement
	reasons []error     // of Bad
}

// ReadCache takes a cache file apart. Keys that are refused for being short are read
// all the same, so that they can be told of.
func ReadCache(file File, limits discovery.Limits) *Cache {
	c := &Cache{File: file, Records: []Announced{}}
	if file.Err != nil {
		return c
	}
	limits.MinRSABits = 1024
	records, bad := limits.ParseCache(file.Text, nil)
	lines := lineCounter{text: file.Text}
	at := 0
	for _, a := range records {
		json := a.JSON()
		if i := bytes.Index(file.Text[at:], json); i >= 0 {
			at += i
		}
		c.Records = append(c.Records, Announced{a, Place{File: file.Path, Line: lines.line(at), Ident: a.Ident}})
		at += len(json)
	}
	lines = lineCounter{text: file.Text}
	for _, b := range bad {
		c.Bad = append(c.Bad, Announced{Place: Place{File: file.Path, Line: lines.line(b.Offset)}})
		c.reasons = append(c.reasons, b.Err)
	}
	return c
}

// A lineCounter says in which line an octet is. It is asked with rising offsets.
type lineCounter struct {
	text     []byte
	at, seen int
}

func (l *lineCounter) line(offset int) int {
	offset = min(max(offset, l.at), len(l.text))
	l.seen += bytes.Count(l.text[l.at:offset], []byte("\n"))
	l.at = offset
	return l.seen + 1
}

// Settings is soa.conf as it stands on disk, and what it says of this host.
type Settings struct {
	Config *scamp.Config // what could be read of it
	Host   []discovery.Iface
	Dirs   []Dir
	Paths  []Path

	problems []error
	file     File
}

// A Dir is a directory that a key names, or the directory of a file that it names.
type Dir struct {
	Key, Path string
	Err       error // why it cannot be used
	Foreign   bool  // it is another user's, who alone writes there
}

// A Path is a file that a key names and that should be there.
type Path struct {
	Key, Path string
	Err       error // why it cannot be read
}

// ReadSettings reads soa.conf. Lines with values that cannot be used are put aside, and
// told of by Run, so that the rest can be judged. The Config has no lines at all when
// the file is none.
func ReadSettings(file File) *Settings {
	s := &Settings{Config: &scamp.Config{File: file.Path}, file: file}
	if file.Err != nil {
		return s
	}
	text := bytes.TrimPrefix(file.Text, byteOrderMark)
	config, err := scamp.ParseConfig(text, file.Path)
	if err != nil {
		s.problems = flatten(err)
		// Without those lines; the numbers of the others stay.
		config, err = scamp.ParseConfig(withoutLines(text, s.problems), file.Path)
	}
	if err == nil {
		s.Config = config
	}
	return s
}

// Unreadable reports whether there is no configuration to judge by.
func (s *Settings) Unreadable() bool { return s.file.Err != nil }

// flatten returns the errors that err joins.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// withoutLines returns a configuration without the lines that cannot be used.
func withoutLines(text []byte, problems []error) []byte {
	bad := make(map[int]bool)
	for _, err := range problems {
		if line, ok := err.(*scamp.ConfigError); ok {
			bad[line.Line] = true
		}
	}
	var rest []byte
	n := 0
	for line := range bytes.Lines(text) {
		if n++; bad[n] {
			line = []byte("#\n")
		}
		rest = append(rest, line...)
	}
	return rest
}

// byteOrderMark is what some editors put in front of a file.
var byteOrderMark = []byte("\ufeff")
