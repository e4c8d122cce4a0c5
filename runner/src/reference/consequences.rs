//! Rules that decide about the same thing from another side. The tests compare each broken recording with all rules; where
//! one rule is broken, these may be, too, and no others.

/// Each rule with those that a test which breaks it can't keep.
const ALSO: [(&str, &[&str]); 11] = [
    // The A flag also says whether checksums are in use, which MPTCP_INFO shows.
    ("mp-capable", &["subflows-in-mptcp-info"]),
    // With another token, subflows and events are not known to be of the connection.
    ("token", &["report-connections", "report-subflows", "report-addresses-and-priorities", "implicit-endpoints"]),
    // A host answers a wrong HMAC, which it must not do.
    ("join-hmac", &["answer-to-a-join", "join-from-the-peer"]),
    // A handshake that isn't finished has no event and no subflow.
    ("join-handshake", &["report-subflows", "join-from-the-peer"]),
    // One compares segments, the other one looks for a reason.
    ("echo-repeats-announcement", &["echo-announcements"]),
    ("echo-announcements", &["echo-repeats-announcement"]),
    // The additional option has no reason.
    ("option-form", &["remove-deleted-addresses"]),
    ("prio-on-live-subflow", &["tell-changed-priorities"]),
    // The endpoint's address ID is also that of an MP_JOIN to its address.
    ("announce-only-signal-endpoints", &["address-id-of-mp-join"]),
    // The additional announcement is a copy with another address, so its HMAC is wrong.
    ("announce-one-at-a-time", &["add-addr-hmac"]),
    // An announcement is accepted by a subflow to it, whose local address gets an implicit endpoint.
    ("accept-announcements", &["subflow-has-a-reason", "subflow-towards-an-announced-address", "implicit-endpoints"]),
];

/// Whether the second rule may be broken where the first one is.
pub(super) fn may_follow(rule: &str, other: &str) -> bool {
    ALSO.iter().any(|(name, others)| *name == rule && others.contains(&other))
}

#[test]
fn consequences_are_rules() {
    let is_rule = |name: &str| super::RULES.iter().any(|rule| rule.name == name);
    for (rule, others) in ALSO {
        assert!(is_rule(rule) && others.iter().all(|other| is_rule(other)), "{rule}: {others:?}");
    }
}
