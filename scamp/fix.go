package scamp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// failure says what is wrong on a rung, and what would cure it.
func (s *sighting) failure(name string, err error) (text, fix string) {
	switch name {
	case RungConfig:
		return "no configuration was read, so there are no rules, and nobody may be called",
			"name a configuration (scamp: --config FILE, or $SCAMP), or make one: scamp init --dir DIR"
	case RungSource:
		if s.why.Stale != "" {
			return s.why.String(), s.cacheFix()
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
		if trouble := s.rulesTrouble(); trouble != "" {
			fix = trouble
		}
		return text, fix
	}
	return err.Error(), s.advice(err)
}

// cacheFix says what would cure a cache file that is of no use.
func (s *sighting) cacheFix() string {
	switch {
	case s.cache == nil || s.cache.Condition != discovery.CacheUnreadable:
		return "is scamp cache running, with the same discovery.cache_path?"
	case errors.Is(s.cache.Err, os.ErrPermission):
		return "let this user read the file: chmod a+r, and a+x on its directories; or run the program as a user who may"
	}
	return "see what is there: want a file that scamp cache writes, with the same discovery.cache_path"
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
	if s.why.Nobody && s.alone != "" {
		return text, s.alone
	}
	if len(s.why.Offers) == 0 {
		return text, "scamp list actions --all shows what there is"
	}
	o := s.why.Offers[0]
	return text, fmt.Sprintf("ask for %s:%s~%d with envelope %s", o.Sector, o.Action, o.Version, strings.Join(o.Envelopes, " or "))
}

// rulesTrouble says why the rules by which a call was denied may not be those of the file
// now. What is wrong where there are none stands in the decision itself.
func (s *sighting) rulesTrouble() string {
	if s.bus.rules == nil {
		return ""
	}
	if state := s.bus.rules.State(); state.Err != nil && state.Rules != nil {
		return state.String()
	}
	return ""
}

// fix says what would cure an error, also one that came before an instance was chosen.
func (s *sighting) fix(err error) string {
	_, fix := s.failure(s.failedAt(err), err)
	return fix
}

// advice says what would cure an error that came after an instance was chosen. Only for
// what an action answered it may know nothing.
func (s *sighting) advice(err error) string {
	if re, ok := errors.AsType[*RemoteError](err); ok {
		return s.adviceFor(re)
	}
	switch {
	case errors.Is(err, ErrClosed):
		return "what the call went through was closed by the program: call before that, or make another one"
	case errors.Is(err, ErrTimeout):
		return s.adviceLate(err)
	case errors.Is(err, context.Canceled), errors.Is(err, errStreamClosed), errors.Is(err, errStreamAborted):
		return adviceGivenUp
	}
	switch s.failedAt(err) {
	case RungPin:
		return "the instance was restarted with another key, or somebody else took its port; compare with scamp list services --all"
	case RungAddress:
		return "have the service announce an address that every host can reach: service.address or bus.address where it runs"
	case RungTCP, RungTLS:
		if !errors.Is(err, ErrNoDial) {
			break
		}
		if s.failedAt(err) == RungTLS && errors.Is(err, errNotDone) {
			return adviceMute
		}
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) {
			return "the instance is announced but does not answer: is its process gone, or a firewall in between? scamp show IDENT tells when it announced itself"
		}
		return "the instance is announced but does not answer; scamp show IDENT tells when it announced itself"
	}
	return s.adviceSent(err)
}

// adviceGivenUp is advice for a call that its own caller has ended.
const adviceGivenUp = "the program itself gave the call up: nothing need be wrong with the instance"

// adviceMute is advice for a connection that the host took, and the process did not: the
// system accepts for it.
const adviceMute = "TCP is connected, but the process does not answer: is it stopped or overloaded?"

// adviceLate is advice for a call whose time was over.
func (s *sighting) adviceLate(err error) string {
	switch {
	case errors.Is(err, errAttempt):
		return "raise RetryOptions.AttemptTimeout, or see why the service is slow: its access log tells how long handlers take"
	case !s.linked && s.failedAt(err) == RungTLS:
		return adviceMute
	case !s.linked:
		return "see whether the host of the instance is up, with no firewall in between (scamp why ACTION); a shorter Limits.DialTimeout leaves time for another one"
	}
	return "give the call more time (a later deadline, or rpc.timeout where there is none; scamp call: --timeout), or see why the service is slow: its access log tells how long handlers take"
}

// adviceSent is advice for what went wrong on a connection.
func (s *sighting) adviceSent(err error) string {
	if long, ok := errors.AsType[*tooLong](err); ok {
		if long.ours {
			return "read Body as a stream, or raise flow.max_body"
		}
		return "read Body as a stream, or allow more"
	}
	switch {
	case errors.Is(err, errRequestBody):
		return "see why the program's own Body or GetBody fails"
	case errors.Is(err, mux.ErrHeld):
		return "read Body as a stream, or raise flow.max_held"
	case errors.Is(err, mux.ErrHeaderTooBig):
		return "call with shorter tickets, tokens and Extra"
	case errors.Is(err, errNoEvents):
		return "aim at a service that has events (Route.Ident or Filter): one of ours, or a JavaScript one"
	case errors.Is(err, ErrBadReply):
		return "see that both sides mean the same by the action, in type and version: the service documents it in _meta.documentation, and scamp call shows what it sends"
	case errors.Is(err, ErrBroken):
		return "see in the log of the service why it gave the reply up; a call that may run twice can be Idempotent, and is sent again"
	case errors.Is(err, ErrLost):
		return "see whether the service has ended or was started anew (scamp show IDENT, and its log); a call that may run twice can be Idempotent, and is sent again"
	}
	return "see what the log of the service says, and how far a call comes (scamp why ACTION)"
}

// adviceFor says what would cure an error that a service of ours answers by itself, where
// that is known: actions may use the same codes for what they like, and say why themselves.
func (s *sighting) adviceFor(re *RemoteError) string {
	if re.Code == CodeTransport && re.says("timeout") {
		return "the service ended its handler: see what that waits for, or give it more time (ActionOptions.Timeout or worker.timeout there, a later deadline here)"
	}
	if !re.says("dispatch_failure") {
		if re.ofAnother() {
			return "not this call was refused, but one that the service made for it: the text names that call; mend it there, or pass on to it what it wants (a ticket travels no further by itself)"
		}
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
		return authzAdvice(re.Text)
	case CodeRateLimit:
		return "wait a second, and find out who sends bad tickets over the same connection"
	case CodeNoAction:
		return "the instance has stopped offering it, or was never the one that was announced: compare what it announces (scamp show IDENT) with what runs there"
	case CodeTransport:
		return "the instance is busy or shutting down: call again in a moment; if it stays so, start more instances, or raise " +
			"Limits.MaxConcurrency and MaxQueue of the service (its counters queue_full, held_refused and buffered_refused tell which)"
	case CodeInternal:
		return "see why the service cannot call " + accessAction + " (scamp why " + accessAction + " where it runs)"
	}
	return "the service refused it before it ran: see what its log says"
}

// authzAdvice says what would cure that a ticket does not suffice, by who asked for more:
// the action itself, or the table.
func authzAdvice(text string) string {
	const grant = "call with a ticket that grants the privilege (whoever issues tickets grants them; a new one is wanted after a change), or change what the action wants: "
	switch {
	case strings.HasPrefix(text, notInTable):
		return "list the action in what " + accessAction + " answers: what it does not list is denied, whatever the ticket grants"
	case strings.HasPrefix(text, lacksPrivilege) && strings.HasSuffix(text, asTableSays):
		return grant + "what " + accessAction + " answers says it"
	case strings.HasPrefix(text, lacksPrivilege):
		return grant + "ActionOptions.Privileges in the service says it"
	}
	return "see what the action wants of a ticket: the service itself, or the authorization service that it asks, says it"
}
