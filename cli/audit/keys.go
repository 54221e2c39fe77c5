package audit

import (
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io/fs"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// readPairs judges the key pairs of services.
func (j *judge) readPairs() {
	for _, p := range j.Pairs {
		if !p.whole() {
			at := p.From
			if at.File == "" {
				at = Place{File: p.Key.Path}
			}
			j.add("pair-incomplete", at, "service %s: %s", quote(p.Service), p.lacks())
			continue
		}
		if p.From.File == "" && missing(p.Key) && missing(p.Cert) {
			for id, f := range map[string]File{"cert-unreadable": p.Cert, "key-unreadable": p.Key} {
				j.add(id, Place{File: f.Path}, "service %s has no key pair: %v", quote(p.Service), f.Err).Fix = "scamp provision " + p.Service + " SECTOR:CLASS"
			}
			continue
		}
		cert := j.readCertificate(p.Cert, Place{File: p.Cert.Path})
		var key *rsa.PrivateKey
		if !p.Foreign || !errors.Is(p.Key.Err, fs.ErrPermission) {
			key = j.readKey(p.Key)
		}
		if cert != nil {
			h := j.hold(cert, Place{File: p.Cert.Path})
			h.service, h.own = p.Service, true
			if key == nil || belong(key, cert) {
				h.services = append(h.services, p.Service)
			}
		}
		if cert != nil && key != nil && !belong(key, cert) {
			j.strays[nameOf(&key.PublicKey)] = append(j.strays[nameOf(&key.PublicKey)], p.Service)
			f := j.add("key-mismatch", Place{File: p.Key.Path}, "service %s: the key is not the one that certificate %s was made with", quote(p.Service), p.Cert.Path)
			f.Fingerprint = cert.Fingerprint
		}
	}
}

// whole reports whether both files are named, and both there or both named by the
// configuration.
func (p *Pair) whole() bool {
	if p.Key.Path == "" || p.Cert.Path == "" {
		return false
	}
	return p.Expected || missing(p.Key) == missing(p.Cert)
}

func missing(f File) bool { return errors.Is(f.Err, fs.ErrNotExist) }

// lacks says which half is not there.
func (p *Pair) lacks() string {
	switch {
	case p.Key.Path == "":
		return "the configuration names its certificate and no key"
	case p.Cert.Path == "":
		return "the configuration names its key and no certificate"
	case missing(p.Key):
		return "there is " + p.Cert.Path + " and no " + p.Key.Path
	}
	return "there is " + p.Key.Path + " and no " + p.Cert.Path
}

func belong(key *rsa.PrivateKey, cert *discovery.Certificate) bool {
	public := cert.Key()
	return public != nil && key.PublicKey.Equal(public)
}

// readKey returns the private key in a file, or tells why there is none.
func (j *judge) readKey(f File) *rsa.PrivateKey {
	at := Place{File: f.Path}
	if f.Err != nil {
		j.add("key-unreadable", at, "%v", f.Err).permit(f.Err)
		return nil
	}
	switch everybody, group := scamp.KeyOpenTo(f.Mode); {
	case everybody != "":
		found := j.add("key-readable", at, "everybody on this host can %s the private key: mode %04o", everybody, f.Mode.Perm())
		found.Fix = "chmod 600 " + f.Path
		if j.Config.AllowReadableKey {
			found.Severity = Warning
		}
	case group:
		j.add("key-group", at, "a group of users can read or write the private key: mode %04o", f.Mode.Perm()).Fix = "chmod 600 " + f.Path
	}
	key, err := scamp.ParseKey(f.Text)
	if err != nil {
		j.add("key-unreadable", at, "%v", err)
		return nil
	}
	j.Looked.Keys++
	return key
}

// loose judges keys and certificates that were given without a name. Each key must
// belong to a certificate, if there are any.
func (j *judge) loose() {
	var certs []*discovery.Certificate
	for _, f := range j.Certificates {
		if c := j.readCertificate(f, Place{File: f.Path}); c != nil {
			j.hold(c, Place{File: f.Path}).own = true
			certs = append(certs, c)
		}
	}
	for _, f := range j.Keys {
		key := j.readKey(f)
		if key == nil || len(j.Certificates) == 0 {
			continue
		}
		found := false
		var names []string
		for _, c := range certs {
			found = found || belong(key, c)
			names = append(names, c.Fingerprint)
		}
		if !found && len(certs) > 0 {
			j.add("key-mismatch", Place{File: f.Path}, "the key belongs to none of the certificates given: %s", strings.Join(names, ", "))
		}
	}
}

// shared tells of keys that services of different names have, with one certificate or
// several. In files that is a copied key; what announces may be one program with several
// services.
func (j *judge) shared() {
	type owners struct {
		first            *holder
		filed, announced []string
	}
	byKey := make(map[string]*owners)
	var order []*owners
	for _, h := range j.order {
		public := h.cert.Key()
		if public == nil {
			continue
		}
		key := nameOf(public)
		o := byKey[key]
		if o == nil {
			o = &owners{first: h, filed: j.strays[key]}
			byKey[key] = o
			order = append(order, o)
		}
		o.filed = append(o.filed, h.services...)
		for _, a := range h.live() {
			o.announced = append(o.announced, a.Announcement.ServiceName())
		}
	}
	for _, o := range order {
		if names := distinct(o.filed); len(names) > 1 {
			j.certificate(o.first, "key-shared", "%s have one key: %s", plural(len(names), "service"), quotedList(names))
		} else if names := distinct(o.announced); len(names) > 1 {
			j.certificate(o.first, "key-shared", "%s announce themselves with one key: %s", plural(len(names), "service"), quotedList(names)).Severity = Info
		}
	}
}

// nameOf returns a text that only this key has.
func nameOf(key *rsa.PublicKey) string { return key.N.Text(62) }

func quotedList(names []string) string {
	for i := range names {
		names[i] = quote(names[i])
	}
	return some(names)
}

// ticketKeys judges the keys that tickets are verified with.
func (j *judge) ticketKeys() {
	if j.TicketKeys == nil || j.TicketKeys.Err != nil {
		return // a file that cannot be read is told of where it is named
	}
	at := Place{File: j.TicketKeys.Path}
	if _, err := scamp.ParseTicketKeys(j.TicketKeys.Text, &j.Config.Limits); err != nil {
		j.add("ticket-key", at, "%v", err)
		return
	}
	for rest := j.TicketKeys.Text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			j.add("ticket-key-private", at, "it holds a private key beside the public one")
			return
		}
	}
}
