package mux_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestKeyUpdatesWhilePeerStopsReading: a peer of TLS 1.3 that asks for new keys and
// reads nothing has its request answered inside Read, under the lock that every
// write needs, while the network takes nothing. The reader goes on all the same.
//
// crypto/tls cannot ask for a key update, so this speaks the records by hand: with
// the secret of the handshake's key log.
func TestKeyUpdatesWhilePeerStopsReading(t *testing.T) {
	near, far := tcp(t)
	defer far.Close()
	near.(*net.TCPConn).SetWriteBuffer(4 << 10)
	far.(*net.TCPConn).SetReadBuffer(4 << 10)
	var keys bytes.Buffer
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &keys})
	link := mux.NewLink(near)
	server := tls.Server(link, &tls.Config{Certificates: []tls.Certificate{certificate()}, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }() // ends with the handshake
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("SKIP: the handshake took %s, this speaks TLS_AES_128_GCM_SHA256 only", tls.CipherSuiteName(suite))
	}
	out := newRecords(t, keys.String())

	var arrived atomic.Int64
	e := run(t, server, link, mux.Options{Accept: func(m *mux.Inbound) { arrived.Add(1); m.Discard() }})
	body := octets(1 << 20)
	for range 32 { // fill everything there is to fill
		if _, err := e.Send(reply(), mux.Body{Data: body}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const messages = 200
	for no := range uint64(messages) {
		if _, err := far.Write(append(out.keyUpdate(), out.data(header(no, jsRequest)+eof(no))...)); err != nil {
			t.Fatalf("after %d messages: %v", no, err)
		}
	}
	waitFor(t, "all messages", func() bool { return arrived.Load() == messages || e.Err() != nil })
	if err := e.Err(); err != nil {
		t.Error(err)
	}
	io.CopyN(io.Discard, far, 32<<10) // and the writer goes on when the peer reads again
	if err := e.Err(); err != nil {
		t.Error(err)
	}
}

// records makes the TLS 1.3 records of a client (RFC 8446, 5.2 and 7.2).
type records struct {
	t      *testing.T
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newRecords(t *testing.T, keyLog string) *records {
	t.Helper()
	for line := range strings.Lines(keyLog) {
		if fields := strings.Fields(line); fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(fields[2])
			if err != nil {
				t.Fatal(err)
			}
			r := &records{t: t, secret: secret}
			r.rekey()
			return r
		}
	}
	t.Fatalf("no CLIENT_TRAFFIC_SECRET_0 in %q", keyLog)
	return nil
}

// expand is HKDF-Expand-Label without a context.
func (r *records) expand(label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 "+label)))
	info = append(info, "tls13 "+label...)
	info = append(info, 0)
	b, err := hkdf.Expand(sha256.New, r.secret, string(info), n)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *records) rekey() {
	block, err := aes.NewCipher(r.expand("key", 16))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.aead, err = cipher.NewGCM(block); err != nil {
		r.t.Fatal(err)
	}
	r.iv, r.seq = r.expand("iv", 12), 0
}

func (r *records) record(kind byte, body []byte) []byte {
	inner := append(bytes.Clone(body), kind)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(inner)+r.aead.Overhead()))
	nonce := bytes.Clone(r.iv)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^r.seq)
	r.seq++
	return r.aead.Seal(head, nonce, inner, head)
}

func (r *records) data(body string) []byte { return r.record(23, []byte(body)) }

// keyUpdate is a key update that asks for one in return, after which we use the
// next keys ourselves.
func (r *records) keyUpdate() []byte {
	b := r.record(22, []byte{24, 0, 0, 1, 1})
	r.secret = r.expand("traffic upd", 32)
	r.rekey()
	return b
}
