package command

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A serviceSpec is what sign signs: the JSON of an announcement as it is, or what an
// announcement is made of.
type serviceSpec struct {
	from string // where it was read, for errors
	json []byte // to be signed octet for octet; what follows is then unset

	service   string
	ident     string // empty means one made of service, certificate and address
	sector    string
	envelopes []string
	weight    int
	interval  time.Duration
	address   string // HOST:PORT, or a URI
	actions   []string
	timestamp int64 // milliseconds since 1970; zero means now
}

// newSpec returns a spec with the defaults of what need not be said.
func newSpec(from string) *serviceSpec {
	return &serviceSpec{from: from, sector: "main", envelopes: []string{"json"}, weight: 1, interval: 5 * time.Second}
}

// check says what is missing.
func (s *serviceSpec) check() error {
	switch {
	case s.json != nil:
		return nil
	case s.service == "" && s.ident == "":
		return errors.New("service is missing: want its name")
	case s.service != "" && s.ident != "" && discovery.ServiceName(s.ident) != s.service:
		return fmt.Errorf("service %q and ident %q: want an ident that begins with the service's name and a colon, or no service", s.service, s.ident)
	case strings.ContainsRune(s.service, ':'):
		return fmt.Errorf("service %q: want a name without colon; a whole ident is ident", s.service)
	case s.service != "" && !serviceName.MatchString(expandNumber(s.service, 0)):
		return fmt.Errorf("service %q: want letters, digits, '_', '-' and '.'", clean(s.service))
	case s.address == "":
		return errors.New("address is missing: want HOST:PORT, or beepish+tls://HOST:PORT")
	case len(s.actions) == 0 && s.weight > 0:
		return errors.New("actions are missing: want at least one, for example Hello.echo")
	}
	return checkTimestamp(s.timestamp)
}

// Readers tell by its size what a timestamp counts (PROTOCOL 7.9): from firstMS on, and
// below lastMS, milliseconds; less is seconds to them, and more microseconds.
const (
	firstMS = 1e11
	lastMS  = 1e14
)

func checkTimestamp(ms int64) error {
	if ms == 0 || ms >= firstMS && ms < lastMS {
		return nil
	}
	meant := ""
	switch {
	case ms >= firstMS/1000 && ms < lastMS/1000:
		meant = fmt.Sprintf("; these are seconds: did you mean %d?", ms*1000)
	case ms >= lastMS && ms/1000 < lastMS:
		meant = fmt.Sprintf("; these are microseconds: did you mean %d?", ms/1000)
	}
	return fmt.Errorf("timestamp %d: want milliseconds since 1970, after 1973%s", ms, meant)
}

// name is the name of the service, which names its key pair in a configuration.
func (s *serviceSpec) name() string {
	ident := s.ident
	if s.json != nil {
		var elements []json.RawMessage
		if json.Unmarshal(s.json, &elements) == nil && len(elements) > 1 {
			json.Unmarshal(elements[1], &ident) // signing says what is wrong with it
		}
	}
	return expandNumber(cmp.Or(s.service, discovery.ServiceName(ident)), 0)
}

// instance returns the spec of instance n of several, counted from 0: its address is the
// n-th from the one given, and {n} in names is n.
func (s *serviceSpec) instance(n int) (*serviceSpec, error) {
	if s.json != nil {
		return s, nil
	}
	t := *s
	t.service, t.ident = expandNumber(s.service, n), expandNumber(s.ident, n)
	t.actions = make([]string, len(s.actions))
	for i, a := range s.actions {
		t.actions[i] = expandNumber(a, n)
	}
	if !strings.Contains(t.address, "://") {
		t.address = "beepish+tls://" + t.address
	}
	var err error
	t.address, err = addressAfter(t.address, n)
	return &t, err
}

func expandNumber(text string, n int) string {
	return strings.ReplaceAll(text, "{n}", strconv.Itoa(n))
}

// addressAfter returns the n-th address from uri on: the ports up to the last one, then
// those of the next IP address, again from the first one.
func addressAfter(uri string, n int) (string, error) {
	if n == 0 {
		return uri, nil
	}
	scheme, rest, _ := strings.Cut(uri, "://")
	rest, slash := strings.CutSuffix(rest, "/")
	host, portText, err := net.SplitHostPort(rest)
	port, perr := strconv.Atoi(portText)
	if err != nil || perr != nil || port < 1 || port > math.MaxUint16 {
		return "", fmt.Errorf("address %q: want HOST:PORT to count from", clean(uri))
	}
	ports := math.MaxUint16 + 1 - port
	if hosts := n / ports; hosts > 0 {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return "", fmt.Errorf("address %q: %d ports from there on: want an IP address, to go on with the next one", clean(uri), ports)
		}
		for range hosts {
			ip = ip.Next()
		}
		host = ip.String()
	}
	uri = scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port+n%ports))
	if slash {
		uri += "/"
	}
	return uri, nil
}

// announcement returns what to sign with cert at a time, for a spec that instance
// returned.
func (s *serviceSpec) announcement(cert *discovery.Certificate, now time.Time) (*discovery.Announcement, error) {
	a := &discovery.Announcement{
		Ident: s.ident, Sector: s.sector, Weight: s.weight, Interval: s.interval, Address: s.address, Envelopes: s.envelopes,
		Timestamp: s.timestamp * 1000, Certificate: cert,
	}
	if a.Ident == "" {
		a.Ident = steadyIdent(s.service, cert, s.address)
	}
	if a.Timestamp == 0 {
		a.Timestamp = now.UnixMicro()
	}
	for _, text := range s.actions {
		action, err := parseActionSpec(text)
		if err != nil {
			return nil, err
		}
		a.Actions = append(a.Actions, action)
	}
	return a, nil
}

// steadyIdent is the ident of a service with that certificate at that address. It is the
// same each time, so that a record that is signed again replaces the old one; it has the
// form of PROTOCOL 7.6 all the same.
func steadyIdent(service string, cert *discovery.Certificate, address string) string {
	sum := sha256.Sum256([]byte(cert.SHA256Text() + "\n" + address))
	return service + ":" + base64.StdEncoding.EncodeToString(sum[:18])
}

// parseActionSpec reads [SECTOR:]CLASS.NAME[~VERSION][#FLAG,...][@ENVELOPE,...].
func parseActionSpec(text string) (discovery.Action, error) {
	name, envelopes, hasEnvelopes := strings.Cut(text, "@")
	name, flags, hasFlags := strings.Cut(name, "#")
	q, err := discovery.ParseAction(name)
	switch {
	case err != nil:
		return discovery.Action{}, fmt.Errorf("action %q: want [SECTOR:]CLASS.NAME[~VERSION][#FLAG,...][@ENVELOPE,...], for example Hello.echo~1#noauth", clean(text))
	case hasFlags && flags == "":
		return discovery.Action{}, fmt.Errorf("action %q: no flag behind #: want a list, for example #noauth,t30 (in a shell, in quotes)", clean(text))
	case hasEnvelopes && envelopes == "":
		return discovery.Action{}, fmt.Errorf("action %q: no envelope behind @: want a list, for example @json", clean(text))
	}
	dot := strings.LastIndexByte(q.Action, '.')
	a := discovery.Action{Sector: q.Sector, Class: q.Action[:dot], Name: q.Action[dot+1:], Version: q.Version}
	if hasFlags {
		a.Flags = strings.Split(flags, ",")
	}
	if hasEnvelopes {
		a.Envelopes = strings.Split(envelopes, ",")
	}
	return a, nil
}

// lineAndColumn says where in text an octet is, both counted from 1.
func lineAndColumn(text []byte, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}
