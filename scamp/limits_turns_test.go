package scamp_test

import (
	"crypto"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A countingKey counts how many of its operations go on at once.
type countingKey struct {
	crypto.Signer
	now, most atomic.Int32
}

func (k *countingKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	now := k.now.Add(1)
	defer k.now.Add(-1)
	for most := k.most.Load(); now > most && !k.most.CompareAndSwap(most, now); most = k.most.Load() {
	}
	runtime.Gosched() // so that the others come here as well
	return k.Signer.Sign(rand, digest, opts)
}

// Handshakes take turns with the keys of a bus, so that at most half of the processors
// work for them and those who are connected already go on (THREATS L9).
func TestHandshakesTakeTurns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	n := scamptest.New(t)
	pair := *n.KeyPair()
	key := &countingKey{Signer: pair.Key}
	pair.Key = key
	n.Allow(&pair, "main:ALL")
	bus := n.Bus(nil)
	var addrs []string
	for range 4 {
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: &pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.echo", echo, nil)
		serve(t, svc)
		addrs = append(addrs, svc.Addr())
	}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			c, err := scamp.Dial(t.Context(), addrs[i%len(addrs)], scamp.Identity{Certificate: pair.Certificate}, &scamp.Options{Dial: n.Dial})
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	all.Wait()
	if most := key.most.Load(); most != 2 {
		t.Errorf("%d handshakes used the key at once on 4 processors, want 2", most)
	}
}
