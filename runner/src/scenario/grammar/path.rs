//! Paths: what a link does to the packets that cross it.

use super::super::read::path::conditions::Changes;
use super::super::read::path::rule::RuleKeys;
use super::super::record::Part as _;
use super::super::scalar::Seed;
use super::{Key, Kind, Record, Shape, WIRE_OPTIONS};

/// The paths of a world.
pub(super) const PATHS: Key = Key::new(
    "paths",
    Shape::Table("link", Kind::Name, &PATH_SHAPE),
    "What links do to packets, by link. Other links are plain veth pairs.",
);
static PATH_SHAPE: Shape = Shape::Record(&PATH);

/// A path.
pub static PATH: Record = Record::plain(
    "path",
    "a path",
    &[
        Key::of::<Seed>("seed", "Seed of all random decisions on this path; 0 by default."),
        Key::new("both", Changes::SHAPE, "What both directions do."),
        Key::new(
            "from",
            Shape::Table("namespace", Kind::Name, &Changes::SHAPE),
            "What one direction does, by the namespace that sends; its keys override those of `both`.",
        ),
        Key::new(
            "rules",
            Shape::List(&RuleKeys::SHAPE),
            "Middlebox rules, in a row along the link: packets from the first end pass them in this order, packets from the \
             second end in reverse. The conditions apply after them.",
        ),
    ],
);

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
