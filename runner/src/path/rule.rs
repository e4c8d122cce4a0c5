//! One rule of a path: which segments it matches, and what it does to them.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::edit;
use super::frame::Layout;
use super::nat::Nat;
use super::packet::{Packet, segment_of};
use super::segmenting::{Bundle, Merged, can_merge, can_split, split};
use super::{Effect, Record};
use crate::mptcp::canonical;
use crate::nanos;
use crate::recording::PathEffect;
use crate::scenario::model::{Injected, Injection, PacketPattern, PathRule, RuleAction};
use crate::wire::Segment;

/// A rule that is in force.
#[derive(Debug)]
pub(super) struct Rule {
    /// Grows with each rule: it tells where a packet that was kept goes on, whatever rules came and went meanwhile.
    pub(super) id: u64,
    pub(super) name: String,
    pattern: PacketPattern,
    action: RuleAction,
    /// All that matched, in or out of `nth`.
    matched: u64,
    /// Those that something was done to.
    pub(super) hits: u64,
    held: VecDeque<Packet<'static>>,
    bundles: BTreeMap<(SocketAddr, SocketAddr), Bundle>,
    nat: Option<Nat>,
}

/// The fate of a packet that has met a rule.
pub(super) enum Outcome<'a> {
    /// It was left alone, and meets the next rule.
    Unconcerned(Packet<'a>),
    /// It was changed, and meets the next rule.
    Changed(Packet<'a>),
    /// These meet the next rule, one after the other.
    Several(Vec<Packet<'a>>),
    /// It meets the next rule after this number of nanoseconds.
    Later(Packet<'a>, u64),
    /// It meets the next rule, and something is sent besides.
    Besides(Packet<'a>, Injected, bool),
    /// It stops here, for good or for now.
    Stopped,
}

/// Whether a rule acts on a segment.
#[derive(PartialEq, Eq)]
enum Concern {
    /// Nothing.
    None,
    /// It does something to it.
    Acts,
    /// It changes it to this frame.
    Edits(Vec<u8>),
}

impl Rule {
    pub(super) fn new(id: u64, rule: &PathRule) -> Self {
        let nat = match rule.action {
            RuleAction::Nat { address, port } => Some(Nat::new(address, port)),
            _ => None,
        };
        Self {
            id,
            name: rule.name.clone(),
            pattern: rule.matching.clone(),
            action: rule.action.clone(),
            matched: 0,
            hits: 0,
            held: VecDeque::new(),
            bundles: BTreeMap::new(),
            nat,
        }
    }

    /// Whether segments have to be followed, so that others can be forged.
    pub(super) fn forges(&self) -> bool {
        matches!(self.action, RuleAction::Inject { .. })
    }

    pub(super) fn nat(&self) -> Option<&Nat> {
        self.nat.as_ref().filter(|nat| !nat.is_idle())
    }

    /// The fate of a packet; `segment` is its current form.
    pub(super) fn meet<'a>(
        &mut self,
        mut packet: Packet<'a>,
        segment: &Segment,
        record: &mut Record<'_>,
    ) -> Outcome<'a> {
        if let Some(nat) = self.nat()
            && nat.knows(packet.from, segment.source, segment.destination)
        {
            note_as_entered(&mut packet, segment);
            nat.translate(packet.from, packet.frame.to_mut());
            return Outcome::Changed(packet);
        }
        let concern = self.concern(&packet, segment);
        if concern == Concern::None {
            return self.pass_by(packet, segment, record);
        }
        self.hits += 1;
        note_as_entered(&mut packet, segment);
        if let Concern::Edits(edited) = concern {
            packet.frame = Cow::Owned(edited);
            self.write(record, &packet, vec![&packet]);
            return Outcome::Changed(packet);
        }
        self.act(packet, segment, record)
    }

    /// Whether the rule does something to that segment, its `nth` considered.
    fn concern(&mut self, packet: &Packet<'_>, segment: &Segment) -> Concern {
        if !is_like(&self.pattern, packet.from, segment) {
            return Concern::None;
        }
        let concern = match &self.action {
            RuleAction::Corrupt(offset) => edited(packet, |frame, layout| edit::corrupt(frame, layout, *offset)),
            RuleAction::Strip(word) => edited(packet, |frame, layout| edit::strip(frame, layout, word.as_deref())),
            RuleAction::Rewrite(rewrite) => edited(packet, |frame, layout| edit::rewrite(frame, layout, rewrite)),
            action if can_act(action, segment) => Concern::Acts,
            _ => Concern::None,
        };
        if concern == Concern::None {
            return concern;
        }
        self.matched += 1;
        if self.pattern.nth.as_ref().is_none_or(|nth| nth.contains(&self.matched)) { concern } else { Concern::None }
    }

    /// What must not be overtaken by a segment that the rule isn't about: the beginning of the same flow.
    fn pass_by<'a>(&mut self, packet: Packet<'a>, segment: &Segment, record: &mut Record<'_>) -> Outcome<'a> {
        match self.bundles.remove(&(segment.source, segment.destination)) {
            None => Outcome::Unconcerned(packet),
            Some(bundle) => Outcome::Several(vec![self.complete(bundle, record), packet]),
        }
    }

    fn act<'a>(&mut self, packet: Packet<'a>, segment: &Segment, record: &mut Record<'_>) -> Outcome<'a> {
        match &self.action {
            RuleAction::Drop => {
                record.totals.dropped += 1;
                self.write(record, &packet, Vec::new());
                Outcome::Stopped
            }
            RuleAction::Delay(delay) => {
                self.write(record, &packet, Vec::new());
                Outcome::Later(packet, nanos::of(*delay))
            }
            RuleAction::Duplicate => {
                record.totals.added += 1;
                let copy = packet.child(1, record.next_part(), packet.frame.to_vec());
                self.write(record, &packet, vec![&copy]);
                Outcome::Several(vec![packet, copy])
            }
            RuleAction::Hold => {
                self.write(record, &packet, Vec::new());
                self.held.push_back(packet.into_owned());
                Outcome::Stopped
            }
            RuleAction::Nat { .. } => self.open_binding(packet, record),
            RuleAction::Inject(Injection { forward, what }) => Outcome::Besides(packet, what.clone(), *forward),
            RuleAction::Split(size) => self.split(packet, *size, record),
            RuleAction::Merge(count) => self.merge(packet, segment, *count, record),
            // They are only edited.
            RuleAction::Corrupt { .. } | RuleAction::Strip(_) | RuleAction::Rewrite(_) => Outcome::Unconcerned(packet),
        }
    }

    fn open_binding<'a>(&mut self, mut packet: Packet<'a>, record: &mut Record<'_>) -> Outcome<'a> {
        if let Some(nat) = &mut self.nat
            && nat.open(packet.from, &packet.frame).is_some()
        {
            nat.translate(packet.from, packet.frame.to_mut());
            self.write(record, &packet, vec![&packet]);
        }
        Outcome::Changed(packet)
    }

    fn split<'a>(&mut self, packet: Packet<'a>, size: u32, record: &mut Record<'_>) -> Outcome<'a> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some(layout) = Layout::of(&packet.frame) else { return Outcome::Unconcerned(packet) };
        let parts: Vec<_> = split(&packet.frame, &layout, size)
            .into_iter()
            .zip(0..)
            // The first one is still the packet itself.
            .map(|(frame, index)| match index {
                0 => Packet { copy: packet.copy, ..packet.child(0, packet.part, frame) },
                index => packet.child(index, record.next_part(), frame),
            })
            .collect();
        record.totals.added += parts.len().saturating_sub(1) as u64;
        self.write(record, &packet, parts.iter().collect());
        Outcome::Several(parts)
    }

    fn merge<'a>(&mut self, packet: Packet<'a>, segment: &Segment, count: u32, record: &mut Record<'_>) -> Outcome<'a> {
        let flow = (segment.source, segment.destination);
        let Some(layout) = Layout::of(&packet.frame) else { return self.pass_by(packet, segment, record) };
        let before = match self.bundles.remove(&flow) {
            Some(mut bundle) if bundle.fits(&packet.frame, &layout, record.link_mtu) => {
                bundle.append(&packet, &layout);
                record.totals.merged += 1;
                if bundle.parts.len() < usize::try_from(count).unwrap_or(usize::MAX) {
                    self.bundles.insert(flow, bundle);
                    return Outcome::Stopped;
                }
                return Outcome::Several(vec![self.complete(bundle, record)]);
            }
            before => before,
        };
        if let Some(bundle) = Bundle::new(packet.into_owned(), record.now) {
            self.bundles.insert(flow, bundle);
        }
        match before {
            Some(bundle) => Outcome::Several(vec![self.complete(bundle, record)]),
            None => Outcome::Stopped,
        }
    }

    /// What has been merged so far goes on. All that went into it is recorded, with the result at the last one; a single
    /// segment goes on as if nothing had been.
    fn complete(&self, bundle: Bundle, record: &mut Record<'_>) -> Packet<'static> {
        let count = bundle.parts.len();
        for (index, Merged { number, came, part, entered }) in bundle.parts.iter().enumerate().filter(|_| count > 1) {
            let made =
                if index + 1 == count { segment_of(&bundle.packet.frame).into_iter().collect() } else { Vec::new() };
            record.effects.push(Effect {
                at: record.now,
                after: record.now.saturating_sub(*came),
                from: bundle.packet.from,
                number: *number,
                part: *part,
                parts: Vec::new(),
                what: self.effect(self.action.word(), made),
                segment: entered.as_deref().cloned(),
            });
        }
        bundle.packet
    }

    /// When the first of the bundles has waited long enough.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.bundles.values().map(|bundle| bundle.until).min()
    }

    /// Releases the bundles that have waited long enough.
    pub(super) fn expire(&mut self, record: &mut Record<'_>) -> Vec<Packet<'static>> {
        let expired = |bundle: &Bundle| bundle.until <= record.now;
        let flows: Vec<_> = self.bundles.iter().filter(|(_, bundle)| expired(bundle)).map(|(flow, _)| *flow).collect();
        let bundles: Vec<_> = flows.iter().filter_map(|flow| self.bundles.remove(flow)).collect();
        bundles.into_iter().map(|bundle| self.complete(bundle, record)).collect()
    }

    /// Releases all bundles.
    pub(super) fn unbundle(&mut self, record: &mut Record<'_>) -> Vec<Packet<'static>> {
        let bundles = std::mem::take(&mut self.bundles);
        bundles.into_values().map(|bundle| self.complete(bundle, record)).collect()
    }

    /// Releases held packets.
    pub(super) fn release(&mut self, effects: &mut Vec<Effect>, now: u64) -> Vec<Packet<'static>> {
        let held: Vec<_> = std::mem::take(&mut self.held).into();
        effects.extend(held.iter().map(|packet| Effect::of(now, packet, self.effect("release", Vec::new()))));
        held
    }

    /// Drops held packets.
    pub(super) fn drop_held(&mut self, effects: &mut Vec<Effect>, now: u64) -> Vec<Packet<'static>> {
        let held: Vec<_> = std::mem::take(&mut self.held).into();
        effects.extend(held.iter().map(|packet| Effect::of(now, packet, self.effect("drop", Vec::new()))));
        held
    }

    /// How many packets of a direction wait here.
    pub(super) fn waiting(&self, from: usize) -> u64 {
        let bundled = self.bundles.values().map(|bundle| &bundle.packet);
        self.held.iter().chain(bundled).filter(|packet| packet.from == from).count() as u64
    }

    pub(super) fn effect(&self, action: &str, made: Vec<Segment>) -> PathEffect {
        PathEffect::Rule { rule: self.name.as_str().into(), action: action.into(), made }
    }

    /// Records what the action made of a packet.
    fn write(&self, record: &mut Record<'_>, packet: &Packet<'_>, made: Vec<&Packet<'_>>) {
        let parts = made.iter().map(|made| made.part).filter(|part| *part != packet.part).collect();
        let made = made.into_iter().filter_map(|made| segment_of(&made.frame)).collect();
        let effect = Effect::of(record.now, packet, self.effect(self.action.word(), made));
        record.effects.push(Effect { parts, ..effect });
    }
}

fn note_as_entered(packet: &mut Packet<'_>, segment: &Segment) {
    packet.entered.get_or_insert_with(|| Arc::new(segment.clone()));
}

/// The frame after a change, repaired.
fn edited(packet: &Packet<'_>, edit: impl FnOnce(&mut [u8], &Layout) -> bool) -> Concern {
    let Some(layout) = Layout::of(&packet.frame) else { return Concern::None };
    let mut frame = packet.frame.to_vec();
    if !edit(&mut frame, &layout) {
        return Concern::None;
    }
    layout.repair(&mut frame);
    Concern::Edits(frame)
}

/// Whether an action has something to do.
fn can_act(action: &RuleAction, segment: &Segment) -> bool {
    match action {
        RuleAction::Split(size) => can_split(segment, *size),
        RuleAction::Merge(count) => *count > 1 && can_merge(segment),
        RuleAction::Nat { address, .. } => address.is_ipv4() == segment.source.is_ipv4(),
        _ => true,
    }
}

/// Whether a segment is like the pattern, whichever it is of those that are.
fn is_like(pattern: &PacketPattern, from: usize, segment: &Segment) -> bool {
    let address = |wanted: Option<IpAddr>, found: SocketAddr| {
        wanted.is_none_or(|wanted| canonical(wanted) == canonical(found.ip()))
    };
    let port = |wanted: Option<u16>, found: SocketAddr| wanted.is_none_or(|wanted| wanted == found.port());
    pattern.direction.is_none_or(|direction| direction == from)
        && address(pattern.from, segment.source)
        && address(pattern.to, segment.destination)
        && port(pattern.from_port, segment.source)
        && port(pattern.to_port, segment.destination)
        && segment.flags.contains(pattern.flags)
        && !segment.flags.intersects(pattern.without)
        && pattern.payload.as_ref().is_none_or(|payload| payload.contains(&u64::from(segment.payload)))
        && (!pattern.any_option || !segment.options.is_empty())
        && pattern.option.as_ref().is_none_or(|option| option.matches(segment))
}
