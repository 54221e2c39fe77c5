package command

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
)

func (a *app) listCommand() *cobra.Command {
	var from source
	var all bool
	cmd := &cobra.Command{
		Use:   "list [services|actions]",
		Short: "List what is on the bus",
		Long: `List prints the instances on the bus that may be called, or their actions: a table on a
terminal, and lines with tabs in a pipe. With --all also those that no rule allows and, of the
network, those that said goodbye or fell silent, and why.

Built-in actions, which services have of themselves (NAME.queue_depth with the name of the service, and
_meta.documentation), count for nothing: an instance that may be called for these alone may not be called. They are
among the actions with --all, and in the list that services have with --json.

` + sourceHelp + `

Columns of services: ident, sector, address, weight, actions that may be called of all it offers,
fingerprint, state ("ok" or why not). Columns of actions: action, version, number of instances that may
be called, envelopes, flags, state.

With --json, services: ident, name, sector, address (HOST:PORT), uri, weight, interval_ms,
fingerprint, sha256, authorized (some action may be called that is not built in), state (live, suspect, withdrawn),
source, age_ms, reason (why it may not be called; only then), actions: list of sector, name,
version, envelopes, flags, authorized, reason (only if not), built_in (only if it is).
With --json, actions: sector, name, version, envelopes, flags, authorized, instances: list of
ident, address, fingerprint, authorized, reason (only if not); built_in (only if it is).`,
		Example: `  scamp --config bus/soa.conf list
  scamp --config bus/soa.conf list actions --all
  scamp list services --cache - --json < discovery`,
		Args:      args(cobra.MaximumNArgs(1)),
		ValidArgs: []string{"services", "actions"},
		RunE: func(cmd *cobra.Command, words []string) error {
			what := "services"
			if len(words) > 0 {
				what = words[0]
			}
			if what != "services" && what != "actions" {
				return &usageError{"scamp list", fmt.Errorf("list %q: want services or actions", what)}
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			c, err := from.open(ctx, a)
			if err != nil {
				return err
			}
			if what == "actions" {
				err = a.listActions(c, all)
			} else {
				err = a.listServices(c, all)
			}
			if err != nil {
				return err
			}
			return from.finish(a, c)
		},
	}
	from.flag(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also what may not be called, and why")
	return cmd
}

// serviceJSON is one instance.
type serviceJSON struct {
	Ident       string        `json:"ident"`
	Name        string        `json:"name"` // the part of the ident that survives restarts
	Sector      string        `json:"sector"`
	Address     string        `json:"address"` // host:port
	URI         string        `json:"uri"`
	Weight      int           `json:"weight"`
	IntervalMS  int64         `json:"interval_ms"`
	Fingerprint string        `json:"fingerprint"`
	SHA256      string        `json:"sha256"`
	Authorized  bool          `json:"authorized"`
	State       string        `json:"state"`
	Source      string        `json:"source"`
	AgeMS       int64         `json:"age_ms"`
	Reason      string        `json:"reason,omitempty"`
	Actions     []offeredJSON `json:"actions"`
}

// offeredJSON is an action of one instance.
type offeredJSON struct {
	Sector     string   `json:"sector"`
	Name       string   `json:"name"`
	Version    int      `json:"version"`
	Envelopes  []string `json:"envelopes"`
	Flags      []string `json:"flags"`
	Authorized bool     `json:"authorized"`
	Reason     string   `json:"reason,omitempty"`
	BuiltIn    bool     `json:"built_in,omitempty"`
}

// describe makes of an entry what list and show print.
func describe(e *discovery.Entry) serviceJSON {
	ann, peer := e.Announcement, e.Peer
	s := serviceJSON{
		Ident: peer.Ident, Name: ann.ServiceName(), Sector: ann.Sector, Address: peer.Address, URI: ann.Address,
		Weight: ann.Weight, IntervalMS: ann.Interval.Milliseconds(),
		Fingerprint: peer.Certificate.Fingerprint, SHA256: peer.Certificate.SHA256Text(),
		State: e.State.String(), Source: e.Source.String(), AgeMS: e.Age.Milliseconds(),
		Reason: whyNot(e), Actions: make([]offeredJSON, len(ann.Actions)),
	}
	s.Authorized = s.Reason == ""
	for i := range ann.Actions {
		act, decision := &ann.Actions[i], e.Decisions[i]
		s.Actions[i] = offeredJSON{
			Sector: act.Sector, Name: act.FullName(), Version: act.Version,
			Envelopes: list(act.Envelopes), Flags: list(act.Flags), Authorized: decision.Allowed,
			BuiltIn: ann.BuiltIn(act),
		}
		if !decision.Allowed {
			s.Actions[i].Reason = decision.String()
		}
	}
	return s
}

// list makes a list that is [] in JSON when it is empty.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// whyNot says why an instance may not be called for anything that is not built in, or "".
func whyNot(e *discovery.Entry) string {
	why := unusable(e)
	allowed, all := e.Allowed()
	switch {
	case why != "" && e.State != discovery.Suspect:
		return why
	case len(e.Decisions) == 0:
		return "it offers no action"
	case all == 0:
		return "it offers nothing but built-in actions"
	case allowed == 0:
		return firstOwn(e).String()
	}
	return why
}

// unusable says why an instance may not be called whatever it offers, or "".
func unusable(e *discovery.Entry) string {
	switch {
	case e.State == discovery.Withdrawn:
		return "it withdrew"
	case e.Obstacle != "":
		return e.Obstacle
	case e.State == discovery.Suspect:
		return "not heard of for more than 2.1 intervals"
	}
	return ""
}

// firstOwn returns what is decided of the first action that is not built in; there is one.
func firstOwn(e *discovery.Entry) *discovery.Decision {
	i := slices.IndexFunc(e.Announcement.Actions, func(act discovery.Action) bool { return !e.Announcement.BuiltIn(&act) })
	return &e.Decisions[i]
}

func (a *app) listServices(c *catalog, all bool) error {
	t := &table{head: []string{"IDENT", "SECTOR", "ADDRESS", "WEIGHT", "ACTIONS", "FINGERPRINT", "STATE"}}
	hidden := 0
	for i := range c.entries {
		s := describe(&c.entries[i])
		switch {
		case !s.Authorized && !all:
			hidden++
			continue
		case a.json:
			if err := a.printJSON(s); err != nil {
				return err
			}
			continue
		}
		allowed, offered := c.entries[i].Allowed()
		t.add(s.Ident, s.Sector, s.Address, strconv.Itoa(s.Weight), fmt.Sprintf("%d/%d", allowed, offered), s.Fingerprint, cmp.Or(s.Reason, "ok"))
	}
	a.tellHidden(hidden, "instance", len(c.entries) == 0, c)
	if a.json {
		return nil
	}
	return a.printTable(t)
}

// tellHidden says that the list is not all there is, or that there is nothing.
func (a *app) tellHidden(hidden int, what string, empty bool, c *catalog) {
	switch {
	case empty && len(c.entries) == 0 && c.empty != "" && c.stale == nil:
		a.say("%s", c.empty)
	case empty:
		a.say("nothing is announced")
	case hidden == 1:
		a.say("1 %s may not be called and is left out; --all shows it, and why", what)
	case hidden > 1:
		a.say("%d %ss may not be called and are left out; --all shows them, and why", hidden, what)
	}
}

// actionJSON is one action and who offers it.
type actionJSON struct {
	Sector     string        `json:"sector"`
	Name       string        `json:"name"`
	Version    int           `json:"version"`
	Envelopes  []string      `json:"envelopes"`
	Flags      []string      `json:"flags"`
	Authorized bool          `json:"authorized"`
	Instances  []offererJSON `json:"instances"`
	BuiltIn    bool          `json:"built_in,omitempty"` // of every instance
}

// offererJSON is an instance that offers an action.
type offererJSON struct {
	Ident       string `json:"ident"`
	Address     string `json:"address"`
	Fingerprint string `json:"fingerprint"`
	Authorized  bool   `json:"authorized"`
	Reason      string `json:"reason,omitempty"`
}

// actions returns every action once, with the instances that offer it.
func (c *catalog) actions() []*actionJSON {
	var list []*actionJSON
	byName := make(map[string]*actionJSON)
	for i := range c.entries {
		s := describe(&c.entries[i])
		for _, o := range s.Actions {
			key := strings.ToLower(o.Sector+":"+o.Name) + "~" + strconv.Itoa(o.Version)
			act := byName[key]
			if act == nil {
				act = &actionJSON{Sector: o.Sector, Name: o.Name, Version: o.Version, Envelopes: []string{}, Flags: []string{}, BuiltIn: true}
				byName[key] = act
				list = append(list, act)
			}
			why := cmp.Or(o.Reason, unusable(&c.entries[i]))
			act.Instances = append(act.Instances, offererJSON{s.Ident, s.Address, s.Fingerprint, why == "", why})
			act.Authorized = act.Authorized || why == ""
			act.BuiltIn = act.BuiltIn && o.BuiltIn
			act.Envelopes = union(act.Envelopes, o.Envelopes)
			act.Flags = union(act.Flags, o.Flags)
		}
	}
	slices.SortFunc(list, func(x, y *actionJSON) int {
		return cmp.Or(cmp.Compare(x.Sector, y.Sector), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version))
	})
	return list
}

// union adds to a what it lacks of b.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

func (a *app) listActions(c *catalog, all bool) error {
	t := &table{head: []string{"ACTION", "VERSION", "INSTANCES", "ENVELOPES", "FLAGS", "STATE"}}
	hidden := 0
	acts := c.actions()
	for _, act := range acts {
		switch {
		case act.BuiltIn && !all:
			continue
		case !act.Authorized && !all:
			hidden++
			continue
		case a.json:
			if err := a.printJSON(act.visible(all)); err != nil {
				return err
			}
			continue
		}
		allowed := act.visible(false).Instances
		state := "ok"
		if len(allowed) == 0 {
			state = act.Instances[0].Reason
		}
		t.add(act.Sector+":"+act.Name, strconv.Itoa(act.Version), strconv.Itoa(len(allowed)), joined(act.Envelopes), joined(act.Flags), state)
	}
	a.tellHidden(hidden, "action", len(acts) == 0, c)
	if a.json {
		return nil
	}
	return a.printTable(t)
}

// visible returns the action with the instances to be shown.
func (act *actionJSON) visible(all bool) *actionJSON {
	if all {
		return act
	}
	shown := *act
	shown.Instances = slices.DeleteFunc(slices.Clone(act.Instances), func(o offererJSON) bool { return !o.Authorized })
	return &shown
}
