package conform

// sources are the verdicts of the implementations that were never run, C# and Rust, by
// the tables of PROTOCOL that were read from their sources (2.2, 2.4, 3.3, 4.3, 4.7, 5.2,
// 6.2 and appendix B). A zero verdict is not known.
var sources = map[string]struct{ CSharp, Rust Verdict }{
	// Framing, 2.2 and 2.4.
	"2.1-c": {Pass, Pass}, "2.1-d": {Pass, Pass}, "2.1-e": {Pass, Pass}, "2.1-f": {Pass, Pass},
	"2.1-j": {Pass, Fail}, "2.1-k": {Pass, Fail}, "2.1-o": {Pass, 0},
	"2.2-a": {Pass, Pass}, "2.2-b": {Pass, Pass}, "2.3-d": {Pass, Pass},
	"2.4-a": {Pass, 0}, "2.4-b": {Pass, 0}, "2.4-c": {Pass, 0},
	"2.4-e": {Pass, 0}, "2.4-f": {Pass, 0}, "2.4-g": {Pass, 0},
	"2.4-m": {Pass, 0}, "2.4-n": {Pass, 0},
	"3.1-e": {Pass, 0}, "3.1-f": {Pass, 0},
	"2.1-rc": {Pass, Pass}, "2.1-rd": {Pass, Pass}, "2.1-re": {Pass, Fail}, "2.1-rf": {Pass, 0},
	"2.2-ra": {Pass, Pass}, "2.2-rb": {Pass, Pass}, "2.3-rb": {Pass, Pass},
	"2.4-ra": {Pass, 0}, "2.4-rb": {Pass, 0}, "2.4-rc": {Pass, 0}, "2.4-rd": {Pass, 0}, "2.4-re": {Pass, 0},
	"3.1-rc": {Pass, 0}, "3.1-rd": {Pass, 0},
	// Headers, 3.3 and 3.4.
	"3.2-a": {Pass, Fail}, "3.2-m": {Pass, Fail}, "3.4-b": {Pass, Pass}, "3.5-c": {Pass, Fail},
	"3.2-ry": {NonStrict, NonStrict}, "3.4-rz": {Fail, Pass}, "3.5-rf": {Pass, Fail},
	// Windows and ACKs, 2.4 and 4.3.
	"4.3-a": {Fail, Fail}, "4.3-z": {Fail, Fail}, "4.4-d": {Fail, 0}, "4.4-e": {Pass, 0}, "4.4-f": {Pass, 0},
	"4.4-g": {Pass, 0}, "4.4-h": {Pass, 0}, "4.4-i": {Pass, 0}, "4.4-j": {Pass, 0}, "4.4-o": {Pass, 0}, "4.4-p": {Pass, 0},
	"4.3-ra": {Fail, Pass}, "4.3-rz": {Fail, 0}, "4.4-rd": {Fail, 0}, "4.4-re": {Pass, 0},
	"4.4-rg": {Pass, 0}, "4.4-rh": {Pass, 0}, "4.4-ri": {Pass, 0}, "4.4-rj": {Pass, 0}, "4.4-ro": {Pass, 0}, "4.4-rp": {Pass, 0},
	// PING, 4.7.
	"4.7-a": {Fail, Pass}, "4.7-b": {Fail, 0}, "4.7-e": {Fail, 0}, "4.7-ra": {Fail, Pass}, "4.7-rb": {Fail, 0},
	// Errors, 5.2.
	"5.2-a": {Pass, Pass}, "5.3-a": {NonStrict, NonStrict},
	// The certificate, 6.2.
	"6.2-ra": {Pass, Pass},
}

// withSources adds what is known of C# and Rust.
func withSources(cases []Case) []Case {
	for i := range cases {
		s := sources[cases[i].ID]
		cases[i].Peers.CSharp, cases[i].Peers.Rust = s.CSharp, s.Rust
	}
	return cases
}
