package discovery

import (
	"io/fs"
	"syscall"
	"time"
)

// renamed tells whether something was done to a file after it was last written, as a
// rename does. A rename within the same tick of the clock goes unnoticed.
func renamed(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && time.Unix(st.Ctim.Unix()).After(info.ModTime())
}
