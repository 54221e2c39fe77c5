package scamp

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// A runningFile is the empty file that tells a liveness check of a container that
// an instance is running (PROTOCOL 12.4). It is not safe for concurrent use.
type runningFile struct {
	root *os.Root // the directory; nothing outside is touched, whatever the name
	name string
	made fs.FileInfo
	held *os.File // open and locked, so that the next start sees whether we live
}

// createRunningFile makes the file of the instance ident in dir, and dir if it is
// missing. Whoever makes it calls Remove.
func createRunningFile(dir, ident string) (*runningFile, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("scamp: running-service file: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("scamp: running-service file: %w", err)
	}
	r := &runningFile{root: root, name: runningFileName(ident)}
	if err := r.create(); err != nil {
		root.Close()
		return nil, fmt.Errorf("scamp: running-service file in %s: %w", dir, err)
	}
	return r, nil
}

// create makes the file. An ident is new at each start, so a file that is there
// already belongs to somebody else.
func (r *runningFile) create() error {
	f, err := r.root.OpenFile(r.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	holdFile(f) // on a file system without locks it is a file all the same
	if r.made, err = f.Stat(); err != nil {
		f.Close()
		return err
	}
	r.held = f
	return nil
}

// maxRunningFiles bounds how many files of a directory are looked at for leftovers.
const maxRunningFiles = 10_000

// removeLeftovers removes the files of instances of the service name whose process was
// killed, and returns their names: nobody else takes them away, and a liveness check
// would take them for running. What it is not sure of it leaves alone.
func (r *runningFile) removeLeftovers(name string) (removed []string) {
	dir, err := r.root.Open(".")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxRunningFiles)
	for _, n := range names {
		if n != r.name && strings.HasPrefix(n, runningFileName(name)+":") && r.removeLeftover(n) {
			removed = append(removed, n)
		}
	}
	return removed
}

// removeLeftover removes one file if its maker is gone.
func (r *runningFile) removeLeftover(name string) bool {
	info, err := r.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := r.root.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil || !orphaned(f, info) {
		return false
	}
	there, err := r.root.Lstat(name)
	return err == nil && os.SameFile(info, there) && r.root.Remove(name) == nil
}

// Remove takes the file away, unless it is no longer the one that was made. Only
// the first call does anything.
func (r *runningFile) Remove() error {
	if r.made == nil {
		return nil
	}
	made := r.made
	r.made = nil
	defer r.root.Close()
	defer r.held.Close()
	switch now, err := r.root.Lstat(r.name); {
	case err != nil:
		return fmt.Errorf("scamp: running-service file: %w", err)
	case !os.SameFile(made, now):
		return fmt.Errorf("scamp: running-service file %s: replaced by another one: want it left alone", r.name)
	}
	if err := r.root.Remove(r.name); err != nil {
		return fmt.Errorf("scamp: running-service file: %w", err)
	}
	return nil
}

// runningFileName makes a file name of an ident: octets that could mean something to
// a file system or a shell become '_'. It keeps the end of one that is too long,
// since that is the part that differs between instances.
func runningFileName(ident string) string {
	const most = 255 // octets, in the file systems we know
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._:+=-", r):
			return r
		}
		return '_'
	}, ident)
	name = name[max(0, len(name)-most):]
	if strings.Trim(name, ".") == "" { // "", "." and ".." are directories
		return strings.Repeat("_", max(1, len(name)))
	}
	return name
}
