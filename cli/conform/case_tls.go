package conform

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"
)

// tlsCases judge PROTOCOL 6.
func tlsCases() []Case {
	cases := []Case{
		{
			ID: "6.1-a", Item: "56", Title: "a caller without a certificate is served", Level: Must,
			Want: wantEcho, Peers: measured(Pass, Pass, Pass),
			Why: "No existing requester but a few of ours shows a certificate; one that must would shut the others out.",
			Run: func(p *Probe) Result { return p.served(nil) },
		}, {
			ID: "6.1-b", Item: "55", Title: "a caller with a self-signed, expired certificate is served", Level: Must,
			Want: wantEcho,
			Why:  "There is no CA on the bus. A service that checks chains or dates of its callers refuses honest ones.",
			Run:  callerWithCertificate,
		}, {
			ID: "6.1-c", Item: "56", Title: "a server name and ALPN in the hello change nothing", Level: Must,
			Want: wantEcho,
			Why:  "Libraries send them unasked. They are not used on the bus and must not select or refuse anything.",
			Run: func(p *Probe) Result {
				return p.served(func(c *tls.Config) { c.ServerName, c.NextProtos = "conform.invalid", []string{"scamp-conform"} })
			},
		}, {
			ID: "6.2-a", Item: "53", Title: "every connection shows the same certificate", Level: Must,
			Want: "the certificate that is announced, or that was given, on each connection",
			Why:  "Requesters compare it with the announced one, octet for octet, and send nothing when it differs.",
			Run:  sameCertificate,
		}, {
			ID: "6.3-a", Item: "56", Title: "TLS 1.2 is spoken", Level: Must,
			Want: wantEcho, Peers: measured(Pass, Pass, Pass),
			Why: "Old requesters know nothing newer.",
			Run: func(p *Probe) Result { return p.served(only(tls.VersionTLS12)) },
		}, {
			ID: "6.3-b", Item: "56", Title: "TLS 1.3 is spoken", Level: Should,
			Want: wantEcho,
			Why:  "It needs one round trip less, and hides certificates from listeners.",
			Run:  func(p *Probe) Result { return p.served(only(tls.VersionTLS13)) },
		}, {
			ID: "6.3-c", Title: "TLS 1.0 and 1.1 are refused", Level: Must,
			Want: "the handshake fails",
			Why:  "They rest on MD5 and SHA-1, and nobody on the bus needs them.",
			Run: func(p *Probe) Result {
				return p.refusedTLS(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
			},
		}, {
			ID: "6.3-d", Title: "RC4 and 3DES are refused", Level: Must,
			Want: "the handshake fails",
			Why:  "RC4 is broken, and 3DES has 64-bit blocks.",
			Run: func(p *Probe) Result {
				return p.refusedTLS(func(c *tls.Config) {
					c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
					c.CipherSuites = []uint16{tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA,
						tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}
				})
			},
		}, {
			ID: "6.3-e", Item: "56a", Title: "no session ticket is issued", Level: Should,
			Want: "a full handshake on the second connection, and no ticket",
			Why:  "A resumed session skips the certificate, and with it the one comparison that trust rests on.",
			Run:  noTickets,
		}, {
			ID: "6.3-f", Title: "TLS 1.2 works with ECDHE and AES-GCM or ChaCha20 alone", Level: Should,
			Want: wantEcho,
			Why:  "A service that has only RSA key exchange cannot be reached unless its callers set tls.legacy_rsa.",
			Run: func(p *Probe) Result {
				return p.served(func(c *tls.Config) {
					only(tls.VersionTLS12)(c)
					c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
						tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}
				})
			},
		}, {
			ID: "6.3-g", Title: "the key is RSA of 2048 to 4096 bits", Level: Must,
			Want: "RSA, 2048 to 4096 bits, an odd exponent from 3 to 65537",
			Why:  "Peers refuse other keys: announcements are signed with it, and everybody verifies them.",
			Run:  keyInRange,
		}, {
			ID: "6.3-h", Title: "what is negotiated", Level: Should,
			Want: "version and cipher suite, for information",
			Why:  "It helps to know when two peers do not find together.",
			Run: func(p *Probe) Result {
				if err := p.Dial(nil); err != nil {
					return p.Miss("%s", noConnection(err))
				}
				s := p.tls.ConnectionState()
				return p.Info("%s, %s, %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.CurveID)
			},
		},
	}
	for i := range cases {
		cases[i].Section, cases[i].Cold = SectionTLS, true
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// only allows one version of TLS.
func only(version uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
}

func noConnection(err error) string { return "no connection: " + cut(err.Error(), maxText) }

// served connects with those settings and wants an echo.
func (p *Probe) served(change func(*tls.Config)) Result {
	if err := p.Dial(change); err != nil {
		return p.Miss("%s", noConnection(err))
	}
	r := p.Request()
	return p.echoes(r, text(20))
}

// refusedTLS connects with those settings and wants to be refused.
func (p *Probe) refusedTLS(change func(*tls.Config)) Result {
	err := p.Dial(change)
	if err != nil {
		return p.Pass("refused: " + cut(err.Error(), maxText))
	}
	s := p.tls.ConnectionState()
	return p.Miss("accepted: %s, %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite))
}

// callerWithCertificate shows a certificate that nobody signed and that is over.
func callerWithCertificate(p *Probe) Result {
	cert, err := selfSigned()
	if err != nil {
		return p.Skip("no certificate to show: %v", err)
	}
	asked := false
	result := p.served(func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return cert, nil
		}
	})
	if result.Verdict == Pass && !asked {
		result.Came += "; the service did not ask for the certificate"
	}
	return result
}

func selfSigned() (*tls.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "scamp conform"},
		NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(-1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// leaf is the certificate that the service shows on the connection in use.
func (p *Probe) leaf() (*x509.Certificate, error) {
	if shown := p.tls.ConnectionState().PeerCertificates; len(shown) > 0 {
		return shown[0], nil
	}
	return nil, errors.New("the service shows no certificate")
}

func sameCertificate(p *Probe) Result {
	var first *x509.Certificate
	for range 3 {
		if err := p.Dial(nil); err != nil {
			return p.Miss("%s", noConnection(err))
		}
		shown, err := p.leaf()
		switch {
		case err != nil:
			return p.Miss("%s", err)
		case first == nil:
			first = shown
		case !shown.Equal(first):
			return p.Miss("%s, then %s", fingerprint(first.Raw), fingerprint(shown.Raw))
		}
	}
	came := "always " + fingerprint(first.Raw)
	if p.run.Verify == nil {
		return p.Info("%s; nothing to compare it with was given", came)
	}
	return p.Pass(came + ", which is the one given")
}

// fingerprint is the form of PROTOCOL 6.2: upper-case pairs of hex digits and colons.
func fingerprint(der []byte) string {
	sum := sha1.Sum(der)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

func noTickets(p *Probe) Result {
	tickets := 0
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := new(ticketCounter)
		for range 2 {
			err := p.Dial(func(c *tls.Config) {
				only(version)(c)
				c.ClientSessionCache = cache
			})
			if err != nil {
				continue // other cases judge the versions
			}
			if p.tls.ConnectionState().DidResume {
				return p.Miss("%s resumed a session", tls.VersionName(version))
			}
			if problem := p.StillUsable(); problem != "" { // tickets of TLS 1.3 come after the handshake
				return p.Miss("%s", problem)
			}
		}
		tickets += cache.count()
	}
	if tickets > 0 {
		return p.Miss("%d session tickets came", tickets)
	}
	return p.Pass("full handshakes, and no ticket")
}

// A ticketCounter is a session cache that keeps the latest ticket, and counts them.
// The reader of a connection fills it.
type ticketCounter struct {
	mu      sync.Mutex // protects what follows
	tickets int
	latest  *tls.ClientSessionState
}

func (c *ticketCounter) Get(string) (*tls.ClientSessionState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest, c.latest != nil
}

func (c *ticketCounter) Put(_ string, s *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != nil {
		c.tickets++
	}
	c.latest = s
}

func (c *ticketCounter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tickets
}

func keyInRange(p *Probe) Result {
	if err := p.Dial(nil); err != nil {
		return p.Miss("%s", noConnection(err))
	}
	shown, err := p.leaf()
	if err != nil {
		return p.Miss("%s", err)
	}
	key, ok := shown.PublicKey.(*rsa.PublicKey)
	if !ok {
		return p.Miss("a key of kind %v", shown.PublicKeyAlgorithm)
	}
	bits := key.N.BitLen()
	came := fmt.Sprintf("RSA of %d bits, exponent %d", bits, key.E)
	if bits < 2048 || bits > 4096 || key.E < 3 || key.E > 65537 || key.E%2 == 0 {
		return p.Miss("%s", came)
	}
	return p.Pass(came)
}
