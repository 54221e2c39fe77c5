// Package ticketscan finds tickets in what the tests of this project log (THREATS T4):
// the main function of a package's tests runs them with Run, buses of scamptest then log
// to it down to the level of debug, and a ticket in any line fails the package.
//
// What always holds:
//
//  1. Nothing is heard, and nothing costs, unless Run was called: users of scamptest
//     never notice.
//  2. A ticket is known by its form (PROTOCOL 10.1), so that none need be told of.
//  3. What is reported shows no signature.
package ticketscan

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
)

// minSignature is how many characters of a signature make a ticket of what stands before
// them. The shortest one is of an RSA key of 1024 bits and has 171; lines that are cut
// hold fewer.
const minSignature = 60

// Find returns the claims of the first ticket in text, of a user or of a station, without
// its signature. It sees what is quoted, and what is in base64 or hexadecimal digits.
func Find(text []byte) (claims string, found bool) { return find(text, true) }

func find(text []byte, decode bool) (string, bool) {
	for begin := 0; begin+minSignature <= len(text); {
		end := begin
		for end < len(text) && inBase64(text[end]) {
			end++
		}
		run := text[begin:end]
		if len(run) < minSignature {
			begin = end + 1
			continue
		}
		if claims := claimsBefore(text[:begin]); claims != "" {
			return claims, true
		}
		if decode {
			for _, plain := range decodings(run) {
				if claims, found := find(plain, false); found {
					return claims, true
				}
			}
		}
		begin = end + 1
	}
	return "", false
}

// claimsBefore returns what text ends with if it could be the fields of a ticket: at
// least three, each with a comma behind it, of digits and plus signs.
func claimsBefore(text []byte) string {
	if !bytes.HasSuffix(text, []byte(",")) {
		return ""
	}
	begin := len(text)
	for begin > 0 && (inClaims(text[begin-1]) || text[begin-1] == ',') {
		begin--
	}
	claims := text[begin:]
	if bytes.Count(claims, []byte(",")) < 3 || !bytes.ContainsAny(claims, "0123456789") {
		return ""
	}
	return string(claims)
}

func inClaims(c byte) bool { return c >= '0' && c <= '9' || c == '+' }

func inBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || inClaims(c) || c == '-' || c == '_' || c == '/' || c == '='
}

// decodings are what a run of characters may stand for.
func decodings(run []byte) (plain [][]byte) {
	octets := make([]byte, len(run))
	if n, err := hex.Decode(octets, run); err == nil {
		plain = append(plain, octets[:n])
	}
	text := bytes.TrimRight(run, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		octets := make([]byte, len(run))
		if n, err := encoding.Decode(octets, text); err == nil {
			plain = append(plain, octets[:n])
		}
	}
	return plain
}
