//! What several rules about subflows ask of a recording.

use std::net::{IpAddr, SocketAddr};

use crate::mptcp::{EndpointFlags, EventKind, Limits};
use crate::recording::{Direction, Moment, Side, canonical_socket};
use crate::reference::Candidate;
use crate::reference::view::{EndpointPeriod, Flow, Half, Host, Life, Mark, View};
use crate::scenario::model::{Operation, TokenChoice};
use crate::wire::{MptcpOption, Segment, TcpFlags};

/// How late the kernel's worker may use what it read before a change, in nanoseconds. It reads endpoints and limits right
/// before it uses them.
pub(in crate::reference) const LATE: u64 = 100_000_000;

/// An additional subflow that one side opened.
pub(in crate::reference) struct Opened<'v, 'a> {
    /// Its index in [`Half::flows`].
    pub(in crate::reference) index: usize,
    /// Its ends.
    pub(in crate::reference) flow: &'v Flow,
    /// What became of it.
    pub(in crate::reference) life: &'v Life,
    /// Its first SYN.
    pub(in crate::reference) syn: Mark,
    /// The device that the SYN left by.
    pub(in crate::reference) device: &'a str,
    /// The backup bit of the SYN.
    pub(in crate::reference) backup: bool,
    /// The address ID of the SYN.
    pub(in crate::reference) id: u8,
}

impl Opened<'_, '_> {
    /// The local address.
    pub(in crate::reference) fn local(&self) -> IpAddr {
        self.flow.local.ip().to_canonical()
    }

    /// The candidate that it is.
    pub(in crate::reference) fn candidate(&self) -> Candidate {
        let (address, port) = canonical_socket(self.flow.remote);
        Candidate::Subflow { local: Some(self.local()), remote: (address, Some(port)) }
    }
}

/// The additional subflows that one side opened, in the order of their SYNs.
pub(in crate::reference) fn opened<'v, 'a>(
    view: &'v View<'a>,
    half: &'v Half<'a>,
) -> impl Iterator<Item = Opened<'v, 'a>> {
    let all = half.flows.iter().zip(&half.lives).enumerate();
    all.filter(|(_, (flow, _))| flow.is_opener && !flow.is_initial).filter_map(|(index, (flow, life))| {
        let syn = life.syn?;
        let (device, segment) = view.packet(syn.entry)?;
        let (backup, id) = segment.options.iter().find_map(
            |option| pick!(option, MptcpOption::MpJoinSyn { backup, address_id, .. } => (*backup, *address_id)),
        )?;
        Some(Opened { index, flow, life, syn, device, backup, id })
    })
}

/// The remote end of the initial subflow, as this side sees it.
pub(in crate::reference) fn initial_remote(half: &Half<'_>) -> (IpAddr, u16) {
    let known = half.initial().map(|flow| flow.remote);
    canonical_socket(known.unwrap_or(half.side.of(half.connection.server_address, half.connection.client_address)))
}

/// The local address of the initial subflow.
pub(in crate::reference) fn initial_local(half: &Half<'_>) -> IpAddr {
    let known = half.initial().map(|flow| flow.local);
    let known = known.unwrap_or(half.side.of(half.connection.client_address, half.connection.server_address));
    known.ip().to_canonical()
}

/// When this side's socket was created: the client's before its SYN, the server's by the third ACK.
pub(in crate::reference) fn created_at(half: &Half<'_>) -> Option<u64> {
    let life = half.lives.first().filter(|_| half.initial().is_some())?;
    match half.side {
        Side::Client => life.syn.map(|syn| syn.at),
        Side::Server => life.third_ack.map(|ack| ack.at),
    }
}

/// Whether this side has a userspace path manager; `None` if the recording doesn't tell.
pub(in crate::reference) fn is_userspace(host: &Host<'_>, half: &Half<'_>) -> Option<bool> {
    host.has_userspace_path_manager(created_at(half)?)
}

/// Whether the peer forbids joins to its initial address: the C flag of its MP_CAPABLE.
pub(in crate::reference) fn peer_denies_join_id0(view: &View<'_>, half: &Half<'_>) -> bool {
    let Some(life) = half.lives.first().filter(|_| half.initial().is_some()) else { return false };
    let received = match half.side {
        Side::Client => [life.syn_ack, None],
        Side::Server => [life.syn, life.third_ack],
    };
    let mut segments = received.into_iter().flatten().filter_map(|mark| view.packet(mark.entry));
    segments.any(|(_, segment)| capable_flags(segment).is_some_and(|flags| flags & 0x20 != 0))
}

/// The flags of a segment's MP_CAPABLE.
pub(in crate::reference) fn capable_flags(segment: &Segment) -> Option<u8> {
    segment.options.iter().find_map(|option| pick!(option, MptcpOption::MpCapable { flags, .. } => *flags))
}

/// An ADD_ADDR that this side received.
#[derive(Debug, Clone)]
pub(in crate::reference) struct Announced {
    /// Its first arrival.
    pub(in crate::reference) mark: Mark,
    /// The address ID.
    pub(in crate::reference) id: u8,
    /// The address.
    pub(in crate::reference) address: IpAddr,
    /// The port, if it has one.
    pub(in crate::reference) port: Option<u16>,
    /// The HMAC is right, as far as the keys are known.
    pub(in crate::reference) hmac: Option<u64>,
}

impl Announced {
    /// Where a subflow towards it goes.
    pub(in crate::reference) fn target(&self, half: &Half<'_>) -> (IpAddr, u16) {
        (self.address, self.port.unwrap_or_else(|| initial_remote(half).1))
    }
}

/// The ADD_ADDRs that this side received, in their order, with retransmissions.
pub(in crate::reference) fn announced(view: &View<'_>, half: &Half<'_>) -> Vec<Announced> {
    let mut all = Vec::new();
    for passed in half.controls.iter().filter_map(|seen| view.passed(*seen)) {
        if passed.direction != Direction::In || passed.segment.flags.contains(TcpFlags::RST) {
            continue;
        }
        for option in &passed.segment.options {
            let MptcpOption::AddAddr { echo: false, address_id, body } = option else { continue };
            all.push(Announced {
                mark: Mark { entry: passed.entry, at: passed.at },
                id: *address_id,
                address: body.address.to_canonical(),
                port: body.port,
                hmac: body.hmac,
            });
        }
    }
    all
}

/// The address IDs that REMOVE_ADDRs removed, sent in this direction, with their arrivals or departures.
pub(in crate::reference) fn removed(view: &View<'_>, half: &Half<'_>, direction: Direction) -> Vec<(Mark, u8)> {
    let mut all = Vec::new();
    for passed in half.controls.iter().filter_map(|seen| view.passed(*seen)) {
        for option in passed.segment.options.iter().filter(|_| passed.direction == direction) {
            let MptcpOption::RemoveAddr { address_ids } = option else { continue };
            let mark = Mark { entry: passed.entry, at: passed.at };
            all.extend(address_ids.iter().map(|id| (mark, *id)));
        }
    }
    all
}

/// The endpoints with this address that the kernel may have used at this time.
pub(in crate::reference) fn endpoints_at<'h>(
    host: &'h Host<'_>,
    address: IpAddr,
    at: u64,
) -> impl Iterator<Item = &'h EndpointPeriod> {
    let address = address.to_canonical();
    endpoints_of(host, at).filter(move |period| period.endpoint.address.to_canonical() == address)
}

/// All endpoints that the kernel may have used at this time.
pub(in crate::reference) fn endpoints_of<'h>(host: &'h Host<'_>, at: u64) -> impl Iterator<Item = &'h EndpointPeriod> {
    host.endpoints().iter().filter(move |period| period.may_be_in(at.saturating_sub(LATE), at))
}

/// Whether an endpoint has these flags.
pub(in crate::reference) fn has(period: &EndpointPeriod, flags: EndpointFlags) -> bool {
    period.endpoint.flags.contains(flags)
}

/// The lowest and the highest limits that may have held in this period.
pub(in crate::reference) fn limits_in(host: &Host<'_>, from: u64, to: u64) -> (Limits, Limits) {
    let none = Limits { subflows: u32::MAX, add_addr_accepted: u32::MAX };
    let (mut least, mut most) = (none, Limits { subflows: 0, add_addr_accepted: 0 });
    for period in host.limits().iter().filter(|period| period.may_be_in(from, to)) {
        least.subflows = least.subflows.min(period.limits.subflows);
        least.add_addr_accepted = least.add_addr_accepted.min(period.limits.add_addr_accepted);
        most.subflows = most.subflows.max(period.limits.subflows);
        most.add_addr_accepted = most.add_addr_accepted.max(period.limits.add_addr_accepted);
    }
    (least, most)
}

/// The additional subflows that the kernel certainly counted at this time, without one of them.
pub(in crate::reference) fn counted(half: &Half<'_>, at: u64, without: usize) -> usize {
    let others = half.flows.iter().zip(&half.lives).enumerate().filter(|(index, _)| *index != without);
    others.filter(|(_, (flow, life))| !flow.is_initial && life.is_counted(flow.is_opener, at)).count()
}

/// The additional subflows that the kernel may have counted at some time in this period, without one of them.
pub(in crate::reference) fn maybe_counted(half: &Half<'_>, from: u64, to: u64, without: Option<usize>) -> usize {
    let others = half.flows.iter().zip(&half.lives).enumerate().filter(|(index, _)| Some(*index) != without);
    others.filter(|(_, (flow, life))| !flow.is_initial && life.may_be_counted(from, to)).count()
}

/// The `create_subflow` steps of this side that may have been done by then, with the local address and the remote end.
pub(in crate::reference) fn created<'h, 'a>(
    host: &'h Host<'a>,
    half: &'h Half<'_>,
    until: u64,
) -> impl Iterator<Item = Created<'a>> {
    host.operations.iter().filter(move |(span, _)| span.started <= until).filter_map(|(span, operation)| {
        let operation: &'a Operation = operation;
        let Operation::CreateSubflow { token, endpoint, remote, remote_port, .. } = operation else { return None };
        let port = remote_port.unwrap_or_else(|| half.connection.server_address.port());
        let remote = (remote.to_canonical(), port);
        is_meant(token, half).then_some(Created { started: span.started, finished: span.finished, endpoint, remote })
    })
}

/// What a `create_subflow` step asks for.
pub(in crate::reference) struct Created<'a> {
    /// When the step began.
    pub(in crate::reference) started: u64,
    /// When it ended.
    pub(in crate::reference) finished: u64,
    /// The local address, with its ID and flags.
    pub(in crate::reference) endpoint: &'a crate::mptcp::Endpoint,
    /// The remote end.
    pub(in crate::reference) remote: (IpAddr, u16),
}

/// Whether a token names this side.
pub(in crate::reference) fn is_meant(token: &TokenChoice, half: &Half<'_>) -> bool {
    match token {
        TokenChoice::Connection(name) => name == half.name,
        TokenChoice::Number(number) => half.token == Some(*number),
    }
}

/// An end with its port, for people.
pub(in crate::reference) fn end((address, port): (IpAddr, u16)) -> String {
    crate::text::socket(SocketAddr::new(address, port)).to_string()
}

/// An endpoint, for people: `endpoint 10.0.2.2 (id 1, subflow fullmesh)`.
pub(in crate::reference) fn named(period: &EndpointPeriod) -> String {
    let endpoint = &period.endpoint;
    let id = endpoint.id.map(|id| format!("id {id}"));
    let flags = Some(endpoint.flags.to_string()).filter(|flags| !flags.is_empty());
    let words: Vec<String> = id.into_iter().chain(flags).collect();
    let address = endpoint.address.to_canonical();
    if words.is_empty() { format!("endpoint {address}") } else { format!("endpoint {address} ({})", words.join(", ")) }
}

/// Whether the path manager uses an endpoint as a source.
pub(in crate::reference) fn is_source(period: &EndpointPeriod) -> bool {
    let sources = EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH | EndpointFlags::LAMINAR;
    period.endpoint.flags.intersects(sources)
}

/// When this side was fully established, by what it received; later, if only an event says so. `None`: it never was.
pub(in crate::reference) fn established_at(view: &View<'_>, half: &Half<'_>) -> Option<u64> {
    let by_event = half.events.iter().find(|(_, event)| event.kind == EventKind::Established);
    let by_event = by_event.and_then(|(entry, _)| view.recording.entries.get(*entry)).map(|entry| entry.at);
    let is_reported = view.host(half)?.namespace.events;
    if is_reported && by_event.is_none() {
        return None;
    }
    let life = half.lives.first().filter(|_| half.initial().is_some())?;
    let received = match half.side {
        Side::Client => life.answer,
        // An MP_CAPABLE with both keys says it all.
        Side::Server => life
            .third_ack
            .filter(|mark| view.packet(mark.entry).is_some_and(|(_, segment)| capable_flags(segment).is_some())),
    };
    received.map(|mark| mark.at).or(by_event)
}

/// The first sign that the connection fell back to TCP after its handshake: the infinite mapping, or an MP_FAIL that
/// does not reset its subflow.
pub(in crate::reference) fn fallback_at(view: &View<'_>, half: &Half<'_>) -> Option<Mark> {
    half.controls.iter().filter_map(|seen| view.passed(*seen)).find_map(|passed| {
        let is_reset = passed.segment.flags.contains(TcpFlags::RST);
        let falls_back = passed
            .segment
            .options
            .iter()
            .any(|option| is_infinite(option) || (!is_reset && matches!(option, MptcpOption::MpFail { .. })));
        falls_back.then_some(Mark { entry: passed.entry, at: passed.at })
    })
}

/// Whether an option is the infinite mapping.
pub(in crate::reference) fn is_infinite(option: &MptcpOption) -> bool {
    pick!(option, MptcpOption::Dss { mapping: Some(mapping), .. } => mapping.length == 0).unwrap_or(false)
}

/// When the kernel had its chance to do what something at this time made it do, and the recording shows whether it did.
pub(in crate::reference) fn settled_after(view: &View<'_>, half: &Half<'_>, at: u64) -> Option<u64> {
    view.settled_after(half, at).filter(|_| view.is_complete(half))
}

/// The sides of which each segment is in the recording.
pub(in crate::reference) fn sides<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Half<'a>> {
    view.halves().filter(|half| view.is_complete(half))
}

/// These, as far as the in-kernel path manager has them, with their hosts.
pub(in crate::reference) fn kernel_sides<'v, 'a>(
    view: &'v View<'a>,
) -> impl Iterator<Item = (&'v Half<'a>, &'v Host<'a>)> {
    let hosted = sides(view).filter_map(|half| Some((half, view.host(half)?)));
    hosted.filter(|(half, host)| is_userspace(host, half) == Some(false))
}

/// Whether a counter of this side's namespace increased during the run; `None` if this kernel doesn't have it.
pub(in crate::reference) fn increased(view: &View<'_>, half: &Half<'_>, name: &str) -> Option<bool> {
    moved(view, half, name).map(|moved| moved > 0)
}

/// By how much it increased.
pub(in crate::reference) fn moved(view: &View<'_>, half: &Half<'_>, name: &str) -> Option<u64> {
    let value = |moment: &Moment| view.recording.counters(half.namespace, moment)?.get(name).copied();
    value(&Moment::End)?.checked_sub(value(&Moment::Start)?)
}

/// How many subflows may be counted of which no SYN was seen: the kernel waits for the answer of a neighbour.
pub(in crate::reference) fn unseen(view: &View<'_>, half: &Half<'_>, host: &Host<'_>) -> usize {
    let sources = host.endpoints().iter().filter(|period| {
        let address = period.endpoint.address.to_canonical();
        is_source(period) && !half.flows.iter().any(|flow| flow.local.ip().to_canonical() == address)
    });
    let targets = announced(view, half);
    let targets = targets
        .iter()
        .filter(|known| !half.flows.iter().any(|flow| canonical_socket(flow.remote) == known.target(half)));
    sources.count() + targets.count()
}
