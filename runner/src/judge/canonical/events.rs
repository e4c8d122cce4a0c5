//! The events of a namespace in canonical form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::judge::names::Names;
use crate::judge::render::push;
use crate::judge::time_line::{events_of, is_subflow_event};
use crate::mptcp::{EventKind, PmEvent, canonical};
use crate::pattern::{EVENT_FIELDS, Snapshot, event_kinds};
use crate::scenario::model::Feature;

use super::alike::{Block, fold};
use super::errors::{data_may_be_late, is_racing};
use super::interval;
use super::order::{Item, Use, canonical_order};

/// What an event depends on; see the module's description. Tokens tell connections apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Connection(u32),
    /// All subflows between two addresses.
    Subflows(u32, Pair),
    /// One of them: which, from 0.
    Subflow(u32, Pair, usize),
    /// An address id of the peer's, as announced and removed.
    AddressId(u32, u8),
    /// An announced address of the peer's, as used by this side's own subflows.
    RemoteAddress(u32, IpAddr),
    /// An address id of the peer's, as used by subflows and removed.
    UsedId(u32, u8),
    Listener(Option<IpAddr>, Option<u16>),
    /// Nothing is known about it: such events keep their order.
    Unknown,
}

/// Both addresses of a subflow, with the ports that are the same in each run.
type Pair = (Option<IpAddr>, Option<u16>, Option<IpAddr>, Option<u16>);

/// Both ports of a subflow.
type Ports = (Option<u16>, Option<u16>);

/// What decides among concurrent events: listeners that come first and those that go last, the connection, the kind,
/// the text.
type Key = (u8, usize, String, u8, String);

/// The lines of a namespace.
pub(super) fn lines(names: &Names<'_>, namespace: &str, barriers: &[usize]) -> Vec<String> {
    let events = events_of(names, namespace, usize::MAX);
    let mut canon = EventNames { names, namespace, seen: BTreeMap::new() };
    let listeners = names.scenario().requires.contains(&Feature::ListenerEvents);
    let mut announced: BTreeSet<(Option<u32>, Option<u8>, String)> = BTreeSet::new();
    let mut items: Vec<Item<Thing, Key>> = Vec::new();
    for (entry, event) in events {
        if !listeners && matches!(event.kind, EventKind::ListenerCreated | EventKind::ListenerClosed) {
            continue;
        }
        let position = canon.position(event);
        let text = canon.text(event, position);
        if event.kind == EventKind::Announced && !announced.insert((event.token, event.remote_id, text.clone())) {
            continue;
        }
        if event.kind == EventKind::Removed {
            announced.retain(|(token, id, _)| (*token, *id) != (event.token, event.remote_id));
        }
        items.push(Item {
            interval: interval(barriers, entry),
            key: canon.key(event, text),
            uses: canon.uses(event, position),
        });
    }
    let order = canonical_order(&items);
    let mut blocks: Vec<Block> = Vec::new();
    for (_, _, name, _, text) in order.into_iter().filter_map(|index| items.get(index)).map(|item| &item.key) {
        match blocks.last_mut() {
            Some(last) if last.name == *name => last.lines.push(text.clone()),
            _ => blocks.push(Block { name: name.clone(), lines: vec![text.clone()] }),
        }
    }
    fold(blocks)
}

struct EventNames<'n, 'a> {
    names: &'n Names<'a>,
    namespace: &'n str,
    /// The subflows that a pair of addresses had, one after the other.
    seen: BTreeMap<(Option<u32>, Pair), Vec<Seen>>,
}

/// A subflow, as far as events show it.
struct Seen {
    ports: Ports,
    /// It was closed: the next one may happen to have the same ports.
    closed: bool,
}

impl EventNames<'_, '_> {
    fn known(&self, port: Option<u16>) -> Option<u16> {
        port.filter(|port| self.names.is_known_port(*port))
    }

    fn pair(&self, event: &PmEvent) -> Pair {
        let local = event.local.map(canonical);
        let remote = event.remote.map(canonical);
        (local, self.known(event.local_port), remote, self.known(event.remote_port))
    }

    /// Which of the subflows between the same two ends the event is about, from 0.
    fn position(&mut self, event: &PmEvent) -> usize {
        if !is_subflow_event(event.kind) && !matches!(event.kind, EventKind::Created | EventKind::Established) {
            return 0;
        }
        let pair = self.pair(event);
        let ports = (event.local_port, event.remote_port);
        let seen = self.seen.entry((event.token, pair)).or_default();
        let position = seen.iter().position(|seen| seen.ports == ports && !seen.closed).unwrap_or_else(|| {
            seen.push(Seen { ports, closed: false });
            seen.len() - 1
        });
        if let Some(seen) = seen.get_mut(position) {
            seen.closed = event.kind == EventKind::SubClosed;
        }
        position
    }

    fn text(&self, event: &PmEvent, position: usize) -> String {
        let mut text = event.kind.word();
        if let Some(token) = event.token {
            _ = write!(text, " {}", self.names.token(self.namespace, token));
        }
        match event.kind {
            EventKind::Created | EventKind::Established => self.push_subflow(&mut text, event, position),
            EventKind::Announced => {
                let port = event.remote_port.zip(event.remote).filter(|(port, address)| {
                    self.names.is_announced_port(event.remote_id.unwrap_or(0), *address, *port)
                });
                push(&mut text, "id", event.remote_id);
                _ = write!(text, " {}", crate::judge::names::end(event.remote, port.map(|(port, _)| port)));
            }
            EventKind::Removed => push(&mut text, "id", event.remote_id),
            EventKind::SubEstablished | EventKind::SubClosed | EventKind::SubPriority => {
                self.push_subflow(&mut text, event, position);
            }
            EventKind::ListenerCreated | EventKind::ListenerClosed => {
                _ = write!(text, " {}", self.names.end(event.local, event.local_port));
            }
            EventKind::Closed | EventKind::Unknown(_) => {}
        }
        self.push_fields(&mut text, event);
        text
    }

    /// Both ends; `#2` for the second subflow between the same two.
    fn push_subflow(&self, text: &mut String, event: &PmEvent, position: usize) {
        let names = self.names;
        let local = names.end(event.local, event.local_port);
        _ = write!(text, " {local} > {}", names.end(event.remote, event.remote_port));
        if position > 0 {
            _ = write!(text, " #{}", position + 1);
        }
    }

    /// The fields, as far as they are the same in each run.
    fn push_fields(&self, text: &mut String, event: &PmEvent) {
        let names = self.names;
        let kind = event_kinds(&[event.kind]);
        let connection = event.token.and_then(|token| names.connection(self.namespace, token));
        let of_subflow = is_subflow_event(event.kind);
        let late = data_may_be_late(names, connection);
        for field in &EVENT_FIELDS {
            match field.snapshot {
                Snapshot::LocalId if of_subflow => {
                    let id = event.local_id.map(|id| names.address_id(Some(self.namespace), event.local, id));
                    push(text, field.word, id);
                }
                Snapshot::RemoteId if of_subflow => {
                    let owner = event.remote.and_then(|remote| names.owner(remote));
                    push(text, field.word, event.remote_id.map(|id| names.address_id(owner, event.remote, id)));
                }
                Snapshot::UnlessRacing if late && is_racing(event, (field.get)(event.into())) => {}
                Snapshot::Shown | Snapshot::UnlessRacing => *text += &field.words(kind, event.into()),
                Snapshot::Apart | Snapshot::LocalId | Snapshot::RemoteId => {}
            }
        }
    }

    fn key(&self, event: &PmEvent, text: String) -> Key {
        let (class, kind) = match event.kind {
            EventKind::ListenerCreated => (0, 7),
            EventKind::Created => (1, 0),
            EventKind::Established => (1, 1),
            EventKind::Announced => (1, 2),
            EventKind::SubEstablished => (1, 3),
            EventKind::SubPriority => (1, 4),
            EventKind::Removed => (1, 5),
            EventKind::SubClosed => (1, 6),
            EventKind::Unknown(_) => (1, 7),
            EventKind::Closed => (1, 8),
            EventKind::ListenerClosed => (2, 7),
        };
        let name = event.token.map(|token| self.names.token(self.namespace, token)).unwrap_or_default();
        (class, self.names.rank(&name), name, kind, text)
    }

    fn uses(&self, event: &PmEvent, position: usize) -> Vec<(Thing, Use)> {
        let Some(token) = event.token else {
            let of_listener = matches!(event.kind, EventKind::ListenerCreated | EventKind::ListenerClosed);
            let listener = of_listener.then(|| Thing::Listener(event.local.map(canonical), event.local_port));
            return vec![(listener.unwrap_or(Thing::Unknown), Use::Write)];
        };
        let id = event.remote_id.unwrap_or(0);
        let remote = event.remote.map(canonical);
        let of_connection = matches!(event.kind, EventKind::Created | EventKind::Established | EventKind::Closed);
        let own = if of_connection { Use::Write } else { Use::Read };
        let mut uses = vec![(Thing::Connection(token), own)];
        match event.kind {
            EventKind::Announced => {
                uses.push((Thing::AddressId(token, id), Use::Write));
                uses.extend(remote.map(|remote| (Thing::RemoteAddress(token, remote), Use::Write)));
            }
            EventKind::Removed => {
                uses.push((Thing::AddressId(token, id), Use::Write));
                uses.push((Thing::UsedId(token, id), Use::Write));
            }
            EventKind::Unknown(_) => uses.push((Thing::Unknown, Use::Write)),
            EventKind::Created
            | EventKind::Established
            | EventKind::Closed
            | EventKind::SubEstablished
            | EventKind::SubClosed
            | EventKind::SubPriority
            | EventKind::ListenerCreated
            | EventKind::ListenerClosed => {}
        }
        if is_subflow_event(event.kind) {
            let opened_here = self.known(event.remote_port).is_some();
            uses.push((Thing::Subflow(token, self.pair(event), position), Use::Write));
            // The side that closes a subflow to open the next one does it in this order. The other side learns of both at
            // the same time: a worker closes the one while the packets of the other come in.
            if opened_here || event.kind == EventKind::SubEstablished {
                uses.push((Thing::Subflows(token, self.pair(event)), Use::Write));
            }
            if event.kind == EventKind::SubEstablished {
                uses.push((Thing::UsedId(token, id), Use::Read));
            }
            // A subflow is opened from an ephemeral port to a known one.
            if opened_here {
                uses.extend(remote.map(|remote| (Thing::RemoteAddress(token, remote), Use::Read)));
            }
        }
        uses
    }
}
