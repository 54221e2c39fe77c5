package scamptest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A bus that is made later knows whom the others know, and none of the dead.
func TestNewBusKnowsTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := scamptest.New(t)
		s := net.Serve("a", func(s *scamp.Service) {
			scamp.HandleJSON(s, "A.b", func(context.Context, int) (int, error) { return 1, nil }, nil)
		})
		for range 3 {
			time.Sleep(time.Minute)
			s = net.Restart(s)
		}
		time.Sleep(time.Minute)
		if n := len(net.Bus(nil).Directory().Find(discovery.Query{Action: "A.b"})); n != 1 {
			t.Errorf("a new bus finds %d instances, want the one that lives", n)
		}
	})
}
