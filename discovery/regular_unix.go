//go:build unix

package discovery

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ReadFile returns the content of a regular file, and how the file was when it was
// opened: everything here that reads a file which somebody named reads it so. A file of
// more than most octets is refused before anything is allocated for it. ReadFile waits
// for nobody: a directory, a FIFO, a device or a socket is refused, and the error, an
// *fs.PathError, says what it is.
func ReadFile(path string, most int) ([]byte, fs.FileInfo, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := readAtMost(f, info.Size(), most)
	if err != nil {
		return nil, nil, pathError("read", path, err)
	}
	return text, info, nil
}

// A fileTooBigError says how many octets a file may have, and has not.
type fileTooBigError int

func (most fileTooBigError) Error() string {
	return fmt.Sprintf("more than %d octets: want fewer", int(most))
}

// readAtMost reads everything. The size is what the file seems to have; some of /proc
// seem to have none.
func readAtMost(r io.Reader, size int64, most int) ([]byte, error) {
	if size <= int64(most) {
		text, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
		if err != nil || len(text) <= most {
			return text, err
		}
	}
	return nil, fileTooBigError(most)
}

// openRegular opens a regular file, and looks at what it opened.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	// Opening alone may do something to a device.
	info, err := os.Stat(path)
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		return nil, nil, pathError("open", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = regular(info) // it may be another one by now
	}
	if err != nil {
		f.Close()
		return nil, nil, pathError("open", path, err)
	}
	return f, info, nil
}

// pathError adds what was done to which file, unless err says so itself.
func pathError(op, path string, err error) error {
	if e, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: op, Path: path, Err: e.Err}
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// regular refuses what is no regular file.
func regular(info fs.FileInfo) error {
	kind := "a device"
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "a directory"
	case mode&fs.ModeSymlink != 0:
		kind = "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a FIFO"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	}
	return fmt.Errorf("it is %s: want a regular file", kind)
}
