package packet

import "hash/maphash"

// names is a small table of strings seen before. It holds at most 32 strings of
// 128 octets, whatever the peer sends; a new one drives out an old one.
type names struct {
	seed maphash.Seed
	sets [16][2]string // a string is in the set its hash selects, the newer first
}

const maxName = 128 // octets of a string worth remembering

func newNames() *names { return &names{seed: maphash.MakeSeed()} }

// intern returns b as a string, the one it returned before if it still has it.
func (t *names) intern(b []byte) string {
	switch string(b) {
	case "":
		return ""
	case "json":
		return "json"
	case "main":
		return "main"
	}
	if len(b) > maxName {
		return string(b)
	}
	set := &t.sets[maphash.Bytes(t.seed, b)%uint64(len(t.sets))]
	for _, s := range set {
		if s == string(b) {
			return s
		}
	}
	set[1], set[0] = set[0], string(b)
	return set[0]
}
