//! Following segments through the captures: which arrival belongs to which departure, on which link, and what became of
//! the rest. Pure: everything comes from the recording and its scenario.
//!
//! A segment leaves an interface and enters the one at the other end of the link ([`lane`]): that is a crossing. What a
//! path did on the way says what must come out, and when at the earliest ([`output`]). Of several alike, who is who
//! follows from that ([`pair`]). A router sends on what it received: its crossings belong to one flight ([`hop`]).

mod hop;
mod lane;
mod output;
mod pair;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::recording::{Direction, Entry, Observation, PathEffect};
use crate::scenario::model::{Link, Scenario};
use crate::wire::{Segment, TcpFlags};

use output::Item;

/// A segment on its way from the namespace that sent it to the last one that it reached.
#[derive(Debug)]
pub(crate) struct Flight<'a> {
    /// When it was sent, nanoseconds since the start of the run.
    pub(crate) at: u64,
    /// The index of the entry that says so.
    pub(crate) entry: usize,
    /// As it was sent.
    pub(crate) sent: &'a Segment,
    /// The namespace that sent it.
    pub(crate) from: &'a str,
    /// The device that it left by.
    pub(crate) device: &'a str,
    /// The link of that device.
    pub(crate) link: Option<&'a Link>,
    /// The namespaces that forwarded it.
    pub(crate) through: Vec<&'a str>,
    /// The last namespace that it arrived in, with what arrived first; `None` if it never did.
    pub(crate) arrived: Option<(&'a str, &'a Segment)>,
    /// If it did not arrive: the link on which its way ends, and the namespace at its far end.
    pub(crate) ends_on: Option<(&'a str, &'a str)>,
    /// What paths did to it.
    pub(crate) effects: Vec<(&'a str, &'a PathEffect)>,
    /// What became of it.
    pub(crate) fate: Fate,
    /// It was cut or joined with others on its way: what arrived doesn't look like it.
    pub(crate) cut: bool,
}

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It, or a part of it, reached a namespace that did not send it on.
    Arrived,
    /// It left a namespace and entered no other one.
    Lost,
    /// A rule of a path holds it.
    Held,
    /// A path had it when the run ended.
    OnItsWay,
}

/// A segment on one link. There are as many as a transfer has segments, and a path lets most of them through.
#[derive(Debug)]
struct Crossing<'a> {
    entry: usize,
    at: u64,
    namespace: &'a str,
    device: &'a str,
    segment: &'a Segment,
    lane: usize,
    /// What the path made of it; `None` if it did nothing to it.
    made: Option<Box<Made<'a>>>,
    /// What came out at the other end, by index.
    landings: Vec<usize>,
    /// The path had it when the run ended.
    waiting: bool,
    /// It was cut, or joined with others.
    cut: bool,
    /// What it forwards.
    forwards: Option<usize>,
}

/// What a path made of a segment.
#[derive(Debug)]
struct Made<'a> {
    /// What it did to it, with the name of the link.
    effects: Vec<(&'a str, &'a PathEffect)>,
    /// What must come out at the other end.
    items: Vec<Item<'a>>,
    /// Rules hold it, or a part of it.
    held: bool,
    /// Another one carries its data.
    merged_into: Option<usize>,
}

/// A segment that entered an interface.
#[derive(Debug)]
struct Landing<'a> {
    at: u64,
    namespace: &'a str,
    segment: &'a Segment,
    lane: usize,
    /// Somebody sent it.
    known: bool,
    /// As which crossings it was sent on.
    onward: Vec<usize>,
}

/// All crossings and landings, in the order of time.
#[derive(Debug, Default)]
struct Sky<'a> {
    crossings: Vec<Crossing<'a>>,
    landings: Vec<Landing<'a>>,
}

/// What makes two segments comparable; their options may differ.
#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
struct Key {
    source: SocketAddr,
    destination: SocketAddr,
    sequence: u32,
    acknowledgment: u32,
    flags: TcpFlags,
    payload: u32,
}

impl Key {
    fn of(segment: &Segment) -> Self {
        Self {
            source: segment.source,
            destination: segment.destination,
            sequence: segment.sequence,
            acknowledgment: segment.acknowledgment,
            flags: segment.flags,
            payload: segment.payload,
        }
    }
}

/// All segments of a recording, each once. There are as many as transfers have taken: look at one after the other.
#[derive(Debug)]
pub(crate) struct Flights<'a> {
    lanes: lane::Lanes<'a>,
    sky: Sky<'a>,
}

impl<'a> Flights<'a> {
    pub(crate) fn of(scenario: &'a Scenario, entries: &'a [Entry]) -> Self {
        let lanes = lane::Lanes::of(scenario, entries);
        let mut sky = Sky::of(&lanes, entries);
        lane::cross(&mut sky, &lanes, entries);
        hop::join(&mut sky, scenario);
        Self { lanes, sky }
    }

    /// In the order in which they were sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Flight<'a>> {
        let roots = self.sky.crossings.iter().enumerate().filter(|(_, crossing)| crossing.forwards.is_none());
        roots.filter_map(|(root, _)| self.sky.flight(root, &self.lanes))
    }
}

impl<'a> Sky<'a> {
    fn of(lanes: &lane::Lanes<'a>, entries: &'a [Entry]) -> Self {
        let mut sky = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let Observation::Packet { namespace, device, direction, segment } = &entry.what else { continue };
            let lane = lanes.lane(namespace, device, *direction);
            match direction {
                Direction::Out => sky.crossings.push(Crossing {
                    entry: index,
                    at: entry.at,
                    namespace,
                    device,
                    segment,
                    lane,
                    made: None,
                    landings: Vec::new(),
                    waiting: false,
                    cut: false,
                    forwards: None,
                }),
                Direction::In => {
                    sky.landings.push(Landing {
                        at: entry.at,
                        namespace,
                        segment,
                        lane,
                        known: false,
                        onward: Vec::new(),
                    });
                }
            }
        }
        sky
    }

    /// All that belongs to the segment that began its way with this crossing.
    fn flight(&self, root: usize, lanes: &lane::Lanes<'a>) -> Option<Flight<'a>> {
        let first = self.crossings.get(root)?;
        let walk = self.walk(root);
        let end = walk.end.map(|(_, crossing, fate)| (crossing, fate));
        let last = walk.arrived.map(|(_, landing)| landing).or_else(|| self.crossings.get(end?.0)?.forwards);
        let arrived = last.and_then(|landing| self.landings.get(landing));
        let (fate, ends_on) = match (walk.arrived, end) {
            (None, Some((crossing, fate))) => (fate, self.crossings.get(crossing).and_then(|c| lanes.far_end(c.lane))),
            _ => (Fate::Arrived, None),
        };
        Some(Flight {
            at: first.at,
            entry: first.entry,
            sent: first.segment,
            from: first.namespace,
            device: first.device,
            link: lanes.link(first.lane),
            through: last.map(|landing| self.trail(root, landing, fate == Fate::Arrived)).unwrap_or_default(),
            arrived: arrived.map(|landing| (landing.namespace, landing.segment)),
            ends_on,
            effects: walk.effects,
            fate,
            cut: walk.cut,
        })
    }
}

/// What a walk along all branches of a flight has seen.
#[derive(Default)]
struct Walk<'a> {
    effects: Vec<(&'a str, &'a PathEffect)>,
    cut: bool,
    /// The farthest arrival that nobody sent on, with the number of links.
    arrived: Option<(usize, usize)>,
    /// The farthest crossing that came to nothing, and why.
    end: Option<(usize, usize, Fate)>,
}

impl<'a> Sky<'a> {
    fn walk(&self, root: usize) -> Walk<'a> {
        let mut walk = Walk::default();
        let mut seen = std::collections::HashSet::new();
        let mut ahead = vec![(0, root)];
        while let Some((depth, index)) = ahead.pop() {
            let Some(crossing) = self.crossings.get(index).filter(|_| seen.insert(index)) else { continue };
            walk.effects.extend(crossing.effects());
            walk.cut |= crossing.cut;
            let carrier = crossing.merged_into().and_then(|index| self.crossings.get(index)).unwrap_or(crossing);
            if carrier.landings.is_empty() && walk.end.is_none_or(|(farthest, ..)| depth > farthest) {
                walk.end = Some((depth, index, carrier.end()));
            }
            // Backwards: what is pushed last is looked at first.
            for landing in carrier.landings.iter().rev() {
                let onward = self.landings.get(*landing).map_or(&[][..], |landing| &landing.onward);
                if onward.is_empty() && walk.arrived.is_none_or(|(farthest, _)| depth >= farthest) {
                    walk.arrived = Some((depth, *landing));
                }
                ahead.extend(onward.iter().rev().map(|next| (depth + 1, *next)));
            }
        }
        walk
    }

    /// The namespaces between the start and that landing; the landing's own is one of them if the way goes on from there.
    fn trail(&self, root: usize, landing: usize, ends_there: bool) -> Vec<&'a str> {
        let mut passed = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut ahead = vec![(root, 0)];
        while let Some((index, depth)) = ahead.pop() {
            let Some(crossing) = self.crossings.get(index).filter(|_| seen.insert(index)) else { continue };
            passed.truncate(depth);
            let carrier = crossing.merged_into().and_then(|index| self.crossings.get(index)).unwrap_or(crossing);
            if carrier.landings.contains(&landing) {
                passed.extend(self.landings.get(landing).filter(|_| !ends_there).map(|landing| landing.namespace));
                return passed;
            }
            let next = carrier.landings.iter().filter_map(|landing| self.landings.get(*landing));
            let next: Vec<_> = next.filter(|landing| !landing.onward.is_empty()).collect();
            passed.extend(next.first().map(|landing| landing.namespace));
            ahead.extend(next.iter().flat_map(|landing| &landing.onward).map(|next| (*next, depth + 1)));
        }
        Vec::new()
    }
}

impl<'a> Crossing<'a> {
    /// What the path did to it, with the name of the link.
    fn effects(&self) -> &[(&'a str, &'a PathEffect)] {
        self.made.as_ref().map_or(&[], |made| &made.effects)
    }

    /// How many must come out at the other end.
    fn parts(&self) -> usize {
        self.made.as_ref().map_or(1, |made| made.items.len())
    }

    /// One of those that must come out at the other end.
    fn part(&self, index: u32) -> Option<Item<'a>> {
        match &self.made {
            None => (index == 0).then(|| Item::sent(self.segment, self.at)),
            Some(made) => made.items.get(usize::try_from(index).ok()?).copied(),
        }
    }

    /// Nothing comes out at the other end.
    fn is_gone(&self) -> bool {
        self.parts() == 0
    }

    /// Rules hold it, or a part of it.
    fn is_held(&self) -> bool {
        self.made.as_ref().is_some_and(|made| made.held)
    }

    /// Another one carries its data.
    fn merged_into(&self) -> Option<usize> {
        self.made.as_ref()?.merged_into
    }

    /// Why nothing of it came out.
    fn end(&self) -> Fate {
        if self.is_held() {
            Fate::Held
        } else if self.waiting {
            Fate::OnItsWay
        } else {
            Fate::Lost
        }
    }
}
