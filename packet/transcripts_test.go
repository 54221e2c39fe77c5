package packet_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
)

// A recorded packet is one line of fixtures/transcripts.
type recorded struct {
	file     string
	toServer bool
	head     string // the header line with its CR LF
	body     []byte // shortened when long; the true length is in head
	short    bool   // body lacks octets
}

var (
	transcriptLine = regexp.MustCompile(`^ *[0-9.]+ #[0-9]+ ([CS])>[CS] ((?:HEADER|DATA|EOF|TXERR|ACK|PING|PONG) [0-9]+ [0-9]+\\r\\n)(.*)$`)
	leftOut        = regexp.MustCompile(`<<[0-9]+ bytes left out>>`)
	visible        = strings.NewReplacer(`"`, `\"`) // what strconv.Unquote wants besides
)

// transcripts returns every packet of every recorded conversation.
func transcripts() []recorded {
	files, err := fs.Glob(fixtures.FS(), "transcripts/*-to-*.txt")
	if err != nil {
		panic(err)
	}
	var all []recorded
	for _, file := range files {
		lines := bufio.NewScanner(bytes.NewReader(fixtures.Bytes(file)))
		for lines.Scan() {
			m := transcriptLine.FindStringSubmatch(lines.Text())
			if m == nil {
				continue
			}
			body, whole := strings.CutSuffix(m[3], `END\r\n`)
			all = append(all, recorded{
				file: path.Base(file), toServer: m[1] == "C", head: unescape(m[2]), body: []byte(unescape(body)),
				short: !whole || leftOut.MatchString(body),
			})
		}
	}
	return all
}

func unescape(text string) string {
	out, err := strconv.Unquote(`"` + visible.Replace(text) + `"`)
	if err != nil {
		panic(text + ": " + err.Error())
	}
	return out
}

// recordedHeaders returns the text of every header in the transcripts, once.
func recordedHeaders() []string {
	var texts []string
	seen := map[string]bool{}
	for _, p := range transcripts() {
		if text := string(p.body); strings.HasPrefix(p.head, "HEADER ") && !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	return texts
}

// TestReaderTakesRecordedPackets reads what other implementations wrote, with
// the default limits: nothing is refused.
func TestReaderTakesRecordedPackets(t *testing.T) {
	packets := 0
	for _, p := range transcripts() {
		packets++
		wire := []byte(p.head)
		if p.short { // stand-in octets of the true length
			length, err := strconv.Atoi(strings.Fields(p.head)[2])
			if err != nil {
				t.Fatal(err)
			}
			wire = append(wire, make([]byte, length)...)
		} else {
			wire = append(wire, p.body...)
		}
		wire = append(wire, packet.Trailer...)
		got, err := packet.NewReader(bytes.NewReader(wire), packet.Limits{}).Next()
		if err != nil || !bytes.Equal(got.AppendTo(nil), wire) {
			t.Errorf("%s: %.80q: %v", p.file, wire, err)
		}
		if got.Kind == packet.KindACK {
			if _, err := packet.ParseAck(got.Body); err != nil {
				t.Errorf("%s: %.80q: %v", p.file, wire, err)
			}
		}
	}
	if packets < 1000 {
		t.Errorf("%d packets in the transcripts, want more than 1000", packets)
	}
}

// TestParseTakesRecordedHeaders compares every recorded header with what
// encoding/json makes of it, and checks what tells the peers apart.
func TestParseTakesRecordedHeaders(t *testing.T) {
	r := packet.NewHeaderReader(packet.Limits{})
	headers := 0
	for _, p := range transcripts() {
		if !strings.HasPrefix(p.head, "HEADER ") {
			continue
		}
		headers++
		var h packet.Header
		if err := r.Parse(p.body, &h); err != nil {
			t.Errorf("%s: %s: %v", p.file, p.body, err)
			continue
		}
		var want struct {
			Type, Action, Envelope, Sector, Error string
			RequestID                             json.Number `json:"request_id"`
			Version                               *int
			Code                                  string `json:"error_code"`
		}
		if err := json.Unmarshal(p.body, &want); err != nil {
			t.Fatalf("%s: %s: %v", p.file, p.body, err)
		}
		version := 1
		if want.Version != nil {
			version = *want.Version
		}
		if want.Envelope == "" {
			want.Envelope = "json"
		}
		got := []any{h.Type.String(), h.Action, h.Envelope, h.Sector, h.Error, h.ErrorCode, h.ID.String(), h.Version, h.Bad, h.Extra == nil}
		all := []any{want.Type, want.Action, want.Envelope, want.Sector, want.Error, want.Code, want.RequestID.String(), version, "", true}
		if !reflect.DeepEqual(got, all) {
			t.Errorf("%s: %s:\ngot  %q\nwant %q", p.file, p.body, got, all)
		}
		peers := strings.SplitN(strings.TrimSuffix(p.file, ".txt"), "-", 4) // CONNECTING to ACCEPTING …
		sender := peers[2]
		if p.toServer {
			sender = peers[0]
		}
		if dialect := sender == "go"; h.GoDialect() != (dialect && !p.toServer) || h.HasClientID != dialect {
			t.Errorf("%s: %s of %s: Go dialect %v, client_id %v", p.file, p.body, sender, h.GoDialect(), h.HasClientID)
		}
		if h.Type == packet.TypeRequest && h.HasSector != (sender == "js") {
			t.Errorf("%s: %s of %s: sector %v", p.file, p.body, sender, h.HasSector)
		}
	}
	if headers < 100 {
		t.Errorf("%d headers in the transcripts, want more than 100", headers)
	}
}
