//go:build unix

package scamp

import (
	"net"
	"strings"
	"time"
)

// A notifier tells systemd how a service does, as sd_notify(3) says. The zero value
// tells nobody.
type notifier struct{ socket string }

// newNotifier returns one for the socket that $NOTIFY_SOCKET names.
func newNotifier(socket string) notifier {
	if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") {
		return notifier{}
	}
	return notifier{socket}
}

// say sends one line. Nobody can be told that it failed, and a service runs without.
func (n notifier) say(line string) {
	if n.socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Second)) // who reads late waits for it in vain; we go on
	c.Write([]byte(line))
}
