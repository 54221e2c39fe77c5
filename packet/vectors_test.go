package packet_test

import (
	"bytes"
	"slices"
	"testing"
)

// TestReaderJudgesRecordedStreams has every stream of fixtures/framing: those
// that only the state of messages makes wrong must pass as packets, all others
// have the outcome that is recorded.
func TestReaderJudgesRecordedStreams(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range streams() {
		seen[s.Name] = true
		t.Run(s.Name, func(t *testing.T) {
			got, err := readStream(bytes.NewReader(s.wire()))
			if isOfMessages(s) {
				if verdict(err) != "ok" || len(got) == 0 {
					t.Errorf("%s (%s): %q, then %v; want legal packets, for messages to judge", s.Name, s.Note, describe(got), err)
				}
				return
			}
			if verdict(err) != s.Expect {
				t.Errorf("%s (%s): %q, then %v; want %s", s.Name, s.Note, describe(got), err, s.Expect)
			}
			if s.Expect == "ok" && !slices.Equal(describe(got), s.Events) {
				t.Errorf("%s (%s): %q, want %q", s.Name, s.Note, describe(got), s.Events)
			}
		})
	}
	for _, name := range ofMessages {
		if !seen[name] {
			t.Errorf("no stream is named %s: want the list of those left to messages to be exact", name)
		}
	}
}
