package limit

import (
	"bytes"
	"encoding/json"
	"strconv"
)

type header struct {
	Action    string `json:"action"`
	RequestID int64  `json:"request_id"`
	Type      string `json:"type"`
}

// parseHeader scans a flat JSON object by hand and falls back on encoding/json.
func parseHeader(b []byte, h *header) error {
	*h = header{}
	i, n := 0, len(b)
	ws := func() {
		for i < n && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
			i++
		}
	}
	str := func() ([]byte, bool) {
		if i >= n || b[i] != '"' {
			return nil, false
		}
		i++
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 || bytes.IndexByte(b[i:i+j], '\\') >= 0 {
			return nil, false
		}
		s := b[i : i+j]
		i += j + 1
		return s, true
	}
	slow := func() error { return json.Unmarshal(b, h) }
	ws()
	if i >= n || b[i] != '{' {
		return slow()
	}
	i++
	for {
		ws()
		if i < n && b[i] == '}' {
			return nil
		}
		k, ok := str()
		if !ok {
			return slow()
		}
		ws()
		if i >= n || b[i] != ':' {
			return slow()
		}
		i++
		ws()
		if i >= n {
			return slow()
		}
		var v []byte
		if b[i] == '"' {
			if v, ok = str(); !ok {
				return slow()
			}
		} else {
			j := i
			for i < n && b[i] != ',' && b[i] != '}' {
				if b[i] == '{' || b[i] == '[' {
					return slow()
				}
				i++
			}
			v = b[j:i]
		}
		switch string(k) {
		case "action":
			h.Action = intern(v)
		case "type":
			h.Type = intern(v)
		case "request_id":
			for _, c := range v {
				if c < '0' || c > '9' {
					return slow()
				}
				h.RequestID = h.RequestID*10 + int64(c-'0')
			}
		}
		ws()
		if i < n && b[i] == ',' {
			i++
			continue
		}
		if i < n && b[i] == '}' {
			return nil
		}
		return slow()
	}
}

func intern(b []byte) string {
	for _, s := range [...]string{"request", "reply", "bench.echo", "bench.up", "bench.down"} {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}

func appendPkt(b []byte, typ string, msgno uint64, body []byte) []byte {
	b = append(b, typ...)
	b = strconv.AppendUint(b, msgno, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, '\r', '\n')
	b = append(b, body...)
	return append(b, "END\r\n"...)
}

func appendHeader(b []byte, msgno uint64, h *header) []byte {
	var s [256]byte
	j := append(s[:0], `{"action":"`...)
	j = append(j, h.Action...)
	j = append(j, `","envelope":"json","request_id":`...)
	j = strconv.AppendInt(j, h.RequestID, 10)
	j = append(j, `,"client_id":0,"ticket":"","identifying_token":"","type":"`...)
	j = append(j, h.Type...)
	j = append(j, `","version":1}`+"\n"...)
	return appendPkt(b, "HEADER ", msgno, j)
}
