//! Of many similar reasons, the first is shown and the others are counted: a run with thousands of connections would have a
//! line for each of them.

use std::collections::HashMap;

use super::{Reason, ReasonKind, SynCounts};

/// Up to this number, all similar reasons are shown.
const FEW: usize = 3;

/// Folds reasons that differ only in connections, addresses and ports: the first stands for all.
pub(super) fn folded(reasons: Vec<Reason>) -> Vec<Reason> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let looks: Vec<Option<(ReasonKind, String)>> = reasons.iter().map(look).collect();
    for (_, look) in looks.iter().flatten() {
        *counts.entry(look.clone()).or_default() += 1;
    }
    let mut folded = Vec::new();
    for (reason, look) in reasons.into_iter().zip(looks) {
        let Some((of, look)) = look else {
            folded.push(reason);
            continue;
        };
        let Some(count) = counts.get_mut(&look) else { continue };
        let namespace = reason.namespace().to_owned();
        match *count {
            0 => {}
            1..=FEW => folded.push(reason),
            more => {
                *count = 0;
                folded.extend([reason, Reason::More { namespace, count: more - 1, of }]);
            }
        }
    }
    folded
}

/// What a reason has in common with others; `None` if there are few of its kind.
fn look(reason: &Reason) -> Option<(ReasonKind, String)> {
    let namespace = reason.namespace();
    Some(match reason {
        Reason::UnusedAnnouncement { address, why, .. } => {
            (ReasonKind::Announcements, format!("{namespace} announced {address} {why}"))
        }
        Reason::State { state, syns, .. } => {
            let seen = syns.as_ref().map(|SynCounts { sent, devices, arrived, answered }| {
                (*sent > 0, devices, arrived.as_ref().map(|(peer, arrived)| (peer, *arrived > 0)), *answered > 0)
            });
            (ReasonKind::Subflows, format!("{namespace} subflow {state} {seen:?}"))
        }
        Reason::Limit { subflows, limit, .. } => {
            (ReasonKind::Connections, format!("{namespace} limit {subflows} {limit}"))
        }
        Reason::OtherDevice { left_by, belongs_to, .. } => {
            (ReasonKind::Flows, format!("{namespace} device {left_by} {belongs_to}"))
        }
        Reason::Disabled { .. }
        | Reason::IdleEndpoint { .. }
        | Reason::Counter { .. }
        | Reason::Path { .. }
        | Reason::UnusedRule { .. }
        | Reason::UnusedFilter { .. }
        | Reason::Unmentioned { .. }
        | Reason::Rule { .. }
        | Reason::More { .. } => return None,
    })
}

impl Reason {
    /// The namespace or link that it is about.
    fn namespace(&self) -> &str {
        match self {
            Self::Disabled { namespace }
            | Self::IdleEndpoint { namespace, .. }
            | Self::UnusedAnnouncement { namespace, .. }
            | Self::Counter { namespace, .. }
            | Self::Rule { namespace, .. }
            | Self::State { namespace, .. }
            | Self::Limit { namespace, .. }
            | Self::OtherDevice { namespace, .. }
            | Self::UnusedFilter { namespace, .. }
            | Self::Unmentioned { namespace, .. }
            | Self::More { namespace, .. } => namespace,
            Self::Path { link, .. } | Self::UnusedRule { link, .. } => link,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(connection: usize, subflows: u8) -> Reason {
        Reason::Limit { namespace: "client".to_owned(), connection: format!("c{connection}"), subflows, limit: 2 }
    }

    #[test]
    fn of_many_alike_the_first_is_told() {
        let many: Vec<Reason> = (0..10_000).map(|number| limit(number, 2)).collect();
        let words: Vec<String> = folded(many).iter().map(ToString::to_string).collect();
        let first = "client: `c0` has 2 of at most 2 additional subflows (limit `subflows`)";
        assert_eq!(words, [first, "client: and 9999 similar connections"]);
    }

    #[test]
    fn what_differs_and_what_is_few_is_told() {
        let few = vec![limit(0, 2), limit(1, 2), limit(2, 2), limit(3, 1)];
        assert_eq!(folded(few.clone()), few);
        let mut many: Vec<Reason> = (0..5).map(|number| limit(number, 2)).collect();
        many.insert(1, limit(9, 1));
        let count = Reason::More { namespace: "client".to_owned(), count: 4, of: ReasonKind::Connections };
        assert_eq!(folded(many), [limit(0, 2), count, limit(9, 1)]);
    }
}
