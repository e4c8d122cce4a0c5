//! What paths did to packets.

use crate::recording::{Observation, PathDeed};

use super::{Cause, Known, Reason};

/// The paths that did anything but pass packets on.
pub(super) fn deeds(known: &Known<'_, '_>) -> Vec<Reason> {
    let mut paths: Vec<(&str, Vec<(Cause, u64)>)> = Vec::new();
    for what in known.observations() {
        let Observation::Path { link, what, .. } = what else { continue };
        let Some(cause) = cause(what) else { continue };
        if !paths.iter().any(|(of, _)| of == link) {
            paths.push((link, Vec::new()));
        }
        let deeds = paths.iter_mut().filter(|(of, _)| of == link).flat_map(|(_, deeds)| deeds.iter_mut());
        match deeds.into_iter().find(|(known, _)| *known == cause) {
            Some((_, packets)) => *packets = packets.saturating_add(1),
            None => paths.iter_mut().filter(|(of, _)| of == link).for_each(|(_, deeds)| deeds.push((cause.clone(), 1))),
        }
    }
    paths.into_iter().map(|(link, deeds)| Reason::Path { link: link.to_owned(), deeds }).collect()
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
        PathDeed::Rule { rule, action, .. } => Cause::Rule { rule: rule.clone(), action: action.clone() },
    })
}
