package audit

import (
	"crypto/x509"
	"math"
	"slices"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// certificates judges each certificate once, wherever it was seen.
func (j *judge) certificates() {
	for _, h := range j.order {
		j.key(h)
		j.dates(h)
		if parsed, err := x509.ParseCertificate(h.cert.DER); err == nil && weak(parsed.SignatureAlgorithm) {
			j.certificate(h, "signature-weak", "%s: signed with %v", h.name(), parsed.SignatureAlgorithm)
		}
		if h.own && j.rules != nil && !j.rules.Named(h.cert) {
			f := j.certificate(h, "cert-no-rule", "no rule names the certificate of %s", h.name())
			if rights := h.rights(); len(rights) > 0 {
				f.Fix = j.rules.FixFor(h.cert, rights...)
			} else if _, fix := j.rules.Misnamed(h.cert); fix != "" {
				f.Fix = fix
			}
		}
	}
	j.collisions()
}

func (j *judge) certificate(h *holder, id, format string, args ...any) *Finding {
	f := j.add(id, h.place, format, args...)
	f.Fingerprint = h.cert.Fingerprint
	return f
}

// key judges the key of a certificate.
func (j *judge) key(h *holder) {
	if err := h.cert.CheckKey(j.limits); err != nil {
		j.certificate(h, "key-weak", "%v", err)
	} else if bits := h.cert.Bits(); bits < 2048 {
		f := j.certificate(h, "key-weak", "%s: RSA key of %d bits, which tls.min_rsa_bits lets in here: want 2048", h.name(), bits)
		f.Severity = Warning
	}
}

// dates judges the dates of a certificate, which the protocol ignores (PROTOCOL 7.10).
func (j *judge) dates(h *holder) {
	switch left := h.cert.NotAfter().Sub(j.Now); {
	case left <= 0:
		j.certificate(h, "cert-expired", "%s: expired on %s", h.name(), date(h.cert.NotAfter()))
	case left <= 30*24*time.Hour:
		days := int(math.Ceil(left.Hours() / 24))
		within := 30
		for _, step := range []int{14, 7, 1} {
			if days <= step {
				within = step
			}
		}
		f := j.certificate(h, "cert-expires", "%s: expires on %s, within %s", h.name(), date(h.cert.NotAfter()), plural(within, "day"))
		if within <= 7 {
			f.Severity = Warning
		}
	}
	if ahead := h.cert.NotBefore().Sub(j.Now); ahead > 0 {
		j.certificate(h, "cert-not-yet", "%s: valid from %s on", h.name(), date(h.cert.NotBefore()))
	}
}

// weak reports whether a signature uses a hash that is broken.
func weak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

// collisions tells of certificates that have one SHA-1.
func (j *judge) collisions() {
	byPrint := make(map[string]*holder)
	for _, h := range slices.SortedFunc(slices.Values(j.order), compareHolders) {
		first := byPrint[h.cert.Fingerprint]
		if first == nil {
			byPrint[h.cert.Fingerprint] = h
			continue
		}
		j.certificate(h, "fingerprint-collision", "%s has the SHA-1 of another certificate, %s: they are %s and %s", h.name(), first.name(),
			h.cert.SHA256Text(), first.cert.SHA256Text())
	}
}

// readCertificate returns the certificate in a file, or tells why there is none.
func (j *judge) readCertificate(f File, at Place) *discovery.Certificate {
	if f.Err != nil {
		j.add("cert-unreadable", at, "%v", f.Err).permit(f.Err)
		return nil
	}
	c, err := discovery.ParseCertificatePEM(f.Text)
	if err != nil {
		j.add("cert-unreadable", at, "%v", err)
		return nil
	}
	return c
}
