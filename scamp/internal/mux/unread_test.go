package mux_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestUnreadLimit: more unread octets than a window and one packet end that message
// and nothing else (PROTOCOL 4.5, 17-37a).
func TestUnreadLimit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header string
		opts   mux.Options
		limit  int
	}{
		{"no ext", jsRequest, mux.Options{}, 196608},
		{"ext", oursRequest, mux.Options{}, 1<<20 + 131072},
		{"ext, a smaller window announced", oursRequest, mux.Options{Window: 70_000}, 70_000 + 131072},
		{"ext, and we sent none", oursRequest, mux.Options{NoExt: true}, 196608},
		{"request without sector", goRequest, mux.Options{}, 1 << 20},
		{"request without sector, max_unread_message", goRequest, mux.Options{Limits: mux.Limits{MaxUnreadMessage: 300_000}}, 300_000},
		{"reply with client_id", `{"client_id":0,"request_id":1,"type":"reply","version":0}`, mux.Options{}, 1 << 20},
		{"no type", `{"request_id":1}`, mux.Options{}, 1 << 20},
		{"above max_buffered", goRequest, mux.Options{Limits: mux.Limits{MaxBuffered: 200_000}}, 200_000 - len("other")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var s shelf
				tt.opts.Accept = s.accept
				e, w := talk(t, tt.opts)
				w.send(header(0, tt.header) + header(1, jsRequest) + data(1, "other") + stream(0, tt.limit-1, 131072))
				all := s.messages()
				w.send(data(0, "x"))
				synctest.Wait()
				first := all[0].Unread()
				if first != tt.limit {
					t.Fatalf("%d octets unread, want %d tolerated", first, tt.limit)
				}
				w.send(data(0, "y") + data(0, "z"))
				synctest.Wait()
				if n := e.stats.Count(mux.WindowViolated); n != 1 {
					t.Errorf("window_violated %d, want 1", n)
				}
				if _, err := all[0].Read(make([]byte, 1)); !errors.Is(err, mux.ErrWindow) {
					t.Errorf("Read: %v, want ErrWindow", err)
				}
				// Its DATA is drained, its sender may go on, the others too.
				if got, want := w.take(), fmt.Sprintf("ACK 0 %d", tt.limit+2); len(got) == 0 || got[len(got)-1] != want {
					t.Errorf("answered %q, want %s at the end", got, want)
				}
				w.send(eof(0) + data(1, "!") + eof(1))
				body, err := all[1].Bytes(100)
				if string(body) != "other!" || err != nil {
					t.Errorf("the other message: %q, %v", body, err)
				}
				if left := mux.Pending(e.Conn); left != "" || e.Err() != nil {
					t.Errorf("left %s, connection %v", left, e.Err())
				}
			})
		})
	}
}

// TestBudgetViolationEndsTheMessageThatMakesIt (PROTOCOL 3.7): together messages
// may have win octets unread beyond 196608 each.
func TestBudgetViolationEndsTheMessageThatMakesIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		const win = 300_000
		e, w := talk(t, mux.Options{Accept: s.accept, Window: win})
		w.send(header(0, oursRequest) + header(1, oursRequest) + header(2, oursRequest))
		w.send(stream(0, 196608+200_000, 100_000) + stream(1, 196608+100_000, 100_000) + stream(2, 196608, 100_000))
		all := s.messages()
		synctest.Wait()
		if n := e.stats.Count(mux.WindowViolated); n != 0 {
			t.Fatalf("window_violated %d within the budget, want 0", n)
		}
		w.send(data(2, "x"))
		synctest.Wait()
		for i, m := range all {
			want := []int{396608, 296608, 0}[i]
			if got := m.Unread(); got != want {
				t.Errorf("message %d: %d octets unread, want %d", i, got, want)
			}
		}
		if n := e.stats.Count(mux.WindowViolated); n != 1 {
			t.Errorf("window_violated %d, want 1", n)
		}
		// What is read frees the budget again.
		if _, err := all[0].Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		w.send(stream(1, 1000, 1000))
		synctest.Wait()
		if n := e.stats.Count(mux.WindowViolated); n != 1 {
			t.Errorf("window_violated %d after octets were read, want still 1", n)
		}
		all[0].Discard()
		all[1].Discard()
		w.send(eof(0) + eof(1) + eof(2))
		synctest.Wait()
		if left := mux.Pending(e.Conn); left != "" {
			t.Errorf("left at the end: %s", left)
		}
	})
}

// Who was handed a message that ends before its end is told at once, and once; of one that
// was not handed up yet, or is thrown away already, nobody is.
func TestBrokenMessagesAreTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		var told []uint64
		_, w := talk(t, mux.Options{Accept: s.accept, Broken: func(m *mux.Inbound) { told = append(told, m.No()) }})
		w.send(header(0, jsRequest) + data(0, "x") + header(1, jsRequest) + header(2, jsRequest) + header(3, jsRequest))
		synctest.Wait()
		s.messages()[3].Discard()
		w.send(txerr(0, "gone") + data(1, "x") + eof(1) + stream(2, 196609, 16384) + data(2, "x") + txerr(2, "gone") +
			txerr(3, "gone") + header(4, jsRequest) + txerr(4, "gone"))
		synctest.Wait()
		if want := []uint64{0, 2}; !slices.Equal(told, want) || len(s.messages()) != 5 {
			t.Errorf("told of %v, of %d messages, want %v of 5: TXERR, and an ignored window", told, len(s.messages()), want)
		}
	})
}
