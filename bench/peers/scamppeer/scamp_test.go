package scamppeer_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/scampbus/scamp-go/bench"
	"github.com/scampbus/scamp-go/bench/peers/scamppeer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the adapter opens it closes, so that one process can measure many cells.
func TestAdapterLeavesNothing(t *testing.T) {
	env, err := bench.MakeEnv(t.TempDir(), "rsa")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []bench.Adapter{new(scamppeer.Adapter), &scamppeer.Adapter{Old: true}} {
		s, err := a.Serve(env)
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Connect(t.Context(), s.Addr(), env)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Unary(t.Context(), []byte("hello"), nil); err != nil || string(got) != "hello" {
			t.Errorf("%s: echo of hello: %q, %v", a.Name(), got, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: Close of the server: %v", a.Name(), err)
		}
	}
}

// Keys that are not RSA cannot announce a service, and the adapter says so.
func TestServeRefusesOtherKeys(t *testing.T) {
	env, err := bench.MakeEnv(t.TempDir(), "ecdsa")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := new(scamppeer.Adapter).Serve(env); err == nil {
		s.Close()
		t.Error("Serve with an ECDSA key: no error, want one")
	}
}
