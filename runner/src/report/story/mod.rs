//! The story of a run: what was done, what went over the wire, and what the path managers said, on one time line with
//! a lane for each namespace.

mod deeds;
mod flight;
mod ladder;
mod words;

use crate::judge::{call_words, contradiction_words};
use crate::recording::{Entry, Integrity, LostWhat, Moment, Observation, PathDeed, Recording, StepOutcome};
use crate::scenario::model::Scenario;
use crate::text;
use crate::wire::Segment;

use super::Style;
use deeds::{deed_words, lost_words, takes_away};
use flight::Flight;
use words::{connected_words, event_words, is_signalling, segment_path, segment_words, transferred_words};

/// The ladder of a recording.
///
/// Each segment with signalling appears once, at the time at which it was sent; segments that only carry data are
/// counted, and those that only acknowledge are left out.
pub fn story(scenario: &Scenario, recording: &Recording, style: Style) -> String {
    let lanes: Vec<&str> = scenario.world.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    let told = fold(lines(recording));
    style.finish(ladder::draw(&lanes, &told, style))
}

/// What one line of the story says.
#[derive(Debug, PartialEq)]
enum Line<'a> {
    /// A step begins.
    Heading { text: String },
    /// A segment.
    Arrow(Arrow<'a>),
    /// Something happened in a namespace.
    Event { at: u64, namespace: &'a str, text: String },
    /// Segments that only carry data, with the bytes that each namespace sent.
    Data { segments: u64, bytes: Vec<(&'a str, u64)> },
    /// Something about the run as a whole.
    Note { at: u64, text: String, good: bool },
}

/// A segment on its way from lane to lane.
#[derive(Debug, PartialEq)]
struct Arrow<'a> {
    at: u64,
    from: &'a str,
    /// Where it arrived; if it was lost, where it was last seen, or `None`.
    to: Option<&'a str>,
    lost: bool,
    words: String,
    path: String,
    /// How many alike in a row.
    times: u64,
}

/// All lines, in the order of time.
fn lines(recording: &Recording) -> Vec<Line<'_>> {
    let mut flights = flight::flights(&recording.entries).into_iter().peekable();
    let mut lines = Vec::new();
    for entry in &recording.entries {
        // A flight is told when its first capture comes up: that keeps the order of the recording.
        while let Some(flight) = flights.next_if(|flight| flight.at <= entry.at) {
            lines.extend(flight_line(&flight));
        }
        lines.extend(entry_line(recording, entry.at, &entry.what));
    }
    lines.extend(flights.filter_map(|flight| flight_line(&flight)));
    if !recording.entries.iter().any(|entry| entry.what == Observation::Ended) {
        let at = recording.entries.last().map_or(0, |entry| entry.at);
        lines.push(Line::Note { at, text: "the recording ends here: it was cut off".to_owned(), good: false });
    }
    lines
}

/// The line of a segment; an acknowledgment alone tells nothing.
fn flight_line<'a>(flight: &Flight<'a>) -> Option<Line<'a>> {
    let segment = flight.sent;
    let by_rule = flight.deeds.iter().any(|(_, deed)| matches!(deed, PathDeed::Rule { .. }));
    if !is_signalling(segment) && !by_rule {
        let bytes = vec![(flight.from, u64::from(segment.payload))];
        return (segment.payload > 0).then_some(Line::Data { segments: 1, bytes });
    }
    Some(Line::Arrow(Arrow {
        at: flight.at,
        from: flight.from,
        to: flight.arrived.map(|(namespace, _)| namespace),
        lost: flight.lost(),
        words: format!("{}{}", told_words(segment), fate(flight)),
        path: segment_path(segment),
        times: 1,
    }))
}

/// The words of a segment that is told though it only carries or acknowledges data.
fn told_words(segment: &Segment) -> String {
    match segment_words(segment) {
        nothing if nothing.is_empty() && segment.payload == 0 => "ACK".to_owned(),
        nothing if nothing.is_empty() => format!("data, {}", text::size(u64::from(segment.payload))),
        words => words,
    }
}

/// What became of a segment on its way, in parentheses; nothing if it arrived as it was sent.
fn fate(flight: &Flight<'_>) -> String {
    let mut words: Vec<String> = flight.deeds.iter().map(|(link, deed)| deed_words(link, deed)).collect();
    let explained = flight.deeds.iter().any(|(_, deed)| takes_away(deed));
    let arrived_as = flight.arrived.filter(|_| flight.options_changed()).map(|(_, arrived)| segment_words(arrived));
    words.extend(match arrived_as {
        _ if flight.lost() && explained => None,
        _ if flight.lost() => Some("sent, never arrived".to_owned()),
        None => None,
        Some(nothing) if nothing.is_empty() => Some("arrived without it".to_owned()),
        Some(words) => Some(format!("arrived as: {words}")),
    });
    if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) }
}

fn entry_line<'a>(recording: &Recording, at: u64, what: &'a Observation) -> Option<Line<'a>> {
    let note = |text: String, good: bool| Some(Line::Note { at, text, good });
    match what {
        Observation::StepStarted { step, text } => {
            Some(Line::Heading { text: format!("Step {}: {}", step.saturating_add(1), text::one_line(text)) })
        }
        Observation::StepFinished { outcome, .. } => outcome_words(outcome).and_then(|(text, good)| note(text, good)),
        Observation::Event { namespace, event } => {
            Some(Line::Event { at, namespace, text: event_words(recording, namespace, event) })
        }
        Observation::Connected { connection } => note(connected_words(connection), true),
        Observation::Transferred { integrity, .. } => {
            let good = *integrity == Integrity::Intact;
            transferred_words(what).and_then(|words| note(words, good))
        }
        Observation::Application(end) => {
            let is_end = |entry: &Entry| match &entry.what {
                Observation::StepFinished { outcome: StepOutcome::Application(other), .. } => other == end,
                _ => false,
            };
            note(text::one_line(&call_words(end)), !recording.entries.iter().any(is_end))
        }
        Observation::SetupContradicted(contradiction) => {
            note(text::one_line(&contradiction_words(contradiction)), false)
        }
        Observation::Lost { namespace, what, count } => {
            let what = match what {
                LostWhat::Events => "events",
                LostWhat::Packets
                | LostWhat::Forwarding
                | LostWhat::Backlog
                | LostWhat::Sending
                | LostWhat::Unreadable => "packets",
            };
            let count = count.map(|count| format!("{count} ")).unwrap_or_default();
            note(format!("{count}{what} of {} were lost: this story is not complete", text::one_line(namespace)), false)
        }
        Observation::FilterHits { namespace, filter, packets } => {
            let packets = text::count(*packets, "packet");
            note(
                format!("the filter {} of {} matched {packets}", text::one_line(filter), text::one_line(namespace)),
                true,
            )
        }
        Observation::RuleHits { link, rule, segments } => {
            let segments = text::count(*segments, "segment");
            note(format!("the rule {} of {} matched {segments}", text::one_line(rule), text::one_line(link)), true)
        }
        Observation::SetupFailed { message } => note(text::one_line(message), false),
        Observation::KernelLog { line } => note(format!("kernel log: {}", text::one_line(line)), false),
        Observation::Packet { .. }
        | Observation::Counters { .. }
        | Observation::Sockets { .. }
        | Observation::Endpoints { .. }
        | Observation::Limits { .. }
        | Observation::ConnectionEndpoints { .. }
        | Observation::LinkBytes { .. }
        | Observation::Path { .. }
        | Observation::Stalled { .. }
        | Observation::Busy(_)
        | Observation::Ended => None,
        Observation::PathTotals { link, sender, moment, totals } => match lost_words(totals) {
            Some(words) if *moment == Moment::End => {
                note(format!("of what {} sent through {}, {words}", text::one_line(sender), text::one_line(link)), true)
            }
            _ => None,
        },
    }
}

/// How a step ended, unless it is just done.
fn outcome_words(outcome: &StepOutcome) -> Option<(String, bool)> {
    match outcome {
        // How a call ended was told when it did.
        StepOutcome::Done | StepOutcome::Application(_) => None,
        StepOutcome::Refused { error, message } => {
            let message = message.as_ref().map(|text| format!(" “{}”", text::one_line(text))).unwrap_or_default();
            Some((format!("the kernel refused it: {}{message}", text::one_line(error)), true))
        }
        StepOutcome::TimedOut { seen, .. } => Some((format!("timed out: {}", text::one_line(seen)), false)),
        StepOutcome::Contradicted(contradiction) => Some((text::one_line(&contradiction_words(contradiction)), false)),
        StepOutcome::NotQuiet { seen, .. } => Some((format!("not quiet: {}", text::one_line(seen)), false)),
        StepOutcome::Failed { message } => Some((text::one_line(message), false)),
    }
}

/// Takes together data segments in a row, and segments alike in a row.
fn fold(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    let mut folded: Vec<Line<'_>> = Vec::new();
    for line in lines {
        match (folded.last_mut(), line) {
            (Some(Line::Data { segments, bytes }), Line::Data { segments: more, bytes: more_bytes }) => {
                *segments += more;
                for (sender, amount) in more_bytes {
                    match bytes.iter_mut().find(|(known, _)| *known == sender) {
                        Some((_, sum)) => *sum += amount,
                        None => bytes.push((sender, amount)),
                    }
                }
            }
            (Some(Line::Arrow(last)), Line::Arrow(next)) if last.is_like(&next) => last.times += 1,
            (_, line) => folded.push(line),
        }
    }
    folded
}

impl Arrow<'_> {
    fn is_like(&self, other: &Self) -> bool {
        (self.from, self.to, self.lost, &self.words, &self.path)
            == (other.from, other.to, other.lost, &other.words, &other.path)
    }
}

#[cfg(test)]
mod tests;
