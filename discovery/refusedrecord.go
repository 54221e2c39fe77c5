package discovery

import (
	"bytes"
	"fmt"
	"slices"
)

// A RefusedRecord is a record of a cache file that says that it offers an action, and
// does not count.
type RefusedRecord struct {
	Number int // of the record in the file, counted from 1
	Offset int // of its first octet

	Ident   string // what it says of itself, which proves nothing
	Address string

	Err    error // why it does not count
	Replay bool  // its signature is good: a newer announcement of the instance was seen
}

// RefusedRecords reads the cache file that the directory follows, and returns the
// records in it that would answer q and do not count. It reads the file anew and looks at
// every record, so it is for people who ask why. Without a file there are none.
func (d *Directory) RefusedRecords(q Query) ([]RefusedRecord, error) {
	d.mu.Lock()
	reader := d.reader
	d.mu.Unlock()
	q, ok := q.normal()
	if reader == nil || !ok {
		return nil, nil
	}
	path := reader.State().Path
	text, _, err := ReadFile(path, d.limits.MaxCacheFile)
	if err != nil {
		return nil, fmt.Errorf("discovery: cache file %s: %w", path, err)
	}
	parts, _ := splitCache(text, d.limits.MaxCacheRecords)
	results := make([]*RefusedRecord, len(parts))
	parallel(len(parts), func(i int) { results[i] = d.refusedRecord(q, text[parts[i].from:parts[i].to]) })
	var refused []RefusedRecord
	for i, r := range results {
		if r != nil {
			r.Number, r.Offset = i+1, parts[i].from
			refused = append(refused, *r)
		}
	}
	return refused, nil
}

// refusedRecord says why a record does not count, nil when it does or is of no interest.
func (d *Directory) refusedRecord(q Query, text []byte) *RefusedRecord {
	json, _, _ := bytes.Cut(text, separator)
	said, err := d.limits.parseSigned(json, nil, nil, false)
	if err != nil || !said.wouldAnswer(q) {
		return nil
	}
	r := &RefusedRecord{Ident: said.Ident, Address: said.HostPort()}
	a, err := d.limits.ParseRecord(text)
	if err == nil {
		err = a.Verify()
	}
	if err != nil {
		r.Err = err
		return r
	}
	if r.Err = d.replayed(a); r.Err == nil {
		return nil
	}
	r.Replay = true
	return r
}

// wouldAnswer tells whether a says that it offers what q asks for.
func (a *Announcement) wouldAnswer(q Query) bool {
	if q.Ident != "" && q.Ident != a.Ident {
		return false
	}
	return slices.ContainsFunc(a.Actions, func(act Action) bool {
		return act.Version == q.Version && equalFoldASCII(act.Sector, q.Sector) && act.answersTo(q.Action)
	})
}

// replayed returns the error of the replay rule for a, nil when a is held or may be.
func (d *Directory) replayed(a *Announcement) error {
	now := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	in := d.instances[Instance{SHA256: a.Certificate.SHA256, Ident: a.Ident}]
	if in == nil {
		return nil
	}
	future := slices.Contains(in.history.futures, a.Timestamp) || a.Timestamp > now.Add(d.limits.FutureSkew).UnixMicro()
	return refusalOf(in.judge(a, future), a)
}
