package discovery

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// White box: what the kernel counts cannot be made in synthetic time.

// TestFragmentWatch: each alarm is told once, and its end once.
func TestFragmentWatch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		count func(at int) uint64                     // failures of the kernel since it started, each second
		open  func(at int) uint64                     // datagrams that wait for the rest
		voice func(at int) (silent int, heardAgo int) // instances that need fragments
		want  string                                  // second and text of each line
	}{
		{name: "all is well", count: func(int) uint64 { return 7 }},
		{name: "a lossy link", count: func(at int) uint64 { return uint64(at) }, open: func(int) uint64 { return 40 }},
		{name: "a flood for 20 s", count: func(at int) uint64 { return uint64(100 * min(max(at-5, 0), 20)) },
			want: "6 cannot be put together|35 come through again"},
		{name: "a flood that waits", open: func(at int) uint64 { return uint64(100 * min(at, max(60-at, 0))) },
			want: "5 cannot be put together|56 come through again"},
		{name: "the count begins anew", count: func(at int) uint64 { return uint64(1000 - 100*(at/30)) }},
		{name: "one is silent", voice: func(at int) (int, int) { return 1, at }},
		{name: "one, and a failure", count: func(at int) uint64 { return uint64(at / 20) },
			voice: func(at int) (int, int) { return min(at/15, 1), at }, want: "20 no announcement over one datagram"},
		{name: "two, then forgotten, then back", voice: func(at int) (int, int) {
			switch {
			case at < 15:
				return 0, at
			case at < 30:
				return 2, at
			case at < 50:
				return 0, at
			}
			return 0, 0
		}, want: "15 no announcement over one datagram|50 come through again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := NewDirectory(nil)
				defer d.Close()
				var log bytes.Buffer
				report := newReporter(slog.New(slog.NewTextHandler(&log, nil)), d.limits, d.counters)
				var w fragmentWatch
				var said []string
				for at := 1; at <= 90; at++ {
					time.Sleep(time.Second)
					var failures uint64
					if tt.count != nil {
						failures = w.fails(tt.count(at))
					}
					silent, ago := 0, 0
					if tt.voice != nil {
						silent, ago = tt.voice(at)
					}
					log.Reset()
					var open uint64
					if tt.open != nil {
						open = tt.open(at)
					}
					w.judge(failures, open, silent, time.Now().Add(-time.Duration(ago)*time.Second), d, report)
					if log.Len() > 0 {
						said = append(said, time.Duration(at*int(time.Second)).String()+" "+log.String())
					}
				}
				want := strings.FieldsFunc(tt.want, func(r rune) bool { return r == '|' })
				if len(said) != len(want) {
					t.Fatalf("said %q: want %q", said, want)
				}
				for i := range want {
					when, text, _ := strings.Cut(want[i], " ")
					if !strings.HasPrefix(said[i], when+"s ") || !strings.Contains(said[i], text) {
						t.Errorf("said %q: want after %s s %q", said[i], when, text)
					}
				}
			})
		})
	}
}

func TestReassembly(t *testing.T) {
	for _, tt := range []struct {
		text string
		want uint64
	}{
		{"Ip: Forwarding ReasmOKs ReasmFails FragOKs\nIp: 1 5 42 7\nIcmp: InMsgs\nIcmp: 1\n", 42},
		{"Icmp: ReasmFails\nIcmp: 1\nIp: A ReasmFails\nIp: 1 18446744073709551615\n", 1<<64 - 1},
		{"Ip: A ReasmFails\nIp: 1\n", 0},
		{"Ip: A ReasmFails\nIp: 1 -2\n", 0},
		{"Ip: A B\nIp: 1 2\n", 0},
		{"Ip: A ReasmFails\n", 0},
		{"", 0},
	} {
		if n := parseSNMP([]byte(tt.text)); n != tt.want {
			t.Errorf("parseSNMP(%q) = %d: want %d", tt.text, n, tt.want)
		}
	}
	for _, tt := range []struct {
		text string
		want uint64
	}{
		{"sockets: used 12\nUDP: inuse 3 mem 1\nFRAG: inuse 1725 memory 4194304\n", 1725},
		{"FRAG: memory 5 inuse 6\n", 6},
		{"FRAG: inuse\n", 0},
		{"FRAG: inuse x\n", 0},
		{"", 0},
	} {
		if n := parseSockstat([]byte(tt.text)); n != tt.want {
			t.Errorf("parseSockstat(%q) = %d: want %d", tt.text, n, tt.want)
		}
	}
}
