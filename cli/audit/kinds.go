package audit

// A Group is what a finding is about. Reports are in this order.
type Group uint8

// What a finding is about.
const (
	Configuration Group = iota
	Rules
	Services
	Certificates
	Keys
	CacheFile
)

// String returns the group as a heading.
func (g Group) String() string {
	names := [...]string{Configuration: "configuration", Rules: "rules", Services: "services", Certificates: "certificates",
		Keys: "keys", CacheFile: "cache file"}
	if int(g) < len(names) {
		return names[g]
	}
	return "unknown"
}

// A Kind is what findings with one id have in common.
type Kind struct {
	ID       string
	Group    Group
	Severity Severity // as a rule; a finding may be less or more
	Title    string
	Meaning  string
	Fix      string // what to do, where the finding has no better advice
}

// Kinds returns every kind of finding, in the order of groups. An id never changes its
// meaning.
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

func kindOf(id string) *Kind {
	for i := range kinds {
		if kinds[i].ID == id {
			return &kinds[i]
		}
	}
	return &Kind{ID: id, Severity: Error}
}

var kinds = []Kind{
	{"config-unreadable", Configuration, Error, "The configuration cannot be read",
		"The file is missing, cannot be opened, or is something else than a configuration.", "name a readable soa.conf with --config"},
	{"config-value", Configuration, Error, "A value cannot be used",
		"Programs refuse to start with this line.", "write the line in the wanted form, or remove it for the default"},
	{"config-unknown-key", Configuration, Warning, "Nobody reads this key",
		"The line has no effect: its key is misspelled, or of no implementation.", "correct the key or remove the line"},
	{"config-line", Configuration, Warning, "A line has no effect, or another one than it seems",
		"No equals sign, a key that stands in the file before, or a value beyond what can be used.", "correct the line or remove it"},
	{"config-path", Configuration, Error, "A file that a key names cannot be read",
		"What needs the file will fail, or do without: without its key no ticket is valid.", "correct the path, or put the file there"},
	{"config-directory", Configuration, Error, "A directory that a key names cannot be used",
		"It is missing, is no directory, cannot be written by this user, or others may replace files in it. An info where it is another user's, as that of the cache file is for services.", "make the directory, for the user who runs the program alone"},
	{"config-address", Configuration, Error, "An address is none of this host",
		"Nothing is announced and nobody listens on it; with no address at all serving fails.", "name an IPv4 address of this host or if:NAME in bus.address"},
	{"config-ports", Configuration, Warning, "The port range is upside down",
		"The last port is below the first, so 300 ports from the first on are used instead.", "let beepish.last_port be beepish.first_port or more"},
	{"file-bom", Configuration, Error, "The file begins with a byte order mark",
		"In rules the mark is part of the first line, which then is no rule. In soa.conf, where we read past it and others do not, a warning.", "save the file as UTF-8 without a byte order mark"},

	{"rules-unreadable", Rules, Error, "The rules cannot be used",
		"The file cannot be read, is empty, or has lines of which none is a rule or names a certificate. Running programs keep the rules they read last; those that start now allow nothing but _meta.", "put the file back as it was, readable by this user; a comment alone takes every right away"},
	{"callers-unreadable", Rules, Error, "The callers file cannot be used",
		"The file cannot be read, is empty, or has lines of which none is a rule or names a certificate. Running services keep what they read last; those that start now let nobody call anything but _meta.", "put the file that service.callers names back as it was, readable by this user; with a comment alone nobody may call anything but _meta"},
	{"rule-malformed", Rules, Error, "A line is no rule",
		"It gives no right: its first word is no fingerprint, and it is skipped; or it is no text, and still replaces an earlier line of its certificate.", "begin the line with what scamp fingerprint CERT prints"},
	{"rules-unended", Rules, Warning, "The last line has no line feed",
		"It counts, but nobody can tell whether it was cut off, and a token that is cut may give more rights. Running programs take no file that is the beginning of the one they know.", "end the file with a line feed, or write it anew if it was cut off"},
	{"token-no-right", Rules, Error, "A token gives no right",
		"Tokens are names, whole parts of them, or SECTOR:ALL: patterns, blanks and a dot at the end match nothing.", "write [SECTOR:]Class, [SECTOR:]Class.action or SECTOR:ALL"},
	{"token-class-all", Rules, Warning, "A token means a class named ALL",
		"All of a sector is spelled SECTOR:ALL, in upper case and with the sector; anything else is a class of that name.", "write SECTOR:ALL, if all of a sector was meant"},
	{"token-alias", Rules, Warning, "A token names an alias",
		"Rules judge the real name of an action, so a token for _create, _read, _update or _destroy gives no right here; Perl alone looks at it.", "name the action itself"},
	{"token-near-miss", Rules, Warning, "A token misses an announced action by a little",
		"The service of that certificate offers an action that is not allowed, and this token is nearly it.", "correct the token"},
	{"token-unused", Rules, Info, "A token matches nothing that is announced",
		"The service of that certificate is on the bus now and offers nothing the token allows.", "remove the token if the service will not offer it again"},
	{"rule-duplicate", Rules, Warning, "A certificate has two lines",
		"The last line replaces the earlier ones: their rights are lost.", "make one line of them"},
	{"fingerprint-case", Rules, Warning, "A fingerprint is in lower case",
		"We read it; other implementations ignore the line.", "write the fingerprint in upper case"},
	{"fingerprint-near-miss", Rules, Warning, "A fingerprint misses a certificate by a little",
		"No certificate with this fingerprint is known, and one that no rule names is nearly it.", "copy what scamp fingerprint CERT prints"},
	{"rule-too-broad", Rules, Warning, "A rule allows a whole sector",
		"Whoever has that key may take over every action of the sector.", "name the classes that the service offers"},
	{"rule-sha1-only", Rules, Info, "A certificate is named by its SHA-1 alone",
		"Two certificates with one SHA-1 can be made, at some cost, by who makes both. A line by SHA-256 beside it decides for us, and older programs skip it.", "add a line by SHA-256 with the same tokens below it"},
	{"rule-ignored", Rules, Error, "bus.require_sha256 ignores the rule",
		"Only lines by SHA-256 count on this host, and this certificate has none.", "add a line by SHA-256 with the same tokens"},
	{"rule-empty", Rules, Info, "A rule gives no right",
		"The line names a certificate and no action: it allows nothing, as no line would.", "add what the service may offer, or remove the line"},
	{"rule-unused", Rules, Info, "Nobody uses the rule",
		"No announcement and no certificate that was looked at belongs to it. The service may be down now.", "remove the line if the service is gone for good"},

	{"service-denied", Services, Error, "A service offers what it may not",
		"Nobody who keeps to the rules calls these actions there.", "allow it in authorized_services, or stop the service"},
	{"alias-unauthorized", Services, Warning, "An action without a rule has an alias",
		"The Rust implementation lets every alias pass without a rule, so its callers reach this service by _create and the like.", "find out whose service this is"},
	{"alias-narrow", Services, Info, "A right does not reach to the alias",
		"Perl callers judge _create and the like instead of the action, and are denied by a token that names the action alone.", "allow the class, if Perl programs call it by the alias"},
	{"action-contested", Services, Warning, "Services of different names offer one action",
		"Calls go to either of them, and so do tickets.", "give one of them another action or sector, or take away its right"},
	{"action-spelling", Services, Info, "An action is announced in two spellings",
		"They differ in letter case alone, and are one action to every caller.", "use one spelling"},
	{"ident-shared", Services, Warning, "Two certificates announce one ident",
		"They count as two instances; whoever asks for one by its ident gets either of them.", "restart both, and find out who copied it"},
	{"announcement-too-long", Services, Warning, "An announcement does not fit one datagram",
		"IP sends it in fragments, and it is lost when one of them is.", "use a key of 2048 bits, or announce fewer actions in one service"},
	{"announcement-not-strict", Services, Warning, "Old readers choke on an announcement",
		"An old Go reader loses the whole cache file by it, so our cache daemon leaves it out.", "update the program that announces it"},
	{"announcement-part", Services, Warning, "A part of an announcement does not count",
		"Something in it is malformed or out of bounds and was left out or changed.", "update the program that announces it"},
	{"timestamp-future", Services, Warning, "An announcement is dated in the future",
		"The clock of its host is wrong. It counts, but any other packet of the instance replaces it.", "set the clock of that host"},

	{"cert-expired", Certificates, Warning, "A certificate has expired",
		"No SCAMP program looks at the dates, so it works on; what else reads the certificate may refuse it.", "make a new key pair: move both files away, then scamp provision NAME SECTOR:CLASS, and take the old rule out"},
	{"cert-expires", Certificates, Info, "A certificate expires soon",
		"Within 30, 14, 7 or 1 days; a warning from 7 days on. No SCAMP program looks at the dates.", "make a new key pair: move both files away, then scamp provision NAME SECTOR:CLASS, and take the old rule out"},
	{"cert-not-yet", Certificates, Warning, "A certificate is not valid yet",
		"No SCAMP program looks at the dates; a clock was wrong when it was made, or is now.", "set the clock"},
	{"cert-no-rule", Certificates, Warning, "No rule names the certificate of a service",
		"The service may offer nothing but _meta.", "add a line to authorized_services: scamp provision NAME SECTOR:CLASS"},
	{"cert-unreadable", Certificates, Error, "A certificate cannot be read",
		"The file is missing, cannot be opened, or holds no certificate.", "name a PEM file with BEGIN CERTIFICATE"},
	{"key-weak", Certificates, Error, "A key is of a kind or size that peers refuse",
		"RSA of 2048 to 4096 bits with an exponent of 3 to 65537 is accepted. A warning where tls.min_rsa_bits lets a smaller one in.", "make a new key pair: move both files away, then scamp provision NAME SECTOR:CLASS, and take the old rule out"},
	{"signature-weak", Certificates, Info, "A certificate is signed with a weak hash",
		"Nobody on the bus checks that signature: certificates are compared octet for octet. What else reads it may refuse it.", "make a new key pair: move both files away, then scamp provision NAME SECTOR:CLASS, and take the old rule out"},
	{"fingerprint-collision", Certificates, Error, "Two certificates have one SHA-1",
		"That does not happen by chance: somebody made both. Neither is believed.", "take the rights of both away, and find out who made them"},

	{"key-mismatch", Keys, Error, "Key and certificate do not belong together",
		"The service cannot start.", "put the key and the certificate that were made together there"},
	{"key-unreadable", Keys, Error, "A private key cannot be read",
		"The file is missing, cannot be opened, or holds no RSA key without a pass phrase.", "name a PEM file with BEGIN PRIVATE KEY"},
	{"key-readable", Keys, Error, "Everybody can read or write a private key",
		"Whoever has an account on this host can be that service, or put another key in its place. Serving refuses it; a warning where tls.allow_readable_key is 1.", "chmod 600, and make a new pair if others had accounts"},
	{"key-group", Keys, Info, "A group of users can read or write a private key",
		"Who is in the group of the file can be that service. That may be meant so.", "chmod 600, if one user alone runs the service"},
	{"ticket-key", Keys, Error, "No ticket can be verified with the key",
		"The file of auth.ticket_verify_key holds no public RSA key of a good size, so no ticket is valid.", "name a PEM file with BEGIN PUBLIC KEY, as scamp ticket keygen makes"},
	{"ticket-key-private", Keys, Warning, "The key that signs tickets is where it is not needed",
		"Services need the public half alone; whoever has the private one can make any ticket.", "take the private key out of the file, and make a new one if others could read it"},
	{"key-shared", Keys, Warning, "Services of different names have one key",
		"Each can announce as the other, answer in its place and use its rules. Instances of one service may share a key. An info where it is known from announcements alone: one program may have several services.", "make a key pair for each: move the copied files away, then scamp provision NAME SECTOR:CLASS"},
	{"pair-incomplete", Keys, Error, "Only half of a key pair is there",
		"A service needs its key and its certificate.", "name both, or put the missing file there"},

	{"cache-unreadable", CacheFile, Error, "The cache file cannot be read",
		"It is missing, empty, cannot be opened, or no cache file. Programs keep what they read last, and listen themselves.", "start scamp cache with this configuration"},
	{"cache-stale", CacheFile, Warning, "The cache file is old",
		"Nobody has touched it for longer than discovery.cache_max_age: the cache daemon does not run.", "start scamp cache with this configuration"},
	{"cache-future", CacheFile, Warning, "The cache file is dated in the future",
		"Its age is not known: what looks at it once takes it for new, and who is dead may look alive. Programs that follow it count from when they saw it first.", "set the clock of the host, and start scamp cache anew"},
	{"record-bad", CacheFile, Error, "A record of the cache file is refused",
		"Its signature, its form or its key is not good. Other records are not affected.", "find out who writes it; scamp cache writes none such"},
}
