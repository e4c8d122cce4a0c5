//! `either`: of several alternatives, one must hold.

use std::ops::RangeInclusive;

use super::super::grammar::Shape;
use super::super::model::{Alternative, Choice, Expectation, PathCount, WirePattern};
use super::super::record::{part, record};
use super::super::scalar::Line;
use super::expect::Sections;
use super::part::Here;
use super::{At, Read, all};
use crate::mptcp::MptcpInfo;
use crate::mptcp::Side;

record! {
    /// Alternatives.
    ChoiceKeys as "choice", "a choice" then can_fail for Choice {
        place: group Here;
        because: need Line = "because", "Why each of the alternatives is right.";
        alternatives: need Alternatives = "of", "At least two alternatives.";
    }
}

part! {
    /// Expectations without choices of their own.
    Alternatives: Vec<Alternative> = Shape::Some(&Shape::List(&Sections::SHAPE)), |at, node| {
        all(at.list(node)?.iter().map(|item| Ok(Alternative { place: item.place, expectation: Sections::read(at, item)? })))
    }
}

fn can_fail(at: &At<'_>, choice: Choice) -> Read<Choice> {
    if choice.alternatives.is_empty() {
        return Err(at.reader.error(choice.place, "expected an alternative"));
    }
    if holds_always(&choice.alternatives) {
        let message = "these alternatives cover every number, so one of them always holds";
        return Err(at.reader.error(choice.place, message));
    }
    Ok(choice)
}

/// A thing that has a number.
#[derive(Debug, PartialEq, Eq)]
enum Subject<'a> {
    Counter(&'a [String], &'a str),
    Info(&'a str, Side, &'a str),
    Sockets(&'a str, &'a str),
    Bytes(&'a str, &'a str),
    Wire(&'a WirePattern),
    Path(&'a str, &'a PathCount),
}

/// The alternatives are ranges of one number, and each number is in one of them.
fn holds_always(alternatives: &[Alternative]) -> bool {
    let numbers: Option<Vec<_>> = alternatives.iter().map(|alternative| number(&alternative.expectation)).collect();
    let Some(mut numbers) = numbers else { return false };
    let Some((first, _)) = numbers.first() else { return false };
    if numbers.iter().any(|(subject, _)| subject != first) {
        return false;
    }
    let most = if let Subject::Info(_, _, field) = first { MptcpInfo::largest(field) } else { u64::MAX };
    numbers.sort_by_key(|(_, range)| *range.start());
    // The least number that is in none of the ranges so far; there is none if it is `None`.
    let left_out = numbers.iter().try_fold(0_u64, |next, (_, range)| {
        if *range.start() > next { Some(next) } else { range.end().checked_add(1).map(|after| after.max(next)) }
    });
    left_out.is_none_or(|left_out| left_out > most)
}

/// The only thing that an expectation says, if that is about one number.
fn number(expectation: &Expectation) -> Option<(Subject<'_>, &RangeInclusive<u64>)> {
    let Expectation {
        events,
        counters,
        other_counters_zero,
        subflows,
        info,
        sockets,
        endpoints,
        limits,
        bytes,
        wire,
        paths,
        either: _,
        broken_rules: _,
    } = expectation;
    let others = [events.len(), other_counters_zero.len(), subflows.len(), endpoints.len(), limits.len()];
    if others.iter().any(|count| *count > 0) {
        return None;
    }
    // A difference may be less than 0: no range has all of them.
    let counters = counters.iter().map(|counter| {
        let subject = Subject::Counter(&counter.namespaces, &counter.name);
        counter.less.is_none().then_some((subject, &counter.range))
    });
    let info = info.iter().map(|info| Some((Subject::Info(&info.connection, info.side, &info.field), &info.range)));
    let sockets = sockets.iter().map(|count| Some((Subject::Sockets(&count.namespace, count.word), &count.range)));
    let bytes = bytes.iter().map(|bytes| Some((Subject::Bytes(&bytes.link, &bytes.sent_by), &bytes.range)));
    let wire = wire.iter().map(|wire| Some((Subject::Wire(&wire.pattern), &wire.range)));
    let paths = paths.iter().map(|path| Some((Subject::Path(&path.link, &path.what), &path.range)));
    let mut numbers = counters.chain(info).chain(sockets).chain(bytes).chain(wire).chain(paths);
    match (numbers.next(), numbers.next()) {
        (Some(only), None) => only,
        _ => None,
    }
}
