package packet_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A stream is one of the recorded packet streams of fixtures/framing.
type stream struct {
	Name   string
	Hex    string
	File   string
	Expect string // ok, fatal or incomplete
	Note   string
	Events []string
}

func (s stream) wire() []byte {
	if s.File != "" {
		return fixtures.Bytes(s.File)
	}
	b, err := hex.DecodeString(s.Hex)
	if err != nil {
		panic(err)
	}
	return b
}

func streams() []stream {
	var all []stream
	fixtures.JSON("framing/cases.json", &all)
	return all
}

// ofMessages names the streams whose outcome depends on which messages are
// open, which the package that follows messages decides. Here they are legal
// packets with legal headers.
var ofMessages = []string{
	"empty_data", "txerr_empty", "ack_unknown",
	"header_gap", "header_repeat", "data_unknown", "data_after_eof",
	"eof_unknown", "eof_with_body", "txerr_unknown",
}

// readAll returns the packets of r until its error, their bodies copied.
func readAll(r *packet.Reader) (all []packet.Packet, err error) {
	for {
		p, err := r.Next()
		if err != nil {
			return all, err
		}
		p.Body = bytes.Clone(p.Body)
		all = append(all, p)
	}
}

// readStream reads packets and parses the body of each HEADER.
func readStream(r io.Reader) (all []packet.Packet, err error) {
	all, err = readAll(packet.NewReader(r, packet.Limits{}))
	headers := packet.NewHeaderReader(packet.Limits{})
	for i, p := range all {
		var h packet.Header
		if p.Kind == packet.KindHeader {
			if err := headers.Parse(p.Body, &h); err != nil {
				return all[:i], err
			}
		}
	}
	return all, err
}

// describe writes packets in the words of the events of fixtures/framing.
func describe(all []packet.Packet) []string {
	var events []string
	for _, p := range all {
		event := fmt.Sprintf("%s %d", p.Kind, p.MsgNo)
		switch p.Kind {
		case packet.KindData:
			event += fmt.Sprintf(" %d", len(p.Body))
		case packet.KindTXERR, packet.KindACK:
			event += " " + string(p.Body)
		}
		events = append(events, event)
	}
	return events
}

// pieces returns the octets of b in reads that end at the given offsets.
func pieces(b []byte, cuts ...int) io.Reader {
	var parts []io.Reader
	start := 0
	for _, cut := range append(cuts, len(b)) {
		parts = append(parts, bytes.NewReader(b[start:cut]))
		start = cut
	}
	return io.MultiReader(parts...)
}

// outcome returns what reading came to, in a form that can be compared.
func outcome(all []packet.Packet, err error) string {
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, "%s %d %d octets %q %x\n", p.Kind, p.MsgNo, len(p.Body), p.Body[:min(len(p.Body), 200)], crc32.ChecksumIEEE(p.Body))
	}
	fmt.Fprintf(&b, "%v", err)
	return b.String()
}

// verdict names the kind of error that ended a stream.
func verdict(err error) string {
	var e *packet.Error
	switch {
	case err == io.EOF:
		return "ok"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "incomplete"
	case errors.As(err, &e):
		return "fatal"
	}
	return fmt.Sprintf("error %v", err)
}

func counter(err error) string {
	var e *packet.Error
	if errors.As(err, &e) {
		return e.Counter
	}
	return fmt.Sprintf("no *Error: %v", err)
}

func isOfMessages(s stream) bool { return slices.Contains(ofMessages, s.Name) }
