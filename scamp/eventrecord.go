package scamp

import (
	"bytes"
	"encoding/json"
	"errors"
)

// An eventRecord is one record of an event as it came; a nil value deletes.
type eventRecord struct {
	eventName
	value json.RawMessage
}

// parseEvent reads the body of an event, and takes from it at most so many records.
// Records that are not objects with a string code, a string key and a value are ignored
// (PROTOCOL 14). It holds little more than what it returns, whatever the body.
func parseEvent(body []byte, most int) ([]eventRecord, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New("event: want a JSON array")
	}
	var all []eventRecord
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		r, ok := parseEventRecord(raw)
		switch {
		case !ok:
		case len(all) == most:
			return nil, errEventsFull
		default:
			all = append(all, r)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return all, nil
}

// parseEventRecord reads one record. Names of members are compared exactly, which
// decoding into a struct would not do.
func parseEventRecord(raw json.RawMessage) (r eventRecord, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return r, false
	}
	var code, key *string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return r, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return r, false
		}
		switch name {
		case "code":
			code = jsonString(value)
		case "key":
			key = jsonString(value)
		case "value":
			r.value = value
		}
	}
	if code == nil || key == nil || r.value == nil || len(*code) > maxEventName || len(*key) > maxEventName {
		return r, false
	}
	r.code, r.key = *code, *key
	if string(r.value) == "null" {
		r.value = nil
	} else {
		var b bytes.Buffer
		if json.Compact(&b, r.value) != nil {
			return r, false
		}
		r.value = b.Bytes()
	}
	return r, true
}

// jsonString returns the string that raw is, nil if it is none.
func jsonString(raw json.RawMessage) *string {
	var s *string
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	return s
}
