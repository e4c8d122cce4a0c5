//! Routers: what came in and went out again is one segment. Where it was cut or joined, its bytes tell.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::wire::Segment;

use super::pair::{Kinds, Missing, Offer, options};
use super::{Crossing, Key, Landing, Sky};

/// How many candidates are looked at, at most, to find the one whose bytes a segment has.
const REACH: usize = 256;

/// Finds what each namespace has sent on.
pub(super) fn join(sky: &mut Sky<'_>) {
    join_alike(sky, true);
    // A filter may have taken options away.
    join_alike(sky, false);
    join_by_bytes(sky);
}

/// Pairs arrivals with departures of the same namespace that are alike.
fn join_alike(sky: &mut Sky<'_>, by_options: bool) {
    let mut kinds = Kinds::default();
    let mut flows = HashSet::new();
    let options = |segment| if by_options { options(segment) } else { &[] };
    for (index, landing) in sky.landings.iter().enumerate().filter(|(_, landing)| landing.onward.is_empty()) {
        let Landing { at, namespace, segment, .. } = *landing;
        flows.insert((namespace, segment.source, segment.destination));
        let offer = Offer { by: index, sent: at, earliest: at, order: 0, latest: u64::MAX, optional: false };
        kinds.of(namespace, Key::of(segment), options(segment)).offers.push(offer);
    }
    for (index, crossing) in sky.crossings.iter().enumerate().filter(|(_, crossing)| crossing.forwards.is_none()) {
        let Crossing { at, namespace, segment, .. } = *crossing;
        // What a namespace sends by itself, nobody sent to it.
        if flows.contains(&(namespace, segment.source, segment.destination)) {
            kinds.of(namespace, Key::of(segment), options(segment)).arrivals.push((at, index));
        }
    }
    // A router takes no time: what it did not send on is older than what it did.
    for (landing, crossing) in kinds.pairs(|_| Missing::Oldest) {
        sky.forward(landing, crossing);
    }
}

/// Finds the arrivals whose bytes a departure carries.
fn join_by_bytes(sky: &mut Sky<'_>) {
    let mut arrived: HashMap<(&str, SocketAddr, SocketAddr), Vec<usize>> = HashMap::new();
    for (index, landing) in sky.landings.iter().enumerate() {
        if landing.onward.is_empty() && landing.segment.payload > 0 {
            let Segment { source, destination, .. } = *landing.segment;
            arrived.entry((landing.namespace, source, destination)).or_default().push(index);
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
