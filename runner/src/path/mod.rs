//! Paths: what a link does to the packets that cross it. Pure: packets and times go in, packets and times come out.
//!
//! A [`Path`] is told of each frame that one end of the link sends ([`Path::enter`]) and hands out what arrives at the
//! other end, at once or when its time has come ([`Path::due`]). Times are nanoseconds of whatever clock the caller has.
//! They are logical: a packet whose time is over arrives at its time, however late the caller comes, and what follows is
//! reckoned from there.
//!
//! A frame that enters is counted and its fate is settled (`chance`), it meets the rules on its way (`rule`), then
//! the conditions of its direction (`lane`). What nobody changes comes out byte for byte.

mod chance;
mod edit;
mod flow;
mod forge;
mod frame;
mod icmp;
mod lane;
mod nat;
mod neighbour;
mod packet;
mod proxy;
mod rule;
mod segmenting;
mod whole;

use std::borrow::Cow;
use std::collections::BTreeMap;

use flow::Flows;
use lane::Lane;
use packet::{Fate, Origin, Packet, segment_of};
use rule::{Outcome, Rule};

use crate::recording::{PathEffect, PathTotals};
use crate::scenario::model::{Conditions, Injected, PathPlan, PathRule};
use crate::wire::Segment;

/// The largest IP packet on an Ethernet link, in bytes, unless somebody says otherwise (`ETH_DATA_LEN`).
const ETHERNET_MTU: usize = 1500;

/// Receives each frame that arrives: the end of the link (0 or 1), and the frame.
pub type Out<'a> = &'a mut dyn FnMut(usize, &[u8]);

/// An effect on a packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// When, on the caller's clock.
    pub at: u64,
    /// How long the packet had been there.
    pub after: u64,
    /// The end of the link (0 or 1) that the packet came from.
    pub from: usize,
    /// Which packet of this direction, from 1.
    pub number: u64,
    /// Which of what was made of it: 0 is the packet itself.
    pub part: u64,
    /// The numbers of what this made of it: of the copy, or of the parts but the first one.
    pub parts: Vec<u64>,
    /// What.
    pub what: PathEffect,
    /// The packet as it entered; `None` if it isn't a TCP segment.
    pub segment: Option<Segment>,
}

impl Effect {
    fn of(at: u64, packet: &Packet<'_>, what: PathEffect) -> Self {
        let Packet { from, number, came, part, .. } = *packet;
        Self {
            at,
            after: at.saturating_sub(came),
            from,
            number,
            part,
            parts: Vec::new(),
            what,
            segment: packet.as_entered(),
        }
    }
}

/// Where a rule writes down what it does.
struct Record<'a> {
    now: u64,
    link_mtu: usize,
    effects: &'a mut Vec<Effect>,
    totals: &'a mut PathTotals,
    /// The number of the newest copy or part.
    newest_part: &'a mut u64,
}

impl Record<'_> {
    /// The number of something that is made of a packet.
    fn next_part(&mut self) -> u64 {
        *self.newest_part += 1;
        *self.newest_part
    }
}

/// What a link does to packets, in both directions.
#[derive(Debug)]
pub struct Path {
    lanes: [Lane; 2],
    rules: Vec<Rule>,
    /// The id of the newest rule.
    newest: u64,
    /// What will meet the rules behind one of them: by time, then in the order of their coming.
    later: BTreeMap<(u64, u64), (u64, Packet<'static>)>,
    serial: u64,
    /// Never goes back.
    clock: u64,
    link_mtu: usize,
    flows: Flows,
    effects: Vec<Effect>,
}

impl Path {
    /// A path on which nothing has happened.
    pub fn new(plan: &PathPlan) -> Self {
        let [first, second] = &plan.conditions;
        let mut path = Self {
            lanes: [Lane::new(0, plan.seed, first), Lane::new(1, plan.seed, second)],
            rules: Vec::new(),
            newest: 0,
            later: BTreeMap::new(),
            serial: 0,
            clock: 0,
            link_mtu: ETHERNET_MTU,
            flows: Flows::default(),
            effects: Vec::new(),
        };
        plan.rules.iter().for_each(|rule| path.add_rule(rule));
        path
    }

    /// How large the IP packets may be that go out, in bytes, if it isn't 1500: the MTU of the link itself. Nothing larger
    /// is made of what comes in.
    pub fn set_link_mtu(&mut self, mtu: u32) {
        self.link_mtu = usize::try_from(mtu).unwrap_or(usize::MAX);
    }

    /// A frame comes in from the end `from` (0 or 1) at `now` nanoseconds: a whole Ethernet frame, as it would be on a
    /// wire, cut to the MTU and with its checksums. Whatever is due by then is handed out before.
    pub fn enter(&mut self, now: u64, from: usize, frame: &[u8], out: Out<'_>) {
        self.due(now, out);
        let from = usize::from(from != 0);
        if !neighbour::counts(frame) {
            return self.enter_neighbour(from, frame, out);
        }
        let bytes = frame.len().saturating_sub(frame::ETHERNET) as u64;
        let lane = &mut self.lanes[from];
        let (number, fate) = lane.enter(bytes);
        if self.rules.is_empty() && lane.is_open() {
            lane.pass(bytes);
            return out(1 - from, frame);
        }
        let frame = Cow::Borrowed(frame);
        let packet = Packet::new(frame, from, number, self.clock, fate, Origin::Entered);
        self.meet_rules(None, packet, out);
    }

    /// Several segments come in as one frame, which nobody has cut yet: `gso_size` says after how many bytes of payload that
    /// would be (`struct virtio_net_hdr`). They are counted as what they would be on a wire, and go on as they are.
    ///
    /// `false`: they don't, since something would have happened to one of them; or nobody could tell how many they are.
    pub fn enter_whole(&mut self, now: u64, from: usize, frame: &[u8], gso_size: u16, out: Out<'_>) -> bool {
        self.due(now, out);
        let from = usize::from(from != 0);
        let lane = &mut self.lanes[from];
        let Some(segments) = whole::segments(frame, gso_size) else { return false };
        if !self.rules.is_empty() || !lane.is_open() {
            return false;
        }
        lane.enter_and_pass(segments.count, segments.bytes);
        out(1 - from, frame);
        true
    }

    /// Hands out all frames that arrive until `now`, in the order of their times.
    pub fn due(&mut self, now: u64, out: Out<'_>) {
        while let Some(next) = self.next_deadline().filter(|next| *next <= now) {
            self.clock = self.clock.max(next);
            for lane in &mut self.lanes {
                lane.arrive(self.clock, out);
            }
            while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= self.clock) {
                let (rule, packet) = first.remove();
                self.meet_rules(Some(rule), packet, out);
            }
            self.expire(out);
        }
        self.clock = self.clock.max(now);
    }

    /// When [`Path::due`] has something to do again, if nothing enters before.
    pub fn next_deadline(&self) -> Option<u64> {
        let arrivals = self.lanes.iter().filter_map(Lane::next_arrival);
        let later = self.later.first_key_value().map(|((due, _), _)| *due);
        arrivals.chain(later).chain(self.rules.iter().filter_map(Rule::next_deadline)).min()
    }

    /// From now on, what the end `from` sends meets these conditions.
    pub fn set_conditions(&mut self, from: usize, conditions: &Conditions) {
        self.lanes[usize::from(from != 0)].set_conditions(conditions);
    }

    /// Puts a rule behind those that are there.
    pub fn add_rule(&mut self, rule: &PathRule) {
        self.newest += 1;
        self.rules.push(Rule::new(self.newest, rule));
    }

    /// Removes a rule. What it holds is dropped; what it was about to merge goes on at the next [`Path::due`].
    ///
    /// How often it matched; `None` if there is no rule of that name.
    pub fn remove_rule(&mut self, name: &str) -> Option<u64> {
        let index = self.rules.iter().position(|rule| rule.name == name)?;
        let mut rule = self.rules.remove(index);
        self.drop_held(&mut rule);
        // A bundle is of one direction, and only effects are written: whose totals these are doesn't matter.
        let mut record = self.lanes[0].record(self.clock, self.link_mtu, &mut self.effects);
        let bundled = rule.unbundle(&mut record);
        for packet in bundled {
            self.postpone(0, rule.id, packet);
        }
        Some(rule.hits)
    }

    /// Lets go what a rule holds: it goes on at the next [`Path::due`], in its order. How many these are; `None` if there
    /// is no rule of that name.
    pub fn release(&mut self, name: &str) -> Option<usize> {
        let rule = self.rules.iter_mut().find(|rule| rule.name == name)?;
        let (id, held) = (rule.id, rule.release(&mut self.effects, self.clock));
        let count = held.len();
        for packet in held {
            self.postpone(0, id, packet);
        }
        Some(count)
    }

    /// How often a rule has matched since it was installed, its `nth` considered.
    pub fn rule_hits(&self, name: &str) -> Option<u64> {
        self.rules.iter().find(|rule| rule.name == name).map(|rule| rule.hits)
    }

    /// What the path has done to packets that the end `from` sends.
    pub fn totals(&self, from: usize) -> PathTotals {
        self.lanes[usize::from(from != 0)].totals
    }

    /// How many packets that the end `from` sent are still there: in flight, delayed, held.
    pub fn waiting(&self, from: usize) -> u64 {
        let from = usize::from(from != 0);
        let later = self.later.values().filter(|(_, packet)| packet.from == from).count() as u64;
        self.lanes[from].waiting() + later + self.rules.iter().map(|rule| rule.waiting(from)).sum::<u64>()
    }

    /// The end of the run: drops held packets.
    pub fn finish(&mut self) {
        let mut rules = std::mem::take(&mut self.rules);
        for rule in &mut rules {
            self.drop_held(rule);
        }
        self.rules = rules;
    }

    /// What was done to packets since the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A frame that is only delayed; the path may answer it on behalf of an address that it translates to.
    fn enter_neighbour(&mut self, from: usize, frame: &[u8], out: Out<'_>) {
        let answer = self.rules.iter().find_map(|rule| rule.nat()?.answer_for_address(from, frame));
        let (from, frame) = match answer {
            Some(answer) => (1 - from, Cow::Owned(answer)),
            None => (from, Cow::Borrowed(frame)),
        };
        let packet = Packet::new(frame, from, 0, self.clock, Fate::default(), Origin::Neighbour);
        self.lanes[from].admit(self.clock, packet, &mut self.effects, out);
    }

    /// The rule that a packet meets next. They stand in a row along the link: what the second end sends comes to the last
    /// one first.
    fn next_rule(&self, from: usize, after: Option<u64>) -> Option<usize> {
        let up_to = |id: u64| self.rules.partition_point(|rule| rule.id <= id);
        let before = |id: u64| self.rules.partition_point(|rule| rule.id < id);
        if from == 0 {
            Some(after.map_or(0, up_to)).filter(|index| *index < self.rules.len())
        } else {
            after.map_or(self.rules.len(), before).checked_sub(1)
        }
    }

    /// A packet meets the rules behind that one, then the conditions.
    fn meet_rules(&mut self, mut after: Option<u64>, mut packet: Packet<'_>, out: Out<'_>) {
        if self.next_rule(packet.from, after).is_none() {
            return self.meet_conditions(packet, out);
        }
        let Some(mut segment) = segment_of(&packet.frame) else {
            self.translate(&mut packet, after);
            return self.meet_conditions(packet, out);
        };
        while let Some(rule) = self.next_rule(packet.from, after).and_then(|index| self.rules.get_mut(index)) {
            let id = rule.id;
            after = Some(id);
            let mut record = self.lanes[packet.from].record(self.clock, self.link_mtu, &mut self.effects);
            packet = match rule.meet(packet, &segment, &mut record) {
                Outcome::Unconcerned(packet) => packet,
                Outcome::Changed(packet) => {
                    let Some(changed) = segment_of(&packet.frame) else { return };
                    segment = changed;
                    packet
                }
                Outcome::Several(packets) => {
                    for mut packet in packets {
                        self.lanes[packet.from].inherit(&mut packet);
                        self.meet_rules(after, packet, out);
                    }
                    return;
                }
                Outcome::Later(packet, delay) => return self.postpone(delay, id, packet),
                Outcome::Besides(packet, what, forward) => {
                    let matched = packet.clone();
                    self.meet_rules(after, packet, out);
                    return self.inject(id, &matched, &segment, &what, forward, out);
                }
                Outcome::Stopped => return,
            };
        }
        self.meet_conditions(packet, out);
    }

    fn meet_conditions(&mut self, packet: Packet<'_>, out: Out<'_>) {
        if let Some(mtu) = self.lanes[packet.from].mtu_exceeded_by(&packet) {
            self.lanes[packet.from].totals.too_big += 1;
            self.effects.push(Effect::of(self.clock, &packet, PathEffect::TooBig));
            if let Some(answer) = icmp::too_big(&packet.frame, mtu) {
                self.send_forged(1 - packet.from, packet.number, answer, None, out);
            }
            return;
        }
        if self.rules.iter().any(Rule::forges)
            && !packet.fate.lost
            && let Some(segment) = segment_of(&packet.frame)
        {
            self.flows.note(&segment, &packet.frame, packet.entered.as_deref());
        }
        self.lanes[packet.from].admit(self.clock, packet, &mut self.effects, out);
    }

    /// Sends a forged segment, behind the one that has matched.
    fn inject(
        &mut self,
        rule: u64,
        matched: &Packet<'_>,
        segment: &Segment,
        what: &Injected,
        forward: bool,
        out: Out<'_>,
    ) {
        let Some(forged) = forge::forge(&matched.frame, segment, what, forward, &self.flows) else { return };
        if let Some(rule) = self.rules.iter().find(|other| other.id == rule) {
            let made = segment_of(&forged).into_iter().collect();
            self.effects.push(Effect::of(self.clock, matched, rule.effect("inject", made)));
        }
        let from = if forward { matched.from } else { 1 - matched.from };
        self.send_forged(from, matched.number, forged, Some(rule), out);
    }

    /// Sends what the path made up at that rule, or behind all of them. It meets no rule, but its addresses are translated
    /// by those on its way.
    fn send_forged(&mut self, from: usize, number: u64, frame: Vec<u8>, after: Option<u64>, out: Out<'_>) {
        let mut packet = Packet::new(Cow::Owned(frame), from, number, self.clock, Fate::default(), Origin::Forged);
        self.translate(&mut packet, after);
        self.lanes[from].totals.added += 1;
        self.meet_conditions(packet, out);
    }

    /// The rules behind that one translate addresses; nothing else.
    fn translate(&self, packet: &mut Packet<'_>, mut after: Option<u64>) {
        while let Some(rule) = self.next_rule(packet.from, after).and_then(|index| self.rules.get(index)) {
            after = Some(rule.id);
            if let Some(nat) = rule.nat() {
                nat.translate(packet.from, packet.frame.to_mut());
            }
        }
    }

    /// A packet meets the rules behind that one after `delay` nanoseconds.
    fn postpone(&mut self, delay: u64, rule: u64, packet: Packet<'_>) {
        self.serial += 1;
        self.later.insert((self.clock.saturating_add(delay), self.serial), (rule, packet.into_owned()));
    }

    /// Forwards bundles that have waited long enough.
    fn expire(&mut self, out: Out<'_>) {
        for index in 0..self.rules.len() {
            let Some(rule) = self.rules.get_mut(index) else { return };
            let mut record = self.lanes[0].record(self.clock, self.link_mtu, &mut self.effects);
            let (id, expired) = (rule.id, rule.expire(&mut record));
            for packet in expired {
                self.meet_rules(Some(id), packet, out);
            }
        }
    }

    fn drop_held(&mut self, rule: &mut Rule) {
        for packet in rule.drop_held(&mut self.effects, self.clock) {
            self.lanes[packet.from].totals.dropped += 1;
        }
    }
}
