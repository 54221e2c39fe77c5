package command

import (
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// listenTime is how long a cache file is of no use before what is heard tells who lives:
// the bus looks at the file every lookAgain, and listens from then on.
const (
	lookAgain  = 5 * time.Second
	listenTime = lookAgain + warmUp
)

// A sight is whether one knows who can be called. With a cache file that is of use it is
// what the file says. Without, the records that came from it may live or not, and only
// what is heard counts, once there was time to hear everybody.
type sight struct {
	why   string    // what is wrong with the file; "" when nothing is
	since time.Time // when it became so
	blind bool      // told
	begun bool      // looked once; the bus listens from the start when the file is of no use then

	lawless string // why there are no rules to judge by; "" when there are
}

// A sighted is news of a sight: "blind" or "sees".
type sighted struct{ event, why string }

// look takes how the file is, "" for well, and what is known. It returns whom to judge,
// false when that cannot be said, and what is new.
func (s *sight) look(now time.Time, trouble string, all []discovery.Entry) (known []discovery.Entry, judged bool, news []sighted) {
	begun := s.begun
	s.begun = true
	switch {
	case trouble == "":
		if s.blind {
			news = []sighted{{"sees", "the cache file is of use again"}}
		}
		*s = sight{begun: true, lawless: s.lawless}
		return all, true, news
	case s.why == "":
		s.why, s.since, s.blind = trouble, now, true
		if !begun {
			s.since = now.Add(-lookAgain)
		}
		news = []sighted{{"blind", trouble}}
	}
	if now.Sub(s.since) < listenTime {
		return nil, false, news
	}
	known = heard(all)
	if s.blind && len(known) > 0 {
		s.blind = false
		news = append(news, sighted{"sees", "the network is listened to, and " + count(len(known), "instance") + " heard"})
	}
	return known, true, news
}

// judge takes why there are no rules, "" when there are some. It returns whether that keeps
// one from judging anybody, and what is new.
func (s *sight) judge(lawless string) (unable bool, news []sighted) {
	switch {
	case lawless != "" && s.lawless == "":
		news = []sighted{{"blind", lawless}}
	case lawless == "" && s.lawless != "":
		news = []sighted{{"sees", "the rules were read"}}
	}
	s.lawless = lawless
	return lawless != "", news
}

// heard returns those of all that were heard, and not only read of in a file.
func heard(all []discovery.Entry) (heard []discovery.Entry) {
	for i := range all {
		if all[i].Source.Datagram {
			heard = append(heard, all[i])
		}
	}
	return heard
}
