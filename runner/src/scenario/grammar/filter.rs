//! Steps about packet filters.

use super::{FILTER_OPTIONS, IN, Kind, Record, scalar};

/// Installs a filter.
pub(super) static ADD_FILTER: Record = Record::plain(
    "add_filter",
    "an `add_filter` step",
    &[
        scalar("name", Kind::Name, "Its name, unique in the namespace.").required(),
        IN,
        scalar("hook", Kind::Word(&["input", "output"]), "Segments for, or from, this namespace.").required(),
        scalar("from", Kind::Address, "Only segments from this address."),
        scalar("to", Kind::Address, "Only segments to this address."),
        scalar("device", Kind::Device, "Only segments through this interface."),
        scalar("option", Kind::Word(&FILTER_OPTIONS), "Only segments with this MPTCP option."),
        scalar("min_payload", Kind::Integer(1, 65535), "Only segments with at least so many payload bytes."),
        scalar("nth", Kind::Integer(1, 0xffff_ffff), "Only the n-th segment that matches all of the above."),
        scalar(
            "action",
            Kind::Word(&["drop", "reject_icmp", "reject_reset", "corrupt", "strip_mptcp"]),
            "drop; reject_icmp (port unreachable); reject_reset (TCP reset); corrupt (inverts a payload byte); \
             strip_mptcp (removes MPTCP options).",
        )
        .required(),
        scalar("may_be_unused", Kind::Switch, "It is no error if no segment ever matches."),
    ],
);

/// Removes it.
pub(super) static REMOVE_FILTER: Record =
    Record::plain("remove_filter", "a `remove_filter` step", &[IN, scalar("name", Kind::Name, "Its name.").required()]);
