package mux_test

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestAcksShareOne: a reader that finds much at hand acknowledges it a quarter of the
// usual flight at a time if the peer knows windows larger than MinWindow, and half a
// MinWindow at a time if not (PROTOCOL 4.4).
func TestAcksShareOne(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		window       int
		want         []string
	}{
		{"old peer", jsRequest, 0, []string{"ACK 0 32768", "ACK 0 65536", "ACK 0 98304", "ACK 0 114688"}},
		{"ours", oursRequest, 0, []string{"ACK 0 65536", "ACK 0 114688"}},
		{"ours, small window here", oursRequest, mux.MinWindow, []string{"ACK 0 32768", "ACK 0 65536", "ACK 0 98304", "ACK 0 114688"}},
		{"ours, small window there", strings.Replace(oursRequest, "1048576", "65536", 1), 0, []string{"ACK 0 32768", "ACK 0 65536", "ACK 0 98304", "ACK 0 114688"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var s shelf
				_, w := talk(t, mux.Options{Window: tt.window, Accept: s.accept})
				const chunk, chunks = 16384, 7
				w.send(header(0, tt.header) + stream(0, chunk*chunks, chunk))
				m := s.message(t)
				for range chunks {
					if _, err := io.ReadFull(inboundReader{m}, make([]byte, chunk)); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				go m.Read(make([]byte, 1)) // waits, and ends with the connection
				synctest.Wait()
				got := slices.DeleteFunc(w.take(), func(p string) bool { return !strings.HasPrefix(p, "ACK") })
				if !slices.Equal(got, tt.want) {
					t.Errorf("acknowledged %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// TestAckInAFlood: who waits for more of one message has its ACK sent although octets of
// another never stop coming (invariant 5).
func TestAckInAFlood(t *testing.T) {
	near, far := tcp(t)
	side := bare(near)
	run(t, side.rw, side.link, mux.Options{Accept: func(m *mux.Inbound) {
		if m.No() > 0 {
			m.Discard()
			return
		}
		go m.Bytes(1 << 20) // waits for the end of the message; ends with the connection
	}})
	defer far.Close()
	acked := make(chan error, 1)
	go func() { // ends with the ACK, or with far
		r := packet.NewReader(far, packet.Limits{})
		for {
			p, err := r.Next()
			if err != nil || p.Kind == packet.KindACK && p.MsgNo == 0 && string(p.Body) == "20000" {
				acked <- err
				return
			}
		}
	}()
	if _, err := io.WriteString(far, header(0, jsRequest)+stream(0, 20000, 10000)+header(1, jsRequest)); err != nil {
		t.Fatal(err)
	}
	flood := stream(1, 1<<20, 16384)
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		select {
		case err := <-acked:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		if _, err := io.WriteString(far, flood); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("20 s of octets of another message, and no ACK 0 20000")
}

// TestWorkWhileTheReaderWaits: what is left to the reader while octets are at hand is sent
// by who has it once the reader waits. Over TCP, where the reader says that it does.
func TestWorkWhileTheReaderWaits(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		work       func(e *end, m *mux.Inbound)
	}{
		{"ACK of who waits for more", "ACK 0 3", func(_ *end, m *mux.Inbound) { m.Bytes(1000) }},
		{"message of the reader's own", "HEADER 0", func(e *end, _ *mux.Inbound) { e.Send(reply(), mux.Body{Soon: true}, nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 20 { // each time the reader may not wait yet, and do it
				near, far := tcp(t)
				far.SetDeadline(time.Now().Add(20 * time.Second))
				side := bare(near)
				accepted := make(chan *mux.Inbound, 1) // the one message there is
				e := run(t, side.rw, side.link, mux.Options{Accept: func(m *mux.Inbound) { accepted <- m }})
				io.WriteString(far, header(0, jsRequest)+data(0, "abc")+ping(0))
				m := <-accepted
				in := packet.NewReader(far, packet.Limits{})
				for _, want := range []string{"PONG 0", tt.want} {
					p, err := in.Next()
					if err != nil {
						t.Fatalf("%v, want %s", err, want)
					}
					if got := describe([]packet.Packet{p})[0]; got != want {
						t.Fatalf("sent %q, want %q", got, want)
					}
					if p.Kind == packet.KindPONG { // the last thing before the reader waits
						go tt.work(e, m) // ends with the connection
					}
				}
				far.Close()
			}
		})
	}
}
