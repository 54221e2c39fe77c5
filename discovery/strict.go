package discovery

// Strict says what in an announcement would make old readers lose more than
// this announcement, or returns nil: an old Go reader gives up the whole cache
// file, an old Perl one exits (PROTOCOL 8.4). A writer of cache files leaves
// such an announcement out; our own readers take it.
func (a *Announcement) Strict() error {
	if a.seal == nil {
		return a.notStrict("no signature", "a signed announcement")
	}
	if len(a.seal.json) >= mostJSON {
		return a.notStrict("a JSON line that is too long", "fewer than 65536 octets")
	}
	v := trimmed(a.seal.json)
	if !v.is('[') {
		return a.notStrict("object form", "the array form")
	}
	var e [arrayElements]value
	items := v.items()
	for i := range e {
		e[i], _ = items.next()
	}
	switch {
	case e[0] != "3":
		return a.notStrict("version "+quoted(string(e[0])), "3")
	case !e[3].integerLiteral():
		return a.notStrict("weight "+quoted(string(e[3])), "a number without point and exponent")
	case !e[4].integerLiteral():
		return a.notStrict("interval "+quoted(string(e[4])), "a number without point and exponent")
	case e[7].null():
		return nil
	}
	for classes := e[7].items(); ; {
		class, more := classes.next()
		if !more {
			return nil
		}
		if err := a.strictClass(class); err != nil {
			return err
		}
	}
}

func (a *Announcement) strictClass(class value) error {
	_, actions, ok := classOf(class)
	if !ok || class.count() < 2 {
		return a.notStrict("class "+quoted(string(class)), "a name and at least one action")
	}
	for {
		action, more := actions.next()
		if !more {
			return nil
		}
		if !strictAction(action) {
			return a.notStrict("action "+quoted(string(action)), "a name, flags, and a whole number as version if any")
		}
	}
}

func strictAction(action value) bool {
	if !action.is('[') || action.count() > 3 {
		return false
	}
	items := action.items()
	name, _ := items.next()
	flags, _ := items.next()
	version, versioned := items.next()
	if !name.is('"') || !flags.is('"') {
		return false
	}
	_, whole := version.version()
	return !versioned || whole && (version.is('"') || version.integerLiteral())
}

func (a *Announcement) notStrict(what, want string) error {
	return refuse(countNotStrict, "announcement from %s is not in strict form: %s: want %s", quoted(a.Ident), what, want)
}
