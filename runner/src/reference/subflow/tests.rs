//! For each rule: a real recording in which exactly it is broken.

use std::net::IpAddr;

use crate::mptcp::{Endpoint, EndpointFlags, EventKind, MptcpInfo, SubflowFlags, SubflowState};
use crate::recording::{Direction, Entry, Observation, Recording, Side};
use crate::reference::{Outcome, consult};
use crate::scenario::model::{Namespace, Scenario};
use crate::wire::{MptcpOption, Segment, TcpFlags};

/// A recording of the repository, with its scenario.
fn run(name: &str) -> (Scenario, Recording) {
    let path = format!("{}/../fixtures/recordings/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let recording = crate::recording::read(file).unwrap();
    (recording.header.scenario().unwrap(), recording)
}

/// What breaks rules, as `OUTCOME RULE: CANDIDATE`.
fn broken((scenario, recording): &(Scenario, Recording)) -> Vec<String> {
    let reference = consult(scenario, recording);
    let words = reference
        .violations()
        .map(|decision| format!("{} {}: {}", decision.outcome.word(), decision.rule.name, decision.candidate));
    words.collect()
}

/// The reason of the first decision of that rule with that outcome.
fn because((scenario, recording): &(Scenario, Recording), rule: &str, outcome: Outcome) -> String {
    let reference = consult(scenario, recording);
    let found = reference.decisions.iter().find(|one| one.rule.name == rule && one.outcome == outcome);
    found.unwrap_or_else(|| panic!("no decision of {rule}")).because.clone()
}

fn namespace<'s>((scenario, _): &'s mut (Scenario, Recording), name: &str) -> &'s mut Namespace {
    scenario.world.namespaces.iter_mut().find(|namespace| namespace.name == name).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Whether an entry is a segment of this namespace from or to this local address.
fn is_of(entry: &Entry, of: &str, local: &str, remote: &str) -> bool {
    let Observation::Packet { namespace, direction, segment, .. } = &entry.what else { return false };
    let (own, other) = match direction {
        Direction::Out => (segment.source, segment.destination),
        Direction::In => (segment.destination, segment.source),
    };
    namespace.as_str() == of && own.ip() == ip(local) && other.ip() == ip(remote)
}

/// Leaves out the client's segments and events of a subflow.
fn forget((_, recording): &mut (Scenario, Recording), local: &str, remote: &str) {
    recording.entries.retain(|entry| {
        let is_event = matches!(&entry.what, Observation::Event { namespace, event }
            if namespace == "client" && event.local == Some(ip(local)) && event.remote == Some(ip(remote)));
        !is_event && !is_of(entry, "client", local, remote)
    });
    sockets(recording, Side::Client, |info, subflows| {
        if info.subflows > 0 {
            info.subflows -= 1;
            info.subflows_total = info.subflows_total.map(|total| total.saturating_sub(1));
        }
        subflows.retain(|state| (state.local.ip(), state.remote.ip()) != (ip(local), ip(remote)));
    });
}

/// Changes what the sockets of a side show.
fn sockets(recording: &mut Recording, of: Side, change: impl Fn(&mut MptcpInfo, &mut Vec<SubflowState>)) {
    for entry in &mut recording.entries {
        let Observation::Sockets { side, info: Some(info), subflows, .. } = &mut entry.what else { continue };
        if *side == of {
            change(info, subflows);
        }
    }
}

/// Changes what the dumps of a namespace show.
fn dumps(recording: &mut Recording, of: &str, change: impl Fn(&mut Vec<Endpoint>)) {
    for entry in &mut recording.entries {
        let Observation::Endpoints { namespace, endpoints, .. } = &mut entry.what else { continue };
        if namespace == of {
            change(endpoints);
        }
    }
}

/// Changes the SYNs that the client sent from an address.
fn syns(recording: &mut Recording, local: &str, change: impl Fn(&mut Segment)) {
    for entry in &mut recording.entries {
        let Observation::Packet { namespace, direction: Direction::Out, segment, .. } = &mut entry.what else {
            continue;
        };
        if namespace.as_str() == "client" && segment.source.ip() == ip(local) && segment.flags == TcpFlags::SYN {
            change(segment);
        }
    }
}

/// The client sends the first SYN between these addresses a second time, from another port, right before the close.
fn again(recording: &mut Recording, local: &str, remote: &str) {
    let is_syn = |entry: &&Entry| {
        let syn = matches!(&entry.what, Observation::Packet { segment, .. } if segment.flags == TcpFlags::SYN);
        syn && is_of(entry, "client", local, remote)
    };
    let mut copy = recording.entries.iter().find(is_syn).unwrap().clone();
    let Observation::Packet { segment, .. } = &mut copy.what else { unreachable!() };
    segment.source.set_port(segment.source.port() ^ 1);
    let is_close =
        |entry: &Entry| matches!(&entry.what, Observation::StepStarted { text, .. } if text.contains("closes"));
    let last = recording.entries.iter().position(is_close).unwrap();
    copy.at = recording.entries[last].at - 1;
    recording.entries.insert(last, copy);
}

const NAMES: [&str; 6] = [
    "endpoints-signal-ipv4",
    "fullmesh-ipv4",
    "subflows-refused",
    "subflows-limited-by-server",
    "userspace-create-subflow",
    "mp-fail-infinite-mapping",
];

#[test]
fn real_recordings_break_no_rule() {
    for name in NAMES {
        assert_eq!(broken(&run(name)), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_subflow_without_an_endpoint_has_no_reason() {
    let mut run = run("subflows-refused");
    namespace(&mut run, "client").endpoints[1].0.flags = EndpointFlags::empty();
    sockets(&mut run.1, Side::Client, |info, _| info.local_addr_max = Some(1));
    assert_eq!(broken(&run), ["wrong subflow-has-a-reason: subflow 10.0.2.2 → 10.0.1.1:8080"]);
}

#[test]
fn a_subflow_to_an_address_that_nobody_announced_has_no_reason() {
    let mut run = run("endpoints-signal-ipv4");
    run.1.entries.retain(|entry| {
        let is_announcement = matches!(&entry.what, Observation::Packet { segment, .. }
            if segment.options.iter().any(|option| matches!(option, MptcpOption::AddAddr { .. })));
        let is_event = matches!(&entry.what, Observation::Event { event, .. } if event.kind == EventKind::Announced);
        !is_announcement && !is_event
    });
    for side in [Side::Client, Side::Server] {
        sockets(&mut run.1, side, |info, _| (info.add_addr_signal, info.add_addr_accepted) = (0, 0));
    }
    assert_eq!(broken(&run), ["wrong subflow-has-a-reason: subflow 10.0.2.2 → 10.0.2.1:8080"]);
}

#[test]
fn a_subflow_to_the_initial_address_of_a_peer_that_forbids_it_is_wrong() {
    let mut run = run("subflows-limited-by-server");
    for entry in &mut run.1.entries {
        let Observation::Packet { namespace, direction: Direction::In, segment, .. } = &mut entry.what else {
            continue;
        };
        for option in segment.options.iter_mut().filter(|_| namespace.as_str() == "client") {
            if let MptcpOption::MpCapable { flags, .. } = option {
                *flags |= 0x20;
            }
        }
    }
    // The events of the connection have the flag, too.
    let events = ["wrong report-connections: event created", "wrong report-connections: event established"];
    assert_eq!(broken(&run), [&["wrong subflow-has-a-reason: subflow 10.0.3.2 → 10.0.1.1:8080"], &events[..]].concat());
}

#[test]
fn a_subflow_beyond_the_limit_is_wrong() {
    let mut run = run("subflows-limited-by-server");
    namespace(&mut run, "client").limits.as_mut().unwrap().subflows = 0;
    sockets(&mut run.1, Side::Client, |info, _| info.subflows_max = 0);
    assert_eq!(broken(&run), ["wrong limit-of-additional-subflows: subflow 10.0.3.2 → 10.0.1.1:8080"]);
}

#[test]
fn the_address_id_is_that_of_the_endpoint() {
    let mut run = run("subflows-refused");
    syns(&mut run.1, "10.0.2.2", |segment| {
        if let Some(MptcpOption::MpJoinSyn { address_id, .. }) = segment.options.first_mut() {
            *address_id = 7;
        }
    });
    sockets(&mut run.1, Side::Client, |_, subflows| {
        subflows.iter_mut().filter(|state| state.local.ip() == ip("10.0.2.2")).for_each(|state| state.local_id = 7);
    });
    // The event has the ID, too.
    let both = [
        "wrong address-id-of-mp-join: subflow 10.0.2.2 → 10.0.1.1:8080",
        "wrong report-subflows: event sub_established",
    ];
    assert_eq!(broken(&run), both);
}

#[test]
fn the_backup_bit_is_that_of_the_endpoint() {
    let mut run = run("subflows-refused");
    syns(&mut run.1, "10.0.2.2", |segment| {
        if let Some(MptcpOption::MpJoinSyn { backup, .. }) = segment.options.first_mut() {
            *backup = true;
        }
    });
    sockets(&mut run.1, Side::Client, |_, subflows| {
        let own = subflows.iter_mut().filter(|state| state.local.ip() == ip("10.0.2.2"));
        own.for_each(|state| state.flags |= SubflowFlags::BKUP_LOC);
    });
    assert_eq!(broken(&run), ["wrong backup-bit-of-the-endpoint: subflow 10.0.2.2 → 10.0.1.1:8080"]);
}

#[test]
fn a_subflow_leaves_by_the_device_of_its_endpoint() {
    let mut run = run("subflows-refused");
    namespace(&mut run, "client").endpoints[1].0.dev = Some("eth2".to_owned());
    assert_eq!(broken(&run), ["wrong device-of-the-endpoint: subflow 10.0.2.2 → 10.0.1.1:8080"]);
}

#[test]
fn a_second_subflow_between_the_same_addresses_is_wrong() {
    let mut run = run("fullmesh-ipv4");
    namespace(&mut run, "client").limits.as_mut().unwrap().subflows = 5;
    sockets(&mut run.1, Side::Client, |info, _| info.subflows_max = 5);
    again(&mut run.1, "10.0.2.2", "10.0.4.1");
    let name = "no-second-subflow-between-the-same-addresses";
    assert_eq!(broken(&run), [format!("wrong {name}: subflow 10.0.2.2 → 10.0.4.1:8080")]);
}

#[test]
fn a_refused_subflow_is_not_tried_again() {
    let mut run = run("subflows-refused");
    again(&mut run.1, "10.0.3.2", "10.0.1.1");
    assert_eq!(broken(&run), ["wrong closed-subflows-stay-closed: subflow 10.0.3.2 → 10.0.1.1:8080"]);
}

#[test]
fn a_join_beyond_the_limit_is_not_accepted() {
    let mut run = run("subflows-refused");
    namespace(&mut run, "server").limits = Some(crate::mptcp::Limits { subflows: 0, add_addr_accepted: 0 });
    sockets(&mut run.1, Side::Server, |info, _| info.subflows_max = 0);
    let [only] = &broken(&run)[..] else { panic!("{:?}", broken(&run)) };
    assert!(only.starts_with("wrong join-from-the-peer: join 10.0.1.1:8080 ← 10.0.2.2:"), "{only}");
}

#[test]
fn a_join_below_the_limit_is_accepted() {
    let mut run = run("subflows-limited-by-server");
    assert_eq!(because(&run, "join-from-the-peer", Outcome::NotDone), "additional subflows 0 of limit 0");
    let why = because(&run, "answer-to-a-join", Outcome::NotDone);
    assert!(
        why.starts_with("the peer refused it by a RST after the third ACK: additional subflows 0 of limit 0"),
        "{why}"
    );
    namespace(&mut run, "server").limits.as_mut().unwrap().subflows = 1;
    sockets(&mut run.1, Side::Server, |info, _| info.subflows_max = 1);
    let [only] = &broken(&run)[..] else { panic!("{:?}", broken(&run)) };
    assert!(only.starts_with("missing join-from-the-peer: join 10.0.1.1:8080 ← 10.0.3.2:"), "{only}");
}

#[test]
fn a_join_with_a_wrong_hmac_is_not_accepted() {
    let mut run = run("fullmesh-ipv4");
    for entry in &mut run.1.entries {
        let is_it = is_of(entry, "server", "10.0.4.1", "10.0.2.2");
        let Observation::Packet { direction: Direction::In, segment, .. } = &mut entry.what else { continue };
        for option in segment.options.iter_mut().filter(|_| is_it) {
            if let MptcpOption::MpJoinAck { hmac } = option {
                *hmac = "00".repeat(20);
            }
        }
    }
    // What follows on the subflow must not, either.
    let all = broken(&run);
    let (follows, own): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.starts_with("wrong join-handshake: "));
    assert!(matches!(own[..], [only] if only.starts_with("wrong join-from-the-peer: join 10.0.4.1:8080 ← 10.0.2.2:")));
    assert_eq!(follows.len(), 3, "{follows:?}");
}

/// Time enough between the handshake and the first step that closes the connection.
fn stretch(recording: &mut Recording) {
    let is_close =
        |entry: &Entry| matches!(&entry.what, Observation::StepStarted { text, .. } if text.contains("closes"));
    let last = recording.entries.iter().position(is_close).unwrap();
    recording.entries[last..].iter_mut().for_each(|entry| entry.at += 5_000_000_000);
}

#[test]
fn an_endpoint_that_is_not_used_is_missed() {
    let mut run = run("subflows-refused");
    forget(&mut run, "10.0.2.2", "10.0.1.1");
    stretch(&mut run.1);
    assert_eq!(broken(&run), ["missing subflow-from-each-endpoint: subflow 10.0.2.2 → 10.0.1.1:8080"]);
}

#[test]
fn endpoints_are_used_in_their_order() {
    let mut run = run("subflows-refused");
    forget(&mut run, "10.0.3.2", "10.0.1.1");
    sockets(&mut run.1, Side::Client, |info, _| {
        (info.subflows, info.subflows_total) = (1, info.subflows_total.map(|_| 2));
    });
    namespace(&mut run, "client").limits = Some(crate::mptcp::Limits { subflows: 1, add_addr_accepted: 0 });
    sockets(&mut run.1, Side::Client, |info, _| info.subflows_max = 1);
    assert_eq!(broken(&run), ["missing subflow-from-each-endpoint: subflow 10.0.3.2 → 10.0.1.1:8080"]);
}

#[test]
fn reasons_name_the_guard() {
    let rule = "subflow-from-each-endpoint";
    let limited = {
        let mut run = run("subflows-refused");
        forget(&mut run, "10.0.2.2", "10.0.1.1");
        namespace(&mut run, "client").limits = Some(crate::mptcp::Limits { subflows: 0, add_addr_accepted: 0 });
        stretch(&mut run.1);
        because(&run, rule, Outcome::NotDone)
    };
    assert_eq!(limited, "additional subflows 0 of limit 0");
    let changed = |change: fn(&mut Endpoint)| {
        let mut run = run("subflows-refused");
        forget(&mut run, "10.0.2.2", "10.0.1.1");
        change(&mut namespace(&mut run, "client").endpoints[1].0);
        because(&run, rule, Outcome::NotDone)
    };
    assert_eq!(
        changed(|endpoint| endpoint.flags = EndpointFlags::FULLMESH),
        "endpoint 10.0.2.2 (id 2, fullmesh): `fullmesh` without `subflow` is a source towards announced addresses only",
    );
    assert_eq!(
        changed(|endpoint| endpoint.address = "10.0.1.2".parse().unwrap()),
        "10.0.1.2 is the initial subflow's address: the endpoint has address ID 0 here",
    );
    assert_eq!(
        changed(|endpoint| endpoint.address = "10.0.7.7".parse().unwrap()),
        "client does not have the address 10.0.7.7 at that time: bind() fails (EADDRNOTAVAIL), and the kernel does not \
         try again",
    );
}

#[test]
fn an_announced_address_that_is_not_used_is_missed() {
    let mut run = run("endpoints-signal-ipv4");
    forget(&mut run, "10.0.2.2", "10.0.2.1");
    dumps(&mut run.1, "client", Vec::clear);
    stretch(&mut run.1);
    // Both rules are about it: one from the announcement, the other one from the subflow.
    let both = [
        "missing accept-announcements: ADD_ADDR id 5 10.0.2.1",
        "missing subflow-towards-an-announced-address: subflow * → 10.0.2.1:8080",
    ];
    assert_eq!(broken(&run), both);
    namespace(&mut run, "client").limits.as_mut().unwrap().add_addr_accepted = 0;
    sockets(&mut run.1, Side::Client, |info, _| info.add_addr_accepted_max = 0);
    assert_eq!(broken(&run), Vec::<String>::new());
    let why = because(&run, "subflow-towards-an-announced-address", Outcome::NotDone);
    assert_eq!(why, "add_addr_accepted 0: the announcement is echoed and then ignored");
}

#[test]
fn a_right_syn_ack_is_answered() {
    let mut run = run("endpoints-signal-ipv4");
    run.1.entries.retain(|entry| {
        let is_later =
            matches!(&entry.what, Observation::Packet { segment, .. } if !segment.flags.contains(TcpFlags::SYN));
        let is_joined = matches!(&entry.what, Observation::Event { namespace, event }
            if namespace == "client" && event.local == Some(ip("10.0.2.2")));
        !(is_joined || is_later && is_of(entry, "client", "10.0.2.2", "10.0.2.1"))
    });
    stretch(&mut run.1);
    assert_eq!(broken(&run), ["missing answer-to-a-join: subflow 10.0.2.2 → 10.0.2.1:8080"]);
}

#[test]
fn mptcp_info_counts_the_additional_subflows() {
    let what = "wrong subflows-in-mptcp-info: additional subflows in MPTCP_INFO";
    for number in [0, 5] {
        let mut run = run("fullmesh-ipv4");
        sockets(&mut run.1, Side::Client, |info, _| {
            (info.subflows, info.subflows_total) = (number, info.subflows_total.map(|_| number + 1));
        });
        assert_eq!(broken(&run), [what]);
    }
}

#[test]
fn mptcp_info_shows_limit_token_and_checksums() {
    type Change = fn(&mut MptcpInfo);
    let changes: [(Change, &str); 4] = [
        (|info| info.subflows_total = Some(info.subflows), "all subflows in MPTCP_INFO"),
        (|info| info.subflows_max = 7, "limit of additional subflows in MPTCP_INFO"),
        (|info| info.token ^= 1, "token in MPTCP_INFO"),
        (|info| info.csum_enabled = Some(1), "checksums in MPTCP_INFO"),
    ];
    for (change, what) in changes {
        let mut run = run("fullmesh-ipv4");
        sockets(&mut run.1, Side::Server, |info, _| change(info));
        assert_eq!(broken(&run), [format!("wrong subflows-in-mptcp-info: {what}")]);
    }
}

#[test]
fn the_socket_dump_shows_what_the_wire_shows() {
    type Change = fn(&mut SubflowState);
    let changes: [Change; 9] = [
        |state| state.local_id ^= 4,
        |state| state.token_local ^= 1,
        |state| state.flags |= SubflowFlags::MCAP_REM,
        |state| state.flags |= SubflowFlags::MCAP_LOC,
        |state| state.flags.remove(SubflowFlags::JOIN_REM),
        |state| state.flags.toggle(SubflowFlags::JOIN_LOC),
        |state| state.flags.remove(SubflowFlags::CONNECTED),
        |state| state.flags |= SubflowFlags::BKUP_REM,
        |state| state.remote.set_port(1),
    ];
    for change in changes {
        let mut run = run("fullmesh-ipv4");
        sockets(&mut run.1, Side::Client, |_, subflows| {
            let joined = subflows.iter_mut().filter(|state| state.local.ip() == ip("10.0.2.2"));
            joined.filter(|state| state.remote.ip() == ip("10.0.4.1")).for_each(change);
        });
        let all = broken(&run);
        // The backup flags are also compared with MP_PRIO.
        let is_it = |one: &String| {
            ["wrong subflows-in-sock-diag: ", "wrong show-announcements-and-priorities: backup of the peer"]
                .iter()
                .any(|rule| one.starts_with(rule))
        };
        assert!(!all.is_empty() && all.iter().all(is_it), "{all:?}");
    }
}

#[test]
fn the_socket_dump_shows_how_the_initial_subflow_began() {
    let flags = [
        SubflowFlags::MCAP_REM,
        SubflowFlags::MCAP_LOC,
        SubflowFlags::JOIN_REM,
        SubflowFlags::JOIN_LOC,
        SubflowFlags::CONNECTED,
    ];
    for (flag, side) in flags.into_iter().flat_map(|flag| [(flag, Side::Client), (flag, Side::Server)]) {
        let mut run = run("fullmesh-ipv4");
        let (client, server) = (ip("10.0.1.2"), ip("10.0.1.1"));
        sockets(&mut run.1, side, |_, subflows| {
            let ends = |state: &SubflowState| [state.local.ip().to_canonical(), state.remote.ip().to_canonical()];
            let initial =
                subflows.iter_mut().filter(|state| ends(state).contains(&client) && ends(state).contains(&server));
            initial
                .filter(|state| state.local_id == 0 && state.remote_id == 0)
                .for_each(|state| state.flags.toggle(flag));
        });
        let all = broken(&run);
        let is_it = |one: &String| one.starts_with("wrong subflows-in-sock-diag: initial subflow");
        assert!(!all.is_empty() && all.iter().all(is_it), "{flag:?}, {side:?}: {all:?}");
    }
}

#[test]
fn implicit_endpoints_have_a_subflow_and_subflows_have_an_endpoint() {
    let mut run = run("endpoints-signal-ipv4");
    dumps(&mut run.1, "client", |endpoints| {
        let mut other = endpoints[0].clone();
        other.address = ip("10.0.1.77");
        endpoints.push(other);
    });
    assert_eq!(broken(&run), ["wrong implicit-endpoints: implicit endpoint 10.0.1.77 of client"]);
    dumps(&mut run.1, "client", Vec::clear);
    assert_eq!(broken(&run), ["missing implicit-endpoints: an endpoint 10.0.2.2 of client"]);
}

#[test]
fn userspace_gets_what_it_asks_for_and_nothing_else() {
    let mut missing = run("userspace-create-subflow");
    forget(&mut missing, "10.0.3.2", "10.0.1.1");
    stretch(&mut missing.1);
    assert_eq!(broken(&missing), ["missing what-userspace-asks-for: subflow 10.0.3.2 → 10.0.1.1:8080"]);

    let mut unasked = run("userspace-create-subflow");
    let is_ask = |step: &crate::scenario::model::Step| {
        matches!(
            &step.action,
            crate::scenario::model::Action::Do(crate::scenario::model::Operation::CreateSubflow { .. })
        )
    };
    let step = unasked.0.steps.iter().position(is_ask).unwrap();
    unasked.0.steps[step].action =
        crate::scenario::model::Action::Do(crate::scenario::model::Operation::FlushEndpoints {
            namespace: "client".to_owned(),
        });
    assert_eq!(broken(&unasked), ["wrong subflow-has-a-reason: subflow 10.0.3.2 → 10.0.1.1:8080"]);
}

#[test]
fn a_destroyed_subflow_ends() {
    let mut run = run("userspace-create-subflow");
    run.1.entries.retain(|entry| {
        let ends = matches!(&entry.what, Observation::Packet { segment, .. }
            if segment.flags.intersects(TcpFlags::FIN | TcpFlags::RST));
        let is_closed = matches!(&entry.what, Observation::Event { namespace, event }
            if namespace == "client" && event.local == Some(ip("10.0.3.2")) && event.kind == crate::mptcp::EventKind::SubClosed);
        !(is_closed || ends && is_of(entry, "client", "10.0.3.2", "10.0.1.1"))
    });
    sockets(&mut run.1, Side::Client, |info, _| info.subflows = 1);
    stretch(&mut run.1);
    let all = broken(&run);
    assert_eq!(all[0], "wrong what-userspace-asks-for: subflow 10.0.3.2 → 10.0.1.1:8080", "{all:?}");
}

#[test]
fn nothing_is_announced_after_a_fallback() {
    let mut run = run("mp-fail-infinite-mapping");
    let is_infinite = |entry: &Entry| {
        matches!(&entry.what, Observation::Packet { direction: Direction::Out, segment, .. }
            if segment.options.iter().any(super::facts::is_infinite))
    };
    let at = run.1.entries.iter().position(is_infinite).unwrap();
    let mut copy = run.1.entries[at].clone();
    copy.at += 1;
    let Observation::Packet { segment, .. } = &mut copy.what else { unreachable!() };
    let body = crate::wire::AddAddrBody { address: ip("10.0.2.1"), port: None, hmac: None };
    segment.options = vec![MptcpOption::AddAddr { echo: false, address_id: 2, body }];
    run.1.entries.insert(at + 1, copy);
    // It is an option after the fallback, and nothing announces that address.
    let all = [
        "wrong fallback: no option after the fallback, 10.0.1.2:46808 → 10.0.1.1:8080",
        "wrong announce-only-signal-endpoints: ADD_ADDR id 2 10.0.2.1",
        "wrong nothing-after-a-fallback: ADD_ADDR id 2 10.0.2.1",
    ];
    assert_eq!(broken(&run), all);
}

#[test]
fn no_recording_panics_however_it_is_cut() {
    for name in ["fullmesh-ipv4", "userspace-create-subflow"] {
        let (scenario, recording) = run(name);
        for length in 0..recording.entries.len() {
            let cut = Recording { header: recording.header.clone(), entries: recording.entries[..length].to_vec() };
            assert_eq!(broken(&(scenario.clone(), cut)), Vec::<String>::new(), "{name} after {length} entries");
        }
    }
}

/// A SYN/ACK that was answered with a RST: the SYN comes again, and the third ACK answers the second SYN/ACK.
#[test]
fn a_join_that_was_answered_twice() {
    let mut run = run("fullmesh-ipv4");
    let is_answer = |entry: &Entry| {
        matches!(&entry.what, Observation::Packet { namespace, direction: Direction::Out, segment, .. }
            if namespace.as_str() == "server"
                && segment.options.iter().any(|option| matches!(option, MptcpOption::MpJoinSynAck { .. })))
    };
    let first = run.1.entries.iter().position(is_answer).unwrap();
    let mut earlier = run.1.entries[first].clone();
    let Observation::Packet { segment, .. } = &mut earlier.what else { unreachable!() };
    for option in &mut segment.options {
        if let MptcpOption::MpJoinSynAck { nonce, .. } = option {
            *nonce ^= 1;
        }
    }
    run.1.entries.insert(first, earlier);
    let of_joins: Vec<String> = broken(&run).into_iter().filter(|one| one.contains("join-from-the-peer")).collect();
    assert_eq!(of_joins, [""; 0]);
    assert!(because(&run, "join-from-the-peer", Outcome::Done).contains("limit"));
}
