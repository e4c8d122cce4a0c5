//! Rules and filters that haven't matched until the step that failed. After a whole run, those are findings themselves.

use crate::recording::Observation;
use crate::scenario::model::{Action, Operation};

use super::{Facts, Reason};

/// Rules of paths that haven't matched.
pub(super) fn rules(known: &Facts<'_, '_>) -> Vec<Reason> {
    if !known.cut_short {
        return Vec::new();
    }
    let unused = known
        .observations()
        .filter_map(|what| pick!(what, Observation::RuleHits { link, rule, segments: 0 } => (link, rule)));
    let expected = unused.filter(|(link, rule)| {
        let mut rules = known.names.scenario().path_rules();
        !rules.any(|(on, known)| on == *link && known.name == **rule && known.may_be_unused)
    });
    expected.map(|(link, rule)| Reason::UnusedRule { link: link.clone(), rule: rule.clone() }).collect()
}

/// Filters that haven't matched.
pub(super) fn filters(known: &Facts<'_, '_>) -> Vec<Reason> {
    if !known.cut_short {
        return Vec::new();
    }
    let unused = known.observations().filter_map(
        |what| pick!(what, Observation::FilterHits { namespace, filter, packets: 0 } => (namespace, filter)),
    );
    let expected = unused.filter(|(namespace, filter)| {
        known.names.scenario().steps.iter().all(|step| {
            if let Action::Do(Operation::AddFilter(known)) = &step.action {
                known.namespace != **namespace || known.name != **filter || !known.may_be_unused
            } else {
                true
            }
        })
    });
    expected
        .map(|(namespace, filter)| Reason::UnusedFilter { namespace: namespace.clone(), filter: filter.clone() })
        .collect()
}
