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
	defer f.Close()
	r.made, err = f.Stat()
	return err
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
