package scamp_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// FuzzTLSFirstBytes connects to a service and sends octets that are no handshake, or
// a handshake with octets changed, or one after which no header line comes. It stays
// connected and reads; the service has closed within 5 s, whatever came, and nothing
// of the connection is left (THREATS 4.1). The clock is synthetic.
func FuzzTLSFirstBytes(f *testing.F) {
	scamptest.New(f).KeyPair() // made once; no fuzzing should wait for it
	for _, octets := range []string{
		"", "\x16", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HEADER 0 2\r\n{}END\r\n", "\x80\x2e\x01\x03\x01\x00\x15",
		"\x15\x03\x01\x00\x02\x02\x28", "\x16\x03\x01\xff\xff", "\x17\x03\x03\x00\x01x", "HEADER 0", "PING", "\x16\x03\x01\x00\x04\x01\x00\x00\x00",
	} {
		for how := range byte(3) {
			f.Add([]byte(octets), how, uint16(3))
		}
	}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		hello := clientHello(v)
		f.Add(hello, byte(0), uint16(0))
		f.Add(hello[:len(hello)/2], byte(0), uint16(7))
		f.Add(append(hello, hello...), byte(0), uint16(50))
		f.Add(append(hello, "\x14\x03\x03\x00\x01\x01"...), byte(0), uint16(0))
	}
	f.Fuzz(func(t *testing.T, octets []byte, how byte, piece uint16) {
		synctest.Test(t, func(t *testing.T) { firstBytes(t, octets, how%3, int(piece)+1) })
	})
}

// clientHello is what a client sends first.
func clientHello(version uint16) []byte {
	here, there := net.Pipe()
	hello := make([]byte, 4096)
	go tls.Client(there, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}).Handshake() // ends when here is closed
	n, err := here.Read(hello)
	for m := 0; err == nil && n < 5+int(hello[3])<<8+int(hello[4]); n += m {
		m, err = here.Read(hello[n:])
	}
	here.Close()
	return hello[:n]
}

// firstBytes sends octets as how says: 0 instead of a handshake, 1 after one, 2 in
// place of the second flight of one. The octets go in pieces.
func firstBytes(t *testing.T, octets []byte, how byte, piece int) {
	n := scamptest.New(t)
	s := n.Serve("lab", lab)
	raw, err := n.Dial(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	began := time.Now()
	var c io.ReadWriter = raw
	switch how {
	case 1:
		tc := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		c = tc
		octets = bytes.ReplaceAll(octets, []byte("\n"), nil) // whoever sends a header line may stay
	case 2:
		octets = append(clientHello(tls.VersionTLS13), octets...)
	}
	var sender sync.WaitGroup
	sender.Go(func() { // ends when all is sent, or the service has closed
		for p := octets; len(p) > 0; p = p[min(piece, len(p)):] {
			if _, err := c.Write(p[:min(piece, len(p))]); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	closed := make(chan struct{})
	go func() { io.Copy(io.Discard, c); close(closed) }() // ends when the service has closed
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatalf("%q, sent as %d says: the service does not close", octets, how)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%q, sent as %d says: closed after %v, want at most 5s", octets, how, took)
	}
	raw.Close()
	sender.Wait()
	s.Stop()
}
