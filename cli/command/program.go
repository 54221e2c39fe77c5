package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A program is an action that a command of the operating system answers: the body of
// the request is its stdin, its stdout the body of the reply.
type program struct {
	name  string // of the action, "[sector:]Class.name[~version]"
	words []string
}

// parseProgram reads "Class.name=cmd args".
func parseProgram(text string) (program, error) {
	name, line, ok := strings.Cut(text, "=")
	if !ok {
		return program{}, fmt.Errorf("action %q: want Class.name='command arguments'", text)
	}
	if _, err := discovery.ParseAction(name); err != nil {
		return program{}, err
	}
	words, err := splitWords(line)
	if err != nil {
		return program{}, fmt.Errorf("action %s: %w", name, err)
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		return program{}, fmt.Errorf("action %s: %w", name, err)
	}
	return program{name, words}, nil
}

const (
	maxTail   = 1024 // octets of stderr that an error reply shows
	killDelay = time.Second
)

// serve runs the command for one request. It is killed, with what it started, when the
// context ends.
func (p program) serve(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, p.words[0], p.words[1:]...)
	cmd.Env = append(os.Environ(), environment(req)...)
	var stderr tail
	cmd.Stderr = &stderr
	cmd.WaitDelay = killDelay // for those who hold its stderr open
	ownGroup(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return internal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return internal(err)
	}
	if err := cmd.Start(); err != nil {
		return internal(err)
	}
	// Ends with the body or with the command. If the command ends first, a caller that
	// sends nothing holds it until the handler has returned: the bus then throws the
	// body away, and the Read ends.
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, err := io.Copy(stdin, req.Body)
		stdin.Close()
		if err != nil && !brokenPipe(err) {
			cancel(err) // what it got of the request must not count as all of it
		}
	}()
	// Somebody the command left behind may hold its stdout open.
	stop := context.AfterFunc(ctx, func() { stdout.Close() })
	defer stop()
	if err := copyReply(rep, stdout); err != nil {
		cancel(err) // the caller has gone
	}
	err = cmd.Wait()
	if req.Data != nil {
		<-fed // the whole body was there, so it does not wait for a caller
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return p.failed(err, stderr.String())
	}
	return nil
}

// copyReply copies what the command writes to the reply, which begins with the first
// octet: an error can be a proper one until then.
func copyReply(rep *scamp.ReplyWriter, stdout io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := stdout.Read(buf)
		if n > 0 {
			if _, err := rep.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // its end; cmd.Wait says how it went
		}
	}
}

// failed is the answer of a command that did not exit with 0.
func (p program) failed(err error, stderr string) error {
	text := fmt.Sprintf("%s: %v", p.words[0], err)
	if stderr = strings.TrimSpace(stderr); stderr != "" {
		text += ": " + stderr
	}
	failure := &scamp.RemoteError{Code: scamp.CodeGeneral, Text: text}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		failure.Data, _ = json.Marshal(map[string]int{"exit_code": exit.ExitCode()})
	}
	return failure
}

func internal(err error) error {
	return &scamp.RemoteError{Code: scamp.CodeInternal, Text: err.Error()}
}

// environment is what a command learns about the request beside its body. The ticket
// is not among it: an environment is no place for secrets.
func environment(req *scamp.Request) []string {
	env := []string{
		"SCAMP_ACTION=" + req.Action,
		"SCAMP_SECTOR=" + req.Sector,
		fmt.Sprintf("SCAMP_VERSION=%d", req.Version),
		"SCAMP_ENVELOPE=" + strings.ReplaceAll(req.Envelope, "\x00", ""),
		fmt.Sprintf("SCAMP_CLIENT_ID=%d", req.ClientID),
	}
	if req.Remote != nil {
		env = append(env, "SCAMP_REMOTE="+req.Remote.String())
	}
	caller := ""
	if req.Caller != nil {
		caller = req.Caller.Fingerprint
	}
	return append(env, "SCAMP_CALLER="+caller)
}

// A tail keeps the last octets written to it. Safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b[max(0, len(b)-maxTail):]...)
	t.buf = append(t.buf[:0], t.buf[max(0, len(t.buf)-maxTail):]...)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.buf), "")
}

// closedPipe reports whether a write failed because the command has ended.
func closedPipe(err error) bool { return errors.Is(err, os.ErrClosed) }
