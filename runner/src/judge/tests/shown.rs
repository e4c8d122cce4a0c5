//! Each thing that the canonical form shows, in its words.

use crate::mptcp::{Endpoint, EndpointFlags, EventKind, MptcpInfo, SubflowFlags};
use crate::recording::{Entry, Moment, Observation, Side};
use crate::scenario::model::Action;
use crate::wire::{DssMapping, MptcpOption, TcpFlags};

use super::canonical::{GOOD, similar_lines, text};
use super::fixture::{Run, add_addr, announced, capable, echo, ip};

const CLIENT: &str = "10.0.1.2:40001";
const SERVER: &str = "10.0.1.1:8080";

/// The lines that a change brings, each once for each time, without what is before and after them.
fn new_lines(change: impl FnOnce(&mut Run)) -> Vec<String> {
    let mut run = Run::good();
    change(&mut run);
    let mut before: Vec<&str> = GOOD.lines().collect();
    let text = text(&run);
    let is_new = |line: &&str| match before.iter().position(|old| old == line) {
        Some(index) => {
            before.remove(index);
            false
        }
        None => true,
    };
    text.lines().filter(is_new).map(|line| line.trim().to_owned()).collect()
}

fn said(option: MptcpOption) -> Vec<String> {
    new_lines(|run| run.segment(CLIENT, SERVER, TcpFlags::ACK, vec![option]))
}

fn mapped(length: u16, checksum: Option<u16>) -> MptcpOption {
    let mapping = DssMapping { data_sequence: 1, wide: true, subflow_sequence: 1, length, checksum };
    MptcpOption::Dss { data_fin: false, data_ack: None, mapping: Some(mapping) }
}

#[test]
fn options_of_a_connection() {
    assert_eq!(said(mapped(0, None)), ["infinite_mapping"]);
    assert_eq!(said(MptcpOption::MpFastclose { receiver_key: 1 }), ["mp_fastclose"]);
    assert_eq!(said(MptcpOption::RemoveAddr { address_ids: vec![1, 2] }), ["remove_addr id 1 2"]);
    assert_eq!(said(mapped(9, Some(7))), ["wire of main, checksums in a part:"]);
}

#[test]
fn options_of_a_subflow() {
    assert_eq!(said(MptcpOption::MpFail { data_sequence: 1 }), ["> mp_fail"]);
    assert_eq!(said(MptcpOption::MpTcprst { flags: 0, reason: 1 }), ["> mp_tcprst reason 1"]);
    assert_eq!(said(MptcpOption::MpTcprst { flags: 1, reason: 0 }), ["> mp_tcprst reason 0 flags 0x1"]);
    let malformed = MptcpOption::Malformed { subtype: Some(9), bytes: "1e0390".to_owned() };
    assert_eq!(said(malformed), ["> malformed option subtype 9"]);
    assert_eq!(said(MptcpOption::MpPrio { backup: true }), ["> mp_prio backup"]);
    assert_eq!(said(MptcpOption::MpPrio { backup: false }), ["> mp_prio no backup"]);
}

#[test]
fn handshakes() {
    let capable = |facts: (u8, u8)| {
        let MptcpOption::MpCapable { sender_key, receiver_key, data_length, checksum, .. } = capable(false, false)
        else {
            panic!("it is MP_CAPABLE")
        };
        let (version, flags) = facts;
        said(MptcpOption::MpCapable { version, flags, sender_key, receiver_key, data_length, checksum })
    };
    assert_eq!(capable((1, 0x81)), ["> mp_capable syn checksum"]);
    assert_eq!(capable((1, 0x21)), ["> mp_capable syn deny_join_id0"]);
    assert_eq!(capable((1, 0x41)), ["> mp_capable syn flags 0x41"]);
    assert_eq!(capable((0, 1)), ["> mp_capable syn version 0"]);
    let join = MptcpOption::MpJoinSyn { backup: true, address_id: 3, token: super::fixture::SERVER_TOKEN, nonce: 1 };
    let lines = new_lines(|run| run.segment("10.0.3.2:40009", SERVER, TcpFlags::SYN, vec![join]));
    assert_eq!(lines, ["10.0.3.2 > 10.0.1.1:8080", "> mp_join syn id 3 backup"]);
}

#[test]
fn what_is_removed_is_said_once_and_may_come_again() {
    let removal = || MptcpOption::RemoveAddr { address_ids: vec![1] };
    let announce = |run: &mut Run| {
        run.segment(SERVER, CLIENT, TcpFlags::ACK, vec![add_addr(1, "10.0.4.1")]);
        run.segment(CLIENT, SERVER, TcpFlags::ACK, vec![echo(1, "10.0.4.1")]);
    };
    let lines = new_lines(|run| {
        run.segment(SERVER, CLIENT, TcpFlags::ACK, vec![removal()]);
        run.segment(SERVER, CLIENT, TcpFlags::ACK, vec![removal()]);
        announce(run);
        announce(run);
    });
    assert_eq!(lines, ["add_addr_echo id 1 10.0.4.1", "remove_addr id 1", "add_addr id 1 10.0.4.1"]);
}

fn with_info(info: &MptcpInfo) -> Vec<String> {
    new_lines(|run| {
        run.change(|what| match what {
            Observation::Sockets { side: Side::Client, moment: Moment::BeforeClose, info: old, .. } => {
                *old = Some(Box::new(info.clone()));
                true
            }
            _ => false,
        });
    })
}

#[test]
fn fields_of_mptcp_info() {
    let usual = MptcpInfo { subflows: 2, subflows_max: 4, flags: 2, ..MptcpInfo::default() };
    assert_eq!(with_info(&usual), [] as [&str; 0]);
    assert_eq!(with_info(&MptcpInfo { flags: 3, ..usual.clone() }), ["fallback"]);
    let younger = MptcpInfo { local_addr_used: Some(3), local_addr_max: Some(2), csum_enabled: Some(1), ..usual };
    assert_eq!(with_info(&younger), ["local_addr_max 2", "local_addr_used 3", "csum_enabled 1"]);
}

#[test]
fn limits_of_a_userspace_path_manager_are_no_fields() {
    let mut run = Run::good();
    run.scenario.world.namespaces[0].userspace_path_manager = true;
    let (before, after) = (GOOD.matches("_max ").count(), text(&run).matches("_max ").count());
    assert_eq!((before, after), (6, 3));
}

#[test]
fn flags_and_devices_of_subflows() {
    let lines = new_lines(|run| {
        run.change(|what| match what {
            Observation::Sockets { side: Side::Client, moment: Moment::BeforeClose, subflows, .. } => {
                subflows[1].flags |= SubflowFlags::BKUP_LOC;
                subflows[2].flags |= SubflowFlags::BKUP_REM;
                subflows[2].dev = Some("eth3".to_owned());
                true
            }
            _ => false,
        });
    });
    let expected = [
        "10.0.2.2 > 10.0.1.1:8080 local_id 1 remote_id 0 backup_local",
        "10.0.3.2 > 10.0.4.1:8080 local_id 2 remote_id 1 backup_remote dev eth3",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn counters_that_can_t_be_the_same_each_time() {
    let counted = |name: &str, fastclose: bool| {
        new_lines(|run| {
            if fastclose {
                run.segment(CLIENT, SERVER, TcpFlags::RST, vec![MptcpOption::MpFastclose { receiver_key: 1 }]);
            }
            run.change(|what| match what {
                Observation::Counters { namespace, moment: Moment::End, values } if namespace == "client" => {
                    values.insert(name.to_owned(), 3);
                    true
                }
                _ => false,
            });
        })
    };
    assert_eq!(counted("MPTcpExtMPFastcloseTx", false), ["MPTcpExtMPFastcloseTx moved"]);
    assert_eq!(counted("MPTcpExtMPRstTx", false), ["MPTcpExtMPRstTx 3"]);
    assert_eq!(counted("MPTcpExtMPRstTx", true), ["mp_fastclose"]);
    assert_eq!(counted("MPTcpExtOFOQueue", false), [] as [&str; 0]);
}

#[test]
fn an_implicit_endpoint_that_somebody_took_over_tells_what_its_id_was() {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Endpoints { namespace, moment, endpoints } if namespace == "server" => {
            let taken = if *moment == Moment::End { EndpointFlags::SUBFLOW } else { EndpointFlags::IMPLICIT };
            *endpoints = [("10.0.1.1", 7, taken), ("10.0.4.1", 8, EndpointFlags::IMPLICIT)]
                .map(|(address, id, flags)| Endpoint {
                    address: ip(address),
                    port: None,
                    id: Some(id),
                    flags,
                    dev: None,
                })
                .to_vec();
            true
        }
        _ => false,
    });
    let text = text(&run);
    assert!(text.contains("endpoints of server:\n  10.0.1.1 subflow id implicit\n  10.0.4.1 implicit\n"), "{text}");
}

/// Events that depend on each other keep their order; a subflow that comes and goes is not one that goes and comes.
#[test]
fn the_order_of_dependent_events() {
    let order = |first: usize, second: usize| {
        let mut run = Run::good();
        let index = |nth| run.event_index("client", EventKind::SubEstablished, nth);
        let (established, mut closed) = (index(0), run.recording.entries[index(0)].clone());
        if let Observation::Event { event, .. } = &mut closed.what {
            event.kind = EventKind::SubClosed;
        }
        run.recording.entries.insert(established + 1, closed);
        run.recording.entries.swap(established + first, established + second);
        text(&run)
    };
    let (closed_last, closed_first) = (order(0, 0), order(0, 1));
    assert_ne!(closed_last, closed_first);
    let place = |text: &str, word: &str| text.find(word).unwrap();
    let both = ["  sub_established main 10.0.2.2", "  sub_closed main 10.0.2.2"];
    let [established, closed] = both.map(|word| place(&closed_last, word));
    assert!(established < closed, "{closed_last}");
    let [established, closed] = both.map(|word| place(&closed_first, word));
    assert!(closed < established, "{closed_first}");
}

/// An address that is announced when it is in use already is not one that is used when it is announced.
#[test]
fn what_follows_upon_a_use_stays_behind_it() {
    let mut run = Run::good();
    let used = run.event_index("client", EventKind::SubEstablished, 1);
    let at = run.recording.entries[used].at;
    let event = announced(5, "10.0.4.1");
    let what = Observation::Event { namespace: "client".to_owned(), event: Box::new(event) };
    run.recording.entries.insert(used + 1, Entry { at, what });
    let text = text(&run);
    let place = |word: &str| text.find(word).unwrap();
    assert!(place("  sub_established main 10.0.3.2 > 10.0.4.1") < place("  announced main id 5 10.0.4.1"), "{text}");
}

#[test]
fn resets_without_a_reason_race_with_data() {
    let reset = |background: bool, reason: u8| {
        new_lines(|run| {
            for step in &mut run.scenario.steps {
                if let Action::Transfer(plan) = &mut step.action {
                    plan.background = background;
                }
            }
            run.segment(CLIENT, SERVER, TcpFlags::RST, vec![MptcpOption::MpTcprst { flags: 0, reason }]);
        })
    };
    assert_eq!(reset(false, 0), ["> mp_tcprst reason 0"]);
    assert_eq!(reset(true, 0), [] as [&str; 0]);
    assert_eq!(reset(true, 1), ["> mp_tcprst reason 1"]);
}

/// What a router sees is what its neighbours have sent.
#[test]
fn segments_on_their_way_are_not_shown_again() {
    let mut run = Run::good();
    for entry in Run::good().recording.entries {
        let Observation::Packet { direction, mut segment, .. } = entry.what else { continue };
        segment.sequence += 1;
        let (namespace, device) = ("router".into(), "left".into());
        run.push(Observation::Packet { namespace, device, direction, segment });
    }
    similar_lines(&text(&run), GOOD);
}
