//! Segments alike: who is who.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash, RandomState};

use crate::wire::{MptcpOption, Segment};

/// How many of several alike are looked at, at most, to find one that may arrive earlier than it seemed.
const REACH: usize = 64;

/// Something that must come out at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// The one that offers it.
    pub(super) by: usize,
    /// When it was sent.
    pub(super) sent: u64,
    /// It can't arrive before, as far as is known.
    pub(super) earliest: u64,
    /// Of two with the same time, the smaller one comes first.
    pub(super) order: usize,
    /// Nor after.
    pub(super) latest: u64,
    /// Some of what `by` offers is gone, and it is not known which.
    pub(super) optional: bool,
}

/// Which of several alike are missing, where nothing says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The last ones: a path tells what it takes away, so that the others are still there.
    Newest,
    /// The first ones: it takes no time, so that an arrival is that of the last one sent.
    Oldest,
}

/// Something that is offered, or that arrived: its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ticket {
    /// Which part of what one offers.
    Offer {
        by: usize,
        part: u32,
    },
    Arrival(usize),
}

/// Where things are offered and arrive: what the tickets stand for.
pub(super) trait Place {
    /// What nothing but time tells apart.
    type Kind: PartialEq;

    fn kind(&self, ticket: &Ticket) -> Option<Self::Kind>;

    fn offer(&self, by: usize, part: u32) -> Option<Offer>;

    /// When it arrived.
    fn arrived(&self, index: usize) -> u64;

    fn missing(&self, kind: &Self::Kind) -> Missing;
}

/// All that is offered and all that arrives, by kind. There is a ticket for each segment of a recording, so that nothing
/// but a hash is kept of its kind.
#[derive(Debug)]
pub(super) struct Kinds {
    tickets: Vec<(u64, Ticket)>,
    hashes: RandomState,
}

impl Kinds {
    /// With room for that number of tickets.
    pub(super) fn for_about(tickets: usize) -> Self {
        Self { tickets: Vec::with_capacity(tickets), hashes: RandomState::new() }
    }

    pub(super) fn offer(&mut self, kind: impl Hash, by: usize, part: u32) {
        self.tickets.push((self.hashes.hash_one(kind), Ticket::Offer { by, part }));
    }

    pub(super) fn arrive(&mut self, kind: impl Hash, index: usize) {
        self.tickets.push((self.hashes.hash_one(kind), Ticket::Arrival(index)));
    }

    /// Who is who, of each kind.
    pub(super) fn pairs(mut self, place: &impl Place) -> Vec<(usize, usize)> {
        self.tickets.sort_unstable();
        let mut pairs = Vec::new();
        for tickets in self.tickets.chunk_by(|(one, _), (other, _)| one == other) {
            let mut rest: Vec<Ticket> = tickets.iter().map(|(_, ticket)| *ticket).collect();
            // Kinds with one hash are rare.
            while let Some(kind) = rest.first().and_then(|first| place.kind(first)) {
                let (alike, others) = rest.into_iter().partition(|ticket| place.kind(ticket).as_ref() == Some(&kind));
                pairs.extend(pairs_of(place, &kind, alike));
                rest = others;
            }
        }
        pairs.sort_unstable();
        pairs
    }
}

fn pairs_of<P: Place>(place: &P, kind: &P::Kind, tickets: Vec<Ticket>) -> Vec<(usize, usize)> {
    let (mut offers, mut arrivals) = (Vec::new(), Vec::new());
    for ticket in tickets {
        match ticket {
            Ticket::Offer { by, part } => offers.extend(place.offer(by, part)),
            Ticket::Arrival(index) => arrivals.push((place.arrived(index), index)),
        }
    }
    if offers.is_empty() || arrivals.is_empty() {
        return Vec::new();
    }
    pair(offers, arrivals, place.missing(kind))
}

/// The options of a segment.
pub(super) fn options(segment: &Segment) -> &[MptcpOption] {
    &segment.options
}

/// Pairs what is offered with the arrivals (time, and whatever it stands for). Both are of one kind: nothing but time
/// tells them apart. Gives `(by, arrival)`.
fn pair(mut offers: Vec<Offer>, mut arrivals: Vec<(u64, usize)>, missing: Missing) -> Vec<(usize, usize)> {
    offers.sort_by_key(|offer| (offer.earliest, offer.order, offer.by));
    arrivals.sort_by_key(|(at, _)| *at);
    let mut coming = offers.into_iter().peekable();
    let (mut sure, mut optional) = (VecDeque::new(), VecDeque::new());
    let (mut taken, mut served, mut unserved) = (Vec::new(), Vec::new(), Vec::new());
    for arrival in arrivals {
        while let Some(offer) = coming.next_if(|offer| offer.earliest <= arrival.0) {
            if offer.optional { &mut optional } else { &mut sure }.push_back(offer);
        }
        let offer = take(&mut sure, arrival.0, missing).or_else(|| take(&mut optional, arrival.0, missing));
        if let Some(offer) = offer {
            taken.push(offer);
            served.push(arrival);
        } else {
            unserved.push(arrival);
        }
    }
    // These arrive, whichever is which: they do in the order in which they can.
    taken.sort_by_key(|offer: &Offer| (offer.earliest, offer.order, offer.by));
    let mut pairs: Vec<_> = taken.into_iter().zip(served).map(|(offer, (_, arrival))| (offer.by, arrival)).collect();
    // Of several that a path made of one, which is delayed isn't always told.
    let mut rest: VecDeque<Offer> = sure.into_iter().chain(optional).chain(coming).collect();
    for (at, arrival) in unserved {
        if let Some(index) = rest.iter().take(REACH).position(|offer| offer.sent <= at && at <= offer.latest) {
            pairs.extend(rest.remove(index).map(|offer| (offer.by, arrival)));
        }
    }
    pairs
}

/// The next one that can arrive at that time. What can't any more never will.
fn take(waiting: &mut VecDeque<Offer>, at: u64, missing: Missing) -> Option<Offer> {
    loop {
        let offer = match missing {
            Missing::Newest => waiting.pop_front(),
            Missing::Oldest => waiting.pop_back(),
        }?;
        if offer.latest >= at {
            return Some(offer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(by: usize, earliest: u64) -> Offer {
        Offer { by, sent: earliest, earliest, order: 0, latest: u64::MAX, optional: false }
    }

    #[test]
    fn what_is_delayed_longer_arrives_later() {
        // The first one is delayed by 1500, the second one overtakes it.
        let offers = vec![Offer { sent: 0, ..offer(0, 1500) }, offer(1, 1000)];
        assert_eq!(pair(offers, vec![(1000, 7), (1500, 8)], Missing::Newest), [(1, 7), (0, 8)]);
    }

    #[test]
    fn without_a_reason_a_link_has_lost_the_older_one_and_a_path_still_has_the_newer_one() {
        let offers = || vec![offer(0, 0), offer(1, 1000)];
        assert_eq!(pair(offers(), vec![(1010, 7)], Missing::Oldest), [(1, 7)]);
        assert_eq!(pair(offers(), vec![(1010, 7)], Missing::Newest), [(0, 7)]);
    }

    #[test]
    fn what_was_on_a_link_that_went_down_does_not_arrive() {
        let offers = vec![Offer { latest: 500, ..offer(0, 0) }, offer(1, 1000)];
        assert_eq!(pair(offers, vec![(1010, 7)], Missing::Newest), [(1, 7)]);
    }

    #[test]
    fn what_must_come_comes_before_what_may() {
        let offers = vec![Offer { optional: true, ..offer(0, 0) }, offer(1, 10)];
        assert_eq!(pair(offers, vec![(20, 7)], Missing::Newest), [(1, 7)]);
    }
}
