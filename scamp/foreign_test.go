package scamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A ticket shows itself to nobody who does not ask for it.
func TestTicketIsNotShown(t *testing.T) {
	const secret = "1,42,100,1700000000,3600,1+2+30,AbC-_"
	var log bytes.Buffer
	ticket := scamp.Ticket(secret)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("call", "ticket", ticket, "request", &scamp.Request{Action: "a.b"})
	slog.New(slog.NewTextHandler(&log, nil)).Info("call", "ticket", ticket)
	inside := struct{ T scamp.Ticket }{ticket}
	slog.New(slog.NewMultiHandler(slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil))).Info("call", "inside", inside, "many", []scamp.Ticket{ticket})
	shown := fmt.Sprintf("%v %s %q %#v %+v %x %d %#v %d", ticket, ticket, ticket, ticket, inside, ticket, ticket, inside, inside)
	if b, err := json.Marshal(inside); err == nil {
		t.Errorf("a ticket as JSON: %s, want an error", b)
	}
	if b, err := json.Marshal(scamp.Request{}.Ticket); err != nil || string(b) != `""` {
		t.Errorf("no ticket as JSON: %s, %v", b, err)
	}
	if strings.Contains(log.String()+shown, "AbC") {
		t.Errorf("a ticket is shown: %s %s", &log, shown)
	}
	if fmt.Sprint(scamp.Ticket("")) != "" || string(ticket) != secret {
		t.Error("no ticket is shown as one, or it cannot be had")
	}
	// And it goes to no stranger.
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(nil)
		stranger := &far{t: t, pair: scamptest.New(t).KeyPair()}
		stranger.announce(bus, "stranger:1", beta, discovery.Action{Class: "_meta", Name: "echo"})
		f.show(stranger.pair.TLS())
		done := inBackground(t.Context(), bus, &scamp.Request{Action: "_meta.echo", Ticket: ticket, IdentifyingToken: ticket, Terminal: "2,7,100,AbC-_"})
		w := f.next()
		if m := w.message(); strings.Contains(m.json, "AbC") {
			t.Errorf("request to an instance without a rule: %s, want no ticket and no token in it", m.json)
		}
		w.send(reply(0, 1, ""))
		<-done
	})
}

// Text from the network is one line, printable and not long, wherever it shows.
func TestForeignTextIsTamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w := newFar(t).client(nil)
		nasty := strings.Repeat("\x1b[31mred\n\r\u202e", 1000)
		text, err := json.Marshal(nasty)
		if err != nil {
			t.Fatal(err)
		}
		done := inBackground(t.Context(), c, echoReq(""))
		w.message()
		w.send(msg(0, `{"request_id":1,"type":"reply","error_code":"x\ny","error":`+string(text)+`}`, ""))
		o := <-done
		shown := o.err.Error()
		if strings.ContainsAny(shown, "\x1b\n\r\u202e") || len(shown) > 3000 {
			t.Errorf("error of %d octets: %.200q…, want it escaped and cut", len(shown), shown)
		}
		var re *scamp.RemoteError
		if !errors.As(o.err, &re) || re.Text != nasty {
			t.Error("the text itself is not kept for programs")
		}
	})
}

// A log hears of each kind of oddity once a second.
func TestLogIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf syncBuffer
		n := scamptest.New(t)
		pair := n.KeyPair()
		svc, err := n.Bus(&scamp.Options{Log: slog.New(slog.NewJSONHandler(&buf, nil))}).NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.panic", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { panic("ouch\n\x1b[0m") }, nil)
		serve(t, svc)
		buf.Reset()
		w := callWire(t, n, svc.Addr())
		for second := range 2 {
			for i := range 100 {
				no := 200*second + 2*i
				w.send(msg(no, `{"type":"banana\n\u001b"}`, ""), msg(no+1, ask("Sample.panic", no), ""))
				w.message()
			}
			<-time.After(time.Second)
		}
		lines := strings.Split(strings.TrimSpace(buf.String()), "\n")
		leftOut := 0
		for _, line := range lines {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil || strings.ContainsAny(line, "\x1b\r") {
				t.Errorf("log line %.200q: %v, want JSON without control characters", line, err)
			}
			if fields["left_out"] == 99.0 {
				leftOut++
			}
		}
		if len(lines) != 4 || leftOut != 2 {
			t.Errorf("%d lines, %d of them with left_out 99, want 4 and 2:\n%s", len(lines), leftOut, &buf)
		}
	})
}

// A syncBuffer is a log that many goroutines may write and one reads. What it is told,
// the scan for tickets hears.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	ticketscan.Hear("a log that a test reads", p)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}
