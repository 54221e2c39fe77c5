package discovery

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// CacheUpdateOptions configure UpdateCacheFile. A nil pointer means the defaults.
type CacheUpdateOptions struct {
	Limits Limits
	// Loose also puts announcements into the file that are not in strict form; see
	// CacheWriterOptions.
	Loose bool
	// IgnoreLock changes the file although a cache daemon writes it. The daemon puts
	// its own content back within seconds.
	IgnoreLock bool
	Now        func() time.Time // nil means time.Now
}

// A CacheChange is what became of an announcement in a cache file.
type CacheChange int

// What may become of it.
const (
	RecordAdded     CacheChange = iota // it is a new record
	RecordReplaced                     // it took the place of an older one of its instance
	RecordUnchanged                    // the same octets were there already
	RecordRemoved                      // it is a withdrawal, so its instance was taken out of the file
	RecordAbsent                       // it is a withdrawal, and its instance was not in the file
)

// String returns the word for c.
func (c CacheChange) String() string {
	if c < RecordAdded || c > RecordAbsent {
		return fmt.Sprintf("CacheChange(%d)", int(c))
	}
	return [...]string{"added", "replaced", "unchanged", "removed", "not there"}[c]
}

// A CacheUpdate says what UpdateCacheFile did.
type CacheUpdate struct {
	Changes []CacheChange  // of the announcements, in their order
	Records int            // in the file now
	Bad     []*RecordError // records that nobody can read; they stay as they are
}

// UpdateCacheFile puts signed announcements into the cache file at path, which is made
// if it is missing: each takes the place of the record of its instance, by fingerprint
// and ident, or is a new one, and a withdrawal takes its instance out. All other records
// stay octet for octet. The file is replaced as a whole, in the order of PROTOCOL 8.2;
// when nothing is to change it gets a sign of life.
//
// It is for files that no daemon writes: it waits a moment for whoever else holds the
// lock of the file, then returns an error. It returns an error, and leaves the file
// alone, also for an announcement that readers would rank below the record that is there
// (PROTOCOL 7.9), that is not in strict form, or whose instance comes twice, and when
// readers would find the file too large.
func UpdateCacheFile(ctx context.Context, path string, announcements []*Announcement, opts *CacheUpdateOptions) (CacheUpdate, error) {
	if opts == nil {
		opts = new(CacheUpdateOptions)
	}
	u := cacheUpdate{path: path, opts: *opts, limits: opts.Limits.WithDefaults(), now: time.Now, places: make(map[recordKey][]int)}
	if opts.Now != nil {
		u.now = opts.Now
	}
	if err := u.check(announcements); err != nil {
		return CacheUpdate{}, err
	}
	done, err := u.run(ctx, announcements)
	if err != nil {
		return CacheUpdate{}, fmt.Errorf("discovery: cache file %s: %w", path, err)
	}
	return done, nil
}

// A cacheUpdate is one run of UpdateCacheFile.
type cacheUpdate struct {
	path   string
	opts   CacheUpdateOptions
	limits Limits
	now    func() time.Time

	old      []byte // content of the file
	preamble []byte // before its first record
	records  []filedRecord
	places   map[recordKey][]int // of the records that can be read, the one that counts first
	bad      []*RecordError
}

// A recordKey is what there is at most one record of (PROTOCOL 8.2).
type recordKey struct {
	fingerprint, ident string
}

// A filedRecord is a record as it stands in the file.
type filedRecord struct {
	text []byte
	key  recordKey
	ann  *Announcement // nil for one that cannot be read
	gone bool          // to be left out
}

func (u *cacheUpdate) run(ctx context.Context, announcements []*Announcement) (CacheUpdate, error) {
	if err := checkPlace(u.path); err != nil {
		return CacheUpdate{}, err
	}
	if !u.opts.IgnoreLock {
		lock, err := lockWriters(ctx, u.path)
		if err != nil {
			return CacheUpdate{}, err
		}
		defer lock.Unlock()
	}
	if err := tryPlace(u.path); err != nil {
		return CacheUpdate{}, err
	}
	if err := u.read(); err != nil {
		return CacheUpdate{}, err
	}
	done := CacheUpdate{Changes: make([]CacheChange, len(announcements)), Bad: u.bad}
	for i, a := range announcements {
		var err error
		if done.Changes[i], err = u.put(a); err != nil {
			return CacheUpdate{}, err
		}
	}
	text, n := u.render()
	done.Records = n
	return done, u.write(text, n)
}

// check says why announcements may not be written, or returns nil.
func (u *cacheUpdate) check(announcements []*Announcement) error {
	seen := make(map[recordKey]bool, len(announcements))
	for _, a := range announcements {
		if err := a.Verify(); err != nil {
			return err
		}
		if err := a.Strict(); err != nil && !u.opts.Loose {
			return err
		}
		key := keyOf(a)
		if seen[key] {
			return fmt.Errorf("instance %s of certificate %s comes twice: want each ident once", quoted(a.Ident), key.fingerprint)
		}
		seen[key] = true
	}
	return nil
}

func keyOf(a *Announcement) recordKey { return recordKey{a.Certificate.Fingerprint, a.Ident} }

// read takes the file apart.
func (u *cacheUpdate) read() error {
	file := watchedFile{path: u.path, max: u.limits.MaxCacheFile, late: maxLate}
	var err error
	if u.old, _, err = file.read(); err != nil {
		return ignoreMissing(err)
	}
	spans, _ := splitCache(u.old, math.MaxInt)
	if len(spans) == 0 {
		if len(bytes.TrimSpace(u.old)) > 0 {
			return errors.New("there is no record in it: want a cache file, or none")
		}
		return nil
	}
	// The separator of the first record may lack its LF at the beginning of the file.
	u.preamble = u.old[:max(spans[0].from-len(cacheSeparator), 0)]
	u.records = make([]filedRecord, len(spans))
	errs := make([]error, len(spans))
	parallel(len(spans), func(i int) {
		r := &u.records[i]
		r.text = u.old[spans[i].from:spans[i].to]
		if r.ann, errs[i] = u.limits.ParseRecord(r.text); errs[i] == nil {
			r.key = keyOf(r.ann)
		}
	})
	for i, r := range u.records {
		if errs[i] != nil {
			u.bad = append(u.bad, &RecordError{Number: i + 1, Offset: spans[i].from, Err: errs[i]})
			continue
		}
		places := append(u.places[r.key], i)
		if n := len(places) - 1; u.records[places[0]].ann.Timestamp < r.ann.Timestamp {
			places[0], places[n] = places[n], places[0]
		}
		u.places[r.key] = places
	}
	return nil
}

// put takes one announcement into the records.
func (u *cacheUpdate) put(a *Announcement) (CacheChange, error) {
	key, text := keyOf(a), a.Record()
	places := u.places[key]
	switch {
	case len(places) == 0 && a.Withdrawn():
		return RecordAbsent, nil
	case len(places) == 0:
		u.records = append(u.records, filedRecord{text: text, key: key, ann: a})
		return RecordAdded, nil
	}
	old := u.records[places[0]]
	if len(places) == 1 && bytes.Equal(old.text, text) && !a.Withdrawn() {
		return RecordUnchanged, nil
	}
	newer := a.Timestamp > old.ann.Timestamp || a.Timestamp == old.ann.Timestamp && (a.Withdrawn() || bytes.Equal(a.JSON(), old.ann.JSON()))
	soon := u.now().Add(u.limits.FutureSkew).UnixMicro()
	future, was := a.Timestamp > soon, old.ann.Timestamp > soon
	if future != was { // whatever the numbers (PROTOCOL 7.9 rule 2)
		newer = was
	}
	switch {
	case newer || old.ann.Verify() != nil: // a record that nobody believes ranks nothing
	case future && !was:
		return 0, fmt.Errorf("timestamp %d of instance %s is in the future, and the record that is there has one that is not: want one that is not",
			a.Timestamp/1000, quoted(a.Ident))
	default:
		return 0, fmt.Errorf("the record of instance %s has timestamp %d, and readers that know it would not take one of %d: want a larger one",
			quoted(a.Ident), old.ann.Timestamp/1000, a.Timestamp/1000)
	}
	for _, i := range places {
		u.records[i].gone = true
	}
	if a.Withdrawn() {
		return RecordRemoved, nil
	}
	u.records[places[0]] = filedRecord{text: text, key: key, ann: a}
	return RecordReplaced, nil
}

// render returns the content that the file is to have, and how many records that is.
func (u *cacheUpdate) render() (text []byte, n int) {
	records := slices.DeleteFunc(u.records, func(r filedRecord) bool { return r.gone })
	slices.SortStableFunc(records, func(a, b filedRecord) int {
		switch {
		case a.ann == nil && b.ann == nil:
			return 0
		case a.ann == nil: // what cannot be read comes last
			return 1
		case b.ann == nil:
			return -1
		}
		return cmp.Or(cmp.Compare(a.key.fingerprint, b.key.fingerprint), cmp.Compare(a.key.ident, b.key.ident))
	})
	var b bytes.Buffer
	b.Write(u.preamble)
	for _, r := range records {
		b.WriteString(cacheSeparator)
		b.Write(r.text)
	}
	if len(records) == 0 {
		b.WriteString(emptyCache)
	}
	return b.Bytes(), len(records)
}

// write puts text in the place of the file, or gives a sign of life when that is what
// it holds.
func (u *cacheUpdate) write(text []byte, records int) error {
	switch {
	case records > u.limits.MaxCacheRecords:
		return fmt.Errorf("%d records: want at most %d, which is what readers take", records, u.limits.MaxCacheRecords)
	case len(text) > u.limits.MaxCacheFile:
		return fmt.Errorf("%d octets: want at most %d, which is what readers take", len(text), u.limits.MaxCacheFile)
	}
	now := u.now()
	if u.old != nil && bytes.Equal(text, u.old) {
		return os.Chtimes(u.path, now, now)
	}
	_, err := replaceFile(u.path, text, now)
	return err
}
