package discovery

import (
	"slices"
	"time"
)

// An instance is what is held and remembered of one instance. It belongs to
// whoever holds the directory's lock.
type instance struct {
	key         Instance
	certificate *Certificate
	history     history
	view        *view // what is held; nil when nothing is

	scan    uint64        // the LoadFile call that saw it last, maybe one that goes on
	heard   bool          // what is held came by datagram, and is not forgotten yet
	local   bool          // it did so on loopback or in this process
	iface   Iface         // where it was heard last
	parts   parts         // in how many it was heard from another host
	receipt time.Duration // when, by the clock
	exact   time.Duration // when its own octets were heard, not those for another network of its host; 0 when never
	early   time.Duration // when one from the future, while another is held, was refused last; 0 when none was since that is held
	yields  bool          // what is held has expired, but for its successor: that is from the future, and is taken when heard next
	apart   bool          // the file has those for another network of its host
	seen    time.Duration // last sight by datagram or in the file

	sums  [][32]byte      // keys of Directory.sums that mean this instance, oldest first
	text  [32]byte        // the one of the text that was held first; others cannot push it out
	moves []time.Duration // when its address changed lately
	alarm time.Duration   // when that was reported

	pool  *pool // whose budget it uses
	older *instance
	newer *instance
	cost  int // charged to the pool

	due   time.Duration // when to look at it again
	place int           // in the queue, -1 when not in it
}

// A sighting says what a packet with a good signature is.
type sighting struct {
	in        *instance
	held      bool // it is what is held, so another one is a refresh; else it was not newer
	elsewhere bool // it is what is held for another network of its host
}

// maxSums is how many packets of one instance are known by their sum: that of
// each interface of its host, as datagram and as text. Anybody can compress or wrap
// the same octets in many ways, so the first text stays known: a repetition of it
// never needs a signature check that a flood has used up (THREATS D20).
const maxSums = 16

// An address that changes more than maxMoves times within moveTime means that
// two processes use one ident (THREATS D16).
const (
	maxMoves = 3
	moveTime = 60 * time.Second
)

// moved notes a change of address and tells whether to raise the alarm.
func (in *instance) moved(now time.Duration) bool {
	in.moves = append(in.moves, now)
	if len(in.moves) <= maxMoves {
		return false
	}
	first := in.moves[0]
	in.moves = slices.Delete(in.moves, 0, 1)
	if now-first > moveTime || in.alarm != 0 && now-in.alarm < moveTime {
		return false
	}
	in.alarm = max(now, 1)
	return true
}

// inFileLocked tells whether the cache file holds a record of in.
func (d *Directory) inFileLocked(in *instance) bool { return in.scan >= d.scan }

// staysLocked tells whether what is held of in stays although a packet for another
// network of its host was heard: its own octets were heard lately, or are in the
// file. A service with several addresses so keeps one while it works, and changes to
// another when it does not (PROTOCOL 7.9).
func (d *Directory) staysLocked(in *instance) bool {
	return d.freshLocked(in) || d.inFileLocked(in) && !in.apart && in.view.obstacle != foreignLoopback
}

// freshLocked tells whether the very octets that are held of in were heard lately.
func (d *Directory) freshLocked(in *instance) bool {
	removed, _ := d.limits.Expiry(in.view.ann.Interval)
	return in.heard && in.exact > 0 && d.clock.now()-in.exact <= removed && in.view.obstacle != foreignLoopback
}

// rememberSumsLocked makes packets known as good ones of in, which say what s does.
func (d *Directory) rememberSumsLocked(in *instance, packet sums, sight sighting) {
	for _, sum := range packet.list() {
		s, ok := d.sums[sum]
		if ok && s.in != in {
			continue
		}
		if !ok {
			in.sums = append(in.sums, sum)
		}
		d.sums[sum] = sight
	}
	for len(in.sums) > maxSums {
		i := 0
		if in.sums[0] == in.text {
			i = 1 // the oldest but that one
		}
		delete(d.sums, in.sums[i])
		in.sums = slices.Delete(in.sums, i, i+1)
	}
}

// dropSumsLocked forgets all packets of in.
func (d *Directory) dropSumsLocked(in *instance) {
	for _, sum := range in.sums {
		delete(d.sums, sum)
	}
	in.sums, in.text = nil, [32]byte{}
}
