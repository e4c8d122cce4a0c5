//! The list of rules: [`RULES`].

use std::fmt;

use super::announce;
use super::ledger::Ledger;
use super::subflow;
use super::view::View;
use super::wire;

/// A rule of RFC 8684 or of the kernel's path manager.
pub struct Rule {
    /// Its name in plain words, with hyphens: `announce-signal-endpoints`.
    pub name: &'static str,
    /// The rule in one or two sentences.
    pub statement: &'static str,
    /// The sentence of ip-mptcp(8), the section of RFC 8684, or the kernel's file and function.
    pub source: &'static str,
    /// How kernels differ, by probed features; empty if they don't.
    pub kernels: &'static str,
    /// Applies it to a recording.
    pub(super) apply: fn(&View<'_>, &mut Ledger),
}

impl Rule {
    /// Whether it is a rule of RFC 8684 on the wire, whoever manages the paths. Such a rule is about what a segment says,
    /// not about when or whether it comes: being late doesn't break it.
    pub fn is_of_wire(&self) -> bool {
        let of_wire = RULES.iter().take_while(|rule| !std::ptr::eq(**rule, &raw const announce::due::RULE));
        of_wire.into_iter().any(|rule| std::ptr::eq(*rule, self))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Each rule.
pub static RULES: &[&Rule] = &[
    // RFC 8684 on the wire.
    &wire::MP_CAPABLE,
    &wire::TOKENS,
    &wire::JOIN_HMAC,
    &wire::JOIN_HANDSHAKE,
    &wire::ADD_ADDR_HMAC,
    &wire::ECHO,
    &wire::MAPPINGS,
    &wire::PAYLOAD,
    &wire::CHECKSUMS,
    &wire::DATA_ACKS,
    &wire::DATA_FIN,
    &wire::WINDOW,
    &wire::OPTIONS,
    &wire::FASTCLOSE,
    &wire::PRIORITY,
    &wire::FAIL,
    &wire::FALLBACK,
    // Announcements, removals, priorities, events.
    &announce::due::RULE,
    &announce::permitted::RULE,
    &announce::one_at_a_time::RULE,
    &announce::retransmission::RULE,
    &announce::echo::RULE,
    &announce::accept::RULE,
    &announce::removal::RULE,
    &announce::removed::RULE,
    &announce::priority::RULE,
    &announce::connection_events::RULE,
    &announce::events::RULE,
    &announce::subflow_events::RULE,
    &announce::shown::RULE,
    // Subflows.
    &subflow::reason::RULE,
    &subflow::limit::RULE,
    &subflow::address_id::RULE,
    &subflow::backup::RULE,
    &subflow::device::RULE,
    &subflow::doubles::RULE,
    &subflow::accept::RULE,
    &subflow::endpoint::RULE,
    &subflow::announced::RULE,
    &subflow::handshake::RULE,
    &subflow::shown::INFO,
    &subflow::shown::SOCKETS,
    &subflow::implicit::RULE,
    &subflow::userspace::RULE,
    &subflow::reopened::RULE,
    &subflow::fallback::RULE,
];

#[cfg(test)]
mod tests {
    use super::RULES;
    use crate::scenario::model::RULE_NAMES;

    #[test]
    fn scenarios_know_the_names_of_the_rules() {
        assert!(RULES.iter().map(|rule| rule.name).eq(RULE_NAMES));
    }
}
