//! What paths did to packets.

use serde::{Deserialize, Serialize};

use super::Name;
use crate::wire::Segment;

/// An effect of a path on a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
pub enum PathEffect {
    /// It was lost, by chance or by number.
    Lost,
    /// The queue was full.
    QueueFull,
    /// It was larger than the path's MTU.
    TooBig,
    /// It was held back, so that others overtook it.
    Reordered,
    /// It went on twice, by the conditions.
    Duplicated,
    /// A rule did something to it.
    Rule {
        /// The rule's name.
        rule: Name,
        /// The word of the rule's action: `drop`, `delay`, `duplicate`, `hold`, `corrupt`, `strip`, `rewrite`, `nat`,
        /// `inject`, `split`, `merge`; `release` when what was held went on.
        action: Name,
        /// What went on instead of it or besides it, in its order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        made: Vec<Segment>,
    },
}

/// Counts of IP packets that a direction of a path has treated. What entered or was added has left, was lost or dropped
/// (`lost`, `queue_full`, `too_big`, `dropped`), went into another one (`merged`), or is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PathTotals {
    /// Came in.
    pub entered: u64,
    /// Their bytes.
    pub entered_bytes: u64,
    /// Went out, with copies, parts and injected ones.
    pub left: u64,
    /// Their bytes.
    pub left_bytes: u64,
    /// [`PathEffect::Lost`]
    pub lost: u64,
    /// [`PathEffect::QueueFull`]
    pub queue_full: u64,
    /// [`PathEffect::TooBig`]
    pub too_big: u64,
    /// [`PathEffect::Reordered`]
    pub reordered: u64,
    /// [`PathEffect::Duplicated`]
    pub duplicated: u64,
    /// Copies, parts beyond the first, injected segments and ICMP answers.
    pub added: u64,
    /// Dropped by rules, or held and never released.
    pub dropped: u64,
    /// Merged into another one.
    pub merged: u64,
}
