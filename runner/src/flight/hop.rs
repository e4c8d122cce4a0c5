//! Routers: what came in and went out again is one segment. Where it was cut or joined, its bytes tell.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::wire::{MptcpOption, Segment};

use super::pair::{Kinds, Missing, Offer, Place, Ticket, options};
use super::{Crossing, Key, Sky};

/// How many candidates are looked at, at most, to find the one whose bytes a segment has.
const REACH: usize = 256;

/// Finds what each namespace has sent on.
pub(super) fn join(sky: &mut Sky<'_>) {
    join_alike(sky, true);
    // A filter may have taken options away.
    join_alike(sky, false);
    join_by_bytes(sky);
}

/// A flow in a namespace.
type Flow<'a> = (&'a str, SocketAddr, SocketAddr);

/// What a namespace may have sent on: of these flows, something left it that nothing else explains.
fn departing<'a>(sky: &Sky<'a>) -> HashSet<Flow<'a>> {
    let departing = sky.crossings.iter().filter(|crossing| crossing.forwards.is_none());
    departing.map(|c| (c.namespace, c.segment.source, c.segment.destination)).collect()
}

/// Pairs arrivals with departures of the same namespace that are alike.
fn join_alike(sky: &mut Sky<'_>, by_options: bool) {
    // Hosts that only receive and send have none.
    let mut kinds = Kinds::for_about(0);
    let mut flows = HashSet::new();
    let place = InNamespaces { sky, by_options };
    let departing = departing(sky);
    for (index, landing) in sky.landings.iter().enumerate().filter(|(_, landing)| landing.onward.is_empty()) {
        let flow = (landing.namespace, landing.segment.source, landing.segment.destination);
        if departing.contains(&flow) {
            flows.insert(flow);
            kinds.offer(place.kind_of(landing.namespace, landing.segment), index, 0);
        }
    }
    for (index, crossing) in sky.crossings.iter().enumerate().filter(|(_, crossing)| crossing.forwards.is_none()) {
        let Crossing { namespace, segment, .. } = *crossing;
        // What a namespace sends by itself, nobody sent to it.
        if flows.contains(&(namespace, segment.source, segment.destination)) {
            kinds.arrive(place.kind_of(namespace, segment), index);
        }
    }
    for (landing, crossing) in kinds.pairs(&place) {
        sky.forward(landing, crossing);
    }
}

/// What is alike in a namespace.
type InNamespace<'a> = (&'a str, Key, &'a [MptcpOption]);

/// What came to namespaces, and what they sent.
struct InNamespaces<'s, 'a> {
    sky: &'s Sky<'a>,
    by_options: bool,
}

impl<'a> InNamespaces<'_, 'a> {
    fn kind_of(&self, namespace: &'a str, segment: &'a Segment) -> InNamespace<'a> {
        (namespace, Key::of(segment), if self.by_options { options(segment) } else { &[] })
    }
}

impl<'a> Place for InNamespaces<'_, 'a> {
    type Kind = InNamespace<'a>;

    fn kind(&self, ticket: &Ticket) -> Option<InNamespace<'a>> {
        Some(match *ticket {
            Ticket::Offer { by, .. } => self.sky.landings.get(by).map(|l| self.kind_of(l.namespace, l.segment))?,
            Ticket::Arrival(index) => self.sky.crossings.get(index).map(|c| self.kind_of(c.namespace, c.segment))?,
        })
    }

    fn offer(&self, by: usize, _: u32) -> Option<Offer> {
        let at = self.sky.landings.get(by)?.at;
        Some(Offer { by, sent: at, earliest: at, order: 0, latest: u64::MAX, optional: false })
    }

    fn arrived(&self, index: usize) -> u64 {
        self.sky.crossings.get(index).map_or(0, |crossing| crossing.at)
    }

    /// A router takes no time: what it did not send on is older than what it did.
    fn missing(&self, _: &InNamespace<'a>) -> Missing {
        Missing::Oldest
    }
}

/// Finds the arrivals whose bytes a departure carries.
fn join_by_bytes(sky: &mut Sky<'_>) {
    let departing = departing(sky);
    let mut arrived: HashMap<Flow<'_>, Vec<usize>> = HashMap::new();
    for (index, landing) in sky.landings.iter().enumerate() {
        let flow = (landing.namespace, landing.segment.source, landing.segment.destination);
        if landing.onward.is_empty() && landing.segment.payload > 0 && departing.contains(&flow) {
            arrived.entry(flow).or_default().push(index);
        }
    }
    let mut pairs = Vec::new();
    for (index, crossing) in sky.crossings.iter().enumerate() {
        let Segment { source, destination, payload, .. } = *crossing.segment;
        let Some(landings) = arrived.get(&(crossing.namespace, source, destination)) else { continue };
        if crossing.forwards.is_some() || payload == 0 {
            continue;
        }
        let before = landings.partition_point(|index| sky.landings.get(*index).is_some_and(|l| l.at <= crossing.at));
        let candidates = landings.get(..before).unwrap_or_default().iter().rev().take(REACH);
        let shares = |index: &&usize| sky.landings.get(**index).is_some_and(|l| share(l.segment, crossing.segment));
        pairs.extend(candidates.filter(shares).map(|landing| (*landing, index)));
    }
    for (landing, crossing) in pairs {
        sky.forward(landing, crossing);
        if let Some(crossing) = sky.crossings.get_mut(crossing) {
            crossing.cut = true;
        }
    }
}

/// Whether two segments of one flow have bytes in common. Sequence numbers wrap: their distance is what counts.
pub(super) fn share(one: &Segment, other: &Segment) -> bool {
    other.sequence.wrapping_sub(one.sequence) < one.payload || one.sequence.wrapping_sub(other.sequence) < other.payload
}

impl Sky<'_> {
    fn forward(&mut self, landing: usize, crossing: usize) {
        if let Some(crossing) = self.crossings.get_mut(crossing) {
            crossing.forwards.get_or_insert(landing);
        }
        if let Some(landing) = self.landings.get_mut(landing) {
            landing.onward.push(crossing);
        }
    }
}
