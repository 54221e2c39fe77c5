package discovery_test

import (
	"bytes"
	"compress/zlib"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// An air is what an attacker can hear, and what he makes of it. Everything comes from
// the seed. It is not safe for concurrent use.
type air struct {
	t      testing.TB
	random *rand.Rand
	heard  [][]byte // texts of honest announcements
	zip    *zlib.Writer
	number int // of things made so far: nothing comes twice

	checks []time.Duration // what signature checks took during the last flood

	rogues  []party        // one that a rule lets offer Rogue, and one that none names
	foreign map[int]string // certificate sections of keys that nobody has, by their length
}

// A party signs what it likes.
type party struct {
	key *rsa.PrivateKey
	pem []byte
}

func newAir(t testing.TB, seed uint64, heard [][]byte) *air {
	zip, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	x := &air{t: t, random: rand.New(rand.NewPCG(seed, seed)), heard: heard, zip: zip, foreign: make(map[int]string)}
	stranger := mustKey("ticket")
	x.rogues = []party{{mustKey("other"), mustCertificate("other").PEM()}, {stranger, []byte(sectionOf(certificateFor(t, &stranger.PublicKey)))}}
	for _, bits := range []int{512, 1024, 2048, 4096, 8192} {
		x.foreign[bits] = sectionOf(certificateFor(t, &rsa.PublicKey{N: oddModulus(bits), E: 65537}))
	}
	return x
}

// compress is fast, for floods.
func (x *air) compress(text []byte) []byte {
	var b bytes.Buffer
	x.zip.Reset(&b)
	x.zip.Write(text)
	x.zip.Close()
	return b.Bytes()
}

func (x *air) sections() discovery.Sections {
	s, err := discovery.Split(x.heard[x.random.IntN(len(x.heard))])
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// joined puts sections together.
func joined(json, certificate, signature []byte) []byte {
	return bytes.Join([][]byte{json, certificate, signature, nil}, []byte("\n\n"))
}

// attacks are the ways to be hostile, by the rows of THREATS 2.3. Each makes one
// datagram that differs from all before.
var attacks = []struct {
	name string
	make func(*air) []byte
}{
	{"D1_octet_flipped", (*air).flipped},
	{"D1_certificate_mutated", (*air).mutated},
	{"D7_long_datagram", (*air).long},
	{"D8_bomb", (*air).bomb},
	{"D9_run_length_bomb", (*air).runLengthBomb},
	{"D10_bad_json", (*air).badJSON},
	{"D12_separators", (*air).separators},
	{"D13_junk_in_base64", (*air).base64Junk},
	{"D14_odd_certificate", (*air).oddCertificate},
	{"D15_ident_of_another", (*air).otherCertificate},
	{"D19_idents_without_end", (*air).manyIdents},
	{"D20_bad_signature_known", func(x *air) []byte { return x.badSignature(x.sections().PEM, 256) }},
	{"D20_bad_signature_unknown", func(x *air) []byte { return x.badSignature([]byte(x.foreign[2048]), 256) }},
	{"D20_bad_signature_4096", func(x *air) []byte { return x.badSignature([]byte(x.foreign[4096]), 512) }},
	{"D23_names", (*air).names},
	{"D25_nothing", (*air).nothing},
}

// flipped changes one octet of what was heard, in its text or in its stream.
func (x *air) flipped() []byte {
	text := bytes.Clone(x.heard[x.random.IntN(len(x.heard))])
	flip := func(b []byte) { b[x.random.IntN(len(b))] ^= byte(1 + x.random.IntN(255)) }
	if x.random.IntN(4) == 0 {
		packet := x.compress(text)
		flip(packet)
		return packet
	}
	flip(text)
	return x.compress(text)
}

// mutated changes some bits of the certificate: half of what comes out is signed well
// (THREATS E18).
func (x *air) mutated() []byte {
	s := x.sections()
	block, _ := pem.Decode(append(bytes.Clone(s.PEM), '\n'))
	for range 1 + x.random.IntN(3) {
		block.Bytes[x.random.IntN(len(block.Bytes))] ^= 1 << x.random.IntN(8)
	}
	return x.compress(joined(s.JSON, []byte(sectionOf(block.Bytes)), s.Signature))
}

func (x *air) long() []byte {
	b := bytes.Repeat([]byte{"[{XRDx"[x.random.IntN(6)]}, 65_507)
	copy(b[1:], fmt.Sprint(x.next()))
	return b
}

// bomb is a stream of some hundred octets that inflates to more than is taken.
func (x *air) bomb() []byte {
	filler := [][]byte{bytes.Repeat([]byte("["), 300<<10), bytes.Repeat([]byte(`["x",`), 60<<10), append(bytes.Repeat([]byte(" "), 250<<10), "\n\n"...)}
	return x.compress(fmt.Appendf(filler[x.random.IntN(len(filler))], "%d", x.next()))
}

// rogue signs with a key that has rights of its own, or with one that has none.
func (x *air) rogue(json string) []byte {
	return x.rogues[x.random.IntN(2)].sign(json)
}

// sign returns the text of an announcement with this JSON.
func (p party) sign(json string) []byte {
	return joined([]byte(json), p.pem, []byte(wrap(encode(mustSign(p.key, []byte(json))), 76)))
}

func (x *air) runLengthBomb() []byte {
	vector := []string{`[[1000000000,"x"]]`, `[[-1,"x"]]`, `[[1.5,"x"]]`, `[` + strings.TrimSuffix(strings.Repeat(`[0,"x"],`, 3000), ",") + `]`, `[[4097,"x"]]`, `[[1e300,"x"]]`}[x.random.IntN(6)]
	return x.compress(x.rogue(fmt.Sprintf(`[3,"bomb%d:AAECAwQFBgcICQoLDA0ODxAR","main",1,5000,"beepish+tls://10.6.6.6:6",["json",{"acname":%s,"acns":[[4096,"x"]],"acsec":[[4096,"main"]],"acenv":[[4096,"json"]]}],[],%d]`,
		x.next(), vector, epoch.UnixMilli())))
}

func (x *air) badJSON() []byte {
	return x.compress(x.rogue([]string{
		strings.Repeat("[", 10_000), `[3,` + strings.Repeat("9", 100_000) + `]`, `[3,1e400]`, `[3,"\ud800"]`, "[3,\"\xff\"]", `[3,"x",{"a":1,"a":2}]`, "[3]trailing", "{\"vmaj\":", "[3,\"\x01\"]",
	}[x.random.IntN(9)] + fmt.Sprint(x.next())))
}

// separators inserts what separates records and sections (THREATS E4).
func (x *air) separators() []byte {
	text := x.heard[x.random.IntN(len(x.heard))]
	at := x.random.IntN(len(text) + 1)
	insert := []string{"%%%", "\n%%%", "\n%%%\n", "%%%\n", "\n\n%%%\n", "\r", "\n\n"}[x.random.IntN(7)]
	if x.random.IntN(3) == 0 {
		at, insert = len(text), fmt.Sprintf("%%%%%%\n%d\n%%%%%%\n", x.next())
	}
	return x.compress(append(append(bytes.Clone(text[:at]), insert...), text[at:]...))
}

func (x *air) base64Junk() []byte {
	s := x.sections()
	junk := []byte(" \t\r\x00%=-_")[x.random.IntN(8)]
	insert := func(b []byte) []byte {
		at := x.random.IntN(len(b) + 1)
		return append(append(bytes.Clone(b[:at]), junk), b[at:]...)
	}
	if x.random.IntN(2) == 0 {
		return x.compress(joined(s.JSON, insert(s.PEM), s.Signature))
	}
	return x.compress(joined(s.JSON, s.PEM, insert(s.Signature)))
}

func (x *air) oddCertificate() []byte {
	s := x.sections()
	odd := [][]byte{[]byte(x.foreign[512]), []byte(x.foreign[1024]), []byte(x.foreign[8192]), append(append(bytes.Clone(s.PEM), '\n'), s.PEM...),
		[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"), append([]byte("text\n"), s.PEM...)}[x.random.IntN(6)]
	return x.compress(joined(x.edited(s.JSON), odd, s.Signature))
}

// otherCertificate announces the ident of an honest service under another key.
func (x *air) otherCertificate() []byte {
	return x.compress(x.rogue(string(x.edited(x.sections().JSON))))
}

func (x *air) manyIdents() []byte {
	return x.compress(x.rogue(fmt.Sprintf(`[3,"many%d:AAECAwQFBgcICQoLDA0ODxAR","main",1,5000,"beepish+tls://10.6.6.6:6",["json"],[["Sample",["echo","",1]]],%d]`,
		x.next(), epoch.UnixMilli()+int64(x.number))))
}

// badSignature is of valid form, and costs a signature check.
func (x *air) badSignature(certificate []byte, octets int) []byte {
	signature := make([]byte, octets)
	for i := range signature[1:] {
		signature[1+i] = byte(x.random.Uint32())
	}
	return x.compress(joined(x.edited(x.sections().JSON), certificate, []byte(wrap(encode(signature), 76))))
}

// edited moves the timestamp of an announcement on.
func (x *air) edited(json []byte) []byte {
	at := bytes.LastIndexByte(json, ',')
	return fmt.Appendf(bytes.Clone(json[:at+1]), "%d]", epoch.UnixMilli()+int64(x.next()))
}

// names are of actions that nobody may be found for.
func (x *air) names() []byte {
	name := []string{"a:b", "", "x.y", strings.Repeat("n", 300), "ma\\u212ae", "_meta.x", "a b", "*"}[x.random.IntN(8)]
	return x.compress(x.rogue(fmt.Sprintf(`[3,"name%d:AAECAwQFBgcICQoLDA0ODxAR","MAIN",1e308,0.1,"beepish+tls://10.6.6.6:6",["json"],[["Sample",["%s","create,read,update,destroy,noauth",1],["echo","",1]]],%d]`,
		x.next(), name, epoch.UnixMilli())))
}

func (x *air) nothing() []byte {
	return []byte([]string{"", "R", "D", "X", "[", "{", "\x78", "\x78\x9c", "Xpeering", "[]\n\n"}[x.random.IntN(10)])
}

func (x *air) next() int {
	x.number++
	return x.number
}

// variant returns one of 96 datagrams with the same text: a zlib stream has as many
// headers, with what may stand before. Nobody has seen it before, and it costs the
// attacker nothing.
func variant(packet []byte, n int) []byte {
	if n == 0 || len(packet) < 2 || packet[0] != 0x78 {
		return packet
	}
	v := append([]byte{"RD"[n%2]}, packet...)[n%3/2:]
	header := v[len(v)-len(packet):]
	header[0] = byte(0x08 | n/3%8<<4)
	header[1] = byte(n / 24 % 4 << 6)
	header[1] += byte(31 - (int(header[0])<<8|int(header[1]))%31)
	return v
}

// honestAir returns the texts and datagrams of n honest services.
func honestAir(n int) (texts, packets [][]byte) {
	for i := range n {
		a := service{ident: fmt.Sprintf("honest%d:AAECAwQFBgcICQoLDA0ODxAR", i), address: fmt.Sprintf("beepish+tls://10.0.0.5:%d", 30_000+i)}.announce()
		texts = append(texts, a.Packet())
		packets = append(packets, discovery.Compress(a.Packet()))
	}
	return texts, packets
}
