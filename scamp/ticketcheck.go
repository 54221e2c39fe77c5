package scamp

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A ticketChecker verifies the tickets of requests for all services of a bus. It
// follows the file with the keys, and remembers what it found of the tickets it saw
// last, good and bad: the time of each is looked at every time (THREATS T5).
type ticketChecker struct {
	find   func() string // the file, asked each time it is looked at: empty for none; nil if the keys stay as they are
	limits *Limits
	log    *logger
	now    func() time.Time

	looked atomic.Int64  // when the file was last looked at, nanoseconds on the clock of began
	began  time.Time     // with its monotonic reading
	file   sync.Mutex    // held while the file is read; protects stamp
	stamp  ticketKeyFile // of what was read last

	mu    sync.Mutex // protects what follows
	keys  *TicketKeys
	err   error // why the file cannot be used now; the last good keys stay
	known map[[sha256.Size]byte]*list.Element
	order *list.List // of *ticketVerdict, the latest first
}

// A ticketKeyFile changes when the content of the file may have.
type ticketKeyFile struct {
	size  int64
	mtime time.Time
	info  fs.FileInfo
}

// A ticketVerdict is what is known of one ticket, but for its time.
type ticketVerdict struct {
	sum    [sha256.Size]byte
	claims *TicketClaims // nil if the ticket is bad
	err    error
	long   atomic.Bool // it was accepted, holds for long, and that was told
}

func newTicketChecker(find func() string, keys *TicketKeys, limits *Limits, log *logger, now func() time.Time) *ticketChecker {
	if now == nil {
		now = time.Now
	}
	if keys != nil {
		find = nil
	}
	return &ticketChecker{find: find, keys: keys, limits: limits, log: log, now: now, began: time.Now(), known: make(map[[sha256.Size]byte]*list.Element), order: list.New()}
}

// keyLook is how often the file with the keys is looked at while tickets come.
const keyLook = time.Second

// check returns what a ticket says if it is valid now. Whoever shows many bad ones is
// told to come later, without a look at them (CodeRateLimit).
func (c *ticketChecker) check(t Ticket, failures *ticketFailures) (*TicketClaims, error) {
	c.follow()
	if len(t) > c.limits.MaxTicket { // before it is hashed
		return nil, c.refused(badTicket(TicketMalformed, "%d octets: want at most %d", len(t), c.limits.MaxTicket))
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(string(t))))
	v, keys := c.recall(sum)
	if v == nil && keys.Len() == 0 { // that is no fault of who shows it, and costs no signature
		_, err := keys.read(t, c.limits)
		return nil, c.refused(err)
	}
	if v == nil {
		if !failures.begin(c.limits.MaxTicketFailures) {
			c.log.count("ticket_limited")
			return nil, &RemoteError{Code: CodeRateLimit, Text: "too many bad tickets on this connection"}
		}
		v = &ticketVerdict{sum: sum}
		v.claims, v.err = keys.read(t, c.limits)
		c.remember(v, keys)
		failures.end(v.err != nil)
	}
	if v.err != nil {
		return nil, c.refused(v.err)
	}
	if err := v.claims.holds(c.now(), c.limits.TicketSkew); err != nil {
		return nil, c.refused(err)
	}
	if v.claims.Length > longTicket && v.long.CompareAndSwap(false, true) {
		c.log.odd("ticket_long", "a ticket is accepted that holds for longer than a day: whoever copies it can use it until then",
			"user", v.claims.User, "client", v.claims.Client, "holds", time.Duration(min(v.claims.Length, maxSeconds))*time.Second, "ends", v.claims.Ends())
	}
	return v.claims, nil
}

// refused counts a ticket that is not valid, and returns why.
func (c *ticketChecker) refused(err error) error {
	if te, ok := errors.AsType[*TicketError](err); ok && te.Problem == TicketMalformed {
		c.log.count("ticket_malformed")
	} else {
		c.log.count("ticket_refused")
	}
	return err
}

// longTicket is how many seconds a ticket may hold without a word about it: it can be
// replayed to every service (THREATS T4).
const longTicket = 24 * 60 * 60

// recall returns what is known of a ticket, nil for nothing, and the keys in force.
func (c *ticketChecker) recall(sum [sha256.Size]byte) (*ticketVerdict, *TicketKeys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known[sum]
	if e == nil {
		return nil, c.keys
	}
	c.order.MoveToFront(e)
	return e.Value.(*ticketVerdict), c.keys
}

// remember keeps a verdict, unless other keys are in force by now.
func (c *ticketChecker) remember(v *ticketVerdict, keys *TicketKeys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys != keys || c.known[v.sum] != nil {
		return
	}
	c.known[v.sum] = c.order.PushFront(v)
	for len(c.known) > c.limits.TicketCache {
		last := c.order.Back()
		delete(c.known, c.order.Remove(last).(*ticketVerdict).sum)
	}
}

// follow reads the file with the keys if it was not looked at for a second and has
// changed. One request does it; the others go on with the keys there are.
func (c *ticketChecker) follow() {
	now := int64(time.Since(c.began)) + 1
	last := c.looked.Load()
	if c.find == nil || last != 0 && now-last < int64(keyLook) {
		return
	}
	if last == 0 { // nobody can go on yet
		c.file.Lock()
		defer c.file.Unlock()
		if c.looked.Load() == 0 {
			c.load()
			c.looked.Store(now)
		}
		return
	}
	if c.looked.CompareAndSwap(last, now) {
		c.file.Lock()
		defer c.file.Unlock()
		c.load()
	}
}

// load reads the file if it has changed. What cannot be used leaves the last good keys
// in force (THREATS T6).
func (c *ticketChecker) load() {
	path := c.find()
	if path == "" {
		c.put(nil, c.gone())
		return
	}
	info, err := os.Stat(path)
	if err == nil && c.stamp.info != nil && os.SameFile(info, c.stamp.info) && info.Size() == c.stamp.size && info.ModTime().Equal(c.stamp.mtime) {
		c.put(nil, nil)
		return
	}
	var keys *TicketKeys
	if err == nil {
		keys, err = LoadTicketKeys(path, c.limits)
	}
	if err == nil {
		c.stamp = ticketKeyFile{info.Size(), info.ModTime(), info}
	}
	c.put(keys, err)
}

// gone says that there is no file any more where there was one, or returns nil.
func (c *ticketChecker) gone() error {
	if c.stamp.info == nil {
		return nil // and there never was
	}
	return errors.New("scamp: ticket key: its file is gone: want auth.ticket_verify_key, or one of the default files")
}

// put brings keys in force, or notes why there are none; both nil means that nothing
// has changed.
func (c *ticketChecker) put(keys *TicketKeys, err error) {
	c.mu.Lock()
	news := err != nil && (c.err == nil || c.err.Error() != err.Error())
	c.err = err
	had := c.keys != nil
	if keys != nil {
		c.keys = keys
		clear(c.known) // what was bad may be good now, and the other way round
		c.order.Init()
	}
	c.mu.Unlock()
	if !news {
		return
	}
	if had {
		c.log.odd("ticket_key_failed", "the key of tickets cannot be read: the last good one stays in force", "error", err)
		return
	}
	c.log.odd("ticket_key_failed", "the key of tickets cannot be read, and never was: no ticket is valid", "error", err)
}

// trouble says why no ticket is valid, or returns nil.
func (c *ticketChecker) trouble() error {
	c.follow()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.keys != nil:
		return nil
	case c.err != nil:
		return c.err
	}
	return errors.New("no key: want auth.ticket_verify_key to name the public key of whoever issues tickets")
}

// ticketFailures counts the bad tickets of one connection.
type ticketFailures struct {
	mu       sync.Mutex // protects what follows
	since    time.Time  // the second that bad belongs to began
	bad      int
	checking int       // are being looked at, and may turn out bad
	checked  sync.Cond // one fewer is; made when first needed
}

// begin says whether one more may be looked at: fewer than most were bad in this second.
// While those that are being looked at might be too many it waits, for as long as a
// signature takes: they are no failures yet, nor does it help to show many at once.
func (f *ticketFailures) begin(most int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checked.L = &f.mu
	for {
		if time.Since(f.since) >= time.Second {
			f.since, f.bad = time.Now(), 0
		}
		switch {
		case f.bad >= most:
			return false
		case f.bad+f.checking < most:
			f.checking++
			return true
		}
		f.checked.Wait()
	}
}

// end follows a begin that was true.
func (f *ticketFailures) end(bad bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checking--
	if bad {
		f.bad++
	}
	f.checked.Broadcast()
}
