//! Steps that make the same happen again, and what is expected of them.
//!
//! What the kernel does by itself needs no step: joins follow from endpoints, and closed subflows from a removal. The
//! rest is somebody's doing: connecting, closing, and endpoints that are added, changed and deleted while a connection is
//! there. Each such step first waits for what was seen before it, so that the order is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::endpoints::{Endpoints, Join, Needs, Sources, initial, join};
use super::expected::Expected;
use super::hosts::{Both, Chosen, Observed, Pair};
use super::live::{LastOf as _, Live, address_of, live, port_of};
use super::notes::Notes;
use super::seen::Outcome;
use super::steps::Step;
use crate::mptcp::{Endpoint, EndpointFlags, EventKind, Limits, Side};

/// The most bytes of a transfer in a draft.
const MOST_BYTES: u64 = 16 << 20;

/// What is to be done and what is expected of it.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) endpoints: Endpoints,
    pub(super) steps: Vec<Step>,
    /// Expected events of each namespace: a stretch lies between two steps.
    pub(super) stretches: Both<Vec<Vec<Expected>>>,
    /// The limits that allow what was seen.
    pub(super) limits: Both<Limits>,
    /// The subflows of each connection when it was closed, or at the end, by the addresses of both namespaces.
    pub(super) subflows: Vec<Vec<Live>>,
    /// The number of subflows follows from what was seen.
    pub(super) certain: bool,
    /// The names of connections that a step closes.
    pub(super) closed: BTreeSet<String>,
}

/// What is known of a connection while the course is found.
#[derive(Debug, Default)]
struct State {
    opened: bool,
    closed: bool,
    live: Vec<Live>,
    /// How many subflows a `wait` step has waited for.
    waited: usize,
    /// Nothing but the handshake and announcements has happened yet.
    is_fresh: bool,
    announced: BTreeSet<(Side, IpAddr)>,
    /// Announced addresses in their order, by the namespace that has them.
    order: Vec<(Side, IpAddr)>,
    joined: BTreeSet<(Side, IpAddr)>,
}

struct Finder<'a> {
    pair: &'a Pair,
    notes: &'a mut Notes,
    ports: Both<BTreeSet<u16>>,
    sources: Sources,
    course: Course,
    states: Vec<State>,
    /// What has happened since the last step.
    pending: Vec<&'a Observed>,
    /// How often an event like this was seen.
    counts: BTreeMap<String, usize>,
    awaited: BTreeMap<String, usize>,
    seen: BTreeSet<(usize, EventKind, SocketAddr, SocketAddr)>,
    named: bool,
}

/// Finds the course.
pub(super) fn find(pair: &Pair, endpoints: Endpoints, notes: &mut Notes) -> Course {
    let ports = announced_ports(pair);
    let sources = Sources::of(pair, &ports);
    let states = pair.connections.iter().map(|_| State { is_fresh: true, ..State::default() }).collect();
    let mut course = Course { endpoints, certain: true, ..Course::default() };
    for side in [Side::Client, Side::Server] {
        course.limits.of_mut(side).subflows = 0;
        course.stretches.of_mut(side).push(Vec::new());
    }
    let named = pair.connections.len() > 1;
    let mut finder = Finder {
        pair,
        notes,
        ports,
        sources,
        course,
        states,
        pending: Vec::new(),
        counts: BTreeMap::new(),
        awaited: BTreeMap::new(),
        seen: BTreeSet::new(),
        named,
    };
    for (index, chosen) in pair.connections.iter().enumerate() {
        // Connections without MPTCP have no events.
        if chosen.it.outcome != Outcome::Mptcp {
            finder.open(index);
        }
    }
    for observed in &pair.observed {
        finder.one(observed);
    }
    finder.flush();
    finder.course.subflows = finder.states.into_iter().map(|state| state.live).collect();
    finder.course
}

/// Ports on which a namespace listens for joins.
fn announced_ports(pair: &Pair) -> Both<BTreeSet<u16>> {
    let mut ports: Both<BTreeSet<u16>> = Both::default();
    for Observed { host, event, .. } in pair.observed.iter().filter(|it| it.event.kind == EventKind::Announced) {
        ports.of_mut(host.other()).extend(event.remote_port);
    }
    ports
}

impl<'a> Finder<'a> {
    fn one(&mut self, observed: &'a Observed) {
        let Some(chosen) = self.pair.connections.get(observed.connection) else { return };
        if self.states.get(observed.connection).is_none_or(|state| chosen.it.outcome != Outcome::Mptcp && !state.opened)
        {
            return;
        }
        let goes_on = match observed.event.kind {
            EventKind::Created => self.created(observed, chosen),
            EventKind::Established => true,
            EventKind::Announced => self.announced(observed, chosen),
            EventKind::Removed => self.removed(observed, chosen),
            EventKind::SubEstablished => self.joined(observed, chosen),
            EventKind::SubClosed => self.sub_closed(observed, chosen),
            EventKind::SubPriority => self.priority(observed),
            EventKind::Closed => self.closed(observed, chosen),
            EventKind::ListenerCreated | EventKind::ListenerClosed | EventKind::Unknown(_) => false,
        };
        if goes_on {
            self.expect(observed, chosen);
        }
    }

    /// The event is expected, and is something to wait for.
    fn expect(&mut self, observed: &'a Observed, chosen: &Chosen) {
        let expected = self.expected(observed, chosen);
        *self.counts.entry(format!("in: {}, {}", observed.host.word(), expected.words(self.named))).or_default() += 1;
        if let Some(stretch) = self.course.stretches.of_mut(observed.host).last_mut() {
            stretch.push(expected);
        }
        self.pending.push(observed);
    }

    fn expected(&self, observed: &Observed, chosen: &Chosen) -> Expected {
        Expected {
            connection: chosen.name.clone(),
            event: observed.event.clone(),
            with_port: self.own_port(observed, chosen).is_some(),
        }
    }

    /// The port of an announcement, if it is another one than that of the connection.
    fn own_port(&self, observed: &Observed, chosen: &Chosen) -> Option<u16> {
        let port = observed.event.remote_port.filter(|port| *port != 0)?;
        let of_connection = if observed.host == chosen.opener {
            Some(chosen.it.server.port())
        } else {
            let states = self.states.get(observed.connection)?;
            states.live.first().map(|live| port_of(live.key, observed.host.other()))
        };
        (Some(port) != of_connection).then_some(port)
    }

    /// A step: what follows is another stretch.
    fn step(&mut self, step: Step) {
        self.flush();
        self.course.steps.push(step);
        for side in [Side::Client, Side::Server] {
            self.course.stretches.of_mut(side).push(Vec::new());
        }
    }

    fn open(&mut self, index: usize) {
        let Some(chosen) = self.pair.connections.get(index) else { return };
        let outcome = match chosen.it.outcome {
            Outcome::Mptcp | Outcome::Unanswered => None,
            Outcome::Tcp => Some("server_protocol: tcp, outcome: tcp"),
            Outcome::Refused => Some("outcome: ECONNREFUSED"),
        };
        match chosen.it.outcome {
            Outcome::Mptcp | Outcome::Unanswered => {}
            Outcome::Tcp => self.notes.add(format!(
                "Why `{}` fell back to TCP: the draft has a server without MPTCP; it may have been a middlebox.",
                chosen.name
            )),
            Outcome::Refused => {
                self.notes.add(format!("Why `{}` was refused: the draft has no listener.", chosen.name));
            }
        }
        self.step(Step::Connect {
            name: chosen.name.clone(),
            opener: chosen.opener,
            client: chosen.it.client.to_canonical(),
            server: chosen.it.server.ip().to_canonical(),
            port: chosen.it.server.port(),
            outcome,
        });
    }

    fn created(&mut self, observed: &Observed, chosen: &Chosen) -> bool {
        let Some(state) = self.states.get_mut(observed.connection) else { return false };
        if !state.opened {
            state.opened = true;
            state.waited = 1;
            state.live.extend(live(observed));
            if !chosen.it.from_start {
                self.notes.add(format!(
                    "The beginning of `{}` is not in the log: its initial addresses are those of its first event.",
                    chosen.name
                ));
            }
            self.open(observed.connection);
        }
        true
    }

    fn announced(&mut self, observed: &Observed, chosen: &Chosen) -> bool {
        let (Some(address), peer) = (observed.event.remote, observed.host.other()) else { return false };
        let from_start = self.states.get(observed.connection).is_some_and(|state| state.is_fresh);
        let port = self.own_port(observed, chosen);
        let is_new = self.announce(observed.connection, peer, address);
        let was_there = self.course.endpoints.with_address(peer, address).is_some();
        if !is_new && was_there {
            self.notes.add(format!("{address} was announced more than once: retransmissions are left out."));
            return false;
        }
        let id = observed.event.remote_id;
        let wanted = Endpoint { address, port, id: id.filter(|id| *id != 0), flags: EndpointFlags::SIGNAL, dev: None };
        self.need(peer, wanted, from_start);
        true
    }

    /// Notes that an address is announced. Whether it is news.
    fn announce(&mut self, connection: usize, host: Side, address: IpAddr) -> bool {
        let Some(state) = self.states.get_mut(connection) else { return false };
        let is_new = state.announced.insert((host, address));
        if is_new {
            state.order.push((host, address));
        }
        is_new
    }

    fn need(&mut self, host: Side, wanted: Endpoint, from_start: bool) {
        if let Needs::Step(endpoint) = self.course.endpoints.need(host, wanted, from_start) {
            self.notes.add(format!(
                "When the endpoint {} of the {} was added: the draft adds it where its effect was seen.",
                endpoint.address,
                host.word()
            ));
            self.step(Step::Add { host, endpoint });
        }
    }

    fn removed(&mut self, observed: &Observed, chosen: &Chosen) -> bool {
        let (Some(id), peer) = (observed.event.remote_id, observed.host.other()) else { return false };
        let known = self.course.endpoints.with_id(peer, id);
        let address = match (id, known) {
            (0, _) => Some(initial(chosen, peer).0),
            (_, Some(known)) => {
                known.deleted = true;
                Some(known.endpoint.address)
            }
            _ => None,
        };
        if let Some(address) = address {
            let state = self.states.get_mut(observed.connection);
            if let Some(state) = state {
                state.announced.remove(&(peer, address));
            }
            self.step(Step::Delete { host: peer, id: Some(id), address });
        } else {
            self.unknown(&format!("which address of the {} had the address ID {id} that it removed", peer.word()));
        }
        true
    }

    /// Something that the report doesn't tell, and without which the draft is not complete.
    fn unknown(&mut self, what: &str) {
        self.step(Step::Remark(format!("UNDETERMINED: {what}; add the step that causes it")));
        self.notes.add(format!("Undetermined: {what}. The draft lacks the step that causes it."));
        self.course.certain = false;
    }

    /// The first of the two sides that has this event of a subflow.
    fn is_first(&mut self, observed: &Observed) -> bool {
        live(observed).is_none_or(|it| self.seen.insert((observed.connection, observed.event.kind, it.key.0, it.key.1)))
    }

    fn joined(&mut self, observed: &Observed, chosen: &Chosen) -> bool {
        let Some(join) = join(chosen, observed, &self.ports) else { return false };
        let is_first = self.is_first(observed);
        self.endpoints_of(observed, chosen, &join);
        if !is_first {
            return true;
        }
        let Some(state) = self.states.get_mut(observed.connection) else { return false };
        state.is_fresh = false;
        state.live.extend(live(observed));
        let (_, target) = initial(chosen, join.opener);
        if join.target != target {
            state.joined.insert((join.opener.other(), join.target));
        }
        let additional = u32::try_from(state.live.len().saturating_sub(1)).unwrap_or(u32::MAX);
        // Each announced address up to the last one that was used counts (`pm.add_addr_accepted`).
        let announced = |host: Side| {
            let of_host = state.order.iter().filter(|(of, _)| *of == host);
            let used = of_host.clone().rposition_of(|it| state.joined.contains(it));
            u32::try_from(used).unwrap_or(u32::MAX)
        };
        let accepted = [Side::Client, Side::Server].map(|side| (side, announced(side.other())));
        for (side, accepted) in accepted {
            let limits = self.course.limits.of_mut(side);
            limits.subflows = limits.subflows.max(additional);
            limits.add_addr_accepted = limits.add_addr_accepted.max(accepted);
        }
        true
    }

    /// The endpoints that a join needs: that of its source, and that of an announced target.
    fn endpoints_of(&mut self, observed: &Observed, chosen: &Chosen, join: &Join) {
        let is_fresh = self.states.get(observed.connection).is_some_and(|state| state.is_fresh);
        let backup = |host: Side| {
            // The event has what the other side asked for.
            let asked = observed.host != host && observed.event.backup.is_some_and(|backup| backup != 0);
            if asked { EndpointFlags::BACKUP } else { EndpointFlags::empty() }
        };
        let (source, target) = initial(chosen, join.opener);
        let other = join.opener.other();
        if join.target != target {
            self.announce(observed.connection, other, join.target);
            let id = join.target_id.filter(|id| *id != 0);
            let flags = EndpointFlags::SIGNAL | backup(other);
            self.need(other, Endpoint { address: join.target, port: None, id, flags, dev: None }, is_fresh);
        }
        let Some(flags) = self.sources.flags(observed.connection, chosen, join) else { return };
        let dev = observed.event.dev.clone().filter(|_| observed.host == join.opener);
        let id = join.source_id.filter(|id| *id != 0 && join.source != source);
        let wanted = Endpoint { address: join.source, port: None, id, flags: flags | backup(join.opener), dev };
        self.need(join.opener, wanted, true);
    }

    fn sub_closed(&mut self, observed: &Observed, chosen: &Chosen) -> bool {
        let Some(it) = live(observed) else { return false };
        if self.is_first(observed) {
            self.cause(observed, chosen, it);
        }
        // The same addresses and ports may join again.
        self.seen.remove(&(observed.connection, EventKind::SubEstablished, it.key.0, it.key.1));
        if let Some(state) = self.states.get_mut(observed.connection) {
            state.live.retain(|known| known.key != it.key);
            state.is_fresh = false;
        }
        true
    }

    /// Finds out why a subflow was closed: an endpoint that a step has deleted, or one that the draft has to delete.
    fn cause(&mut self, observed: &Observed, chosen: &Chosen, it: Live) {
        let (host, peer) = (observed.host, observed.host.other());
        let (own, theirs) = (address_of(it.addresses, host), address_of(it.addresses, peer));
        let deleted = |host: Side, id: Option<u8>, address: IpAddr| {
            self.course.steps.iter().any(|step| step.deletes(&Step::Delete { host, id, address }))
        };
        let gone = |host, address| {
            deleted(host, Some(0), address)
                || deleted(host, None, address) && self.course.endpoints.was_deleted(host, address)
        };
        if gone(host, own) || gone(peer, theirs) {
            return;
        }
        let words = format!("what closed the subflow {own} → {theirs} of `{}`", chosen.name);
        if let Some(error) = observed.event.error {
            let error = crate::errno::errno_symbol(i32::from(error));
            let was_there = self.states.get(observed.connection).is_some_and(|state| state.live.contains(&it));
            let failed = if was_there { words } else { format!("why the subflow {own} → {theirs} failed") };
            self.unknown(&format!("{failed} with {error}"));
        } else if self.pair.here != Some(host) {
            self.unknown(&words);
        } else if own == initial(chosen, host).0 {
            self.step(Step::Delete { host, id: Some(0), address: own });
            self.guess(&words, host, own);
        } else if let Some(known) = self.course.endpoints.with_address(host, own) {
            known.deleted = true;
            let id = known.endpoint.id;
            self.step(Step::Delete { host, id, address: own });
            self.guess(&words, host, own);
        } else {
            self.unknown(&words);
        }
    }

    fn guess(&mut self, words: &str, host: Side, address: IpAddr) {
        let host = host.word();
        self.notes.add(format!("A guess: {words}. The draft deletes the endpoint {address} of the {host}."));
    }

    fn priority(&mut self, observed: &Observed) -> bool {
        let (Some(address), peer) = (observed.event.remote, observed.host.other()) else { return false };
        let backup = observed.event.backup.is_some_and(|backup| backup != 0);
        if self.course.endpoints.with_address(peer, address).is_none() {
            // MP_PRIO is only sent for an endpoint; that of the initial subflow doesn't show otherwise.
            let flags = if backup { EndpointFlags::SUBFLOW } else { EndpointFlags::SUBFLOW | EndpointFlags::BACKUP };
            self.need(peer, Endpoint { address, port: None, id: None, flags, dev: None }, true);
        }
        let Some(known) = self.course.endpoints.with_address(peer, address) else { return true };
        let so_far = known.endpoint.flags.contains(EndpointFlags::BACKUP);
        let changed = self.course.steps.iter().rev().find_map(|step| step.changes(peer, address));
        if changed.unwrap_or(so_far) == backup {
            return true;
        }
        let is_fullmesh = known.endpoint.flags.contains(EndpointFlags::FULLMESH);
        let word = if backup { "backup" } else { "nobackup" };
        let to = std::iter::once(word).chain(is_fullmesh.then_some("fullmesh")).collect();
        self.step(Step::Change { host: peer, address, to });
        true
    }

    fn closed(&mut self, observed: &Observed, chosen: &Chosen) -> bool {
        let Some(state) = self.states.get_mut(observed.connection).filter(|state| state.opened) else { return false };
        if std::mem::replace(&mut state.closed, true) {
            return true;
        }
        let side = |side: Side| if side == Side::Client { chosen.opener } else { chosen.opener.other() };
        let (by, abruptly) = chosen.it.closed.map_or((chosen.opener, false), |(by, abruptly)| (side(by), abruptly));
        if chosen.it.closed.is_none() {
            self.notes.add("Which side closed each connection first: the draft lets its client do it.");
        }
        self.transfer(chosen);
        self.course.closed.insert(chosen.name.clone());
        self.step(Step::Close { name: chosen.name.clone(), by, abruptly });
        true
    }

    fn transfer(&mut self, chosen: &Chosen) {
        match chosen.it.bytes {
            Some((0..=1, 0..=1)) => {}
            Some((client, server)) => {
                if client > MOST_BYTES || server > MOST_BYTES {
                    let most = crate::text::size(MOST_BYTES);
                    self.notes.add(format!("`{}` moved more data than the {most} of the draft.", chosen.name));
                }
                let [from_client, from_server] = [client, server].map(|bytes| bytes.min(MOST_BYTES));
                self.step(Step::Transfer { name: chosen.name.clone(), from_client, from_server });
            }
            None => {
                self.notes.add("How much data was sent, and when: the draft only has the byte each way of `connect`.");
            }
        }
    }

    /// Waits for what has happened since the last step.
    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let mut subflows = Vec::new();
        let mut events: Vec<String> = Vec::new();
        for (index, (chosen, state)) in self.pair.connections.iter().zip(&mut self.states).enumerate() {
            let of_it = pending.iter().filter(|it| it.connection == index);
            let has_join = of_it.clone().any(|it| it.event.kind == EventKind::SubEstablished);
            if has_join && self.course.certain && state.waited != state.live.len() && !state.live.is_empty() {
                state.waited = state.live.len();
                subflows.push((chosen.name.clone(), state.live.len()));
            }
        }
        let all = pending.clone();
        for observed in pending {
            let Some(chosen) = self.pair.connections.get(observed.connection) else { continue };
            let counted = subflows.iter().any(|(name, _)| *name == chosen.name);
            let is_used = |it: &&Observed| {
                it.event.kind == EventKind::SubEstablished
                    && (it.host, it.event.remote) == (observed.host, observed.event.remote)
            };
            let matters = match observed.event.kind {
                EventKind::SubEstablished => !counted,
                // A subflow that was waited for has its announcement before it.
                EventKind::Announced => !(counted && all.iter().any(is_used)),
                EventKind::Removed | EventKind::SubClosed | EventKind::SubPriority => true,
                _ => false,
            };
            if !matters {
                continue;
            }
            let words = format!("in: {}, {}", observed.host.word(), self.expected(observed, chosen).words(self.named));
            let count = self.awaited.entry(words.clone()).or_default();
            let seen = self.counts.get(&words).copied().unwrap_or(1);
            if *count < seen {
                *count = seen;
                events.push(if seen > 1 { format!("{words}, count: {seen}") } else { words });
            }
        }
        if !subflows.is_empty() || !events.is_empty() {
            self.course.steps.push(Step::Wait { subflows, events });
        }
    }
}
