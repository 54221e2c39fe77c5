package scamp_test

import (
	"context"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
)

// A Caller of somebody's own may answer without a body: it is empty.
func TestReplyWithoutBody(t *testing.T) {
	for _, limit := range []int{0, 1, 100} {
		if b, err := new(scamp.Reply).Bytes(limit); len(b) != 0 || err != nil {
			t.Errorf("Bytes(%d): %q, %v, want nothing", limit, b, err)
		}
	}
	v := 7
	if err := new(scamp.Reply).JSON(&v); err != nil || v != 7 {
		t.Errorf("JSON: %v, and %d, want that v stays 7", err, v)
	}
	if v, err := scamp.Call[int](t.Context(), bodiless{}, "A.b", 1); err != nil || v != 0 {
		t.Errorf("Call: %d, %v, want 0", v, err)
	}
}

// bodiless answers everything without a body.
type bodiless struct{}

func (bodiless) Call(context.Context, *scamp.Request) (*scamp.Reply, error) {
	return new(scamp.Reply), nil
}
