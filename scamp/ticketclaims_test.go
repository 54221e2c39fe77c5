package scamp_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// ticketKey is the key that the tickets of fixtures are signed with.
func ticketKey(t testing.TB) (*rsa.PrivateKey, *scamp.TicketKeys) {
	t.Helper()
	block, _ := pem.Decode(fixtures.Bytes("keys/ticket.key.pem"))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys, err := scamp.ParseTicketKeys(fixtures.Bytes("keys/ticket.pub.pem"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(*rsa.PrivateKey), keys
}

// signTicket signs any text as if it were the fields of a ticket.
func signTicket(t testing.TB, key *rsa.PrivateKey, fields string) scamp.Ticket {
	t.Helper()
	sum := sha256.Sum256([]byte(fields))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return scamp.Ticket(fields + "," + base64.RawURLEncoding.EncodeToString(signature))
}

// ticketProblem returns what is wrong with a ticket by its error, "" for nothing.
func ticketProblem(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var te *scamp.TicketError
	if !errors.As(err, &te) || !errors.Is(err, scamp.ErrDenied) {
		t.Errorf("error %v: want a *TicketError that is ErrDenied", err)
		return "?"
	}
	return te.Problem.String()
}

// PROTOCOL 10.2, vectors of other implementations' rules.
func ticketVectors(t *testing.T) {
	var vectors struct {
		Cases []struct {
			Name, Ticket, Why string
			Now               int64
			Valid             bool
		}
	}
	fixtures.JSON("tickets.json", &vectors)
	_, keys := ticketKey(t)
	for _, tt := range vectors.Cases {
		c, err := keys.Verify(scamp.Ticket(tt.Ticket), time.Unix(tt.Now, 0), nil)
		if (err == nil) != tt.Valid || (c != nil) != tt.Valid {
			t.Errorf("%s (%s): claims %v, error %v, want valid %v", tt.Name, tt.Why, c, err, tt.Valid)
		}
		ticketProblem(t, err)
	}
	if len(vectors.Cases) < 20 {
		t.Errorf("%d cases, want 20", len(vectors.Cases))
	}
}

// THREATS T1, T3: times and grammar, with a fixed clock and a good signature each.
func TestTicketFields(t *testing.T) {
	const now = 1_700_000_000
	key, keys := ticketKey(t)
	many := strings.TrimSuffix(strings.Repeat("7+", 4096), "+")
	for _, tt := range []struct{ fields, want string }{
		{"1,42,100,1700000000,3600", ""},
		{"1,42,100,1700000000,3600,", ""},
		{"1,42,100,1700000000,3600,1", ""},
		{"1,42,100,1700000000,3600,1+2+30", ""},
		{"1,42,100,1700000000,3600,30+1+1", ""}, // order and repetition mean nothing
		{"1,0,0,0,9223372036854775807", ""},
		{"1,9223372036854775807,9223372036854775807,1700000000,1", ""},
		{"1,042,0100,01700000000,03600,007", ""},
		{"1,42,100,1,9223372036854775807", ""}, // the sum would overflow
		{"1,42,100,1699999999,2", ""},
		{"1,42,100,1700000000,1", ""},
		{"1,42,100,1700000000,3600," + many, ""},
		{"1,42,100,1700000000,3600,9223372036854775807", ""},

		{"1,42,100,1699999999,1", "expired"},
		{"1,42,100,1699996400,3600", "expired"},
		{"1,42,100,1700000000,0", "expired"},
		{"1,42,100,0,0", "expired"},
		{"1,42,100,0,1700000000", "expired"},
		{"1,42,100,1700000001,3600", "not valid yet"},
		{"1,42,100,9223372036854775807,1", "not valid yet"},
		{"1,42,100,9223372036854775807,9223372036854775807", "not valid yet"},
		{"1,42,100,1700000001,0", "not valid yet"},

		{"1,42,100,1700000000,-1", "malformed"},
		{"1,42,100,1700000000,+1", "malformed"},
		{"1,42,100,1700000000,1e3", "malformed"},
		{"1,42,100,1700000000,1.0", "malformed"},
		{"1,42,100,1700000000, 3600", "malformed"},
		{"1,42,100,1700000000,3600 ", "malformed"},
		{"1, 42,100,1700000000,3600", "malformed"},
		{"1,42 ,100,1700000000,3600", "malformed"},
		{"1,42,100,1700000000,0x10", "malformed"},
		{"1,42,100,1700000000,3_600", "malformed"},
		{"1,42,100,1700000000,9223372036854775808", "malformed"},
		{"1,42,100,9223372036854775808,1", "malformed"},
		{"1,9223372036854775808,100,1700000000,3600", "malformed"},
		{"1,42,18446744073709551616,1700000000,3600", "malformed"},
		{"1,-42,100,1700000000,3600", "malformed"},
		{"1,,100,1700000000,3600", "malformed"},
		{"1,42,,1700000000,3600", "malformed"},
		{"1,42,100,,3600", "malformed"},
		{"1,42,100,1700000000,", "malformed"},
		{"1,42,100,1700000000", "malformed"},
		{"1,42,100", "malformed"},
		{"1", "malformed"},
		{"", "malformed"},
		{",,,,,", "malformed"},
		{"1,42,100,1700000000,3600,1,2", "malformed"},
		{"1,42,100,1700000000,3600,1,", "malformed"},
		{"1,42,100,1700000000,3600,,,,,", "malformed"},
		{"1,42,100,1700000000,3600,1++2", "malformed"},
		{"1,42,100,1700000000,3600,+1", "malformed"},
		{"1,42,100,1700000000,3600,1+", "malformed"},
		{"1,42,100,1700000000,3600,+", "malformed"},
		{"1,42,100,1700000000,3600,-1", "malformed"},
		{"1,42,100,1700000000,3600,1 2", "malformed"},
		{"1,42,100,1700000000,3600,1+x", "malformed"},
		{"1,42,100,1700000000,3600,9223372036854775808", "malformed"},
		{"1,42,100,1700000000,3600," + many + "+7", "malformed"}, // 4,097
		{"1,٤٢,100,1700000000,3600", "malformed"},
		{"1,42\n,100,1700000000,3600", "malformed"},
		{"0,42,100,1700000000,3600", "malformed"},
		{"2,42,100,1700000000,3600", "malformed"},
		{"2,7,100", "malformed"},
		{"3,42,100,1700000000,3600", "malformed"},
		{"01,42,100,1700000000,3600", "malformed"},
		{"1 ,42,100,1700000000,3600", "malformed"},
		{"11,42,100,1700000000,3600", "malformed"},
	} {
		limits := new(scamp.Limits)
		if len(tt.fields) > 7000 {
			limits.MaxTicket = 32 << 10
		}
		_, err := keys.Verify(signTicket(t, key, tt.fields), time.Unix(now, 0), limits)
		if got := ticketProblem(t, err); got != tt.want {
			t.Errorf("Verify of fields %.60q: %q (%v), want %q", tt.fields, got, err, tt.want)
		}
	}
}

// THREATS T2: whatever octet changes, the ticket is no ticket.
func TestTicketEveryOctetFlipped(t *testing.T) {
	key, keys := ticketKey(t)
	good := signTicket(t, key, "1,42,100,1700000000,3600,1+2")
	now := time.Unix(1_700_000_000, 0)
	if _, err := keys.Verify(good, now, nil); err != nil {
		t.Fatal(err)
	}
	for i := range len(good) {
		for _, bit := range []byte{1, 2, 8, 16, 32, 128} {
			bad := []byte(good)
			bad[i] ^= bit
			if c, err := keys.Verify(scamp.Ticket(bad), now, nil); err == nil {
				// The standard alphabet is accepted, and the last character has bits that mean nothing.
				if equalSignature(string(good), string(bad)) {
					continue
				}
				t.Fatalf("Verify with octet %d changed by %#x: %+v, want an error", i, bit, c)
			}
		}
	}
}

// equalSignature says whether two tickets are spelled differently only.
func equalSignature(a, b string) bool {
	parts := func(s string) string {
		i := strings.LastIndexByte(s, ',')
		raw, _ := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(s[i+1:]))
		return s[:i] + string(raw)
	}
	return parts(a) == parts(b)
}

func TestTicketSignatures(t *testing.T) {
	key, keys := ticketKey(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	const fields = "1,42,100,1700000000,3600,1+2"
	good := string(signTicket(t, key, fields))
	sha1Sum := sha1.Sum([]byte(fields))
	old, _ := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sha1Sum[:])
	sum := sha256.Sum256([]byte(fields))
	pss, _ := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil)
	signature := good[strings.LastIndexByte(good, ',')+1:]
	for _, tt := range []struct{ name, ticket, want string }{
		{"as it is", good, ""},
		{"space around", " \t" + good + "\r\n", ""},
		{"padding", good + "==", ""},
		{"standard alphabet", fields + "," + strings.NewReplacer("-", "+", "_", "/").Replace(signature), ""},
		{"another key", string(signTicket(t, other, fields)), "bad signature"},
		{"SHA-1", fields + "," + base64.RawURLEncoding.EncodeToString(old), "bad signature"},
		{"PSS", fields + "," + base64.RawURLEncoding.EncodeToString(pss), "bad signature"},
		{"empty signature", fields + ",", "bad signature"},
		{"none", fields, "bad signature"}, // its last field reads as one
		{"junk", fields + ",!!!!", "malformed"},
		{"line end in it", fields + "," + signature[:8] + "\n" + signature[8:], "malformed"},
		{"empty", "", "malformed"},
		{"no comma", "ticket", "malformed"},
		{"8 KiB and more", fields + "," + strings.Repeat("A", 8192), "malformed"},
	} {
		_, err := keys.Verify(scamp.Ticket(tt.ticket), time.Unix(1_700_000_000, 0), nil)
		if got := ticketProblem(t, err); got != tt.want && (tt.name != "none" || got == "") {
			t.Errorf("%s: %q (%v), want %q", tt.name, got, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), signature[:16]) {
			t.Errorf("%s: error %q shows the ticket", tt.name, err)
		}
	}
	var none *scamp.TicketKeys
	if _, err := none.Verify(scamp.Ticket(good), time.Unix(1_700_000_000, 0), nil); ticketProblem(t, err) != "no key" {
		t.Errorf("without a key: %v, want one that names auth.ticket_verify_key", err)
	}
}

// What is signed is what is verified.
func TestTicketSign(t *testing.T) {
	key, keys := ticketKey(t)
	for _, c := range []scamp.TicketClaims{
		{User: 42, Client: 100, Start: 1_700_000_000, Length: 3600, Privileges: []int64{1, 2, 30}},
		{User: 42, Client: 100, Start: 1_700_000_000, Length: 3600, Short: true},
		{User: 0, Client: 0, Start: 0, Length: math.MaxInt64},
	} {
		ticket, err := c.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := keys.Verify(ticket, time.Unix(1_700_000_000, 0), nil)
		if err != nil || got.User != c.User || got.Client != c.Client || got.Start != c.Start || got.Length != c.Length || got.Short != c.Short || !slices.Equal(got.Privileges, c.Privileges) {
			t.Errorf("Verify of what %+v signs: %+v, error %v", c, got, err)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", ticket, ticket, ticket, ticket); strings.Contains(s, "1,") {
			t.Errorf("a ticket prints as %q, want a placeholder", s)
		}
	}
	for _, c := range []scamp.TicketClaims{
		{User: -1, Length: 1}, {Client: -1, Length: 1}, {Start: -1, Length: 1}, {Length: -1}, {},
		{Length: 1, Privileges: []int64{-1}}, {Length: 1, Short: true, Privileges: []int64{1}},
	} {
		if ticket, err := c.Sign(key); err == nil {
			t.Errorf("Sign of %+v: %d octets, want an error", c, len(ticket))
		}
	}
}

// A real ticket of others: PROTOCOL 10, valid from 2018-03-22 until 2028-03-22.
func ticketReference(t *testing.T) {
	dir := os.Getenv("SCAMP_REFERENCE")
	if dir == "" {
		t.Skip("SKIP: SCAMP_REFERENCE is not set: no real ticket to verify")
	}
	text, err := os.ReadFile(filepath.Join(dir, "ticket_verify_public_key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := scamp.ParseTicketKeys(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(dir, "processor-dispatch.token"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		now  int64
		want string
	}{
		{1521754710, "not valid yet"}, {1521754711, ""}, {1521754711 + 315576060 - 1, ""}, {1521754711 + 315576060, "expired"},
	} {
		_, err := keys.Verify(scamp.Ticket(token), time.Unix(tt.now, 0), nil)
		if got := ticketProblem(t, err); got != tt.want {
			t.Errorf("at %d: %q, want %q", tt.now, got, tt.want)
		}
	}
}

// FuzzTicket: accepted only if signed and in time, and what is accepted says the same
// when it is signed anew (THREATS 4.1).
func FuzzTicket(f *testing.F) {
	var vectors struct{ Cases []struct{ Ticket string } }
	fixtures.JSON("tickets.json", &vectors)
	for _, c := range vectors.Cases {
		if i := strings.LastIndexByte(c.Ticket, ','); i >= 0 {
			f.Add(c.Ticket[:i], int64(1_700_000_000), true)
		}
		f.Add(c.Ticket, int64(1_700_000_000), false)
	}
	key, keys := ticketKey(f)
	f.Fuzz(func(t *testing.T, text string, now int64, sign bool) {
		ticket := scamp.Ticket(text)
		if sign {
			ticket = signTicket(t, key, text)
		}
		c, err := keys.Verify(ticket, time.Unix(now, 0), nil)
		if err != nil {
			ticketProblem(t, err)
			return
		}
		if now < c.Start || now-c.Start >= c.Length || c.User < 0 || c.Client < 0 {
			t.Fatalf("%q holds at %d: %+v", ticket, now, c)
		}
		again, err := c.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		d, err := keys.Verify(again, time.Unix(now, 0), nil)
		if err != nil || d.User != c.User || d.Client != c.Client || d.Short != c.Short || d.Start != c.Start || d.Length != c.Length || !slices.Equal(d.Privileges, c.Privileges) {
			t.Fatalf("%+v signed again: %+v, error %v", c, d, err)
		}
	})
}

// The times of a ticket can be said by RFC 3339, whatever its length.
func TestTicketTimesCanBeSaid(t *testing.T) {
	for _, c := range []scamp.TicketClaims{
		{Start: 1_700_000_000, Length: math.MaxInt64},
		{Start: math.MaxInt64, Length: 1},
		{Start: 253402300799, Length: 1},
	} {
		text := c.Ends().UTC().Format(time.RFC3339)
		if _, err := time.Parse(time.RFC3339, text); err != nil || text != "9999-12-31T23:59:59Z" {
			t.Errorf("%+v ends %s (%v), want the last second of year 9999", c, text, err)
		}
		if text := c.Starts().UTC().Format(time.RFC3339); len(text) != len("9999-12-31T23:59:59Z") {
			t.Errorf("%+v starts %s, want a year of four digits", c, text)
		}
	}
}
