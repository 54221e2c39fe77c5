package discovery

import "time"

// Limits bounds what announcements, cache files and rule files may cost. A field
// that is zero or negative means its default, which is that of THREATS 5.1. The
// zero value is ready to use. A Limits is a plain value: copy it freely.
//
// The name after each field is the counter that moves when the limit refuses,
// drops or changes something.
type Limits struct {
	// Datagrams.
	MaxDatagram       int // octets received or sent; 65,507 (announce_too_big)
	WarnDatagram      int // octets above which a datagram is fragmented by IP; 1,472 (announce_fragmented)
	MaxAnnounce       int // octets of the inflated text; 256 KiB (announce_too_big)
	MaxAnnounceDepth  int // levels of nesting in the JSON; 16 (announce_badjson)
	MaxActions        int // actions of one announcement; 4,096, at most 100,000 (announce_bad_vector)
	MaxName           int // octets of a sector, class, base name or envelope; 255 (announce_bad_name)
	MaxIdent          int // octets of an ident; 255 (announce_bad_name)
	MaxURI            int // octets of an address; 512 (announce_bad_name)
	MaxWeight         int // larger weights are clamped to it; 100 (announce_weight_clamped)
	MinRSABits        int // 2,048; may be lowered to 1,024, key tls.min_rsa_bits (announce_badkey)
	MaxRSABits        int // 4,096 (announce_badkey)
	MaxIdents         int // idents of one known certificate, by datagram; 256 (announce_over_budget)
	MaxKnown          int // known certificates held, by datagram; 4,096 (announce_over_budget)
	MaxUnknown        int // records of unknown certificates held, by datagram; 1,024 (announce_over_budget)
	VerifyRate        int // signature checks per second for known certificates, by datagram, burst twice that, half of which no single certificate takes; 400 (verify_limited). New datagrams read: four times as many (observer_overrun)
	VerifyRateUnknown int // the same for unknown certificates; 50 (verify_limited). New datagrams with more than 24 KiB of text read: as many (observer_overrun)
	NegativeCache     int // refused datagrams remembered; 8,192 (verify_cached)

	// Time.
	NegativeCacheTime time.Duration // how long a refused datagram is remembered; 60 s (verify_cached)
	FutureSkew        time.Duration // a timestamp further ahead is a future one; 300 s (announce_future)
	MinInterval       time.Duration // shorter intervals count as this; 5 s (announce_interval_clamped)
	MaxInterval       time.Duration // longer intervals, and any expiry, count as this; 1 h (announce_interval_clamped)
	MaxFreeze         time.Duration // longest extension of an expiry by the observer's own stall; 60 s (observer_blind)
	ReplayMemory      time.Duration // how long replay state outlives its record; 24 h (replay_forgotten)
	MaxReplayUnknown  int           // replay states of unknown certificates; 4,096 (replay_forgotten)

	// Cache file.
	MaxCacheFile    int           // octets; 64 MiB (cache_too_big)
	MaxCacheRecord  int           // octets of one record; 320 KiB (cache_too_big)
	MaxCacheRecords int           // records, also the idents of one certificate, from a file; 20,000 (cache_too_big)
	CacheMaxAge     time.Duration // an older file is stale; 120 s, key discovery.cache_max_age (cache_stale)
	MaxCacheWrites  int           // rewrites per second; 2 (cache_writes_merged)

	// Rule file.
	MaxAuthzFile   int // octets; 8 MiB (authz_reload_failed)
	MaxAuthzLines  int // lines; 10,000 (authz_reload_failed)
	MaxAuthzTokens int // tokens of one line; 1,024 (authz_reload_failed)

	// Log.
	LogRate int // lines per second and kind; 1 (log_suppressed)
	LogText int // octets of quoted foreign text; 128 (log_suppressed)
}

// Bounds that no setting passes.
const (
	mostActions    = 100_000 // PROTOCOL 7.4
	fewestRSABits  = 1024    // PROTOCOL 6.3
	maxList        = 64      // flags of an action, or envelopes of anything: several times what any peer sends
	maxMembers     = 64      // members of an extension object; 17 have a meaning
	maxNumber      = 64      // octets of a JSON number; a float64 needs 24
	maxCertificate = 8 << 10 // octets of a certificate by network; real ones have 600 to 2,000, and 250 KB take 13 ms to read
	maxLogText     = 128     // octets of foreign text quoted in an error, as Limits.LogText
	expiryTenths   = 21      // an instance is removed after 2.1 intervals
	suspectsFactor = 6       // and forgotten after 6
)

// WithDefaults returns l with every unset field filled in and every field within
// the bounds that no setting passes.
func (l Limits) WithDefaults() Limits {
	for _, f := range []struct {
		field    *int
		standard int
	}{
		{&l.MaxDatagram, 65_507},
		{&l.WarnDatagram, 1_472},
		{&l.MaxAnnounce, 256 << 10},
		{&l.MaxAnnounceDepth, 16},
		{&l.MaxActions, 4_096},
		{&l.MaxName, 255},
		{&l.MaxIdent, 255},
		{&l.MaxURI, 512},
		{&l.MaxWeight, 100},
		{&l.MinRSABits, 2_048},
		{&l.MaxRSABits, 4_096},
		{&l.MaxIdents, 256},
		{&l.MaxKnown, 4_096},
		{&l.MaxUnknown, 1_024},
		{&l.VerifyRate, 400},
		{&l.VerifyRateUnknown, 50},
		{&l.NegativeCache, 8_192},
		{&l.MaxReplayUnknown, 4_096},
		{&l.MaxCacheFile, 64 << 20},
		{&l.MaxCacheRecord, 320 << 10},
		{&l.MaxCacheRecords, 20_000},
		{&l.MaxCacheWrites, 2},
		{&l.MaxAuthzFile, 8 << 20},
		{&l.MaxAuthzLines, 10_000},
		{&l.MaxAuthzTokens, 1_024},
		{&l.LogRate, 1},
		{&l.LogText, maxLogText},
	} {
		if *f.field <= 0 {
			*f.field = f.standard
		}
	}
	for _, f := range []struct {
		field    *time.Duration
		standard time.Duration
	}{
		{&l.NegativeCacheTime, 60 * time.Second},
		{&l.FutureSkew, 300 * time.Second},
		{&l.MinInterval, 5 * time.Second},
		{&l.MaxInterval, time.Hour},
		{&l.MaxFreeze, 60 * time.Second},
		{&l.ReplayMemory, 24 * time.Hour},
		{&l.CacheMaxAge, 120 * time.Second},
	} {
		if *f.field <= 0 {
			*f.field = f.standard
		}
	}
	l.MaxActions = min(l.MaxActions, mostActions)
	l.MinRSABits = max(l.MinRSABits, fewestRSABits)
	return l
}

// EffectiveInterval returns the interval that counts for an announced one, from
// MinInterval to MaxInterval (PROTOCOL 7.8).
func (l Limits) EffectiveInterval(announced time.Duration) time.Duration {
	l = l.WithDefaults()
	return min(max(announced, l.MinInterval), max(l.MinInterval, l.MaxInterval))
}

// Expiry returns how long after its last receipt an instance with this announced
// interval is removed, and how long after it stops being a suspect (PROTOCOL 7.8
// and A.6: the first never exceeds MaxInterval).
func (l Limits) Expiry(announced time.Duration) (removed, forgotten time.Duration) {
	l = l.WithDefaults()
	interval := l.EffectiveInterval(announced)
	return min(interval*expiryTenths/10, max(l.MaxInterval, l.MinInterval)), interval * suspectsFactor
}
