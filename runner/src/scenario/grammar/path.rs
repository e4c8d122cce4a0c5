//! Paths: what a link does to the packets that cross it.

use super::{Record, WIRE_OPTIONS};

/// The option that a rule looks for.
pub static RULE_OPTION: Record =
    Record { name: "rule_option", what: "the option of a rule", keys: &[], one_of: &WIRE_OPTIONS, never: &[] };

/// What can be counted of a direction: the fields of [`crate::recording::PathTotals`].
pub static TOTALS: [&str; 12] = [
    "entered",
    "entered_bytes",
    "left",
    "left_bytes",
    "lost",
    "queue_full",
    "too_big",
    "reordered",
    "duplicated",
    "added",
    "dropped",
    "merged",
];
