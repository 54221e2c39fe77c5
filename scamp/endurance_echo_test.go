package scamp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// enduranceEchoes names how many echoes TestEnduranceEchoes makes, and enduranceSeed what
// it begins from. Without the first it goes on for some seconds.
const (
	enduranceEchoes = "SCAMP_ENDURANCE_ECHOES"
	enduranceSeed   = "SCAMP_ENDURANCE_SEED"
)

const (
	enduranceCallers = 128
	enduranceTime    = 5 * time.Second  // of the short run, and longer until there were
	enduranceCuts    = 4                // so many cuts and
	enduranceLeast   = 500              // so many answers
	enduranceLimit   = 20 * time.Second // the deadline of each call
)

// TestEnduranceEchoes has 128 callers echo through connections that are cut at random
// octets below TLS, against two instances that answer out of order: no reply is lost,
// none is another's, none comes twice, and no call that is said not to have run has
// (rules 1 to 9 of THREATS 3.2). `make endurance` makes ten million;
// SCAMP_ENDURANCE_ECHOES says how many, and SCAMP_ENDURANCE_SEED repeats a run.
func TestEnduranceEchoes(t *testing.T) {
	total, seed, mean, least := 1<<22, rand.Uint64(), 512<<10, 0.6
	short := true
	if s := os.Getenv(enduranceEchoes); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < enduranceCallers {
			t.Fatalf("%s is %q, want a number of at least %d", enduranceEchoes, s, enduranceCallers)
		}
		total, mean, least, short = n, 4<<20, 0.95, false
	}
	if s := os.Getenv(enduranceSeed); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q, want a number", enduranceSeed, s)
		}
		seed = n
	}
	t.Logf("seed %d", seed)

	e := &endurance{seed: seed, tally: ledger.NewTally(enduranceCallers, (total+enduranceCallers-1)/enduranceCallers)}
	start := holds()
	e.tally.Start(start)
	t.Run("echoes", func(t *testing.T) { // whose cleanup is the drain
		e.run(t, total, mean, short)
	})
	var now map[string]int64
	scamptest.Eventually(func() bool { // the kernel and the runtime may lag behind
		now = holds()
		return now["goroutines"] <= start["goroutines"] && now["descriptors"] <= start["descriptors"]
	})
	e.tally.Drain(now)
	report := e.tally.Check(least)
	t.Logf("%v%d cuts, %d replies overtook others, %v, %.0f echoes a second; the ledger held %d KiB", report, e.cuts,
		e.overtook.Load(), e.took.Round(time.Millisecond), float64(report.Totals.OK)/e.took.Seconds(), e.tally.Octets()>>10)
	if len(report.Violations) > 0 {
		t.Errorf("seed %d: %d violations, want none", seed, len(report.Violations))
	}
	if e.cuts < enduranceCuts || e.overtook.Load() == 0 || report.Totals.OK < enduranceLeast {
		t.Errorf("%d cuts, %d replies that overtook others, %d echoes: want some of each", e.cuts, e.overtook.Load(), report.Totals.OK)
	}
}

// holds is what the process holds, for rule 8.
func holds() map[string]int64 {
	h := map[string]int64{"goroutines": int64(runtime.NumGoroutine())}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		h["descriptors"] = int64(len(fds))
	}
	return h
}

// An endurance is one run of the test.
type endurance struct {
	seed  uint64
	tally *ledger.Tally
	cuts  int64
	took  time.Duration

	arrived  atomic.Int64 // requests, in the order in which their handlers began
	answered atomic.Int64 // the latest of them that was answered
	overtook atomic.Int64 // replies that left before that of an earlier request
}

// run makes so many calls, through connections that pass so many octets in the mean. A
// short run ends earlier.
func (e *endurance) run(t *testing.T, total, mean int, short bool) {
	n := scamptest.New(t)
	tcp := &scamp.Options{Listen: net.Listen}
	for i := range 2 {
		pair := n.KeyPair()
		n.Allow(pair, "main:ALL")
		svc, err := n.Bus(tcp).NewService(fmt.Sprint("echo", i), &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Endurance.echo", e.echo, nil)
		serve(t, svc)
	}
	k := newCutter(t, e.seed, mean)
	bus := n.Bus(&scamp.Options{Dial: k.dial})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	if short {
		timer := time.AfterFunc(enduranceTime, func() {
			scamptest.Eventually(func() bool { return k.cuts.Load() >= enduranceCuts && e.answered.Load() >= 2*enduranceLeast })
			cancel()
		})
		defer timer.Stop()
	}
	var callers sync.WaitGroup
	for c := range enduranceCallers {
		calls := total / enduranceCallers
		if c < total%enduranceCallers {
			calls++
		}
		callers.Go(func() { e.call(ctx, bus, c, calls) })
	}
	callers.Wait()
	e.took, e.cuts = time.Since(began), k.cuts.Load()
}

// call makes the calls of one caller, one after the other. It uses one buffer for all
// bodies: a call that has ended reads its request no more.
func (e *endurance) call(ctx context.Context, bus *scamp.Bus, caller, calls int) {
	var body, want []byte
	for i := 0; i < calls && ctx.Err() == nil; i++ {
		body = e.octets(body[:0], caller, i, question)
		want = e.octets(want[:0], caller, i, answer)
		e.tally.Issue(caller, i)
		began := time.Now()
		limited, cancel := context.WithTimeout(context.Background(), enduranceLimit)
		reply, err := bus.Call(limited, &scamp.Request{Action: "Endurance.echo", Data: body})
		var got []byte
		if err == nil {
			got, err = reply.Bytes(0)
		}
		cancel()
		if late := time.Since(began) - enduranceLimit; late > time.Second {
			e.tally.Late(caller, i, "ended %v after its deadline", late)
		}
		switch ran := ranOf(err); {
		case err == nil:
			if !bytes.Equal(got, want) {
				e.tally.Wrong(caller, i, "%d octets came back that begin with %x: want %d that begin with %x", len(got), got[:min(len(got), 16)], len(want), want[:16])
			}
			e.tally.End(caller, i, ledger.OK)
		case ran == scamp.RanNo:
			e.tally.End(caller, i, ledger.NotRun)
			<-time.After(200 * time.Millisecond) // until somebody can be reached again
		case ran == scamp.RanMaybe:
			e.tally.End(caller, i, ledger.MaybeRun)
		case ran == scamp.RanYes:
			e.tally.End(caller, i, ledger.Error)
		default:
			e.tally.End(caller, i, ledger.Outcome(err.Error()))
		}
	}
}

// echo answers the call that its request names: some at once, some after others.
func (e *endurance) echo(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	body, err := req.Bytes()
	if err != nil {
		return err
	}
	if len(body) < 16 {
		return fmt.Errorf("%d octets arrived, want at least 16", len(body))
	}
	caller, call := int(int32(binary.BigEndian.Uint32(body))), int(int32(binary.BigEndian.Uint32(body[4:])))
	e.tally.Run(caller, call)
	if want := e.octets(nil, caller, call, question); !bytes.Equal(body, want) {
		e.tally.Wrong(caller, call, "%d octets arrived that begin with %x: want %d that begin with %x", len(body), body[:16], len(want), want[:16])
	}
	turn := e.arrived.Add(1)
	switch dice := e.dice(caller, call, 3); {
	case dice%16 == 0:
		<-time.After(time.Duration(dice>>8%1000) * time.Microsecond)
	case dice%4 == 0:
		runtime.Gosched()
	}
	if e.answered.Load() > turn {
		e.overtook.Add(1)
	} else {
		e.answered.Store(turn) // near enough: it says whether any order was changed
	}
	return rep.SetBytes(e.octets(nil, caller, call, answer))
}

const (
	question = 1
	answer   = 2
)

// octets appends the body of a call. Both ends know it from the number of the call and
// the seed: whose it is, octets that occur nowhere else, and then some of the pattern.
func (e *endurance) octets(b []byte, caller, call int, what uint64) []byte {
	dice := e.dice(caller, call, what)
	b = binary.BigEndian.AppendUint32(b, uint32(caller))
	b = binary.BigEndian.AppendUint32(b, uint32(call))
	b = binary.BigEndian.AppendUint64(b, dice)
	most := 64
	switch {
	case dice%1000 == 0:
		most = 50000
	case dice%20 == 0:
		most = 4000
	}
	from := int(dice >> 20 % 10000)
	return append(b, enduranceOctets[from:from+int(dice>>40)%most]...)
}

// dice is a random number that belongs to a call.
func (e *endurance) dice(caller, call int, what uint64) uint64 {
	x := e.seed ^ uint64(caller)<<40 ^ uint64(call)<<3 ^ what
	for range 2 { // as SplitMix64 does
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}

var enduranceOctets = func() []byte {
	b := make([]byte, 60000)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}()
