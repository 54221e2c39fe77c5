package discovery

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"sync"
)

// cacheSeparator stands before each record of a cache file (PROTOCOL 8.1).
const cacheSeparator = "\n%%%\n"

// emptyCache is a cache file without records: readers take one of 0 octets, and we one
// of 1, for a broken one.
const emptyCache = "\n\n"

// A RecordError says why one record of a cache file was left out.
type RecordError struct {
	Number int // of the record in the file, counted from 1
	Offset int // of its first octet
	Err    error
}

// Error implements error.
func (e *RecordError) Error() string {
	return fmt.Sprintf("discovery: cache record %d at octet %d: %v", e.Number, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// A CacheMemory remembers the records of a cache file by their octets, good and
// bad ones, so that each signature is checked once however often the file
// changes. The zero value remembers nothing yet. It is for one goroutine at a
// time.
type CacheMemory struct {
	records cacheRecords // those of the last text

	mu           sync.Mutex              // protects certificates
	certificates map[string]*Certificate // while a text is read, by their section
}

// cacheRecords are records by the SHA-256 of their octets.
type cacheRecords map[[32]byte]cacheRecord

type cacheRecord struct {
	ann *Announcement
	err error
}

// ParseCache reads a cache file with the default limits.
func ParseCache(text []byte) (records []*Announcement, bad []*RecordError) {
	return Limits{}.ParseCache(text, nil)
}

// ParseCache reads the text of a cache file: every record with a good signature,
// in the order of the file, and an error for each other one. Records do not
// affect each other. What is before the first separator is ignored. Signatures
// are checked on all cores, those that memory knows not again; a nil memory is
// an empty one.
func (l Limits) ParseCache(text []byte, memory *CacheMemory) (records []*Announcement, bad []*RecordError) {
	l = l.WithDefaults()
	if memory == nil {
		memory = new(CacheMemory)
	}
	parts, extra := splitCache(text, l.MaxCacheRecords)
	sums := make([][32]byte, len(parts))
	results := make([]cacheRecord, len(parts))
	known := memory.records
	memory.certificates = make(map[string]*Certificate)
	parallel(len(parts), func(i int) {
		part := text[parts[i].from:parts[i].to]
		sums[i] = sha256.Sum256(part)
		var ok bool
		if results[i], ok = known[sums[i]]; !ok {
			results[i].ann, results[i].err = l.readCacheRecord(part, memory)
		}
	})
	memory.certificates = nil
	memory.records = make(cacheRecords, len(parts))
	records = make([]*Announcement, 0, len(parts))
	for i, r := range results {
		memory.records[sums[i]] = r
		if r.err != nil {
			bad = append(bad, &RecordError{Number: i + 1, Offset: parts[i].from, Err: r.err})
			continue
		}
		records = append(records, r.ann)
	}
	if extra >= 0 {
		bad = append(bad, &RecordError{Number: len(parts) + 1, Offset: extra, Err: refuse(countCacheTooBig,
			"this record and all after it are left out: want at most %d records", l.MaxCacheRecords)})
	}
	return records, bad
}

func (l Limits) readCacheRecord(text []byte, memory *CacheMemory) (*Announcement, error) {
	if len(text) > l.MaxCacheRecord {
		return nil, errRecord
	}
	sections, err := Split(text)
	if err != nil {
		return nil, err
	}
	certificate, err := memory.certificate(sections, l)
	if err != nil {
		return nil, err
	}
	return sections.Open(l, certificate)
}

// certificate reads the certificate of a record, once for all that have it: most
// services run more than one instance.
func (m *CacheMemory) certificate(s Sections, l Limits) (*Certificate, error) {
	m.mu.Lock()
	c := m.certificates[string(s.PEM)]
	m.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := s.Certificate(l)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if first := m.certificates[string(s.PEM)]; first != nil {
		return first, nil // another core was faster
	}
	m.certificates[string(s.PEM)] = c
	return c, nil
}

type span struct{ from, to int }

// splitCache returns where the records of a cache file are, and where the first
// one beyond most begins, or -1. A separator may lack its first LF at the very
// beginning, as one known file does, and where the one before it has it.
func splitCache(text []byte, most int) (parts []span, extra int) {
	short := []byte(cacheSeparator[1:])
	at := 0
	if !bytes.HasPrefix(text, short) {
		i := bytes.Index(text, []byte(cacheSeparator))
		if i < 0 {
			return nil, -1
		}
		at = i + len(cacheSeparator)
	}
	for {
		for bytes.HasPrefix(text[at:], short) {
			at += len(short)
		}
		if len(parts) == most {
			return parts, at
		}
		i := bytes.Index(text[at:], []byte(cacheSeparator))
		if i < 0 {
			return append(parts, span{at, len(text)}), -1
		}
		parts = append(parts, span{at, at + i})
		at += i + len(cacheSeparator)
	}
}
