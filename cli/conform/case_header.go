package conform

import (
	"fmt"
	"strings"
)

// headerCases judge PROTOCOL 3.1: the body of a HEADER as JSON.
func headerCases() []Case {
	cases := []Case{
		accepted(Case{
			ID: "3.1-a", Item: "14", Title: "white space and a newline around the object are passed over", Peers: measured(Pass, Pass, Pass),
			Why: "The Go implementation ends every header with a newline.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.gets(r, r.HeadOf(" \t\r\n"+r.JSON()+" \t\r\n")+r.Data(text(7))+r.EOF(), text(7))
			},
		}),
		accepted(Case{
			ID: "3.1-b", Item: "25", Title: "members that are not known are ignored", Peers: measured(Pass, Pass, Pass),
			Why: "That is how the protocol grows.",
			Run: func(p *Probe) Result {
				r := p.Request().With("x_conform", `{"a":[1,2.5e3,null,true,"\u00e4"]}`)
				return p.echoes(r, text(7))
			},
		}),
		accepted(Case{
			ID: "3.1-c", Title: "members may come in any order",
			Why: "Each implementation has its own.",
			Run: func(p *Probe) Result {
				r := p.Request()
				for i, j := 0, len(r.members)-1; i < j; i, j = i+1, j-1 {
					r.members[i], r.members[j] = r.members[j], r.members[i]
				}
				return p.echoes(r, text(7))
			},
		}),
		accepted(Case{
			ID: "3.1-d", Item: "18a", Title: "64 members and 16 levels of nesting are taken",
			Why: "A limit that is lower on one side than on the other loses requests.",
			Run: func(p *Probe) Result {
				r := p.Request()
				for i := len(r.members); i < 63; i++ {
					r.With(fmt.Sprintf("x_%d", i), "1")
				}
				return p.echoes(r.With("x_deep", nested(15)), text(7))
			},
		}),
		never(Case{
			ID: "3.1-z", Level: Must, Title: "every header of the service is one JSON object, no member twice",
			Why: "Requesters close a connection on any other.",
		}, ruleHeaderJSON),
		never(Case{
			ID: "3.3-z", Item: "32", Level: Must, Title: "no member of a header of the service is null",
			Why: "Go and Rust close the connection on some of them.",
		}, ruleNull),
		never(Case{
			ID: "3.3-y", Level: Must, Title: "the service sends nothing but replies to one who did not subscribe, and cancel where it is understood",
			Why: "Go closes the connection on any message of another type.",
		}, ruleKinds),
	}
	cases = append(cases, badHeaderCases()...)
	for i := range cases {
		cases[i].Section = SectionHeader
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// nested is an array of so many levels.
func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// badHeaderCases send headers that must end the connection, each in a request that is
// correct otherwise.
func badHeaderCases() []Case {
	var cases []Case
	for _, h := range []struct {
		id, item, title string
		json            func(r *Request) string
		why             string
		peers           Peers
	}{
		{"3.1-e", "13", "a header that is not JSON closes", func(*Request) string { return "hello" }, whyJSON, measured(Pass, Pass, Pass)},
		{"3.1-f", "13", "a header that is an array closes", func(r *Request) string { return "[" + r.JSON() + "]" }, whyJSON, measured(Fail, Pass, Pass)},
		{"3.1-g", "13", "a header that is a string closes", func(*Request) string { return `"request"` }, whyJSON, measured(Pass, Pass, Pass)},
		{"3.1-h", "13", "a header that is not UTF-8 closes", func(r *Request) string { return r.With("x", "\"\xff\"").JSON() }, whyJSON, Peers{}},
		{"3.1-i", "13", "text after the object closes", func(r *Request) string { return r.JSON() + "{}" }, whyJSON, Peers{}},
		{"3.1-j", "13", "a comma before the closing brace closes", func(r *Request) string { return strings.TrimSuffix(r.JSON(), "}") + ",}" }, whyJSON, Peers{}},
		{"3.1-k", "18a", "a known member twice closes", func(r *Request) string {
			return strings.TrimSuffix(r.JSON(), "}") + `,"version":1}`
		}, whyTwice, Peers{}},
		{"3.1-l", "18a", "an unknown member twice closes", func(r *Request) string {
			return strings.TrimSuffix(r.JSON(), "}") + `,"x":1,"x":1}`
		}, whyTwice, Peers{}},
		{"3.1-m", "18a", "a known member in another letter case closes", func(r *Request) string {
			return r.With("Action", `"Conform.other"`).JSON()
		}, whyTwice, Peers{}},
		{"3.1-n", "18a", "65 members close", func(r *Request) string {
			for i := len(r.members); i < 65; i++ {
				r.With(fmt.Sprintf("x_%d", i), "1")
			}
			return r.JSON()
		}, whyMany, Peers{}},
		{"3.1-o", "18a", "17 levels of nesting close", func(r *Request) string { return r.With("x", nested(16)).JSON() }, whyMany, Peers{}},
	} {
		cases = append(cases, fatal(Case{
			ID: h.id, Item: h.item, Title: h.title, Why: h.why, Peers: h.peers,
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.HeadOf(h.json(r))+r.Data(text(7))+r.EOF(), r)
			},
		}))
	}
	return cases
}

const (
	whyJSON  = "Readers that mend what is broken each mend it differently."
	whyTwice = "Readers disagree about which value counts, so a request could be authorized under one name and run under another."
	whyMany  = "Parsing costs time and memory that anybody could make a service spend."
)

// memberCases judge PROTOCOL 3.2: forms of known members that have to be taken.
func memberCases() []Case {
	var cases []Case
	for _, m := range []struct {
		id, item, title string
		change          func(r *Request) *Request
		why             string
		peers           Peers
	}{
		{"3.6-a", "", "the least a requester may send is enough", minimal, "Other implementations send no sector.", measured(Pass, Pass, Pass)},
		{"3.2-a", "22", "version as a decimal string", func(r *Request) *Request {
			return r.With("version", quoted(r.value("version")))
		}, "Perl and JavaScript send what their callers gave them.", measured(Pass, Fail, Pass)},
		{"3.2-b", "23", "version missing is 1", without("version"), "Old callers know of no versions.", measured(Fail, Pass, Pass)},
		{"3.2-c", "23", "version null is 1", with("version", "null"), "Perl sends null for what is not there.", Peers{}},
		{"3.2-d", "23", "envelope missing is json", without("envelope"), "C# may leave it out.", measured(Pass, Pass, Pass)},
		{"3.2-e", "23", "envelope null is json", with("envelope", "null"), "Perl sends null for what is not there.", Peers{}},
		{"3.2-f", "21", "ticket null is none", with("ticket", "null"), "Perl sends it with every request without a ticket.", measured(Pass, Pass, Pass)},
		{"3.2-g", "21", "ticket empty is none", with("ticket", `""`), "Go sends it with every request without a ticket.", Peers{}},
		{"3.2-h", "21", "identifying_token null is none", with("identifying_token", "null"), "As ticket.", Peers{}},
		{"3.2-i", "21", "identifying_token empty is none", with("identifying_token", `""`), "As ticket.", Peers{}},
		{"3.2-j", "21", "terminal and station null are none", func(r *Request) *Request {
			return r.With("terminal", "null").With("station", "null")
		}, "As ticket.", Peers{}},
		{"3.2-k", "22", "client_id as an integer", with("client_id", "42"), "Go and Rust send it always.", measured(Pass, Pass, Pass)},
		{"3.2-l", "22", "client_id as a decimal string", with("client_id", `"42"`), "JavaScript sends what its caller gave it.", measured(Pass, Pass, Pass)},
		{"3.2-m", "22", "client_id null is 0", with("client_id", "null"), "Perl sends null for what is not there.", measured(Pass, Fail, Pass)},
		{"3.2-n", "22", "client_id empty is 0", with("client_id", `""`), "JavaScript sends what its caller gave it.", measured(Pass, Fail, Pass)},
		{"3.2-o", "24", "type missing is a request", without("type"), "An old peer may leave it out, and who connects can only mean a request.", measured(Fail, Fail, Pass)},
		{"3.2-p", "24", "type null is a request", with("type", "null"), "As type missing.", Peers{}},
		{"3.2-q", "", "a sector that is no string informs nobody and harms nobody", with("sector", "17"), "The member is informational: the route was chosen by the requester.", Peers{}},
		{"3.7-a", "19b", "an ext that is no object changes nothing", with("ext", `"v1"`), "The member may be somebody else's.", Peers{}},
		{"3.7-b", "19b", "an ext with unusable members changes nothing", with("ext", `{"v":1,"win":"x","cancel":[],"ms":-5,"other":{}}`), "A member of it with a wrong type counts as absent.", Peers{}},
	} {
		cases = append(cases, accepted(Case{
			ID: m.id, Item: m.item, Section: SectionHeader, Title: m.title, Why: m.why, Peers: m.peers,
			Run: func(p *Probe) Result {
				a := p.run.Action
				if m.item == "23" && (a.Version != 1 || a.Envelope != "json") {
					return p.Skip("the action is %s with envelope %s: want version 1 and json, the defaults", a, a.Envelope)
				}
				return p.echoes(m.change(p.Request()), text(7))
			},
		}))
	}
	for i := range cases {
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

func with(name, value string) func(*Request) *Request {
	return func(r *Request) *Request { return r.With(name, value) }
}

func without(name string) func(*Request) *Request {
	return func(r *Request) *Request { return r.Without(name) }
}

func minimal(r *Request) *Request { return r.Without("sector") }
