package discovery

import (
	"slices"
	"time"
	"weak"
)

// LoadFile makes records all that the cache file holds now: new and changed ones
// are held, those that were in the file before and are not any more leave it. An
// instance that is also heard by datagram stays. Records count while they are in
// the file, whatever their age (PROTOCOL 8.3); the replay rule holds for them,
// the budgets for datagrams do not. Records past MaxCacheRecords and those
// without a good signature are left out.
func (d *Directory) LoadFile(records []*Announcement) {
	read := make([]*Announcement, len(records))
	parallel(len(records), func(i int) {
		a, err := d.limits.reread(records[i])
		if d.count(err) == nil {
			read[i] = a
		}
	})
	d.loadFile(slices.DeleteFunc(read, func(a *Announcement) bool { return a == nil }), true)
}

// loadFile is LoadFile for records that are exactly what was read and verified. When
// they are not the whole file, nobody leaves it.
func (d *Directory) loadFile(records []*Announcement, whole bool) {
	if extra := len(records) - d.limits.MaxCacheRecords; extra > 0 {
		d.counters.add(countCacheTooBig, extra)
		records = records[:d.limits.MaxCacheRecords]
	}
	now := d.now()
	views := d.lookAhead(records)

	d.publishing.Lock()
	before := d.inFile
	d.inFile = make([]*instance, 0, len(records))
	notes := d.inParts(len(records), func(i int) { d.loadLocked(records[i], views[i], now) })
	d.mu.Lock()
	d.scan++ // from now on, those that were not seen are not in the file
	notes = append(notes, d.release()...)
	notes = append(notes, d.inParts(len(before), func(i int) {
		switch in := before[i]; {
		case d.inFileLocked(in):
		case whole:
			d.leaveFileLocked(in)
		default:
			in.scan = d.scan
			d.inFile = append(d.inFile, in)
		}
	})...)
	d.mu.Lock()
	d.trimFileLocked()
	notes = append(notes, d.release()...)
	d.publish()
	d.publishing.Unlock()
	d.say(notes)
}

// trimFileLocked forgets the oldest of what was in the file once, if it is too much.
func (d *Directory) trimFileLocked() {
	for in := d.pools.file.oldest; in != nil && d.pools.file.kept > d.pools.file.maxKept; {
		old := in
		in = in.newer
		if old.view == nil && !d.inFileLocked(old) {
			d.forgetLocked(old)
			d.counters.add(countForgotten, 1)
		}
	}
}

// lookAhead makes the views of records, on all cores and under no lock. It is
// nil for what the directory seems to hold already.
func (d *Directory) lookAhead(records []*Announcement) []*view {
	rules, x := d.Authorized(), d.index.Load()
	views := make([]*view, len(records))
	parallel(len(records), func(i int) {
		a := records[i]
		if v := x.view(Instance{SHA256: a.Certificate.SHA256, Ident: a.Ident}); v == nil || v.ann != a {
			views[i] = d.see(a, rules, Live, noObstacle, false)
		}
	})
	return views
}

// loadLocked takes one record of the file. The view may be nil, or made under other
// rules.
func (d *Directory) loadLocked(a *Announcement, v *view, now time.Time) {
	key := Instance{SHA256: a.Certificate.SHA256, Ident: a.Ident}
	in := d.instances[key]
	if in == nil {
		in = &instance{key: key, certificate: a.Certificate, place: -1}
		d.instances[key] = in
	}
	in.seen = d.clock.now()
	wasInFile, again := d.inFileLocked(in), in.scan > d.scan
	if !again {
		in.scan = d.scan + 1
		d.inFile = append(d.inFile, in)
	}
	if in.pool == nil || in.pool == &d.pools.file {
		d.moveLocked(in, &d.pools.file)
	}
	future := in.history.future(a.Timestamp, now, d.limits.FutureSkew)
	verdict := in.judge(a, future)
	if verdict == tooEarly && !in.heard && !again {
		verdict = replaces // what is held has left the file, so nothing is
	}
	switch apart := verdict == elsewhere; {
	case again && apart: // the file has both, and the first one counts
	case apart && d.freshLocked(in):
		in.apart = true
	case apart:
		in.apart, verdict = false, replaces
	default:
		in.apart = false
	}
	switch verdict {
	case elsewhere:
	case replaces:
		if v == nil || v.rules != weak.Make(d.rules) {
			v = d.see(a, d.rules, Live, noObstacle, false)
		}
		d.noticeLocked(in, a, future)
		d.holdLocked(in, v, future)
		if in.heard {
			d.chargeLocked(in, true)
		}
	case repeats:
		if !wasInFile && in.view.obstacle == foreignLoopback {
			d.reviewLocked(in, d.rules, Announced)
		}
	default:
		d.count(refusalOf(verdict, a))
	}
	d.queueLocked(in)
}

// leaveFileLocked takes in out of the file.
func (d *Directory) leaveFileLocked(in *instance) {
	in.seen = d.clock.now()
	switch {
	case in.view == nil:
	case !in.heard:
		d.dropLocked(in, LeftFile)
	case d.obstacleLocked(in, in.view.ann) != in.view.obstacle:
		d.reviewLocked(in, d.rules, LeftFile)
	}
	d.queueLocked(in)
}
