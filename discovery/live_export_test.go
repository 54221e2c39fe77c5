package discovery

import (
	"os"
	"time"
)

// StandStill lets the directory believe that the whole process did not run for a
// time: its clock went on, and no observer gave a sign of life. Synthetic time
// cannot stop a process.
func StandStill(d *Directory, t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock.start = d.clock.start.Add(-t)
	d.health.beat = d.health.beat.Add(-t)
	d.health.heard = d.health.heard.Add(-t)
	d.queue.timer.Reset(0) // it has been due for long
}

// LoadParsed is how a CacheReader loads what it read.
func LoadParsed(d *Directory, records []*Announcement) { d.loadFile(records, true) }

// Parallel runs on all cores.
var Parallel = parallel

// Observe tells the directory that an observer runs (1) or ends (-1).
func Observe(d *Directory, n int) { d.observe(n) }

// Beat is a sign of life of that observer.
func Beat(d *Directory) { d.beat(false) }

// ReplaceFile is how a CacheWriter puts its file in place.
func ReplaceFile(path string, text []byte) error {
	_, err := replaceFile(path, text, time.Now())
	return err
}

// WriteNew is how it makes its temporary file, whose name nobody can guess.
func WriteNew(root *os.Root, name string, text []byte) error {
	_, err := writeNew(root, name, text, time.Now())
	return err
}

// SetPatience changes how long a CacheWriter collects when the old file has records.
func SetPatience(w *CacheWriter, t time.Duration) { w.patience = t }
