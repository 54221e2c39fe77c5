package mux

import (
	"io"
	"net"
	"os"
)

// A pause is told when nothing more is at hand.
type pause interface {
	// due says whether there is anything to do before the reader waits. From then on
	// until octets come, others do what comes up: the reader may be waiting. It must
	// not block and must not close the link.
	due() bool
	// settle does it.
	settle()
}

// Read reads from the network. Once the Conn has taken over it tells pause before it
// waits, which only Read knows: TLS and the packets above ask for more while octets are
// still at hand below.
func (l *Link) Read(p []byte) (n int, err error) {
	if l.pause == nil {
		return l.Conn.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	l.into, l.settled = p, false
	for {
		err = l.raw.Read(l.tryRead)
		if err != nil || l.readErr == nil || l.readErr != errAgain {
			break
		}
		l.settled = true
		l.pause.settle()
	}
	l.into = nil
	switch {
	case err != nil:
		return 0, err
	case l.readErr != nil:
		return 0, &net.OpError{
			Op: "read", Net: l.LocalAddr().Network(), Source: l.LocalAddr(), Addr: l.RemoteAddr(),
			Err: os.NewSyscallError("read", l.readErr),
		}
	case l.got == 0:
		return 0, io.EOF
	}
	return l.got, nil
}

// readSome is one attempt to read. It is false when the network has nothing and there is
// nothing to do but wait.
func (l *Link) readSome(fd uintptr) bool {
	l.got, l.readErr = attemptRead(fd, l.into)
	if l.readErr != errAgain {
		return true
	}
	// What comes up after settle is others': they know that the reader waits.
	return !l.settled && l.pause.due()
}
