package packet

// names is a small table of strings seen before. It forgets the old for the new
// and holds at most 32 strings of 128 octets, whatever the peer sends.
type names [32]string

const maxName = 128 // octets of a string worth remembering

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
	h := uint32(2166136261) // FNV-1a
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	slot := &t[(h^h>>16)%uint32(len(t))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}
