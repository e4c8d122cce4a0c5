//! An extract of the time line as text: what all namespaces did and sent around one entry.

use crate::mptcp::EventKind;
use crate::recording::{Direction, Observation, StepOutcome};
use crate::text;
use crate::wire::{MptcpOption, Segment};

use super::names::Names;
use super::outcome::{
    call_words, calls_words, contradiction_words, ended_words, integrity_words, lost_words, outcome_words,
};
use super::{option_words, reply_words};
use super::{render, stall};

/// How many entries before and after.
const REACH: usize = 10;

/// The entries around the one at `index`, which is marked; `index` may be the number of entries, for the end.
pub(super) fn around(names: &Names<'_>, index: usize) -> String {
    around_both(names, None, index)
}

/// The entries around two: the last one that was as expected, if any, and the one that wasn't, which is marked.
pub(super) fn around_both(names: &Names<'_>, fine: Option<usize>, index: usize) -> String {
    let told: Vec<(usize, String)> = names
        .recording()
        .entries
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| {
            let text = what(names, &entry.what).or_else(|| (at == index).then(String::new))?;
            Some((at, stamped(if at == index { '>' } else { ' ' }, entry.at, &text)))
        })
        .collect();
    let position = |index: usize| told.partition_point(|(at, _)| *at < index);
    let near = |line: usize, index: usize| line.abs_diff(position(index)) <= REACH;
    let mut text = String::new();
    let mut last_shown = None;
    for (line, (_, words)) in told.iter().enumerate() {
        if near(line, index) || fine.is_some_and(|fine| near(line, fine)) {
            if last_shown.is_some_and(|last| last + 1 < line) {
                text.push_str("  …\n");
            }
            text.push_str(words);
            text.push('\n');
            last_shown = Some(line);
        }
    }
    if text.is_empty() { text } else { format!("time line:\n{text}") }
}

fn stamped(mark: char, at: u64, text: &str) -> String {
    format!("{mark} {:>9}.{:03} ms  {text}", at / 1_000_000, at / 1_000 % 1_000)
}

/// One entry in words; `None` for noise: states, plain data, and arrivals of segments.
fn what(names: &Names<'_>, observation: &Observation) -> Option<String> {
    Some(match observation {
        Observation::StepStarted { step, text } => format!("step {}: {text}", step.saturating_add(1)),
        Observation::StepFinished { step, outcome } => {
            format!("step {} ended: {}", step.saturating_add(1), end_word(outcome))
        }
        Observation::Event { namespace, event } => {
            format!("{namespace}: event {}", render::event(names, namespace, event))
        }
        Observation::Packet { namespace, device, direction: Direction::Out, segment } if is_telling(segment) => {
            format!("{namespace}: sent on {device}: {}", render::segment(segment))
        }
        Observation::Connected { connection } => format!("connected: {}", connection.name),
        Observation::Transferred { connection, sender, bytes, integrity, .. } => {
            let bytes = text::count(*bytes, "byte");
            format!("{connection}: {bytes} from the {} arrived, {}", sender.word(), integrity_words(integrity))
        }
        Observation::Application(end) => call_words(end),
        Observation::Calls(calls) => calls_words(calls),
        Observation::Option(call) => option_words(call),
        Observation::OptionReply(reply) => reply_words(reply),
        Observation::ProgramStarted { program, namespace, .. } => format!("{namespace}: started {program}"),
        Observation::ProgramOutput { program, line, .. } => format!("{program}: {}", text::one_line(line)),
        Observation::ProgramEnded { program, status, .. } => ended_words(program, status),
        Observation::ProgramSocket { program, error: Some(error), .. } => {
            format!("{program}: no MPTCP socket in place of a TCP socket: {error}")
        }
        Observation::ProgramOutputLeftOut { program, lines, .. } => {
            format!("{program}: {} more", text::count(*lines, "line"))
        }
        Observation::SetupContradicted(contradiction) => contradiction_words(contradiction),
        Observation::Lost { namespace, what, count } => {
            format!("{namespace}: lost {}", lost_words(*what, *count))
        }
        Observation::FilterHits { namespace, filter, packets } => {
            format!("{namespace}: filter {filter} matched {}", text::count(*packets, "packet"))
        }
        Observation::RuleHits { link, rule, segments } => {
            format!("{link}: rule {rule} matched {}", text::count(*segments, "segment"))
        }
        Observation::SetupFailed { message } => format!("set-up failed: {message}"),
        Observation::KernelLog { line } => format!("kernel log: {line}"),
        Observation::Stalled { whose, lasted, .. } if stall::is_long(whose, *lasted) => {
            format!("{} for {}", stall::came_late(whose), text::seconds(*lasted))
        }
        Observation::Ended => "the run ended".to_owned(),
        Observation::Packet { .. }
        | Observation::Counters { .. }
        | Observation::Sockets { .. }
        | Observation::Endpoints { .. }
        | Observation::SocketCounts { .. }
        | Observation::Limits { .. }
        | Observation::ConnectionEndpoints { .. }
        | Observation::LinkBytes { .. }
        | Observation::Path { .. }
        | Observation::PathTotals { .. }
        | Observation::Icmp { .. }
        | Observation::Routes { .. }
        | Observation::ProgramSocket { error: None, .. }
        | Observation::ProgramConfigures { .. }
        | Observation::Configured(_)
        | Observation::Stalled { .. }
        | Observation::Busy(_)
        | Observation::RanAlone { .. } => return None,
    })
}

/// The segment carries an MPTCP option besides a DSS that maps or acknowledges data.
fn is_telling(segment: &Segment) -> bool {
    segment.options.iter().any(|option| !matches!(option, MptcpOption::Dss { data_fin: false, .. }))
}

/// How a step ended, in brief: what it waited for is in the finding.
fn end_word(outcome: &StepOutcome) -> String {
    match outcome {
        StepOutcome::TimedOut(_) | StepOutcome::NotQuiet { .. } => "timed out".to_owned(),
        StepOutcome::Done
        | StepOutcome::Refused { .. }
        | StepOutcome::Contradicted(_)
        | StepOutcome::Application(_)
        | StepOutcome::ProgramEnded { .. }
        | StepOutcome::Failed { .. } => outcome_words(outcome),
    }
}

/// All events of a namespace, up to the entry of that index (excluded), with the indices of their entries.
pub(super) fn events_of<'a>(
    names: &Names<'a>,
    namespace: &str,
    until: usize,
) -> Vec<(usize, &'a crate::mptcp::PmEvent)> {
    let entries = names.recording().entries.iter().enumerate().take(until);
    entries
        .filter_map(|(index, entry)| {
            pick!(&entry.what, Observation::Event { namespace: of, event }
                if of == namespace => (index, &**event))
        })
        .collect()
}

/// The kinds whose events say that a subflow changed.
pub(super) fn is_subflow_event(kind: EventKind) -> bool {
    matches!(kind, EventKind::SubEstablished | EventKind::SubClosed | EventKind::SubPriority)
}
