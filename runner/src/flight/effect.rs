//! What a path made of a packet: what must come out of it.

use crate::recording::PathDeed;
use crate::wire::Segment;

/// Something that must come out at the other end of a link.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub(super) segment: &'a Segment,
    /// It can't arrive before.
    pub(super) earliest: u64,
    /// Which was the deed that made it late, of all: of two that can arrive at the same time, the earlier one comes first.
    pub(super) order: usize,
    /// Not each of those that are marked so comes out.
    pub(super) optional: bool,
    /// The rules that have done something to it.
    touched: Vec<&'a str>,
    /// It has come through all rules.
    through: bool,
}

impl<'a> Item<'a> {
    /// A segment as it was sent.
    pub(super) fn sent(segment: &'a Segment, at: u64) -> Self {
        Self { segment, earliest: at, order: usize::MAX, optional: false, touched: Vec::new(), through: false }
    }
}

/// What a path did: when, as which entry of the recording, and what.
pub(super) type Done<'a> = (u64, usize, &'a PathDeed);

/// What a path made of a packet.
#[derive(Debug, Default)]
pub(super) struct Effect<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// Something of it is held by a rule.
    pub(super) held: bool,
    /// Something of it went into another packet.
    pub(super) merged: bool,
}

/// What is known about the time that a path keeps packets.
pub(super) trait Delays {
    /// How long a rule delays, at least, in nanoseconds.
    fn by_rule(&self, rule: &str) -> u64;
    /// How long a packet that is held back by chance is, at least.
    fn by_reordering(&self) -> u64;
}

/// What must come out of a segment that entered a path, after all that was done to it.
pub(super) fn effect<'a>(sent: &'a Segment, at: u64, deeds: &[Done<'a>], delays: &impl Delays) -> Effect<'a> {
    // The time of a deed isn't quite that at which the packet was sent, and may even be before it.
    let earliest = deeds.first().map_or(at, |(first, ..)| at.min(*first));
    let mut work = Work { items: vec![Item::sent(sent, earliest)], ..Work::default() };
    for (at, order, deed) in deeds {
        work.order = *order;
        work.apply(*at, deed, delays);
    }
    work.result()
}

#[derive(Default)]
struct Work<'a> {
    items: Vec<Item<'a>>,
    held: Vec<(&'a str, Item<'a>)>,
    /// How many are gone, of those that aren't alike.
    gone: usize,
    merged: bool,
    /// Which deed it is about.
    order: usize,
}

impl<'a> Work<'a> {
    fn apply(&mut self, at: u64, deed: &'a PathDeed, delays: &impl Delays) {
        match deed {
            PathDeed::Lost | PathDeed::QueueFull | PathDeed::TooBig => {
                let index = self.at_hand(at, |_| true);
                self.take_away(index);
            }
            PathDeed::Reordered if self.are_alike() => {
                let (until, order) = (at.saturating_add(delays.by_reordering()), self.order);
                if let Some(item) = self.at_hand(at, |_| true).and_then(|index| self.items.get_mut(index)) {
                    (item.earliest, item.order, item.through) = (item.earliest.max(until), order, true);
                }
            }
            // Which of the parts isn't told.
            PathDeed::Reordered => {}
            PathDeed::Duplicated if self.are_alike() => {
                let copy = self.at_hand(at, |_| true).and_then(|index| self.items.get(index)).cloned();
                self.items.extend(copy.map(|copy| Item { through: true, ..copy }));
            }
            // One of them comes twice, and nothing says which.
            PathDeed::Duplicated => {
                let copies: Vec<_> = self.items.iter().map(|item| Item { optional: true, ..item.clone() }).collect();
                self.items.extend(copies);
            }
            PathDeed::Rule { rule, action, made } => self.apply_rule(at, rule, action, made, delays),
        }
    }

    fn apply_rule(&mut self, at: u64, rule: &'a str, action: &str, made: &'a [Segment], delays: &impl Delays) {
        match (action, made) {
            ("drop", _) if !self.unhold(rule, |_| None) => {
                let index = self.touch(at, rule, made);
                self.take_away(index);
            }
            ("hold", _) => {
                if let Some(item) = self.touch(at, rule, made).map(|index| self.items.remove(index)) {
                    self.held.push((rule, item));
                }
            }
            ("release", _) => {
                // What entered until then went on before.
                let earliest = at.saturating_add(1);
                let order = self.order;
                self.unhold(rule, |item| Some(Item { earliest: item.earliest.max(earliest), order, ..item }));
            }
            ("delay", _) => {
                let (until, order) = (at.saturating_add(delays.by_rule(rule)), self.order);
                if let Some(item) = self.touch(at, rule, made).and_then(|index| self.items.get_mut(index)) {
                    (item.earliest, item.order) = (item.earliest.max(until), order);
                }
            }
            ("duplicate", _) => {
                let copy = self.touch(at, rule, made).and_then(|index| self.items.get(index)).cloned();
                self.items.extend(copy);
            }
            ("merge", []) => {
                self.merged |= self.touch(at, rule, made).map(|index| self.items.remove(index)).is_some();
            }
            ("strip" | "rewrite" | "corrupt" | "nat" | "split" | "merge", [_, ..]) => {
                let Some(index) = self.touch(at, rule, made) else { return };
                let item = self.items.remove(index);
                let earliest = item.earliest.max(at);
                let parts = made.iter().map(|segment| Item { segment, earliest, ..item.clone() });
                self.items.splice(index..index, parts.collect::<Vec<_>>());
            }
            _ => {}
        }
    }

    /// The item that a rule does something to: one that it has done nothing to so far, and that begins like what was made
    /// of it, if there are parts.
    fn touch(&mut self, at: u64, rule: &'a str, made: &[Segment]) -> Option<usize> {
        let fresh = |item: &Item<'_>| !item.touched.contains(&rule);
        let like = |item: &Item<'_>| made.iter().all(|made| made.sequence == item.segment.sequence);
        let index = self.at_hand(at, |item| fresh(item) && like(item)).or_else(|| self.at_hand(at, fresh));
        let index = index.or_else(|| self.at_hand(at, |_| true))?;
        self.items.get_mut(index)?.touched.push(rule);
        Some(index)
    }

    /// The item that something is done to at that time: what is late comes exactly then, the others came before.
    fn at_hand(&self, at: u64, is_it: impl Fn(&Item<'_>) -> bool) -> Option<usize> {
        let items = self.items.iter().enumerate().rev();
        let here = items.filter(|(_, item)| !item.through && item.earliest <= at.saturating_add(1) && is_it(item));
        here.max_by_key(|(_, item)| item.earliest).map(|(index, _)| index)
    }

    /// The first one that a rule holds is held no longer; `false` if it holds none.
    fn unhold(&mut self, rule: &str, then: impl FnOnce(Item<'a>) -> Option<Item<'a>>) -> bool {
        let Some(index) = self.held.iter().position(|(by, _)| *by == rule) else { return false };
        let (_, item) = self.held.remove(index);
        self.items.extend(then(item));
        true
    }

    fn are_alike(&self) -> bool {
        self.items.windows(2).all(|pair| matches!(pair, [one, other] if one.segment == other.segment))
    }

    /// One of them is gone: the next one that comes to that place, unless these are parts, and it isn't told which.
    fn take_away(&mut self, index: Option<usize>) {
        if self.are_alike() && !self.items.is_empty() {
            self.items.remove(index.unwrap_or(0));
        } else {
            self.gone += 1;
        }
    }

    fn result(mut self) -> Effect<'a> {
        if self.gone >= self.items.len() {
            self.items.clear();
        } else if self.gone > 0 {
            self.items.iter_mut().for_each(|item| item.optional = true);
        }
        Effect { items: self.items, held: !self.held.is_empty(), merged: self.merged }
    }
}
