package discovery

// A print is the certificates with one SHA-1 of which something is held.
type print struct {
	held map[[32]byte]int // how many instances, by SHA-256
}

// holdPrintLocked counts the certificate of in, of which something will be held.
func (d *Directory) holdPrintLocked(in *instance) {
	name := in.certificate.Fingerprint
	p := d.prints[name]
	if p == nil {
		p = &print{held: make(map[[32]byte]int)}
		d.prints[name] = p
	}
	p.held[in.key.SHA256]++
	d.printedLocked(name, p)
	if len(p.held) == 2 && p.held[in.key.SHA256] == 1 {
		d.warnLocked(countCollision, "two certificates have one SHA-1 fingerprint: both are refused", "fingerprint", name)
		d.lookAgainLocked(name)
	}
}

// releasePrintLocked takes back what holdPrintLocked counted.
func (d *Directory) releasePrintLocked(in *instance) {
	name := in.certificate.Fingerprint
	p := d.prints[name]
	if p.held[in.key.SHA256]--; p.held[in.key.SHA256] > 0 {
		return
	}
	delete(p.held, in.key.SHA256)
	d.printedLocked(name, p)
	switch len(p.held) {
	case 0:
		delete(d.prints, name)
	case 1:
		d.lookAgainLocked(name)
	}
}

// lookAgainLocked makes new views of the instances with a fingerprint.
func (d *Directory) lookAgainLocked(fingerprint string) {
	for _, in := range d.instances {
		if in.view != nil && in.certificate.Fingerprint == fingerprint {
			d.reviewLocked(in, d.rules, Unauthorized)
		}
	}
}

// reviewLocked makes a new view of what is held of in, because of why.
func (d *Directory) reviewLocked(in *instance, z *Authorized, why Why) {
	old := in.view
	v := d.see(old.ann, z, old.state, d.obstacleLocked(in, old.ann), old.future)
	v.before = old.before
	d.showLocked(in, v, why)
}

// obstacleLocked says what keeps a, announced by in, from being chosen at all.
func (d *Directory) obstacleLocked(in *instance, a *Announcement) obstacle {
	switch p := d.prints[in.certificate.Fingerprint]; {
	case p != nil && len(p.held) > 1:
		return collision
	case in.heard && !in.local && !d.inFileLocked(in) && loopbackAddress(a):
		return foreignLoopback
	}
	return noObstacle
}

// printedLocked keeps what Twin looks at in step with the certificates of a fingerprint.
func (d *Directory) printedLocked(name string, p *print) {
	only := [32]byte{} // of none: there are two
	for sum := range p.held {
		if len(p.held) == 1 {
			only = sum
		}
	}
	if len(p.held) == 0 {
		d.printed.Delete(name)
		return
	}
	d.printed.Store(name, only)
}

// Twin says whether something is held of another certificate with the same SHA-1: one of
// the two was made to pass for the other, and a rule by SHA-1 tells nothing about either
// (PROTOCOL 18). It waits for nobody. Safe for concurrent use.
func (d *Directory) Twin(c *Certificate) bool {
	only, held := d.printed.Load(c.Fingerprint)
	return held && only != c.SHA256
}
