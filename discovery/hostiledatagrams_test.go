package discovery_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// TestHostileDatagrams is what THREATS 2.3 D wants of the whole directory; what single
// steps do is tested beside each.
func TestHostileDatagrams(t *testing.T) {
	t.Run("D1_every_octet_flipped", everyOctetFlipped)
	t.Run("D7_long_datagrams", longDatagrams)
	t.Run("D11_letters_that_fold", lettersThatFold)
	t.Run("D19_mutated_certificates", mutatedCertificates)
	t.Run("D24_sectors", sectorTricks)
}

// long tells whether there is time for floods of full length.
func long() bool { return os.Getenv("SCAMP_TEST_LONG") != "" }

// knownRecords returns what is held of the certificate of the samples, as a file has it.
func knownRecords(d *discovery.Directory) string {
	var list []string
	for _, e := range d.All() {
		if e.Peer.Certificate.SHA256 == mustCertificate("sample").SHA256 {
			list = append(list, string(e.Announcement.Record()))
		}
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// everyOctetFlipped: three announcements, two of them recorded, and some 7,000 packets that differ
// from them in one octet. An Observer takes them from the air.
func everyOctetFlipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := newDirectory(t, &discovery.DirectoryOptions{Limits: discovery.Limits{VerifyRate: 1 << 20, VerifyRateUnknown: 1 << 20}})
		c := discovery.NewLoopback()
		stop := run(t, discovery.NewObserver(c.Join(), d, &discovery.ObserverOptions{Log: textLog(&log)}).Run)
		start, sent := time.Now(), 0
		send := func(packet []byte) {
			c.Send(t.Context(), discovery.Iface{}, packet)
			if sent++; sent%200 == 0 { // the sender must not outrun the segment's queue
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
		}
		samples := [][]byte{fixtures.Bytes("announce/v3_ms.packet"), fixtures.Bytes("announce/v3_seconds.packet"), service{}.announce().Packet()}
		for _, sample := range samples {
			send(sample)
		}
		synctest.Wait()
		want := knownRecords(d)
		if n := strings.Count(want, "BEGIN CERTIFICATE"); n != 3 {
			t.Fatalf("%d of 3 announcements are held", n)
		}
		step := 1
		if raceEnabled {
			step = 5
		}
		for _, sample := range samples {
			for i := 0; i < len(sample); i += step {
				packet := bytes.Clone(sample)
				packet[i] ^= byte(1 << (i % 8))
				send(packet)
				if i%(40*step) == 0 {
					send(samples[i/(40*step)%3])
				}
			}
		}
		synctest.Wait()
		if got := knownRecords(d); got != want {
			t.Errorf("after %d packets with one octet changed the known records are\n%s\nwant\n%s", sent, got, want)
		}
		s := d.Stats()
		if s.Unauthorized > 1024 || s.Counters["announce_badsig"] == 0 || s.Counters["announce_badkey"] == 0 {
			t.Errorf("%+v: want at most 1,024 unknown records, and both certificates and signatures refused", s)
		}
		stop()
		lines := map[string]int{}
		for line := range strings.Lines(log.String()) {
			_, kind, _ := strings.Cut(line, "error=")
			lines[strings.Join(strings.Fields(kind)[:min(2, len(strings.Fields(kind)))], " ")]++
		}
		for kind, n := range lines {
			if most := 2 + int(time.Since(start).Seconds()); n > 3*most { // texts of three counters begin alike
				t.Errorf("%d log lines of %s in %v: want at most one a second of each kind", n, kind, time.Since(start))
			}
		}
	})
}

// longDatagrams: as long as a datagram can be, or longer than may be held once
// inflated, 10,000 times.
func longDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		good, packets := honestAir(20)
		for _, p := range packets {
			if err := d.Receive(discovery.Datagram{Data: p}); err != nil {
				t.Fatal(err)
			}
		}
		x := newAir(t, 7, good)
		hostile := [][]byte{bomb(256<<10 + 1), x.bomb()}
		for range 18 {
			hostile = append(hostile, x.long())
		}
		times := 10_000
		if raceEnabled && !long() {
			times = 1_000
		}
		flood := func(from, to int) {
			for i := from; i < to; i++ {
				p := hostile[i%len(hostile)]
				if p[0] != 0x78 {
					copy(p[1:], fmt.Sprint(i)) // as if never seen
				}
				if d.Receive(discovery.Datagram{Data: p}) == nil {
					t.Fatalf("%.20q... of %d octets was taken", p, len(p))
				}
				if i%1000 == 999 {
					time.Sleep(time.Second)
				}
			}
		}
		flood(0, times/10)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		flood(times/10, times)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 && !raceEnabled {
			t.Errorf("%d long datagrams: the heap grows by %d KiB: want less than 2 MiB", times, grown>>10)
		}
		if n := len(d.Find(discovery.Query{Action: "Sample.echo"})); n != 20 {
			t.Errorf("%d good services are left: want 20", n)
		}
	})
}

// lettersThatFold: U+212A and U+017F fold to k and s where Unicode decides.
func lettersThatFold(t *testing.T) {
	z, err := discovery.ParseAuthorized(strings.NewReader(mustCertificate("other").Fingerprint + " main:tas\u212A, ma\u017Fter:ALL, main:\u017Fecret.read\n"))
	if err != nil || len(z.Warnings) != 3 {
		t.Fatalf("rules %v, error %v: want each token doubted", z.Warnings, err)
	}
	for i, names := range [][3]string{
		{"main", `tas\u212A`, "run"}, {"main", "task", `wor\u212A`}, {`ma\u017Fter`, "task", "run"},
		{"main", `\u017Fecret`, "read"}, {"main", "secret", `\u017Fecret`}, {`tas\u212A`, "task", "run"},
		{"main", "task", "run"}, {"master", "task", "run"}, {"main", "secret", "read"},
	} {
		d := newDirectory(t, &discovery.DirectoryOptions{Authorized: z})
		x := newAir(t, 1, nil)
		json := fmt.Sprintf(`[3,"web:AAECAwQFBgcICQoLDA0ODxAR","%s",1,5000,"beepish+tls://10.0.0.5:7",["json"],[["%s",["%s","",1]]],%d]`, names[0], names[1], names[2], epoch.UnixMilli())
		if err := d.Receive(discovery.Datagram{Data: x.rogues[0].sign(json)}); err != nil {
			t.Fatalf("%s: %v", json, err)
		}
		for _, q := range []discovery.Query{
			{Action: "task.run"}, {Action: "task.work"}, {Action: "secret.read"}, {Action: "secret.secret"}, {Action: "task.run", Sector: "master"}, {Action: "task.run", Sector: "task"},
			{Action: "tas\u212A.run"}, {Action: "task.wor\u212A"}, {Action: "\u017Fecret.read"}, {Action: "task.run", Sector: "ma\u017Fter"},
		} {
			if routes := d.Find(q); len(routes) != 0 {
				t.Errorf("announcement %d, %q: %v finds %s: want nobody", i, names, q, idents(routes))
			}
		}
	}
}

// mutatedCertificates: copies of one announcement under certificates that differ in a
// few bits. Half of them are signed well, so their budget is all that bounds them.
func mutatedCertificates(t *testing.T) {
	n := 4_000
	switch {
	case long():
		n = 100_000
	case raceEnabled:
		n = 1_000
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, &discovery.DirectoryOptions{Limits: discovery.Limits{VerifyRate: 1 << 20, VerifyRateUnknown: 1 << 20}})
		heard, packets := honestAir(20)
		for _, p := range packets {
			d.Receive(discovery.Datagram{Data: p})
		}
		want := knownRecords(d)
		x := newAir(t, 19, heard)
		for range n {
			d.Receive(discovery.Datagram{Data: x.mutated()})
		}
		s := d.Stats()
		if s.Unauthorized == 0 || s.Unauthorized > 1024 || s.Remembered > 4096+20 || n > 10_000 && s.Counters["announce_over_budget"] == 0 {
			t.Errorf("after %d mutated certificates %+v: want at most 1,024 held and 4,096 remembered", n, s)
		}
		if got := knownRecords(d); got != want || s.Instances != 20 {
			t.Errorf("%d services can be called and the known records are\n%s\nwant 20 and\n%s", s.Instances, got, want)
		}
	})
}

// sectorTricks: a rule for all of one sector is one for no other, however it is spelled.
func sectorTricks(t *testing.T) {
	for _, tt := range []struct {
		sector      string // as announced, in a vector
		main, admin bool   // found there
	}{
		{"main", true, false}, {"MAIN", true, false}, {"mAiN", true, false},
		{"main:x", false, false}, {"main:", false, false}, {":main", false, false}, {"", false, false}, {"main ", false, false}, {"main\\u0000", false, false},
		{"admin", false, false}, {"ADMIN", false, false}, {"main:admin", false, false}, {"main,admin", false, false}, {"ALL", false, false}, {"*", false, false}, {".", false, false},
	} {
		d := newDirectory(t, &discovery.DirectoryOptions{Authorized: rules("main:ALL")})
		x := newAir(t, 1, nil)
		json := fmt.Sprintf(`[3,"web:AAECAwQFBgcICQoLDA0ODxAR","main",1,5000,"beepish+tls://10.0.0.5:7",["json",{"vmaj":4,"acname":["run"],"acns":["Task"],"acsec":["%s"],"acenv":["json"]}],[],%d]`, tt.sector, epoch.UnixMilli())
		if err := d.Receive(discovery.Datagram{Data: x.rogues[0].sign(json)}); err != nil {
			t.Fatalf("%s: %v", json, err)
		}
		for sector, want := range map[string]bool{"main": tt.main, "MAIN": tt.main, "admin": tt.admin, "Admin": tt.admin, "main:admin": false, tt.sector: tt.main} {
			if got := len(d.Find(discovery.Query{Action: "Task.run", Sector: sector})) > 0; got != want && sector != "" {
				t.Errorf("announced in sector %q, asked for %q: found %t, want %t", tt.sector, sector, got, want)
			}
		}
	}
}
