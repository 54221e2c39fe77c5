package discovery_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// bomb returns a datagram that inflates to that many octets.
func bomb(octets int) []byte { return discovery.Compress(bytes.Repeat([]byte("["), octets)) }

// largeBomb is 58 KB that inflate to 60 MB (THREATS E15), fewer where that takes
// too long to make.
var largeBomb = sync.OnceValue(func() []byte {
	if raceEnabled {
		return bomb(6 << 20)
	}
	return bomb(60 << 20)
})

// THREATS D7, D8 and D25.
func TestInflateRefuses(t *testing.T) {
	sample := fixtures.Bytes("announce/v3_ms.packet")
	z := discovery.Compress(sample)
	deflate := func(w io.WriteCloser, b *bytes.Buffer) []byte {
		w.Write(sample)
		w.Close()
		return b.Bytes()
	}
	var raw, zipped, dictionary bytes.Buffer
	rawWriter, _ := flate.NewWriter(&raw, 9)
	dictionaryWriter, _ := zlib.NewWriterLevelDict(&dictionary, 9, []byte("beepish+tls"))
	badSum := bytes.Clone(z)
	badSum[len(badSum)-1]++
	for _, tt := range []struct {
		name     string
		datagram []byte
		counter  string
	}{
		{"empty", nil, "announce_malformed"},
		{"one octet", []byte("["), "announce_malformed"},
		{"prefix only", []byte("R"), "announce_malformed"},
		{"two prefixes", append([]byte("RD"), z...), "announce_malformed"},
		{"peering packet", []byte("X0123456789"), "announce_malformed"},
		{"byte order mark", append([]byte("\ufeff"), sample...), "announce_malformed"},
		{"blank before", append([]byte(" "), sample...), "announce_malformed"},
		{"text of another kind", []byte("hello, world"), "announce_malformed"},
		{"raw deflate", deflate(rawWriter, &raw), "announce_malformed"},
		{"gzip", deflate(gzip.NewWriter(&zipped), &zipped), "announce_malformed"},
		{"preset dictionary", deflate(dictionaryWriter, &dictionary), "announce_malformed"},
		{"bad checksum", badSum, "announce_malformed"},
		{"cut", z[:len(z)/2], "announce_malformed"},
		{"cut before the checksum", z[:len(z)-1], "announce_malformed"},
		{"octet after the stream", append(bytes.Clone(z), 0), "announce_malformed"},
		{"two streams", append(bytes.Clone(z), z...), "announce_malformed"},
		{"one octet over the limit", bomb(256<<10 + 1), "announce_too_big"},
		{"58 KB that inflate to 60 MB", largeBomb(), "announce_too_big"},
		{"65,508 octets", bytes.Repeat([]byte("["), 65_508), "announce_too_big"},
	} {
		text, err := discovery.Limits{}.Inflate(tt.datagram)
		if counterOf(err) != tt.counter {
			t.Errorf("%s: %d octets, error %v: want %s", tt.name, len(text), err, tt.counter)
		}
	}
	nested, err := discovery.Limits{}.Inflate(discovery.Compress(z))
	if err != nil || !bytes.Equal(nested, z) {
		t.Errorf("zlib in zlib: error %v: want one layer taken off", err)
	}
	if _, err := discovery.Parse(discovery.Compress(z)); counterOf(err) != "announce_malformed" {
		t.Errorf("zlib in zlib: error %v: want announce_malformed", err)
	}
	if text, err := (discovery.Limits{}).Inflate(bomb(256 << 10)); err != nil || len(text) != 256<<10 {
		t.Errorf("text of 256 KiB: %d octets, error %v: want it whole", len(text), err)
	}
	if text, err := (discovery.Limits{}).Inflate(bytes.Repeat([]byte("["), 65_507)); err != nil || len(text) != 65_507 {
		t.Errorf("plain text of 65,507 octets: %d octets, error %v: want it whole", len(text), err)
	}
}

// THREATS D8: 1,000 bombs in less than a second and 4 MiB.
func TestBombsAreCheap(t *testing.T) {
	datagram := largeBomb()
	if len(datagram) > 65_507 {
		t.Fatalf("bomb of %d octets: want one that fits a datagram", len(datagram))
	}
	discovery.Parse(datagram)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := cpuTime()
	times := 1000
	if raceEnabled {
		times = 20
	}
	for range times {
		if _, err := discovery.Parse(datagram); counterOf(err) != "announce_too_big" {
			t.Fatalf("bomb: error %v: want announce_too_big", err)
		}
	}
	took := cpuTime() - start
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); !raceEnabled && (took > time.Second || grown > 4<<20) {
		t.Errorf("1,000 bombs: %v, heap grown by %d octets: want at most 1 s and 4 MiB", took, grown)
	}
}

// THREATS D7 and D25: junk is refused without any cost to remember.
func TestJunkCostsNothing(t *testing.T) {
	for _, datagram := range [][]byte{nil, {'X'}, []byte("XXXXXXXX"), bytes.Repeat([]byte("X"), 65_507), bytes.Repeat([]byte("["), 65_508), []byte("[]\n\n"), []byte("R[]\n\nx")} {
		allocs := testing.AllocsPerRun(100, func() {
			if _, err := discovery.Parse(datagram); err == nil {
				t.Fatal("junk accepted")
			}
		})
		if allocs != 0 && !raceEnabled {
			t.Errorf("%.10q..., %d octets: %v allocations: want none", datagram, len(datagram), allocs)
		}
	}
}

func TestSplitTakesThreeSections(t *testing.T) {
	for _, tt := range []struct {
		text string
		want string // sections joined with |, or "" for an error
	}{
		{"a\n\nb\n\nc\n\n", "a|b|c"},
		{"a\n\nb\n\nc", "a|b|c"},
		{"a\n\nb\n\nc\n", "a|b|c\n"},
		{"a\n\nb\n\nc\n\nd\n\n%%%\n", "a|b|c"},
		{"a\n\nb\n\n\nc\n\n", "a|b|\nc"},
		{"a\n\n\nb\n\nc\n\n", "a|\nb|c"},
		{"a\n\nb\n\n\n\nc", ""},
		{"a\n\nb", ""},
		{"a\n\nb\n\n", ""},
		{"a\n\n\n\nc\n\n", ""},
		{"\n\nb\n\nc", ""},
		{"a\nb\nc", ""},
		{"a\r\n\r\nb\r\n\r\nc", ""},
		{"", ""},
	} {
		s, err := discovery.Split([]byte(tt.text))
		got := ""
		if err == nil {
			got = string(s.JSON) + "|" + string(s.PEM) + "|" + string(s.Signature)
		}
		if got != tt.want || err != nil && counterOf(err) != "announce_malformed" {
			t.Errorf("%q: %q, error %v: want %q", tt.text, got, err, tt.want)
		}
	}
}

// THREATS D13: base64 in lines of any width, and no other freedom.
func TestBase64IsStrict(t *testing.T) {
	sample := fixtures.Bytes("announce/v3_ms.packet")
	s, err := discovery.Split(sample)
	if err != nil {
		t.Fatal(err)
	}
	join := func(pem, signature string) []byte {
		return []byte(string(s.JSON) + "\n\n" + pem + "\n\n" + signature + "\n\n")
	}
	bare := strings.ReplaceAll(string(s.Signature), "\n", "")
	body := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(string(s.PEM), "-----BEGIN CERTIFICATE-----\n"), "\n-----END CERTIFICATE-----"), "\n", "")
	pem := func(body string) string {
		return "-----BEGIN CERTIFICATE-----\n" + body + "\n-----END CERTIFICATE-----"
	}
	for columns := 1; columns <= 100; columns++ {
		if a, err := open(join(pem(wrap(body, columns)), wrap(bare, columns))); err != nil || !bytes.Equal(a.Packet(), sample) {
			t.Errorf("lines of %d characters: error %v: want it accepted and written as the sample", columns, err)
		}
	}
	if _, err := open(join(string(s.PEM), "\n"+bare)); err != nil {
		t.Errorf("signature after an empty line, as an empty line at the end of a certificate file makes it: %v: want it accepted", err)
	}
	last := strings.LastIndex(bare, "A==") // the sample ends in bPbA==: the last bits are zero
	variants := []string{
		strings.TrimRight(bare, "="), strings.TrimSuffix(bare, "="), bare + "=", bare + "==", bare + "A", bare + "AAAA", bare[4:], "AAAA" + bare,
		bare[:last] + "B==", bare[:last] + "P==", strings.Replace(bare, "+", "-", 1), strings.Replace(bare, "/", "_", 1), "=" + bare[1:], bare[:100] + "====" + bare[104:],
	}
	for i := 0; i < len(bare); i += 10 {
		for _, junk := range []string{" ", "\t", "\r", "\x00", "%", "é"} {
			variants = append(variants, bare[:i]+junk+bare[i:], bare[:i]+junk+bare[min(len(bare), i+len(junk)):])
		}
	}
	if len(variants) < 200 {
		t.Fatalf("%d variants: want at least 200", len(variants))
	}
	for _, signature := range variants {
		if _, err := open(join(string(s.PEM), signature)); counterOf(err) != "announce_badsig" {
			t.Errorf("signature %q: error %v: want announce_badsig", signature, err)
		}
	}
	for _, junk := range []string{" ", "\t", "\r", "\x00", "%", "=", "-"} {
		for i := 0; i <= len(body); i += 100 {
			if _, err := open(join(pem(body[:i]+junk+body[i:]), bare)); counterOf(err) != "announce_badkey" {
				t.Errorf("%q at character %d of the certificate: error %v: want announce_badkey", junk, i, err)
			}
		}
	}
}

// THREATS D1: an announcement in which one octet is another is no announcement,
// or that of a certificate nobody knows: invariant 1.
func TestFlippedOctetsAreDropped(t *testing.T) {
	sample := fixtures.Bytes("announce/v3_ms.packet")
	known := mustCertificate("sample").SHA256
	s, _ := discovery.Split(sample)
	counts := map[string]int{}
	step := 1
	if raceEnabled {
		step = 7
	}
	for i := 0; i < len(sample); i += step {
		for _, mask := range []byte{0x01, 0x20, 0x80} {
			text := bytes.Clone(sample)
			text[i] ^= mask
			a, err := open(text)
			if err == nil && a.Certificate.SHA256 == known && !bytes.Equal(a.Packet(), sample) {
				t.Fatalf("octet %d ^ %#02x: accepted as the sample: want it dropped", i, mask)
			}
			where := "elsewhere"
			if i > 0 && i < len(s.JSON) {
				where = "JSON"
			}
			counts[where+" "+counterOf(err)]++
		}
	}
	for what := range counts {
		if strings.HasPrefix(what, "JSON") && what != "JSON announce_badsig" {
			t.Errorf("octets flipped in the JSON: %v: want announce_badsig for each", counts)
		}
	}
}

// THREATS D12 and E4: nothing but what is signed, and the certificate and the
// signature encoded anew, is ever written: invariant 2.
func TestRecordHoldsNothingUnsigned(t *testing.T) {
	sample := fixtures.Bytes("announce/v3_ms.packet")
	record := sample[:len(sample)-1]
	neighbour, err := discovery.Parse(fixtures.Bytes("announce/suspend.packet"))
	if err != nil {
		t.Fatal(err)
	}
	accepted, step := 0, 1
	if raceEnabled {
		step = 11
	}
	for i := 0; i <= len(sample); i += step {
		for _, insert := range []string{"%%%", "\n%%%", "\n%%%\n", "%%%\n", "\n\n%%%\n", "\n"} {
			text := append(append(bytes.Clone(sample[:i]), insert...), sample[i:]...)
			a, err := open(text)
			if err != nil {
				continue
			}
			accepted++
			if !bytes.Equal(a.Record(), record) {
				t.Fatalf("%q at octet %d: record\n%s\nwant that of the sample", insert, i, a.Record())
			}
			file := "\n%%%\n" + string(a.Record()) + "\n%%%\n" + string(neighbour.Record())
			if got := strings.Split(file, "\n%%%\n"); len(got) != 3 || got[2] != string(neighbour.Record()) {
				t.Fatalf("%q at octet %d: the plain split of the file gives %d parts: want 3", insert, i, len(got))
			}
		}
	}
	if accepted == 0 {
		t.Error("no insertion was accepted: want those after the third section at least")
	}
	extra, err := open(fixtures.Bytes("announce/extra_section.packet"))
	if err != nil || bytes.Contains(extra.Record(), []byte("%%%")) {
		t.Errorf("extra_section: error %v, record %q: want no extra section", err, extra.Record())
	}
}

func TestRecordReadsTheSame(t *testing.T) {
	for _, c := range announceCases() {
		if c.Expect != "accept" {
			continue
		}
		a, err := discovery.Parse(fixtures.Bytes(c.File))
		if err != nil {
			t.Fatal(err)
		}
		again, err := discovery.Limits{}.ParseRecord(a.Record())
		if err != nil || !sameMeaning(a, again) {
			t.Errorf("%s: record reads otherwise (error %v)", c.File, err)
		}
		if got := append(a.Record(), '\n'); !bytes.Equal(got, a.Packet()) {
			t.Errorf("%s: packet is not the record and LF", c.File)
		}
	}
	var none discovery.Announcement
	if none.Record() != nil || none.Packet() != nil || none.JSON() != nil || none.Verified() {
		t.Error("an announcement that was filled in has signed octets: want none before Sign")
	}
	if _, err := (discovery.Limits{MaxCacheRecord: 1000}).ParseRecord(fixtures.Bytes("announce/v3_ms.packet")); counterOf(err) != "cache_too_big" {
		t.Errorf("record over the limit: error %v: want cache_too_big", err)
	}
}

// An announcement holds nothing of the buffer it came in.
func TestAnnouncementOwnsItsMemory(t *testing.T) {
	for _, file := range []string{"announce/v3_v4ext.packet", "announce/v3_v4ext.packet.z"} {
		datagram := fixtures.Bytes(file)
		a, err := discovery.Parse(datagram)
		if err != nil {
			t.Fatal(err)
		}
		b, err := open(fixtures.Bytes(file))
		if err != nil {
			t.Fatal(err)
		}
		clear(datagram)
		for range 10 { // whoever uses the pooled buffers next
			discovery.Parse(bomb(10_000))
		}
		if err := a.Verify(); err != nil || !sameMeaning(a, b) {
			t.Errorf("%s: changed with its buffer (error %v)", file, err)
		}
	}
}

// A signature is worth as many octets as its key, whatever is in the section.
func TestSignatureOfAnotherLength(t *testing.T) {
	json := array(1, `"a"`)
	for _, n := range []int{0, 1, 128, 255, 257, 512, 100_000} {
		text := textOf(json, make([]byte, n))
		want := "announce_badsig"
		if n == 0 {
			want = "announce_malformed" // no section at all
		}
		if _, err := (discovery.Limits{}).ParseRecord(text); counterOf(err) != want {
			t.Errorf("signature of %d octets: error %v: want %s", n, err, want)
		}
		checkCost(t, fmt.Sprintf("signature of %d octets", n), 32<<10, time.Millisecond, func() { discovery.Limits{}.ParseRecord(text) })
	}
}

// What does reading one announcement cost, of which one signature check is 50 us?
func BenchmarkOpen(b *testing.B) {
	for _, file := range []string{"announce/v3_ms.packet.z", "announce/v3_v4ext.packet.z"} {
		b.Run(file, func(b *testing.B) {
			datagram := fixtures.Bytes(file)
			b.SetBytes(int64(len(datagram)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := open(datagram); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The same without the signature check.
func BenchmarkParse(b *testing.B) {
	many := strings.Repeat(`,["action","noauth,read",1]`, 300)
	for _, tt := range []struct {
		name     string
		datagram []byte
	}{
		{"5 actions", fixtures.Bytes("announce/v3_ms.packet")},
		{"300 actions", unsigned(array(7, `[["Class"`+many+`]]`))},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.SetBytes(int64(len(tt.datagram)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := discovery.Parse(tt.datagram); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
