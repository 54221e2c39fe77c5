package discovery

import (
	"fmt"
	"strconv"
)

// An Error is a refusal. Counter is its name in THREATS, so that whoever refuses
// on its advice counts the right thing.
type Error struct {
	Counter string // for example "announce_badsig"
	Text    string // what was wrong, then what was wanted; foreign text is quoted and cut
	Quiet   bool   // expected on a healthy bus: count it, do not log it
	Err     error  // the cause, or nil
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil {
		return "discovery: " + e.Text + ": " + e.Err.Error()
	}
	return "discovery: " + e.Text
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// Counters of the refusals made in this half of the package. THREATS names them.
const (
	countTooBig          = "announce_too_big"
	countMalformed       = "announce_malformed"
	countBadKey          = "announce_badkey"
	countBadSignature    = "announce_badsig"
	countBadJSON         = "announce_badjson"
	countBadVector       = "announce_bad_vector"
	countBadName         = "announce_bad_name"
	countWeightClamped   = "announce_weight_clamped"
	countIntervalClamped = "announce_interval_clamped"
	countCacheTooBig     = "cache_too_big"
	countAuthz           = "authz_reload_failed"
	countCallers         = "callers_reload_failed"
	countNotStrict       = "cache_record_not_strict"
)

// refuse makes an Error from a format.
func refuse(counter, format string, args ...any) *Error {
	return &Error{Counter: counter, Text: fmt.Sprintf(format, args...)}
}

// cut shortens foreign text before it is quoted.
func cut[T string | []byte](s T) string {
	if len(s) > maxLogText {
		return string(s[:maxLogText]) + "..."
	}
	return string(s)
}

// quoted returns foreign text cut and quoted.
func quoted(s string) string { return strconv.Quote(cut(s)) }
