package discovery_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// Records are independent: one is accepted between two good ones exactly when it
// is accepted alone, and its neighbours always are.
func FuzzCacheFile(f *testing.F) {
	seeds(f, "cache/*.cache", "announce/*.packet")
	for _, text := range []string{"", "\n", "%%%\n", "\n%%%", "a\n%%%\nb", "\n\n%%%\n\n"} {
		f.Add([]byte(text))
	}
	before, after := service{ident: "before"}.announce(), service{ident: "after", key: "other"}.announce()
	f.Add(append(bytes.TrimRight(after.Record(), "\n"), "\n%%%"...))
	limits := discovery.Limits{MaxCacheRecords: 1 << 30} // else the second neighbour may be one too many
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.HasSuffix(text, []byte("\n%%%")) {
			text = append(text[:len(text):len(text)], '\n') // between others it is a separator, and is to be one alone
		}
		alone, _ := limits.ParseCache(append([]byte("\n%%%\n"), text...), nil)
		var b bytes.Buffer
		b.WriteString("\n%%%\n")
		b.Write(before.Record())
		b.WriteString("\n%%%\n")
		b.Write(text)
		b.WriteString("\n%%%\n")
		b.Write(after.Record())
		all, bad := limits.ParseCache(b.Bytes(), nil)
		if len(all) != len(alone)+2 {
			t.Fatalf("%q: %d records alone, %d between two good ones, bad: %v", text, len(alone), len(all), bad)
		}
		if all[0].Ident != "before" || all[len(all)-1].Ident != "after" {
			t.Fatalf("%q: the neighbours are %q and %q", text, all[0].Ident, all[len(all)-1].Ident)
		}
		for i, a := range alone {
			if !bytes.Equal(a.Record(), all[i+1].Record()) {
				t.Fatalf("%q: record %d reads otherwise between two good ones", text, i)
			}
			if err := a.Verify(); err != nil {
				t.Fatalf("%q: record %d: %v", text, i, err)
			}
		}
	})
}

// Whatever is taken from the network, the file reads the same under the plain
// split that all other implementations make.
func FuzzCacheRoundTrip(f *testing.F) {
	seeds(f, "announce/*.packet", "announce/*.z", "transcripts/announce-*.bin")
	for _, text := range []string{"%%%\n", "\n%%%\n", "\n\n%%%\n"} {
		packet := service{ident: "seed"}.announce().Packet()
		f.Add(append(bytes.Clone(packet), text...))
		f.Add(append(append(bytes.Clone(packet[:len(packet)-9]), text...), packet[len(packet)-9:]...))
	}
	neighbours := [2]*discovery.Announcement{service{ident: "\x01"}.announce(), service{ident: "~", key: "other"}.announce()}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, datagram []byte) {
		path := filepath.Join(dir, "discovery")
		synctest.Test(t, func(t *testing.T) {
			w := newDaemon(t, path, discovery.CacheWriterOptions{Loose: true})
			for _, a := range neighbours {
				if err := w.d.Add(a); err != nil {
					t.Fatal(err)
				}
			}
			taken := w.d.Receive(discovery.Datagram{Data: datagram}) == nil
			time.Sleep(time.Second)
			synctest.Wait()
			w.stop()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			parts := bytes.Split(text, []byte("\n%%%\n"))[1:]
			ours, bad := discovery.ParseCache(text)
			if len(parts) != len(ours) || len(bad) > 0 || len(ours) < 2 {
				t.Fatalf("%q: we read %d records, a plain split %d, bad: %v", datagram, len(ours), len(parts), bad)
			}
			for i, a := range ours {
				if !bytes.Equal(a.Record(), parts[i]) {
					t.Errorf("%q: record %d is %q, and as we write it %q", datagram, i, parts[i], a.Record())
				}
			}
			if taken && len(ours) > 3 {
				t.Errorf("%q: one datagram made %d records", datagram, len(ours)-2)
			}
		})
		os.Remove(path)
	})
}
