package discovery

// These parts are tested and fuzzed alone, because an announcement around them
// would hide which of them refuses: the scanner, the run-length vectors, the
// addresses.

// CheckJSON is the check that precedes all reading.
var CheckJSON = checkJSON

// CheckAddress judges the address of an announcement.
var CheckAddress = checkAddress

// AppendRuns is the encoder of run-length vectors.
var AppendRuns = appendRuns

// ExpandRuns checks a run-length vector as a reader does and returns the texts
// of its values, or why it is refused. The JSON must have passed CheckJSON.
func ExpandRuns(json string, integers bool, most int) ([]string, error) {
	kind := ofStrings
	if integers {
		kind = ofIntegers
	}
	v, err := newVector(trimmed(json), kind, most)
	if err != nil {
		return nil, err
	}
	values := make([]string, 0, v.len)
	for r := v.read(); ; {
		next := r.next()
		if next == "" {
			return values, nil
		}
		values = append(values, string(next))
	}
}
