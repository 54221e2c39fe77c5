package mux_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// fuzzLimits are so small that fuzzing reaches all of them.
var fuzzLimits = mux.Limits{
	ChunkSize: 100, MaxInflight: 300, MaxWindow: 70_000, MaxUnreadMessage: 300_000, MaxBuffered: 400_000,
	MaxOpenMessages: 8, MaxWriteQueue: 2000, MaxPings: 2, MaxExtraAcks: 5, MaxEmptyData: 3,
}

// FuzzMux feeds octets to a Conn that sends as well. Whatever they are: nothing
// panics or hangs, what the Conn writes keeps its invariants, what is held stays
// within the limits, and every message that was offered ends.
func FuzzMux(f *testing.F) {
	var cases []struct{ Hex, File string }
	fixtures.JSON("framing/cases.json", &cases)
	for _, c := range cases {
		wire, err := hex.DecodeString(c.Hex)
		if err != nil {
			f.Fatal(err)
		}
		if c.File != "" {
			wire = fixtures.Bytes(c.File)
		}
		f.Add(wire, byte(0), uint16(1000))
	}
	for _, wire := range []string{
		example1 + example4 + example8, example2 + example5 + example6() + example7 + example9 + example10,
		header(0, oursRequest) + stream(0, 250_000, 100_000), header(0, goRequest) + stream(0, 400_000, 131_072),
		ack(0, 50) + ack(0, 100) + ack(0, 100) + ack(1, 1), strings.Repeat(header(0, jsRequest)+eof(0), 2),
		header(0, extHeader(70_000)) + ack(0, 300) + eof(0) + ping(3) + pack(packet.KindPONG, 0, ""),
	} {
		for how := range byte(8) {
			f.Add([]byte(wire), how, uint16(7+len(wire)/20))
		}
	}
	for _, wire := range transcripts(f) {
		f.Add([]byte(wire), byte(1), uint16(len(wire)/10))
		f.Add([]byte(wire), byte(6), uint16(len(wire)))
	}
	f.Fuzz(func(t *testing.T, wire []byte, how byte, piece uint16) {
		bubble(t, func(t *testing.T) { fuzzWire(t, wire, how, int(piece)+1) })
	})
}

var (
	recordedLine = regexp.MustCompile(`^ *[0-9.]+ #1 ([CS])>[CS] ([A-Z]+) ([0-9]+) ([0-9]+)\\r\\n(.*)END\\r\\n$`)
	leftOut      = regexp.MustCompile(`<<[0-9]+ bytes left out>>`)
)

// transcripts returns what each side of the recorded conversations sent, bodies as
// short as the recorder left them: enough for a seed.
func transcripts(f *testing.F) (all []string) {
	files, err := fs.Glob(fixtures.FS(), "transcripts/*-to-*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		sides := map[string]string{}
		for line := range strings.Lines(string(fixtures.Bytes(file))) {
			m := recordedLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if m == nil {
				continue
			}
			body, err := strconv.Unquote(`"` + strings.ReplaceAll(leftOut.ReplaceAllString(m[5], ""), `"`, `\"`) + `"`)
			if err != nil {
				f.Fatalf("%s: %q: %v", file, line, err)
			}
			sides[m[1]] += fmt.Sprintf("%s %s %d\r\n%sEND\r\n", m[2], m[3], len(body), body)
		}
		for _, wire := range sides {
			all = append(all, wire)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// fuzzWire has the bits of how say what the Conn does: 1 handlers read, 2 they
// throw away, 4 it sends messages of its own, 8 it sends no ext.
func fuzzWire(t *testing.T, wire []byte, how byte, piece int) {
	near, far := net.Pipe()
	w := &wireEnd{Conn: far}
	w.listen()
	var offered, ended int
	var mu sync.Mutex
	side := audit(t, "fuzzed", near)
	e := run(t, side.rw, side.link, mux.Options{Limits: fuzzLimits, NoExt: how&8 != 0, Accept: func(m *mux.Inbound) {
		mu.Lock()
		offered++
		mu.Unlock()
		if how&2 != 0 || m.Conn().Unread() > int64(fuzzLimits.MaxBuffered) { // then a service refuses
			m.Discard()
		}
		go func() { // ends with the message
			if how&3 == 0 {
				<-m.Conn().Done()
			}
			m.WriteTo(io.Discard)
			mu.Lock()
			ended++
			mu.Unlock()
		}()
	}})
	if how&4 != 0 {
		for _, body := range []mux.Body{{Data: octets(64)}, {Data: octets(100_000)}, {Data: octets(500), More: true}} {
			if _, err := e.Send(request(), body, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	piece = max(piece, len(wire)/200)
	for len(wire) > 0 && e.Err() == nil {
		n := min(piece, len(wire))
		far.Write(wire[:n])
		wire = wire[n:]
		synctest.Wait()
		// The rule of PROTOCOL 4.5, with one packet on top, and what was there when the last
		// message was taken: messages that have ended and are not read are not open.
		if most := int64(400_000 + 8*(300_000+131_072)); e.Unread() > most {
			t.Fatalf("%d octets unread, want at most %d", e.Unread(), most)
		}
	}
	far.Close()
	<-e.ran
	synctest.Wait()
	if offered != ended {
		t.Errorf("%d messages offered, %d ended", offered, ended)
	}
}

// A wireEnd reads and forgets.
type wireEnd struct{ net.Conn }

func (w *wireEnd) listen() {
	go io.Copy(io.Discard, w.Conn) // ends with the connection
}

// FuzzAck sends ACKs for a message of which so many octets were sent. The outcome is
// that of the table of PROTOCOL 4.4.
func FuzzAck(f *testing.F) {
	var table struct {
		Cases []struct {
			Sent int
			Acks []string
		}
	}
	fixtures.JSON("ack.json", &table)
	for _, c := range table.Cases {
		f.Add(uint32(c.Sent), strings.Join(c.Acks, ","))
	}
	f.Add(uint32(65536), "1,65536,65536,65535")
	f.Add(uint32(10), "9223372036854775808")
	count := regexp.MustCompile(`^[1-9][0-9]*$`)
	f.Fuzz(func(t *testing.T, sent uint32, list string) {
		sent %= 65537
		acks := strings.Split(list, ",")
		if len(acks) > 100 || len(list) > 10_000 {
			return
		}
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{})
			send(t, e, reply(), mux.Body{Data: octets(int(sent)), More: true})
			synctest.Wait()
			last, repeated := int64(0), uint64(0)
			for _, body := range acks {
				w.send(ack(0, body))
				synctest.Wait()
				n, err := strconv.ParseInt(body, 10, 64)
				if !count.MatchString(body) || err != nil || n < last || n > int64(sent) {
					if !fatal(e) {
						t.Fatalf("ACK %q after %d of %d: connection goes on, want it ended", body, last, sent)
					}
					return
				}
				if n == last {
					repeated++
				}
				last = n
				if e.Err() != nil || e.stats.Count(mux.AckRepeated) != repeated {
					t.Fatalf("ACK %q of %d: %v, ack_repeated %d; want it taken, and %d", body, sent, e.Err(), e.stats.Count(mux.AckRepeated), repeated)
				}
			}
			// What was acknowledged may be sent again.
			more := send(t, e, request(), mux.Body{})
			if err := more.Wait(t.Context(), "gone"); err != nil && !errors.Is(err, mux.ErrLost) {
				t.Error(err)
			}
		})
	})
}
