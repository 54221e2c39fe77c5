package scamp

import (
	"crypto"
	"io"
	"runtime"
)

// A turnKey is the private key of a service, whose operations take turns with those of
// the other services of the bus. One of them takes milliseconds in which its goroutine
// keeps a processor: as many at once as handshakes are under way would have everybody who
// is connected already wait behind all of them (THREATS L9).
type turnKey struct {
	crypto.Signer
	turns chan struct{} // a place for each operation at once
}

// newTurns lets half of the processors work for handshakes, at least one.
func newTurns() chan struct{} { return make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)) }

func newTurnKey(key crypto.Signer, turns chan struct{}) crypto.Signer {
	k := turnKey{key, turns}
	if d, ok := key.(crypto.Decrypter); ok {
		return turnDecrypter{k, d}
	}
	return k
}

func (k turnKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.turns <- struct{}{}
	defer func() { <-k.turns }()
	return k.Signer.Sign(rand, digest, opts)
}

// A turnDecrypter can also be asked by callers of tls.legacy_rsa.
type turnDecrypter struct {
	turnKey
	key crypto.Decrypter
}

func (k turnDecrypter) Decrypt(rand io.Reader, message []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	k.turns <- struct{}{}
	defer func() { <-k.turns }()
	return k.key.Decrypt(rand, message, opts)
}
