package discovery_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// TestConformance has one test for each line of PROTOCOL 17 that is about
// announcements and rules as such, named by the number of the line. What needs
// a directory is in TestConformanceLive.
func TestConformance(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"57_fingerprint_of_the_sample_certificate", fingerprintOfSample},
		{"58_signing_gives_the_sample_octet_for_octet", signingGivesSample},
		{"59_datagram_inflates_to_the_packet_form", datagramInflates},
		{"60_plain_zlib_and_prefixed_datagrams", plainAndCompressed},
		{"61_broken_announcements_are_dropped", brokenIsDropped},
		{"62_reference_records", referenceRecords},
		{"62_twins_of_reference_records", twinRecords},
		{"63_lenient_forms_are_accepted", lenientForms},
		{"64_other_versions_are_rejected", otherVersions},
		{"65_run_length_vectors", runLengthVectors},
		{"66_what_is_not_indexed", whatIsNotIndexed},
		{"67_seconds_and_milliseconds_compare", unitsCompare},
		{"47_request_time_of_an_action", requestTime},
		{"69_expiry_of_an_interval", expiryOfInterval},
		{"77_authorized_services_cases", authorizedCases},
	} {
		t.Run(tt.name, tt.run)
	}
}

func fingerprintOfSample(t *testing.T) {
	for line := range strings.Lines(string(fixtures.Bytes("keys/fingerprints.txt"))) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		if got := mustCertificate(name).Fingerprint; got != want {
			t.Errorf("fingerprint of %s: %s: want %s", name, got, want)
		}
	}
}

// samples are announcements as fields, to be written as the fixture of that name.
var samples = map[string]discovery.Announcement{
	"v3_ms": {
		Ident: "sample:AAECAwQFBgcICQoLDA0ODxAR", Weight: 1, Address: "beepish+tls://10.0.0.5:30123", Envelopes: []string{"json"},
		Timestamp: 1700000000123_000,
		Actions: []discovery.Action{ // in no order, with everything that may be left out
			{Class: "Sample.Item", Name: "list", Version: 2, Flags: []string{"read"}},
			{Class: "Sample", Name: "slow", Flags: []string{"t600"}},
			{Class: "Sample.Item", Name: "list", Flags: []string{"read", "noauth"}},
			{Class: "Sample", Name: "echo", Flags: []string{"noauth"}},
			{Class: "Sample.Item", Name: "create", Flags: []string{"create", "create"}},
		},
	},
	"v3_v4ext": {
		Ident: "sample:AAECAwQFBgcICQoLDA0ODxAR", Sector: "main", Weight: 1, Interval: 5 * time.Second,
		Address: "beepish+tls://10.0.0.5:30123", Envelopes: []string{"json", "jsonstore"},
		Timestamp: 1700000000124_999, // travels as whole milliseconds
		Actions: []discovery.Action{
			{Sector: "taxmodule", Class: "Flat", Name: "run", Version: 2},
			{Sector: "taxmodule", Class: "Flat", Name: "run", Version: 1, Envelopes: []string{"json", "jsonstore"}},
			{Sector: "web", Class: "Download.Report", Name: "pdf", Envelopes: []string{"web"}, Flags: []string{"t900", "noauth"}},
			{Sector: "web", Class: "Download.Report", Name: "csv", Envelopes: []string{"web"}, Flags: []string{"noauth", "t900"}},
			{Class: "Sample", Name: "echo", Version: 1, Envelopes: []string{"jsonstore", "json"}, Flags: []string{"noauth"}},
			{Class: "Sample", Name: "slow", Version: 1, Flags: []string{"t600"}},
			{Class: "Sample.Item", Name: "create", Version: 1, Flags: []string{"create"}},
			{Class: "Sample.Item", Name: "list", Version: 1, Flags: []string{"noauth", "read"}},
			{Class: "Sample.Item", Name: "list", Version: 2, Flags: []string{"read"}},
		},
	},
	"suspend": {
		Ident: "sample:AAECAwQFBgcICQoLDA0ODxAR", Sector: "main", Interval: 5 * time.Second,
		Address: "beepish+tls://10.0.0.5:30123", Envelopes: []string{"json"}, Timestamp: 1700000000125_000,
	},
}

func signingGivesSample(t *testing.T) {
	for name, a := range samples {
		a.Certificate = mustCertificate("sample")
		packet, err := a.Sign(mustKey("sample"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := fixtures.Bytes("announce/" + name + ".json"); !bytes.Equal(a.JSON(), want) {
			t.Errorf("%s: JSON\n%s\nwant\n%s", name, a.JSON(), want)
		}
		if want := fixtures.Bytes("announce/" + name + ".packet"); !bytes.Equal(packet, want) {
			t.Errorf("%s: packet\n%s\nwant\n%s", name, packet, want)
		}
	}
	// The same from JSON that somebody else wrote.
	for _, name := range []string{"v3_ms", "v3_v4ext", "suspend", "v3_seconds", "v4only"} {
		a, err := discovery.SignJSON(append(fixtures.Bytes("announce/"+name+".json"), "\n\n"...), mustCertificate("sample"), mustKey("sample"))
		if err != nil {
			t.Errorf("SignJSON of %s: %v", name, err)
			continue
		}
		if want := fixtures.Bytes("announce/" + name + ".packet"); !bytes.Equal(a.Packet(), want) {
			t.Errorf("SignJSON of %s: packet\n%s\nwant\n%s", name, a.Packet(), want)
		}
		sections, err := discovery.Split(a.Packet())
		if want := fixtures.Bytes("announce/" + name + ".sig"); err != nil || strings.TrimSpace(string(sections.Signature)) != strings.TrimSpace(string(want)) {
			t.Errorf("SignJSON of %s: signature\n%s (error %v)\nwant\n%s", name, sections.Signature, err, want)
		}
	}
}

func datagramInflates(t *testing.T) {
	a := samples["v3_ms"]
	a.Certificate = mustCertificate("sample")
	packet, err := a.Sign(mustKey("sample"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := discovery.Limits{}.Inflate(discovery.Compress(packet))
	if err != nil || !bytes.Equal(text, packet) {
		t.Fatalf("inflated datagram: %d octets, error %v: want the %d octets of the packet", len(text), err, len(packet))
	}
	sections := bytes.Split(text, []byte("\n\n"))
	if len(sections) != 4 || len(sections[3]) != 0 {
		t.Fatalf("packet %q: %d sections: want three and the end LF LF", text, len(sections))
	}
	for i, line := range bytes.Split(sections[2], []byte("\n")) {
		if len(line) != 76 && i < 4 {
			t.Errorf("signature line %d: %d characters: want 76", i, len(line))
		}
	}
	for i, line := range bytes.Split(sections[1], []byte("\n")) {
		if len(line) > 64 {
			t.Errorf("certificate line %d: %d characters: want at most 64", i, len(line))
		}
	}
}

// announceCases returns the cases of fixtures/announce/cases.json.
func announceCases() (cases []struct{ File, Expect, Why string }) {
	var file struct {
		Cases []struct{ File, Expect, Why string }
	}
	fixtures.JSON("announce/cases.json", &file)
	return file.Cases
}

func plainAndCompressed(t *testing.T) {
	for _, c := range announceCases() {
		if c.Expect != "accept" {
			continue
		}
		a, err := discovery.Parse(fixtures.Bytes(c.File))
		if err == nil {
			err = a.Verify()
		}
		if err != nil {
			t.Errorf("%s (%s): %v: want it accepted", c.File, c.Why, err)
			continue
		}
		opened, err := open(fixtures.Bytes(c.File))
		if err != nil || !sameMeaning(a, opened) {
			t.Errorf("%s (%s): opened %v, error %v: want what Parse gives", c.File, c.Why, opened, err)
		}
	}
	plain := fixtures.Bytes("announce/v3_ms.packet")
	compressed := fixtures.Bytes("announce/v3_ms.packet.z")
	for _, prefix := range []string{"", "R", "D"} {
		for _, datagram := range [][]byte{plain, compressed} {
			if _, err := open(append([]byte(prefix), datagram...)); err != nil {
				t.Errorf("prefix %q before %.10q...: %v: want it accepted", prefix, datagram, err)
			}
		}
	}
}

// open takes the steps of PROTOCOL 7.10 one by one.
func open(datagram []byte) (*discovery.Announcement, error) {
	var l discovery.Limits
	text, err := l.Inflate(datagram)
	if err != nil {
		return nil, err
	}
	s, err := discovery.Split(text)
	if err != nil {
		return nil, err
	}
	c, err := s.Certificate(l)
	if err != nil {
		return nil, err
	}
	return s.Open(l, c)
}

// sameMeaning compares all that an announcement says.
func sameMeaning(a, b *discovery.Announcement) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, _ := json.Marshal(*a)
	y, _ := json.Marshal(*b)
	return bytes.Equal(x, y) && bytes.Equal(a.Record(), b.Record())
}

func brokenIsDropped(t *testing.T) {
	want := map[string]string{
		"tampered": "announce_badsig", "wrongcert": "announce_badsig", "two_sections": "announce_malformed",
		"eight_elements": "announce_malformed", "version2": "announce_malformed", "vmaj5": "announce_malformed",
		"rle_overflow": "announce_bad_vector", "rle_short": "announce_bad_vector", "rle_bomb": "announce_bad_vector",
		"truncated": "announce_malformed",
	}
	for _, c := range announceCases() {
		name, _, _ := strings.Cut(strings.TrimPrefix(c.File, "announce/"), ".")
		if c.Expect != "reject" {
			delete(want, name)
			continue
		}
		if _, err := open(fixtures.Bytes(c.File)); counterOf(err) != want[name] {
			t.Errorf("%s (%s): error %v: want %s", c.File, c.Why, err, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("no case in the fixtures for %v", want)
	}
	sample := fixtures.Bytes("announce/v3_ms.packet")
	limits := discovery.Limits{MaxAnnounce: len(sample) - 1}
	for _, datagram := range [][]byte{sample, discovery.Compress(sample)} {
		if _, err := limits.Parse(datagram); counterOf(err) != "announce_too_big" {
			t.Errorf("text of one octet over the limit: error %v: want announce_too_big", err)
		}
	}
}

func referenceRecords(t *testing.T) {
	short := 0
	for _, file := range []struct {
		name string
		want int
	}{{"announce_cache", 32}, {"discovery_cache_file", 4}, {"sample_discovery_cache", 1}} {
		all := records(reference(t, file.name))
		if len(all) != file.want {
			t.Errorf("%s: %d records: want %d", file.name, len(all), file.want)
		}
		for i, record := range all {
			a, err := discovery.Limits{MinRSABits: 1024}.ParseRecord(record)
			if err == nil {
				err = a.Verify()
			}
			if err != nil || len(a.Warnings) > 0 || len(a.Actions) == 0 {
				t.Errorf("%s: record %d: error %v or warnings: want it whole", file.name, i, err)
				continue
			}
			again, err := discovery.Limits{MinRSABits: 1024}.ParseRecord(a.Record())
			if err != nil || !sameMeaning(a, again) {
				t.Errorf("%s: record %d reads otherwise after it was written (error %v)", file.name, i, err)
			}
			_, err = discovery.Limits{}.ParseRecord(record)
			switch {
			case a.Certificate.Bits() >= 2048 && err != nil:
				t.Errorf("%s: record %d, default limits: %v: want it accepted", file.name, i, err)
			case a.Certificate.Bits() < 2048:
				short++
				if counterOf(err) != "announce_badkey" || !strings.Contains(err.Error(), "tls.min_rsa_bits") {
					t.Errorf("%s: record %d of %d bits, default limits: error %v: want one that names tls.min_rsa_bits", file.name, i, a.Certificate.Bits(), err)
				}
			}
		}
	}
	if short == 0 {
		t.Error("no short key among the records: want one at least")
	}
	edited, err := discovery.Limits{}.ParseRecord(reference(t, "service_info_packet_v3_full.txt"))
	if err != nil {
		t.Fatalf("service_info_packet_v3_full.txt: %v: want everything right but the signature", err)
	}
	if err := edited.Verify(); counterOf(err) != "announce_badsig" {
		t.Errorf("service_info_packet_v3_full.txt: error %v: want announce_badsig", err)
	}
}

func twinRecords(t *testing.T) {
	want := []string{
		"seconds 1441930020500000 weight 1 [main:Alpha.one~1 main:Alpha.two~2]",
		"millis 1441930020501000 weight 1 [web:Beta.Page.show~1]",
		"small 1521754711123000 weight 1 [main:Small.echo~1]",
		"bare 1441930020000000 weight 1 []",
	}
	var got []string
	for _, record := range records(fixtures.Bytes("twins/mixed.cache")) {
		a, err := discovery.Limits{MinRSABits: 1024}.ParseRecord(record)
		if err == nil {
			err = a.Verify()
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %d weight %d %v", a.ServiceName(), a.Timestamp, a.Weight, names(a)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("mixed.cache:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	edited, err := discovery.Limits{}.ParseRecord(fixtures.Bytes("twins/edited.record"))
	if err != nil {
		t.Fatal(err)
	}
	if err := edited.Verify(); counterOf(err) != "announce_badsig" || edited.Verified() {
		t.Errorf("edited.record: error %v: want announce_badsig", err)
	}
	for name, ok := range map[string]bool{"rsa1024": true, "rsa512": false} {
		record := fixtures.Bytes("twins/" + name + ".record")
		if _, err := (discovery.Limits{}).ParseRecord(record); counterOf(err) != "announce_badkey" || !strings.Contains(err.Error(), "tls.min_rsa_bits") {
			t.Errorf("%s: error %v: want announce_badkey that names tls.min_rsa_bits", name, err)
		}
		a, err := discovery.Limits{MinRSABits: 1024}.ParseRecord(record)
		if ok && err == nil {
			err = a.Verify()
		}
		if (err == nil) != ok {
			t.Errorf("%s with a floor of 1024 bits: error %v: want ok %v", name, err, ok)
		}
	}
}
