package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A child is a process of this same binary that the demo runs.
type child struct {
	name   string
	cmd    *exec.Cmd
	cancel context.CancelFunc // kills it
	events chan childEvent
	tail   tail // of its stderr
	done   chan struct{}
	err    error // of Wait; set before done is closed

	// Of an instance, when it is ready.
	ident, address string
}

// A childEvent is what the demo wants to know of a line on a child's stdout.
type childEvent struct {
	Event   string `json:"event"`
	Ident   string `json:"ident"`
	Address string `json:"address"`
}

// start starts a child on the demo's bus. It dies with us.
func (d *demo) start(name string, args ...string) (*child, error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &child{
		name: name, cancel: cancel, done: make(chan struct{}),
		events: make(chan childEvent, 64), // what nobody awaits must not stop the child
	}
	c.cmd = exec.CommandContext(ctx, d.program, append([]string{"--config", d.layout.config, "--json"}, args...)...)
	c.cmd.Args[0] = "scamp"
	c.cmd.Stderr = &c.tail
	c.cmd.WaitDelay = killDelay
	ownGroup(c.cmd)
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	go func() { // ends with the child
		defer close(c.done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var e childEvent
			if json.Unmarshal(lines.Bytes(), &e) != nil {
				continue
			}
			select {
			case c.events <- e:
			default:
			}
		}
		c.err = c.cmd.Wait()
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stderr is what the child said last, for an error.
func (c *child) stderr() string {
	if text := strings.TrimSpace(c.tail.String()); text != "" {
		return "; the " + c.name + " says: " + text
	}
	return ""
}

// await waits for an event of the child.
func (c *child) await(ctx context.Context, event string) (childEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		select {
		case e := <-c.events:
			if e.Event == event {
				return e, nil
			}
		case <-c.done:
			return childEvent{}, fmt.Errorf("the %s ended: %v%s", c.name, c.err, c.stderr())
		case <-ctx.Done():
			return childEvent{}, fmt.Errorf("the %s is not %s: %w%s", c.name, event, context.Cause(ctx), c.stderr())
		}
	}
}

// terminate asks the child to stop.
func (c *child) terminate() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the %s: %w", c.name, err)
	}
	return nil
}

// exited waits until the child has exited, which it should have with 0.
func (c *child) exited(ctx context.Context) error {
	select {
	case <-c.done:
	case <-ctx.Done():
		return fmt.Errorf("the %s does not exit: %w%s", c.name, context.Cause(ctx), c.stderr())
	}
	if c.err != nil {
		return fmt.Errorf("the %s: %w%s", c.name, c.err, c.stderr())
	}
	return nil
}

// kill ends the child at once and waits for that.
func (c *child) kill() {
	c.cancel()
	<-c.done
}

// stop ends the child in an orderly way. One that is gone is no error.
func (c *child) stop(ctx context.Context) error {
	defer c.kill()
	select {
	case <-c.done:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return errors.Join(c.terminate(), c.exited(ctx))
}
