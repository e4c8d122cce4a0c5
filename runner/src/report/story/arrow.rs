//! A segment as a line of the story: its words, its way, and what became of it.

use std::time::Duration;

use crate::flight::{Fate, Flight};
use crate::recording::PathEffect;
use crate::scenario::model::{Action, Operation, Scenario};
use crate::text;
use crate::wire::{Segment, TcpFlags};

use super::Line;
use super::effects::{effects_words, reshapes, takes_away};
use super::words::{is_signalling, segment_path, segment_words};

/// A segment on its way from lane to lane.
#[derive(Debug, PartialEq)]
pub(super) struct Arrow<'a> {
    pub(super) at: u64,
    pub(super) from: &'a str,
    /// The namespaces that forwarded it.
    pub(super) through: Vec<&'a str>,
    /// Where it arrived, or was last seen.
    pub(super) to: Option<&'a str>,
    /// Where it would have arrived next, if it did not.
    pub(super) toward: Option<&'a str>,
    pub(super) fate: Fate,
    pub(super) words: String,
    /// Addresses; the device of a SYN, and the device and the link of what left by another one than its address says.
    pub(super) path: String,
    /// Number of similar segments in a row.
    pub(super) times: u64,
    /// From the first to the last of them.
    pub(super) over: Duration,
}

impl Arrow<'_> {
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let looks = |arrow: &Self| (arrow.from, arrow.to, arrow.toward, arrow.fate);
        looks(self) == looks(other)
            && (&self.words, &self.path, &self.through) == (&other.words, &other.path, &other.through)
    }
}

/// It only carries data, or acknowledges it, and no rule did anything to it.
fn is_plain(flight: &Flight<'_>) -> bool {
    let by_rule = flight.effects.iter().any(|(_, effect)| matches!(effect, PathEffect::Rule { .. }));
    !is_signalling(flight.sent) && !by_rule
}

/// The line of a segment that only carries data; an acknowledgment alone tells nothing.
pub(super) fn data_line<'a>(flight: &Flight<'a>) -> Option<Line<'a>> {
    if flight.sent.payload == 0 || !is_plain(flight) {
        return None;
    }
    let bytes = vec![(flight.from, u64::from(flight.sent.payload))];
    Some(Line::Data { segments: 1, bytes, lost: u64::from(flight.fate == Fate::Lost) })
}

/// The line of any other segment.
pub(super) fn flight_line<'a>(scenario: &Scenario, flight: &Flight<'a>) -> Option<Line<'a>> {
    if is_plain(flight) {
        return None;
    }
    let segment = flight.sent;
    let device = text::one_line(flight.device);
    let by = match link_off_route(scenario, flight) {
        Some(link) => format!(" by {device} ({})", text::one_line(link)),
        None if segment.flags.contains(TcpFlags::SYN) && has_choice(scenario, flight.from) => format!(" by {device}"),
        None => String::new(),
    };
    Some(Line::Arrow(Arrow {
        at: flight.at,
        from: flight.from,
        through: flight.through.clone(),
        to: flight.arrived.map(|(namespace, _)| namespace),
        toward: flight.ends_on.map(|(_, namespace)| namespace),
        fate: flight.fate,
        words: format!("{}{}", told_words(segment), fate_words(scenario, flight)),
        path: segment_path(segment) + &by,
        times: 1,
        over: Duration::ZERO,
    }))
}

/// Whether a namespace has more than one device to send by.
fn has_choice(scenario: &Scenario, namespace: &str) -> bool {
    let ends = scenario.world.links.iter().flat_map(|link| &link.ends);
    ends.filter(|end| end.namespace == namespace).nth(1).is_some()
}

/// The link that a segment left by, unless its source address is the link's own, or there is no other link.
fn link_off_route<'a>(scenario: &'a Scenario, flight: &Flight<'a>) -> Option<&'a str> {
    if !has_choice(scenario, flight.from) {
        return None;
    }
    let link = flight.link?;
    let end = link.ends.iter().find(|end| end.namespace == flight.from && end.device == flight.device)?;
    let source = flight.sent.source.ip().to_canonical();
    let added = scenario.steps.iter().any(|step| match &step.action {
        Action::Do(Operation::AddAddress { namespace, device, address }) => {
            *namespace == end.namespace && *device == end.device && address.address.to_canonical() == source
        }
        _ => false,
    });
    let mut all = scenario.world.addresses();
    let own = all.any(|(namespace, device, own)| {
        own.address.to_canonical() == source
            && namespace == end.namespace
            && scenario.world.is_on(namespace, device, &end.device)
    });
    (!own && !added).then_some(link.name.as_str())
}

/// The words of a segment, also if it only carries or acknowledges data.
fn told_words(segment: &Segment) -> String {
    match segment_words(segment) {
        nothing if nothing.is_empty() && segment.payload == 0 => "ACK".to_owned(),
        nothing if nothing.is_empty() => format!("data, {}", text::size(u64::from(segment.payload))),
        words => words,
    }
}

/// What became of a segment on its way, in parentheses; nothing if it arrived as it was sent.
fn fate_words(scenario: &Scenario, flight: &Flight<'_>) -> String {
    let mut words = effects_words(&flight.effects);
    let explained = flight.effects.iter().any(|(_, effect)| takes_away(effect));
    words.extend(match flight.fate {
        Fate::Lost if explained => None,
        Fate::Lost => Some(match flight.ends_on {
            Some((link, _)) if !flight.through.is_empty() => format!("lost on {}, never arrived", text::one_line(link)),
            _ => "sent, never arrived".to_owned(),
        }),
        Fate::Held => None,
        Fate::OnItsWay => Some("still in flight at the end".to_owned()),
        Fate::Arrived => arrival_words(flight).or_else(|| stranded_words(scenario, flight)),
    });
    if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) }
}

/// As what a segment arrived, if its options changed and have words. Parts of a segment, and what it was merged into, have words of
/// their own.
fn arrival_words(flight: &Flight<'_>) -> Option<String> {
    let (_, arrived) = flight.arrived?;
    if flight.cut || flight.effects.iter().any(|(_, effect)| reshapes(effect)) || arrived.options == flight.sent.options
    {
        return None;
    }
    match (segment_words(flight.sent), segment_words(arrived)) {
        // What changed has no words: the effect tells it.
        (sent, arrived) if sent == arrived => None,
        (_, nothing) if nothing.is_empty() => Some("arrived without it".to_owned()),
        (_, words) => Some(format!("arrived as: {words}")),
    }
}

/// It reached a router that didn't forward it.
fn stranded_words(scenario: &Scenario, flight: &Flight<'_>) -> Option<String> {
    let (namespace, arrived) = flight.arrived?;
    let router = scenario.world.namespace(namespace)?.forwarding;
    let owner = scenario.world.owner(arrived.destination.ip())?;
    (router && owner != namespace).then(|| format!("{} did not forward it", text::one_line(namespace)))
}
