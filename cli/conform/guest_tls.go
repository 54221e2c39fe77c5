package conform

import (
	"crypto/tls"
	"time"
)

// guestTLSCases judge PROTOCOL 6 and 9: to whom a requester talks.
func guestTLSCases() []Case {
	const silence = "no octet of a request, and the program gets an error"
	tlsOnly := func(low, high uint16, suites ...uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.CipherSuites = low, high, suites }
	}
	return ofGuests(SectionTLS,
		Case{
			ID: "6.2-ra", Item: "53", Title: "nothing is sent to a service with another certificate than the announced one", Trap: TrapCertificate,
			Want: silence, Peers: measured(Pass, Fail, Pass), Cold: true, Play: silent,
			Why: "Whoever takes the address of a service would get its requests, with the tickets in them.",
		},
		Case{
			ID: "9.2-ra", Section: SectionRights, Title: "nothing is sent to a service that no rule allows to offer the action", Trap: TrapRule,
			Want: silence, Peers: measured(Pass, Fail, Pass), Cold: true, Play: silent,
			Why: "Anybody with a key can announce anything: the rules alone say who may.",
		},
		Case{
			ID: "7.1-ra", Section: SectionRights, Item: "61", Title: "an announcement whose signature does not match is not used", Trap: TrapSignature,
			Want: silence, Peers: measured(Pass, Pass, Pass), Cold: true, Play: silent,
			Why: "The signature is all that ties the address to the certificate.",
		},
		taken(Case{
			ID: "6.3-ra", Item: "56", Title: "a service that speaks TLS 1.2 alone is called", Shake: tlsOnly(tls.VersionTLS12, tls.VersionTLS12),
			Why: "Old services know nothing newer.",
		}, len(okBody), good),
		taken(Case{
			ID: "6.3-rb", Item: "56", Level: Should, Title: "a service that speaks TLS 1.3 alone is called", Shake: tlsOnly(tls.VersionTLS13, tls.VersionTLS13),
			Why: "It needs one round trip less, and hides certificates from listeners.",
		}, len(okBody), good),
		Case{
			ID: "6.3-rc", Title: "a service that speaks TLS 1.0 and 1.1 alone is not called", Shake: tlsOnly(tls.VersionTLS10, tls.VersionTLS11),
			Want: "the handshake fails, and the program gets an error", Cold: true, Play: noHandshake,
			Why: "They rest on MD5 and SHA-1, and nobody on the bus needs them.",
		},
		Case{
			ID: "6.3-rd", Title: "a service that speaks RC4 and 3DES alone is not called",
			Shake: tlsOnly(tls.VersionTLS12, tls.VersionTLS12, tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA,
				tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA),
			Want: "the handshake fails, and the program gets an error", Cold: true, Play: noHandshake,
			Why: "RC4 is broken, and 3DES has 64-bit blocks.",
		},
		Case{
			ID: "6.3-re", Item: "56a", Level: Should, Title: "a session is not resumed", Turns: true, Steps: []Step{{Times: 1}, {Times: 1}},
			Shake: func(c *tls.Config) {
				c.SessionTicketsDisabled = false
				c.SetSessionTicketKeys([][32]byte{{1}}) // of both connections: each has settings of its own
			},
			Want: "a full handshake on the second connection",
			Why:  "A resumed session skips the certificate, and with it the one comparison that trust rests on.",
			Play: resumes,
		},
		Case{
			ID: "6.1-ra", Level: Should, Title: "what the requester offers", Want: "version, cipher suite and certificate, for information",
			Why: "It helps to know when two peers do not find together.",
			Play: func(v *Visit) Result {
				m, problem := v.Call(0)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				v.Send(good(v, m))
				s := v.tls.ConnectionState()
				who := "no certificate"
				if len(s.PeerCertificates) > 0 {
					who = "certificate " + fingerprint(s.PeerCertificates[0].Raw)
				}
				return v.Info("%s, %s, %s, server name %q", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), who, cut(s.ServerName, maxText))
			},
		},
	)
}

// silent wants no octet of a request, whatever else comes, until the requester says what
// became of its call.
func silent(v *Visit) Result {
	v.Fails()
	shaken := 0
	for {
		select {
		case c := <-v.s.conns:
			if err := v.take(c); err != nil {
				continue // that is one way to refuse
			}
			shaken++
			v.awaitFor(v.run.Timeout, func() bool { return v.err != nil || len(v.messages) > 0 })
			if len(v.messages) > 0 {
				return v.Miss("a request came: %s", v.messages[0])
			}
			if v.run.watch.packets > 0 {
				return v.Miss("%d packets came", v.run.watch.packets)
			}
			continue
		default:
		}
		if len(v.said) > 0 || v.ctx.Err() != nil || !v.began.IsZero() && time.Since(v.began) > v.run.Timeout {
			break
		}
		v.hear(v.run.Timeout / 100)
	}
	if v.began.IsZero() {
		return v.Skip("nobody called")
	}
	if shaken > 0 {
		return v.Pass("a handshake, and no octet after it")
	}
	return v.Pass("no handshake was completed")
}

// noHandshake wants no connection to come about.
func noHandshake(v *Visit) Result {
	v.Fails()
	for v.ctx.Err() == nil {
		select {
		case c := <-v.s.conns:
			err := v.take(c)
			if err == nil {
				s := v.tls.ConnectionState()
				return v.Miss("accepted: %s, %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite))
			}
			return v.Pass("refused: " + cut(err.Error(), maxText))
		default:
		}
		if len(v.said) > 0 {
			return v.Pass("no connection came")
		}
		v.hear(v.run.Timeout / 100)
	}
	return v.Skip("nobody called")
}

func resumes(v *Visit) Result {
	for step := range v.c.Steps {
		if step > 0 {
			v.closeWrite()
			v.Await(func() bool { return v.err != nil }) // a call that comes meanwhile would be lost
			v.hangUp()
			v.Turn()
			if problem := v.Accept(); problem != "" {
				return v.Miss("%s after the first was closed", problem)
			}
			if v.tls.ConnectionState().DidResume {
				return v.Miss("%s, resumed", tls.VersionName(v.tls.ConnectionState().Version))
			}
		}
		m, problem := v.Call(step)
		if problem != "" {
			return v.Miss("%s", problem)
		}
		v.Send(good(v, m))
		v.Succeeds(len(okBody))
		if !v.Reported(step+1, v.run.Timeout) {
			return v.Skip("the requester did not say that it has the reply")
		}
	}
	return v.Pass("a full handshake")
}
