//! One direction of a path: its conditions, and the packets in flight.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::chance::{Dice, Lot, Purpose};
use super::packet::{Fate, Origin, Packet};
use super::{Effect, Out, Record};
use crate::nanos;
use crate::recording::{PathEffect, PathTotals};
use crate::scenario::model::{Conditions, Distribution, Jitter};

/// How many buffers are kept for the next packets.
const SPARE_BUFFERS: usize = 256;

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    /// The end that sends.
    from: usize,
    conditions: Conditions,
    /// Nothing happens to packets.
    plain: bool,
    dice: Dice,
    loss: Option<Lot>,
    duplicate: Option<Lot>,
    reorder: Option<Lot>,
    /// Packets that have entered.
    number: u64,
    /// The number of the newest copy or part.
    newest_part: u64,
    pub(super) totals: PathTotals,
    /// When the link has sent everything that it was given. Logical time: it doesn't know when anybody woke up.
    busy_until: u64,
    /// Until when packets wait for the rate, and how large they are.
    queue: VecDeque<(u64, u64)>,
    queue_bytes: u64,
    /// When the last one in order arrives.
    last_arrival: u64,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    serial: u64,
    spare: Vec<Vec<u8>>,
}

/// A packet that will arrive. Ordered by time, then by the order of their coming.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    arrival: u64,
    serial: u64,
    counted: bool,
    frame: Vec<u8>,
}

impl Lane {
    pub(super) fn new(from: usize, seed: u64, conditions: &Conditions) -> Self {
        let mut lane = Self {
            from,
            conditions: Conditions::default(),
            plain: true,
            dice: Dice::new(seed, from),
            loss: None,
            duplicate: None,
            reorder: None,
            number: 0,
            newest_part: 0,
            totals: PathTotals::default(),
            busy_until: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            last_arrival: 0,
            in_flight: BinaryHeap::new(),
            serial: 0,
            spare: Vec::new(),
        };
        lane.set_conditions(conditions);
        lane
    }

    /// A chance that stays what it was goes on where it is: a burst doesn't end because the delay changes.
    pub(super) fn set_conditions(&mut self, conditions: &Conditions) {
        let before = std::mem::replace(&mut self.conditions, conditions.clone());
        let now = &self.conditions;
        if before.loss != now.loss {
            self.loss = now.loss.as_ref().map(|chance| Lot::new(chance, Purpose::Loss));
        }
        if before.duplicate != now.duplicate {
            self.duplicate = now.duplicate.as_ref().map(|chance| Lot::new(chance, Purpose::Duplicate));
        }
        if before.reorder != now.reorder {
            self.reorder = now.reorder.as_ref().map(|reorder| Lot::new(&reorder.which, Purpose::Reorder));
        }
        self.plain = now.is_open();
    }

    /// Where rules write down what they do to packets of this direction.
    pub(super) fn record<'a>(&'a mut self, now: u64, link_mtu: usize, effects: &'a mut Vec<Effect>) -> Record<'a> {
        Record { now, link_mtu, effects, totals: &mut self.totals, newest_part: &mut self.newest_part }
    }

    /// Counts a packet that enters and settles its fate.
    pub(super) fn enter(&mut self, bytes: u64) -> (u64, Fate) {
        self.number += 1;
        self.totals.entered += 1;
        self.totals.entered_bytes += bytes;
        let (dice, number) = (self.dice, self.number);
        let draw = |lot: &mut Option<Lot>| lot.as_mut().is_some_and(|lot| lot.enter(dice, number));
        let fate = Fate {
            lost: draw(&mut self.loss),
            duplicated: draw(&mut self.duplicate),
            reordered: draw(&mut self.reorder),
        };
        (number, fate)
    }

    /// Settles the fate of what was made of a packet.
    pub(super) fn inherit(&self, packet: &mut Packet<'_>) {
        let (number, copy) = (packet.number, packet.copy);
        let draw = |lot: &Option<Lot>, inherited: bool| {
            lot.as_ref().is_some_and(|lot| lot.inherit(self.dice, number, copy, inherited))
        };
        packet.fate = Fate {
            lost: draw(&self.loss, packet.fate.lost),
            duplicated: draw(&self.duplicate, packet.fate.duplicated),
            reordered: draw(&self.reorder, packet.fate.reordered),
        };
    }

    /// The MTU, if the packet is larger.
    pub(super) fn mtu_exceeded_by(&self, packet: &Packet<'_>) -> Option<u32> {
        let mtu = self.conditions.mtu?;
        (packet.origin == Origin::Entered && packet.ip_length() > u64::from(mtu)).then_some(mtu)
    }

    /// Whether a packet that comes now would go on at once, as it is.
    pub(super) fn is_open(&self) -> bool {
        self.plain && self.in_flight.is_empty()
    }

    /// Counts a packet that is forwarded at once.
    pub(super) fn pass(&mut self, bytes: u64) {
        self.pass_several(1, bytes);
    }

    /// Counts packets that enter and go on at once. Nobody asks what their fate is.
    pub(super) fn enter_and_pass(&mut self, packets: u64, bytes: u64) {
        self.number += packets;
        self.totals.entered += packets;
        self.totals.entered_bytes += bytes;
        self.pass_several(packets, bytes);
    }

    fn pass_several(&mut self, packets: u64, bytes: u64) {
        self.totals.left += packets;
        self.totals.left_bytes += bytes;
    }

    /// Takes a packet at its time. What arrives at once is handed out.
    pub(super) fn admit(&mut self, now: u64, packet: Packet<'_>, effects: &mut Vec<Effect>, out: Out<'_>) {
        if packet.origin == Origin::Neighbour {
            return self.send(now, now.saturating_add(nanos::of(self.conditions.delay)), packet, out);
        }
        if packet.fate.lost {
            self.totals.lost += 1;
            return effects.push(Effect::of(now, &packet, PathEffect::Lost));
        }
        let copy = packet.fate.duplicated.then(|| {
            self.totals.duplicated += 1;
            self.totals.added += 1;
            self.newest_part += 1;
            let part = self.newest_part;
            effects.push(Effect { parts: vec![part], ..Effect::of(now, &packet, PathEffect::Duplicated) });
            Packet { fate: Fate::default(), ..packet.child(0, part, packet.frame.to_vec()) }
        });
        self.transmit(now, packet, effects, out);
        if let Some(copy) = copy {
            self.transmit(now, copy, effects, out);
        }
    }

    /// Queue, rate, delay.
    fn transmit(&mut self, now: u64, packet: Packet<'_>, effects: &mut Vec<Effect>, out: Out<'_>) {
        let Some(departure) = self.departure(now, packet.ip_length()) else {
            self.totals.queue_full += 1;
            return effects.push(Effect::of(now, &packet, PathEffect::QueueFull));
        };
        let delay = self.conditions.jitter.map_or_else(
            || nanos::of(self.conditions.delay),
            |jitter| self.varied(nanos::of(self.conditions.delay), jitter, &packet),
        );
        let mut arrival = departure.saturating_add(delay).max(self.last_arrival);
        self.last_arrival = arrival;
        if packet.fate.reordered {
            self.totals.reordered += 1;
            effects.push(Effect::of(now, &packet, PathEffect::Reordered));
            let by = self.conditions.reorder.as_ref().map_or(0, |reorder| nanos::of(reorder.by));
            arrival = arrival.saturating_add(by);
        }
        self.send(now, arrival, packet, out);
    }

    /// When the link has sent it; `None` if the queue is full.
    fn departure(&mut self, now: u64, bytes: u64) -> Option<u64> {
        while let Some((_, waited)) = self.queue.front().copied().filter(|(until, _)| *until <= now) {
            self.queue.pop_front();
            self.queue_bytes -= waited;
        }
        let begin = now.max(self.busy_until);
        if begin > now {
            let limit = self.conditions.queue;
            let packets = self.queue.len() as u64 + 1;
            if limit.packets.is_some_and(|limit| packets > u64::from(limit))
                || limit.bytes.is_some_and(|limit| self.queue_bytes + bytes > limit)
            {
                return None;
            }
            self.queue.push_back((begin, bytes));
            self.queue_bytes += bytes;
        }
        // Also without a rate: what waits from the time with one is not overtaken.
        self.busy_until = begin.saturating_add(self.conditions.rate.map_or(0, |rate| transmission(bytes, rate)));
        Some(self.busy_until)
    }

    fn varied(&self, delay: u64, jitter: Jitter, packet: &Packet<'_>) -> u64 {
        let draw = |purpose| self.dice.draw(purpose, packet.number, packet.copy);
        let uniform = draw(Purpose::Jitter);
        // In units of the range.
        let deviation = match jitter.distribution {
            Distribution::Uniform => 2.0 * uniform - 1.0,
            // Box and Muller.
            Distribution::Normal => {
                let angle = std::f64::consts::TAU * draw(Purpose::SecondJitter);
                ((-2.0 * (1.0 - uniform).ln()).sqrt() * angle.cos()).clamp(-3.0, 3.0)
            }
            // From 0 on (Lomax), shape 3: the mean is half of the scale.
            Distribution::Pareto => (2.0 * ((1.0 - uniform).powf(-1.0 / 3.0) - 1.0)).min(10.0),
        };
        let varied = Duration::from_nanos(delay).as_secs_f64() + deviation * jitter.range.as_secs_f64();
        nanos::of(Duration::try_from_secs_f64(varied).unwrap_or_default())
    }

    /// It arrives at that time; what arrives now is handed out, unless another one comes first.
    fn send(&mut self, now: u64, arrival: u64, packet: Packet<'_>, out: Out<'_>) {
        let counted = packet.origin != Origin::Neighbour;
        let first = self.in_flight.peek().is_none_or(|Reverse(first)| first.arrival > arrival);
        if arrival <= now && first {
            self.deliver(counted, &packet.frame, out);
            return self.reclaim(packet.frame);
        }
        self.serial += 1;
        let frame = self.keep(packet.frame);
        self.in_flight.push(Reverse(InFlight { arrival, serial: self.serial, counted, frame }));
    }

    fn deliver(&mut self, counted: bool, frame: &[u8], out: Out<'_>) {
        if counted {
            self.pass(frame.len().saturating_sub(super::frame::ETHERNET) as u64);
        }
        out(1 - self.from, frame);
    }

    /// When the next one arrives.
    pub(super) fn next_arrival(&self) -> Option<u64> {
        self.in_flight.peek().map(|Reverse(first)| first.arrival)
    }

    /// Hands out all that arrive until then.
    pub(super) fn arrive(&mut self, now: u64, out: Out<'_>) {
        while self.next_arrival().is_some_and(|arrival| arrival <= now) {
            if let Some(Reverse(packet)) = self.in_flight.pop() {
                self.deliver(packet.counted, &packet.frame, out);
                self.reclaim(Cow::Owned(packet.frame));
            }
        }
    }

    /// Number of counted packets in flight.
    pub(super) fn waiting(&self) -> u64 {
        self.in_flight.iter().filter(|Reverse(packet)| packet.counted).count() as u64
    }

    fn keep(&mut self, frame: Cow<'_, [u8]>) -> Vec<u8> {
        match frame {
            Cow::Owned(frame) => frame,
            Cow::Borrowed(frame) => {
                let mut buffer = self.spare.pop().unwrap_or_default();
                buffer.clear();
                buffer.extend_from_slice(frame);
                buffer
            }
        }
    }

    fn reclaim(&mut self, frame: Cow<'_, [u8]>) {
        if let Cow::Owned(frame) = frame
            && self.spare.len() < SPARE_BUFFERS
        {
            self.spare.push(frame);
        }
    }
}

/// How long it takes to send `bytes`, in nanoseconds. `rate` is in bits per second.
fn transmission(bytes: u64, rate: u64) -> u64 {
    let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
