//! Taking states: counters, sockets, endpoints, limits and bytes at one moment.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;

use super::executor::Executor;
use super::option::shown_options;
use crate::mptcp::{ASKED_BY_PORTS, MptcpInfo, SOCKET_COUNTS, SocketLists, SubflowState, TcpInfo};
use crate::netlink::NetlinkError;
use crate::netlink::diag::{DiagSocket, Filter, MptcpListener, MptcpSocket};
use crate::observe::sockets::{self, SocketError, SubflowAddresses};
use crate::recording::{Moment, Observation, Side};
use crate::scenario::model::Action;
use crate::traffic::LiveConnection;

impl Executor<'_> {
    /// Takes the state of all namespaces.
    pub(super) async fn take_state(&mut self, moment: &Moment) -> Result<(), String> {
        self.observe_now();
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for namespace in names {
            self.take_counters(&namespace, moment)?;
            self.take_path_manager(&namespace, moment).await?;
        }
        self.take_connection_endpoints(moment).await?;
        self.take_socket_counts(moment)?;
        self.take_bytes(moment)?;
        self.take_path_totals(moment)
    }

    /// Takes the numbers of sockets, where they are asked for at that moment.
    fn take_socket_counts(&self, moment: &Moment) -> Result<(), String> {
        let mut asked: Vec<String> = match moment {
            Moment::End => self.plan.counted.clone(),
            Moment::Check(step) => match self.plan.steps.get(*step).map(|step| &step.action) {
                Some(Action::Check(expected)) => expected.counted_namespaces().map(str::to_owned).collect(),
                _ => Vec::new(),
            },
            Moment::Start | Moment::BeforeClose => Vec::new(),
        };
        asked.sort();
        asked.dedup();
        for namespace in asked {
            let counts = self.socket_counts(&namespace)?;
            self.recorder.note(Observation::SocketCounts { namespace, moment: moment.clone(), counts });
        }
        Ok(())
    }

    /// The numbers of sockets of a namespace now.
    pub(super) fn socket_counts(&self, namespace: &str) -> Result<BTreeMap<String, u64>, String> {
        let node = self.node(namespace)?;
        let lists = socket_lists(&node.diag).map_err(|error| error.to_string())?;
        let in_use =
            self.inside(namespace, sockets_in_use)?.map_err(|error| format!("/proc/net/protocols: {error}"))?;
        let lists = SocketLists { in_use, ..lists };
        Ok(SOCKET_COUNTS.iter().map(|(word, get, _)| ((*word).to_owned(), get(&lists))).collect())
    }

    /// Takes the counters of one namespace.
    pub(super) fn take_counters(&self, namespace: &str, moment: &Moment) -> Result<(), String> {
        let values = self.node(namespace)?.read_counters()?;
        self.recorder.note(Observation::Counters { namespace: namespace.to_owned(), moment: moment.clone(), values });
        Ok(())
    }

    async fn take_path_manager(&self, namespace: &str, moment: &Moment) -> Result<(), String> {
        let pm = &self.node(namespace)?.pm;
        let endpoints = pm.dump_endpoints(None).await.map_err(|error| error.to_string())?;
        let limits = pm.get_limits().await.map_err(|error| error.to_string())?;
        let (namespace, moment) = (namespace.to_owned(), moment.clone());
        self.recorder.note(Observation::Endpoints { namespace: namespace.clone(), moment: moment.clone(), endpoints });
        self.recorder.note(Observation::Limits { namespace, moment, limits });
        Ok(())
    }

    /// What a userspace path manager announced and uses, for each connection that is still open.
    async fn take_connection_endpoints(&self, moment: &Moment) -> Result<(), String> {
        let own = self.connections.values().filter(|connection| connection.is_open());
        let own = own.map(|connection| self.known.get(&connection.name)).collect::<Result<Vec<_>, _>>()?;
        for connection in own.into_iter().flatten().chain(self.known.of_programs()) {
            for side in [Side::Client, Side::Server] {
                let namespace = connection.namespace(side);
                let mut observers = self.plan.observers.iter();
                let userspace = observers.any(|observer| observer.namespace == namespace && observer.userspace);
                let (true, Some(token)) = (userspace && self.token_dump, connection.token(side)) else { continue };
                let node = self.node(namespace)?;
                let endpoints = match node.pm.dump_endpoints(Some(token)).await {
                    Ok(endpoints) => endpoints,
                    // Its program has closed it.
                    Err(_) if connection.by_programs && socket_with(&node.diag, token)?.is_none() => continue,
                    Err(error) => return Err(error.to_string()),
                };
                self.recorder.note(Observation::ConnectionEndpoints {
                    namespace: namespace.to_owned(),
                    connection: connection.name.clone(),
                    moment: moment.clone(),
                    endpoints,
                });
            }
        }
        Ok(())
    }

    /// Takes what sock_diag says of the connections of programs that are still open.
    pub(super) fn take_program_sockets(&self, moment: &Moment) -> Result<(), String> {
        for connection in self.known.of_programs() {
            for side in [Side::Client, Side::Server] {
                let Some(token) = connection.token(side) else { continue };
                let namespace = connection.namespace(side);
                let Some(info) = socket_with(&self.node(namespace)?.diag, token)? else { continue };
                self.recorder.note(Observation::Sockets {
                    connection: connection.name.clone(),
                    side,
                    moment: moment.clone(),
                    info: Some(Box::new(info)),
                    subflows: self.subflows(namespace, token)?,
                    options: BTreeMap::new(),
                });
            }
        }
        Ok(())
    }

    /// Takes what each end of each link has sent and received.
    pub(super) fn take_bytes(&self, moment: &Moment) -> Result<(), String> {
        let nodes = self.nodes.keys().map(|name| Ok((name.as_str(), self.link_bytes(name)?)));
        let bytes = nodes.collect::<Result<BTreeMap<_, _>, String>>()?;
        for (link, ends) in self.plan.links() {
            for end in ends {
                if self.testbed.node(&end.namespace).is_ok_and(|node| node.is_deleted(&end.device)) {
                    continue;
                }
                let found = bytes.get(end.namespace.as_str()).and_then(|links| links.get(&end.device)).copied();
                let (sent, received) =
                    found.ok_or_else(|| format!("interface {} of {} has disappeared", end.device, end.namespace))?;
                self.recorder.note(Observation::LinkBytes {
                    namespace: end.namespace.clone(),
                    link: link.to_owned(),
                    moment: moment.clone(),
                    sent,
                    received,
                });
            }
        }
        Ok(())
    }

    /// Takes what the kernel says of both sockets of a connection.
    pub(super) fn take_sockets(&mut self, name: &str, moment: &Moment) -> Result<(), String> {
        let connection = self.connections.get(name).ok_or_else(|| format!("there is no connection `{name}`"))?;
        for side in [Side::Client, Side::Server] {
            let Some(socket) = connection.socket(side) else { continue };
            let details = subflow_details(socket).map_err(|error| format!("subflows of `{name}`: {error}"))?;
            let subflows = match connection.token(side) {
                None => Vec::new(),
                Some(token) if self.connections.len() <= FEW => self.subflows(connection.namespace(side), token)?,
                Some(token) => {
                    let diag = &self.node(connection.namespace(side))?.diag;
                    let ends = details.iter().map(|(ends, _)| (ends.local, ends.remote));
                    diag.subflows_between(token, ends).map_err(|error| error.to_string())?
                }
            };
            self.note_sockets(connection, side, moment, (subflows, &details))?;
        }
        Ok(())
    }

    /// Takes what the kernel says of the sockets of all connections of which both are open: with one list of the sockets
    /// in each namespace, however many connections there are.
    pub(super) fn take_all_sockets(&mut self, moment: &Moment) -> Result<(), String> {
        let mut listed: HashMap<&str, HashMap<u32, Vec<SubflowState>>> = HashMap::new();
        for connection in self.connections.values().filter(|connection| connection.is_open()) {
            for side in [Side::Client, Side::Server] {
                let Some(socket) = connection.socket(side) else { continue };
                let namespace = connection.namespace(side);
                if !listed.contains_key(namespace) {
                    let mut by_token: HashMap<u32, Vec<SubflowState>> = HashMap::new();
                    for subflow in self.node(namespace)?.diag.subflows(None).map_err(|error| error.to_string())? {
                        by_token.entry(subflow.token_local).or_default().push(subflow);
                    }
                    listed.insert(namespace, by_token);
                }
                let subflows = connection.token(side).and_then(|token| listed.get_mut(namespace)?.remove(&token));
                let name = &connection.name;
                let details = subflow_details(socket).map_err(|error| format!("subflows of `{name}`: {error}"))?;
                self.note_sockets(connection, side, moment, (subflows.unwrap_or_default(), &details))?;
            }
        }
        Ok(())
    }

    /// Notes the state of one socket with its subflows, to which what the socket itself tells of them is added.
    fn note_sockets(
        &self,
        connection: &LiveConnection,
        side: Side,
        moment: &Moment,
        (mut subflows, details): (Vec<SubflowState>, &[(SubflowAddresses, TcpInfo)]),
    ) -> Result<(), String> {
        let Some(socket) = connection.socket(side) else { return Ok(()) };
        let name = &connection.name;
        let info = sockets::mptcp_info(socket).map_err(|error| format!("MPTCP_INFO of `{name}`: {error}"))?;
        for subflow in &mut subflows {
            let detail = details.iter().find(|(ends, _)| ends.local == subflow.local && ends.remote == subflow.remote);
            subflow.tcp = detail.map(|(_, tcp)| tcp.clone());
        }
        self.recorder.note(Observation::Sockets {
            connection: name.clone(),
            side,
            moment: moment.clone(),
            info: info.map(Box::new),
            subflows,
            options: shown_options(connection, side).map_err(|error| format!("socket options of `{name}`: {error}"))?,
        });
        Ok(())
    }
}

/// What sock_diag says of the MPTCP socket with that token, if there is one.
fn socket_with(diag: &DiagSocket, token: u32) -> Result<Option<MptcpInfo>, String> {
    let socket = diag.connection(token).map_err(|error| error.to_string())?;
    Ok(socket.and_then(|socket| MptcpInfo::decode(&socket.info)))
}

/// What sock_diag lists, and what it finds one by one.
fn socket_lists(diag: &DiagSocket) -> Result<SocketLists, NetlinkError> {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let listeners = diag.mptcp_listeners(Filter::ALL)?;
    let mut lists = SocketLists { mptcp_listeners: count(listeners.len()), ..SocketLists::default() };
    for (index, MptcpListener { address, waiting, backlog }) in listeners.into_iter().enumerate() {
        lists.waiting += u64::from(waiting);
        lists.backlog += u64::from(backlog);
        let port = address.port();
        let found = |filter| {
            let found = diag.mptcp_listeners(filter)?.into_iter().map(|listener| listener.address);
            Ok(found.collect::<Vec<_>>())
        };
        let by_port = found(Filter::Ports(port, 0))?;
        lists.listeners_by_port +=
            u64::from(by_port.contains(&address) && by_port.iter().all(|other| other.port() == port));
        lists.listeners_by_address += u64::from(found(Filter::Address(address))?.contains(&address));
        let is_peer = found(Filter::PeerPort(port))?.contains(&address)
            || (index < ASKED_BY_PORTS && found(Filter::Ports(0, port))?.contains(&address));
        lists.listeners_by_peer_port += u64::from(is_peer);
    }
    for (index, socket) in diag.connections(Filter::ALL)?.into_iter().enumerate() {
        let Some(info) = MptcpInfo::decode(&socket.info) else { continue };
        if index < ASKED_BY_PORTS {
            let (local, remote) = (socket.local.port(), socket.remote.port());
            let has = |other: &MptcpSocket| (other.local, other.remote) == (socket.local, socket.remote);
            let found = diag.connections(Filter::Ports(local, remote))?;
            let fits = |other: &MptcpSocket| (other.local.port(), other.remote.port()) == (local, remote);
            lists.by_ports += u64::from(found.iter().any(has) && found.iter().all(fits));
            lists.by_swapped_ports += u64::from(diag.connections(Filter::Ports(remote, local))?.iter().any(has));
        }
        lists.unread += u64::from(socket.has_unread);
        lists.send_buffers.extend(socket.send_buffer);
        lists.found_by_token +=
            u64::from(diag.connection(info.token)?.is_some_and(|found| found.local == socket.local));
        lists.mptcp.push((socket.state, info));
    }
    for subflow in diag.subflows(None)? {
        let same = diag.subflows_between(subflow.token_local, std::iter::once((subflow.local, subflow.remote)))?;
        lists.subflows += 1;
        lists.found_by_addresses += count(same.len());
    }
    lists.tcp_listeners = count(diag.listeners()?.len());
    Ok(lists)
}

/// The number of MPTCP sockets of the thread's namespace, by `/proc/net/protocols`: IPv4 and IPv6 have a line each.
fn sockets_in_use() -> std::io::Result<u64> {
    let text = crate::files::kernel::read_text("/proc/thread-self/net/protocols")?;
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_mptcp = words.filter_map(|words| match words[..] {
        ["MPTCP" | "MPTCPv6", _, sockets, ..] => sockets.parse::<u64>().ok(),
        _ => None,
    });
    Ok(of_mptcp.sum())
}

/// Up to this number of connections, the list of all sockets is short.
const FEW: usize = 64;

/// What the connection's socket tells of each subflow: at one moment where the kernel can (Linux 6.5), else in two
/// questions.
fn subflow_details(socket: BorrowedFd<'_>) -> Result<Vec<(SubflowAddresses, TcpInfo)>, SocketError> {
    if let Some(full) = sockets::full_info(socket)? {
        return Ok(full.subflows.into_iter().map(|subflow| (subflow.addresses, subflow.tcp)).collect());
    }
    let addresses = sockets::subflow_addresses(socket)?.unwrap_or_default();
    let tcp = sockets::subflow_tcp_info(socket)?.unwrap_or_default();
    Ok(addresses.into_iter().zip(tcp).collect())
}
