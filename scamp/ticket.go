package scamp

import "log/slog"

// A Ticket is a signed string that names a user, a client and privileges (PROTOCOL
// 10). Whoever holds it may use it, so it prints as a placeholder: a log line or an
// error can never show one. Convert it with string(t) to see it.
type Ticket string

// String returns a placeholder.
func (t Ticket) String() string {
	if t == "" {
		return ""
	}
	return "[ticket]"
}

// GoString returns a placeholder.
func (t Ticket) GoString() string { return t.String() }

// LogValue returns a placeholder.
func (t Ticket) LogValue() slog.Value { return slog.StringValue(t.String()) }
