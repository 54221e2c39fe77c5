package packet

import "bytes"

// A member is a top-level member of a header that has a field in Header.
type member uint8

const (
	memberUnknown member = iota
	memberAction
	memberClientID
	memberEnvelope
	memberError
	memberErrorCode
	memberErrorData
	memberExt
	memberIdentifyingToken
	memberRequestID
	memberSector
	memberStation
	memberTerminal
	memberTicket
	memberType
	memberVersion
)

// memberOf returns the member with exactly this name.
func memberOf(name []byte) member {
	switch string(name) {
	case "action":
		return memberAction
	case "client_id":
		return memberClientID
	case "envelope":
		return memberEnvelope
	case "error":
		return memberError
	case "error_code":
		return memberErrorCode
	case "error_data":
		return memberErrorData
	case "ext":
		return memberExt
	case "identifying_token":
		return memberIdentifyingToken
	case "request_id":
		return memberRequestID
	case "sector":
		return memberSector
	case "station":
		return memberStation
	case "terminal":
		return memberTerminal
	case "ticket":
		return memberTicket
	case "type":
		return memberType
	case "version":
		return memberVersion
	}
	return memberUnknown
}

// knownNames are all names of PROTOCOL 3.2: those with a field first, then those
// that are kept in Extra.
var knownNames = [...][]byte{
	[]byte("action"), []byte("client_id"), []byte("envelope"), []byte("error"), []byte("error_code"),
	[]byte("error_data"), []byte("ext"), []byte("identifying_token"), []byte("request_id"), []byte("sector"),
	[]byte("station"), []byte("terminal"), []byte("ticket"), []byte("type"), []byte("version"),
	[]byte("cgi_headers"), []byte("http_headers"), []byte("http_status"), []byte("new_session"),
	[]byte("new_terminal"), []byte("psgi_scheme"),
}

// variantOf returns the known name that equals name only when case is ignored,
// or "". Case is that of Unicode: a reader that folds takes U+212A for a k.
func variantOf(name []byte) string {
	for _, known := range knownNames {
		if bytes.EqualFold(name, known) && !bytes.Equal(name, known) {
			return string(known)
		}
	}
	return ""
}
