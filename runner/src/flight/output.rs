//! What a path made of a packet: what must come out of it.

use crate::recording::{Entry, Observation, PathEffect};
use crate::wire::Segment;

/// Something that must come out at the other end of a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) segment: &'a Segment,
    /// It can't arrive before.
    pub(super) earliest: u64,
    /// Of two that can arrive at the same time, the smaller one comes first.
    pub(super) order: usize,
    /// Not each of those that are marked so comes out.
    pub(super) optional: bool,
}

impl<'a> Item<'a> {
    /// A segment as it was sent.
    pub(super) fn sent(segment: &'a Segment, at: u64) -> Self {
        Self { segment, earliest: at, order: usize::MAX, optional: false }
    }
}

/// Something that was made of a packet so far.
#[derive(Debug, Clone)]
struct Piece<'a> {
    /// What comes out if nothing else is done to it.
    item: Item<'a>,
    /// Which of what was made of the packet.
    part: u64,
    /// The rules that have done something to it.
    touched: Vec<&'a str>,
    /// It has come through all rules.
    through: bool,
}

impl Piece<'_> {
    /// It doesn't arrive before that, by this effect.
    fn wait_until(&mut self, earliest: u64, order: usize) {
        (self.item.earliest, self.item.order) = (self.item.earliest.max(earliest), order);
    }
}

/// What a path did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done<'a> {
    pub(super) at: u64,
    /// When the packet entered.
    pub(super) came: u64,
    /// As which entry of the recording.
    pub(super) order: usize,
    pub(super) effect: &'a PathEffect,
    /// To which of what was made of the packet.
    pub(super) part: u64,
    /// What this made of it.
    pub(super) parts: &'a [u64],
}

impl<'a> Done<'a> {
    /// What an entry of the recording says that a path did.
    pub(super) fn of(order: usize, entry: &'a Entry) -> Option<Self> {
        let Observation::Path { after, part, parts, what, .. } = &entry.what else { return None };
        let came = entry.at.saturating_sub(*after);
        Some(Self { at: entry.at, came, order, effect: what, part: *part, parts })
    }

    /// It says which parts or copies it has made, or makes none.
    fn tells_parts(&self) -> bool {
        let made = match self.effect {
            PathEffect::Duplicated => 1,
            PathEffect::Rule { action, .. } if action == "duplicate" => 1,
            PathEffect::Rule { action, made, .. } if action == "split" => made.len().saturating_sub(1),
            _ => 0,
        };
        self.parts.len() == made
    }
}

/// What a path made of a packet.
#[derive(Debug, Default)]
pub(super) struct Output<'a> {
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
pub(super) fn output<'a>(sent: &'a Segment, at: u64, effects: &[Done<'a>], delays: &impl Delays) -> Output<'a> {
    // The time of an effect isn't quite that at which the packet was sent, and may even be before it.
    let earliest = effects.first().map_or(at, |first| at.min(first.came));
    let told = effects.iter().all(Done::tells_parts);
    let first = Piece { item: Item::sent(sent, earliest), part: 0, touched: Vec::new(), through: false };
    let mut work = Work { pieces: vec![first], told, ..Work::default() };
    for done in effects {
        work.apply(done, delays);
    }
    work.result()
}

#[derive(Default)]
struct Work<'a> {
    pieces: Vec<Piece<'a>>,
    held: Vec<(&'a str, Piece<'a>)>,
    /// How many are gone, of those that aren't alike.
    gone: usize,
    merged: bool,
    /// Effects say to which part or copy they are done. In recordings of before they don't: then it is guessed.
    told: bool,
}

impl<'a> Work<'a> {
    fn apply(&mut self, done: &Done<'a>, delays: &impl Delays) {
        match done.effect {
            PathEffect::Lost | PathEffect::QueueFull | PathEffect::TooBig => {
                let index = self.meant(done);
                self.take_away(index);
            }
            PathEffect::Reordered if self.told || self.are_alike() => {
                let until = done.at.saturating_add(delays.by_reordering());
                if let Some(piece) = self.meant(done).and_then(|index| self.pieces.get_mut(index)) {
                    piece.wait_until(until, done.order);
                    piece.through = true;
                }
            }
            // Which of the parts isn't told.
            PathEffect::Reordered => {}
            PathEffect::Duplicated if self.told || self.are_alike() => {
                let copy = self.meant(done).and_then(|index| self.pieces.get(index)).cloned();
                self.pieces.extend(copy.map(|copy| Piece { part: made_part(done, &copy), through: true, ..copy }));
            }
            // One of them comes twice, and nothing says which.
            PathEffect::Duplicated => {
                let optional = |piece: &Piece<'a>| Item { optional: true, ..piece.item };
                let copies = self.pieces.iter().map(|piece| Piece { item: optional(piece), ..piece.clone() });
                let copies: Vec<_> = copies.collect();
                self.pieces.extend(copies);
            }
            PathEffect::Rule { rule, action, made } => self.apply_rule(done, rule, action, made, delays),
        }
    }

    fn apply_rule(&mut self, done: &Done<'a>, rule: &'a str, action: &str, made: &'a [Segment], delays: &impl Delays) {
        let Done { at, order, .. } = *done;
        match (action, made) {
            ("drop", _) if !self.unhold(rule, done, |_| None) => {
                let index = self.touch(done, rule, made);
                self.take_away(index);
            }
            ("hold", _) => {
                if let Some(piece) = self.touch(done, rule, made).map(|index| self.pieces.remove(index)) {
                    self.held.push((rule, piece));
                }
            }
            ("release", _) => {
                // What entered until then went on before.
                let earliest = at.saturating_add(1);
                let goes_on = |mut piece: Piece<'a>| {
                    piece.wait_until(earliest, order);
                    Some(piece)
                };
                self.unhold(rule, done, goes_on);
            }
            ("delay", _) => {
                let until = at.saturating_add(delays.by_rule(rule));
                if let Some(piece) = self.touch(done, rule, made).and_then(|index| self.pieces.get_mut(index)) {
                    piece.wait_until(until, order);
                }
            }
            ("duplicate", _) => {
                let copy = self.touch(done, rule, made).and_then(|index| self.pieces.get(index)).cloned();
                self.pieces.extend(copy.map(|copy| Piece { part: made_part(done, &copy), ..copy }));
            }
            ("merge", []) => {
                self.merged |= self.touch(done, rule, made).map(|index| self.pieces.remove(index)).is_some();
            }
            ("strip" | "rewrite" | "corrupt" | "nat" | "split" | "merge", [_, ..]) => {
                let Some(index) = self.touch(done, rule, made) else { return };
                let piece = self.pieces.remove(index);
                let item = Item { earliest: piece.item.earliest.max(at), ..piece.item };
                let numbers = std::iter::once(piece.part).chain(done.parts.iter().copied());
                // Without numbers, all are the same one.
                let numbers = numbers.chain(std::iter::repeat(piece.part));
                let parts = made.iter().zip(numbers);
                let parts =
                    parts.map(|(segment, part)| Piece { item: Item { segment, ..item }, part, ..piece.clone() });
                self.pieces.splice(index..index, parts.collect::<Vec<_>>());
            }
            _ => {}
        }
    }

    /// The piece that something is done to by the conditions.
    fn meant(&self, done: &Done<'_>) -> Option<usize> {
        if self.told { self.of_part(done.part) } else { self.at_hand(done.at, |_| true) }
    }

    fn of_part(&self, part: u64) -> Option<usize> {
        self.pieces.iter().position(|piece| piece.part == part)
    }

    /// The piece that a rule does something to. If that isn't told: one that it has done nothing to so far, and that begins
    /// like what was made of it, if there are parts.
    fn touch(&mut self, done: &Done<'_>, rule: &'a str, made: &[Segment]) -> Option<usize> {
        if self.told {
            return self.of_part(done.part);
        }
        let at = done.at;
        let fresh = |piece: &Piece<'_>| !piece.touched.contains(&rule);
        let like = |piece: &Piece<'_>| made.iter().all(|made| made.sequence == piece.item.segment.sequence);
        let index = self.at_hand(at, |piece| fresh(piece) && like(piece)).or_else(|| self.at_hand(at, fresh));
        let index = index.or_else(|| self.at_hand(at, |_| true))?;
        self.pieces.get_mut(index)?.touched.push(rule);
        Some(index)
    }

    /// The piece that something is done to at that time: what is late comes exactly then, the others came before.
    fn at_hand(&self, at: u64, is_it: impl Fn(&Piece<'_>) -> bool) -> Option<usize> {
        let until = at.saturating_add(1);
        let pieces = self.pieces.iter().enumerate().rev();
        let here = pieces.filter(|(_, piece)| !piece.through && piece.item.earliest <= until && is_it(piece));
        here.max_by_key(|(_, piece)| piece.item.earliest).map(|(index, _)| index)
    }

    /// The one that a rule holds is held no longer, the first one if it isn't told which; `false` if it holds none.
    fn unhold(&mut self, rule: &str, done: &Done<'_>, then: impl FnOnce(Piece<'a>) -> Option<Piece<'a>>) -> bool {
        let is_it = |(by, piece): &(&str, Piece<'_>)| *by == rule && (!self.told || piece.part == done.part);
        let Some(index) = self.held.iter().position(is_it) else { return false };
        let (_, piece) = self.held.remove(index);
        self.pieces.extend(then(piece));
        true
    }

    fn are_alike(&self) -> bool {
        self.pieces.windows(2).all(|pair| matches!(pair, [one, other] if one.item.segment == other.item.segment))
    }

    /// One of them is gone: the next one that comes to that place, unless these are parts, and it isn't told which.
    fn take_away(&mut self, index: Option<usize>) {
        if self.told {
            index.map(|index| self.pieces.remove(index));
        } else if self.are_alike() && !self.pieces.is_empty() {
            self.pieces.remove(index.unwrap_or(0));
        } else {
            self.gone += 1;
        }
    }

    fn result(self) -> Output<'a> {
        let (held, merged) = (!self.held.is_empty(), self.merged);
        if self.gone > 0 && self.gone >= self.pieces.len() {
            return Output { items: Vec::new(), held, merged };
        }
        let items =
            self.pieces.iter().map(|Piece { item, .. }| Item { optional: item.optional || self.gone > 0, ..*item });
        Output { items: items.collect(), held, merged }
    }
}

/// The number of the copy that was made of a piece.
fn made_part(done: &Done<'_>, of: &Piece<'_>) -> u64 {
    done.parts.first().copied().unwrap_or(of.part)
}
