//! Links: which departure at one end is which arrival at the other one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use crate::nanos;
use crate::recording::{Direction, Entry, Moment, Observation, PathEffect, PathTotals};
use crate::scenario::model::{Action, Conditions, Link, Operation, RuleAction, Scenario};
use crate::wire::{MptcpOption, Segment};

use super::hop::share;
use super::output::{Delays, Done, Item, output};
use super::pair::{Kinds, Missing, Offer, Place, Ticket, options};
use super::{Key, Made, Sky};

/// How many candidates are looked at, at most, to find the one whose bytes a segment has.
const REACH: usize = 256;

/// The directions of all links: lane `2 * link + end` is what that end sends.
#[derive(Debug)]
pub(super) struct Lanes<'a> {
    links: &'a [Link],
    ends: HashMap<(&'a str, &'a str), (usize, usize)>,
    tracks: Vec<Track<'a>>,
}

/// What is known about one direction of a link.
#[derive(Debug, Default)]
struct Track<'a> {
    /// It has a path, which tells what it takes away.
    path: bool,
    /// When the link was down for sure: what was sent before doesn't arrive any more.
    downs: Vec<u64>,
    /// What NATs of the path made of source addresses: outside and inside.
    nats: HashMap<SocketAddr, SocketAddr>,
    totals: Option<&'a PathTotals>,
    /// How long rules delay, at least.
    rules: HashMap<&'a str, u64>,
    /// How long packets are held back, at least.
    reordering: Option<u64>,
}

impl Delays for Track<'_> {
    fn by_rule(&self, rule: &str) -> u64 {
        self.rules.get(rule).copied().unwrap_or(0)
    }

    fn by_reordering(&self) -> u64 {
        self.reordering.unwrap_or(0)
    }
}

impl<'a> Lanes<'a> {
    pub(super) fn of(scenario: &'a Scenario, entries: &'a [Entry]) -> Self {
        let links = scenario.world.links.as_slice();
        let ends = links.iter().enumerate().flat_map(|(link, model)| {
            let ends = model.ends.iter().enumerate();
            ends.map(move |(end, side)| ((side.namespace.as_str(), side.device.as_str()), (link, end)))
        });
        // One more, for devices that nobody knows.
        let tracks = (0..=2 * links.len()).map(|_| Track::default()).collect();
        let mut lanes = Self { links, ends: ends.collect(), tracks };
        lanes.plan(scenario);
        for entry in entries {
            lanes.observe(scenario, entry);
        }
        lanes
    }

    /// The lane of a segment that left or entered through that device.
    pub(super) fn lane(&self, namespace: &str, device: &str, direction: Direction) -> usize {
        match self.ends.get(&(namespace, device)) {
            None => 2 * self.links.len(),
            Some((link, end)) => 2 * link + if direction == Direction::Out { *end } else { 1 - end },
        }
    }

    pub(super) fn link(&self, lane: usize) -> Option<&'a Link> {
        self.links.get(lane / 2)
    }

    /// The link, and the namespace at the end that receives.
    pub(super) fn far_end(&self, lane: usize) -> Option<(&'a str, &'a str)> {
        let link = self.link(lane)?;
        Some((link.name.as_str(), link.ends.get(1 - lane % 2)?.namespace.as_str()))
    }

    fn index(&self, link: &str) -> Option<usize> {
        self.links.iter().position(|model| model.name == link)
    }

    fn sender_lane(&self, link: &str, sender: &str) -> Option<usize> {
        let index = self.index(link)?;
        let end = self.links.get(index)?.ends.iter().position(|end| end.namespace == sender)?;
        Some(2 * index + end)
    }

    fn both(&mut self, link: &str) -> impl Iterator<Item = &mut Track<'a>> {
        let index = self.index(link);
        let tracks = index.and_then(|index| self.tracks.get_mut(2 * index..2 * index + 2));
        tracks.into_iter().flatten()
    }

    /// What the scenario says about paths.
    fn plan(&mut self, scenario: &'a Scenario) {
        for (link, rule) in scenario.path_rules() {
            let RuleAction::Delay(delay) = rule.action else { continue };
            for track in self.both(link) {
                let known = track.rules.entry(&rule.name).or_insert(u64::MAX);
                *known = (*known).min(nanos::of(delay));
            }
        }
        let changes = scenario.steps.iter().filter_map(|step| match &step.action {
            Action::SetPath(change) => Some((&change.link, change.conditions.each_ref().map(Option::as_ref))),
            _ => None,
        });
        let paths = scenario.world.paths.iter();
        let paths: Vec<(&String, [Option<&Conditions>; 2])> =
            paths.map(|path| (&path.link, path.conditions.each_ref().map(Some))).chain(changes).collect();
        for (link, conditions) in paths {
            for (track, conditions) in self.both(link).zip(conditions) {
                track.path = true;
                let by =
                    conditions.and_then(|conditions| conditions.reorder.as_ref()).map(|reorder| nanos::of(reorder.by));
                track.reordering = [track.reordering, by].into_iter().flatten().min();
            }
        }
    }

    /// What the recording says about links.
    fn observe(&mut self, scenario: &Scenario, entry: &'a Entry) {
        match &entry.what {
            Observation::StepFinished { step, .. } => {
                let action = scenario.steps.get(*step).map(|step| &step.action);
                if let Some(Action::Do(
                    Operation::SetLink { namespace, device, up: false } | Operation::DeleteDevice { namespace, device },
                )) = action
                    && let Some((link, _)) = self.ends.get(&(namespace.as_str(), device.as_str())).copied()
                {
                    let tracks = self.tracks.get_mut(2 * link..2 * link + 2).into_iter().flatten();
                    tracks.for_each(|track| track.downs.push(entry.at));
                }
            }
            Observation::Path { link, what: PathEffect::Rule { action, made, .. }, segment: Some(segment), .. }
                if action == "nat" =>
            {
                let Some(made) = made.first() else { return };
                self.both(link).for_each(|track| _ = track.nats.insert(made.source, segment.source));
            }
            Observation::PathTotals { link, sender, moment: Moment::End, totals } => {
                if let Some(track) = self.sender_lane(link, sender).and_then(|lane| self.tracks.get_mut(lane)) {
                    track.totals = Some(totals);
                }
            }
            _ => {}
        }
    }
}

impl Track<'_> {
    /// The key that a segment has on both sides of a NAT.
    fn key(&self, segment: &Segment) -> Key {
        let inside = |address: SocketAddr| self.nats.get(&address).copied().unwrap_or(address);
        let key = Key::of(segment);
        Key { source: inside(key.source), destination: inside(key.destination), ..key }
    }

    /// Until when something can arrive that was sent at that time.
    fn latest(&self, at: u64) -> u64 {
        self.downs.iter().copied().find(|down| *down > at).unwrap_or(u64::MAX)
    }

    /// How many packets were still there at the end.
    fn waiting(&self) -> u64 {
        self.totals.map_or(0, |totals| {
            let gone = [totals.left, totals.lost, totals.queue_full, totals.too_big, totals.dropped, totals.merged];
            (totals.entered + totals.added).saturating_sub(gone.into_iter().fold(0, u64::saturating_add))
        })
    }
}

/// Finds what came out of each link.
pub(super) fn cross<'a>(sky: &mut Sky<'a>, lanes: &Lanes<'a>, entries: &'a [Entry]) {
    let mut sent: Vec<Vec<usize>> = lanes.tracks.iter().map(|_| Vec::new()).collect();
    for (index, crossing) in sky.crossings.iter().enumerate() {
        sent.get_mut(crossing.lane).into_iter().for_each(|lane| lane.push(index));
    }
    let effects = effects(lanes, entries);
    for ((lane, sent), effects) in sent.iter().enumerate().zip(&effects) {
        apply(sky, lanes, lane, sent, effects);
    }
    pair_alike(sky, lanes);
    pair_by_bytes(sky, lanes);
    for (lane, sent) in sent.iter().enumerate() {
        wait(sky, lanes.tracks.get(lane), sent);
    }
}

/// What a path did to one packet.
struct Treated<'a> {
    segment: &'a Segment,
    /// The entries that say so, with their places in the recording.
    effects: Vec<(usize, &'a Entry)>,
    /// The number of the packet that it was merged into.
    into: Option<u64>,
}

impl<'a> Treated<'a> {
    fn done(&self) -> impl Iterator<Item = Done<'a>> {
        self.effects.iter().filter_map(|(order, entry)| Done::of(*order, entry))
    }
}

/// What paths did, by lane and by number: a forged segment has the number of the one that it was made for.
fn effects<'a>(lanes: &Lanes<'a>, entries: &'a [Entry]) -> Vec<BTreeMap<u64, Vec<Treated<'a>>>> {
    let mut all: Vec<BTreeMap<u64, Vec<Treated<'a>>>> = lanes.tracks.iter().map(|_| BTreeMap::new()).collect();
    // Those that a rule has merged so far: the next one of the rule with a result carries them.
    let mut merging: HashMap<(usize, &str), Vec<u64>> = HashMap::new();
    for (order, entry) in entries.iter().enumerate() {
        let Observation::Path { link, sender, number, what, segment: Some(segment), .. } = &entry.what else {
            continue;
        };
        let Some(lane) = lanes.sender_lane(link, sender) else { continue };
        let Some(of_lane) = all.get_mut(lane) else { continue };
        let treated = of_lane.entry(*number).or_default();
        match treated.iter_mut().find(|treated| treated.segment == &**segment) {
            Some(treated) => treated.effects.push((order, entry)),
            None => treated.push(Treated { segment, effects: vec![(order, entry)], into: None }),
        }
        if let PathEffect::Rule { rule, action, made } = what
            && action == "merge"
        {
            let parts = merging.entry((lane, rule.as_str())).or_default();
            if made.is_empty() {
                parts.push(*number);
                continue;
            }
            for part in std::mem::take(parts) {
                let treated = of_lane.get_mut(&part).into_iter().flatten();
                treated.for_each(|treated| treated.into = Some(*number));
            }
        }
    }
    all
}

/// The segments that were sent on a lane, and where those alike are.
struct Departures<'a> {
    sent: &'a [usize],
    /// Their positions on the lane, by what makes them comparable.
    alike: HashMap<Key, Vec<usize>>,
    /// How many packets the path has counted that nobody captures (ICMP), and how many segments never came to the path
    /// since its link was down; `None` if that isn't known.
    uncounted: Option<(u64, u64)>,
    /// Those whose effects are known.
    treated: HashSet<usize>,
}

impl<'a> Departures<'a> {
    fn of(sky: &Sky<'_>, track: &Track<'_>, sent: &'a [usize]) -> Self {
        let mut alike: HashMap<Key, Vec<usize>> = HashMap::new();
        for (position, index) in sent.iter().enumerate() {
            if let Some(crossing) = sky.crossings.get(*index) {
                alike.entry(Key::of(crossing.segment)).or_default().push(position);
            }
        }
        let count = sent.len() as u64;
        let differ = |totals: &PathTotals| (totals.entered.saturating_sub(count), count.saturating_sub(totals.entered));
        Self { sent, alike, uncounted: track.totals.map(differ), treated: HashSet::new() }
    }

    /// The one that a path did something to.
    ///
    /// Packets are counted as they enter, in the order in which they were sent: the n-th one is the n-th segment, unless
    /// there were others. Then the time tells, of those that it can be; it isn't quite that at which the packet entered.
    fn take(&mut self, sky: &Sky<'_>, number: u64, treated: &Treated<'_>) -> Option<usize> {
        let position = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let (others, absent) = self.uncounted.unwrap_or((number, 0));
        let [others, absent] = [others, absent].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let alike = self.alike.get(&Key::of(treated.segment))?;
        let from = alike.partition_point(|other| *other < position.saturating_sub(others));
        let until = alike.partition_point(|other| *other <= position.saturating_add(absent));
        let first = treated.done().next().map_or(0, |first| first.came);
        let fits = |position: &usize| {
            let index = *self.sent.get(*position)?;
            let crossing = sky.crossings.get(index).filter(|crossing| crossing.segment == treated.segment)?;
            (!self.treated.contains(&index)).then_some((crossing.at.abs_diff(first), index))
        };
        let there = alike.get(from..until).unwrap_or_default().iter().filter_map(fits);
        // What one thread sent may be overtaken by what another one did: then it is none of these.
        let near = || alike.iter().filter_map(fits).min();
        let (_, index) = there.min().or_else(near)?;
        self.treated.insert(index);
        Some(index)
    }
}

/// Puts what a path did to the segments that it did it to.
fn apply<'a>(
    sky: &mut Sky<'a>,
    lanes: &Lanes<'a>,
    lane: usize,
    sent: &[usize],
    effects: &BTreeMap<u64, Vec<Treated<'a>>>,
) {
    let Some(track) = lanes.tracks.get(lane) else { return };
    let link = lanes.link(lane).map_or("", |link| link.name.as_str());
    let mut departures = Departures::of(sky, track, sent);
    let mut of_number: HashMap<u64, usize> = HashMap::new();
    for (number, treated) in effects.iter().flat_map(|(number, all)| all.iter().map(move |treated| (*number, treated)))
    {
        let Some(index) = departures.take(sky, number, treated) else { continue };
        of_number.insert(number, index);
        if let Some(crossing) = sky.crossings.get_mut(index) {
            let done: Vec<_> = treated.done().collect();
            let effects = done.iter().map(|done| (link, done.effect)).collect();
            let output = output(crossing.segment, crossing.at, &done, track);
            crossing.cut = output.merged || output.items.len() > 1;
            crossing.made = Some(Box::new(Made { effects, items: output.items, held: output.held, merged_into: None }));
        }
    }
    carry(sky, effects, &of_number);
}

/// Notes which segments carry the data of others, by the numbers of their packets.
fn carry(sky: &mut Sky<'_>, effects: &BTreeMap<u64, Vec<Treated<'_>>>, of_number: &HashMap<u64, usize>) {
    let merged =
        effects.iter().flat_map(|(number, all)| all.iter().filter_map(|treated| Some((*number, treated.into?))));
    for (part, into) in merged {
        if let (Some(part), Some(into)) = (of_number.get(&part), of_number.get(&into))
            // A part of it may have gone on by itself.
            && let Some(crossing) = sky.crossings.get_mut(*part).filter(|crossing| part != into && crossing.is_gone())
            && let Some(made) = crossing.made.as_mut()
        {
            made.merged_into = Some(*into);
        }
    }
}

/// Pairs what must come out with what did.
fn pair_alike(sky: &mut Sky<'_>, lanes: &Lanes<'_>) {
    let mut kinds = Kinds::for_about(sky.crossings.len() + sky.landings.len());
    for (index, crossing) in sky.crossings.iter().enumerate() {
        let Some(track) = lanes.tracks.get(crossing.lane) else { continue };
        for part in (0..).take(crossing.parts()) {
            if let Some(item) = crossing.part(part) {
                kinds.offer(kind(crossing.lane, track, item.segment), index, part);
            }
        }
    }
    for (index, landing) in sky.landings.iter().enumerate() {
        let Some(track) = lanes.tracks.get(landing.lane) else { continue };
        kinds.arrive(kind(landing.lane, track, landing.segment), index);
    }
    for (crossing, landing) in kinds.pairs(&OnLinks { sky, lanes }) {
        sky.land(crossing, landing);
    }
}

/// What is alike on a link, on both sides of its NATs.
type OnLink<'a> = (usize, Key, &'a [MptcpOption]);

fn kind<'a>(lane: usize, track: &Track<'_>, segment: &'a Segment) -> OnLink<'a> {
    (lane, track.key(segment), options(segment))
}

/// What the links were given, and what came out.
struct OnLinks<'s, 'a> {
    sky: &'s Sky<'a>,
    lanes: &'s Lanes<'a>,
}

impl<'a> Place for OnLinks<'_, 'a> {
    type Kind = OnLink<'a>;

    fn kind(&self, ticket: &Ticket) -> Option<OnLink<'a>> {
        let (lane, segment) = match *ticket {
            Ticket::Offer { by, part } => {
                let crossing = self.sky.crossings.get(by)?;
                (crossing.lane, crossing.part(part)?.segment)
            }
            Ticket::Arrival(index) => {
                let landing = self.sky.landings.get(index)?;
                (landing.lane, landing.segment)
            }
        };
        Some(kind(lane, self.lanes.tracks.get(lane)?, segment))
    }

    fn offer(&self, by: usize, part: u32) -> Option<Offer> {
        let crossing = self.sky.crossings.get(by)?;
        let latest = self.lanes.tracks.get(crossing.lane)?.latest(crossing.at);
        let Item { order, optional, earliest, .. } = crossing.part(part)?;
        Some(Offer { by, sent: crossing.at, earliest: earliest.max(crossing.at), order, latest, optional })
    }

    fn arrived(&self, index: usize) -> u64 {
        self.sky.landings.get(index).map_or(0, |landing| landing.at)
    }

    fn missing(&self, (lane, ..): &OnLink<'a>) -> Missing {
        let path = self.lanes.tracks.get(*lane).is_some_and(|track| track.path);
        if path { Missing::Newest } else { Missing::Oldest }
    }
}

/// Data that was cut or joined on a link, as offloads do: its bytes tell.
fn pair_by_bytes(sky: &mut Sky<'_>, lanes: &Lanes<'_>) {
    let mut missing: HashMap<(usize, SocketAddr, SocketAddr), Vec<usize>> = HashMap::new();
    let flow = |lane: usize, segment: &Segment| {
        let key = lanes.tracks.get(lane).map(|track| track.key(segment))?;
        (segment.payload > 0).then_some((lane, key.source, key.destination))
    };
    for (index, crossing) in sky.crossings.iter().enumerate() {
        let absent = crossing.landings.is_empty() && !crossing.is_gone();
        if let Some(flow) = flow(crossing.lane, crossing.segment).filter(|_| absent) {
            missing.entry(flow).or_default().push(index);
        }
    }
    let mut pairs = Vec::new();
    for (index, landing) in sky.landings.iter().enumerate().filter(|(_, landing)| !landing.known) {
        let Some(sent) = flow(landing.lane, landing.segment).and_then(|flow| missing.get(&flow)) else { continue };
        let before = sent.partition_point(|index| sky.crossings.get(*index).is_some_and(|c| c.at <= landing.at));
        let candidates = sent.get(..before).unwrap_or_default().iter().rev().take(REACH);
        let shares = |index: &&usize| sky.crossings.get(**index).is_some_and(|c| share(c.segment, landing.segment));
        pairs.extend(candidates.filter(shares).map(|crossing| (*crossing, index)));
    }
    for (crossing, landing) in pairs {
        sky.land(crossing, landing);
        sky.crossings.get_mut(crossing).into_iter().for_each(|crossing| crossing.cut = true);
    }
}

/// What did not come out and nothing has taken away: the path still had as many at the end as its numbers say.
fn wait(sky: &mut Sky<'_>, track: Option<&Track<'_>>, sent: &[usize]) {
    let mut waiting = track.map_or(0, Track::waiting);
    for index in sent.iter().rev() {
        let Some(crossing) = sky.crossings.get_mut(*index).filter(|crossing| crossing.landings.is_empty()) else {
            continue;
        };
        if waiting == 0 {
            return;
        }
        if crossing.is_held() || !crossing.is_gone() {
            crossing.waiting = true;
            waiting -= 1;
        }
    }
}

impl Sky<'_> {
    fn land(&mut self, crossing: usize, landing: usize) {
        if let Some(crossing) = self.crossings.get_mut(crossing) {
            // Most have a single one.
            crossing.landings.reserve_exact(1);
            crossing.landings.push(landing);
        }
        if let Some(landing) = self.landings.get_mut(landing) {
            landing.known = true;
        }
    }
}
