package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// conformTarget says which action to use and which certificate to want.
func (a *app) conformTarget(ctx context.Context, addr string, o *conformOptions) (action conform.Action, id scamp.Identity, err error) {
	id = scamp.Identity{Anyone: true}
	switch {
	case o.cert != "":
		cert, err := readCertificate(o.cert)
		if err != nil {
			return action, id, err
		}
		id = scamp.Identity{Certificate: cert}
	case o.fingerprint != "":
		if id, err = identityOf(o.fingerprint); err != nil {
			return action, id, err
		}
	}
	if o.action != "" {
		q, err := discovery.ParseAction(o.action)
		if err == nil && id.Anyone {
			id, err = a.announcedIdentity(ctx, addr)
		}
		return conform.Action{Sector: q.Sector, Name: q.Action, Version: q.Version, Envelope: o.envelope}, id, err
	}
	action, cert, err := a.announcedEcho(ctx, addr)
	if id.Anyone && err == nil {
		id = scamp.Identity{Certificate: cert}
	}
	action.Envelope = o.envelope
	return action, id, err
}

// announcedIdentity returns the certificate that is announced at an address, or anyone
// if there is no configuration to look by or nothing is announced there.
func (a *app) announcedIdentity(ctx context.Context, addr string) (scamp.Identity, error) {
	anyone := scamp.Identity{Anyone: true}
	if a.configFile == "" {
		if path, err := scamp.LocateConfig(a.getenv); err == nil && path == "" {
			return anyone, nil
		}
	}
	c, err := new(source).open(ctx, a)
	_, file := errors.AsType[*fs.PathError](err)
	switch {
	case ExitCode(err) == ExitStale && (!file || errors.Is(err, fs.ErrNotExist)): // no cache, or none yet
		a.say("%v", err)
		return anyone, nil
	case err != nil:
		return anyone, err
	}
	id := anyone
	for _, e := range c.entries {
		switch cert := e.Peer.Certificate; {
		case e.Peer.Address != addr:
		case id.Certificate != nil && id.Certificate.SHA256 != cert.SHA256:
			return anyone, hint(exitf(ExitFailure, "scamp: several certificates are announced at %s", addr), "say with --cert or --fingerprint which one it must show")
		default:
			id = scamp.Identity{Certificate: cert}
		}
	}
	return id, nil
}

// announcedEcho returns the first action named echo that is announced at an address, and
// the certificate that is announced with it.
func (a *app) announcedEcho(ctx context.Context, addr string) (action conform.Action, cert *discovery.Certificate, err error) {
	const advice = "name the action that echoes with --action CLASS.echo, and with --cert or --fingerprint whom to expect"
	c, err := new(source).open(ctx, a)
	if err != nil {
		return action, nil, hint(err, advice)
	}
	for _, e := range c.entries {
		if e.Peer.Address != addr || cert != nil && cert.SHA256 == e.Peer.Certificate.SHA256 {
			continue
		}
		for _, act := range e.Announcement.Actions {
			if !strings.EqualFold(act.Name, "echo") {
				continue
			}
			if cert != nil {
				return action, nil, hint(exitf(ExitFailure, "scamp: several certificates are announced at %s", addr), advice)
			}
			action = conform.Action{Sector: act.Sector, Name: act.Class + "." + act.Name, Version: act.Version}
			cert = e.Peer.Certificate
			break
		}
	}
	if cert == nil {
		return action, nil, hint(exitf(ExitNotFound, "scamp: no action named echo is announced at %s", addr), advice)
	}
	a.say("judging %s, whose certificate is %s", action, cert.Fingerprint)
	return action, cert, nil
}

// verify compares a certificate with the one that is wanted.
func verify(addr string, id scamp.Identity, der []byte) error {
	pin := &scamp.PinError{Address: addr, Got: discovery.Fingerprint(der)}
	same := false
	switch {
	case id.Certificate != nil:
		pin.Want = id.Certificate.Fingerprint
		same = string(der) == string(id.Certificate.DER)
	case id.SHA256 != "":
		pin.Want = "sha256:" + id.SHA256
		same = fmt.Sprintf("%x", sha256.Sum256(der)) == strings.ToLower(id.SHA256)
	default:
		pin.Want = id.Fingerprint
		same = strings.ReplaceAll(pin.Got, ":", "") == id.Fingerprint
	}
	if same {
		return nil
	}
	return pin
}
