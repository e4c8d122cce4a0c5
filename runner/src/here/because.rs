//! Why: the guard of the kernel that decided, with its values, in words, and with its citation.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

use crate::mptcp::tcp_state_word;
use crate::text;

/// What decided about a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Because {
    /// It is the initial subflow.
    Initial,
    /// It is the initial subflow, whose address has this endpoint: there it has Address ID 0.
    InitialEndpoint { id: Option<u8> },
    /// This host opened it from an endpoint.
    FromEndpoint,
    /// This host opened it to an address that the peer announced.
    ToAnnounced,
    /// The peer opened it.
    ByPeer,
    /// Its packets leave by another device than the one with its address.
    OtherDevice { left_by: String, belongs_to: String, with: Vec<IpAddr> },
    /// Its address is no longer on a device.
    AddressGone,
    /// It is in SYN-SENT.
    NoAnswer { device: Option<String>, via: Option<IpAddr>, belongs_to: Option<String> },
    /// It is in SYN-SENT, and there is no route from its device: the kernel assumed the peer to be on the link.
    NoAnswerOnLink { device: String },
    /// It is in SYN-SENT, or was: the SYN was sent before its route was there, and looked for the peer on the link.
    BeforeRoute { device: String, via: IpAddr },
    /// TCP is still closing it.
    Closing { state: u8 },
    /// The peer closed it.
    PeerCloses,
    /// The peer hasn't acknowledged the third ACK of its MP_JOIN.
    Unconfirmed,
    /// The endpoint has `fullmesh` without `subflow`.
    FullmeshOnly,
    /// The endpoint has `laminar` without `subflow`.
    LaminarOnly,
    /// The endpoint has neither `subflow` nor `signal`.
    NoRole { backup: bool },
    /// A signal endpoint opens no subflow on this side.
    SignalOnly,
    /// No device has the address.
    NoAddress,
    /// Duplicate address detection goes on.
    Tentative,
    /// Duplicate address detection failed.
    Duplicate,
    /// The endpoint names a device that doesn't have its address.
    WrongDevice { dev: String, has: String },
    /// The endpoint names a device that doesn't exist, or that was deleted.
    NoDevice { dev: String },
    /// The device is down, or without a carrier.
    DeviceDown { device: String, up: bool },
    /// A link-local address without a device.
    LinkLocal,
    /// The address family differs from that of the peer's initial address.
    Family,
    /// No route from this source.
    NoRoute { errno: String, device: Option<String> },
    /// No route by the endpoint's device.
    OnLinkAssumed { device: String },
    /// The reverse-path filter drops the answers.
    ReversePath { device: String, leaves: Option<String>, dropped: u64 },
    /// All additional subflows that the limit allows are in use; some of them may be closed.
    Limit { used: u8, limit: u32, closed: u8 },
    /// It was tried, and bind() failed: the address was not there yet.
    TriedWithoutAddress { count: u64 },
    /// It was tried, and connect() failed: there was no route.
    TriedWithoutRoute { count: u64 },
    /// The kernel has used the endpoint, and sent no SYN.
    NeverSent,
    /// It was tried, and is gone.
    Gone { syns: u64, answers: u64, counter: Option<(String, u64)> },
    /// The client is not fully established.
    NotEstablished,
    /// Nothing prevents it now, and nothing made the kernel look.
    NotTriggered,
    /// A server that opens a subflow meets a client that doesn't listen.
    ServerSide,
    /// The peer forbids joins to its initial address.
    DenyJoinId0,
    /// Another path manager has the connection.
    OtherPathManager { setting: String },
    /// The connection fell back to TCP.
    Fallback { counters: Vec<(String, u64)> },
    /// The connection isn't connected.
    Connecting,
    /// MPTCP is disabled.
    Disabled,
    /// The kernel has no MPTCP.
    NoMptcp,
    /// A suspected black hole: new connections don't try MPTCP.
    Blackhole { count: u64, timeout: Option<String> },
    /// Connections fell back to TCP at their start.
    PeerWithoutMptcp { count: u64 },
    /// No socket uses MPTCP.
    NoConnection,
    /// There are no endpoints.
    NoEndpoints,
    /// The limit of additional subflows is 0.
    LimitZero,
    /// The limit of accepted announcements is reached.
    AcceptLimit { accepted: u8, limit: u8, received: u64 },
    /// The kernel could not open a subflow to an announced address.
    AnnouncedRefused { counter: String, count: u64, link_local: bool },
    /// ADD_ADDRs were dropped.
    AnnouncedDropped { count: u64 },
    /// No ADD_ADDR came.
    NoneAnnounced,
    /// ADD_ADDRs came, and none led to a subflow of this connection.
    NoneAccepted { received: u64 },
    /// The peer's announcements led to subflows.
    Accepted { accepted: u8 },
    /// It was announced, and the peer opened no subflow to it.
    AnnouncedInVain { link_local: bool, echoed: u64 },
    /// It is announced, and no device has it.
    AnnouncedNowhere,
    /// It was announced, and a subflow leads to it.
    Announced,
    /// It is not yet announced.
    NotAnnounced { signaled: u8, signals: u8 },
    /// It is that of the initial subflow, which the peer knows.
    KnownToPeer,
    /// The peer may open subflows.
    PeerMayJoin { used: u8, limit: u32 },
    /// Only the client opens subflows.
    ClientOpens { limit: u32 },
    /// The subflows can't be read.
    Unreadable { count: u8 },
}

impl Because {
    /// The sentence of the manual page, the section of the RFC, or the function of the kernel that says so.
    #[expect(clippy::too_many_lines, reason = "one arm for each rule")]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Initial => "RFC 8684 section 3.1",
            Self::InitialEndpoint { .. } | Self::KnownToPeer => {
                "mptcp_pm_create_subflow_or_signal_addr (net/mptcp/pm_kernel.c): the endpoint of the initial subflow has Address ID 0"
            }
            Self::FromEndpoint => {
                "ip-mptcp(8), subflow: “create an additional subflow using this endpoint as the source address”"
            }
            Self::ToAnnounced | Self::Accepted { .. } => {
                "ip-mptcp(8), ADD_ADDR_ACCEPTED_NR: “create a new subflow using the address in the ADD_ADDR sub-option as the destination address”"
            }
            Self::ByPeer | Self::ClientOpens { .. } | Self::PeerMayJoin { .. } => {
                "mptcp_pm_allow_new_subflow (net/mptcp/pm.c)"
            }
            Self::OtherDevice { .. } => {
                "ip-rule(8): without a rule, the kernel selects a route by its destination, not by the source"
            }
            Self::AddressGone => "mptcp_pm_nl_work (net/mptcp/pm_kernel.c): the path manager doesn't follow addresses",
            Self::NoAnswer { .. } | Self::Unconfirmed => "RFC 8684 section 3.2",
            Self::NoAnswerOnLink { .. } | Self::BeforeRoute { .. } | Self::OnLinkAssumed { .. } => {
                "ip_route_output_key_hash_rcu (net/ipv4/route.c): without a matching route, a destination is on the link of the given device"
            }
            Self::Closing { .. } => "__mptcp_close_ssk (net/mptcp/protocol.c)",
            Self::PeerCloses => "RFC 9293 section 3.6",
            Self::FullmeshOnly => {
                "mptcp_pm_create_subflow_or_signal_addr (net/mptcp/pm_kernel.c); ip-mptcp(8), fullmesh: “If this is a subflow endpoint …”"
            }
            Self::LaminarOnly => "fill_local_addresses_vec (net/mptcp/pm_kernel.c)",
            Self::NoRole { .. } => "select_local_address, select_signal_address (net/mptcp/pm_kernel.c)",
            Self::NoAddress
            | Self::Tentative
            | Self::Duplicate
            | Self::LinkLocal
            | Self::TriedWithoutAddress { .. } => "__mptcp_subflow_connect (net/mptcp/subflow.c): kernel_bind()",
            Self::WrongDevice { .. } | Self::NoDevice { .. } | Self::DeviceDown { .. } => {
                "__mptcp_subflow_connect (net/mptcp/subflow.c): the socket is bound to the device"
            }
            Self::Family => "mptcp_pm_addr_families_match (net/mptcp/pm.c)",
            Self::NoRoute { .. } | Self::TriedWithoutRoute { .. } => {
                "__mptcp_subflow_connect (net/mptcp/subflow.c): kernel_connect()"
            }
            Self::ReversePath { .. } => "__fib_validate_source (net/ipv4/fib_frontend.c)",
            Self::Limit { .. } | Self::LimitZero => {
                "ip-mptcp(8), SUBFLOW_NR: “the maximum number of additional subflows allowed for each MPTCP connection”"
            }
            Self::Gone { .. } => {
                "mptcp_pm_subflow_check_next (net/mptcp/pm.c): the endpoint stays in use for this connection"
            }
            Self::NotEstablished | Self::Connecting => "check_fully_established (net/mptcp/options.c)",
            Self::NotTriggered => {
                "mptcp_pm_nl_work (net/mptcp/pm_kernel.c): the kernel acts on events, not on changed limits"
            }
            Self::ServerSide => {
                "fill_remote_addresses_vec (net/mptcp/pm_kernel.c): the destination is the client's address and port"
            }
            Self::DenyJoinId0 | Self::NeverSent => {
                "RFC 8684 section 3.1, flag C; fill_remote_addresses_vec (net/mptcp/pm_kernel.c)"
            }
            Self::OtherPathManager { .. } => "mptcp_pm_data_reset (net/mptcp/pm.c)",
            Self::Fallback { .. } | Self::PeerWithoutMptcp { .. } => "RFC 8684 section 3.7",
            Self::Disabled => "mptcp_is_enabled (net/mptcp/ctrl.c)",
            Self::NoMptcp => "CONFIG_MPTCP",
            Self::Blackhole { .. } => "mptcp_active_should_disable (net/mptcp/ctrl.c)",
            Self::NoConnection => "an application asks for MPTCP with socket(…, IPPROTO_MPTCP)",
            Self::NoEndpoints => "ip-mptcp(8)",
            Self::AcceptLimit { .. } | Self::NoneAccepted { .. } => {
                "mptcp_pm_add_addr_received (net/mptcp/pm.c); ip-mptcp(8), ADD_ADDR_ACCEPTED_NR"
            }
            Self::AnnouncedRefused { .. } => "mptcp_pm_nl_add_addr_received (net/mptcp/pm_kernel.c)",
            Self::AnnouncedDropped { .. } => "mptcp_pm_add_addr_received (net/mptcp/pm.c): one announcement at a time",
            Self::NoneAnnounced => "RFC 8684 section 3.4.1",
            Self::SignalOnly | Self::AnnouncedInVain { .. } | Self::AnnouncedNowhere | Self::Announced => {
                "ip-mptcp(8), signal: “the peer can try to create additional subflows”"
            }
            Self::NotAnnounced { .. } => {
                "mptcp_pm_create_subflow_or_signal_addr (net/mptcp/pm_kernel.c): one announcement at a time"
            }
            Self::Unreadable { .. } => "tcp_diag_get_aux (net/ipv4/tcp_diag.c)",
        }
    }
}

impl Display for Because {
    #[expect(clippy::too_many_lines, reason = "one arm for each reason")]
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initial => f.write_str("the initial subflow"),
            Self::InitialEndpoint { id } => {
                f.write_str("the initial subflow; its address is that of endpoint")?;
                id.map_or(Ok(()), |id| write!(f, " id {id}"))?;
                f.write_str(", which has Address ID 0 in this connection")
            }
            Self::FromEndpoint => f.write_str("opened from the endpoint"),
            Self::ToAnnounced => f.write_str("opened to an address that the peer announced"),
            Self::ByPeer => f.write_str("opened by the peer"),
            Self::OtherDevice { left_by, belongs_to, with } => {
                write!(f, "its packets leave by {left_by}, not by {belongs_to}, which has its address")?;
                if !with.is_empty() {
                    let with: Vec<String> = with.iter().map(ToString::to_string).collect();
                    let with: Vec<&str> = with.iter().map(String::as_str).collect();
                    write!(f, "; so do those of the subflow from {}", text::list(&with))?;
                }
                Ok(())
            }
            Self::AddressGone => f.write_str("no device has its address any more"),
            Self::NoAnswer { device, via, belongs_to } => {
                f.write_str("SYN-SENT: no SYN/ACK has come: lost, filtered, or without a route back")?;
                if let Some(device) = device {
                    write!(f, "; the route leaves by {device}")?;
                    via.map_or(Ok(()), |via| write!(f, " through {via}"))?;
                    if let Some(own) = belongs_to {
                        write!(f, ", not by {own}, which has the source address")?;
                    }
                }
                Ok(())
            }
            Self::BeforeRoute { device, via } => write!(
                f,
                "opened before its route was there: the SYN looks for the peer on the link of {device}, where nobody \
                 answers; the route through {via} came later"
            ),
            Self::NoAnswerOnLink { device } => write!(
                f,
                "SYN-SENT: no route leads from {device} to the peer; the kernel looks for the peer on the link of {device}"
            ),
            Self::Closing { state } => {
                write!(f, "closed by this side, and still listed: TCP is in {}", tcp_state_word(*state))?;
                match state {
                    4 => f.write_str(", since nothing has acknowledged the FIN: the path is down, or the peer is gone"),
                    _ => f.write_str(", until the peer closes it, too"),
                }
            }
            Self::PeerCloses => f.write_str("the peer closed it (CLOSE-WAIT)"),
            Self::Unconfirmed => f.write_str("the peer has not acknowledged the third ACK of its MP_JOIN"),
            Self::FullmeshOnly => f.write_str(
                "the endpoint has `fullmesh` without `subflow`: the kernel uses it only towards announced addresses",
            ),
            Self::LaminarOnly => f.write_str(
                "the endpoint has `laminar` without `subflow`: the kernel uses it only towards announced addresses",
            ),
            Self::NoRole { backup: true } => {
                f.write_str("the endpoint has `backup` without `subflow` or `signal`: the kernel does nothing with it")
            }
            Self::NoRole { backup: false } => {
                f.write_str("the endpoint has neither `subflow` nor `signal`: the kernel does nothing with it")
            }
            Self::SignalOnly => {
                f.write_str("announced; a `signal` endpoint opens no subflow on this side: for that it needs `subflow`")
            }
            Self::NoAddress => f.write_str("no device has the address: bind() fails with EADDRNOTAVAIL"),
            Self::Tentative => f.write_str("the address is tentative: duplicate address detection goes on"),
            Self::Duplicate => f.write_str("another host has the address: duplicate address detection failed"),
            Self::WrongDevice { dev, has } => {
                write!(f, "the endpoint names {dev}, but its address is on {has}")
            }
            Self::NoDevice { dev } => write!(f, "the endpoint names {dev}, which does not exist"),
            Self::DeviceDown { device, up: false } => write!(f, "{device}, which has the address, is down"),
            Self::DeviceDown { device, up: true } => {
                write!(f, "{device}, which has the address, has no carrier")
            }
            Self::LinkLocal => f.write_str("a link-local address needs a device: the endpoint has no `dev`"),
            Self::Family => f.write_str("the address family differs from that of the peer's initial address"),
            Self::NoRoute { errno, device } => {
                f.write_str("no route from this address to the peer")?;
                device.as_ref().map_or(Ok(()), |device| write!(f, " by {device}"))?;
                write!(f, ": the kernel answers {errno}")
            }
            Self::OnLinkAssumed { device } => write!(
                f,
                "no route leads from {device} to the peer: the kernel would look for the peer on the link of {device}"
            ),
            Self::ReversePath { device, leaves, dropped } => {
                write!(f, "rp_filter is strict on {device}, and packets to the peer leave by ")?;
                f.write_str(leaves.as_deref().unwrap_or("no device"))?;
                write!(f, " without its `dev`: answers that arrive on {device} are dropped")?;
                match dropped {
                    0 => Ok(()),
                    dropped => write!(f, " (TcpExtIPReversePathFilter {dropped})"),
                }
            }
            Self::Limit { used, limit, closed } => {
                write!(f, "limit `subflows` is used up: {used} of {limit} additional subflows")?;
                match closed {
                    0 => Ok(()),
                    closed => write!(f, ", of which {closed} closed and still counted"),
                }
            }
            Self::TriedWithoutAddress { count } => write!(
                f,
                "tried before its address was there: bind() failed (MPJoinSynTxBindErr {count}), and the kernel does not retry"
            ),
            Self::TriedWithoutRoute { count } => write!(
                f,
                "tried before its route was there: connect() failed (MPJoinSynTxConnectErr {count}), and the kernel does not retry"
            ),
            Self::NeverSent => {
                f.write_str("no SYN was sent (MPJoinSynTx 0): the peer forbids joins to its initial address (C flag)")
            }
            Self::Gone { syns, answers, counter } => {
                f.write_str(match syns.cmp(answers) {
                    Ordering::Greater => {
                        "its SYN got no SYN/ACK: refused or lost. The peer must listen there, and have a route back"
                    }
                    _ => "it was opened, and is gone: closed or reset, perhaps because of the peer's limit `subflows`",
                })?;
                write!(f, " (MPJoinSynTx {syns}, MPJoinSynAckRx {answers}")?;
                counter.as_ref().map_or(Ok(()), |(name, count)| write!(f, ", {name} {count}"))?;
                f.write_str("). The kernel does not open it again")
            }
            Self::NotEstablished => f.write_str(
                "the connection is not fully established: no data has come from the server since the handshake",
            ),
            Self::NotTriggered => f.write_str(
                "nothing prevents it now; limits, addresses or routes changed after the kernel last looked, \
                 or the peer forbids joins to its initial address (C flag)",
            ),
            Self::ServerSide => f.write_str(
                "this side is the server: the kernel connects to the port of the client, where nothing listens",
            ),
            Self::DenyJoinId0 => f.write_str("the peer forbids joins to its initial address (C flag)"),
            Self::OtherPathManager { setting } => write!(
                f,
                "the userspace path manager has this connection ({setting}): the kernel ignores endpoints and limits"
            ),
            Self::Fallback { counters } => {
                f.write_str("the connection fell back to TCP: there are no additional subflows")?;
                named(f, counters)
            }
            Self::Connecting => f.write_str("the connection is not established: SYN-SENT"),
            Self::Disabled => f.write_str("net.mptcp.enabled is 0: new sockets use plain TCP"),
            Self::NoMptcp => f.write_str("this kernel has no MPTCP"),
            Self::Blackhole { count, timeout } => {
                write!(f, "MPTCP was suspected to be black-holed (Blackhole {count}): new connections use plain TCP")?;
                timeout.as_ref().map_or(Ok(()), |timeout| write!(f, " for {timeout} s (net.mptcp.blackhole_timeout)"))
            }
            Self::PeerWithoutMptcp { count } => write!(
                f,
                "{} fell back to TCP: the peer or a middlebox answered without MPTCP (MPCapableFallbackSYNACK {count})",
                text::count(*count, "connection")
            ),
            Self::NoConnection => f.write_str("no MPTCP connection in this network namespace"),
            Self::NoEndpoints => {
                f.write_str("there are no endpoints: this side opens no subflows of its own, and announces no address")
            }
            Self::LimitZero => f.write_str("limit `subflows` is 0: no additional subflow is opened or accepted"),
            Self::AcceptLimit { limit: 0, received, .. } => {
                write!(f, "limit `add_addr_accepted` is 0: announcements are echoed, then ignored")?;
                received_words(f, *received)
            }
            Self::AcceptLimit { accepted, limit, received } => {
                write!(f, "limit `add_addr_accepted` is used up: {accepted} of {limit}")?;
                received_words(f, *received)
            }
            Self::AnnouncedRefused { counter, count, link_local } => {
                write!(f, "the kernel could not open a subflow to an announced address ({counter} {count})")?;
                f.write_str(if *link_local {
                    ": an announced link-local address needs a `laminar` or `fullmesh` endpoint with a `dev`; \
                     any other address needs a route"
                } else {
                    ": there was no route to it"
                })
            }
            Self::AnnouncedDropped { count } => {
                write!(f, "announcements were dropped (AddAddrDrop {count}): the one before was still being processed")
            }
            Self::NoneAnnounced => f.write_str("the peer has announced no address: no ADD_ADDR has come"),
            Self::NoneAccepted { received } => {
                write!(f, "no subflow leads to an announced address")?;
                received_words(f, *received)
            }
            Self::Accepted { accepted } => {
                write!(f, "{} accepted", text::count(*accepted, "announcement"))
            }
            Self::AnnouncedInVain { link_local, echoed } => {
                write!(f, "announced; the peer has opened no subflow to it")?;
                f.write_str(if *link_local {
                    ": for a link-local address it needs a `laminar` or `fullmesh` endpoint with a `dev`"
                } else {
                    ": its limits, routes or filters decide. Run `mptcplab explain --here` there"
                })?;
                if *echoed == 0 { f.write_str("; no echo has come (EchoAdd 0)") } else { Ok(()) }
            }
            Self::AnnouncedNowhere => f.write_str(
                "announced, but no device has the address: SYNs to it arrive only if a NAT on the way translates it",
            ),
            Self::Announced => f.write_str("announced; a subflow leads to it"),
            Self::NotAnnounced { signaled, signals } => write!(
                f,
                "not announced yet ({signaled} of {signals}): the kernel announces the next address after an echo, \
                 or after net.mptcp.add_addr_timeout"
            ),
            Self::KnownToPeer => f.write_str("not announced: the address of the initial subflow is known to the peer"),
            Self::PeerMayJoin { used, limit } => {
                write!(f, "the peer may open them: {used} of {limit} additional subflows in use")
            }
            Self::ClientOpens { limit } => write!(
                f,
                "the client opens them, from its endpoints or to announced addresses; this side accepts up to {limit}"
            ),
            Self::Unreadable { count } => {
                write!(
                    f,
                    "{} in use; which ones can't be read without privileges",
                    text::count(*count, "additional subflow")
                )
            }
        }
    }
}

/// `, 2 received in this namespace`
fn received_words(f: &mut Formatter<'_>, received: u64) -> fmt::Result {
    match received {
        0 => f.write_str("; none has come (AddAddr 0)"),
        received => write!(f, " (AddAddr {received})"),
    }
}

/// ` (Name 1, Other 2)`
fn named(f: &mut Formatter<'_>, counters: &[(String, u64)]) -> fmt::Result {
    if counters.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
    write!(f, " ({})", words.join(", "))
}
