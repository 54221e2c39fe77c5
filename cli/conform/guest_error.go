package conform

// guestErrorCases judge PROTOCOL 3.5 and 5.2: what a requester's program sees of replies
// that say no.
func guestErrorCases() []Case {
	var cases []Case
	for _, e := range []struct {
		id, item, title, why string
		level                Level
		codes                []string
		change               func(*Request) *Request
		body                 string
		peers                Peers
	}{
		{"5.2-ra", "", "error_code and error are an error with that code", "Programs decide by codes.", Must, []string{"conform_no"}, refusing(`"conform_no"`, `"no"`), "", measured(Pass, Pass, Pass)},
		{"5.2-rb", "", "error_code and error beside a body are an error", "JavaScript can send both.", Must, []string{"conform_no"}, refusing(`"conform_no"`, `"no"`), okBody, measured(Pass, Pass, Pass)},
		{"5.2-rc", "27", "error without error_code is an error", "JavaScript can send it.", Must, nil, refusing("", `"no"`), okBody, measured(Fail, Pass, Fail)},
		{"5.2-rd", "27", "the code of an error without error_code is general", "Programs decide by codes.", Should, []string{"general"}, refusing("", `"no"`), okBody, measured(Fail, NonStrict, Fail)},
		{"5.2-re", "27", "error_code without error is an error", "The text is for people, the code says no.", Must, []string{"conform_no"}, refusing(`"conform_no"`, ""), okBody, measured(Pass, Pass, Pass)},
		{"3.5-ri", "29", "an error_code of a wrong type is an error of that call", "A reply that cannot be understood is no success.", Must, nil, refusing("500", `"no"`), "", measured(Pass, Pass, Pass)},
	} {
		cases = append(cases, refusedReply(Case{ID: e.id, Item: e.item, Level: e.level, Title: e.title, Why: e.why, Peers: e.peers}, e.codes,
			func(v *Visit, m *Message) string { return e.change(v.Reply(m)).All(e.body) }))
	}
	cases = append(cases,
		Case{ID: "5.3-ra", Item: "84", Title: "a call that was refused before dispatch is sent again once at most", Want: "one further request, or none, and the program gets an error",
			Why: "Requesters that try for ever keep a busy service busy.", Play: sentAgain(
				func(v *Visit, m *Message) {
					v.Send(refusing(`"transport"`, `"conform is busy"`)(v.Reply(m)).With("error_data", `{"dispatch_failure":true}`).All(""))
				}, 2)},
		Case{ID: "5.5-ra", Item: "44", Title: "a call whose connection was lost is not sent again unasked", Want: "no further request, and the program gets an error",
			Why: "It may have run: an order sent twice is two orders.", Play: sentAgain(func(v *Visit, _ *Message) { v.hangUp() }, 1)},
	)
	return ofGuests(SectionErrors, cases...)
}

// refusing gives a reply a code and a text, each as JSON; an empty one is left out.
func refusing(code, text string) func(*Request) *Request {
	return func(r *Request) *Request {
		if code != "" {
			r.With("error_code", code)
		}
		if text != "" {
			r.With("error", text)
		}
		return r
	}
}

// sentAgain answers each request in that way and wants so many of them at most.
func sentAgain(answer func(*Visit, *Message), most int) func(*Visit) Result {
	return func(v *Visit) Result {
		v.Fails()
		for n := 1; ; n++ {
			m, problem := v.Call(0)
			switch {
			case problem != "" && n == 1:
				return v.Miss("%s", problem)
			case problem != "":
				return v.Pass(times(n-1) + "; then " + problem)
			case n > most:
				return v.Miss("%s, or more", times(n))
			}
			answer(v, m)
			if !v.another() {
				return v.Pass(times(n))
			}
		}
	}
}

func times(n int) string {
	if n == 1 {
		return "the request came once"
	}
	return "the request came twice"
}

// another tells whether a further request comes, on this connection or another, before
// the requester says what became of its call and a short while after.
func (v *Visit) another() bool {
	more := func() bool { return v.link != nil && len(v.requests) > v.taken }
	for end := v.run.Timeout; end > 0 && v.ctx.Err() == nil; end -= v.run.Quiet {
		told := len(v.said) > 0
		if v.link != nil && v.err == nil {
			v.awaitFor(v.run.Quiet/2, more)
		}
		v.Reported(len(v.said)+1, v.run.Quiet/2)
		if more() {
			return true
		}
		select {
		case c := <-v.s.conns:
			if v.take(c) == nil {
				v.awaitFor(v.run.Quiet, more)
			}
		default:
		}
		if more() {
			return true
		}
		if told {
			return false
		}
	}
	return false
}
