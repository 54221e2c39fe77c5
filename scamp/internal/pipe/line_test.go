package pipe_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/pipe"
)

// arrivals reads until the end and notes when how much was there.
func arrivals(e *pipe.End) (at []time.Duration, total int, err error) {
	began, buf := time.Now(), make([]byte, 64<<10)
	for {
		n, err := e.Read(buf)
		if n > 0 {
			at = append(at, time.Since(began))
			total += n
		}
		if err != nil {
			return append(at, time.Since(began)), total, err
		}
	}
}

// TestLineTakesTime checks when octets and the end arrive over lines of each kind.
func TestLineTakesTime(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name   string
		line   pipe.Line
		octets int
		want   []time.Duration // the last is the end
	}{
		{"none", pipe.Line{}, 1000, []time.Duration{0, 0}},
		{"delay", pipe.Line{Delay: s}, 1000, []time.Duration{s, s}},
		{"rate", pipe.Line{Rate: 1460}, 2920, []time.Duration{s, 2 * s, 2 * s}},
		{"both", pipe.Line{Rate: 1460, Delay: s}, 2920, []time.Duration{2 * s, 3 * s, 3 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe.New()
				defer b.Close()
				a.SetLine(tt.line)
				a.Write(make([]byte, tt.octets))
				a.Close()
				at, total, err := arrivals(b)
				same := len(at) == len(tt.want)
				for i := range at {
					same = same && at[i] == tt.want[i]
				}
				if !same || total != tt.octets || err != io.EOF {
					t.Errorf("%d octets over %+v: %d at %v, %v, want them at %v", tt.octets, tt.line, total, at, err, tt.want)
				}
			})
		})
	}
}

// TestLineLosesNothing sends more than any buffer holds over lines that change meanwhile.
func TestLineLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New()
		defer b.Close()
		want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
		go func() { // ends when all was read
			a.SetLine(pipe.Line{Delay: time.Second})
			a.Write(want[:len(want)/2])
			a.SetLine(pipe.Line{Rate: 1 << 20})
			a.Write(want[len(want)/2:])
			a.Close()
		}()
		for _, held := range []bool{true, false, true, false} {
			a.Hold(held)
			<-time.After(300 * time.Millisecond)
		}
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets, %v, want the %d that were written, in their order", len(got), err, len(want))
		}
	})
}

// TestLineIsCut cuts a connection behind every octet of what one side writes.
func TestLineIsCut(t *testing.T) {
	const text = "request"
	for cut := 1; cut <= len(text); cut++ {
		for _, line := range []pipe.Line{{Cut: cut}, {Cut: cut, Delay: time.Second}} {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe.New()
				defer a.Close()
				defer b.Close()
				a.SetLine(line)
				if n, err := a.Write([]byte(text)); n != cut || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("Write of %d octets over %+v: %d, %v, want a reset after %d", len(text), line, n, err, cut)
				}
				if got, err := io.ReadAll(b); string(got) != text[:cut] || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("over %+v arrived %q, %v, want %q and a reset", line, got, err, text[:cut])
				}
				if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("Read where it was cut: %v, want a reset", err)
				}
				if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("Write from the other side: %v, want a reset", err)
				}
			})
		}
	}
}

// TestHeldLineTellsNothing: what an end writes, and that it has gone, stays unknown at
// the other until the line is let go.
func TestHeldLineTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New()
		defer b.Close()
		a.Hold(true)
		a.Write([]byte("last words"))
		a.Close()
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close: %v, want net.ErrClosed", err)
		}
		b.SetReadDeadline(time.Now().Add(time.Hour))
		if n, err := b.Read(make([]byte, 1)); n != 0 || err == io.EOF {
			t.Errorf("Read from a line that is held: %d, %v, want nothing", n, err)
		}
		if _, err := b.Write([]byte("x")); err != nil {
			t.Errorf("Write to who has closed behind a line that is held: %v, want no error yet", err)
		}
		b.SetReadDeadline(time.Time{})
		a.Hold(false)
		if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
			t.Errorf("let go: %q, %v, want the last words", got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after that: %v, want io.ErrClosedPipe", err)
		}
	})
}

// TestBreakLosesWhatIsUnderWay: what has arrived can be read.
func TestBreakLosesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New()
		a.Write([]byte("here"))
		a.SetLine(pipe.Line{Delay: time.Second})
		a.Write([]byte("under way"))
		a.Break()
		if got, err := io.ReadAll(b); string(got) != "here" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after Break: %q, %v, want what was here and a reset", got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Write after Break: %v, want a reset", err)
		}
		a.Close()
		b.Close()
	})
}
