package audit

import (
	"bytes"
	"errors"
	"io/fs"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// Run judges everything in the Input. It changes nothing of it.
func Run(in Input) *Report {
	r := new(Report)
	j := &judge{Input: in, Report: r, known: make(map[[32]byte]*holder), strays: make(map[string][]string)}
	if j.Config == nil {
		j.Config = new(scamp.Config)
	}
	j.limits = j.Config.Limits.Discovery.WithDefaults()
	j.settings()
	j.readRules()
	j.readCallers()
	j.readPairs()
	j.loose()
	j.ticketKeys()
	j.readBus()
	j.cacheFile()
	j.lines(j.Rules, j.rules)
	j.lines(j.Callers, j.callers)
	j.certificates()
	j.shared()
	j.judgeRules()
	j.services()
	r.finish()
	return r
}

// A judge is one Run.
type judge struct {
	Input
	*Report
	limits  discovery.Limits
	rules   *discovery.Authorized // nil when there are none to judge by
	callers *discovery.Authorized // the same, of the callers file
	known   map[[32]byte]*holder  // certificates that were seen, by SHA-256
	order   []*holder             // the same, in the order they were seen
	strays  map[string][]string   // services by the private key in their files, where the certificate there is of another
}

// A holder is a certificate, and what is known of who has it.
type holder struct {
	cert      *discovery.Certificate
	place     Place // where it was seen first
	service   string
	services  []string // all those that have it in a file, with its key as far as that can be read
	own       bool     // a file of this host holds it
	announced []Announced
}

// hold returns the holder of a certificate.
func (j *judge) hold(c *discovery.Certificate, at Place) *holder {
	h := j.known[c.SHA256]
	if h == nil {
		h = &holder{cert: c, place: at}
		j.known[c.SHA256] = h
		j.order = append(j.order, h)
		j.Looked.Certificates++
	}
	return h
}

// live returns the announcements that are not withdrawals.
func (h *holder) live() []Announced {
	var live []Announced
	for _, a := range h.announced {
		if !a.Announcement.Withdrawn() {
			live = append(live, a)
		}
	}
	return live
}

// name returns the certificate as people know it: its service, if known.
func (h *holder) name() string {
	switch {
	case h.service != "":
		return quote(h.service)
	case len(h.announced) > 0:
		return quote(h.announced[0].Announcement.ServiceName())
	}
	return h.cert.Fingerprint
}

// readRules reads the rules.
func (j *judge) readRules() {
	if j.Rules == nil {
		return
	}
	at := Place{File: j.Rules.Path}
	if j.Rules.Err != nil {
		j.add("rules-unreadable", at, "%v", j.Rules.Err).permit(j.Rules.Err)
		return
	}
	rules, err := j.limits.ParseAuthorized(bytes.NewReader(j.Rules.Text), j.Rules.Path)
	if err != nil {
		j.add("rules-unreadable", at, "%v", err)
		return
	}
	if err := rules.Damage(); err != nil {
		j.add("rules-unreadable", at, "%v", err).Fix = damageFix
	}
	rules.RequireSHA256 = j.Config.RequireSHA256
	j.rules = rules
	j.Looked.Rules = len(rules.Rules())
}

// damageFix is what to do with a damaged file.
const damageFix = "mend the lines, or put the file back as it was; leave nothing but comments in it to take every right away"

// readCallers reads the rules of callers.
func (j *judge) readCallers() {
	if j.Callers == nil {
		return
	}
	rules, err := (*discovery.Authorized)(nil), j.Callers.Err
	if err == nil {
		rules, err = j.limits.ParseAuthorized(bytes.NewReader(j.Callers.Text), j.Callers.Path)
	}
	if err != nil {
		j.add("callers-unreadable", Place{File: j.Callers.Path}, "%v", err).permit(j.Callers.Err)
		return
	}
	if err := rules.Damage(); err != nil {
		j.add("callers-unreadable", Place{File: j.Callers.Path}, "%v", err).Fix = damageFix
	}
	j.callers = rules
	j.Looked.Rules += len(rules.Rules())
}

// readBus sorts what is announced by certificate.
func (j *judge) readBus() {
	for _, a := range j.Bus {
		h := j.hold(a.Announcement.Certificate, a.Place)
		h.announced = append(h.announced, a)
		j.Looked.Announcements++
	}
}

// cacheFile judges the file as such.
func (j *judge) cacheFile() {
	c := j.Cache
	if c == nil {
		return
	}
	at := Place{File: c.File.Path}
	switch {
	case c.File.Err != nil:
		f := j.add("cache-unreadable", at, "%v", c.File.Err)
		switch {
		case errors.Is(c.File.Err, fs.ErrPermission):
			f.Fix = "let this user read it: chmod a+r the file and a+x its directories, or run this as the user who will run the program"
		case !errors.Is(c.File.Err, fs.ErrNotExist):
			f.Fix = "move away what is there, if it is no cache file, and start scamp cache with this configuration"
		case j.Settings != nil:
			f.Severity = Warning // nothing may have been started yet
		}
		return
	case len(c.File.Text) == 0:
		j.add("cache-unreadable", at, "no octet in it")
		return
	case len(c.Records) == 0 && len(c.Bad) == 0 && len(bytes.TrimSpace(c.File.Text)) > 0:
		j.add("cache-unreadable", at, "no record in it: want a cache file")
		return
	}
	if c.MaxAge > 0 && c.Age > c.MaxAge {
		j.add("cache-stale", at, "last written %s ago: want at most %v", lasting(c.Age), c.MaxAge)
	}
	if c.MaxAge > 0 && -c.Age > j.limits.FutureSkew {
		j.add("cache-future", at, "dated %s, which is %s ahead", j.Now.Add(-c.Age).UTC().Format(time.RFC3339), lasting(-c.Age))
	}
	for i, b := range c.Bad {
		j.add("record-bad", b.Place, "record left out: %v", c.reasons[i])
	}
}
