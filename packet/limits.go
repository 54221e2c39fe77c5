package packet

// Limits bounds what a Reader and a HeaderReader accept and what a sender may
// write. A zero or negative field means the default; sizes above 1 GiB count as
// 1 GiB. Each refusal is an Error that names its counter.
type Limits struct {
	MaxPacket        int // octets in the body of any packet but HEADER; zero means 131072
	MaxHeader        int // octets in the body of a HEADER accepted; zero means 65536
	MaxHeaderSend    int // octets in the body of a HEADER sent, kept by the sender; zero means half of MaxHeader
	MaxLine          int // octets in a header line with its CR LF; zero means 80
	MaxHeaderDepth   int // levels of nesting in a header, itself the first; zero means 16
	MaxHeaderMembers int // top-level members of a header; zero means 64
}

const maxSize = 1 << 30 // octets; keeps every sum of sizes within an int

// WithDefaults returns l with every zero field set to its default.
func (l Limits) WithDefaults() Limits {
	l.MaxPacket = limit(l.MaxPacket, 131072)
	l.MaxHeader = limit(l.MaxHeader, 65536)
	l.MaxHeaderSend = limit(l.MaxHeaderSend, l.MaxHeader/2)
	l.MaxLine = limit(l.MaxLine, 80)
	l.MaxHeaderDepth = limit(l.MaxHeaderDepth, 16)
	l.MaxHeaderMembers = limit(l.MaxHeaderMembers, 64)
	return l
}

func limit(v, def int) int {
	if v <= 0 {
		return def
	}
	return min(v, maxSize)
}
