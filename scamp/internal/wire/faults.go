package wire

import (
	"math/rand/v2"
	"time"
)

// Faults are what a wire does to packets in each direction. Parts are from 0 to 1 and
// independent of one another. The zero value is a perfect wire.
type Faults struct {
	Loss         float64 // part of all packets that is lost
	FragmentLoss float64 // part of the packets that are fragments of a datagram, beside Loss
	Reorder      float64 // part that is held back for reorderTime, and overtaken by others
	Duplicate    float64 // part that is brought twice
	Corrupt      float64 // part in which one bit is the wrong way round

	Delay  time.Duration // of each packet
	Jitter time.Duration // by so much at most the delay is longer, at random; packets overtake one another
	Rate   int           // octets a second that each host may receive; zero means as fast as can be
}

// reorderTime is how long a packet is held back that others are to overtake: longer than
// it takes to write some packets, and short beside the time-outs of TCP.
const reorderTime = 4 * time.Millisecond

// A fate is what happens to one packet.
type fate struct {
	lost   bool
	twice  bool
	late   bool          // others overtake it
	flip   int           // the bit that is turned, counted from 0; -1 for none
	detour time.Duration // before it is brought
}

// draw decides about one packet of so many octets. It asks for the same count of random
// numbers whatever comes out, so that the packets after it do not depend on that.
func (f *Faults) draw(random *rand.Rand, octets int, fragment bool) fate {
	loss, fragmentLoss, reorder := random.Float64(), random.Float64(), random.Float64()
	duplicate, corrupt, bit, jitter := random.Float64(), random.Float64(), random.Float64(), random.Float64()
	out := fate{
		lost:   loss < f.Loss || fragment && fragmentLoss < f.FragmentLoss,
		twice:  duplicate < f.Duplicate,
		late:   reorder < f.Reorder,
		flip:   -1,
		detour: f.Delay + time.Duration(jitter*float64(f.Jitter)),
	}
	if corrupt < f.Corrupt {
		out.flip = int(bit * float64(8*octets))
	}
	if out.late {
		out.detour += reorderTime
	}
	return out
}
