package scamp

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// Extra is members of a header beside those that have a field, by name; a map of the same
// form can be assigned. Like a Ticket it does not show what is secret: printed and logged
// it is the names of its members, and the values of those that are known to be no tokens.
// Two of those that gateways read are: new_session and new_terminal.
type Extra map[string]json.RawMessage

// shownExtra are the members that gateways send and read, and that are no tokens.
var shownExtra = []string{"http_status", "psgi_scheme"}

// String returns the names, in order, and the values that may be seen.
func (e Extra) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(clean(name))
		if slices.Contains(shownExtra, name) {
			b.WriteString("=" + clean(string(e[name])))
		}
	}
	return "[" + b.String() + "]"
}

// Format writes String, whatever the verb.
func (e Extra) Format(f fmt.State, _ rune) { f.Write([]byte(e.String())) }

// LogValue returns String.
func (e Extra) LogValue() slog.Value { return slog.StringValue(e.String()) }
