//! Which endpoints the hosts must have had. Those of the report's own host may be known; the others follow from what
//! happened: from an announcement, or from the addresses of a subflow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::hosts::{Both, Chosen, Observed, Pair};
use super::notes::Notes;
use super::world::same_prefix;
use crate::mptcp::{Endpoint, EndpointFlags, EventKind, PmEvent, Side};

/// An endpoint of a namespace.
#[derive(Debug, Clone)]
pub(super) struct Configured {
    pub(super) endpoint: Endpoint,
    /// It follows from what happened.
    pub(super) inferred: bool,
    /// A step adds it.
    pub(super) by_step: bool,
    pub(super) deleted: bool,
}

/// The endpoints of both namespaces.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    all: Both<Vec<Configured>>,
    /// The report lists the endpoints of this namespace.
    pub(super) known: Both<bool>,
}

/// What it takes to have an endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// It is there.
    Nothing,
    /// A step must add it.
    Step(Endpoint),
}

impl Endpoints {
    /// Those that the report lists.
    pub(super) fn listed(here: Option<Side>, listed: Option<Vec<Endpoint>>, notes: &mut Notes) -> Self {
        let mut endpoints = Self::default();
        let (Some(here), Some(listed)) = (here, listed) else { return endpoints };
        *endpoints.known.of_mut(here) = true;
        for mut endpoint in listed {
            endpoint.address = endpoint.address.to_canonical();
            endpoint.id = endpoint.id.filter(|id| *id != 0);
            endpoint.port = endpoint.port.filter(|port| *port != 0);
            let known = endpoints.all.of(here);
            let is_double =
                known.iter().any(|it| it.endpoint.address == endpoint.address || it.endpoint.id == endpoint.id);
            if endpoint.flags.contains(EndpointFlags::IMPLICIT) {
                notes.add(format!("The endpoint {} is implicit: the kernel creates it by itself.", endpoint.address));
            } else if is_double && endpoint.id.is_some() {
                notes.add(format!(
                    "The endpoint {} is listed twice, or has the address ID of another one: the first one is used.",
                    endpoint.address
                ));
            } else {
                let configured = Configured { endpoint, inferred: false, by_step: false, deleted: false };
                endpoints.all.of_mut(here).push(configured);
            }
        }
        endpoints
    }

    /// All endpoints of a namespace that are there before the first step.
    pub(super) fn initial(&self, host: Side) -> impl Iterator<Item = &Configured> {
        self.all.of(host).iter().filter(|it| !it.by_step)
    }

    /// The addresses of all endpoints of a namespace.
    pub(super) fn addresses(&self, host: Side) -> impl Iterator<Item = IpAddr> {
        self.all.of(host).iter().map(|it| it.endpoint.address)
    }

    /// The endpoint with this address that is there now.
    pub(super) fn with_address(&mut self, host: Side, address: IpAddr) -> Option<&mut Configured> {
        self.all.of_mut(host).iter_mut().find(|it| !it.deleted && it.endpoint.address == address)
    }

    /// The endpoint with this address ID that is there now.
    pub(super) fn with_id(&mut self, host: Side, id: u8) -> Option<&mut Configured> {
        self.all.of_mut(host).iter_mut().find(|it| !it.deleted && it.endpoint.id == Some(id))
    }

    /// An endpoint with this address was there and is deleted.
    pub(super) fn was_deleted(&self, host: Side, address: IpAddr) -> bool {
        self.all.of(host).iter().any(|it| it.deleted && it.endpoint.address == address)
    }

    /// Makes sure that an endpoint is there: from the start, or if it is too late for that, by a step.
    pub(super) fn need(&mut self, host: Side, wanted: Endpoint, from_start: bool) -> Needs {
        if let Some(known) = self.with_address(host, wanted.address) {
            if known.inferred {
                known.endpoint.flags |= wanted.flags;
                known.endpoint.id = known.endpoint.id.or(wanted.id);
            }
            return Needs::Nothing;
        }
        let was_deleted = self.was_deleted(host, wanted.address);
        let mut wanted = wanted;
        // Two endpoints of different times may have had the same ID, but not two of the same time.
        if wanted.id.is_some_and(|id| self.with_id(host, id).is_some()) {
            wanted.id = None;
        }
        let by_step = !from_start || was_deleted || *self.known.of(host);
        self.all.of_mut(host).push(Configured { endpoint: wanted.clone(), inferred: true, by_step, deleted: false });
        if by_step { Needs::Step(wanted) } else { Needs::Nothing }
    }
}

/// A subflow that joined a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Join {
    /// The namespace that opened it.
    pub(super) opener: Side,
    /// Its address, and its address ID.
    pub(super) source: IpAddr,
    pub(super) source_id: Option<u8>,
    /// The other one's.
    pub(super) target: IpAddr,
    pub(super) target_id: Option<u8>,
}

/// The subflow that an event is about.
pub(super) fn join(chosen: &Chosen, observed: &Observed, ports: &Both<BTreeSet<u16>>) -> Option<Join> {
    let PmEvent { local, remote, local_port, remote_port, local_id, remote_id, .. } = observed.event;
    let (local, remote) = (local?, remote?);
    let server = chosen.opener.other();
    let port_of = |host: Side| if host == observed.host { local_port } else { remote_port };
    let listens = |host: Side| port_of(host).is_some_and(|port| ports.of(host).contains(&port));
    let usual = port_of(server).is_none_or(|port| port == chosen.it.server.port()) || listens(server);
    let opener = if !usual && listens(chosen.opener) { server } else { chosen.opener };
    Some(if opener == observed.host {
        Join { opener, source: local, source_id: local_id, target: remote, target_id: remote_id }
    } else {
        Join { opener, source: remote, source_id: remote_id, target: local, target_id: local_id }
    })
}

/// From which addresses subflows went to which, over the whole report.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<(usize, Side, IpAddr), BTreeSet<IpAddr>>);

impl Sources {
    pub(super) fn of(pair: &Pair, ports: &Both<BTreeSet<u16>>) -> Self {
        let mut sources = Self::default();
        for observed in pair.observed.iter().filter(|it| it.event.kind == EventKind::SubEstablished) {
            let Some(chosen) = pair.connections.get(observed.connection) else { continue };
            if let Some(join) = join(chosen, observed, ports) {
                let key = (observed.connection, join.opener, join.target);
                sources.0.entry(key).or_default().insert(join.source);
            }
        }
        sources
    }

    /// The flags of the endpoint that a join came from; `None` if the kernel took the address from its routes, for an
    /// announced address (`fill_local_addresses_vec`, net/mptcp/pm_kernel.c).
    pub(super) fn flags(&self, connection: usize, chosen: &Chosen, join: &Join) -> Option<EndpointFlags> {
        let (source, target) = initial(chosen, join.opener);
        // Only a fullmesh endpoint opens a subflow to an announced address beside others.
        let is_fullmesh = self.0.iter().any(|((of, opener, to), from)| {
            (*of, *opener) == (connection, join.opener)
                && *to != target
                && from.contains(&join.source)
                && (from.len() > 1 || (join.source != source && !same_prefix(join.source, *to)))
        });
        let flags = EndpointFlags::SUBFLOW;
        if is_fullmesh {
            Some(flags | EndpointFlags::FULLMESH)
        } else {
            (join.target == target && join.source != source).then_some(flags)
        }
    }
}

/// The initial address of a namespace, and that of the other one.
pub(super) fn initial(chosen: &Chosen, host: Side) -> (IpAddr, IpAddr) {
    let (client, server) = (chosen.it.client.to_canonical(), chosen.it.server.ip().to_canonical());
    if host == chosen.opener { (client, server) } else { (server, client) }
}
