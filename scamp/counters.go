package scamp

// A counter is one thing that Stats counts: its name, what moved it, and the fields of
// Limits, or what else, that bound it.
type counter struct{ name, counts, limit string }

// A counterGroup is the counters of one part.
type counterGroup struct {
	part     string
	counters []counter
}

// counterTable is every counter there is; docs/counters.md says the same.
var counterTable = []counterGroup{
	{"Packets and messages of a connection", []counter{
		{"packet_malformed", "header lines and trailers that are none: the connection ended", "`Packet.MaxLine`"},
		{"packet_too_big", "packets that name a longer body: the connection ended", "`Packet.MaxPacket`"},
		{"header_too_big", "HEADER bodies too long to send, or to take: then the connection ended", "`Packet.MaxHeader`, `Packet.MaxHeaderSend`"},
		{"header_malformed", "HEADER bodies that are no JSON object, or too deep or wide: the connection ended", "`Packet.MaxHeaderDepth`, `Packet.MaxHeaderMembers`"},
		{"sequence_broken", "packets out of order, or of a message that is not open: the connection ended", ""},
		{"ack_refused", "ACKs of what was not sent: the connection ended", ""},
		{"ack_repeated", "ACKs that say nothing new", ""},
		{"ack_flood", "connections ended for too many ACKs", "`Mux.MaxExtraAcks`"},
		{"window_waits", "messages that waited for the peer's ACK", "`Mux.MaxInflight`, `Mux.MaxWindow`"},
		{"window_violated", "messages given up because their sender ignored the window", "`Mux.MaxUnreadMessage`"},
		{"open_messages_exceeded", "messages not sent, and connections ended, for too many open at once", "`Mux.MaxOpenMessages`"},
		{"write_blocked", "writes that waited for room in the queue of a connection", "`Mux.MaxWriteQueue`"},
		{"write_stalled", "connections ended because they took nothing for so long", "`Mux.WriteStall`"},
		{"ping_flood", "connections ended for too many PINGs", "`Mux.MaxPings`"},
		{"tiny_data", "connections ended for too many small DATA packets", "`Mux.MaxTinyData`"},
		{"empty_data", "connections ended for too many empty DATA packets", "`Mux.MaxEmptyData`"},
		{"message_ignored", "messages of a type that does not belong there, or without a usable id", ""},
		{"idle_closed", "connections closed because nothing was going on", "`ServerIdle`, `ClientIdle`"},
		{"peer_silent", "connections ended because PING had no answer", "`beepish.heartbeat`, else 15 s"},
		{"peer_vanished", "connections that TCP gave up", "`KeepAlive`, `UserTimeout`"},
	}},
	{"Connections to services", []counter{
		{"conn_opened", "connections made, those within the process too", ""},
		{"conn_closed", "of these, those that have ended: the rest is open", ""},
		{"dial_timeout", "connections that were not made in time", "`DialTimeout`"},
		{"dial_backoff", "dials put off because others were under way, or left out because the last one had just failed", "`MaxDials`, `MaxBackoff`"},
		{"pin_mismatch", "peers that showed another certificate than announced: nothing was sent", ""},
		{"conn_retired", "connections that took no further requests because nothing came back", "`RetireTime`"},
		{"instance_avoided", "instances passed over because they had refused a request", "`AvoidTime`"},
		{"mark_forgotten", "instances of which it was forgotten that they had failed, or refused, because too many had", "20,000 at once"},
		{"instance_probed", "attempts to reach an instance that had failed, without a call", "`MaxBackoff`"},
		{"dialect_mistaken", "connections ended because a service of the original Go implementation got requests it cannot tell apart", ""},
	}},
	{"Calls", []counter{
		{"rpc_timeout", "calls that ended without progress", "`RPCTimeout`, flag `tN`"},
		{"reply_late", "replies to calls that were given up: drained", ""},
		{"reply_unknown", "replies to nothing: too many end the connection", "`Mux.MaxOddities`"},
		{"cancel_dropped", "requests given up that their service is not told of: too many before its first message, or too many messages are open", "256 of a connection, `Mux.MaxOpenMessages`"},
		{"hedged", "requests sent to another instance as well", "`RetryOptions.Hedge`"},
		{"retry_over_budget", "requests not sent again because too much was", "a tenth of the calls"},
		{"bad_choice", "choices of a `Balancer` of what was not there: the default one chose", ""},
		{"callback_panicked", "panics of what a caller handed in, and ends of the goroutine, where that is one of the bus: `Read` and `Close` of a `Request.Body`, `GetBody` and hooks of a hedged call, `Filter` and `Balancer` of a subscription, `Balancer` where the authorization table is fetched", ""},
		{"body_too_big", "bodies not collected", "`MaxBody`"},
		{"held_refused", "requests and bodies refused because too much was held in all", "`MaxHeld`"},
	}},
	{"Services", []counter{
		{"conn_accepted", "connections taken, before their TLS handshake; those within the process too", "`MaxConns`, `MaxConnsPerAddr`"},
		{"conn_finished", "of these, those that have ended: the rest is open", ""},
		{"request_started", "requests that got their place among the handlers", "`MaxConcurrency`, `Mux.MaxHandlers`"},
		{"request_ended", "of these, those whose handler has returned and whose reply is written or given up: the rest is running", ""},
		{"accept_failed", "connections that the system did not let us accept", ""},
		{"conn_refused", "connections closed at once because too many were open", "`MaxConns`, `MaxConnsPerAddr`"},
		{"handshake_timeout", "connections closed before their first request", "`HandshakeTimeout`"},
		{"handshake_failed", "TLS handshakes that failed", ""},
		{"handshake_evicted", "connections closed that had said nothing while others waited", "`MaxHandshakes`, `HandshakeSilence`"},
		{"handlers_queued", "requests that waited for a handler", "`MaxConcurrency`, `Mux.MaxHandlers`"},
		{"queue_full", "requests refused because too many waited", "`MaxQueue`"},
		{"buffered_refused", "requests refused because too much of their connection was unread", "`Mux.MaxBuffered`"},
		{"request_rejected", "requests refused because the service has no such action, or their header cannot be used", ""},
		{"drain_refused", "requests refused because their service, or their connection, was about to end", "`service.shutdown_grace`"},
		{"requests_cut_off", "requests and notifications that a service which stopped did not wait for any longer", "`service.shutdown_drain`"},
		{"worker_timeout", "handlers that did not begin their reply in time, or were not done with a notification", "`WorkerTimeout`, flag `tN`"},
		{"send_stalled", "replies cut off whose caller took nothing of them", "`Mux.SendStall`"},
		{"handler_panicked", "panics of handlers, and handlers that ended their goroutine", ""},
	}},
	{"Tickets and rights", []counter{
		{"ticket_malformed", "tickets that are none, or too long", "`MaxTicket`, `MaxPrivileges`"},
		{"ticket_refused", "requests without a valid ticket where one is wanted", "`TicketSkew`"},
		{"ticket_limited", "requests refused because their connection had shown too many bad tickets", "`MaxTicketFailures`, `TicketCache`"},
		{"ticket_long", "tickets taken that hold for longer than a day", ""},
		{"ticket_key_failed", "keys of tickets that could not be read: the old one stays", ""},
		{"authz_refused", "requests whose ticket lacks a privilege", ""},
		{"authz_table_failed", "authorization tables that could not be fetched: the old one counts for 300 s more", ""},
		{"caller_denied", "requests and events refused because no rule names the caller", "`service.callers_mode`"},
		{"caller_would_deny", "requests and events that `enforce` would refuse", "`service.callers_mode`"},
	}},
	{"Events", []counter{
		{"event_refused", "events too large, or too many", "`MaxEventEntries`, `MaxEventOctets`"},
		{"event_malformed", "events that are no JSON array", ""},
		{"event_flood", "connections ended for too many events that cannot be read", ""},
		{"subscribe_refused", "subscriptions refused because there were too many", "`MaxSubscribers`"},
		{"subscriber_behind", "subscribers cut off that had missed too much", "`MaxEventEntries`"},
		{"subscriber_stalled", "subscribers cut off that took no event", "`Mux.SendStall`"},
		{"subscription_lost", "connections of a subscription that ended: it connects anew", ""},
		{"notify_dropped", "notifications dropped unheard", "16 waiting per connection"},
	}},
	{"Announcements", []counter{
		{"announce_accepted", "new or changed announcements taken", ""},
		{"announce_refreshed", "repetitions of what is known", ""},
		{"announce_stale", "announcements older than the newest one seen", ""},
		{"announce_equivocation", "announcements of one time with other octets", ""},
		{"announce_future", "announcements from the future", "`Discovery.FutureSkew`"},
		{"announce_over_budget", "announcements over a share", "`Discovery.MaxIdents`, `Discovery.MaxKnown`, `Discovery.MaxUnknown`"},
		{"announce_unauthorized", "instances left out of the cache file because no rule names them", ""},
		{"announce_ident_conflict", "instances that share an ident", ""},
		{"announce_foreign_address", "loopback addresses heard on a real interface", ""},
		{"announce_fragmented", "announcements longer than one IP packet", "`Discovery.WarnDatagram`, `Discovery.MaxDatagram`"},
		{"announce_send_failed", "announcements that could not be sent: tried again each interval", ""},
		{"announce_too_big", "announcements that grow too large", "`Discovery.MaxAnnounce`"},
		{"announce_malformed", "datagrams that are no announcement", ""},
		{"announce_badkey", "certificates with an unusable key", "`Discovery.MinRSABits`, `Discovery.MaxRSABits`"},
		{"announce_badsig", "signatures that do not match", ""},
		{"announce_badjson", "announcements that are not the JSON they should be", "`Discovery.MaxAnnounceDepth`"},
		{"announce_bad_vector", "action lists that cannot be right", "`Discovery.MaxActions`"},
		{"announce_bad_name", "names, idents or addresses that cannot be right", "`Discovery.MaxName`, `Discovery.MaxIdent`, `Discovery.MaxURI`"},
		{"announce_weight_clamped", "weights brought into range", "`Discovery.MaxWeight`"},
		{"announce_interval_clamped", "intervals brought into range", "`Discovery.MinInterval`, `Discovery.MaxInterval`"},
		{"verify_limited", "announcements dropped because no look at them was left this second", "`Discovery.VerifyRate`, `Discovery.VerifyRateUnknown`"},
		{"verify_cached", "announcements refused before, and not looked at again", "`Discovery.NegativeCache`, `Discovery.NegativeCacheTime`"},
		{"replay_forgotten", "timestamps forgotten to make room", "`Discovery.ReplayMemory`, `Discovery.MaxReplayUnknown`"},
		{"fingerprint_collision", "certificates that share a SHA-1 fingerprint", ""},
		{"observer_blind", "times that nothing was heard, or we stood still: nobody expires then", "`Discovery.MaxFreeze`"},
		{"observer_overrun", "datagrams dropped unread, by us or by the kernel", ""},
		{"interfaces_changed", "interfaces that came or went", ""},
		{"interface_failed", "interfaces that cannot be used", ""},
		{"multicast_silent", "times that nothing came by multicast for three intervals", ""},
		{"fragments_lost", "times that fragments of announcements did not come through", ""},
	}},
	{"Cache and rules files", []counter{
		{"cache_record_bad", "records left out", ""},
		{"cache_record_not_strict", "records left out of the file because strict readers stumble over them", ""},
		{"cache_unusable", "times the file was missing, empty or unreadable", ""},
		{"cache_stale", "times the file was too old", "`Discovery.CacheMaxAge`"},
		{"cache_shrunk", "times half of the file or more was gone at once; more than a few of them are told as a warning", ""},
		{"cache_too_big", "files and records not read", "`Discovery.MaxCacheFile`, `Discovery.MaxCacheRecord`, `Discovery.MaxCacheRecords`"},
		{"cache_writes_merged", "changes that went into one write", "`Discovery.MaxCacheWrites`"},
		{"cache_foreign", "times the file we write was removed or changed by others", ""},
		{"cache_write_failed", "writes that failed: the old file stays", ""},
		{"authz_reload_failed", "times `authorized_services` was not taken: the old rules stay", "`Discovery.MaxAuthzFile`, `Discovery.MaxAuthzLines`, `Discovery.MaxAuthzTokens`"},
		{"callers_reload_failed", "times the file of `service.callers` was not taken: the old rules stay", "as for `authorized_services`"},
	}},
	{"Log", []counter{
		{"log_suppressed", "lines left out, of a kind that came too often or because the log was slow", "`LogRate`, `LogFirst`, `Discovery.LogRate`"},
	}},
}

// zeroCounters is every counter at zero.
func zeroCounters() map[string]uint64 {
	all := make(map[string]uint64, 128)
	for _, g := range counterTable {
		for _, c := range g.counters {
			all[c.name] = 0
		}
	}
	return all
}
