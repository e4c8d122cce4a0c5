//! Routers: what came in and went out again is one segment. Where it was cut or joined, its bytes tell.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::scenario::model::Scenario;
use crate::wire::{MptcpOption, Segment};

use super::pair::{Kinds, Missing, Offer, Place, Ticket, options};
use super::{Crossing, Key, Sky};

/// How many candidates are looked at, at most, to find the one whose bytes a segment has.
const REACH: usize = 256;

/// Finds what each namespace has sent on.
pub(super) fn join(sky: &mut Sky<'_>, scenario: &Scenario) {
    join_alike(sky, Likeness::Whole);
    // A filter may have taken options away.
    join_alike(sky, Likeness::WithoutOptions);
    let translators: HashSet<&str> =
        scenario.filters().filter(|filter| filter.action.translates()).map(|it| it.namespace.as_str()).collect();
    if !translators.is_empty() {
        join_alike(sky, Likeness::WithoutEnds(&translators));
    }
    join_by_bytes(sky);
}

/// What a router may have changed.
#[derive(Clone, Copy)]
enum Likeness<'n> {
    /// Nothing.
    Whole,
    /// The options.
    WithoutOptions,
    /// The addresses and ports, in these namespaces. The sequence number tells: TCP chooses it by chance.
    WithoutEnds(&'n HashSet<&'n str>),
}

/// Whatever they were.
const ANY_END: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Likeness<'_> {
    /// The flow of a segment, as far as the namespace keeps it; `None` if there is nothing to find.
    fn flow<'a>(self, namespace: &'a str, segment: &Segment) -> Option<Flow<'a>> {
        match self {
            Self::Whole | Self::WithoutOptions => Some((namespace, segment.source, segment.destination)),
            Self::WithoutEnds(translators) => translators.contains(namespace).then_some((namespace, ANY_END, ANY_END)),
        }
    }

    fn kind<'a>(self, namespace: &'a str, segment: &'a Segment) -> InNamespace<'a> {
        let key = Key::of(segment);
        match self {
            Self::Whole => (namespace, key, options(segment)),
            Self::WithoutOptions => (namespace, key, &[]),
            Self::WithoutEnds(_) => (namespace, Key { source: ANY_END, destination: ANY_END, ..key }, options(segment)),
        }
    }
}

/// A flow in a namespace.
type Flow<'a> = (&'a str, SocketAddr, SocketAddr);

/// What a namespace may have sent on: of these flows, something left it that nothing else explains.
fn departing<'a>(sky: &Sky<'a>, likeness: Likeness<'_>) -> HashSet<Flow<'a>> {
    let departing = sky.crossings.iter().filter(|crossing| crossing.forwards.is_none());
    departing.filter_map(|crossing| likeness.flow(crossing.namespace, crossing.segment)).collect()
}

/// Pairs arrivals with departures of the same namespace that are alike.
fn join_alike(sky: &mut Sky<'_>, likeness: Likeness<'_>) {
    // Hosts that only receive and send have none.
    let mut kinds = Kinds::for_about(0);
    let mut flows = HashSet::new();
    let place = InNamespaces { sky, likeness };
    let departing = departing(sky, likeness);
    for (index, landing) in sky.landings.iter().enumerate().filter(|(_, landing)| landing.onward.is_empty()) {
        let flow = likeness.flow(landing.namespace, landing.segment);
        if let Some(flow) = flow.filter(|flow| departing.contains(flow)) {
            flows.insert(flow);
            kinds.offer(likeness.kind(landing.namespace, landing.segment), index, 0);
        }
    }
    for (index, crossing) in sky.crossings.iter().enumerate().filter(|(_, crossing)| crossing.forwards.is_none()) {
        let Crossing { namespace, segment, .. } = *crossing;
        // What a namespace sends by itself, nobody sent to it.
        if likeness.flow(namespace, segment).is_some_and(|flow| flows.contains(&flow)) {
            kinds.arrive(likeness.kind(namespace, segment), index);
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
    likeness: Likeness<'s>,
}

impl<'a> Place for InNamespaces<'_, 'a> {
    type Kind = InNamespace<'a>;

    fn kind(&self, ticket: &Ticket) -> Option<InNamespace<'a>> {
        Some(match *ticket {
            Ticket::Offer { by, .. } => {
                self.sky.landings.get(by).map(|l| self.likeness.kind(l.namespace, l.segment))?
            }
            Ticket::Arrival(index) => {
                self.sky.crossings.get(index).map(|c| self.likeness.kind(c.namespace, c.segment))?
            }
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
    let departing = departing(sky, Likeness::Whole);
    let translated = translated(sky);
    let mut arrived: HashMap<Flow<'_>, Vec<usize>> = HashMap::new();
    for (index, landing) in sky.landings.iter().enumerate() {
        let flow = (landing.namespace, landing.segment.source, landing.segment.destination);
        let flow = translated.get(&flow).copied().unwrap_or(flow);
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

/// What routers have made of flows: those that arrived, and those that left for them.
fn translated<'a>(sky: &Sky<'a>) -> HashMap<Flow<'a>, Flow<'a>> {
    let forwarded = sky.crossings.iter().filter_map(|crossing| Some((crossing, sky.landings.get(crossing.forwards?)?)));
    let flows = forwarded.map(|(crossing, landing)| {
        let flow = |segment: &Segment| (crossing.namespace, segment.source, segment.destination);
        (flow(landing.segment), flow(crossing.segment))
    });
    flows.filter(|(arrived, left)| arrived != left).collect()
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
