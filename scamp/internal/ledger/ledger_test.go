package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRecordsSurviveTheFile joins what two processes wrote.
func TestRecordsSurviveTheFile(t *testing.T) {
	c := &clock{began}
	var here, there bytes.Buffer
	client := ledger.New("client", &ledger.Options{W: &here, Now: c.now})
	service := ledger.New("service", &ledger.Options{W: &there, Now: c.now})
	service.Start(map[string]int64{"goroutines": 7})
	good(client, service, "a \"quoted\" id\n")
	client.Issue("b", ledger.Nonce{}, ledger.SumOf(nil), true, time.Time{})
	client.End("b", ledger.End{Outcome: ledger.Error, Cancelled: true, Text: "no"})
	service.Drain(map[string]int64{"goroutines": 7})
	var all []ledger.Record
	for _, part := range []struct {
		l *ledger.Ledger
		b *bytes.Buffer
	}{{client, &here}, {service, &there}} {
		text := part.b.String()
		got, err := ledger.Read(strings.NewReader(text))
		if err != nil || !reflect.DeepEqual(got, part.l.Records()) {
			t.Errorf("read of\n%s: %+v, %v\nwant %+v", text, got, err, part.l.Records())
		}
		all = append(all, got...)
	}
	if report := ledger.Check(all, 0); len(report.Violations) != 0 {
		t.Errorf("after the file: %v\nwant no violation", report)
	}
}

func TestReadLeavesOutATornLine(t *testing.T) {
	var b bytes.Buffer
	l := ledger.New("killed", &ledger.Options{W: &b})
	l.Run("a")
	l.Run("b")
	torn := b.String()[:b.Len()-5]
	got, err := ledger.Read(strings.NewReader(torn))
	if err != nil || len(got) != 1 || got[0].ID != "a" {
		t.Errorf("read of %q: %+v, %v; want the first record alone", torn, got, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no record", "hello\n", "line 1"},
		{"an unknown member", `{"kind":"run","id":"a","runs":2}` + "\n", "line 1"},
		{"a short nonce", `{"kind":"issue","nonce":"01"}` + "\n", "want 32 hexadecimal digits"},
		{"a nonce of letters", `{"kind":"issue","nonce":"` + strings.Repeat("xy", 16) + `"}` + "\n", "want 32 hexadecimal digits"},
		{"a long digest", `{"kind":"issue","request":{"sha256":"` + strings.Repeat("01", 33) + `"}}` + "\n", "want 64 hexadecimal digits"},
		{"a line without end", `{"kind":"run","id":"` + strings.Repeat("a", 1<<20) + `"}` + "\n", "more than 1048576 octets"},
		{"after a good one", `{"kind":"run","id":"a"}` + "\n{}}\n", "line 2: text after"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ledger.Read(strings.NewReader(tt.text))
			if !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("read of %.80q: %+v, %v; want an error with %q", tt.text, got, err, tt.want)
			}
		})
	}
}

// TestWriteErrorIsKept wants the notes to go on when the disk is full.
func TestWriteErrorIsKept(t *testing.T) {
	full := errors.New("no space left")
	l := ledger.New("x", &ledger.Options{W: failing{full}})
	l.Run("a")
	l.Run("a")
	if !errors.Is(l.Err(), full) || len(l.Records()) != 2 {
		t.Errorf("Err %v and %d records, want %v and 2", l.Err(), len(l.Records()), full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestManyNoteAtOnce counts runs of one id noted by many goroutines.
func TestManyNoteAtOnce(t *testing.T) {
	var b bytes.Buffer
	l := ledger.New("x", &ledger.Options{W: &b})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { l.Run("a") })
	}
	all.Wait()
	if n := l.Run("a"); n != 51 {
		t.Errorf("the 51st run is number %d", n)
	}
	if got, err := ledger.Read(&b); err != nil || len(got) != 51 || got[50].Count != 51 {
		t.Errorf("%d records, %v; want 51 in the order of their counts", len(got), err)
	}
}

func TestMeterIsSumOf(t *testing.T) {
	var m ledger.Meter
	if m.Sum() != ledger.SumOf(nil) {
		t.Errorf("Sum of nothing: %v, want that of the empty body %v", m.Sum(), ledger.SumOf(nil))
	}
	for _, part := range []string{"ques", "", "tion"} {
		fmt.Fprint(&m, part)
	}
	if m.Sum() != question {
		t.Errorf("Sum of the parts: %v, want %v", m.Sum(), question)
	}
}

// FuzzRead wants what was read to be written and read again the same.
func FuzzRead(f *testing.F) {
	f.Add(`{"kind":"issue","at":"2026-01-02T03:04:05Z","by":"c","id":"a","nonce":"` + strings.Repeat("0a", 16) + `","request":{"octets":8,"sha256":"` + strings.Repeat("0b", 32) + `"},"idempotent":true}` + "\n")
	f.Add(`{"kind":"end","at":"2026-01-02T03:04:05Z","id":"a","outcome":"replied_ok"}` + "\n" + `{"kind":"drain","holds":{"x":1}}` + "\n{")
	f.Add(`{"kind":"end","at":"2026-01-02T03:04:05+24:00","id":"a"}` + "\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		records, err := ledger.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		ledger.Check(records, 1)
		if slices.ContainsFunc(records, func(r ledger.Record) bool { return foreignZone(r.At) || foreignZone(r.Deadline) }) {
			return
		}
		written := lines(t, records)
		for line := range strings.Lines(written) {
			if len(line) > 1<<20 {
				return // more than is read now: < takes six octets
			}
		}
		again, err := ledger.Read(strings.NewReader(written))
		if err != nil || lines(t, again) != written {
			t.Errorf("read of %q, written as %q: %v, and reads as %q", text, written, err, lines(t, again))
		}
	})
}

// foreignZone reports whether t is in a zone that package time reads and does not write.
func foreignZone(t time.Time) bool {
	_, seconds := t.Zone()
	return max(seconds, -seconds) >= 24*60*60
}

func lines(t *testing.T, records []ledger.Record) string {
	var b strings.Builder
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

// A ledger that forgets writes the same and holds nothing.
func TestForget(t *testing.T) {
	c := &clock{began}
	var written, kept bytes.Buffer
	l := ledger.New("service", &ledger.Options{W: &written, Now: c.now, Forget: true})
	k := ledger.New("service", &ledger.Options{W: &kept, Now: c.now})
	for range 2 {
		if n := l.Run("x"); n != 0 {
			t.Errorf("Run of a ledger that forgets returns %d, want 0", n)
		}
		k.Run("x")
	}
	if n := len(l.Records()); n != 0 {
		t.Errorf("a ledger that forgets holds %d records, want 0", n)
	}
	records, err := ledger.Read(&written)
	want, wantErr := ledger.Read(&kept)
	if err != nil || wantErr != nil || len(records) != 2 || len(want) != 2 {
		t.Fatalf("%d records, %v, and %d, %v: want 2 of each", len(records), err, len(want), wantErr)
	}
	for i := range want {
		want[i].Count = 0 // what it does not count
		if !reflect.DeepEqual(records[i], want[i]) {
			t.Errorf("record %d is %+v, want %+v", i, records[i], want[i])
		}
	}
}
