package scamp_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Stats counts what the announcers of services count, also of services that have ended.
func TestStatsCountAnnouncers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("large", func(s *scamp.Service) {
			for i := range 400 { // more than one datagram without fragments
				s.Handle(fmt.Sprintf("Large%x.action%d", i*7919, i*104729), ok, nil)
			}
		})
		before := s.Bus.Stats()["announce_fragmented"]
		if before == 0 {
			t.Error("announce_fragmented is 0 beside an announcement of many fragments")
		}
		s.Stop()
		if after := s.Bus.Stats()["announce_fragmented"]; after < before {
			t.Errorf("announce_fragmented fell from %d to %d when the service ended", before, after)
		}
	})
}
