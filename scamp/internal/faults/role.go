//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// childWord is the first argument of a child: faults child ROLE NAME LEDGER.
const childWord = "child"

// roles are what a child can be.
var roles = map[string]func(p *post) error{
	"cache":   beCache,
	"service": beService,
	"client":  beClient,
	"hostile": beHostile,

	"attacker": beAttacker,
	"busy":     beBusy,
	"clock":    beClock,
}

// childRole returns the role that arguments ask for, and whether they do.
func childRole(args []string) (string, bool) {
	if len(args) == 5 && args[1] == childWord {
		return args[2], true
	}
	return "", false
}

// beChild plays a role and returns the exit code.
func beChild(role string) int {
	p, err := newPost(os.Args[3], os.Args[4])
	if err == nil {
		be := roles[role]
		if be == nil {
			err = fmt.Errorf("role %q: want one of those in roles", role)
		} else {
			err = be(p)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	}
	return 0
}

// A post is where a child stands: its orders, its ledger, and whom it tells.
type post struct {
	name   string
	ctx    context.Context // ends with SIGTERM, or when the stage has gone
	cancel context.CancelFunc
	book   *ledger.Ledger
	log    *slog.Logger
	lines  *bufio.Scanner // orders; the first was the spec
	spec   json.RawMessage

	mu sync.Mutex // one line at a time
}

func newPost(name, path string) (*post, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	p := &post{
		name: name, lines: bufio.NewScanner(os.Stdin),
		book: ledger.New(name, &ledger.Options{W: f, Forget: true}),
		log:  slog.New(scamp.TextHandler(os.Stderr, slog.LevelWarn)),
	}
	p.ctx, p.cancel = signal.NotifyContext(context.Background(), syscall.SIGTERM)
	p.lines.Buffer(nil, eventMax)
	if !p.lines.Scan() {
		return nil, fmt.Errorf("standard input ended: want a spec")
	}
	p.spec = json.RawMessage(p.lines.Text())
	return p, nil
}

// orders are what a role can be told beside what all can, by name. The value returned is
// the answer.
type orders map[string]func(args json.RawMessage) (any, error)

// obey follows orders until the stage closes our standard input; then the child ends. It
// does not wait. An order takes as long as it takes: others are followed meanwhile.
func (p *post) obey(all ...orders) {
	more := orders{"files": limitFiles}
	for _, o := range all {
		maps.Copy(more, o)
	}
	go func() { // ends with standard input
		defer p.cancel()
		for p.lines.Scan() {
			var o order
			if err := json.Unmarshal(p.lines.Bytes(), &o); err != nil {
				p.log.Error("order that cannot be read", "error", err)
				return
			}
			do := more[o.Do]
			switch {
			case do != nil:
			case o.Do == "holds":
				do = func(json.RawMessage) (any, error) { return holds(), nil }
			case o.Do == "heap":
				do = func(json.RawMessage) (any, error) { return weighHeap(), nil }
			}
			go func() { // ends when the order is done
				if do == nil {
					p.answer("failed "+o.Do, o.ID, "no such order")
					return
				}
				answer, err := do(o.Args)
				if err != nil {
					p.answer("failed "+o.Do, o.ID, err.Error())
					return
				}
				p.answer(o.Do, o.ID, answer)
			}()
		}
	}()
}

// tell tells the stage something.
func (p *post) tell(name string, data any) { p.answer(name, 0, data) }

// answer is tell for what an order asked.
func (p *post) answer(name string, to int, data any) {
	text, err := json.Marshal(data)
	if err == nil {
		text, err = json.Marshal(event{name, to, text})
	}
	if err != nil {
		p.log.Error("event that cannot be written", "event", name, "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	os.Stdout.Write(append(text, '\n')) // a stage that has gone ends us
}

// watch tells what happens to instances in a directory, until ctx ends.
func (p *post) watch(ctx context.Context, d *discovery.Directory, q discovery.Query) {
	for e := range d.Watch(ctx, q) {
		p.tell("directory", change{time.Now(), e.Kind.String(), e.Why.String(), e.Route.Peer.Ident})
	}
}
