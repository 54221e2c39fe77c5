package conform

import (
	"fmt"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// A rule is something that holds for every packet the judged side writes, whatever it was
// sent. The cases of a run feed the watch, and the cases marked Last read it.
type rule int

const (
	ruleGrammar     rule = iota // 2.1
	ruleHeaderSize              // 2.2
	ruleNumbers                 // 2.4: HEADERs count from 0
	ruleOpen                    // 2.4: DATA, EOF and TXERR belong to an open message
	ruleEmptyData               // 2.4
	ruleEOFBody                 // 2.4
	ruleEmptyTXERR              // 4.1
	ruleHeaderJSON              // 3.1
	ruleNull                    // 3.3
	ruleKinds                   // 3.3: nothing but replies
	ruleOneReply                // 5.1, of a service
	ruleIDs                     // 3.4, of a requester: 1, 2, 3 as integers
	ruleMembers                 // 3.2, of a requester: what a request must have
	ruleSector                  // 3.2, of a requester
	ruleWindow                  // 4.3
	ruleAck                     // 4.4
	ruleUnaskedPing             // 4.7
	rules
)

// A watch collects what the judged side did against the rules during one run.
type watch struct {
	broken  [rules][]string // examples
	times   [rules]int
	packets int // that came in all
	largest int // octets of the largest DATA
}

// maxBroken bounds the examples kept of each rule.
const maxBroken = 3

func (w *watch) note(r rule, p packet.Packet) {
	w.times[r]++
	if len(w.broken[r]) < maxBroken {
		w.broken[r] = append(w.broken[r], shown(p))
	}
}

func (w *watch) noteError(r rule, err error) {
	w.times[r]++
	if len(w.broken[r]) < maxBroken {
		w.broken[r] = append(w.broken[r], cut(err.Error(), maxText))
	}
}

// merge adds what another watch collected.
func (w *watch) merge(other *watch) {
	for r := range rules {
		w.times[r] += other.times[r]
		for _, example := range other.broken[r] {
			if len(w.broken[r]) < maxBroken {
				w.broken[r] = append(w.broken[r], example)
			}
		}
	}
	w.packets += other.packets
	w.largest = max(w.largest, other.largest)
}

// shown is a packet in visible form.
func shown(p packet.Packet) string {
	return visible(string(p.AppendTo(nil)))
}

// verdict judges one rule by all that came so far.
func (w *watch) verdict(p *Probe, r rule) Result {
	if w.times[r] == 0 {
		return p.Pass(fmt.Sprintf("none among %d packets", w.packets))
	}
	return p.Miss("%d times, for example %s", w.times[r], strings.Join(w.broken[r], ", "))
}
