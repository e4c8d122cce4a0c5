use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::lane::{Lanes, cross};
use super::{Crossing, Fate, Flight, Flights, Sky, hop};
use crate::path::Path;
use crate::plan::example;
use crate::recording::{Direction, Entry, Moment, Observation, PathEffect};
use crate::scenario::model::{
    Action, Chance, Conditions, Filter, FilterAction, FilterHook, Namespace, Operation, PacketPattern, PathPlan,
    PathRule, Place, Reorder, RuleAction, Scenario, World,
};
use crate::wire::{MptcpOption, Segment, TcpFlags};

// Worlds by hand.

fn world(names: &[&str]) -> Scenario {
    let mut scenario = example::scenario();
    let namespaces = names.iter().map(|name| Namespace { forwarding: true, ..Namespace::new(name) }).collect();
    let links = names
        .windows(2)
        .zip(1..)
        .map(|(pair, number)| example::link(&format!("link{number}"), (pair[0], "right", &[]), (pair[1], "left", &[])));
    scenario.world = World { namespaces, links: links.collect(), paths: Vec::new() };
    scenario.steps.clear();
    scenario
}

fn segment(sequence: u32, payload: u32) -> Segment {
    let (source, destination) = ("10.0.1.2:4000".parse().unwrap(), "10.0.1.1:8080".parse().unwrap());
    Segment { sequence, payload, ..Segment::bare(source, destination, TcpFlags::ACK, Vec::new()) }
}

fn out(at: u64, namespace: &str, segment: Segment) -> Entry {
    let (namespace, device, direction) = (namespace.into(), "right".into(), Direction::Out);
    Entry { at, what: Observation::Packet { namespace, device, direction, segment } }
}

fn inward(at: u64, namespace: &str, segment: Segment) -> Entry {
    let (namespace, device, direction) = (namespace.into(), "left".into(), Direction::In);
    Entry { at, what: Observation::Packet { namespace, device, direction, segment } }
}

fn effect(at: u64, link: &str, sender: &str, number: u64, what: PathEffect, segment: Segment) -> Entry {
    let (link, sender, segment) = (link.into(), sender.into(), Some(Box::new(segment)));
    let what = Observation::Path { link, sender, number, after: 0, part: 0, parts: Vec::new(), what, segment };
    Entry { at, what }
}

fn rule(action: &str, made: Vec<Segment>) -> PathEffect {
    PathEffect::Rule { rule: action.into(), action: action.into(), made }
}

fn flights<'a>(scenario: &'a Scenario, entries: &'a [Entry]) -> Vec<Flight<'a>> {
    Flights::of(scenario, entries).iter().collect()
}

fn fates(flights: &[Flight<'_>]) -> Vec<Fate> {
    flights.iter().map(|flight| flight.fate).collect()
}

#[test]
fn a_forwarded_segment_is_one_flight() {
    let entries = [
        out(1, "client", segment(1, 0)),
        inward(2, "router", segment(1, 0)),
        out(3, "router", segment(1, 0)),
        inward(4, "server", segment(1, 0)),
    ];
    let scenario = world(&["client", "router", "server"]);
    let flights = flights(&scenario, &entries);
    assert_eq!(fates(&flights), [Fate::Arrived]);
    assert_eq!((flights[0].at, flights[0].from, flights[0].through.as_slice()), (1, "client", &["router"][..]));
    assert_eq!(flights[0].arrived.map(|(namespace, _)| namespace), Some("server"));
}

/// A router with nf_nat: the sequence numbers tell what it made of a flow, and of its parts.
#[test]
fn a_segment_with_translated_ends_is_one_flight() {
    let outside =
        |sequence, payload| Segment { source: "192.0.2.1:4000".parse().unwrap(), ..segment(sequence, payload) };
    let entries = [
        out(1, "client", segment(1, 0)),
        inward(2, "router", segment(1, 0)),
        out(3, "router", outside(1, 0)),
        inward(4, "server", outside(1, 0)),
        // One frame of two segments, cut by the router.
        out(5, "client", segment(1, 200)),
        inward(6, "router", segment(1, 200)),
        out(7, "router", outside(1, 100)),
        inward(8, "server", outside(1, 100)),
    ];
    let mut scenario = world(&["client", "router", "server"]);
    let apart = flights(&scenario, &entries);
    assert_eq!(apart.len(), 4, "without a filter that translates, these are the router's own: {apart:?}");
    let filter = Filter::new("nat", "router", FilterHook::Postrouting, FilterAction::Masquerade);
    scenario.steps = vec![example::step(Action::Do(Operation::AddFilter(filter)))];
    let flights = flights(&scenario, &entries);
    assert_eq!(fates(&flights), [Fate::Arrived; 2]);
    for flight in &flights {
        assert_eq!((flight.from, flight.through.as_slice()), ("client", &["router"][..]));
        let (namespace, arrived) = flight.arrived.unwrap();
        assert_eq!((namespace, arrived.source.to_string().as_str()), ("server", "192.0.2.1:4000"));
    }
}

#[test]
fn a_segment_lost_behind_a_router_is_lost_there_and_its_retransmission_is_not() {
    let entries = [
        out(1, "client", segment(1, 0)),
        inward(2, "router", segment(1, 0)),
        out(3, "router", segment(1, 0)),
        effect(4, "link2", "router", 1, rule("drop", Vec::new()), segment(1, 0)),
        out(1001, "client", segment(1, 0)),
        inward(1002, "router", segment(1, 0)),
        out(1003, "router", segment(1, 0)),
        inward(1004, "server", segment(1, 0)),
    ];
    let scenario = world(&["client", "router", "server"]);
    let flights = flights(&scenario, &entries);
    assert_eq!(fates(&flights), [Fate::Lost, Fate::Arrived]);
    assert_eq!(flights[0].arrived.map(|(namespace, _)| namespace), Some("router"));
    assert_eq!(flights[0].ends_on, Some(("link2", "server")));
    assert_eq!((flights[0].effects.len(), flights[1].effects.len()), (1, 0));
}

/// The time of an effect is that at which the path looked at the clock, before the packet came.
#[test]
fn the_number_of_a_packet_tells_which_effect_is_whose() {
    let totals = crate::recording::PathTotals { entered: 2, left: 1, dropped: 1, ..Default::default() };
    let (link, sender, moment) = ("link1".to_owned(), "client".to_owned(), Moment::End);
    let totals = Box::new(totals);
    let entries = [
        effect(1, "link1", "client", 1, rule("drop", Vec::new()), segment(1, 0)),
        out(2, "client", segment(1, 0)),
        out(1000, "client", segment(1, 0)),
        inward(1001, "server", segment(1, 0)),
        Entry { at: 2000, what: Observation::PathTotals { link, sender, moment, totals } },
    ];
    let scenario = world(&["client", "server"]);
    let flights = flights(&scenario, &entries);
    assert_eq!(fates(&flights), [Fate::Lost, Fate::Arrived]);
    assert_eq!((flights[0].effects.len(), flights[1].effects.len()), (1, 0));
}

#[test]
fn of_two_alike_on_a_link_without_a_path_the_arrival_is_that_of_the_later_one() {
    let entries =
        [out(1, "client", segment(1, 0)), out(1000, "client", segment(1, 0)), inward(1001, "server", segment(1, 0))];
    assert_eq!(fates(&flights(&world(&["client", "server"]), &entries)), [Fate::Lost, Fate::Arrived]);
}

#[test]
fn options_tell_segments_apart() {
    let fin = || Segment { options: vec![MptcpOption::MpPrio { backup: true }], ..segment(1, 0) };
    let entries = [
        out(1, "client", fin()),
        out(2, "client", segment(1, 0)),
        inward(3, "server", fin()),
        inward(4, "server", segment(1, 0)),
    ];
    let scenario = world(&["client", "server"]);
    let flights = flights(&scenario, &entries);
    assert!(flights.iter().all(|flight| flight.arrived.is_some_and(|(_, arrived)| arrived == flight.sent)));
}

#[test]
fn data_that_a_router_cuts_is_one_flight_of_its_sender() {
    let entries = [
        out(1, "client", segment(u32::MAX, 3000)),
        inward(2, "router", segment(u32::MAX, 3000)),
        out(3, "router", segment(u32::MAX, 1500)),
        out(3, "router", segment(1499, 1500)),
        inward(4, "server", segment(u32::MAX, 1500)),
        inward(4, "server", segment(1499, 1500)),
    ];
    let scenario = world(&["client", "router", "server"]);
    let flights = flights(&scenario, &entries);
    assert_eq!(fates(&flights), [Fate::Arrived]);
    assert_eq!((flights[0].from, flights[0].sent.payload, flights[0].cut), ("client", 3000, true));
}

#[test]
fn data_that_was_cut_on_a_link_has_arrived() {
    let entries = [
        out(1, "client", segment(u32::MAX, 3000)),
        inward(2, "server", segment(u32::MAX, 1500)),
        inward(3, "server", segment(1499, 1500)),
    ];
    assert_eq!(fates(&flights(&world(&["client", "server"]), &entries)), [Fate::Arrived]);
}

#[test]
fn what_was_split_merged_or_rewritten_has_arrived() {
    let stripped = Segment { options: Vec::new(), ..segment(9, 0) };
    let whole = Segment { options: vec![MptcpOption::MpPrio { backup: true }], ..segment(9, 0) };
    let entries = [
        out(1, "client", segment(1, 4)),
        effect(1, "link1", "client", 1, rule("split", vec![segment(1, 2), segment(3, 2)]), segment(1, 4)),
        inward(2, "server", segment(1, 2)),
        inward(2, "server", segment(3, 2)),
        out(3, "client", segment(5, 2)),
        out(4, "client", segment(7, 2)),
        effect(4, "link1", "client", 2, rule("merge", Vec::new()), segment(5, 2)),
        effect(4, "link1", "client", 3, rule("merge", vec![segment(5, 4)]), segment(7, 2)),
        inward(5, "server", segment(5, 4)),
        out(6, "client", whole.clone()),
        effect(6, "link1", "client", 4, rule("strip", vec![stripped.clone()]), whole),
        inward(7, "server", stripped),
    ];
    assert_eq!(fates(&flights(&world(&["client", "server"]), &entries)), [Fate::Arrived; 4]);
}

// Worlds by chance: real paths, of which the truth is known.

/// How much too early the time of an effect may be, in nanoseconds.
const EARLY: u64 = 900;

/// What happens on one link.
#[derive(Debug, Clone)]
struct Way {
    path: Option<Conditions>,
    rules: Vec<RuleAction>,
    /// Of these, counted from 1 in both directions, a link without a path loses each.
    lost: Vec<u64>,
}

/// A segment that a host sends: how long after the one before, by the client, which of some, behind something that is no TCP.
type Sent = (u64, bool, u32, bool);

fn way() -> impl Strategy<Value = Way> {
    let chance = || prop_oneof![3 => Just(None), 1 => (0.05..0.5).prop_map(|p| Some(Chance::Probability(p)))];
    let conditions =
        (0..20_u64, chance(), chance(), chance(), 1..30_u64).prop_map(|(delay, loss, duplicate, reorder, by)| {
            let reorder = reorder.map(|which| Reorder { which, by: Duration::from_millis(by) });
            Conditions { delay: Duration::from_millis(delay), loss, duplicate, reorder, ..Conditions::default() }
        });
    let action = prop_oneof![
        Just(RuleAction::Drop),
        (1..40_u64).prop_map(|delay| RuleAction::Delay(Duration::from_millis(delay))),
        Just(RuleAction::Duplicate),
        Just(RuleAction::Hold),
        Just(RuleAction::Strip(None)),
        Just(RuleAction::Nat { address: "192.0.2.1".parse().unwrap(), port: None }),
    ];
    let action = prop_oneof![
        4 => action,
        1 => (20..150_u32).prop_map(RuleAction::Split),
        // No merges: of segments alike that come at the same moment, which one waited for the other isn't known.
    ];
    let path = prop_oneof![2 => conditions.prop_map(Some), 1 => Just(None)];
    let rules = prop::collection::vec(action, 0..4);
    (path, rules, prop::collection::vec(1..20_u64, 0..4)).prop_map(|(path, mut rules, lost)| {
        rules.truncate(if path.is_some() { rules.len() } else { 0 });
        Way { path, rules, lost }
    })
}

/// The scenario of such a world. Each rule matches only some of the segments.
fn chain(ways: &[Way], seed: u64) -> Scenario {
    let names: Vec<String> = (0..=ways.len()).map(|number| format!("host{number}")).collect();
    let mut scenario = world(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (index, way) in ways.iter().enumerate() {
        let Some(conditions) = &way.path else { continue };
        let rules = way.rules.iter().enumerate().map(|(number, action)| PathRule {
            name: format!("rule {number}"),
            place: Place::default(),
            matching: PacketPattern {
                nth: Some(2 + number as u64..=4 + 3 * number as u64),
                ..PacketPattern::default()
            },
            action: match action {
                // Each NAT has an address of its own.
                RuleAction::Nat { port, .. } => {
                    RuleAction::Nat { address: format!("192.0.{index}.{number}").parse().unwrap(), port: *port }
                }
                other => other.clone(),
            },
            may_be_unused: true,
        });
        scenario.world.paths.push(PathPlan {
            link: format!("link{}", index + 1),
            place: Place::default(),
            seed: seed + index as u64,
            conditions: [conditions.clone(), conditions.clone()],
            rules: rules.collect(),
        });
    }
    scenario
}

/// A frame of some that hosts send again and again. Those with data are next to each other, so that they can be merged.
fn frame(by_client: bool, which: u32) -> Vec<u8> {
    let ends = [([10, 0, 1, 2], 4000), ([10, 0, 9, 1], 8080)];
    let [(from, source), (to, destination)] = if by_client { ends } else { [ends[1], ends[0]] };
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from, to, 64);
    let tcp = builder.tcp(source, destination, 1000 + 200 * (which / 2), 1000).ack(7);
    let options: &[u8] = if which.is_multiple_of(2) { &[30, 3, 0x51, 0] } else { &[] };
    let mut frame = Vec::new();
    let payload = vec![0; if which < 2 { 0 } else { 200 }];
    tcp.options_raw(options).unwrap().write(&mut frame, &payload).unwrap();
    frame
}

/// Where the urgent pointer is: Ethernet, IPv4, TCP. It is a mark that no recording shows, that parts have as well, and that
/// what was merged has from the first one.
const MARK: usize = 14 + 20 + 18;

fn mark_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[MARK], frame[MARK + 1]])
}

/// Something that is going to happen.
enum Next {
    /// A host or a router sends a frame through a link, from one end; what it forwards has a mark.
    Leaves { link: usize, end: usize, frame: Vec<u8>, forwards: Option<(usize, u64)> },
    /// A frame comes in at the end of a link.
    Enters { link: usize, end: usize, frame: Vec<u8> },
    /// Something that is no TCP.
    Noise { link: usize, end: usize },
}

/// A simulated run.
struct Simulation<'a> {
    ways: &'a [Way],
    paths: Vec<Option<Path>>,
    agenda: BTreeMap<(u64, u64), Next>,
    serial: u64,
    marks: u16,
    /// All entries, with what has seen them.
    entries: Vec<(Entry, usize)>,
    crossed: Vec<u64>,
    /// By the order of all departures: mark, and the order of the arrival that it forwards.
    departures: Vec<(u16, Option<u64>)>,
    /// By the order of all arrivals: mark.
    arrivals: Vec<u16>,
}

impl<'a> Simulation<'a> {
    fn run(scenario: &Scenario, ways: &'a [Way], sent: &[Sent]) -> Self {
        let plan = |index: usize| scenario.world.paths.iter().find(|path| path.link == format!("link{}", index + 1));
        let mut run = Self {
            ways,
            paths: (0..ways.len()).map(|index| plan(index).map(Path::new)).collect(),
            agenda: BTreeMap::new(),
            serial: 0,
            marks: 0,
            entries: Vec::new(),
            crossed: vec![0; ways.len()],
            departures: Vec::new(),
            arrivals: Vec::new(),
        };
        let mut now = 0;
        for (gap, by_client, which, noise) in sent {
            now += 60_000 + gap;
            let (link, end) = if *by_client { (0, 0) } else { (ways.len() - 1, 1) };
            if *noise {
                run.plan(now - 30_000, Next::Noise { link, end });
            }
            run.plan(now, Next::Leaves { link, end, frame: frame(*by_client, *which), forwards: None });
        }
        // In the midst of it, what is held goes on, once.
        run.go_until(now / 2);
        for link in 0..ways.len() {
            run.on_path(link, now / 2, |path, out| path.due(now / 2, out));
        }
        for path in run.paths.iter_mut().flatten() {
            (0..3).for_each(|number| _ = path.release(&format!("rule {number}")));
        }
        run.go_until(u64::MAX);
        run
    }

    fn plan(&mut self, at: u64, next: Next) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), next);
    }

    fn go_until(&mut self, end: u64) {
        loop {
            let due = self.paths.iter().flatten().filter_map(Path::next_deadline).min();
            let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let Some(now) = due.into_iter().chain(planned).min().filter(|now| *now <= end) else { return };
            for link in 0..self.paths.len() {
                self.on_path(link, now, |path, out| path.due(now, out));
            }
            while let Some(first) = self.agenda.first_entry().filter(|first| first.key().0 <= now) {
                let next = first.remove();
                self.happen(now, next);
            }
        }
    }

    fn on_path(&mut self, link: usize, now: u64, act: impl FnOnce(&mut Path, &mut dyn FnMut(usize, &[u8]))) {
        let Some(path) = self.paths[link].as_mut() else { return };
        let mut came = Vec::new();
        act(path, &mut |end, frame| came.push((end, frame.to_vec())));
        let link_index = link;
        for effect in path.take_effects() {
            let (link, sender) = (format!("link{}", link + 1).into(), format!("host{}", link + effect.from).into());
            let crate::path::Effect { number, after, part, parts, what, segment, .. } = effect;
            let segment = segment.map(Box::new);
            let what = Observation::Path { link, sender, number, after, part, parts, what, segment };
            // Paths look at the clock before they read packets, so what they did may seem to come before it.
            self.entries.push((Entry { at: effect.at - EARLY, what }, 100 + link_index));
        }
        for (end, frame) in came {
            self.plan(now + 1000, Next::Enters { link, end, frame });
        }
    }

    fn happen(&mut self, now: u64, next: Next) {
        match next {
            Next::Noise { link, end } => {
                let mut icmp = Vec::new();
                let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 1, 2], [10, 0, 9, 1], 64);
                builder.icmpv4_echo_request(1, 1).write(&mut icmp, &[]).unwrap();
                self.on_path(link, now, |path, out| {
                    path.enter(now, end, &icmp, &mut |end, frame| {
                        if Segment::parse(frame, 1000).is_some() {
                            out(end, frame);
                        }
                    });
                });
            }
            Next::Leaves { link, end, mut frame, forwards } => {
                self.marks += 1;
                frame[MARK..MARK + 2].copy_from_slice(&self.marks.to_be_bytes());
                self.departures.push((self.marks, forwards.map(|(_, order)| order)));
                self.capture(now, link, end, Direction::Out, &frame);
                self.crossed[link] += 1;
                if self.paths[link].is_some() {
                    self.on_path(link, now, |path, out| path.enter(now, end, &frame, out));
                } else if !self.loses(link, end) {
                    self.plan(now + 5000, Next::Enters { link, end: 1 - end, frame });
                }
            }
            Next::Enters { link, end, frame } => {
                // Noise arrives, too.
                if Segment::parse(&frame, 1000).is_none() {
                    return;
                }
                let order = self.arrivals.len() as u64;
                self.arrivals.push(mark_of(&frame));
                self.capture(now, link, end, Direction::In, &frame);
                let onward = if end == 1 { link + 1 } else { link.wrapping_sub(1) };
                if onward < self.ways.len() {
                    let forwards = Some((link, order));
                    self.plan(now + 2000, Next::Leaves { link: onward, end: 1 - end, frame, forwards });
                }
            }
        }
    }

    /// Where nothing came in a copy, so that each that is lost can be told from those alike by time.
    fn loses(&self, link: usize, end: usize) -> bool {
        let first = if end == 0 { link == 0 } else { link + 1 == self.ways.len() };
        first && self.ways[link].lost.contains(&self.crossed[link])
    }

    fn capture(&mut self, at: u64, link: usize, end: usize, direction: Direction, frame: &[u8]) {
        let segment = Segment::parse(frame, u32::try_from(frame.len()).unwrap()).unwrap();
        let device = if end == 0 { "right" } else { "left" }.into();
        let namespace = format!("host{}", link + end).into();
        let what = Observation::Packet { namespace, device, direction, segment };
        self.entries.push((Entry { at, what }, link + end));
    }

    /// The entries in an order in which they may be read: each observer tells its own in their order.
    fn entries(&self, order: u64) -> (Vec<Entry>, Vec<usize>) {
        let mut indices: Vec<usize> = (0..self.entries.len()).collect();
        indices.sort_by_key(|index| {
            let (entry, observer) = &self.entries[*index];
            (entry.at, (*observer as u64).wrapping_mul(order | 1))
        });
        let mut entries: Vec<Entry> = indices.iter().map(|index| self.entries[*index].0.clone()).collect();
        for (link, path) in self.paths.iter().enumerate() {
            for (from, path) in
                [0, 1].into_iter().zip(std::iter::repeat(path)).filter_map(|(n, p)| Some((n, p.as_ref()?)))
            {
                let (sender, totals) = (format!("host{}", link + from), Box::new(path.totals(from)));
                let link = format!("link{}", link + 1);
                let what = Observation::PathTotals { link, sender, moment: Moment::End, totals };
                entries.push(Entry { at: u64::MAX, what });
            }
        }
        (entries, indices)
    }
}

/// The order in which the simulation has seen each packet of the recording: departures and arrivals.
fn truth(run: &Simulation<'_>, indices: &[usize]) -> [Vec<usize>; 2] {
    let orders = |wanted: Direction| {
        let is = |index: &usize| matches!(&run.entries[*index].0.what, Observation::Packet { direction, .. } if *direction == wanted);
        let all: HashMap<usize, usize> =
            (0..run.entries.len()).filter(is).enumerate().map(|(order, index)| (index, order)).collect();
        indices.iter().filter(|index| is(index)).map(|index| all[index]).collect()
    };
    [orders(Direction::Out), orders(Direction::In)]
}

proptest! {
    /// Whatever happens on the links of a world: each arrival is that of the departure that it came from, each departure
    /// of a router that of the arrival that it forwards, and what did not arrive is lost, held, or still on its way.
    #[test]
    fn each_pairing_is_that_of_the_path(
        ways in prop::collection::vec(way(), 1..4),
        sent in prop::collection::vec((0..30_000_000_u64, any::<bool>(), 0..6_u32, prop::bool::weighted(0.2)), 1..25),
        seed in 0..1000_u64,
        order in any::<u64>(),
    ) {
        let scenario = chain(&ways, seed);
        let run = Simulation::run(&scenario, &ways, &sent);
        let (entries, indices) = run.entries(order);
        let [departures, arrivals] = truth(&run, &indices);
        let lanes = Lanes::of(&scenario, &entries);
        let mut sky = Sky::of(&lanes, &entries);
        cross(&mut sky, &lanes, &entries);
        hop::join(&mut sky, &scenario);
        let mut found = 0;
        for (crossing, departure) in sky.crossings.iter().zip(&departures) {
            let (mark, forwards) = run.departures[*departure];
            for landing in &crossing.landings {
                found += 1;
                prop_assert_eq!(run.arrivals[arrivals[*landing]], mark, "{:?}", crossing);
            }
            let forwarded = crossing.forwards.map(|landing| arrivals[landing] as u64);
            prop_assert_eq!(forwarded, forwards, "{:?}", crossing);
        }
        prop_assert_eq!(found, run.arrivals.len(), "each arrival is somebody's");
        for (lane, end) in (0..2 * ways.len()).map(|lane| (lane, lane % 2)) {
            let of_lane: Vec<_> = sky.crossings.iter().filter(|crossing| crossing.lane == lane).collect();
            let absent = |c: &&&Crossing<'_>| c.landings.is_empty() && c.merged_into().is_none();
            let merged = of_lane.iter().filter(|crossing| crossing.merged_into().is_some()).count() as u64;
            let count = |fate| of_lane.iter().filter(absent).filter(|c| c.end() == fate).count() as u64;
            let arrived = of_lane.iter().filter(|crossing| !crossing.landings.is_empty()).count() as u64;
            let [lost, held, waiting] = [Fate::Lost, Fate::Held, Fate::OnItsWay].map(count);
            prop_assert_eq!(of_lane.len() as u64, arrived + lost + held + waiting + merged);
            if let Some(path) = &run.paths[lane / 2] {
                let totals = path.totals(end);
                let noise = totals.entered - of_lane.len() as u64;
                prop_assert!(lost <= totals.lost + totals.dropped, "lost for a reason: {:?}", totals);
                prop_assert!(merged <= totals.merged);
                prop_assert!(held <= path.waiting(end) && waiting == 0);
                let landed: u64 = of_lane.iter().map(|crossing| crossing.landings.len() as u64).sum();
                prop_assert!(landed <= totals.left && totals.left <= landed + 2 * noise);
            }
        }
        prop_assert_eq!(flights(&scenario, &entries).len(), run.departures.iter().filter(|(_, f)| f.is_none()).count());
    }
}
