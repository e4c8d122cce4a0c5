//! What the sockets of a connection say: the set of subflows, and fields of `MPTCP_INFO`.

use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind, render};
use crate::mptcp::{MptcpInfo, SubflowState};
use crate::pattern::{SUBFLOW, observed_json};
use crate::recording::Observation;
use crate::scenario::model::{InfoExpectation, SocketCountExpectation, SubflowPattern, SubflowsExpectation};

use super::pairs::{missing, pair_up};
use super::scope::Scope;

/// What is wrong with the set of subflows.
pub(super) fn subflows(scope: &Scope<'_, '_>, expected: &SubflowsExpectation) -> Option<Finding> {
    let whose = format!("{}, {} side", expected.connection, expected.side.word());
    let Some((_, all)) = scope.sockets_of(&expected.connection, expected.side) else {
        if let Some(why) = scope.not_open(&expected.connection) {
            let summary = format!("subflows of {whose}, {}: {why}", scope.when);
            return Some(scope.finding(FindingKind::Subflows, expected.place, summary));
        }
        return Some(scope.missing(&format!("the subflows of {whose}"), expected.place));
    };
    let usable: Vec<_> = all.iter().filter(|subflow| subflow.is_usable()).collect();
    let pairs = pair_up(&expected.subflows, &usable, |pattern, subflow| pattern.matches((*subflow).into()));
    if usable.len() == expected.subflows.len() && pairs.iter().all(Option::is_some) {
        return None;
    }
    let paired: Vec<usize> = pairs.iter().flatten().copied().collect();
    let differences =
        |pattern: &SubflowPattern, subflow: &&SubflowState| pattern.differences(SUBFLOW, (*subflow).into());
    let shown = |subflow: &&SubflowState| render::subflow(subflow);
    let (missing, first) = missing(&expected.subflows, &usable, &pairs, render::subflow_pattern, differences, shown);
    let lines = all.iter().map(|subflow| {
        let position = usable.iter().position(|usable| std::ptr::eq(*usable, subflow));
        let sign = match position {
            Some(position) if paired.contains(&position) => "   as expected:",
            Some(_) => " + unexpected:",
            None => "   not up:",
        };
        format!(" {sign} {}", render::subflow(subflow))
    });
    let detail: Vec<String> = missing.into_iter().chain(lines).collect();
    let summary = format!(
        "subflows of {whose}, {}: expected {}, {} are up, {} of them as expected{}",
        scope.when,
        expected.subflows.len(),
        usable.len(),
        paired.len(),
        first.unwrap_or_default()
    );
    let wanted: Vec<_> = expected.subflows.iter().map(|pattern| pattern.json(SUBFLOW)).collect();
    let observed: Vec<_> =
        usable.iter().map(|subflow| observed_json::<SubflowState>(SUBFLOW, (*subflow).into())).collect();
    let finding = scope.finding(FindingKind::Subflows, expected.place, summary);
    Some(finding.detailed(detail.join("\n") + "\n").valued(wanted, observed))
}

/// What is wrong with a number of sockets.
pub(super) fn counts(scope: &Scope<'_, '_>, expected: &SocketCountExpectation) -> Option<Finding> {
    let SocketCountExpectation { namespace, word, range, .. } = expected;
    let counts = scope.taken(|what, moment| {
        pick!(what, Observation::SocketCounts { namespace: of, moment: at, counts }
            if of == namespace && at == moment => counts)
    });
    let Some(value) = counts.and_then(|counts| counts.get(*word)).copied() else {
        return Some(scope.missing(&format!("sockets of {namespace}: {word}"), expected.place));
    };
    if range.contains(&value) {
        return None;
    }
    let (wanted, when) = (render::range(range), &scope.when);
    let summary = format!("sockets of {namespace}, {when}: expected {word} {wanted}, found {value}");
    let finding = Finding::new(FindingKind::Sockets, summary).placed(expected.place).at(scope.at());
    Some(finding.valued(range_value(range), value))
}

/// What is wrong with a field of `MPTCP_INFO`.
pub(super) fn info(scope: &Scope<'_, '_>, expected: &InfoExpectation) -> Option<Finding> {
    let (field, range) = (expected.field.as_str(), render::range(&expected.range));
    let whose = format!("{}, {} side", expected.connection, expected.side.word());
    let found = |summary: String| scope.finding(FindingKind::Info, expected.place, summary);
    let Some((info, _)) = scope.sockets_of(&expected.connection, expected.side) else {
        if let Some(why) = scope.not_open(&expected.connection) {
            return Some(found(format!("{field} of {whose}, {}: expected {range}, but {why}", scope.when)));
        }
        return Some(scope.missing(&format!("MPTCP_INFO of {whose}"), expected.place));
    };
    let Some(info) = info else {
        let finding = found(format!(
            "{field} of {whose}, {}: expected {range}, but the socket has no MPTCP_INFO: the connection uses plain TCP",
            scope.when
        ));
        return Some(finding.valued(range_value(&expected.range), None::<u64>));
    };
    // A kernel that was found to have the field has it in a byte that was reserved before.
    let has_field = || scope.names.recording().header.features.iter().any(|word| *word == format!("info:{field}"));
    let value = match info.field(field) {
        Some(None) if MptcpInfo::is_reserved(field) && has_field() => Some(Some(0)),
        value => value,
    };
    match value {
        Some(Some(value)) if expected.range.contains(&value) => None,
        Some(Some(value)) => {
            let finding = found(format!("{field} of {whose}, {}: expected {range}, found {value}", scope.when));
            Some(finding.valued(range_value(&expected.range), value))
        }
        Some(None) => {
            let finding = found(format!("{field} of {whose}: this kernel does not report it in MPTCP_INFO"));
            Some(finding.valued(range_value(&expected.range), None::<u64>))
        }
        None => Some(found(format!("MPTCP_INFO has no field `{field}`"))),
    }
}
