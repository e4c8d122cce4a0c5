//! The connections of one pair of hosts: a draft has two namespaces, and each endpoint and limit of a namespace applies to
//! all of its connections, so connections with other peers stay out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::notes::Notes;
use super::seen::{Connection, Happening, Outcome, PORT, Seen};
use crate::mptcp::{EventKind, PmEvent, Side, canonical};
use crate::text;

/// The most connections of a draft, and the most that may happen in it.
const MOST_CONNECTIONS: usize = 16;
const MOST_HAPPENINGS: usize = 400;

/// A value for each of the two namespaces. They are called like the sides of the connection that the draft is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Both<T> {
    pub(super) client: T,
    pub(super) server: T,
}

impl<T> Both<T> {
    pub(super) fn of(&self, side: Side) -> &T {
        side.of(&self.client, &self.server)
    }

    pub(super) fn of_mut(&mut self, side: Side) -> &mut T {
        side.of(&mut self.client, &mut self.server)
    }
}

/// A connection of the draft.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) name: String,
    /// The namespace that opens it.
    pub(super) opener: Side,
    pub(super) it: Connection,
}

/// Something that happened, as a namespace has it.
#[derive(Debug)]
pub(super) struct Observed {
    /// Which connection of the draft.
    pub(super) connection: usize,
    /// The namespace.
    pub(super) host: Side,
    pub(super) event: PmEvent,
}

/// The connections of one pair of hosts.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) connections: Vec<Chosen>,
    pub(super) observed: Vec<Observed>,
    /// The namespace that the report is from; none for a capture.
    pub(super) here: Option<Side>,
}

/// Picks the connection to which most happened, and those between the same hosts.
pub(super) fn pick(seen: &mut Seen, notes: &mut Notes) -> Pair {
    let all = std::mem::take(&mut seen.connections);
    let happenings = std::mem::take(&mut seen.happenings);
    let mut known: Vec<Both<BTreeSet<IpAddr>>> = all.iter().map(addresses).collect();
    let mut counts = vec![0_usize; all.len()];
    for happening in &happenings {
        if let (Some(known), Some(count)) = (known.get_mut(happening.connection), counts.get_mut(happening.connection))
        {
            *count += 1;
            note_addresses(known, happening);
        }
    }
    let usable = |index: &usize| all.get(*index).is_some_and(|it| is_usable(it, known.get(*index)));
    // One whose course is known is worth more than a state.
    let rank = |index: &usize| {
        let it = all.get(*index);
        let kind = it.map_or(0, |it| u8::from(it.outcome == Outcome::Mptcp) + u8::from(!it.state_only));
        (kind, counts.get(*index).copied().unwrap_or(0), std::cmp::Reverse(*index))
    };
    let Some(main) = (0..all.len()).filter(usable).max_by_key(rank) else { return Pair::default() };
    let (Some(first), Some(hosts)) = (all.get(main), known.get(main)) else { return Pair::default() };
    let mut chosen: BTreeMap<usize, Side> = [(main, Side::Client)].into();
    let mut taken = hosts.clone();
    let mut left_out = 0_u64;
    for index in (0..all.len()).filter(|index| *index != main) {
        let Some((it, own)) = all.get(index).zip(known.get(index)) else { continue };
        let opener = opener(it, own, first, hosts).filter(|opener| taken.has_room_for(own, *opener));
        match opener.filter(|_| usable(&index) && it.state_only == first.state_only) {
            Some(opener) if chosen.len() < MOST_CONNECTIONS => {
                taken.of_mut(opener).extend(&own.client);
                taken.of_mut(opener.other()).extend(&own.server);
                chosen.insert(index, opener);
            }
            _ => left_out += 1,
        }
    }
    if left_out > 0 {
        let left_out = text::count(left_out, "connection");
        notes.add(format!("{left_out} of other hosts, within one host, or of too many: left out of the draft"));
    }
    assemble(all, happenings, &chosen, notes)
}

impl Both<BTreeSet<IpAddr>> {
    /// Whether no address of a connection that `opener` opens belongs to the wrong host.
    fn has_room_for(&self, own: &Self, opener: Side) -> bool {
        own.client.is_disjoint(self.of(opener.other())) && own.server.is_disjoint(self.of(opener))
    }
}

fn addresses(it: &Connection) -> Both<BTreeSet<IpAddr>> {
    Both { client: [canonical(it.client)].into(), server: [canonical(it.server.ip())].into() }
}

fn note_addresses(known: &mut Both<BTreeSet<IpAddr>>, Happening { side, event, .. }: &Happening) {
    if matches!(event.kind, EventKind::SubEstablished | EventKind::Created) && known.client.len() < 64 {
        known.of_mut(*side).extend(event.local.map(canonical));
        known.of_mut(side.other()).extend(event.remote.map(canonical));
    }
}

/// Both ends have addresses that a link can have, and they are different hosts.
fn is_usable(it: &Connection, known: Option<&Both<BTreeSet<IpAddr>>>) -> bool {
    let fit = |address: IpAddr| can_be_on_a_link(address);
    let apart = known.is_none_or(|known| known.client.is_disjoint(&known.server));
    let same_family = it.client.is_ipv4() == it.server.ip().is_ipv4();
    it.outcome != Outcome::Unanswered
        && fit(canonical(it.client))
        && fit(canonical(it.server.ip()))
        && apart
        && same_family
}

/// Neither loopback nor link-local, and no group.
pub(super) fn can_be_on_a_link(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(address) => address.is_broadcast() || address.octets()[0] == 0 || address.octets()[0] >= 240,
        IpAddr::V6(address) => address.is_unicast_link_local() || address.segments()[0] == 0,
    };
    !(special || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// Which namespace opens a connection, if it is one between the same hosts.
fn opener(
    it: &Connection,
    own: &Both<BTreeSet<IpAddr>>,
    first: &Connection,
    hosts: &Both<BTreeSet<IpAddr>>,
) -> Option<Side> {
    let meets = |a: &BTreeSet<IpAddr>, b: &BTreeSet<IpAddr>| !a.is_disjoint(b);
    if let (Some(here), Some(first)) = (it.here, first.here) {
        // The log is of one host, so only the peer has to be the same.
        let peer = meets(own.of(here.other()), hosts.of(first.other()));
        return peer.then_some(if here == first { Side::Client } else { Side::Server });
    }
    if meets(&own.client, &hosts.client) && meets(&own.server, &hosts.server) {
        Some(Side::Client)
    } else if meets(&own.client, &hosts.server) && meets(&own.server, &hosts.client) {
        Some(Side::Server)
    } else {
        None
    }
}

fn assemble(
    all: Vec<Connection>,
    happenings: Vec<Happening>,
    chosen: &BTreeMap<usize, Side>,
    notes: &mut Notes,
) -> Pair {
    let mut pair = Pair::default();
    let mut places = BTreeMap::new();
    for (index, mut it) in all.into_iter().enumerate() {
        let Some(opener) = chosen.get(&index).copied() else { continue };
        if it.server.port() == 0 {
            it.server.set_port(PORT);
            notes.add(format!("The server's port: {PORT} is a placeholder."));
        }
        places.insert(index, pair.connections.len());
        let name = if chosen.len() == 1 { "main".to_owned() } else { format!("c{}", pair.connections.len() + 1) };
        pair.here = it.here.map(|here| namespace(here, opener));
        pair.connections.push(Chosen { name, opener, it });
    }
    let mut beyond = 0_u64;
    for Happening { connection, side, event } in happenings {
        let Some(place) = places.get(&connection).copied() else { continue };
        let Some(opener) = chosen.get(&connection).copied() else { continue };
        if pair.observed.len() < MOST_HAPPENINGS {
            pair.observed.push(Observed { connection: place, host: namespace(side, opener), event });
        } else {
            beyond += 1;
        }
    }
    if beyond > 0 {
        let beyond = text::count(beyond, "further event");
        notes.add(format!("{beyond}: left out, a draft has at most {MOST_HAPPENINGS}"));
    }
    for observed in &mut pair.observed {
        let event = &mut observed.event;
        event.local = event.local.map(canonical);
        event.remote = event.remote.map(canonical);
    }
    pair
}

/// The namespace of a side of a connection that `opener` opens.
fn namespace(side: Side, opener: Side) -> Side {
    side.of(opener, opener.other())
}
