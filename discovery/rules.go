package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// AuthorizedReaderOptions configure an AuthorizedReader. A nil pointer means the
// defaults.
type AuthorizedReaderOptions struct {
	RequireSHA256 bool         // ignore rules by SHA-1, key bus.require_sha256
	Callers       bool         // the rules say who may call: they go to OnLoad alone, and the directory keeps its own
	Log           *slog.Logger // nil means silence
	// OnLoad is called with rules that are in force from then on, by the goroutine
	// that runs Load or Run. Nil means nobody wants to know.
	OnLoad func(*Authorized)
}

// An AuthorizedReader keeps the rules of a directory in step with an
// authorized_services file (PROTOCOL 9.2), or those of callers in step with a file of
// the same form. A file that is missing, empty, broken or damaged (Authorized.Damage)
// changes nothing: the last good rules stay in force, and as long as there were none, nothing
// but _meta is allowed.
//
// Load and Run are for one goroutine at a time, State for any.
type AuthorizedReader struct {
	d      *Directory
	opts   AuthorizedReaderOptions
	report *reporter

	// Owned by the goroutine of Load or Run.
	file   watchedFile
	broken struct { // what could not be used: it is not read again until it changes
		id  fileID
		err error
	}
	text []byte // of the rules in force

	mu    sync.Mutex // protects state
	state AuthorizedState
}

// An AuthorizedState says which rules are in force.
type AuthorizedState struct {
	Path   string
	Rules  *Authorized // in force; nil when there never were any
	Loaded time.Time   // when they were read
	Err    error       // why the file cannot be used now, nil when it can
}

// String says it in one sentence, for people.
func (s AuthorizedState) String() string {
	switch {
	case s.Err != nil && s.Rules != nil:
		return fmt.Sprintf("%v; the rules of %s stay in force", s.Err, s.Loaded.Format(time.RFC3339))
	case s.Err != nil:
		return fmt.Sprintf("%v; nothing is allowed", s.Err)
	case s.Rules == nil:
		return fmt.Sprintf("rules %s are not read yet; nothing is allowed", s.Path)
	}
	return fmt.Sprintf("rules %s are in force, %d in all, read %s", s.Path, len(s.Rules.Rules()), s.Loaded.Format(time.RFC3339))
}

// NewAuthorizedReader returns a reader that puts the rules in the file into d.
func NewAuthorizedReader(path string, d *Directory, opts *AuthorizedReaderOptions) *AuthorizedReader {
	if opts == nil {
		opts = new(AuthorizedReaderOptions)
	}
	return &AuthorizedReader{
		d:      d,
		opts:   *opts,
		report: newReporter(opts.Log, d.limits, d.counters),
		file:   watchedFile{path: path, max: d.limits.MaxAuthzFile},
		state:  AuthorizedState{Path: path},
	}
}

// State returns which rules are in force.
func (r *AuthorizedReader) State() AuthorizedState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Load looks at the file now and puts its rules in force if it changed. The
// error says why it cannot be used; what was in force stays so then.
func (r *AuthorizedReader) Load() error {
	err := r.load()
	for err == errUnsettled { // somebody is writing it this very moment: at most maxLate times
		<-time.After(unsettledDelay)
		err = r.load()
	}
	return err
}

// Run looks at the file once a second until ctx ends, and returns why ctx ended.
func (r *AuthorizedReader) Run(ctx context.Context) error {
	return followFile(ctx, r.file.path, true, r.load)
}

func (r *AuthorizedReader) load() error {
	id, err := r.file.stat()
	switch {
	case err != nil:
	case id == r.file.last: // it was away and is back, or never went
		r.good(nil)
		return nil
	case r.broken.err != nil && id == r.broken.id:
		return r.keep(r.broken.err) // and it is as bad as it was
	}
	var rules *Authorized
	var text []byte
	if err == nil {
		rules, text, id, err = r.parse()
	}
	if err == errUnsettled {
		return err
	}
	if err != nil {
		r.broken.id, r.broken.err = id, err
		return r.keep(err)
	}
	r.file.last, r.text, r.broken.err = id, text, nil
	r.warn(rules.Warnings)
	if !r.opts.Callers {
		r.d.SetAuthorized(rules)
	}
	r.good(rules)
	if r.opts.OnLoad != nil {
		r.opts.OnLoad(rules)
	}
	return nil
}

// good notes that the file can be used, with rules if they are new.
func (r *AuthorizedReader) good(rules *Authorized) {
	r.mu.Lock()
	was := r.state.Err
	r.state.Err = nil
	if rules != nil {
		r.state.Rules, r.state.Loaded = rules, r.d.now()
	}
	r.mu.Unlock()
	if was != nil {
		r.report.say(slog.LevelInfo, r.counter()+" over", "rules are read again", "path", r.file.path)
	}
}

// counter is what counts that the file cannot be used.
func (r *AuthorizedReader) counter() string {
	if r.opts.Callers {
		return countCallers
	}
	return countAuthz
}

// maxWarnings is how many doubtful lines are logged of one reading of the file.
const maxWarnings = 20

// warn logs what is doubtful in a file that was read.
func (r *AuthorizedReader) warn(warnings []LineWarning) {
	if r.opts.Log == nil {
		return
	}
	for i, w := range warnings {
		if i == maxWarnings {
			r.opts.Log.Warn("discovery: more doubtful rules", "file", w.File, "lines", len(warnings)-i)
			return
		}
		r.opts.Log.Warn("discovery: doubtful rule", "file", w.File, "line", w.Line, "what", w.Text)
	}
}

func (r *AuthorizedReader) parse() (*Authorized, []byte, fileID, error) {
	text, id, err := r.file.read()
	if err != nil {
		return nil, nil, id, err
	}
	if cutOffRules(text, r.text) {
		return nil, nil, id, refuse(countAuthz, "rules %s: cut off in line %d: want a whole file, with a line feed at its end",
			quoted(r.file.path), 1+bytes.Count(text, []byte("\n")))
	}
	rules, err := r.d.limits.ParseAuthorized(bytes.NewReader(text), r.file.path)
	if err == nil {
		err = rules.Damage()
	}
	if err != nil {
		return nil, nil, id, err
	}
	rules.RequireSHA256, rules.Callers = r.opts.RequireSHA256, r.opts.Callers
	return rules, text, id, nil
}

// cutOffRules tells whether text is what a full disk or a writer that died leaves of the
// text before: its beginning, and no whole line at the end. A token that is cut may give
// more than it did.
func cutOffRules(text, before []byte) bool {
	return len(text) > 0 && bytes.HasPrefix(before, text) && text[len(text)-1] != '\n' &&
		len(text) < len(bytes.TrimSuffix(before, []byte("\n"))) // else an editor took the last line feed away
}

// keep notes why the last good rules stay in force, once for each reason.
func (r *AuthorizedReader) keep(err error) error {
	if refusal, ok := errors.AsType[*Error](err); !ok || refusal.Counter != countAuthz { // else it names the file
		err = fmt.Errorf("discovery: rules %q: %w", r.file.path, err)
	}
	r.mu.Lock()
	again := r.state.Err != nil && r.state.Err.Error() == err.Error()
	r.state.Err = err
	had := r.state.Rules != nil
	r.mu.Unlock()
	if !had && !again && !r.opts.Callers {
		r.d.setTrouble(r.file.path, err)
	}
	if !again {
		r.d.counters.add(r.counter(), 1)
		text := "rules cannot be read: the last good ones stay in force"
		switch {
		case had:
		case r.opts.Callers:
			text = "rules of callers cannot be read, and never were: enforce lets nobody call, audit serves everybody; want the file that service.callers names"
		default:
			text = "rules cannot be read, and never were: nothing is allowed; want the file that bus.authorized_services names"
		}
		r.report.say(slog.LevelError, r.counter(), text, "error", err)
	}
	return err
}
