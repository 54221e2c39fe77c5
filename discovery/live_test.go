package discovery_test

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A service is what a test announces. Zero fields mean something usual.
type service struct {
	key      string // "sample" or "other"
	ident    string
	sector   string
	weight   int // -1 means a withdrawal
	interval time.Duration
	address  string
	actions  []discovery.Action
	at       time.Time
}

// epoch is a time of the announcements of tests.
var epoch = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// announce signs what s says.
func (s service) announce() *discovery.Announcement {
	a := &discovery.Announcement{
		Ident:       or(s.ident, "web:AAECAwQFBgcICQoLDA0ODxAR"),
		Sector:      s.sector,
		Weight:      1,
		Interval:    s.interval,
		Address:     or(s.address, "beepish+tls://10.0.0.5:30123"),
		Envelopes:   []string{"json"},
		Actions:     s.actions,
		Timestamp:   or(s.at, epoch).UnixMicro(),
		Certificate: mustCertificate(or(s.key, "sample")),
	}
	if s.actions == nil {
		a.Actions = []discovery.Action{{Class: "Sample", Name: "echo"}}
	}
	if s.weight < 0 {
		a.Weight, a.Actions = 0, nil
	}
	if _, err := a.Sign(mustKey(or(s.key, "sample"))); err != nil {
		panic(err)
	}
	return a
}

// datagram returns the octets on the wire.
func (s service) datagram() []byte { return discovery.Compress(s.announce().Packet()) }

func or[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}

// rules lets the sample certificate offer everything in main and web, and the
// other one what the lines say.
func rules(lines ...string) *discovery.Authorized {
	text := mustCertificate("sample").Fingerprint + " main:ALL, web:ALL\n"
	for _, line := range lines {
		text += mustCertificate("other").Fingerprint + " " + line + "\n"
	}
	z, err := discovery.ParseAuthorized(strings.NewReader(text))
	if err != nil {
		panic(err)
	}
	return z
}

// newDirectory returns a directory with the usual rules. Its clock stands at the
// time of the announcements.
func newDirectory(t testing.TB, opts *discovery.DirectoryOptions) *discovery.Directory {
	if opts == nil {
		opts = new(discovery.DirectoryOptions)
	}
	if opts.Authorized == nil {
		opts.Authorized = rules()
	}
	if opts.Now == nil {
		opts.Now = func() time.Time { return epoch }
	}
	d := discovery.NewDirectory(opts)
	t.Cleanup(d.Close)
	return d
}

// idents returns who answers a query, and at which address.
func idents(routes []discovery.Route) string {
	var list []string
	for _, r := range routes {
		list = append(list, fmt.Sprintf("%s@%s", r.Ident, r.Address))
	}
	return strings.Join(list, " ")
}

func TestDirectoryFindsWhatWasAdded(t *testing.T) {
	d := newDirectory(t, nil)
	if err := d.Add(service{}.announce()); err != nil {
		t.Fatal(err)
	}
	routes := d.Find(discovery.Query{Action: "sample.ECHO"})
	if len(routes) != 1 || routes[0].Action != "Sample.echo" || routes[0].Address != "10.0.0.5:30123" {
		t.Fatalf("Find: %s: want the one that was added", idents(routes))
	}
	if got := d.Explain(discovery.Query{Action: "Sample.eco"}).String(); got != "no service offers this action; did you mean Sample.echo?" {
		t.Error(got)
	}
}

// textLog returns a logger that writes lines into w.
func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
