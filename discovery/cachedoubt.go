package discovery

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"slices"
)

// A doubtful text is one that may be cut off.
type doubtful struct {
	sum  [32]byte
	last [32]byte // sum of what is behind its last separator
	size int
}

// confirms tells whether its writer stands by a text that is doubtful as the one before
// it was: it gave a sign of life with the same one, or wrote another one of another size,
// which no cut ends at the same octet of the same record.
func (t doubtful) confirms(before doubtful) bool {
	return t.sum == before.sum || t.last == before.last && t.size != before.size && t.last != sha256.Sum256(nil)
}

// cutOff tells whether the text of a file, with these records, may be cut off.
func (r *CacheReader) cutOff(text, last []byte, sum [32]byte, records []*Announcement, id fileID) bool {
	for n := 2; n < len(cacheSeparator); n++ {
		if bytes.HasSuffix(text, []byte(cacheSeparator[:n])) {
			return true
		}
	}
	if _, ok := r.known[sum]; !ok && len(last) > 0 && !wholeRecord(last) {
		return true
	}
	if !isPrefix(records, r.loaded) {
		return false
	}
	if r.file.settled && id.dev == r.from.dev && id.inode == r.from.inode { // made shorter where it is
		return true
	}
	// Files of others are whole that end without a line feed, or with one too many: if all
	// records of one end so, the last one is as it was when others came behind it.
	if _, ok := r.known[sum]; ok || !bytes.Contains(text, []byte(cacheSeparator[1:])) {
		return false
	}
	return len(last) == 0 || last[len(last)-1] != '\n' || bytes.HasSuffix(last, separator)
}

// lastRecord returns what is behind the last separator of text, nil if it has none.
func lastRecord(text []byte) []byte {
	last := text[bytes.LastIndex(text, []byte(cacheSeparator))+1:] // from the "%%%" on, if there is one
	record, ok := bytes.CutPrefix(last, []byte(cacheSeparator[1:]))
	if !ok {
		return nil
	}
	return record
}

// wholeRecord tells whether a record, good or bad, is not one that was cut within its
// sections. A signature may be wrong in other ways, but not too short for its key.
func wholeRecord(record []byte) bool {
	sections, err := Split(record)
	if err != nil {
		return false
	}
	c, err := sections.Certificate(Limits{MinRSABits: fewestRSABits}.WithDefaults())
	return err != nil || sections.characters() >= base64.StdEncoding.EncodedLen(c.key.Size())
}

// allWhole tells whether all records of a text are whole.
func (l Limits) allWhole(text []byte) bool {
	parts, extra := splitCache(text, l.MaxCacheRecords)
	return len(parts) > 0 && extra < 0 && !slices.ContainsFunc(parts, func(p span) bool { return !wholeRecord(text[p.from:p.to]) })
}

// isPrefix tells whether records are the first ones of all, and not all of them.
func isPrefix(records, all []*Announcement) bool {
	return len(records) < len(all) && slices.EqualFunc(records, all[:len(records)], func(a, b *Announcement) bool {
		return a == b || a.Certificate.SHA256 == b.Certificate.SHA256 && bytes.Equal(a.JSON(), b.JSON())
	})
}
