package scamp

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// failure says what is wrong on a rung, and what would cure it.
func (s *sighting) failure(name string, err error) (text, fix string) {
	switch name {
	case RungConfig:
		return "no configuration was read, so there are no rules, and nobody may be called",
			"name a configuration (scamp: --config FILE, or $SCAMP), or make one: scamp init --dir DIR"
	case RungSource:
		if s.why.Stale != "" {
			return s.why.String(), "is scamp cache running, with the same discovery.cache_path?"
		}
		return s.why.String() + "; " + s.deaf, s.hear
	case RungFound:
		return s.notFound(err)
	case RungSignature:
		return s.refused[0].Err.Error(), "the service announces itself anew when it is started; a record that somebody changed is never taken"
	case RungReplay:
		return s.refused[0].Err.Error(), "start the service anew: every start has an ident and a time of its own"
	case RungExpiry:
		return s.why.String(), "is its process still there? one that lives announces itself once an interval"
	case RungWeight:
		return s.why.String(), "start it again, or wait for another instance"
	case RungRule:
		text, fix = s.why.Parts()
		if trouble := s.rulesTrouble(ErrDenied); trouble != "" {
			fix = trouble
		}
		return text, fix
	}
	return err.Error(), s.advice(err)
}

// refusals are the counters of announcements that were not taken for what they are: who is
// missing may be among them.
var refusals = []string{
	"announce_badsig", "announce_badkey", "announce_badjson", "announce_bad_vector", "announce_malformed",
	"announce_too_big", "announce_over_budget", "verify_limited",
}

// notFound says what is offered instead.
func (s *sighting) notFound(err error) (text, fix string) {
	if s.why == nil {
		return err.Error(), "change the Filter"
	}
	text = s.why.String()
	var counts []string
	for name, n := range s.counts {
		if slices.Contains(refusals, name) {
			counts = append(counts, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(counts) > 0 {
		slices.Sort(counts)
		text += "; announcements were refused: " + strings.Join(counts, ", ")
	}
	if len(s.why.Offers) == 0 {
		return text, "scamp list actions --all shows what there is"
	}
	o := s.why.Offers[0]
	return text, fmt.Sprintf("ask for %s:%s~%d with envelope %s", o.Sector, o.Action, o.Version, strings.Join(o.Envelopes, " or "))
}

// rulesTrouble says what is wrong with the rules as a whole, if that is why a call was
// denied.
func (s *sighting) rulesTrouble(kind error) string {
	switch {
	case kind != ErrDenied:
		return ""
	case s.bus.rules == nil && s.rules == nil:
		return "there is no rules file: set bus.authorized_services"
	case s.bus.rules != nil && s.bus.rules.State().Err != nil:
		return s.bus.rules.State().String()
	}
	return ""
}

// advice says what would cure an error that came after an instance was chosen, where
// one thing would.
func (s *sighting) advice(err error) string {
	if re, ok := errors.AsType[*RemoteError](err); ok {
		return s.adviceFor(re)
	}
	switch s.failedAt(err) {
	case RungPin:
		return "the instance was restarted with another key, or somebody else took its port; compare with scamp list services --all"
	case RungAddress:
		return "have the service announce an address that every host can reach: service.address or bus.address where it runs"
	case RungTCP, RungTLS:
		if !errors.Is(err, ErrNoDial) {
			return ""
		}
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) {
			return "the instance is announced but does not answer: is its process gone, or a firewall in between? scamp show IDENT tells when it announced itself"
		}
		return "the instance is announced but does not answer; scamp show IDENT tells when it announced itself"
	}
	return ""
}

// adviceFor says what would cure an error that a service of ours answers by itself, where
// that is known: actions may use the same codes for what they like, and say why themselves.
func (s *sighting) adviceFor(re *RemoteError) string {
	if !re.says("dispatch_failure") {
		return ""
	}
	switch re.Code {
	case CodeAuthn:
		return "call with a ticket that is valid now: WithTicket or Request.Ticket (scamp call: --ticket-file); scamp ticket verify tells what is wrong with one"
	case CodeAuthz:
		switch {
		case strings.HasPrefix(re.Text, callersRefuse):
			return "show who calls: bus.identity (scamp call: --as NAME), and have a line in the service's service.callers for that certificate"
		case strings.Contains(re.Text, mayNotCall):
			return "have a line in the service's service.callers for this certificate; the log of the service says which"
		}
		return "whoever issues the ticket grants privileges, and what " + accessAction + " answers says which the action wants; a new ticket is wanted after a change"
	case CodeRateLimit:
		return "wait a second, and find out who sends bad tickets over the same connection"
	case CodeInternal:
		return "see why the service cannot call " + accessAction + " (scamp why " + accessAction + " where it runs)"
	}
	return ""
}
