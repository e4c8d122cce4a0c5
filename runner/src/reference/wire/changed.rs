//! What rules of paths changed on their way: [`Changed`].

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::recording::{Observation, PathEffect};
use crate::reference::view::{Half, View};

/// The rules of paths that changed segments, by the two ends of the subflow.
pub(super) struct Changed<'a>(HashMap<(SocketAddr, SocketAddr), &'a str>);

impl<'a> Changed<'a> {
    /// Those of a recording.
    pub(super) fn of(view: &View<'a>) -> Self {
        let mut changed = HashMap::new();
        for entry in &view.recording.entries {
            let Observation::Path { what: PathEffect::Rule { rule, action, made }, segment, .. } = &entry.what else {
                continue;
            };
            if !matches!(action.as_str(), "corrupt" | "strip" | "rewrite" | "merge" | "inject") {
                continue;
            }
            for segment in segment.iter().map(AsRef::as_ref).chain(made) {
                changed.entry(ordered(segment.source, segment.destination)).or_insert(rule.as_str());
            }
        }
        Self(changed)
    }

    /// The name of one that changed segments of a connection.
    pub(super) fn on(&self, half: &Half<'_>) -> Option<&'a str> {
        half.flows.iter().find_map(|flow| self.0.get(&ordered(flow.local, flow.remote))).copied()
    }
}

/// The two ends of a subflow, in one order.
fn ordered(one: SocketAddr, other: SocketAddr) -> (SocketAddr, SocketAddr) {
    if one <= other { (one, other) } else { (other, one) }
}
