package scamp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A recorded packet is one line of fixtures/transcripts. What the recorder left out of
// long bodies is filled in.
type recorded struct {
	fromCaller bool
	kind       string
	no         int
	body       string
}

func (r recorded) octets() string { return pk(r.kind, r.no, r.body) }

var (
	recordedLine = regexp.MustCompile(`^ *[0-9.]+ #[0-9]+ ([CS])>[CS] ([A-Z]+) ([0-9]+) ([0-9]+)\\r\\n(.*)END\\r\\n$`)
	leftOut      = regexp.MustCompile(`<<([0-9]+) bytes left out>>`)
)

// transcript reads a recorded conversation.
func transcript(t testing.TB, file string) (all []recorded) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(fixtures.Bytes(file)))
	for lines.Scan() {
		m := recordedLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		body, err := strconv.Unquote(`"` + strings.ReplaceAll(m[5], `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("%s: %q: %v", file, m[5], err)
		}
		body = leftOut.ReplaceAllStringFunc(body, func(s string) string {
			n, _ := strconv.Atoi(leftOut.FindStringSubmatch(s)[1])
			return strings.Repeat("a", n)
		})
		no, _ := strconv.Atoi(m[3])
		if size, _ := strconv.Atoi(m[4]); size != len(body) {
			t.Fatalf("%s: %.80q: %d octets of body, want %d", file, lines.Text(), len(body), size)
		}
		all = append(all, recorded{m[1] == "C", m[2], no, body})
	}
	return all
}

// A recordedMessage is what the packets of one message add up to.
type recordedMessage struct {
	header packet.Header
	body   string
	txerr  bool
	whole  bool // its end was recorded
}

func recordedMessages(t *testing.T, all []recorded, fromCaller bool) (messages []*recordedMessage) {
	t.Helper()
	for _, p := range all {
		if p.fromCaller != fromCaller {
			continue
		}
		switch p.kind {
		case "HEADER":
			m := new(recordedMessage)
			if err := packet.NewHeaderReader(packet.Limits{}).Parse([]byte(p.body), &m.header); err != nil {
				t.Fatalf("%q: %v", p.body, err)
			}
			messages = append(messages, m)
		case "DATA":
			messages[p.no].body += p.body
		case "EOF", "TXERR":
			messages[p.no].whole, messages[p.no].txerr = true, p.kind == "TXERR"
		}
	}
	return messages
}

// conversations are the transcripts of requests and replies alone.
func conversations(t testing.TB) []string {
	t.Helper()
	files, err := fs.Glob(fixtures.FS(), "transcripts/*-to-*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d transcripts, %v, want more than 40", len(files), err)
	}
	return files
}

// lab registers what the services of the recordings offer, under the names they have.
func lab(s *scamp.Service) {
	fail := func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
		return &scamp.RemoteError{Code: "lab_error", Text: "the lab asked for this"}
	}
	abort := func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
		io.WriteString(rep, "half")
		return errors.New("handler gave up")
	}
	for _, class := range []string{"Lab.", "LabGo.", "LabPerl."} {
		for _, name := range []string{"echo", "echo1", "slow", "size", "sum", "notype"} {
			s.Handle(class+name, echo, nil)
		}
		s.Handle(class+"fail", fail, nil)
		s.Handle(class+"throw", fail, nil)
		s.Handle(class+"abort", abort, nil)
	}
}

// wantOfLab is what our lab answers to a recorded request: code, body and text of TXERR.
func wantOfLab(m *recordedMessage) string {
	switch _, name, _ := strings.Cut(m.header.Action, "."); name {
	case "nothere":
		return "no_action"
	case "fail", "throw":
		return "lab_error"
	case "abort":
		return "half" + "handler gave up"
	}
	return m.body
}

// TestServiceTakesRecordedCallers has the callers of the recordings, octet for octet,
// talk to a service of ours with its default limits: each request gets its one reply.
func TestServiceTakesRecordedCallers(t *testing.T) {
	n := scamptest.New(t)
	s := n.Serve("lab", lab)
	for _, file := range conversations(t) {
		t.Run(path.Base(file), func(t *testing.T) {
			all := transcript(t, file)
			messages := recordedMessages(t, all, true)
			w := callWire(t, n, s.Addr())
			w.acks.Store(true)
			sent := map[int]int{}
			for _, p := range all {
				switch {
				case !p.fromCaller || p.kind == "ACK":
					continue
				case len(p.body) > 131072:
					w.send(p.octets())
					w.over() // only its author takes such a packet
					return
				case p.kind == "DATA" && messages[p.no].header.HasSector:
					w.awaitAck(p.no, sent[p.no]-65535) // this caller honours its window
				}
				if p.kind == "DATA" {
					sent[p.no] += len(p.body)
				}
				w.send(p.octets())
			}
			want := map[string]string{}
			for _, m := range messages {
				if m.header.Type == packet.TypeRequest && m.whole {
					want[m.header.ID.String()] = wantOfLab(m)
				}
			}
			for range want {
				m := w.message()
				if m.header.Type == packet.TypeSubscribeDone {
					m = w.message()
				}
				id := m.header.ID.String()
				if got := m.header.ErrorCode + m.body + m.txerr; got != want[id] {
					t.Errorf("request %s: reply %q with %d octets %.60q, want %d octets %.60q", id, m.json, len(got), got, len(want[id]), want[id])
				}
			}
			if len(want) == len(messages) {
				w.quiet()
			}
		})
	}
}

// TestClientTakesRecordedServices has the services of the recordings, octet for octet,
// answer calls of ours.
func TestClientTakesRecordedServices(t *testing.T) {
	for _, file := range conversations(t) {
		all := transcript(t, file)
		requests, replies := recordedMessages(t, all, true), recordedMessages(t, all, false)
		if len(replies) == 0 || replies[0].header.Type != packet.TypeReply && replies[0].header.Type != packet.TypeNone {
			continue // an event, or nothing
		}
		t.Run(path.Base(file), func(t *testing.T) {
			f := newFar(t)
			c := f.known(offered(requests)...)
			var calls []<-chan outcome
			var w *wire
			sent := map[int]int{}
			for i, m := range requests {
				calls = append(calls, inBackground(t.Context(), c, &scamp.Request{Action: m.header.Action, Data: []byte(m.body)}))
				if w == nil {
					w = f.next()
				}
				w.await("the next request", func() bool { return w.heads == i+1 || w.err != nil })
			}
			for _, p := range all {
				if p.fromCaller {
					continue
				}
				if p.kind == "ACK" {
					n, _ := strconv.Atoi(p.body)
					w.await("the octets that an ACK is for", func() bool { return w.data[uint64(p.no)] >= n })
				}
				if p.kind == "DATA" {
					if !replies[p.no].header.HasClientID {
						w.awaitAck(p.no, sent[p.no]-65535) // this service honours its window
					}
					sent[p.no] += len(p.body)
				}
				w.send(p.octets())
			}
			if whole := !slices.ContainsFunc(replies, func(m *recordedMessage) bool { return !m.whole }); !whole || len(replies) < len(calls) {
				w.c.Close() // as it was recorded
			}
			for i, done := range calls {
				o := <-done
				want := replyTo(requests[i], replies)
				if got := describe(o); got != want {
					t.Errorf("request %d: %.100s, %v, want %.100s", i+1, got, o.err, want)
				}
			}
		})
	}
}

// offered is every action that a recorded caller asks for.
func offered(requests []*recordedMessage) (actions []discovery.Action) {
	for _, m := range requests {
		class, name, _ := strings.Cut(m.header.Action, ".")
		if a := (discovery.Action{Class: class, Name: name}); !slices.ContainsFunc(actions, func(b discovery.Action) bool { return a.Class == b.Class && a.Name == b.Name }) {
			actions = append(actions, a)
		}
	}
	return actions
}

// replyTo describes what a recorded request got.
func replyTo(request *recordedMessage, replies []*recordedMessage) string {
	id, _ := request.header.ID.Number()
	for _, m := range replies {
		if n, ok := m.header.ID.Number(); !ok || n != id {
			continue
		}
		switch code, text, failed := m.header.Failure(); {
		case failed:
			return "error " + code + ": " + text
		case m.txerr, !m.whole:
			return "broke off"
		}
		return "reply " + m.body
	}
	return "broke off"
}

// describe says what a call got, in the same words.
func describe(o outcome) string {
	var re *scamp.RemoteError
	switch {
	case errors.As(o.err, &re):
		return "error " + re.Error()
	case o.err != nil && ranOf(o.err) == scamp.RanMaybe:
		return "broke off"
	case o.err != nil:
		return o.err.Error()
	}
	return "reply " + o.body
}
