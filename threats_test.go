package scamp_go_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
)

// A held row is one that tests hold, or the reason why none does.
type heldRow struct {
	id    string // of the row
	tests string // "NAME:Test" or "NAME:Test/subtest", NAME one of testDirs; "faults:F1" is a row of that program that CI plays, "nightly:F2" one that make faults alone plays
	open  string
}

// testDirs is where the tests of each package are.
var testDirs = map[string]string{"packet": "packet", "mux": "scamp/internal/mux", "scamp": "scamp", "discovery": "discovery", "command": "cli/command", "faults": "scamp/internal/faults"}

// attackRows is who holds the rows P, L, D, C, S, T and X of THREATS 2.3, and the faults of
// 3.3.
var attackRows = []heldRow{
	{"P1", "packet:TestConformance/04_overlong_line packet:TestConformance/05_malformed_line mux:TestSequenceCounters", ""},
	{"P2", "packet:TestConformance/06_length_over_the_limit packet:TestReaderHoldsWhatArrived scamp:TestResourceHostilePackets/P2_announced_bodies", ""},
	{"P3", "packet:TestConformance/07_wrong_trailer", ""},
	{"P4", "packet:TestConformance/08_unknown_type", ""},
	{"P5", "packet:TestConformance/13_header_is_no_json_object packet:TestParseAgreesWithNode packet:TestBadMembersFailTheirMessageOnly scamp:TestConformanceService/28_no_request_id_no_reply", ""},
	{"P6", "mux:TestOpenMessagesLimit scamp:TestWorkIsBounded/P6_headers_alone scamp:TestResourceHostilePackets/P6_headers", ""},
	{"P7", "scamp:TestWorkIsBounded/P7_rapid_reset scamp:TestRequestsTakenBackAtOnceTakeNoPlace scamp:TestResourceHostilePackets/P7_rapid_reset scamp:TestResourceHostilePackets/P7_rapid_cancel", ""},
	{"P8", "scamp:TestWorkIsBounded/P8_good_request_then_garbage scamp:TestResourceHostilePackets/P8_good_request_then_garbage", ""},
	{"P9", "mux:TestEveryStateMeetsEveryPacket mux:TestModel mux:TestConformance/10_header_out_of_sequence mux:TestConformance/11_packet_without_a_message", ""},
	{"P10", "mux:TestAckFlood mux:TestRecordedACKs mux:TestConformance/38_acks_that_make_no_sense scamp:TestResourceHostilePackets/P10_ack_flood", ""},
	{"P11", "mux:TestConformance/33_window_of_a_peer_that_never_acks scamp:TestConformanceServiceTime/47b_reply_without_progress scamp:TestStallCountsFromTheReply scamp:TestResourceHostilePackets/P11_never_ack", ""},
	{"P12", "mux:TestStalledWriteClosesTheConnection mux:TestReaderGoesOnWhenThePeerStopsReading scamp:TestRequestsOfWhoReadsNothing scamp:TestResourceHostilePackets/P12_reads_nothing", ""},
	{"P13", "mux:TestEmptyAndTinyData mux:TestTinyWritesAreGathered scamp:TestResourceHostilePackets/P13_tiny_data", ""},
	{"P14", "scamp:TestCollectedRequestIsBounded scamp:TestCollectedBodiesCount scamp:TestConformanceServiceTime/47b_handler_that_does_not_begin scamp:TestConformanceServiceTime/47b_reply_in_progress", ""},
	{"P15", "mux:TestPingFlood scamp:TestResourceHostilePackets/P15_pings", ""},
	{"P16", "scamp:TestConformanceCaller/31a_late_replies scamp:TestConformanceCaller/31a_replies_to_ids_never_issued scamp:TestLimitsOfWorkAtTheirEdges/replies_to_nothing scamp:TestEnduranceEchoes", ""},
	{"P17", "scamp:TestConformanceTime/47_silent_service scamp:TestConformanceTime/48_no_retirement", ""},
	{"P18", "scamp:TestFloodsOfOddMessages scamp:TestConformanceService/30_events_without_id_are_drained scamp:TestFloodsOfSubscribes scamp:TestConformanceService/19c_cancel_of_nothing scamp:TestResourceHostilePackets/P18_odd_messages", ""},
	{"P19", "scamp:TestPanicAndPlainErrors scamp:TestConformanceService/52_exactly_one_reply scamp:TestHandlerLifeIsTheReplys", ""},
	{"P20", "scamp:TestWorkIsBounded/P20_many_connections_many_requests scamp:TestResourceHostilePackets/P20_sleeping_handlers", ""},
	{"P21", "mux:TestUnreadLimit mux:TestDiscardedMessagesAreSmall scamp:TestWorkIsBounded/P21_unread_octets_of_requests_that_wait scamp:TestResourceHostilePackets/P21_bodies_never_read scamp:TestResourceHostilePackets/P21_window_ignored scamp:TestResourceHostilePackets/P21_windows_used", ""},
	{"P22", "mux:TestConformance/41_both_send_10_mib_at_once scamp:TestResourceHostilePackets/P22_full_windows_both_ways", ""},

	{"L1", "scamp:TestConformanceTLS/56_tls_versions_and_suites", ""},
	{"L2", "scamp:TestConformanceTLS/56a_no_session_is_resumed scamp:TestConformanceTLS/53a_one_octet_of_the_certificate_differs", ""},
	{"L3", "scamp:TestConformanceTLS/53a_one_octet_of_the_certificate_differs", ""},
	{"L4", "discovery:TestCollision", ""},
	{"L5", "scamp:TestSilentHandshakesGiveWay scamp:TestHandshakeAndHeaderLineTogether scamp:TestResourceHostileTLS/L5_slow_handshakes", ""},
	{"L6", "scamp:TestConnectionsAreBounded scamp:TestResourceHostileTLS/L6_idle_connections", ""},
	{"L7", "mux:TestIdle mux:TestHeartbeat scamp:TestTCPOptions scamp:TestVanishedPeersCount scamp:TestHeartbeat scamp:TestResourceLinkDown", ""},
	{"L8", "mux:TestKeyUpdatesWhilePeerStopsReading scamp:TestResourceHostileTLS/L8_one_octet_records scamp:TestResourceHostileTLS/L8_cost_of_records", ""},
	{"L9", "scamp:TestHandshakesTakeTurns scamp:TestResourceHostileTLS/L9_handshakes", ""},

	{"D1", "discovery:TestHostileDatagrams/D1_every_octet_flipped discovery:TestFlippedOctetsAreDropped discovery:TestCacheWriterLeavesOut", ""},
	{"D2", "discovery:TestReplayRule discovery:TestReplayShuffled", ""},
	{"D3", "discovery:TestReplayShuffled", ""},
	{"D4", "discovery:TestReplayUnits", ""},
	{"D5", "discovery:TestReplayFutureFlood discovery:TestReplayManyFutures", ""},
	{"D6", "discovery:TestExpiryIgnoresTheWallClock", ""},
	{"D7", "discovery:TestHostileDatagrams/D7_long_datagrams discovery:TestInflateRefuses discovery:TestJunkCostsNothing", ""},
	{"D8", "discovery:TestInflateRefuses discovery:TestBombsAreCheap discovery:TestLookBudgets discovery:TestResourceFloodedDaemon/D8_bomb", ""},
	{"D9", "discovery:TestParseRefusesVectorBombs", ""},
	{"D10", "discovery:TestParseRefusesBadJSON", ""},
	{"D11", "discovery:TestHostileDatagrams/D11_letters_that_fold discovery:TestFind discovery:TestParseRefusesBadJSON", ""},
	{"D12", "discovery:TestRecordHoldsNothingUnsigned discovery:TestCacheWriterKeepsOthersWhole discovery:TestResourceFloodedDaemon/D12_separators", ""},
	{"D13", "discovery:TestBase64IsStrict discovery:TestRecordedAnnouncementsOfPeers", ""},
	{"D14", "discovery:TestCertificateSectionRefusesOddOnes discovery:TestCheckKeyTakesTheWholeRange discovery:TestLongCertificatesAreRefused", ""},
	{"D15", "discovery:TestSameIdentOtherCertificate scamp:TestRogueTakesAnIdent scamp:TestConformanceTLS/53a_one_octet_of_the_certificate_differs", ""},
	{"D16", "discovery:TestIdentConflict discovery:TestCacheWriterRate", ""},
	{"D17", "discovery:TestWeightIsClamped scamp:TestWeightIsNoRatio", ""},
	{"D18", "discovery:TestExpiryOfManyIntervals discovery:TestIntervalIsClamped discovery:TestResourceExpiryTimer", ""},
	{"D19", "discovery:TestHostileDatagrams/D19_mutated_certificates discovery:TestBudgets discovery:TestBudgetOfOctets discovery:TestResourceStrangers discovery:TestResourceFloodedDaemon/D1_certificate_mutated", ""},
	{"D20", "discovery:TestLanes discovery:TestLinesAreApart discovery:TestObserverThatLoses discovery:TestFloodCannotSilenceOthers discovery:TestHostileAir discovery:TestResourceFloodedDaemon/D20_bad_signature_4096", ""},
	{"D21", "discovery:TestFragmentsLost discovery:TestFragmentWatch", ""},
	{"D22", "discovery:TestAddress discovery:TestForeignLoopback scamp:TestRogueNamesAVictim scamp:TestConformanceRouting/83_unreachable_instance_is_avoided scamp:TestOneFailedDialIsOneFailure", ""},
	{"D23", "discovery:TestFind discovery:TestHostileAir scamp:TestRogueTakesAliases scamp:TestTicketIsNotShown", ""},
	{"D24", "discovery:TestHostileDatagrams/D24_sectors", ""},
	{"D25", "discovery:TestReceiveNothing discovery:TestJunkCostsNothing", ""},
	{"D26", "discovery:TestObserverSendsNothing", ""},

	{"C1", "discovery:TestParseCacheCutAnywhere", ""},
	{"C2", "discovery:TestParseCacheDamagedAnywhere", ""},
	{"C3", "discovery:TestParseCacheForms discovery:TestCacheReaderKeeps discovery:TestCacheReaderStale", ""},
	{"C4", "discovery:TestCacheReaderChanges discovery:TestCacheReaderTroubles discovery:TestCacheReaderFollows", ""},
	{"C5", "discovery:TestCacheReaderUnreadable", ""},
	{"C6", "discovery:TestCacheReaderOldFile discovery:TestLoadFile", ""},
	{"C7", "", "needs scamp doctor, which compares file and live multicast"},
	{"C8", "discovery:TestCacheWriterPlaces discovery:TestCacheWriterTemporaryIsNew discovery:TestCacheWriterLockIsOurs", ""},
	{"C9", "discovery:TestCacheReaderNeverTorn", ""},

	{"S1", "discovery:TestAuthorizedReaderKeeps discovery:TestRulesSwapUnderLoad", ""},
	{"S2", "discovery:TestDamagedRulesGiveNoMore discovery:TestDamagedLinesOnlyRemoveRights command:TestScripts", ""},
	{"S3", "discovery:TestAuthorizedReaderKeeps", ""},
	{"S4", "discovery:TestRulesWarnings", ""},
	{"S5", "discovery:TestRulesWarnings discovery:TestRulesBySHA256", ""},
	{"S6", "discovery:TestRulesAgreeWithSlowReading discovery:TestDecide", ""},
	{"S7", "scamp:TestRevokedWhileConnected", ""},
	{"S8", "discovery:TestAuthorizedReaderKeeps", ""},

	{"F1", "faults:F1 faults:TestRows scamp:TestFaults/F1_none", ""},
	{"F2", "nightly:F2 faults:TestProxy/latency", ""},
	{"F3", "nightly:F3 faults:TestLossOnAWire", ""},
	{"F4", "nightly:F4 faults:TestProxy/slow", ""},
	{"F5", "faults:F5 faults:TestProxy/slices", ""},
	{"F6", "faults:F6 faults:TestRows scamp:TestFaults/F6_every_connection_cut scamp:TestEnduranceEchoes", ""},
	{"F7", "nightly:F7 faults:TestProxyHole", ""},
	{"F8", "nightly:F8 scamp:TestFaults/F8_an_instance_killed_and_started_anew", ""},
	{"F9", "faults:F9 scamp:TestFaults/F9_rolling_restart", ""},
	{"F10", "faults:F10 discovery:TestFailpointWriter", ""},
	{"F11", "nightly:F11 discovery:TestCacheWriterFullDisk", ""},
	{"F12", "nightly:F12 discovery:TestCacheReaderTroubles discovery:TestCacheWriterRecovers scamp:TestCallsOutliveTheCacheFile scamp:TestErrorsSayWhatToDo", ""},
	{"F13", "faults:F13 faults:TestClocks discovery:TestFutureSuccessor discovery:TestFutureRecordInAFile discovery:TestReplayUnits discovery:TestExpiryIgnoresTheWallClock", ""},
	{"F14", "faults:F14 discovery:TestObserverStoodStill discovery:TestObserverStopped command:TestScripts", ""},
	{"F15", "nightly:F15", ""},
	{"F16", "nightly:F16", ""},
	{"F17", "faults:F17", ""},
	{"F18", "nightly:F18", ""},
	{"F19", "nightly:F19", ""},
	{"F20", "nightly:F20", ""},
	{"F21", "nightly:F21 faults:TestHostileConnections", ""},
	{"F22", "nightly:F22", ""},
	{"F23", "nightly:F23", ""},
	{"F24", "nightly:F24", ""},
	{"F25", "nightly:F25 discovery:TestFragmentsLost", ""},
	{"F26", "nightly:F26 faults:TestProxy/flips", ""},
	{"F27", "nightly:F27 faults:TestOneWay scamp:TestTrafficLeavesWhoStandsStill", ""},
	{"F28", "nightly:F28", ""},

	{"X1", "scamp:TestAttacksKeepLinesWhole scamp:TestForeignTextIsTamed scamp:TestLogIsLimited", ""},
	{"X2", "scamp:TestRunningFileStaysInside scamp:TestRunningFileIsExclusive", ""},
	{"X3", "scamp:TestConfigRefuses scamp:TestConfigNamesAllErrors scamp:TestReadConfigNamesTheFile", ""},
	{"X4", "scamp:TestConformanceRouting/86_port_in_use_another_is_tried scamp:TestImpostorGetsNothing", ""},
	{"X5", "scamp:TestCheckPrivate", ""},
	{"X7", "scamp:TestWithoutInterface discovery:TestMulticastWithoutInterface discovery:TestSegmentInterfaces scamp:TestConformanceRouting/86a_no_address", ""},
	{"T1", "scamp:TestTicketFields scamp:TestConformanceTickets/79_tickets_of_the_vectors scamp:TestKnownTicketEnds", ""},
	{"T2", "scamp:TestTicketEveryOctetFlipped scamp:TestTicketSignatures", ""},
	{"T3", "scamp:TestTicketFields scamp:TestTicketLimits/MaxPrivileges", ""},
	{"T4", "scamp:TestTicketsAreNeverShown scamp:TestTicketIsNotShown scamp:TestTicketIsNotForwarded scamp:TestLongTicketIsTold command:TestScripts command:TestTicketsShown", ""},
	{"T5", "scamp:TestTicketFailuresAreLimited scamp:TestPrincipalWhileTicketsAreLimited scamp:TestKnownTicketEnds scamp:TestResourceHostileTickets/T5_bad_tickets scamp:TestResourceHostileTickets/T5_many_users", ""},
	{"T6", "scamp:TestTicketKeyFile scamp:TestDefaultTicketKeyIsFollowed scamp:TestTicketKeysOverlap", ""},
	{"T7", "scamp:TestConformanceTickets/80_authn_authz_and_noauth scamp:TestAccessRefusals", ""},

	{"X6", "scamp:TestLimitsOfWorkAtTheirEdges scamp:TestResourceHostilePackets scamp:TestCountersOfSources scamp:TestPinMismatchCounts scamp:TestFailedAcceptsCount scamp:TestBalancers", ""},
}

// limitRows is who holds each limit of THREATS 5.1 that belongs to packets, connections
// and services, at its value, one above it and back below it, with its counter. The id
// is the field; a derived limit goes by its row.
var limitRows = []heldRow{
	{"packet.MaxPacket", "packet:TestConformance/06_length_over_the_limit mux:TestSequenceCounters", ""},
	{"packet.MaxHeader", "packet:TestConformance/06_length_over_the_limit mux:TestHeaderSizeLimits", ""},
	{"packet.MaxHeaderSend", "mux:TestHeaderSizeLimits scamp:TestHeaderTooLong", ""},
	{"packet.MaxLine", "packet:TestConformance/04_overlong_line mux:TestSequenceCounters", ""},
	{"packet.MaxHeaderDepth", "packet:TestConformance/18a_too_deep", ""},
	{"packet.MaxHeaderMembers", "packet:TestConformance/18a_too_many_members", ""},

	{"mux.ChunkSize", "mux:TestRoundRobin mux:TestEcho", ""},
	{"mux.MaxInflight", "mux:TestWindowInForce scamp:TestCappedSettingsAreTold", ""},
	{"mux.MaxWindow", "mux:TestWindowInForce mux:TestCreditIsABudgetOfTheConnection scamp:TestCappedSettingsAreTold", ""},
	{"unread per message, windowed peer", "mux:TestUnreadLimit mux:TestBudgetViolationEndsTheMessageThatMakesIt", ""},
	{"mux.MaxUnreadMessage", "mux:TestUnreadLimit", ""},
	{"mux.MaxBuffered", "scamp:TestLimitsOfWorkAtTheirEdges/unread_octets_of_a_connection", ""},
	{"mux.MaxOpenMessages", "mux:TestOpenMessagesLimit mux:TestOurOwnOpenMessagesLimit", ""},
	{"mux.MaxHandlers", "scamp:TestLimitsOfWorkAtTheirEdges/handlers_of_a_connection", ""},
	{"mux.MaxWriteQueue", "mux:TestWriteQueueIsBounded", ""},
	{"mux.WriteStall", "mux:TestStalledWriteClosesTheConnection", ""},
	{"mux.SendStall", "scamp:TestStallCountsFromTheReply scamp:TestConformanceServiceTime/47b_reply_without_progress", ""},
	{"mux.MaxPings", "mux:TestPingFlood", ""},
	{"mux.MaxExtraAcks", "mux:TestAckFlood", ""},
	{"mux.MaxTinyData", "mux:TestEmptyAndTinyData", ""},
	{"mux.MaxEmptyData", "mux:TestEmptyAndTinyData", ""},
	{"mux.MaxOddities", "scamp:TestLimitsOfWorkAtTheirEdges/replies_to_nothing", ""},
	{"late replies per connection", "scamp:TestConformanceCaller/31a_late_replies", ""},

	{"scamp.MaxHeld", "scamp:TestHeldBodiesAreBounded scamp:TestUnreadOctetsAreHeld scamp:TestAnnouncedWindowsAreHeld", ""},
	{"scamp.MaxBody", "scamp:TestCollectedBodiesCount", ""},
	{"scamp.MaxConcurrency", "scamp:TestLimitsOfWorkAtTheirEdges/handlers_of_a_process", ""},
	{"scamp.MaxQueue", "scamp:TestLimitsOfWorkAtTheirEdges/requests_in_queue", ""},
	{"scamp.MaxConns", "scamp:TestConnectionsAreBounded", ""},
	{"scamp.MaxConnsPerAddr", "scamp:TestConnectionsComeBackBelowTheLimit", ""},
	{"scamp.MaxHandshakes", "scamp:TestLimitsOfWorkAtTheirEdges/handshakes", ""},
	{"scamp.HandshakeSilence", "scamp:TestLimitsOfWorkAtTheirEdges/handshakes scamp:TestSilentHandshakesGiveWay", ""},
	{"scamp.HandshakeTimeout", "scamp:TestConformanceServiceTime/49_caller_without_a_header_line scamp:TestHandshakeAndHeaderLineTogether", ""},
	{"scamp.DialTimeout", "scamp:TestConformanceTime/49_setup_gives_up", ""},
	{"scamp.MaxDials", "scamp:TestDialsAtOnceAreBounded", ""},
	{"scamp.MaxBackoff", "scamp:TestConformanceRouting/83_unreachable_instance_is_avoided", ""},
	{"scamp.ServerIdle", "scamp:TestConformanceServiceTime/46_idle_service", ""},
	{"scamp.ClientIdle", "scamp:TestConformanceTime/46_idle_requester", ""},
	{"scamp.RetireTime", "scamp:TestConformanceTime/48_retired_connection", ""},
	{"scamp.KeepAlive", "scamp:TestTCPOptions", ""},
	{"scamp.UserTimeout", "scamp:TestTCPOptions scamp:TestVanishedPeersCount", ""},
	{"scamp.RPCTimeout", "scamp:TestConformanceTime/47_silent_service", ""},
	{"scamp.WorkerTimeout", "scamp:TestConformanceServiceTime/47b_handler_that_does_not_begin", ""},
	{"scamp.AvoidTime", "scamp:TestRefusingInstancesAreAvoided", ""},
	{"scamp.MaxEventEntries", "scamp:TestLimitsOfEvents scamp:TestSubscriberBehind", ""},
	{"scamp.MaxEventOctets", "scamp:TestLimitsOfEvents", ""},
	{"scamp.MaxSubscribers", "scamp:TestLimitsOfEvents", ""},
	{"scamp.LogRate", "scamp:TestLogIsLimited", ""},
	{"scamp.LogFirst", "scamp:TestEveryCallerIsNamed", ""},
	{"scamp.LogText", "scamp:TestLimitsOfWorkAtTheirEdges/text_in_the_log", ""},

	{"scamp.MaxTicket", "scamp:TestTicketLimits/MaxTicket", ""},
	{"scamp.MaxPrivileges", "scamp:TestTicketLimits/MaxPrivileges", ""},
	{"scamp.TicketSkew", "scamp:TestTicketLimits/TicketSkew", ""},
	{"scamp.MaxTicketFailures", "scamp:TestTicketLimits/MaxTicketFailures", ""},
	{"scamp.TicketCache", "scamp:TestTicketLimits/TicketCache", ""},
}

// TestThreatRows fails when a row of THREATS has no test, or one that does not exist.
func TestThreatRows(t *testing.T) {
	tests, err := readTests(testDirs)
	if err == nil {
		err = readRows(testDirs["faults"], tests)
	}
	if err != nil {
		t.Fatal(err)
	}
	var attacks []string
	for _, rows := range []struct {
		letter string
		n      int
	}{{"F", 28}, {"P", 22}, {"L", 9}, {"D", 26}, {"C", 9}, {"S", 8}, {"T", 7}, {"X", 7}} {
		for i := range rows.n {
			attacks = append(attacks, fmt.Sprint(rows.letter, i+1))
		}
	}
	var table []struct {
		Limit  string
		Fields []struct{ Struct, Field string }
	}
	fixtures.JSON("limits.json", &table)
	var limits []string
	for _, row := range table {
		for _, f := range row.Fields {
			if f.Struct != "discovery" {
				limits = append(limits, f.Struct+"."+f.Field)
			}
		}
		if len(row.Fields) == 0 {
			limits = append(limits, row.Limit)
		}
	}
	for _, problem := range append(judgeRows(attackRows, attacks, tests), judgeRows(limitRows, limits, tests)...) {
		t.Error(problem)
	}
	for _, r := range append(slices.Clone(attackRows), limitRows...) {
		if r.open != "" {
			t.Logf("open: %s: %s", r.id, r.open)
		}
	}
}

// judgeRows compares a list with the rows there must be and the tests there are.
func judgeRows(list []heldRow, want []string, tests map[string][]string) (problems []string) {
	known := map[string]bool{}
	for _, r := range list {
		switch {
		case known[r.id]:
			problems = append(problems, r.id+" stands in the list twice")
		case !slices.Contains(want, r.id):
			problems = append(problems, r.id+" is no row of the table")
		case (r.tests == "") == (r.open == ""):
			problems = append(problems, r.id+": want tests, or a reason why there are none")
		}
		known[r.id] = true
		for _, name := range strings.Fields(r.tests) {
			test, sub, _ := strings.Cut(name, "/")
			words, ok := tests[test]
			if !ok {
				problems = append(problems, fmt.Sprintf("%s: there is no test %s", r.id, test))
			} else if sub != "" && !slices.Contains(words, sub) {
				problems = append(problems, fmt.Sprintf("%s: %s has no subtest %s", r.id, test, sub))
			}
		}
	}
	for _, id := range want {
		if !known[id] {
			problems = append(problems, id+" is not in the list")
		}
	}
	return problems
}

// readTests returns the tests of some directories as "NAME:Test", with every text that
// stands in them: subtests are among those. A test function may take its subtests from
// another function of its file.
func readTests(dirs map[string]string) (map[string][]string, error) {
	tests := map[string][]string{}
	for name, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			src, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			for _, decl := range file.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
					continue
				}
				words := []string{}
				ast.Inspect(f.Body, func(n ast.Node) bool {
					if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
						if text, err := strconv.Unquote(lit.Value); err == nil {
							words = append(words, text)
						}
					}
					return true
				})
				tests[name+":"+f.Name.Name] = words
			}
		}
	}
	return tests, nil
}

// readRows adds the rows of the program in dir to tests: the ids in the tables of its
// rows_*.go, as "faults:" if CI plays them, else as "nightly:".
func readRows(dir string, tests map[string][]string) error {
	files, err := filepath.Glob(filepath.Join(dir, "rows_*.go"))
	if err != nil {
		return err
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if row, ok := n.(*ast.CompositeLit); ok {
				id, kind := "", "nightly:"
				for _, e := range row.Elts {
					field, ok := e.(*ast.KeyValueExpr)
					if !ok {
						continue
					}
					key, _ := field.Key.(*ast.Ident)
					switch value := field.Value.(type) {
					case *ast.BasicLit:
						if text, err := strconv.Unquote(value.Value); err == nil && key != nil && key.Name == "id" {
							id = text
						}
					case *ast.Ident:
						if key != nil && key.Name == "quick" && value.Name == "true" {
							kind = "faults:"
						}
					}
				}
				if id != "" {
					tests[kind+id] = nil
				}
			}
			return true
		})
	}
	return nil
}

// TestThreatRowsCatches shows that each kind of mistake is found.
func TestThreatRowsCatches(t *testing.T) {
	tests := map[string][]string{"mux:TestFlood": {"P1_flood"}}
	for _, tt := range []struct {
		name string
		list []heldRow
		want string
	}{
		{"held", []heldRow{{"P1", "mux:TestFlood/P1_flood", ""}}, ""},
		{"open", []heldRow{{"P1", "", "later"}}, ""},
		{"missing", nil, "P1 is not in the list"},
		{"twice", []heldRow{{"P1", "mux:TestFlood", ""}, {"P1", "mux:TestFlood", ""}}, "P1 stands in the list twice"},
		{"no such row", []heldRow{{"P1", "mux:TestFlood", ""}, {"P2", "mux:TestFlood", ""}}, "P2 is no row of the table"},
		{"no such test", []heldRow{{"P1", "mux:TestFloods", ""}}, "P1: there is no test mux:TestFloods"},
		{"elsewhere", []heldRow{{"P1", "scamp:TestFlood", ""}}, "P1: there is no test scamp:TestFlood"},
		{"no such subtest", []heldRow{{"P1", "mux:TestFlood/P1", ""}}, "P1: mux:TestFlood has no subtest P1"},
		{"neither", []heldRow{{"P1", "", ""}}, "P1: want tests, or a reason"},
		{"both", []heldRow{{"P1", "mux:TestFlood", "later"}}, "P1: want tests, or a reason"},
	} {
		got := strings.Join(judgeRows(tt.list, []string{"P1"}, tests), "; ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: problems %q, want %q", tt.name, got, tt.want)
		}
	}
}
