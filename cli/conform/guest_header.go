package conform

import "strings"

// guestHeaderCases judge PROTOCOL 3.1 and 3.2: which headers of replies a requester
// takes.
func guestHeaderCases() []Case {
	var cases []Case
	for _, e := range []struct {
		id, item, title, why string
		change               func(*Request) *Request
		peers                Peers
	}{
		{"3.1-ra", "14", "a newline after the object is passed over", "Go ends its headers with one.", nil, measured(Pass, Pass, Pass)},
		{"3.1-rb", "25", "members that are not known are ignored", "Peers of a later day send them.", with("later", `{"x":[1,null]}`), measured(Pass, Pass, Pass)},
		{"3.5-ra", "24", "a reply without type is a reply", "The old Perl implementation sends none.", without("type"), measured(Pass, Fail, Pass)},
		{"3.5-rb", "24", "a reply with type null is a reply", "As type missing.", with("type", "null"), Peers{}},
		{"3.2-ra", "26", "error_code, error and error_data null mean success", "Perl sends null for what is not there.", func(r *Request) *Request {
			return r.With("error_code", "null").With("error", "null").With("error_data", "null")
		}, measured(Pass, Pass, Pass)},
		{"3.2-rb", "26", "error_code and error empty mean success", "Some handlers fill them in always.", func(r *Request) *Request {
			return r.With("error_code", `""`).With("error", `""`)
		}, measured(Pass, Pass, Pass)},
		{"3.2-rc", "", "the members of Go's replies are taken", "It sends those of requests again, with nothing in them.", func(r *Request) *Request {
			return r.With("action", `""`).With("envelope", `"json"`).With("client_id", "0").With("ticket", `""`).With("identifying_token", `""`).With("version", "0")
		}, Peers{Go: Pass}},
		{"3.4-ra", "20", "a request_id that comes back as a decimal string is the same id", "C# sends strings.", func(r *Request) *Request {
			return r.With("request_id", quoted(r.value("request_id")))
		}, measured(Fail, Fail, Pass)},
		{"3.7-ra", "19b", "an ext with unusable members changes nothing", "The member may be somebody else's.",
			with("ext", `{"v":1,"win":"x","cancel":[],"ms":-5,"other":{}}`), Peers{}},
	} {
		cases = append(cases, taken(Case{ID: e.id, Item: e.item, Title: e.title, Why: e.why, Peers: e.peers}, len(okBody), func(v *Visit, m *Message) string {
			r := v.Reply(m)
			if e.change == nil {
				return r.HeadOf(r.JSON()+"\n") + r.Data(okBody) + r.EOF()
			}
			return e.change(r).All(okBody)
		}))
	}
	for _, e := range []struct {
		id, item, title, why string
		body                 func(*Request) string
	}{
		{"3.1-rc", "13", "a header that is not JSON closes", whyJSON, func(*Request) string { return "hello" }},
		{"3.1-rd", "13", "a header that is an array closes", whyJSON, func(r *Request) string { return "[" + r.JSON() + "]" }},
		{"3.1-re", "13", "a header that is not UTF-8 closes", whyJSON, func(r *Request) string { return r.With("x", "\"\xff\"").JSON() }},
		{"3.1-rf", "18a", "a known member twice closes", "Readers disagree about which value counts.", func(r *Request) string {
			return strings.Replace(r.JSON(), `{`, `{"error":"","error":"x",`, 1)
		}},
		{"3.1-rg", "18a", "a known member in another letter case closes", "Readers disagree about which value counts.", func(r *Request) string {
			return r.With("Error", `"x"`).JSON()
		}},
		{"3.1-rh", "18a", "65 members close", whyMany, func(r *Request) string {
			for i := range 64 {
				r.With("x"+strings.Repeat("x", i), "1")
			}
			return r.JSON()
		}},
		{"3.1-ri", "18a", "17 levels of nesting close", whyMany, func(r *Request) string { return r.With("x", nested(16)).JSON() }},
	} {
		cases = append(cases, ends(Case{ID: e.id, Item: e.item, Title: e.title, Why: e.why}, func(v *Visit, m *Message) string {
			r := v.Reply(m)
			return r.HeadOf(e.body(r)) + r.Data(okBody) + r.EOF()
		}))
	}
	return ofGuests(SectionHeader, cases...)
}
