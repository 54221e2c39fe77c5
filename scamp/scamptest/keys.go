package scamptest

import (
	"cmp"
	"crypto/rsa"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// Allow adds a rule for a certificate: tokens as in an authorized_services file. A
// later rule for the same certificate replaces the earlier one, as in the file.
func (n *Network) Allow(k *scamp.KeyPair, tokens ...string) {
	n.mu.Lock()
	n.rules = append(n.rules, k.Certificate.Fingerprint+" "+strings.Join(tokens, ", "))
	n.mu.Unlock()
	n.authorize()
}

// authorize gives every bus the rules.
func (n *Network) authorize() {
	n.authorizing.Lock()
	defer n.authorizing.Unlock()
	n.mu.Lock()
	text := strings.Join(n.rules, "\n") + "\n"
	buses := n.busesLocked()
	n.mu.Unlock()
	z, err := discovery.ParseAuthorized(strings.NewReader(text))
	if err != nil {
		n.t.Errorf("scamptest: rules: %v", err)
		return
	}
	for _, b := range buses {
		b.Directory().SetAuthorized(z)
	}
}

// KeyPair returns a key pair that no other service of this network has.
func (n *Network) KeyPair() *scamp.KeyPair {
	n.mu.Lock()
	i := n.keys
	n.keys++
	n.mu.Unlock()
	k, err := keyPair(i)
	if err != nil {
		n.t.Fatal(err)
	}
	return k
}

// Making an RSA key takes long, so the tests of a process share them. Keys are plain
// data: nothing here belongs to a synctest bubble.
var (
	keysMu sync.Mutex
	keys   []*scamp.KeyPair
)

func keyPair(i int) (*scamp.KeyPair, error) {
	keysMu.Lock()
	defer keysMu.Unlock()
	for len(keys) <= i {
		k, err := scamp.GenerateKeyPair(fmt.Sprintf("scamptest %d", len(keys)), 2048)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys[i], nil
}

// Ticket returns a ticket that every bus of the network takes for good. With a zero Start
// it holds from now on, for an hour if Length is zero too.
func (n *Network) Ticket(claims scamp.TicketClaims) scamp.Ticket {
	n.t.Helper()
	if claims.Start == 0 {
		claims.Start, claims.Length = time.Now().Unix(), cmp.Or(claims.Length, 3600)
	}
	t, err := claims.Sign(n.ticketSigner())
	if err != nil {
		n.t.Fatal(err)
	}
	return t
}

// ticketSigner is the key that the network's tickets are signed with, and nothing else.
func (n *Network) ticketSigner() *rsa.PrivateKey {
	k, err := keyPair(0) // New gives it to nobody
	if err != nil {
		n.t.Fatal(err)
	}
	return k.Key.(*rsa.PrivateKey)
}
