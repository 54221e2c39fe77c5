package wire

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A space is a network namespace. It has no name: it ends with the last process or
// descriptor in it (invariant 2).
type space struct {
	mu sync.Mutex // protects fd
	fd int

	closed chan struct{}  // closed by close
	away   sync.WaitGroup // goroutines of elsewhere
}

// device is the name of a host's interface, within the host.
const device = "wire0"

// open makes the namespace and the interface of a host.
func (h *Host) open() error {
	h.space.fd, h.space.closed = -1, make(chan struct{})
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("the command ip is missing: %w", err)
	}
	err := h.space.elsewhere(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		fd, err := ownSpace()
		if err != nil {
			return err
		}
		h.space.fd = fd
		tun, err := openTUN()
		if err != nil {
			return err
		}
		h.device = tun
		for _, args := range []string{
			"link set lo up",
			"addr add " + h.Addr.String() + "/" + fmt.Sprint(Network.Bits()) + " dev " + device,
			"link set " + device + " mtu " + fmt.Sprint(MTU) + " up",
		} {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", args, err, out)
			}
		}
		return nil
	})
	if err != nil {
		h.close()
	}
	return err
}

// openTUN makes an interface in the namespace of this thread and returns its other end.
func openTUN() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(device)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("new TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil // only now: the poller wants a device that is there
}

// close lets go of the host.
func (h *Host) close() error {
	if h.device != nil {
		h.device.Close()
	}
	h.space.mu.Lock()
	if h.space.fd >= 0 {
		unix.Close(h.space.fd)
		h.space.fd = -1
	}
	h.space.mu.Unlock()
	close(h.space.closed)
	h.space.away.Wait()
	return nil
}

// Do runs f on the host: sockets that f opens belong to it for good, goroutines that f
// starts do not. One f at a time runs, so it should not wait. The error is that of f, or
// why it did not run.
func (h *Host) Do(f func() error) error {
	h.space.mu.Lock()
	defer h.space.mu.Unlock()
	if h.space.fd < 0 {
		return fmt.Errorf("wire: host %s: %w", h.Name, os.ErrClosed)
	}
	return h.space.elsewhere(func() error {
		if err := unix.Setns(h.space.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("wire: enter host %s: %w", h.Name, err)
		}
		return f()
	})
}

// Start starts a command on the host. All its network is there.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// elsewhere runs f on a thread that f may take to another namespace, and brings the
// thread back. One that ended instead would take all children with it that die with
// their parent: to Linux the parent is the thread. So one that cannot be brought back
// rests until the host is closed.
func (s *space) elsewhere(f func() error) error {
	done := make(chan error, 1)
	s.away.Go(func() { // ends with f, or with close
		runtime.LockOSThread()
		home, err := ownSpace()
		if err == nil {
			err = f()
			back := unix.Setns(home, unix.CLONE_NEWNET)
			unix.Close(home)
			if back != nil {
				done <- fmt.Errorf("return from a host: %w", back)
				<-s.closed
				return // the thread stays locked, and ends with its goroutine
			}
		}
		runtime.UnlockOSThread()
		done <- err
	})
	return <-done
}

// ownSpace opens the namespace of this thread.
func ownSpace() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("network namespace of this thread: %w", err)
	}
	return fd, nil
}
