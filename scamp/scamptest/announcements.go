package scamptest

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// Announcements returns those of count services that nobody runs, for tests of what reads
// and chooses them: number i, from 0, offers Fake<i>.run in main at an address of its own.
// All have one key, which is allowed every action of the sectors main, web and background. Change, if it
// is not nil, is given each one before it is signed; calls of it are concurrent.
//
// A bus knows them after
//
//	bus.Directory().LoadFile(announcements)
//
// and discovery.UpdateCacheFile puts them into a cache file. Signing takes a core one or
// two milliseconds each.
func (n *Network) Announcements(count int, change func(i int, a *discovery.Announcement)) []*discovery.Announcement {
	n.t.Helper()
	pair := n.KeyPair()
	n.Allow(pair, "main:ALL", "web:ALL", "background:ALL")
	now := time.Now().UnixMicro()
	all := make([]*discovery.Announcement, count)
	errs := make([]error, count)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(count, runtime.GOMAXPROCS(0)) {
		workers.Go(func() { // ends when there is no work left
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				name := fmt.Sprintf("Fake%d", i)
				a := &discovery.Announcement{
					Ident: discovery.NewIdent(name), Weight: 1, Envelopes: []string{"json"}, Timestamp: now, Certificate: pair.Certificate,
					Address: fmt.Sprintf("beepish+tls://127.%d.%d.%d:30100", 1+i>>16, i>>8&255, i&255),
					Actions: []discovery.Action{{Class: name, Name: "run"}},
				}
				if change != nil {
					change(i, a)
				}
				if _, errs[i] = a.Sign(pair.Key); errs[i] == nil {
					all[i] = a
				}
			}
		})
	}
	workers.Wait()
	for i, err := range errs {
		if err != nil {
			n.t.Fatalf("scamptest: announcement %d: %v", i, err)
		}
	}
	return all
}
