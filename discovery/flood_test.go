package discovery_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// recompressed returns text as a zlib stream of two blocks, the first of n octets:
// anybody can make as many of one announcement as it has octets.
func recompressed(text []byte, n int) []byte {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	if err != nil {
		panic(err)
	}
	w.Write(text[:n])
	w.Flush()
	w.Write(text[n:])
	w.Close()
	return b.Bytes()
}

// rewrapped returns text with a line of its signature broken after n characters
// more: the same announcement, and other octets.
func rewrapped(text []byte, n int) []byte {
	at := bytes.LastIndex(bytes.TrimRight(text, "\n"), []byte("\n\n")) + 2 + n
	return append(append(bytes.Clone(text[:at]), '\n'), text[at:]...)
}

// TestFloodCannotSilenceOthers is THREATS D20 within one lane: somebody uses up all
// signature checks of known certificates, and makes the packets by which a service
// is known worthless, with copies of its own announcement. What it repeats counts.
func TestFloodCannotSilenceOthers(t *testing.T) {
	for _, tt := range []struct {
		name string
		copy func(text []byte, n int) []byte
	}{
		{"compressed otherwise", func(text []byte, n int) []byte { return recompressed(text, 1+n%(len(text)-2)) }},
		{"wrapped otherwise", func(text []byte, n int) []byte { return discovery.Compress(rewrapped(text, 1+n%70)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDirectory(t, nil)
				s := service{ident: "victim:AAECAwQFBgcICQoLDA0ODxAR"}
				own, text := s.datagram(), s.announce().Packet()
				receive := func(data []byte) error { return d.Receive(discovery.Datagram{Data: data}) }
				if err := receive(own); err != nil {
					t.Fatal(err)
				}
				n := 0
				for range 16 { // while there are checks left
					n++
					receive(tt.copy(text, n))
				}
				for tick := range 150 { // of 100 ms
					for range 60 { // 600 a second, of 400 that may be checked: the victim's certificate, and no good signature
						n++
						receive(unsigned(array(8, fmt.Sprint(1700000000000+n))))
					}
					if tick%50 == 49 {
						if err := receive(own); err != nil {
							t.Errorf("after %d packets of a flood: the service repeats itself: %v", n, err)
						}
					}
					time.Sleep(100 * time.Millisecond)
				}
				if len(d.Find(discovery.Query{Action: "Sample.echo"})) != 1 {
					t.Error("a service that repeats itself every 5 s is gone")
				}
				if d.Stats().Counters["verify_limited"] == 0 {
					t.Error("the flood did not use up the signature checks: it shows nothing")
				}
			})
		})
	}
}
