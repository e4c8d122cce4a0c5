//! Each reason, on a host with two devices and one connection from 10.0.1.2 to 10.0.1.1:8080.

use crate::here::because::Because;
use crate::here::decision::{Candidate, Decision, Outcome};
use crate::here::host::{AddressUse, Answer, Connection, Device, Host, Lookup, Neighbour, OwnAddress};
use crate::mptcp::{Endpoint, EndpointFlags, Limits, MptcpInfo, Side, SubflowFlags, SubflowState};

use super::{configuration, decisions};

const TOKEN: u32 = 0x4b92_90fe;

fn device(name: &str) -> Device {
    Device { name: name.to_owned(), up: true, carrier: true, rp_filter: Some(0) }
}

fn own(device: &str, address: &str) -> OwnAddress {
    let (device, address) = (device.to_owned(), address.parse().unwrap());
    OwnAddress { device, address, prefix: 24, state: AddressUse::Usable }
}

fn subflow(local: &str, remote: &str, ids: [u8; 2], flags: SubflowFlags) -> SubflowState {
    SubflowState {
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        tcp_state: 1,
        local_id: ids[0],
        remote_id: ids[1],
        token_local: TOKEN,
        flags: flags | SubflowFlags::FULLY_ESTABLISHED,
        dev: None,
        tcp: None,
        options: None,
    }
}

fn join() -> SubflowState {
    subflow("10.0.2.2:40001", "10.0.1.1:8080", [1, 0], SubflowFlags::JOIN_LOC | SubflowFlags::JOIN_REM)
}

fn endpoint(address: &str, flags: EndpointFlags) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), port: None, id: Some(1), flags, dev: None }
}

fn leaves(from: &str, dev: Option<&str>, device: &str, via: Option<&str>) -> Lookup {
    Lookup {
        from: Some(from.parse().unwrap()),
        device: dev.map(ToOwned::to_owned),
        to: [10, 0, 1, 1].into(),
        answer: Answer::Leaves {
            device: device.to_owned(),
            via: via.map(|via| via.parse().unwrap()),
            source: None,
            assumed: false,
        },
    }
}

/// A client with an initial subflow and no endpoints.
fn host() -> Host {
    let initial = subflow("10.0.1.2:40000", "10.0.1.1:8080", [0, 0], SubflowFlags::MCAP_LOC | SubflowFlags::MCAP_REM);
    let info = MptcpInfo { subflows_max: 2, token: TOKEN, local_addr_used: Some(0), size: 96, ..MptcpInfo::default() };
    let connection = Connection {
        token: TOKEN,
        local: initial.local,
        remote: initial.remote,
        state: 1,
        side: Some(Side::Client),
        info: Some(info),
        subflows: Some(vec![initial]),
        deny_join_id0: false,
    };
    Host {
        mptcp: true,
        limits: Some(Limits::default()),
        devices: ["lo", "eth1", "eth2"].map(device).into(),
        addresses: vec![own("eth1", "10.0.1.2"), own("eth2", "10.0.2.2")],
        connections: vec![connection],
        routes: vec![leaves("10.0.1.2", None, "eth1", None), leaves("10.0.2.2", None, "eth2", None)],
        ..Host::default()
    }
}

/// The same with this endpoint of 10.0.2.2.
fn with(flags: EndpointFlags) -> Host {
    Host { endpoints: vec![endpoint("10.0.2.2", flags)], ..host() }
}

fn with_subflow_endpoint() -> Host {
    with(EndpointFlags::SUBFLOW)
}

fn connection(host: &mut Host) -> &mut Connection {
    host.connections.first_mut().unwrap()
}

fn info(host: &mut Host) -> &mut MptcpInfo {
    connection(host).info.as_mut().unwrap()
}

fn subflows(host: &mut Host) -> &mut Vec<SubflowState> {
    connection(host).subflows.as_mut().unwrap()
}

/// The endpoint was used for this connection.
fn tried(mut host: Host) -> Host {
    info(&mut host).local_addr_used = Some(1);
    host
}

fn count(host: &mut Host, name: &str, count: u64) {
    host.counters.insert(name.to_owned(), count);
}

fn rows(host: &Host) -> Vec<Decision> {
    decisions(host, &host.connections[0])
}

/// The one row about a subflow from that address.
#[track_caller]
fn row(host: &Host, from: &str) -> Decision {
    let from = Some(from.parse().unwrap());
    let is = |row: &Decision| matches!(row.candidate, Candidate::Subflow { local, .. } if local == from);
    let found: Vec<Decision> = rows(host).into_iter().filter(is).collect();
    let [row] = found.as_slice() else { panic!("not one row: {found:#?}") };
    row.clone()
}

/// There is no subflow from 10.0.2.2, for this reason, and this is the start of what to do.
#[track_caller]
fn missing(host: &Host, because: &Because, change: &str) {
    let row = row(host, "10.0.2.2");
    assert_eq!((row.outcome, &row.because), (Outcome::No, because));
    let told = row.change.unwrap_or_default();
    assert!(told.starts_with(change) && told.is_empty() == change.is_empty(), "{told}");
}

#[track_caller]
fn about(host: &Host, candidate: &Candidate) -> (Outcome, Because) {
    let row = rows(host).into_iter().find(|row| row.candidate == *candidate);
    row.map_or_else(|| panic!("{:#?}", rows(host)), |row| (row.outcome, row.because))
}

const RETRY: &str = "ip mptcp endpoint delete id 1 && ip mptcp endpoint add 10.0.2.2 id 1 subflow";

#[test]
fn flags_decide_whether_an_endpoint_opens_subflows() {
    missing(&with(EndpointFlags::FULLMESH), &Because::FullmeshOnly, &format!("{RETRY} fullmesh"));
    missing(&with(EndpointFlags::LAMINAR), &Because::LaminarOnly, RETRY);
    missing(&with(EndpointFlags::BACKUP), &Because::NoRole { backup: true }, &format!("{RETRY} backup"));
    missing(&with(EndpointFlags::empty()), &Because::NoRole { backup: false }, RETRY);
    let signal = with(EndpointFlags::SIGNAL);
    assert!(!rows(&signal).iter().any(|row| row.because == Because::FullmeshOnly), "an announcement is another row");
}

#[test]
fn an_implicit_endpoint_is_nobodys_expectation() {
    let host = with(EndpointFlags::IMPLICIT);
    let no = rows(&host).into_iter().filter(|row| row.outcome == Outcome::No).collect::<Vec<_>>();
    assert_eq!(no.len(), 1, "{no:#?}");
    assert_eq!(no[0].because, Because::NoEndpoints);
    assert_eq!(no[0].change.as_deref(), Some("ip mptcp endpoint add 10.0.2.2 dev eth2 subflow"));
}

#[test]
fn an_address_must_be_usable() {
    let mut host = with_subflow_endpoint();
    host.addresses.pop();
    missing(&host, &Because::NoAddress, "ip address add 10.0.2.2/PREFIX dev DEVICE && ");
    for (state, because, change) in
        [(AddressUse::Tentative, Because::Tentative, RETRY), (AddressUse::Duplicate, Because::Duplicate, "")]
    {
        let mut host = with_subflow_endpoint();
        host.addresses[1].state = state;
        missing(&host, &because, change);
    }
}

#[test]
fn the_device_must_fit() {
    let mut host = with_subflow_endpoint();
    host.endpoints[0].dev = Some("eth1".into());
    let because = Because::WrongDevice { dev: "eth1".into(), has: "eth2".into() };
    missing(&host, &because, &format!("{RETRY} dev eth2"));
    host.endpoints[0].dev = Some("wwan0".into());
    missing(&host, &Because::NoDevice { dev: "wwan0".into() }, "");
    let mut host = with_subflow_endpoint();
    host.devices[2].carrier = false;
    missing(&host, &Because::DeviceDown { device: "eth2".into(), up: true }, "");
    host.devices[2].up = false;
    missing(&host, &Because::DeviceDown { device: "eth2".into(), up: false }, "ip link set eth2 up && ");
}

#[test]
fn a_link_local_address_needs_a_device() {
    let mut host = host();
    connection(&mut host).remote = "[fd00::1]:8080".parse().unwrap();
    host.addresses.push(own("eth2", "fe80::2"));
    host.endpoints = vec![endpoint("fe80::2", EndpointFlags::SUBFLOW)];
    let row = row(&host, "fe80::2");
    assert_eq!((row.outcome, row.because), (Outcome::No, Because::LinkLocal));
    assert!(row.change.unwrap().ends_with("add fe80::2 id 1 subflow dev eth2"));
}

#[test]
fn families_must_match() {
    let mut host = host();
    host.addresses.push(own("eth2", "fd00::2"));
    host.endpoints = vec![endpoint("fd00::2", EndpointFlags::SUBFLOW)];
    assert_eq!(row(&host, "fd00::2").because, Because::Family);
    // The v4-mapped form is IPv4.
    host.endpoints = vec![endpoint("::ffff:10.0.2.2", EndpointFlags::SUBFLOW)];
    assert_eq!(row(&host, "10.0.2.2").because, Because::NotTriggered);
}

#[test]
fn a_route_must_lead_to_the_peer() {
    let mut host = with_subflow_endpoint();
    host.routes[1].answer = Answer::Refused("ENETUNREACH".into());
    let because = Because::NoRoute { errno: "ENETUNREACH".into(), device: None };
    missing(&host, &because, "ip route add 10.0.1.1 via GATEWAY dev eth2 metric 100 && ");
    assert_eq!(because.to_string(), "no route from this address to the peer: the kernel answers ENETUNREACH");
    host.routes[1].answer = Answer::Leaves { device: "eth2".into(), via: None, source: None, assumed: true };
    missing(&host, &Because::OnLinkAssumed { device: "eth2".into() }, "ip route add 10.0.1.1 via GATEWAY dev eth2");
}

#[test]
fn a_strict_reverse_path_filter_drops_answers() {
    let mut host = with_subflow_endpoint();
    host.endpoints[0].dev = Some("eth2".into());
    host.devices[2].rp_filter = Some(1);
    host.routes[1] = leaves("10.0.2.2", Some("eth2"), "eth2", None);
    host.routes.push(leaves("10.0.2.2", None, "eth1", None));
    count(&mut host, "TcpExtIPReversePathFilter", 3);
    let because = Because::ReversePath { device: "eth2".into(), leaves: Some("eth1".into()), dropped: 3 };
    missing(&host, &because, "sysctl net.ipv4.conf.eth2.rp_filter=2 && ip mptcp endpoint delete id 1 && ");
    // In SYN-SENT, too.
    let mut waiting = join();
    (waiting.tcp_state, waiting.dev) = (2, Some("eth2".into()));
    subflows(&mut host).push(waiting);
    let row = row(&host, "10.0.2.2");
    assert_eq!((row.outcome, row.because), (Outcome::Waiting, because));
    // 2 is loose.
    host.devices[2].rp_filter = Some(2);
    assert!(!matches!(self::row(&host, "10.0.2.2").because, Because::ReversePath { .. }));
}

#[test]
fn the_limit_of_subflows_is_used_up() {
    let mut host = with_subflow_endpoint();
    info(&mut host).subflows = 2;
    subflows(&mut host).extend([
        subflow("10.0.3.2:1", "10.0.1.1:8080", [2, 0], SubflowFlags::JOIN_LOC),
        subflow("10.0.4.2:1", "10.0.1.1:8080", [3, 0], SubflowFlags::JOIN_LOC),
    ]);
    missing(&host, &Because::Limit { used: 2, limit: 2, closed: 0 }, "ip mptcp limits set subflows 3 && ");
}

#[test]
fn a_closed_subflow_is_still_counted() {
    let mut host = with_subflow_endpoint();
    (info(&mut host).subflows, info(&mut host).subflows_max) = (1, 1);
    let mut closing = subflow("10.0.3.2:1", "10.0.1.1:8080", [2, 0], SubflowFlags::JOIN_LOC);
    closing.tcp_state = 4;
    subflows(&mut host).push(closing);
    let because = Because::Limit { used: 1, limit: 1, closed: 1 };
    missing(&host, &because, "ip mptcp limits set subflows 2 && ");
    assert!(because.to_string().ends_with("of which 1 closed and still counted"));
    let closing = row(&host, "10.0.3.2");
    assert_eq!((closing.outcome, &closing.because), (Outcome::Closing, &Because::Closing { state: 4 }));
    assert!(closing.because.to_string().contains("FIN-WAIT-1"));
}

#[test]
fn an_endpoint_is_tried_once() {
    let mut host = tried(with_subflow_endpoint());
    let gone = |syns, answers, counter| Because::Gone { syns, answers, counter };
    missing(&host, &gone(0, 0, None), RETRY);
    count(&mut host, "MPTcpExtMPJoinSynTx", 1);
    missing(&host, &gone(1, 0, None), RETRY);
    assert!(gone(1, 0, None).to_string().starts_with("its SYN got no SYN/ACK"));
    count(&mut host, "MPTcpExtMPJoinSynAckRx", 1);
    count(&mut host, "MPTcpExtMPRstRx", 1);
    missing(&host, &gone(1, 1, Some(("MPRstRx".to_owned(), 1))), RETRY);
    assert!(gone(1, 1, None).to_string().contains("perhaps because of the peer's limit `subflows`"));
    count(&mut host, "MPTcpExtMPJoinSynTx", 0);
    missing(&host, &Because::NeverSent, "");
    count(&mut host, "MPTcpExtMPJoinSynTxConnectErr", 1);
    missing(&host, &Because::TriedWithoutRoute { count: 1 }, RETRY);
    count(&mut host, "MPTcpExtMPJoinSynTxBindErr", 2);
    missing(&host, &Because::TriedWithoutAddress { count: 2 }, RETRY);
}

#[test]
fn an_endpoint_that_was_tried_too_early_may_need_a_route_as_well() {
    let mut host = tried(with_subflow_endpoint());
    host.routes[1].answer = Answer::Leaves { device: "eth2".into(), via: None, source: None, assumed: true };
    missing(&host, &Because::OnLinkAssumed { device: "eth2".into() }, "ip route add ");
    count(&mut host, "MPTcpExtMPJoinSynTxBindErr", 1);
    missing(&host, &Because::TriedWithoutAddress { count: 1 }, "ip route add ");
}

#[test]
fn an_unresolved_peer_on_the_link_was_tried_before_its_route() {
    let mut host = tried(with_subflow_endpoint());
    host.routes[1] = leaves("10.0.2.2", None, "eth2", Some("10.0.2.1"));
    host.unresolved = vec![Neighbour { device: "eth2".into(), address: [10, 0, 1, 1].into() }];
    let because = Because::BeforeRoute { device: "eth2".into(), via: [10, 0, 2, 1].into() };
    missing(&host, &because, RETRY);
    let mut waiting = join();
    waiting.tcp_state = 2;
    subflows(&mut host).push(waiting);
    let row = row(&host, "10.0.2.2");
    assert_eq!((row.outcome, row.because), (Outcome::Waiting, because));
}

#[test]
fn a_syn_without_an_answer_shows_its_route() {
    let mut host = with_subflow_endpoint();
    let mut waiting = join();
    waiting.tcp_state = 2;
    subflows(&mut host).push(waiting);
    let because = |host: &Host| (row(host, "10.0.2.2").outcome, row(host, "10.0.2.2").because);
    let device = Some("eth2".to_owned());
    let expected = Because::NoAnswer { device, via: None, belongs_to: None };
    assert_eq!(because(&host), (Outcome::Waiting, expected));
    host.routes[1] = leaves("10.0.2.2", None, "eth1", None);
    let (device, belongs_to) = (Some("eth1".to_owned()), Some("eth2".to_owned()));
    assert_eq!(because(&host).1, Because::NoAnswer { device, via: None, belongs_to });
    host.routes[1].answer = Answer::Leaves { device: "eth2".into(), via: None, source: None, assumed: true };
    assert_eq!(because(&host).1, Because::NoAnswerOnLink { device: "eth2".into() });
    host.routes[1].answer = Answer::Refused("EHOSTUNREACH".into());
    assert_eq!(because(&host).1, Because::NoRoute { errno: "EHOSTUNREACH".into(), device: None });
}

#[test]
fn a_join_that_is_half_open_waits() {
    let mut host = with_subflow_endpoint();
    let mut half = join();
    half.tcp_state = 3;
    subflows(&mut host).push(half);
    assert_eq!(
        (row(&host, "10.0.2.2").outcome, row(&host, "10.0.2.2").because),
        (Outcome::Waiting, Because::Unconfirmed)
    );
}

#[test]
fn the_loopback_device_has_its_whole_prefix() {
    let mut host = host();
    host.addresses.push(OwnAddress { prefix: 8, ..own("lo", "127.0.0.1") });
    host.endpoints = vec![endpoint("127.0.0.9", EndpointFlags::SUBFLOW)];
    assert_eq!(row(&host, "127.0.0.9").because, Because::NotTriggered);
}

#[test]
fn nothing_prevents_it_and_nothing_made_the_kernel_look() {
    missing(&with_subflow_endpoint(), &Because::NotTriggered, RETRY);
}

#[test]
fn a_client_that_heard_nothing_opens_nothing() {
    let mut host = with_subflow_endpoint();
    subflows(&mut host)[0].flags.remove(SubflowFlags::FULLY_ESTABLISHED);
    missing(&host, &Because::NotEstablished, "");
}

#[test]
fn the_peer_may_forbid_joins_to_its_initial_address() {
    let mut host = with_subflow_endpoint();
    connection(&mut host).deny_join_id0 = true;
    missing(&host, &Because::DenyJoinId0, "");
}

#[test]
fn a_server_does_not_open_subflows() {
    let mut host = with_subflow_endpoint();
    connection(&mut host).side = Some(Side::Server);
    missing(&host, &Because::ServerSide, "ip mptcp endpoint delete id 1 && ip mptcp endpoint add 10.0.2.2 id 1 signal");
    assert_eq!(about(&host, &Candidate::PeerJoins), (Outcome::Allowed, Because::ClientOpens { limit: 2 }));
    (info(&mut host).subflows, info(&mut host).subflows_max) = (1, 1);
    subflows(&mut host).push(subflow("10.0.1.2:8080", "10.0.9.9:1", [0, 1], SubflowFlags::JOIN_REM));
    let because = Because::Limit { used: 1, limit: 1, closed: 0 };
    assert_eq!(about(&host, &Candidate::PeerJoins), (Outcome::No, because));
}

#[test]
fn another_path_manager_ignores_endpoints() {
    let mut host = with_subflow_endpoint();
    host.sysctls.insert("net.mptcp.pm_type".into(), "1".into());
    info(&mut host).subflows_max = 0;
    let (outcome, because) = about(&host, &Candidate::Additional);
    assert_eq!((outcome, because), (Outcome::No, Because::OtherPathManager { setting: "net.mptcp.pm_type 1".into() }));
    assert_eq!(rows(&host).len(), 2, "the initial subflow, and this");
    // It was selected after the connection was created.
    info(&mut host).subflows_max = 2;
    missing(&host, &Because::NotTriggered, RETRY);
    // Linux 6.1 tells limits in any case.
    info(&mut host).size = 48;
    assert!(matches!(about(&host, &Candidate::Additional).1, Because::OtherPathManager { .. }));
}

#[test]
fn fallback_ends_everything() {
    let mut host = with_subflow_endpoint();
    info(&mut host).flags = 1;
    count(&mut host, "MPTcpExtMPCapableFallbackSYNACK", 1);
    let because = about(&host, &Candidate::Additional).1;
    let words = "the connection fell back to TCP: there are no additional subflows (MPCapableFallbackSYNACK 1)";
    assert_eq!(because.to_string(), words);
    assert_eq!(rows(&host).len(), 2);
}

#[test]
fn a_connection_that_is_not_connected_waits() {
    let mut host = with_subflow_endpoint();
    connection(&mut host).state = 2;
    assert_eq!(about(&host, &Candidate::Additional), (Outcome::No, Because::Connecting));
}

#[test]
fn packets_leave_by_another_device() {
    let mut host = with_subflow_endpoint();
    host.routes[1] = leaves("10.0.2.2", None, "eth1", None);
    subflows(&mut host).push(join());
    let row = row(&host, "10.0.2.2");
    let because =
        Because::OtherDevice { left_by: "eth1".into(), belongs_to: "eth2".into(), with: vec![[10, 0, 1, 2].into()] };
    assert_eq!((row.outcome, row.because), (Outcome::But, because));
    assert_eq!(row.change.unwrap(), format!("{RETRY} dev eth2"));
    // The peer chose the addresses, and is on the link of the other device: there is no better way.
    subflows(&mut host)[1].flags.remove(SubflowFlags::JOIN_LOC);
    assert_eq!(self::row(&host, "10.0.2.2").because, Because::ByPeer);
    host.routes[1] = leaves("10.0.2.2", None, "eth1", Some("10.0.1.9"));
    let row = self::row(&host, "10.0.2.2");
    assert_eq!(row.outcome, Outcome::But);
    assert!(row.change.unwrap().contains("dev eth2"));
    subflows(&mut host)[1].flags.insert(SubflowFlags::JOIN_LOC);
    // Bound to the device, they don't.
    subflows(&mut host)[1].dev = Some("eth2".into());
    host.routes.push(leaves("10.0.2.2", Some("eth2"), "eth2", None));
    let row = self::row(&host, "10.0.2.2");
    assert_eq!((row.outcome, row.because), (Outcome::Yes, Because::FromEndpoint));
}

#[test]
fn existing_subflows_say_who_opened_them() {
    let mut host = with_subflow_endpoint();
    host.endpoints.push(Endpoint { id: Some(7), ..endpoint("10.0.1.2", EndpointFlags::SUBFLOW) });
    subflows(&mut host).extend([
        join(),
        subflow("10.0.1.2:2", "10.0.5.1:8080", [0, 3], SubflowFlags::JOIN_LOC),
        subflow("10.0.1.2:3", "10.0.6.1:99", [0, 4], SubflowFlags::JOIN_REM),
    ]);
    let because: Vec<Because> = rows(&host).into_iter().map(|row| row.because).take(4).collect();
    let expected =
        [Because::InitialEndpoint { id: Some(7) }, Because::FromEndpoint, Because::ToAnnounced, Because::ByPeer];
    assert_eq!(because, expected);
    subflows(&mut host)[1].flags.remove(SubflowFlags::FULLY_ESTABLISHED);
    assert_eq!(row(&host, "10.0.2.2").because, Because::Unconfirmed);
    subflows(&mut host)[1].tcp_state = 8;
    assert_eq!(row(&host, "10.0.2.2").because, Because::PeerCloses);
    host.addresses.pop();
    subflows(&mut host)[1] = join();
    host.routes.pop();
    assert_eq!(row(&host, "10.0.2.2").because, Because::AddressGone);
}

#[test]
fn an_initial_subflow_that_is_closed_leaves_its_endpoint_without_one() {
    let mut host = host();
    host.endpoints = vec![endpoint("10.0.1.2", EndpointFlags::SUBFLOW)];
    assert!(!rows(&host).iter().any(|row| row.because == Because::NotTriggered));
    subflows(&mut host)[0].tcp_state = 4;
    let because: Vec<Because> = rows(&host).into_iter().map(|row| row.because).take(2).collect();
    assert_eq!(because, [Because::NotTriggered, Because::Closing { state: 4 }]);
}

#[test]
fn announcements_of_the_peer_meet_limits() {
    let mut host = host();
    let peer = Candidate::PeerAddresses;
    let limit = |accepted, limit, received| Because::AcceptLimit { accepted, limit, received };
    assert_eq!(about(&host, &peer), (Outcome::Allowed, limit(0, 0, 0)));
    count(&mut host, "MPTcpExtAddAddr", 2);
    assert_eq!(about(&host, &peer), (Outcome::No, limit(0, 0, 2)));
    (info(&mut host).add_addr_accepted, info(&mut host).add_addr_accepted_max) = (1, 1);
    assert_eq!(about(&host, &peer), (Outcome::No, limit(1, 1, 2)));
    info(&mut host).add_addr_accepted = 0;
    (info(&mut host).subflows, info(&mut host).subflows_max) = (1, 1);
    assert!(matches!(about(&host, &peer), (Outcome::No, Because::Limit { used: 1, limit: 1, .. })));
    info(&mut host).subflows = 0;
    assert_eq!(about(&host, &peer), (Outcome::Unknown, Because::NoneAccepted { received: 2 }));
    count(&mut host, "MPTcpExtAddAddrDrop", 1);
    assert_eq!(about(&host, &peer), (Outcome::No, Because::AnnouncedDropped { count: 1 }));
    count(&mut host, "MPTcpExtMPJoinSynTxConnectErr", 1);
    let counter = "MPJoinSynTxConnectErr".to_owned();
    let because = Because::AnnouncedRefused { counter, count: 1, link_local: false };
    assert_eq!(about(&host, &peer), (Outcome::No, because));
    info(&mut host).add_addr_accepted_max = 2;
    info(&mut host).add_addr_accepted = 2;
    assert_eq!(about(&host, &peer), (Outcome::Yes, Because::Accepted { accepted: 2 }));
    host.counters.clear();
    info(&mut host).add_addr_accepted = 0;
    assert_eq!(about(&host, &peer), (Outcome::Allowed, Because::NoneAnnounced));
}

#[test]
fn an_announced_link_local_address_needs_an_endpoint_with_a_device() {
    let mut host = host();
    connection(&mut host).remote = "[fd00::1]:8080".parse().unwrap();
    connection(&mut host).local = "[fd00::2]:40000".parse().unwrap();
    host.addresses = vec![own("eth1", "fd00::2"), own("eth1", "fe80::1"), own("eth2", "fe80::2")];
    info(&mut host).add_addr_accepted_max = 1;
    count(&mut host, "MPTcpExtAddAddr", 1);
    count(&mut host, "MPTcpExtMPJoinSynTxConnectErr", 1);
    let row = rows(&host).into_iter().find(|row| row.candidate == Candidate::PeerAddresses).unwrap();
    assert!(row.because.to_string().contains("an announced link-local address needs a `laminar`"));
    assert_eq!(row.change.unwrap(), "ip mptcp endpoint add fe80::2 dev eth2 laminar (for new announcements)");
}

#[test]
fn own_announcements_tell_how_far_they_came() {
    let mut host = with(EndpointFlags::SIGNAL);
    info(&mut host).add_addr_signal_max = 1;
    let announcement = Candidate::Announcement { address: [10, 0, 2, 2].into(), port: None, id: Some(1) };
    let because = Because::NotAnnounced { signaled: 0, signals: 1 };
    assert_eq!(about(&host, &announcement), (Outcome::Waiting, because));
    info(&mut host).add_addr_signal = 1;
    assert_eq!(about(&host, &announcement), (Outcome::No, Because::SignalOnly));
    connection(&mut host).side = Some(Side::Server);
    let because = Because::AnnouncedInVain { link_local: false, echoed: 0 };
    assert_eq!(about(&host, &announcement), (Outcome::No, because));
    info(&mut host).subflows = 2;
    assert!(matches!(about(&host, &announcement), (Outcome::No, Because::Limit { limit: 2, .. })));
    info(&mut host).subflows = 0;
    subflows(&mut host).push(subflow("10.0.2.2:8080", "10.0.9.9:1", [1, 1], SubflowFlags::JOIN_REM));
    assert_eq!(about(&host, &announcement), (Outcome::Yes, Because::Announced));
    subflows(&mut host).pop();
    host.addresses.pop();
    assert_eq!(about(&host, &announcement), (Outcome::No, Because::AnnouncedNowhere));
    host.endpoints[0].address = [10, 0, 1, 2].into();
    let initial = Candidate::Announcement { address: [10, 0, 1, 2].into(), port: None, id: Some(1) };
    assert_eq!(about(&host, &initial), (Outcome::Allowed, Because::KnownToPeer));
}

#[test]
fn without_privileges_only_what_is_certain_is_said() {
    let mut host = with_subflow_endpoint();
    connection(&mut host).subflows = None;
    info(&mut host).subflows = 1;
    let row = row(&host, "10.0.2.2");
    assert_eq!((row.outcome, row.because), (Outcome::Unknown, Because::Unreadable { count: 1 }));
    assert_eq!(row.change.as_deref(), Some("sudo mptcplab explain --here"));
    host.addresses.pop();
    missing(&host, &Because::NoAddress, "ip address add ");
    missing(&Host { connections: host.connections, ..with(EndpointFlags::FULLMESH) }, &Because::FullmeshOnly, RETRY);
}

#[test]
fn what_could_not_be_read_is_named_with_the_way_to_get_it() {
    let mut host = host();
    let [what, why, how] = ["limits", "EPERM", "sudo mptcplab explain --here"].map(str::to_owned);
    host.unread.push(crate::here::host::Unread { what, why, how });
    let text = crate::here::text(&host, crate::report::Style::default());
    assert!(text.ends_with("not read: limits: EPERM\n      try:  sudo mptcplab explain --here\n"), "{text}");
}

#[test]
fn the_configuration_has_faults_without_a_connection() {
    let found = |host: &Host| configuration(host).into_iter().map(|row| row.because).collect::<Vec<_>>();
    let idle = |host: Host| Host { connections: Vec::new(), ..host };
    assert_eq!(found(&idle(host())), [Because::NoConnection, Because::NoEndpoints]);
    assert_eq!(found(&idle(with_subflow_endpoint())), [Because::NoConnection]);
    assert_eq!(found(&idle(with(EndpointFlags::FULLMESH))), [Because::NoConnection, Because::FullmeshOnly]);
    assert_eq!(found(&Host::default()), [Because::NoMptcp]);
    let mut off = idle(with_subflow_endpoint());
    off.limits = Some(Limits { subflows: 0, add_addr_accepted: 0 });
    assert_eq!(found(&off), [Because::NoConnection, Because::LimitZero]);
    off.sysctls.insert("net.mptcp.path_manager".into(), "userspace".into());
    let setting = "net.mptcp.path_manager userspace".to_owned();
    assert_eq!(found(&off), [Because::NoConnection, Because::OtherPathManager { setting }]);
    off.sysctls.clear();
    off.limits = None;
    count(&mut off, "MPTcpExtBlackhole", 1);
    count(&mut off, "MPTcpExtMPCapableSYNTXDisabled", 4);
    count(&mut off, "MPTcpExtMPCapableFallbackSYNACK", 2);
    let expected =
        [Because::Blackhole { count: 1, timeout: None }, Because::PeerWithoutMptcp { count: 2 }, Because::NoConnection];
    assert_eq!(found(&off), expected);
    off.sysctls.insert("net.mptcp.enabled".into(), "0".into());
    assert_eq!(found(&off)[0], Because::Disabled);
}

#[test]
fn what_needs_attention_comes_first_and_ends_within_ten_lines() {
    let mut host = with(EndpointFlags::FULLMESH);
    host.endpoints.push(Endpoint { id: Some(2), ..endpoint("10.0.3.2", EndpointFlags::SUBFLOW) });
    count(&mut host, "MPTcpExtAddAddr", 1);
    let text = crate::here::text(&host, crate::report::Style { colour: false, unicode: true });
    let first = text.lines().take(10).collect::<Vec<_>>().join("\n");
    for reason in ["`fullmesh` without `subflow`", "no device has the address", "`add_addr_accepted` is 0"] {
        assert!(first.contains(reason), "{text}");
    }
    assert!(text.starts_with("client 10.0.1.2:40000 → 10.0.1.1:8080, token 4b9290fe\n"), "{text}");
}

#[test]
fn connections_with_the_same_answers_are_shown_once() {
    let mut host = with(EndpointFlags::FULLMESH);
    let other = Connection { token: 7, local: "10.0.1.2:41000".parse().unwrap(), ..host.connections[0].clone() };
    host.connections.push(other);
    let text = crate::here::text(&host, crate::report::Style::default());
    assert!(text.contains("and 1 connection with the same answers"), "{text}");
    assert_eq!(text.matches("`fullmesh` without `subflow`").count(), 1);
    let json = crate::here::json(&host);
    assert_eq!(json["connections"].as_array().unwrap().len(), 2);
    let row = &json["connections"][0]["decisions"][0];
    assert_eq!((row["outcome"].as_str(), row["because"]["reason"].as_str()), (Some("no"), Some("fullmesh_only")));
    assert_eq!(json["host"]["endpoints"][0]["address"], "10.0.2.2");
}
