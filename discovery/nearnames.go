package discovery

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
	"sync"
)

const (
	maxNear     = 3
	maxNames    = 50_000 // names looked at to find those near; more are not
	maxDistance = 5      // letters that a name near another may differ in
	maxCompared = 1_000  // names compared letter by letter, those first that have the same letters
	maxAsked    = 1_024  // names that the answer is remembered for
	maxFullName = 520    // octets of a name that may be near another: that of two parts of MaxName, and a bit
)

// nearNames finds the names that look like one that nobody offers. It serves all tables
// of the same names, and remembers what it was asked: whoever calls a name that is not
// there calls it again. Safe for concurrent use.
type nearNames struct {
	mu    sync.Mutex          // protects what follows
	known []knownName         // of the table; made when first asked
	asked map[string][]string // answers
}

// A knownName is one that somebody offers, in lower case, with a bit for each letter
// that is in it: most names differ in more letters than they may.
type knownName struct {
	name    string
	letters uint64
}

// like returns the announced names that look most like action: the same letters but
// for a few, or the same base name in another class. The slice is shared.
func (t *nameTable) like(action string) []string {
	if len(action) > maxFullName {
		return nil
	}
	n := t.near
	n.mu.Lock()
	defer n.mu.Unlock()
	if names, ok := n.asked[action]; ok {
		return names
	}
	if n.known == nil {
		n.known = t.known()
	}
	names := t.spelled(closest(n.known, lowerASCII(action)))
	if n.asked == nil || len(n.asked) >= maxAsked {
		n.asked = make(map[string][]string)
	}
	n.asked[strings.Clone(action)] = names
	return names
}

// known returns the names of the table, or so many of them.
func (t *nameTable) known() []knownName {
	var known []knownName
	for _, shard := range t.shards {
		for name := range shard {
			if len(known) == maxNames {
				return known
			}
			known = append(known, knownName{name, letters(name)})
		}
	}
	return known
}

// letters returns a bit for each letter, digit or other character that is in name.
func letters(name string) (set uint64) {
	for i := range len(name) {
		set |= 1 << (name[i] & 63)
	}
	return set
}

// A nearName is a name and how far it is.
type nearName struct {
	name     string
	distance int
}

// closest returns some names that are near to want, the nearest first.
func closest(known []knownName, want string) []nearName {
	most := min(2+len(want)/8, maxDistance)
	base := want[strings.LastIndexByte(want, '.')+1:]
	set := letters(want)
	var likely [2*maxDistance + 1][]string // by how many letters are in one of both alone
	var near nearest
	for _, k := range known {
		n := bits.OnesCount64(k.letters ^ set)
		// A letter that is changed takes one bit away and brings another.
		if n <= 2*most && max(len(k.name)-len(want), len(want)-len(k.name)) <= most && len(likely[n]) < maxCompared {
			likely[n] = append(likely[n], k.name)
		}
		if strings.HasSuffix(k.name, base) && len(k.name) > len(base) && k.name[len(k.name)-len(base)-1] == '.' {
			near.add(nearName{k.name, most}) // the same in another class
		}
	}
	compared := 0
	for _, names := range likely {
		for _, name := range names[:min(len(names), maxCompared-compared)] {
			compared++
			if d := Distance(want, name, most); d <= most {
				near.add(nearName{name, d})
			}
		}
	}
	return near
}

// nearest are a few names, the nearest first.
type nearest []nearName

func (l *nearest) add(n nearName) {
	if len(*l) == 2*maxNear && compareNear((*l)[2*maxNear-1], n) <= 0 {
		return
	}
	if i := slices.IndexFunc(*l, func(old nearName) bool { return old.name == n.name }); i >= 0 {
		if (*l)[i].distance <= n.distance {
			return
		}
		*l = slices.Delete(*l, i, i+1)
	}
	i, _ := slices.BinarySearchFunc(*l, n, compareNear)
	*l = slices.Insert((*l)[:min(len(*l), 2*maxNear-1)], i, n)
}

func compareNear(a, b nearName) int {
	return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
}

// spelled returns names as they are announced. Aliases are left out: nobody calls them
// by hand.
func (t *nameTable) spelled(near []nearName) []string {
	var names []string
	for _, n := range near {
		if name, ok := t.announced(n.name); ok && len(names) < maxNear {
			names = append(names, name)
		}
	}
	return names
}

// announced returns the spelling in which somebody announces a name.
func (t *nameTable) announced(name string) (string, bool) {
	views := t.find(name)
	if len(views) == 0 {
		return "", false
	}
	ann := views[0].offering()
	for i := range ann.Actions {
		if a := &ann.Actions[i]; a.named(name) {
			return a.FullName(), true
		}
	}
	return "", false
}

// named tells whether full is the name of a, in whatever case.
func (a *Action) named(full string) bool {
	n := len(a.Class)
	return len(full) == n+1+len(a.Name) && full[n] == '.' && equalFoldASCII(a.Name, full[n+1:]) && equalFoldASCII(a.Class, full[:n])
}
