package conform_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
)

// guestFaults are what a requester can do wrong, and the cases that must find it. Cases
// that look back need others, in with, to look at.
var guestFaults = []struct{ fault, found, with string }{
	{"does not compare certificates", "6.2-ra", ""},
	{"asks anybody", "9.2-ra", ""},
	{"takes changed announcements", "7.1-ra", ""},
	{"speaks TLS 1.3 alone", "6.3-ra", ""},
	{"speaks TLS 1.2 alone", "6.3-rb", ""},
	{"speaks TLS 1.0", "6.3-rc", ""},
	{"speaks RC4", "6.3-rd", ""},
	{"resumes sessions", "6.3-re", ""},

	{"counts ids from 7", "2.1-ra 3.4-rz", ""},
	{"wants a packet a read", "2.3-ra", ""},
	{"looks for END", "2.1-rb", ""},
	{"takes short packets only", "2.2-ra", ""},
	{"takes any line", "2.1-rc 2.1-rd 2.1-re 2.1-rf 2.3-rb 2.1-rg 2.4-rf", ""},
	{"takes any trailer", "2.3-rc", ""},
	{"takes any length", "2.2-rb 2.2-rc", ""},
	{"takes any number", "2.4-rb 2.4-rc", ""},
	{"ignores what is not open", "2.4-rd", ""},
	{"takes an EOF with a body", "2.4-re", ""},
	{"ends with a wrong trailer", "2.1-rz", "2.1-ra"},
	{"sends long headers", "2.2-rz", ""},

	{"takes headers in one form", "3.1-ra 3.1-rb 3.5-ra 3.5-rb 3.2-ra 3.2-rb 3.2-rc 3.4-ra 3.7-ra", ""},
	{"mends headers", "3.1-rc 3.1-rd 3.1-re 3.1-rf 3.1-rg 3.1-rh 3.1-ri 3.1-rj 3.1-rk", ""},
	{"sends members twice", "3.1-rz", "2.1-ra"},
	{"sends null", "3.3-rz", ""},
	{"sends events", "3.3-ry", "2.1-ra"},
	{"sends no version", "3.2-rz", ""},
	{"sends no sector", "3.2-ry", ""},
	{"skips numbers", "2.4-rz", "3.5-rh"},
	{"sends DATA after EOF", "2.4-ry", "2.1-ra"},

	{"closes on empty DATA", "2.4-ra", ""},
	{"wants a body", "4.1-ra", ""},
	{"closes on tiny DATA", "4.2-ra", ""},
	{"sends empty DATA", "2.4-rx", "2.1-ra"},
	{"ignores ACKs", "4.3-ra 4.3-rb 3.7-rb 4.3-rz", ""},
	{"oversteps its window", "4.3-rb 4.3-rz", ""},
	{"sends one body at a time", "4.3-rc", ""},
	{"wants ACKs soon", "4.4-ra", ""},
	{"grants the window to each message", "3.7-rc", ""},
	{"acknowledges at the end only", "4.5-ra 4.4-rb", ""},

	{"acknowledges everything", "4.4-rc", ""},
	{"closes on an equal ACK", "4.4-rd", ""},
	{"wants ACKs for open messages", "4.4-re", ""},
	{"takes any ACK", "4.4-rg 4.4-rh 4.4-ri 4.4-rj 4.4-rk 4.4-rl 4.4-rm 4.4-rn 4.4-ro 4.4-rp", ""},
	{"acknowledges twice", "4.4-rz", "4.4-rb"},

	{"takes any reply", "3.5-rc 3.5-re", ""},
	{"does not drain", "3.5-rd 4.9-rb", ""},
	{"minds no types", "3.5-rf", ""},
	{"closes on other types", "3.5-rf 3.5-rg 5.1-ra", ""},
	{"closes on a second reply", "3.5-rh", ""},
	{"makes a connection for each call", "3.4-rb", ""},
	{"ignores PING", "4.7-ra", ""},
	{"closes on PONG", "4.7-rb", ""},
	{"greets", "4.7-rz", "2.1-ra"},

	{"takes errors for replies", "5.2-ra 5.2-rb 5.2-re 3.5-ri", ""},
	{"wants a code", "5.2-rc 5.2-rd", ""},
	{"has codes of its own", "5.2-ra 5.2-rd", ""},
	{"asks again and again", "5.3-ra", ""},
	{"asks again", "5.5-ra", ""},

	{"takes TXERR for EOF", "5.2-rf 4.1-rb 4.1-rc", ""},
	{"refuses early replies", "4.1-rd", ""},
	{"never gives up requests", "4.1-re", ""},
	{"takes half replies", "4.8-ra", ""},
	{"keeps half-closed connections", "4.8-rb", ""},
	{"never closes idle connections", "4.6-ra", ""},
	{"closes busy connections as idle ones", "4.6-rb", ""},
	{"takes silence for a reply", "4.9-ra", ""},
	{"leaves without a word", "4.9-rc 3.7-rd", ""},
	{"sends EOF with a body", "2.4-rw", "2.1-ra"},
	{"sends TXERR without text", "4.1-rz", "4.9-rc"},

	{"does not count odd replies", "3.5-rj", ""},
	{"dies of floods", "4.7-rc", ""},
	{"dies of floods", "4.4-rq", ""},
	{"dies of floods", "2.4-rg", ""},
}

// visit has a toy requester meet cases.
func visit(t *testing.T, h *hosted, g *toyGuest) *conform.Card {
	t.Helper()
	done := make(chan *conform.Card)
	go func() { // ends with Run
		card, err := h.host.Run(t.Context())
		if err != nil {
			t.Errorf("Run: %v", err)
		}
		done <- card
	}()
	err := conform.Drive(t.Context(), func(ctx context.Context, action, request string) ([]byte, conform.CallResult) {
		return g.call(ctx, action, request)
	})
	if err != nil && !g.has("dies of floods") {
		t.Errorf("Drive with the faults %v: %v", g.toy.faults, err)
	}
	card := <-done
	g.end()
	return card
}

// TestGuestFaultsAreFound shows that cases for requesters can fail, as
// TestFaultsAreFound does for services.
func TestGuestFaultsAreFound(t *testing.T) {
	t.Parallel() // it mostly waits
	cards := make([]*conform.Card, len(guestFaults))
	var runs sync.WaitGroup
	places := make(chan struct{}, 16) // most of a run is waiting
	for i, tt := range guestFaults {
		runs.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			// These toys do not leave: a machine with much to do must not make it look so.
			opts := conform.HostOptions{Timeout: 3 * time.Second, Quiet: 200 * time.Millisecond, Hostile: true, Patience: 5 * time.Minute}
			if strings.HasPrefix(tt.fault, "dies") {
				opts.Patience = 10 * time.Second
			}
			if strings.Contains(tt.fault, "idle") {
				opts.Idle = time.Second
			}
			h := host(t, opts, conform.Select(conform.RequesterCases(), nil, strings.Fields(tt.found+" "+tt.with)))
			g := newToyGuest(h, tt.fault)
			g.idle = opts.Idle
			cards[i] = visit(t, h, g)
		})
	}
	runs.Wait()
	for i, tt := range guestFaults {
		t.Run(strings.ReplaceAll(tt.fault, " ", "_"), func(t *testing.T) {
			found := strings.Fields(tt.found)
			for _, r := range cards[i].Results {
				if slices.Contains(found, r.Case.ID) && !r.Missed(true) {
					t.Errorf("a requester that %s: %s (%s) is %v\nsent: %q\nwant: a miss\ncame: %s\n%q",
						tt.fault, r.Case.ID, r.Case.Title, r.Verdict, r.Sent, r.Came, r.Got)
				}
			}
			if n := len(cards[i].Results); n != len(found)+len(strings.Fields(tt.with)) && !cards[i].Gone {
				t.Errorf("a requester that %s: %d results, want one of each of %s", tt.fault, n, tt.found)
			}
		})
	}
}

// TestToyGuestPasses shows that it is the fault that is found, and nothing else.
func TestToyGuestPasses(t *testing.T) {
	t.Parallel() // it mostly waits
	h := host(t, conform.HostOptions{Timeout: 8 * time.Second, Quiet: 200 * time.Millisecond, Idle: 2 * time.Second, Hostile: true}, conform.RequesterCases())
	g := newToyGuest(h)
	g.idle, g.timeout = 2*time.Second, 5*time.Second
	for _, r := range visit(t, h, g).Results {
		if r.Missed(true) || r.Verdict == conform.Skip {
			t.Errorf("%s (%s) is %v\nsent: %q\nwant: %s\ncame: %s\n%q", r.Case.ID, r.Case.Title, r.Verdict, r.Sent, r.Case.Want, r.Came, r.Got)
		}
	}
}

// TestEveryGuestCaseCanFail wants a fault for each case that judges.
func TestEveryGuestCaseCanFail(t *testing.T) {
	var found []string
	for _, f := range guestFaults {
		found = append(found, strings.Fields(f.found)...)
	}
	for _, c := range conform.RequesterCases() {
		if !slices.Contains(found, c.ID) && c.ID != "6.1-ra" { // which only informs
			t.Errorf("no fault of the toy is found by %s (%s)", c.ID, c.Title)
		}
	}
	for _, id := range found {
		if len(conform.Select(conform.RequesterCases(), nil, []string{id})) != 1 {
			t.Errorf("a fault is found by %s, which is no case", id)
		}
	}
}
