package discovery

import "strings"

// Distance returns how many octets must be put in, taken out or changed to make
// b of a, or most+1 when it is more than most: what a typing mistake may have
// meant. It compares exactly; fold the case before if it does not count. Safe
// for concurrent use.
func Distance(a, b string, most int) int {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	var room [64]int // enough for most, without an allocation
	row := room[:0]
	for j := range len(b) + 1 {
		row = append(row, j)
	}
	for i := range len(a) {
		diagonal, lowest := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
			lowest = min(lowest, row[j+1])
		}
		if lowest > most {
			return most + 1
		}
	}
	return min(row[len(b)], most+1)
}

// lowerName maps each octet that a name may have (PROTOCOL 7.5) to its lower
// case, and everything else to 0. Only ASCII case is folded: Unicode knows two
// letters outside ASCII that fold to k and s (THREATS D11).
var lowerName = func() (table [256]byte) {
	for c := range table {
		switch {
		case c >= 'A' && c <= 'Z':
			table[c] = byte(c) + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
			table[c] = byte(c)
		}
	}
	return table
}()

// IsName reports whether an action may be found by this sector, class or base
// name, or all of it by Class.name: A-Z a-z 0-9 _ . - and nothing else (PROTOCOL
// 7.5). Lengths have limits of their own.
func IsName(s string) bool {
	for i := range len(s) {
		if lowerName[s[i]] == 0 {
			return false
		}
	}
	return s != ""
}

// MaySend reports whether we may send this as sector, base name or envelope, or
// with dots as class: letters, digits and _, and no empty part (PROTOCOL 7.5).
func MaySend(s string, dots bool) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !IsName(part) || strings.Contains(part, "-") || !dots && len(part) < len(s) {
			return false
		}
	}
	return true
}

// lowerASCII folds the case of ASCII letters and of nothing else.
func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lowerByte(b[i])
			}
			return string(b)
		}
	}
	return s
}

func lowerByte(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}

// equalFoldASCII compares without regard to the case of ASCII letters.
// strings.EqualFold would match U+212A to k.
func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}
