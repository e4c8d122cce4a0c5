//! The story of a run: what was done, what went over the wire, and what the path managers said, on one time line with
//! a lane for each namespace.

mod arrow;
mod effects;
mod icmp;
mod ladder;
mod moment;
mod words;

use std::cell::LazyCell;
use std::time::Duration;

use crate::flight::{Fate, Flights};
use crate::judge::{
    brief_outcome_words, call_words, calls_words, contradiction_words, ended_words, is_as_asked, kernel_remark,
    known_faults, on_subflows_words, option_words, reply_words,
};
use crate::mptcp::SocketOption;
use crate::net::Configures;
use crate::recording::{CallEnd, Entry, Integrity, Moment, Observation, Recording, StepOutcome};
use crate::reference::Traffic;
use crate::scenario::model::Scenario;
use crate::text;

use super::Style;
use arrow::{Arrow, data_line, flight_line};
use effects::lost_words;
use moment::Rank;
use words::{Tokens, carried_words, configured_words, connected_words, event_words, transferred_words};

/// The ladder of a recording.
///
/// Each segment with signalling appears once, at the time at which it was sent; segments that only carry data are
/// counted, and those that only acknowledge are left out. An event stands behind what it follows, with the time at which
/// it was read.
pub fn story(scenario: &Scenario, recording: &Recording, style: Style) -> String {
    let lanes: Vec<&str> = scenario.world.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    style.finish(ladder::draw(&lanes, &lines(scenario, recording), style))
}

/// What one line of the story says.
#[derive(Debug, PartialEq)]
enum Line<'a> {
    /// A step begins.
    Heading { text: String },
    /// A segment.
    Arrow(Arrow<'a>),
    /// Something happened in a namespace, not later than that.
    Event { until: u64, namespace: &'a str, text: String },
    /// Segments that only carry data, with the bytes that each namespace sent.
    Data { segments: u64, bytes: Vec<(&'a str, u64)>, lost: u64 },
    /// Something about the run as a whole.
    Note { at: u64, text: String, good: bool },
}

/// All lines, in the order of time, as far as it is known.
fn lines<'a>(scenario: &'a Scenario, recording: &'a Recording) -> Vec<Line<'a>> {
    let entries = &recording.entries;
    let (until, failed) = end_of_story(recording);
    let mut left_out = false;
    let mut told = Vec::new();
    let flights = Flights::of(scenario, entries);
    for flight in flights.iter() {
        if let Some(line) = flight_line(scenario, &flight) {
            left_out |= flight.at > until;
            let moment = moment::Moment { at: flight.at, rank: Rank::Between };
            told.extend((flight.at <= until).then_some((moment, flight.entry, line)));
        }
    }
    for (index, arrow) in icmp::arrows(entries) {
        left_out |= arrow.at > until;
        let moment = moment::Moment { at: arrow.at, rank: Rank::Between };
        told.extend((arrow.at <= until).then_some((moment, index, Line::Arrow(arrow))));
    }
    let mut moments = moment::moments(scenario, entries);
    let told_of =
        Told { recording, tokens: Tokens::of(recording), traffic: LazyCell::new(|| Traffic::of(scenario, recording)) };
    for (index, entry) in entries.iter().enumerate() {
        let Some(mut line) = entry_line(&told_of, entry) else { continue };
        let moment = moments.remove(&index);
        if let (Line::Event { until, .. }, Some(moment)) = (&mut line, moment.filter(|m| m.rank == Rank::Before)) {
            *until = moment.at;
        }
        left_out |= moment.is_some() && entry.at > until;
        if moment.is_none() || entry.at <= until {
            let moment = moment.unwrap_or(moment::Moment { at: entry.at, rank: Rank::Between });
            told.push((moment, index, line));
        }
    }
    for fault in known_faults(scenario, recording) {
        let at = fault.at.unwrap_or(until);
        let line = Line::Note { at, text: text::one_line(&fault.summary), good: true };
        told.extend((at <= until).then_some((moment::Moment { at, rank: Rank::Behind }, usize::MAX, line)));
    }
    told.sort_by_key(|(moment, index, _)| (*moment, *index));
    let mut lines = with_data(told, &flights, until, &mut left_out);
    let last = entries.last().map_or(0, |entry| entry.at);
    let mut end = |text: &str, good| lines.push(Line::Note { at: last, text: text.to_owned(), good });
    if failed && left_out {
        end("the story ends with the step that failed; later segments and events are left out", true);
    }
    if !entries.iter().any(|entry| entry.what == Observation::Ended) {
        end("the recording ends here: it was cut off", false);
    }
    lines
}

/// Puts the segments that only carry data between the other lines. There are as many as transfers have taken: they are
/// folded as they come.
fn with_data<'a>(
    told: Vec<(moment::Moment, usize, Line<'a>)>,
    flights: &Flights<'a>,
    until: u64,
    left_out: &mut bool,
) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let data = flights.iter().filter_map(|flight| {
        let line = data_line(&flight)?;
        *left_out |= flight.at > until;
        let moment = moment::Moment { at: flight.at, rank: Rank::Between };
        (flight.at <= until).then_some(((moment, flight.entry), line))
    });
    let mut data = data.peekable();
    for (moment, index, line) in told {
        while let Some((_, segment)) = data.next_if(|(place, _)| *place < (moment, index)) {
            fold(&mut lines, segment);
        }
        fold(&mut lines, line);
    }
    data.for_each(|(_, segment)| fold(&mut lines, segment));
    lines
}

/// Where the story ends, and whether a step failed there. After it comes the tear-down: sockets and captures are closed in
/// no particular order.
fn end_of_story(recording: &Recording) -> (u64, bool) {
    let failed = recording.entries.iter().find(|entry| match &entry.what {
        Observation::StepFinished { outcome, .. } => outcome_words(outcome).is_some_and(|(_, good)| !good),
        _ => false,
    });
    let last_state = recording.entries.iter().rfind(|entry| {
        matches!(
            &entry.what,
            Observation::Counters { moment: Moment::End, .. }
                | Observation::Limits { moment: Moment::End, .. }
                | Observation::Endpoints { moment: Moment::End, .. }
        )
    });
    match (failed, last_state) {
        (Some(failed), _) => (failed.at, true),
        (None, Some(state)) => (state.at, false),
        (None, None) => (u64::MAX, false),
    }
}

/// What the lines of entries are told with.
struct Told<'a, F> {
    recording: &'a Recording,
    tokens: Tokens<'a>,
    /// Only transfers need it.
    traffic: LazyCell<Traffic<'a>, F>,
}

fn entry_line<'a, F: FnOnce() -> Traffic<'a>>(told: &Told<'a, F>, entry: &'a Entry) -> Option<Line<'a>> {
    let (Told { recording, tokens, traffic }, at, what) = (told, entry.at, &entry.what);
    let note = |text: String, good: bool| Some(Line::Note { at, text, good });
    match what {
        Observation::StepStarted { step, text } => {
            Some(Line::Heading { text: format!("Step {}: {}", step.saturating_add(1), text::one_line(text)) })
        }
        Observation::StepFinished { outcome, .. } => outcome_words(outcome).and_then(|(text, good)| note(text, good)),
        Observation::Event { namespace, event } => {
            Some(Line::Event { until: at, namespace, text: event_words(tokens, namespace, event) })
        }
        Observation::Connected { connection } => note(connected_words(connection), true),
        Observation::Transferred { connection, sender, integrity, took, .. } => {
            let good = *integrity == Integrity::Intact;
            let carried = took.map(|took| traffic.carried(connection, *sender, at.saturating_sub(took), at));
            let carried = carried_words(&carried.unwrap_or_default());
            transferred_words(what).and_then(|words| note(words + &carried, good))
        }
        Observation::Application(end) => note(text::one_line(&call_words(end)), !ends_a_step(recording, end)),
        Observation::Calls(calls) => note(text::one_line(&calls_words(calls)), calls.wrong == 0),
        Observation::Option(call) => note(text::one_line(&option_words(call)), is_as_asked(call)),
        Observation::OptionReply(reply) => note(text::one_line(&reply_words(reply)), !reply.beyond),
        Observation::ProgramOutput { .. }
        | Observation::ProgramEnded { .. }
        | Observation::ProgramSocket { .. }
        | Observation::ProgramConfigures { .. }
        | Observation::Configured(_)
        | Observation::ProgramOutputLeftOut { .. } => program_line(recording, entry),
        Observation::SetupContradicted(contradiction) => {
            note(text::one_line(&contradiction_words(contradiction)), false)
        }
        Observation::Lost { namespace, what, count } => {
            let lost = crate::judge::lost_words(*what, *count);
            note(format!("{lost} of {} were lost: this story is incomplete", text::one_line(namespace)), false)
        }
        Observation::FilterHits { namespace, filter, packets } => {
            let packets = text::count(*packets, "packet");
            note(format!("filter {} of {} matched {packets}", text::one_line(filter), text::one_line(namespace)), true)
        }
        Observation::RuleHits { link, rule, segments } => {
            let segments = text::count(*segments, "segment");
            note(format!("rule {} of {} matched {segments}", text::one_line(rule), text::one_line(link)), true)
        }
        Observation::SetupFailed { message } => note(text::one_line(message), false),
        Observation::KernelLog { line } => note(format!("kernel log: {}", text::one_line(line)), false),
        Observation::RanAlone { .. } => {
            kernel_remark(recording).and_then(|remark| note(text::one_line(&remark), false))
        }
        Observation::Sockets { .. } => sockets_words(what).and_then(|words| note(words, true)),
        Observation::Packet { .. }
        | Observation::Icmp { .. }
        | Observation::Counters { .. }
        | Observation::Endpoints { .. }
        | Observation::SocketCounts { .. }
        | Observation::Limits { .. }
        | Observation::ConnectionEndpoints { .. }
        | Observation::LinkBytes { .. }
        | Observation::Routes { .. }
        | Observation::ProgramStarted { .. }
        | Observation::Path { .. }
        | Observation::Stalled { .. }
        | Observation::Busy(_)
        | Observation::Ended => None,
        Observation::PathTotals { link, sender, moment, totals } => match lost_words(totals) {
            Some(words) if *moment == Moment::End => note(
                format!("of the packets from {} on {}: {words}", text::one_line(sender), text::one_line(link)),
                true,
            ),
            _ => None,
        },
    }
}

/// Whether a step ended with what a call of an application got.
fn ends_a_step(recording: &Recording, end: &CallEnd) -> bool {
    recording.entries.iter().any(|entry| match &entry.what {
        Observation::StepFinished { outcome: StepOutcome::Application(other), .. } => other == end,
        _ => false,
    })
}

/// Which subflows have the options that the scenario has set.
fn sockets_words(what: &Observation) -> Option<String> {
    let (connection, side, subflows, options) = pick!(what, Observation::Sockets { connection, side, subflows, options, .. }
        => (connection, side, subflows, options))?;
    let known = options.keys().filter_map(|word| SocketOption::of_word(word));
    let seen: Vec<String> = known.filter_map(|option| on_subflows_words(option, subflows)).collect();
    let words = format!("the {} of {connection}: {}", side.word(), seen.join("; "));
    (!seen.is_empty()).then(|| text::one_line(&words))
}

/// What a program did.
fn program_line<'a>(recording: &Recording, entry: &Entry) -> Option<Line<'a>> {
    let some = |text: String, good: bool| Some(Line::Note { at: entry.at, text, good });
    match &entry.what {
        Observation::ProgramOutput { program, line, .. } => some(format!("{program}: {}", text::one_line(line)), true),
        Observation::ProgramEnded { program, status, .. } => {
            let is_end = |entry: &Entry| match &entry.what {
                Observation::StepFinished {
                    outcome: StepOutcome::ProgramEnded { program: of, status: other }, ..
                } => of == program && other == status,
                _ => false,
            };
            some(ended_words(program, status), !recording.entries.iter().any(is_end))
        }
        Observation::ProgramSocket { program, error, .. } => match error {
            None => some(format!("{program} opens a TCP socket, and gets an MPTCP socket"), true),
            Some(error) => some(format!("{program} opens a TCP socket, and gets {error}: no MPTCP socket"), false),
        },
        Observation::ProgramConfigures { program, namespace, what, .. } => {
            let what = match what {
                Configures::PathManager => "the path manager",
                Configures::Netfilter => "filters",
            };
            some(
                format!("{program} opens a socket by which it can configure {what} of {}", text::one_line(namespace)),
                true,
            )
        }
        Observation::Configured(configured) => configured_words(configured).and_then(|words| some(words, true)),
        Observation::ProgramOutputLeftOut { program, lines, .. } => {
            some(format!("{program}: {} more, not recorded", text::count(*lines, "line")), true)
        }
        _ => None,
    }
}

/// How a step ended, unless it is just done.
fn outcome_words(outcome: &StepOutcome) -> Option<(String, bool)> {
    match outcome {
        // How a call ended was told when it did.
        StepOutcome::Done | StepOutcome::Application(_) | StepOutcome::ProgramEnded { .. } => None,
        StepOutcome::Refused { error, message } => {
            let message = message.as_ref().map(|text| format!(" “{}”", text::one_line(text))).unwrap_or_default();
            Some((format!("the kernel refused it: {}{message}", text::one_line(error)), true))
        }
        StepOutcome::TimedOut(_)
        | StepOutcome::Contradicted(_)
        | StepOutcome::NotQuiet { .. }
        | StepOutcome::Failed { .. } => Some((text::one_line(&brief_outcome_words(outcome)), false)),
    }
}

/// Adds a line. Data segments in a row, and segments alike in a row, become one.
fn fold<'a>(lines: &mut Vec<Line<'a>>, line: Line<'a>) {
    match (lines.last_mut(), line) {
        (Some(Line::Data { segments, bytes, lost }), Line::Data { segments: more, bytes: by, lost: more_lost }) => {
            *segments += more;
            *lost += more_lost;
            for (sender, amount) in by {
                match bytes.iter_mut().find(|(known, _)| *known == sender) {
                    Some((_, sum)) => *sum += amount,
                    None => bytes.push((sender, amount)),
                }
            }
        }
        (Some(Line::Arrow(last)), Line::Arrow(next)) if last.is_like(&next) => {
            last.times += 1;
            last.over = Duration::from_nanos(next.at.saturating_sub(last.at));
        }
        (_, line) => lines.push(line),
    }
}

#[cfg(test)]
mod tests;
