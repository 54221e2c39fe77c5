package discovery

import (
	"bytes"
	"cmp"
	"log/slog"
	"slices"
)

// adopt reads the file that is there. What is in it ranks the announcements to
// come; it tells whether there are records in it.
func (w *CacheWriter) adopt() bool {
	old := watchedFile{path: w.path, max: w.d.limits.MaxCacheFile, late: maxLate}
	text, _, err := old.read()
	if err != nil || len(text) == 0 {
		return false
	}
	records, _ := w.d.limits.ParseCache(text, nil)
	w.d.remember(records)
	return len(records) > 0
}

// remember takes the timestamps of announcements into the replay memory, and
// nothing else.
func (d *Directory) remember(records []*Announcement) {
	now := d.now()
	d.mu.Lock()
	defer d.unlock()
	for _, a := range records {
		key := Instance{SHA256: a.Certificate.SHA256, Ident: a.Ident}
		in := d.instances[key]
		if in == nil {
			in = &instance{key: key, certificate: a.Certificate, place: -1, seen: d.clock.now()}
			d.instances[key] = in
			d.moveLocked(in, &d.pools.file)
		}
		in.history.take(a, in.history.future(a.Timestamp, now, d.limits.FutureSkew))
		d.queueLocked(in)
	}
}

// render returns the content that the file is to have.
func (w *CacheWriter) render() (text []byte, records int) {
	var b bytes.Buffer
	b.Grow(len(w.written) + 4<<10)
	views, rules := w.d.heard()
	w.mu.Lock()
	next := w.next
	w.mu.Unlock()
	if next != w.policy {
		w.judged = nil // what is left out now is told
	}
	w.policy, w.rules = next, rules
	judged := make(map[*Announcement]bool, len(views))
	for _, v := range views {
		may, ok := w.judged[v.ann]
		if !ok {
			may = w.judge(v.ann)
		}
		judged[v.ann] = may
		if !may || w.policy.namedOnly && !rules.Named(v.ann.Certificate) {
			continue
		}
		b.WriteString(cacheSeparator)
		b.Write(v.ann.Record())
		records++
	}
	w.judged = judged
	if records == 0 {
		b.WriteString(emptyCache)
	}
	return b.Bytes(), records
}

// judge says whether an announcement may be written, and logs once why not.
func (w *CacheWriter) judge(a *Announcement) bool {
	if w.policy.namedOnly && !w.d.Authorized().Named(a.Certificate) {
		w.d.counters.add(countUnauthorized, 1)
	}
	err := a.Strict()
	if w.policy.loose || err == nil {
		return true
	}
	w.d.counters.add(countNotStrict, 1)
	w.report.say(slog.LevelWarn, countNotStrict, "left out of the cache file to protect old readers", "ident", cut(a.Ident), "error", err)
	return false
}

// heard returns what belongs into a cache file, in the order of PROTOCOL 8.2:
// what is alive, allowed or not, but for what nobody may use.
func (d *Directory) heard() ([]*view, *Authorized) {
	var views []*view
	d.eachHeld(func(in *instance) {
		if in.heard && in.view.state == Live && in.view.obstacle != foreignLoopback {
			views = append(views, in.view)
		}
	})
	slices.SortFunc(views, func(a, b *view) int {
		return cmp.Or(cmp.Compare(a.ann.Certificate.Fingerprint, b.ann.Certificate.Fingerprint), cmp.Compare(a.ann.Ident, b.ann.Ident),
			slices.Compare(a.ann.Certificate.SHA256[:], b.ann.Certificate.SHA256[:]))
	})
	return views, d.Authorized()
}
