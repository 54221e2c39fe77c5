package conform

// guestRuleCases look back at all that the requester wrote, on all connections.
func guestRuleCases() []Case {
	rule := func(s Section, id, item string, level Level, title, why string, r rule, peers Peers) Case {
		return look(Case{Section: s, ID: id, Item: item, Level: level, Title: title, Why: why, Peers: peers}, r)
	}
	return ofGuests(SectionLine,
		rule(SectionLine, "2.1-rz", "1", Must, "all that the requester writes is packets", "A peer that reads strictly closes on anything else.", ruleGrammar, Peers{}),
		rule(SectionLine, "2.2-rz", "", Must, "no HEADER of the requester is above 32768 octets", "What some peers accept at most is twice that; half of it leaves room.", ruleHeaderSize, Peers{}),
		rule(SectionHeader, "3.1-rz", "", Must, "every header of the requester is one JSON object, no member twice", "Readers disagree about which value counts.", ruleHeaderJSON, Peers{}),
		rule(SectionHeader, "3.3-rz", "32", Must, "no member of a header of the requester is null", "Go and Rust close the connection on some of them.", ruleNull, measured(Pass, Pass, Fail)),
		rule(SectionHeader, "3.3-ry", "19c", Must, "the requester sends nothing but requests, and cancel where it is understood", "Go closes the connection on any other type.", ruleKinds, Peers{}),
		rule(SectionHeader, "3.2-rz", "22", Must, "every request has action, version and type, each of its usual type", "Go closes the connection on others, and JavaScript finds no action without a version.", ruleMembers, measured(Pass, Pass, Pass)),
		rule(SectionHeader, "3.2-ry", "19", Should, "every request has the member sector", "A request without one is taken for that of a peer which ignores the window.", ruleSector, measured(Pass, NonStrict, NonStrict)),
		rule(SectionNumbers, "2.4-rz", "10", Must, "the HEADERs of the requester count 0, 1, 2, …", "Peers close on any other number.", ruleNumbers, measured(Pass, Pass, Pass)),
		rule(SectionNumbers, "2.4-ry", "11", Must, "DATA, EOF and TXERR of the requester belong to open messages", "Peers close on any other.", ruleOpen, Peers{}),
		rule(SectionData, "2.4-rx", "15", Must, "the requester sends no empty DATA", "Go answers with an ACK that others close on.", ruleEmptyData, Peers{Go: Fail}),
		rule(SectionData, "4.3-rz", "33", Must, "no message of the requester passes its window", "Who counts on the window has no room for more.", ruleWindow, measured(Fail, Fail, Fail)),
		rule(SectionACK, "4.4-rz", "35", Must, "ACKs of the requester rise, name at most what was sent, and are never 0", "Senders that check, as most do, close the connection on any other.", ruleAck, Peers{Go: Fail}),
		rule(SectionEnd, "2.4-rw", "12", Must, "no EOF of the requester has a body", "It closes the connection on most peers.", ruleEOFBody, Peers{}),
		rule(SectionEnd, "4.1-rz", "16", Must, "every TXERR of the requester has a text other than 0", "JavaScript closes the connection on one without.", ruleEmptyTXERR, Peers{}),
		rule(SectionPing, "4.7-rz", "17", Must, "the requester sends no PING, and no PONG, to one who sent no PING and no ext", "Perl, C# and Go close the connection on one.", ruleUnaskedPing, Peers{}),
		rule(SectionCorrelation, "3.4-rz", "19", Must, "request ids count 1, 2, 3, … as integers on each connection", "Go numbers its replies so, whatever the ids are, and closes on strings.", ruleIDs, measured(Pass, Pass, Pass)),
	)
}
