package pipe_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/scampbus/scamp-go/scamp/internal/pipe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleNew() {
	a, b := pipe.New()
	a.Write([]byte("hello"))
	a.Close()
	got, err := io.ReadAll(b)
	fmt.Printf("%s %v\n", got, err)
	// Output: hello <nil>
}

func TestPipeEndsAsTCPDoes(t *testing.T) {
	buf := make([]byte, 8)
	for _, tt := range []struct {
		name string
		do   func(a, b *pipe.End) error
		want error
	}{
		{"read after the other side closed", func(a, b *pipe.End) error { b.Close(); _, err := a.Read(buf); return err }, io.EOF},
		{"read after the other side closed for writing", func(a, b *pipe.End) error { b.CloseWrite(); _, err := a.Read(buf); return err }, io.EOF},
		{"read after our own close", func(a, b *pipe.End) error { a.Close(); _, err := a.Read(buf); return err }, net.ErrClosed},
		{"write after our own close", func(a, b *pipe.End) error { a.Close(); _, err := a.Write(buf); return err }, net.ErrClosed},
		{"write to one who has gone", func(a, b *pipe.End) error { b.Close(); _, err := a.Write(buf); return err }, io.ErrClosedPipe},
		{"write to one who only writes no more", func(a, b *pipe.End) error { b.CloseWrite(); _, err := a.Write(buf); return err }, nil},
		{"read past the deadline", func(a, b *pipe.End) error {
			a.SetDeadline(time.Now().Add(time.Minute))
			_, err := a.Read(buf)
			return err
		}, os.ErrDeadlineExceeded},
		{"write more than fits past the deadline", func(a, b *pipe.End) error {
			a.SetDeadline(time.Now().Add(time.Minute))
			_, err := a.Write(make([]byte, 1<<20))
			return err
		}, os.ErrDeadlineExceeded},
		{"read past a deadline that was taken back", func(a, b *pipe.End) error {
			a.SetReadDeadline(time.Now().Add(-time.Second))
			a.SetReadDeadline(time.Time{})
			b.Write(buf)
			_, err := a.Read(buf)
			return err
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe.New()
				defer a.Close()
				defer b.Close()
				if err := tt.do(a, b); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
					t.Errorf("error %v, want %v", err, tt.want)
				}
			})
		})
	}
}

// A writer waits for a reader when the buffer is full, and no octet is lost.
func TestPipeWaitsForReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New()
		defer b.Close()
		const size = 1 << 20
		wrote := false
		go func() { // ends when all was read
			a.Write(make([]byte, size))
			wrote = true
			a.Close()
		}()
		synctest.Wait()
		if wrote {
			t.Errorf("Write of %d octets returned before anybody read", size)
		}
		if n, err := io.Copy(io.Discard, b); n != size || err != nil {
			t.Errorf("read %d octets, %v, want %d", n, err, size)
		}
	})
}
