package discovery_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
)

// TestReadFile: what is no regular file is refused by its name, and nobody is waited
// for; what is one is read as a whole, or not at all.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	text := []byte("sixteen octets.\n")
	at := func(name string) string { return filepath.Join(dir, name) }
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := errors.Join(os.WriteFile(at("file"), text, 0o600), os.Symlink("file", at("link")), os.Symlink("gone", at("dead")),
		os.Mkdir(at("dir"), 0o700), syscall.Mkfifo(at("fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		most int
		want string // in the error; empty means the text
	}{
		{at("file"), 16, ""},
		{at("link"), 16, ""},
		{at("file"), 15, "more than 15 octets"},
		{at("dir"), 16, "it is a directory: want a regular file"},
		{at("fifo"), 16, "it is a FIFO: want a regular file"},
		{at("socket"), 16, "it is a socket: want a regular file"},
		{os.DevNull, 16, "it is a device: want a regular file"},
		{at("dead"), 16, "no such file"},
		{"/proc/self/status", 1, "more than 1 octets"}, // seems to have 0 octets
	} {
		got, info, err := discovery.ReadFile(tt.path, tt.most)
		var where *fs.PathError
		switch {
		case tt.want == "" && (err != nil || !bytes.Equal(got, text) || info.Size() != 16):
			t.Errorf("ReadFile of %s: %q, %v, %v: want %q", tt.path, got, info, err, text)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("ReadFile of %s: %q, error %v: want one with %q", tt.path, got, err, tt.want)
		case tt.want != "" && (!errors.As(err, &where) || where.Path != tt.path):
			t.Errorf("ReadFile of %s: error %v: want an *fs.PathError of that path", tt.path, err)
		}
	}
	if _, _, err := discovery.ReadFile(at("dead"), 16); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile of a link to nothing: %v: want fs.ErrNotExist", err)
	}
}
