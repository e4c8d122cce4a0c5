//! Events of the path manager as they come, each with its reason.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::errno::errno_symbol;
use crate::mptcp::{EndpointFlags, EventKind, PmEvent, canonical};
use crate::netlink::events::{EventSocket, Received};
use crate::netlink::route::RouteClient;
use crate::netlink::{DeviceNames, NetlinkError};
use crate::wire::reset_reason;

use super::because::Because;
use super::collect::{PLACE, collect, route_to};
use super::decision::Outcome;
use super::host::{Answer, Connection, Host, Lookup, is_open};
use super::reasons::decisions;

/// Listens to the events of a network namespace.
#[derive(Debug)]
pub struct Follower {
    socket: EventSocket,
    /// The connections whose peer forbids joins to its initial address.
    denied: BTreeSet<u32>,
}

/// An event, and why it happened or what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The event in words. Empty if events were lost.
    pub event: String,
    /// The event.
    pub raw: Option<PmEvent>,
    /// The reasons, each a sentence.
    pub reasons: Vec<String>,
    /// The rule.
    pub rule: Option<&'static str>,
    /// What would change it.
    pub change: Option<String>,
}

impl Told {
    /// The reasons in one line.
    pub fn text(&self) -> String {
        self.reasons.join("; ")
    }

    fn of(event: &PmEvent) -> Self {
        Self { event: words(event), raw: Some(event.clone()), reasons: Vec::new(), rule: None, change: None }
    }

    fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    fn because(mut self, because: &Because, change: Option<String>) -> Self {
        self.rule = Some(because.rule());
        self.change = change;
        self.reason(because.to_string())
    }
}

impl Follower {
    /// Listens from now on to the network namespace of the calling thread.
    ///
    /// Must be called in a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// As [`EventSocket::open`]: EPERM without `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, NetlinkError> {
        let links = RouteClient::open(PLACE)?.links()?;
        let devices: DeviceNames = links.into_iter().map(|link| (link.index, link.name)).collect();
        Ok(Self { socket: EventSocket::open(PLACE, devices)?, denied: BTreeSet::new() })
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// The socket fails.
    pub async fn next(&mut self) -> Result<Told, NetlinkError> {
        let event = match self.socket.next().await?.what {
            Received::Event(event) => event,
            Received::Lost => return Ok(trouble("the socket's buffer overflowed: events were lost")),
            Received::Undecodable { reason, .. } => return Ok(trouble(&format!("a message is no event: {reason}"))),
        };
        if let Some(token) = event.token.filter(|_| event.deny_join_id0) {
            self.denied.insert(token);
        }
        let mut host = collect().await;
        for connection in &mut host.connections {
            connection.deny_join_id0 = self.denied.contains(&connection.token);
        }
        let announced = event.remote.filter(|_| event.kind == EventKind::Announced);
        Ok(tell(&event, &host, announced.and_then(route_to).as_ref()))
    }
}

fn trouble(what: &str) -> Told {
    Told { event: String::new(), raw: None, reasons: vec![what.to_owned()], rule: None, change: None }
}

/// What an event means on this host. `route` leads to an announced address.
pub(super) fn tell(event: &PmEvent, host: &Host, route: Option<&Lookup>) -> Told {
    let told = Told::of(event);
    let connection = host.connections.iter().find(|connection| Some(connection.token) == event.token);
    match event.kind {
        EventKind::Created if event.deny_join_id0 => told.because(&Because::DenyJoinId0, None),
        EventKind::Created => told.reason("an MPTCP connection: both sides sent MP_CAPABLE"),
        EventKind::Established => established(told, host, connection),
        EventKind::Closed => told.reason("closed by the application"),
        EventKind::Announced => announced(told, event, host, connection, route),
        EventKind::Removed => told.reason("the peer removed the address: this side closes its subflows to it"),
        EventKind::SubEstablished => joined(told, event, host, connection),
        EventKind::SubClosed => closed(told, event, connection),
        EventKind::SubPriority => told.reason(match event.backup {
            Some(0) => "the peer asks to use it like any other subflow",
            _ => "the peer asks to send data on it only if no other subflow is usable (backup)",
        }),
        EventKind::ListenerCreated => told.reason("an MPTCP socket listens"),
        EventKind::ListenerClosed => told.reason("an MPTCP socket no longer listens"),
        EventKind::Unknown(_) => told.reason("mptcplab doesn't know this event"),
    }
}

/// What the kernel will not do now. Decisions about what it is just doing would come too early.
fn established(told: Told, host: &Host, connection: Option<&Connection>) -> Told {
    let mut told = told.reason("fully established: the kernel announces addresses and opens subflows now");
    let early = |because: &Because| {
        matches!(because, Because::NotTriggered | Because::Gone { .. } | Because::AnnouncedInVain { .. })
    };
    let rows = connection.map(|connection| decisions(host, connection)).unwrap_or_default();
    for row in rows.into_iter().filter(|row| row.outcome == Outcome::No && !early(&row.because)) {
        told.rule = told.rule.or(Some(row.because.rule()));
        told.change = told.change.or(row.change);
        told.reasons.push(format!("no {}: {}", row.candidate, row.because));
    }
    told
}

/// Whether an announcement becomes a subflow (`mptcp_pm_add_addr_received`, net/mptcp/pm.c;
/// `mptcp_pm_nl_add_addr_received`, net/mptcp/pm_kernel.c).
fn announced(
    told: Told,
    event: &PmEvent,
    host: &Host,
    connection: Option<&Connection>,
    route: Option<&Lookup>,
) -> Told {
    let (Some(connection), Some(address)) = (connection, event.remote.map(canonical)) else {
        return told.reason("its connection no longer exists");
    };
    if let Some(setting) = host.other_path_manager_of(connection) {
        return told.because(&Because::OtherPathManager { setting }, None);
    }
    let to_it = |subflow: &&crate::mptcp::SubflowState| is_open(subflow) && canonical(subflow.remote.ip()) == address;
    if let Some(subflow) = connection.subflows().iter().find(to_it) {
        let from = canonical(subflow.local.ip());
        return told.reason(format!("accepted: a subflow from {from} leads to it"));
    }
    if let Some((because, change)) = refused(host, connection) {
        return told.because(&because, Some(change));
    }
    if is_link_local(address) && !names_a_device(host) {
        let told =
            told.reason("no subflow: a link-local address needs a `laminar` or `fullmesh` endpoint with a `dev`");
        return Told { rule: Some(Because::LinkLocal.rule()), ..told };
    }
    match route.map(|route| &route.answer) {
        Some(Answer::Refused(errno)) => told.because(&Because::NoRoute { errno: errno.clone(), device: None }, None),
        Some(Answer::Leaves { device, source, .. }) => {
            let source = source.map(|source| format!(", from {source}")).unwrap_or_default();
            told.reason(format!("accepted, but no subflow leads to it; the route leaves by {device}{source}"))
        }
        None => told.reason("no subflow leads to it"),
    }
}

fn refused(host: &Host, connection: &Connection) -> Option<(Because, String)> {
    let info = connection.info.as_ref()?;
    let (accepted, limit) = (info.add_addr_accepted, info.add_addr_accepted_max);
    if accepted >= limit {
        let received = host.mptcp_counter("AddAddr");
        let change = format!("ip mptcp limits set add_addr_accepted {} (for new connections)", limit.saturating_add(1));
        return Some((Because::AcceptLimit { accepted, limit, received }, change));
    }
    super::reasons::limit(connection)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn names_a_device(host: &Host) -> bool {
    let flags = EndpointFlags::LAMINAR | EndpointFlags::FULLMESH;
    host.endpoints.iter().any(|endpoint| endpoint.flags.intersects(flags) && endpoint.dev.is_some())
}

fn joined(told: Told, event: &PmEvent, host: &Host, connection: Option<&Connection>) -> Told {
    let is_it = |row: &super::decision::Decision| {
        matches!(&row.candidate, super::decision::Candidate::Subflow { local, remote, .. }
            if *local == event.local.map(canonical) && Some(*remote) == event.remote.map(canonical))
    };
    let rows = connection.map(|connection| decisions(host, connection)).unwrap_or_default();
    match rows.into_iter().find(is_it) {
        Some(row) => told.because(&row.because, row.change),
        None => told.reason("it no longer exists"),
    }
}

/// Why a subflow ended.
fn closed(told: Told, event: &PmEvent, connection: Option<&Connection>) -> Told {
    let told = match (event.error.map(i32::from), event.reset_reason) {
        (_, Some(reason)) => told.reason(format!("the peer reset it: {}", reset_words(reason))),
        (Some(nix::libc::ECONNREFUSED), _) => {
            told.reason("refused (ECONNREFUSED): nothing listens there, or a firewall answered with a RST")
        }
        (Some(nix::libc::ETIMEDOUT), _) => told.reason("timed out (ETIMEDOUT): no answer has come"),
        (Some(nix::libc::ECONNRESET), _) => told.reason("reset by the peer or by a middlebox (ECONNRESET)"),
        (Some(errno), _) => told.reason(format!("closed with {}", errno_symbol(errno))),
        (None, None) => told.reason(
            "closed without an error: by this side (endpoint or address removed), or by the peer (REMOVE_ADDR, its limit)",
        ),
    };
    match connection {
        Some(_) => Told { rule: Some(Because::Gone { syns: 0, answers: 0, counter: None }.rule()), ..told }
            .reason("the kernel does not open it again"),
        None => told,
    }
}

/// The reason of an MP_TCPRST.
fn reset_words(reason: u32) -> String {
    match u8::try_from(reason).ok().and_then(reset_reason) {
        Some(words) => format!("{words} (MP_TCPRST reason {reason})"),
        None => format!("reason {reason}"),
    }
}

/// `sub_closed 4b9290fe 10.0.2.2 id 1 → 10.0.1.1 id 0`
fn words(event: &PmEvent) -> String {
    let mut words = event.kind.word();
    if let Some(token) = event.token {
        _ = write!(words, " {token:08x}");
    }
    let end = |address: Option<IpAddr>, port: Option<u16>, id: Option<u8>| {
        let address = address.map(|address| match port.filter(|port| *port != 0) {
            Some(port) => std::net::SocketAddr::new(canonical(address), port).to_string(),
            None => canonical(address).to_string(),
        });
        let id = id.map(|id| format!("id {id}"));
        address.into_iter().chain(id).collect::<Vec<_>>().join(" ")
    };
    let local = end(event.local, event.local_port, event.local_id);
    let remote = end(event.remote, event.remote_port, event.remote_id);
    let both = [local, remote].into_iter().filter(|end| !end.is_empty()).collect::<Vec<_>>().join(" → ");
    if both.is_empty() { words } else { format!("{words} {both}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mptcp::{Endpoint, Limits, MptcpInfo, Side, SubflowFlags, SubflowState};

    const TOKEN: u32 = 7;

    fn host() -> Host {
        let info =
            MptcpInfo { subflows_max: 2, token: TOKEN, add_addr_accepted_max: 1, size: 96, ..MptcpInfo::default() };
        let connection = Connection {
            token: TOKEN,
            local: "[fd00::2]:40000".parse().unwrap(),
            remote: "[fd00::1]:8080".parse().unwrap(),
            state: 1,
            side: Some(Side::Client),
            info: Some(info),
            subflows: Some(Vec::new()),
            deny_join_id0: false,
        };
        Host { mptcp: true, limits: Some(Limits::default()), connections: vec![connection], ..Host::default() }
    }

    fn event(kind: EventKind) -> PmEvent {
        PmEvent { token: Some(TOKEN), ..PmEvent::new(kind) }
    }

    fn announced(address: &str) -> PmEvent {
        PmEvent { remote: Some(address.parse().unwrap()), remote_id: Some(3), ..event(EventKind::Announced) }
    }

    fn route(answer: Answer) -> Lookup {
        Lookup { from: None, device: None, to: "fd00:5::1".parse().unwrap(), answer }
    }

    #[test]
    fn an_announcement_has_its_reason() {
        let mut host = host();
        let told = |host: &Host, route: Option<&Lookup>| tell(&announced("fd00:5::1"), host, route);
        let refused = route(Answer::Refused("ENETUNREACH".into()));
        assert!(told(&host, Some(&refused)).text().ends_with("the kernel answers ENETUNREACH"));
        let device = "eth2".to_owned();
        let leaves = route(Answer::Leaves { device, via: None, source: None, assumed: false });
        assert!(told(&host, Some(&leaves)).text().ends_with("the route leaves by eth2"));
        assert_eq!(told(&host, None).event, "announced 00000007 fd00:5::1 id 3");
        let local = tell(&announced("fe80::5"), &host, Some(&leaves)).text();
        assert!(local.contains("needs a `laminar` or `fullmesh` endpoint with a `dev`"), "{local}");
        host.connections[0].info.as_mut().unwrap().add_addr_accepted_max = 0;
        let limit = told(&host, Some(&leaves));
        assert!(limit.text().starts_with("limit `add_addr_accepted` is 0"), "{}", limit.text());
        assert!(limit.change.unwrap().starts_with("ip mptcp limits set add_addr_accepted 1"));
        host.connections[0].subflows = Some(vec![SubflowState {
            local: "[fd00:5::2]:1".parse().unwrap(),
            remote: "[fd00:5::1]:8080".parse().unwrap(),
            tcp_state: 1,
            local_id: 1,
            remote_id: 3,
            token_local: TOKEN,
            flags: SubflowFlags::JOIN_LOC,
            dev: None,
            tcp: None,
            options: None,
        }]);
        assert_eq!(told(&host, None).text(), "accepted: a subflow from fd00:5::2 leads to it");
    }

    #[test]
    fn a_closed_subflow_has_its_error() {
        let closed = |error, reset_reason| {
            tell(&PmEvent { error, reset_reason, ..event(EventKind::SubClosed) }, &host(), None).text()
        };
        assert!(closed(Some(111), None).starts_with("refused (ECONNREFUSED)"));
        assert!(closed(Some(110), None).starts_with("timed out (ETIMEDOUT)"));
        assert!(closed(Some(104), None).starts_with("reset by the peer or by a middlebox"));
        assert!(closed(Some(113), None).starts_with("closed with EHOSTUNREACH"));
        assert!(closed(Some(104), Some(3)).starts_with("the peer reset it: administratively prohibited"));
        assert!(closed(None, None).contains("its limit"));
        assert!(closed(None, None).ends_with("the kernel does not open it again"));
    }

    #[test]
    fn establishment_tells_what_will_not_come() {
        let mut host = host();
        let address = "fd00:9::9".parse().unwrap();
        host.endpoints = vec![Endpoint { address, port: None, id: Some(1), flags: EndpointFlags::FULLMESH, dev: None }];
        let told = tell(&event(EventKind::Established), &host, None);
        assert!(told.text().contains("`fullmesh` without `subflow`"), "{}", told.text());
        assert!(told.rule.is_some() && told.change.is_some());
    }

    #[test]
    fn every_kind_of_event_has_words() {
        for (kind, ..) in EventKind::ALL {
            assert!(!tell(&event(*kind), &host(), None).text().is_empty(), "{kind:?}");
        }
        let denied = PmEvent { deny_join_id0: true, ..event(EventKind::Created) };
        assert!(tell(&denied, &host(), None).text().contains("C flag"));
        assert_eq!(trouble("events were lost").text(), "events were lost");
    }
}
