package discovery_test

import "testing"

// TestConformanceLive has one test for each line of PROTOCOL 17 that is about
// what is held, found, sent and written, named by the number of the line. Calls
// and connections have theirs elsewhere.
func TestConformanceLive(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"68_older_is_dropped_equal_refreshes_forged_changes_nothing", TestReplayRule},
		{"68_forged_newer_changes_nothing", TestForgedNewerChangesNothing},
		{"68a_ten_years_ahead", TestReplayFutureFlood},
		{"69_expiry_from_receipt", TestExpiryIsFromReceipt},
		{"69a_suspects_only_when_asked_and_not_for_long", TestExpiryStates},
		{"70_weight_0_removes_and_newer_restores", TestWithdrawnAndBack},
		{"71_five_withdrawals_in_800_ms", TestAnnouncerWithdraws},
		{"72_unchanged_content_repeats_octets", TestAnnouncerRepeats},
		{"73_cache_vectors", TestParseCacheFixtures},
		{"73a_appended_sections_harm_no_record", TestCacheWriterKeepsOthersWhole},
		{"74_readers_never_see_a_partial_file", TestCacheReaderNeverTorn},
		{"74_mtime_advances_without_change", TestCacheWriterSignOfLife},
		{"75_stale_file_is_not_loaded", TestCacheReaderStale},
		{"76_restart_does_not_empty_a_fresh_file", TestCacheWriterRestart},
		{"78_changed_rules_within_2_s", TestAuthorizedReaderFollows},
		{"78_unreadable_rules_keep_the_old_ones", TestAuthorizedReaderKeeps},
		{"81_case_spelling_and_aliases", TestFind},
		{"82_mismatches_are_not_found", TestExplain},
		{"83_a_new_announcement_is_told", TestWatchTellsWhy},
	} {
		t.Run(tt.name, tt.run)
	}
}
