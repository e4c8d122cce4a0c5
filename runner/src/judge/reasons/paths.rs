//! What paths did to packets.

use indexmap::IndexMap;

use crate::recording::{Name, Observation, PathDeed};

use super::{Cause, Known, Reason};

/// The paths that did anything but pass packets on.
pub(super) fn deeds(known: &Known<'_, '_>) -> Vec<Reason> {
    let mut paths: IndexMap<&Name, IndexMap<Cause, u64>> = IndexMap::new();
    for what in known.observations() {
        let Observation::Path { link, what, .. } = what else { continue };
        let Some(cause) = cause(what) else { continue };
        *paths.entry(link).or_default().entry(cause).or_default() += 1;
    }
    let reason = |(link, deeds): (&Name, IndexMap<Cause, u64>)| Reason::Path {
        link: link.to_string(),
        deeds: deeds.into_iter().collect(),
    };
    paths.into_iter().map(reason).collect()
}

/// What a rule did to a packet when it released it was counted when it held it.
fn cause(what: &PathDeed) -> Option<Cause> {
    Some(match what {
        PathDeed::Lost => Cause::Lost,
        PathDeed::QueueFull => Cause::QueueFull,
        PathDeed::TooBig => Cause::TooBig,
        PathDeed::Reordered => Cause::Reordered,
        PathDeed::Duplicated => Cause::Duplicated,
        PathDeed::Rule { action, .. } if action == "release" => return None,
        PathDeed::Rule { rule, action, .. } => Cause::Rule { rule: rule.to_string(), action: action.to_string() },
    })
}
