// Package discovery turns datagrams into announcements, announcements into a
// directory, and the directory into routes; and services into datagrams. It
// knows who may offer what, and nothing of connections.
//
//	datagram ─ Inflate ─ Split ─ Certificate ─ Open ─ Announcement ─┐
//	             size      │       key          │                   │ replay rule
//	cache file ─ records ──┘                 signature, then JSON   ▼
//	                                                            Directory ─ Find ─ Route
//	authorized_services ─ ParseAuthorized ─ Authorized ─ Decide ────┘
//
//	service ─ Announcement ─ Sign ─ Compress ─ Announcer ─ Carrier.Send ─ datagram
//
// What comes by datagram is sorted before it is checked, the cheapest first, so that
// no flood keeps an Observer from hearing those it knows (THREATS D20):
//
//	datagram ─ octets held? ───────────────────────────────► refreshed
//	             │ cannot be one by its form, refused a
//	             │ minute ago, or no look left? ───────────► dropped
//	             └ text, certificate's octets ┬ named by a rule ─ line, checks ┬► store
//	                                          └ any other ─────── line, checks ┘
//
// What is new costs a look, and then a signature check. Junk gives most of its look
// back, and each certificate that a rule names has a share of the checks, so that forged
// announcements of one, which is public, do not use up those of another. What remains:
// more than four times VerifyRate well-formed announcements a second, or more than
// VerifyRate forged ones of one certificate, let only a part of what is new be seen (of
// that certificate): a change or a goodbye may be late by many repetitions, as long as
// that goes on. What repeats what is held costs neither.
//
// An announcement is JSON, a certificate and a signature with empty lines
// between them (PROTOCOL 7.1). Only the JSON is signed, and whoever has a key
// can sign: what makes a service trusted is a line for its certificate in
// authorized_services (PROTOCOL 9).
//
// What always holds:
//
//  1. Nothing enters the directory unsigned: Open and Directory.Add verify the
//     signature over the JSON octets exactly as they came, and before the
//     directory changes in any way.
//  2. The signed octets are never changed. What is written to a file is those
//     octets with certificate and signature encoded anew, and nothing else that
//     was received.
//  3. The directory is updated, never cleared: a file that is missing, stale or
//     broken removes nobody, and a bad record harms no other.
//  4. The index is immutable and swapped whole, so a lookup waits for nobody.
//  5. Authorization is decided at selection, on the announced name of the action
//     and the whole certificate, by the rules as they are then. A rule that
//     cannot be read gives no right. Everybody may offer actions of the class _meta,
//     and what is built in (Announcement.BuiltIn) makes nobody one to be listed,
//     watched or counted as of use.
//  6. The wall clock never makes a record old. Timestamps order the
//     announcements of one instance; expiry counts from local receipt.
//  7. Instances are told apart by the SHA-256 of the certificate and the ident,
//     never by an ident or a SHA-1 alone.
//  8. Foreign octets are bounded before anything is allocated for them, and each
//     refusal is an Error that names its counter.
//  9. Names that do not consist of A-Z a-z 0-9 _ . - are not found, so that the
//     case of ASCII letters is the only case there is.
//  10. Nobody is removed because we could not hear him: not while this process
//     stood still or heard nobody, and not while it dropped datagrams unread
//     that may have been his. Each extends a life by MaxFreeze at most.
//
// An Announcement, a Certificate and an Authorized do not change once read.
package discovery
