//! What paths did to packets.

use crate::recording::{Name, Observation, PathDeed};

use super::{Cause, Known, Reason};

/// The paths that did anything but pass packets on.
pub(super) fn deeds(known: &Known<'_, '_>) -> Vec<Reason> {
    let mut paths: Vec<(&Name, Vec<(Cause, u64)>)> = Vec::new();
    for what in known.observations() {
        let Observation::Path { link, what, .. } = what else { continue };
        let Some(cause) = cause(what) else { continue };
        let deeds = entry(&mut paths, link);
        *entry(deeds, cause) += 1;
    }
    paths.into_iter().map(|(link, deeds)| Reason::Path { link: link.to_string(), deeds }).collect()
}

/// What belongs to a key: there are few of them, and their order counts.
fn entry<K: PartialEq, V: Default>(entries: &mut Vec<(K, V)>, key: K) -> &mut V {
    let at = entries.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        entries.push((key, V::default()));
        entries.len() - 1
    });
    &mut entries[at].1
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
