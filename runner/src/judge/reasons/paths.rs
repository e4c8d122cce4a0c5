//! The effects of paths on packets.

use indexmap::IndexMap;

use crate::recording::{Name, Observation, PathEffect};

use super::{Cause, Facts, Reason};

/// The paths that did anything but pass packets on.
pub(super) fn effects(known: &Facts<'_, '_>) -> Vec<Reason> {
    let mut paths: IndexMap<&Name, IndexMap<Cause, u64>> = IndexMap::new();
    for what in known.observations() {
        let Observation::Path { link, what, .. } = what else { continue };
        let Some(cause) = cause(what) else { continue };
        *paths.entry(link).or_default().entry(cause).or_default() += 1;
    }
    let reason = |(link, effects): (&Name, IndexMap<Cause, u64>)| Reason::Path {
        link: link.to_string(),
        effects: effects.into_iter().collect(),
    };
    paths.into_iter().map(reason).collect()
}

/// What a rule did to a packet when it released it was counted when it held it.
fn cause(what: &PathEffect) -> Option<Cause> {
    Some(match what {
        PathEffect::Lost => Cause::Lost,
        PathEffect::QueueFull => Cause::QueueFull,
        PathEffect::TooBig => Cause::TooBig,
        PathEffect::Reordered => Cause::Reordered,
        PathEffect::Duplicated => Cause::Duplicated,
        PathEffect::Rule { action, .. } if action == "release" => return None,
        PathEffect::Rule { rule, action, .. } => Cause::Rule { rule: rule.to_string(), action: action.to_string() },
    })
}
