package discovery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/scampbus/scamp-go/discovery"
)

// A naive directory works out all there is to see from what it knows of each
// instance, each time anew, and tells what happened by comparing the two. It knows a
// few services; a higher version of one has a higher timestamp.
type naive struct {
	now       time.Duration
	rules     int
	instances map[string]*naiveInstance
}

type naiveInstance struct {
	newest  int  // version that was ever held
	held    bool // it is
	suspect bool
	heard   bool
	receipt time.Duration
	inFile  bool
}

var (
	modelIdents = []string{"a", "b", "c"}
	// modelActions are what the versions offer by turns; nil is a withdrawal.
	modelActions = [][]discovery.Action{
		{{Class: "Sample", Name: "echo"}},
		{{Class: "Sample", Name: "echo"}, {Class: "Sample", Name: "other"}},
		{{Class: "Sample", Name: "other"}},
		nil,
		{{Class: "Sample", Name: "echo", Flags: []string{"read"}}, {Class: "Sample", Name: "other", Flags: []string{"read"}}},
	}
	modelRules   = []string{"main:ALL", "main:Sample.echo", "main:Sample.other", "main:Nothing"}
	modelWatches = []string{"Sample.echo", "Sample.other", "Sample._read", ""}
)

const modelVersions = 15

func offeredBy(version int) []discovery.Action { return modelActions[version%len(modelActions)] }

// announcementOf returns a version of a service, signed once for all tests.
func announcementOf(made map[string]*discovery.Announcement, ident string, version int) *discovery.Announcement {
	key := fmt.Sprint(ident, version)
	if made[key] == nil {
		s := service{key: "other", ident: ident, at: epoch.Add(time.Duration(version) * time.Second), actions: offeredBy(version)}
		if s.actions == nil {
			s.weight = -1
		}
		made[key] = s.announce()
	}
	return made[key]
}

// take is what a version does that comes by datagram or in the file.
func (in *naiveInstance) take(version int) bool {
	if version < in.newest {
		return false
	}
	in.newest, in.held, in.suspect = version, true, false
	return true
}

func (m *naive) hear(ident string, version int) {
	if in := m.instances[ident]; in.take(version) {
		in.heard, in.receipt = true, m.now
	}
}

func (m *naive) load(file map[string]int) {
	for ident, in := range m.instances {
		version, listed := file[ident]
		if listed {
			in.take(version)
		} else if in.inFile && !in.heard {
			in.held, in.suspect = false, false
		}
		in.inFile = listed
	}
	m.pass(0) // whose time is over lives by the file alone
}

// pass lets time go by.
func (m *naive) pass(t time.Duration) {
	m.now += t
	for _, in := range m.instances {
		silent := m.now - in.receipt
		switch {
		case !in.heard || silent < 10500*time.Millisecond:
		case in.inFile && !in.suspect:
			in.heard = false
		case silent < 30*time.Second:
			in.suspect = true
		default:
			in.heard = false
			in.held = in.inFile
		}
	}
}

// A naiveRoute is what an instance may be chosen for.
type naiveRoute struct {
	version int
	rights  string // real names
}

// route returns how an instance answers the query of a watch, if it does.
func (m *naive) route(ident, watch string) (naiveRoute, bool) {
	in := m.instances[ident]
	if !in.held || in.suspect {
		return naiveRoute{}, false
	}
	r := naiveRoute{version: in.newest}
	for _, a := range offeredBy(in.newest) {
		name, rule := a.FullName(), modelRules[m.rules]
		if rule != "main:ALL" && rule != "main:"+name {
			continue
		}
		if watch == "" || watch == name || watch == "Sample._read" && len(a.Flags) > 0 && r.rights == "" {
			r.rights += name + " "
		}
	}
	return r, r.rights != ""
}

// event returns what a watch is to be told of one instance, "" for nothing.
func (m *naive) event(step, ident, watch string, before naiveRoute, was bool) string {
	after, is := m.route(ident, watch)
	all, _ := m.route(ident, "")
	in := m.instances[ident]
	tell := func(kind discovery.Kind, why discovery.Why) string {
		return fmt.Sprintf("%s %v %v 10.0.0.5:30123", ident, kind, why)
	}
	switch {
	case !was && !is || was && is && before == after:
		return ""
	case is && !was && step == "rules":
		return tell(discovery.Added, discovery.Allowed)
	case is && !was:
		return tell(discovery.Added, discovery.Announced)
	case is && before.version != after.version:
		return tell(discovery.Updated, discovery.Announced)
	case is && slices.ContainsFunc(strings.Fields(before.rights), func(name string) bool { return !strings.Contains(all.rights, name) }):
		return tell(discovery.Updated, discovery.Unauthorized)
	case is:
		return tell(discovery.Updated, discovery.Allowed)
	case step == "rules":
		return tell(discovery.Removed, discovery.Unauthorized)
	case step == "sleep":
		return tell(discovery.Removed, discovery.Expired)
	case !in.held:
		return tell(discovery.Removed, discovery.LeftFile)
	case offeredBy(in.newest) == nil:
		return tell(discovery.Removed, discovery.Goodbye)
	}
	for _, a := range offeredBy(in.newest) {
		if watch == "" || watch == a.FullName() || watch == "Sample._read" && len(a.Flags) > 0 {
			return tell(discovery.Removed, discovery.Unauthorized) // another rule than before would do
		}
	}
	return tell(discovery.Removed, discovery.Replaced)
}

// A modelStep is something that happens. Each uses what it needs.
type modelStep struct {
	what    string
	ident   string
	version int
	tenths  int
	rules   int
	file    map[string]int
}

func (s modelStep) String() string {
	return fmt.Sprintf("%s %s~%d, %d tenths, rules %d, file %v", s.what, s.ident, s.version, s.tenths, s.rules, s.file)
}

var modelSteps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) modelStep {
	return modelStep{
		what:    rapid.SampledFrom([]string{"hear", "hear", "repeat", "sleep", "rules", "load"}).Draw(t, "what"),
		ident:   rapid.SampledFrom(modelIdents).Draw(t, "ident"),
		version: rapid.IntRange(1, modelVersions).Draw(t, "version"),
		tenths:  rapid.IntRange(1, 200).Draw(t, "tenths"),
		rules:   rapid.IntRange(0, len(modelRules)-1).Draw(t, "rules"),
		file:    rapid.MapOf(rapid.SampledFrom(modelIdents), rapid.IntRange(1, modelVersions)).Draw(t, "file"),
	}
}), 1, 40)

// TestWatchModel: whatever happens, lookups find what a directory knows that works
// everything out anew, and the watchers are told exactly what changed, and why.
func TestWatchModel(t *testing.T) {
	made := make(map[string]*discovery.Announcement)
	rapid.Check(t, func(rt *rapid.T) {
		steps := modelSteps.Draw(rt, "steps")
		var wrong string
		synctest.Test(t, func(t *testing.T) { wrong = runModel(t, made, steps) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// runModel does the steps and returns the first thing that is not as it should be.
func runModel(t *testing.T, made map[string]*discovery.Announcement, steps []modelStep) string {
	m := &naive{instances: make(map[string]*naiveInstance)}
	for _, ident := range modelIdents {
		m.instances[ident] = new(naiveInstance)
	}
	d := newDirectory(t, &discovery.DirectoryOptions{Authorized: rules(modelRules[0])})
	tapes := make([]*tape, len(modelWatches))
	for i, name := range modelWatches {
		tapes[i] = record(t, d.Watch(t.Context(), discovery.Query{Action: name}))
	}
	t.Cleanup(d.Close) // before the tapes are waited for
	synctest.Wait()
	for n, step := range steps {
		want := make([][]string, len(modelWatches))
		events := make([]func(), 0, len(modelWatches)*len(modelIdents))
		for i, watch := range modelWatches {
			for _, ident := range modelIdents {
				before, was := m.route(ident, watch)
				events = append(events, func() {
					if e := m.event(step.what, ident, watch, before, was); e != "" {
						want[i] = append(want[i], e)
					}
				})
			}
		}
		doStep(m, d, made, step)
		for _, event := range events {
			event()
		}
		for i, watch := range modelWatches {
			got := tapes[i].take()
			lines := strings.Split(got, "; ")
			slices.Sort(lines)
			if wanted := strings.Join(want[i], "; "); strings.Join(lines, "; ") != wanted {
				return fmt.Sprintf("step %d, %v: the watcher of %q is told %q, want %q", n, step, watch, got, wanted)
			}
			var there []string
			for _, ident := range modelIdents {
				if _, ok := m.route(ident, watch); ok && watch != "" {
					there = append(there, ident+"@10.0.0.5:30123")
				}
			}
			found := strings.Fields(idents(d.Find(discovery.Query{Action: watch})))
			if !slices.Equal(found, there) {
				return fmt.Sprintf("step %d, %v: Find of %q: %q, want %q", n, step, watch, found, there)
			}
		}
	}
	return ""
}

// doStep does a step to both.
func doStep(m *naive, d *discovery.Directory, made map[string]*discovery.Announcement, step modelStep) {
	switch step.what {
	case "repeat":
		step.version = max(m.instances[step.ident].newest, 1)
		fallthrough
	case "hear":
		m.hear(step.ident, step.version)
		d.Add(announcementOf(made, step.ident, step.version)) // the error says that it is stale
	case "sleep":
		t := time.Duration(step.tenths)*100*time.Millisecond + time.Microsecond // never just when something ends
		m.pass(t)
		time.Sleep(t)
	case "rules":
		m.rules = step.rules
		d.SetAuthorized(rules(modelRules[step.rules]))
	case "load":
		m.load(step.file)
		var records []*discovery.Announcement
		for ident, version := range step.file {
			records = append(records, announcementOf(made, ident, version))
		}
		d.LoadFile(records)
	}
}
