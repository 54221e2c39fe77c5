package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// connectOptions are the flags of call that go around discovery.
type connectOptions struct {
	address     string
	cert        string
	fingerprint string
	anyone      bool
}

func (o *connectOptions) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.address, "connect", "", "go straight to `HOST:PORT`")
	flags.StringVar(&o.cert, "cert", "", "with --connect: the certificate it must show, a PEM `FILE`")
	flags.StringVar(&o.fingerprint, "fingerprint", "", "with --connect: the `FINGERPRINT` of that certificate, SHA-1 or sha256:")
	flags.BoolVar(&o.anyone, "insecure-anyone", false, "with --connect: send the request to whoever answers")
}

func (o *connectOptions) check() error {
	given := 0
	for _, is := range []bool{o.cert != "", o.fingerprint != "", o.anyone} {
		if is {
			given++
		}
	}
	switch {
	case o.address == "" && given > 0:
		return errors.New("--cert, --fingerprint and --insecure-anyone go with --connect HOST:PORT")
	case given > 1:
		return errors.New("--cert, --fingerprint and --insecure-anyone: want one of them")
	case o.address == "":
		return nil
	}
	if _, _, err := net.SplitHostPort(o.address); err != nil {
		return fmt.Errorf("--connect %q: want HOST:PORT", o.address)
	}
	if o.fingerprint != "" {
		_, err := identityOf(o.fingerprint)
		return err
	}
	return nil
}

// identityOf reads a fingerprint as people copy it.
func identityOf(text string) (scamp.Identity, error) {
	digits, long := strings.CutPrefix(strings.ToLower(text), "sha256:")
	digits = strings.ReplaceAll(digits, ":", "")
	if strings.Trim(digits, "0123456789abcdef") == "" {
		switch {
		case len(digits) == 64:
			return scamp.Identity{SHA256: digits}, nil
		case len(digits) == 40 && !long:
			return scamp.Identity{Fingerprint: strings.ToUpper(digits)}, nil
		}
	}
	return scamp.Identity{}, fmt.Errorf("--fingerprint %q: want 20 hex pairs, or sha256: and 64 hex digits", clean(text))
}

// dial connects straight to an address.
func (a *app) dial(ctx context.Context, cfg *scamp.Config, o *connectOptions, way *wayTaken) (scamp.Caller, func(), error) {
	if o.anyone || o.cert != "" || o.fingerprint != "" {
		a.noConfig = false // nothing is missing from it
	}
	way.mu.Lock()
	way.address = o.address
	way.mu.Unlock()
	id, err := a.identity(ctx, cfg, o, way)
	if err != nil {
		return nil, nil, err
	}
	// A bus for its configuration only: it neither listens nor reads a cache.
	plain := *cfg
	plain.CachePath = ""
	bus, err := scamp.Open(&plain, &scamp.Options{Log: a.log, Carriers: []discovery.Carrier{}})
	if err != nil {
		return nil, nil, err
	}
	client, err := bus.Dial(ctx, o.address, id)
	if err != nil {
		bus.Close()
		for flag, given := range map[string]bool{"--fingerprint": o.fingerprint != "", "--cert": o.cert != ""} {
			if given && errors.Is(err, scamp.ErrPin) {
				err = hint(err, "%s names another certificate than the one that is shown there", flag)
			}
		}
		return nil, nil, err
	}
	return client, func() { client.Close(); bus.Close() }, nil
}

// identity says what certificate the peer must show.
func (a *app) identity(ctx context.Context, cfg *scamp.Config, o *connectOptions, way *wayTaken) (scamp.Identity, error) {
	switch {
	case o.anyone:
		way.tell("identity", "anyone: the certificate is not compared with anything")
		return scamp.Identity{Anyone: true}, nil
	case o.cert != "":
		cert, err := readCertificate(o.cert)
		if err != nil {
			return scamp.Identity{}, err
		}
		way.tell("identity", "%s, of %s", cert.Fingerprint, o.cert)
		return scamp.Identity{Certificate: cert}, nil
	case o.fingerprint != "":
		way.tell("identity", "%s, given", o.fingerprint)
		return identityOf(o.fingerprint)
	}
	return a.announcedAt(ctx, cfg, o.address, way)
}

// announcedAt returns the certificate that is announced with an address.
func (a *app) announcedAt(ctx context.Context, cfg *scamp.Config, address string, way *wayTaken) (scamp.Identity, error) {
	looks := *cfg
	looks.Identity = "" // it calls nobody
	bus, err := scamp.Open(&looks, &scamp.Options{Log: a.log})
	if err != nil {
		return scamp.Identity{}, err
	}
	defer bus.Close()
	wait := warmUp
	if cfg.CachePath != "" && bus.Directory().Explain(discovery.Query{}).Stale == "" {
		wait = 0 // the file knows everybody
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		found := make(map[[32]byte]*discovery.Certificate)
		for _, e := range bus.Directory().All() {
			if e.Peer.Address == address {
				found[e.Peer.Certificate.SHA256] = e.Peer.Certificate
			}
		}
		if len(found) > 1 {
			return scamp.Identity{}, hint(exitf(ExitFailure, "scamp: %d certificates are announced at %s", len(found), address),
				"say with --cert or --fingerprint which one it must show")
		}
		for _, cert := range found {
			way.tell("identity", "%s, announced at this address", cert.Fingerprint)
			return scamp.Identity{Certificate: cert}, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errInterrupted) {
				return scamp.Identity{}, errInterrupted
			}
			return scamp.Identity{}, hint(exitf(ExitNotFound, "scamp: nothing is announced at %s", address),
				"say with --cert or --fingerprint whom to expect; --insecure-anyone sends the request to whoever answers")
		}
	}
}
