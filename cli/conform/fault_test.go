package conform_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/scamp"
)

// faults are what a toy can do wrong, and the cases that must find it.
var faults = []struct {
	fault string // faults joined by " and "
	found string
}{
	{"wants a client certificate", "6.1-a"},
	{"checks client certificates", "6.1-b"},
	{"wants ALPN", "6.1-c"},
	{"changes its certificate", "6.2-a 6.3-g"},
	{"speaks TLS 1.3 alone", "6.3-a"},
	{"speaks TLS 1.2 alone", "6.3-b"},
	{"speaks TLS 1.0", "6.3-c"},
	{"speaks RC4", "6.3-d"},
	{"issues tickets", "6.3-e"},
	{"speaks RSA key exchange alone", "6.3-f"},

	{"greets", "2.1-a 4.7-z"},
	{"looks for END", "2.1-b 2.3-i"},
	{"takes any line", "2.1-c 2.1-d 2.1-e 2.1-f 2.1-g 2.1-h 2.1-i 2.1-j 2.1-k 2.1-l 2.1-m 2.1-n 2.1-o 2.1-p"},
	{"takes any line", "2.1-r 2.3-d"},
	{"takes any line and ignores what is not open", "2.3-e 2.4-p"},
	{"takes any trailer", "2.3-f 2.3-g"},
	{"takes a bare LF after END", "2.3-h"},
	{"takes any length", "2.2-b 2.2-d"},
	{"takes any length", "2.2-r"},
	{"takes short packets only", "2.2-a 2.2-c"},
	{"wants a packet a read", "2.3-a 2.3-c"},
	{"takes one request a read", "2.3-b"},
	{"ends with a wrong trailer", "2.1-z 5.2-a"},
	{"sends long headers", "2.2-z"},

	{"wants the object alone", "3.1-a"},
	{"knows every member", "3.1-b 3.1-d"},
	{"wants action first", "3.1-c"},
	{"mends headers", "3.1-e 3.1-f 3.1-g 3.1-h 3.1-i 3.1-j 3.1-k 3.1-l 3.1-m 3.1-n 3.1-o 3.1-q 3.1-r"},
	{"sends members twice", "3.1-z"},
	{"sends null", "3.3-z"},
	{"sends events", "3.3-y"},
	{"takes headers in one form", "3.6-a 3.2-a 3.2-b 3.2-c 3.2-d 3.2-e 3.2-f 3.2-g 3.2-h 3.2-i 3.2-j 3.2-k 3.2-l 3.2-m 3.2-n 3.2-o 3.2-p 3.2-q 3.7-a 3.7-b"},

	{"takes any number", "2.4-a 2.4-b 2.4-c 2.4-d"},
	{"ignores what is not open", "2.4-e 2.4-f"},
	{"ignores what is not open", "2.4-g 2.4-h"},
	{"ignores what is not open", "2.4-i 2.4-j"},
	{"has one message at a time", "2.4-k"},
	{"skips numbers", "2.4-z"},
	{"sends DATA after EOF", "2.4-y"},

	{"acknowledges empty DATA", "2.4-m"},
	{"closes on tiny DATA", "4.2-a 4.2-b"},
	{"wants a body", "4.1-a"},
	{"sends empty DATA", "2.4-x"},
	{"ignores ACKs", "4.3-a 4.3-c 4.3-z 3.7-d"},
	{"oversteps its window", "4.3-c 4.3-z"},
	{"serves in the reader", "4.3-b 4.7-d"},

	{"acknowledges at the end only", "4.4-a 4.4-b"},
	{"acknowledges at the end only", "3.5-e 5.2-d"},
	{"acknowledges everything", "4.4-c"},
	{"acknowledges twice", "4.4-z"},
	{"closes on an equal ACK", "4.4-d"},
	{"wants ACKs for open messages", "4.4-e 4.4-f"},
	{"takes any ACK", "4.4-g 4.4-h"},
	{"takes any ACK", "4.4-i 4.4-j"},
	{"takes any ACK", "4.4-k 4.4-l"},
	{"takes any ACK", "4.4-m 4.4-n"},
	{"takes any ACK", "4.4-o 4.4-p"},

	{"takes an EOF with a body", "2.4-n"},
	{"waits for ACKs before EOF", "4.1-c"},
	{"takes TXERR for EOF", "5.1-a 5.1-b 4.1-d 4.1-e"},
	{"keeps half-closed connections", "4.8-a"},
	{"sends EOF with a body", "2.4-w"},
	{"sends TXERR without text", "4.1-z 5.2-c"},

	{"ignores PING", "4.7-a 4.7-b"},
	{"ignores PING", "4.7-c 4.7-d"},
	{"answers PING with the wrong number", "4.7-a 4.7-b 4.7-c 4.7-d"},
	{"closes on PONG", "4.7-e"},

	{"answers everything and serves in the reader", "3.5-a 3.5-b 3.5-c 3.5-d"},
	{"does not drain", "3.5-e 5.2-d"},
	{"closes on cancel", "3.5-f"},
	{"numbers replies itself", "3.4-a 3.4-b 3.4-c 3.4-d"},
	{"numbers replies itself", "3.4-e"},
	{"sends request ids as numbers", "3.4-b"},
	{"replies twice", "5.1-z"},

	{"says yes to all", "5.2-a 5.2-b 5.2-c 5.3-a 5.3-b 5.3-c 3.5-g 3.5-h 3.5-i 3.5-j 3.5-k 3.5-l"},
	{"closes on members of a wrong type", "3.5-g 3.5-h 3.5-i 3.5-j 3.5-k"},
	{"has codes of its own", "5.3-a 3.5-g 3.5-l 5.1-b"},
	{"sends bodies with errors", "5.2-c"},
	{"sends dispatch_failure to all", "5.5-a"},
	{"sends no dispatch_failure", "5.5-b"},
	{"minds the case of actions", "12.2-a"},

	{"takes few requests", "4.5-a"},
	{"serves in the order of HEADERs", "4.5-b 4.5-e"},
	{"closes on much", "4.5-b 4.5-c 4.5-d"},
	{"closes on much", "4.5-f"},
	{"dies of a cut packet", "4.8-b"},

	{"grants the window to each message", "3.7-e"},
	{"ignores cancel", "3.7-f 3.7-i"},
	{"closes on a cancel of nothing", "3.5-f 3.7-g 3.7-h"},
	{"ignores ms", "3.7-j"},
	{"takes long ms for short ones", "3.7-k"},

	{"never closes idle connections", "4.6-a 4.6-d"},
	{"closes busy connections as idle ones", "4.6-b"},
	{"counts idle time from the start", "4.6-c"},

	{"dies of an unknown type", "2.4-p"},
	{"dies of null", "3.1-q"},
	{"dies of a negative length", "2.1-r"},
	{"takes any number of messages", "4.5-h"},
	{"dies of floods", "2.4-s"},
	{"dies of floods", "4.2-c"},
	{"dies of floods", "4.4-r"},
	{"dies of floods", "4.7-f"},
	{"dies of floods", "4.5-i"},
	{"one connection at a time", "4.5-j 6.1-d"},
	{"dies of what is no TLS", "6.1-e"},
}

// TestFaultsAreFound shows that cases can fail: a service that does everything right
// but one thing misses the cases that are there to find it.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel() // it mostly waits
	pair, err := scamp.GenerateKeyPair("toy", 2048)
	if err != nil {
		t.Fatal(err)
	}
	cards := make([]*conform.Card, len(faults))
	var runs sync.WaitGroup
	places := make(chan struct{}, 32) // most of a run is waiting
	for i, tt := range faults {
		runs.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			toy := newToy(t, pair, strings.Split(tt.fault, " and ")...)
			cards[i] = judge(t, toy, 5*time.Second, conform.Select(conform.Cases(), nil, strings.Fields(tt.found)))
		})
	}
	runs.Wait()
	for i, tt := range faults {
		t.Run(strings.ReplaceAll(tt.fault, " ", "_"), func(t *testing.T) {
			for _, r := range cards[i].Results {
				if !r.Missed(true) {
					t.Errorf("a service that %s: %s (%s) is %v\nsent: %q\nwant: a miss\ncame: %s\n%q",
						tt.fault, r.Case.ID, r.Case.Title, r.Verdict, r.Sent, r.Came, r.Got)
				}
			}
		})
	}
}

// TestToyPasses shows that it is the fault that is found, and nothing else.
func TestToyPasses(t *testing.T) {
	t.Parallel() // it mostly waits
	pair, err := scamp.GenerateKeyPair("toy", 2048)
	if err != nil {
		t.Fatal(err)
	}
	toy := newToy(t, pair)
	toy.idle = 2 * time.Second
	card := judge(t, toy, 10*time.Second, conform.Cases())
	for _, r := range card.Results {
		if r.Missed(true) {
			t.Errorf("%s (%s) is %v\nsent: %q\nwant: %s\ncame: %s\n%q", r.Case.ID, r.Case.Title, r.Verdict, r.Sent, r.Case.Want, r.Came, r.Got)
		}
	}
}

// TestEveryCaseCanFail wants a fault for each case that judges.
func TestEveryCaseCanFail(t *testing.T) {
	var found []string
	for _, f := range faults {
		found = append(found, strings.Fields(f.found)...)
	}
	for _, c := range conform.Cases() {
		if !slices.Contains(found, c.ID) && !slices.Contains(informative, c.ID) {
			t.Errorf("no fault of the toy is found by %s (%s)", c.ID, c.Title)
		}
	}
	for _, id := range found {
		if len(conform.Select(conform.Cases(), nil, []string{id})) != 1 {
			t.Errorf("a fault is found by %s, which is no case", id)
		}
	}
}

// informative are the cases that find something out; they miss only what others miss.
var informative = []string{"6.3-h", "4.1-b", "4.2-z", "3.7-c"}

func judge(t *testing.T, y *toy, timeout time.Duration, cases []conform.Case) *conform.Card {
	t.Helper()
	card, err := conform.Run(t.Context(), conform.Options{
		Addr: y.ln.Addr().String(), Action: echo, Hostile: true, Timeout: timeout, Quiet: 200 * time.Millisecond, Idle: y.idle,
	}, cases)
	if err != nil {
		t.Error(err)
		return new(conform.Card)
	}
	return card
}
