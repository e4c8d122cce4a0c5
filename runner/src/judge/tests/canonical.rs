//! The canonical form: what it shows, what it doesn't, and that all orders that the kernel may report give the same.

use proptest::prelude::*;

use crate::judge::canonical;
use crate::mptcp::{Endpoint, EndpointFlags, EventKind, PmEvent};
use crate::recording::{Moment, Observation, Side};
use crate::scenario::model::{Action, Feature, TransferPlan};
use crate::wire::{AddAddrBody, MptcpOption, TcpFlags};

use super::fixture::{
    CLIENT_TOKEN, DEADLINE, Run, SERVER_TOKEN, add_addr, announced, capable, dss, echo, ip, subflow, transfer_plan,
    with_ends,
};

pub(super) fn text(run: &Run) -> String {
    canonical(&run.scenario, &run.recording)
}

pub(super) const GOOD: &str = "\
connections:
  main: 10.0.1.2 > 10.0.1.1:8080, MPTCP

events of client:
  created main 10.0.1.2 > 10.0.1.1:8080
  established main 10.0.1.2 > 10.0.1.1:8080
  announced main id 1 10.0.4.1
  sub_established main 10.0.2.2 > 10.0.1.1:8080 local_id 1 remote_id 0
  sub_established main 10.0.3.2 > 10.0.4.1:8080 local_id 2 remote_id 1
  closed main

events of server:
  created main 10.0.1.1:8080 > 10.0.1.2
  established main 10.0.1.1:8080 > 10.0.1.2
  sub_established main 10.0.1.1:8080 > 10.0.2.2 local_id 0 remote_id 1
  sub_established main 10.0.4.1:8080 > 10.0.3.2 local_id 1 remote_id 2
  closed main

wire of main, without checksums:
  10.0.1.2 > 10.0.1.1:8080
    > mp_capable syn
    < mp_capable synack
    > mp_capable ack
  10.0.2.2 > 10.0.1.1:8080
    > mp_join syn id 1
    < mp_join synack id 0
    > mp_join ack
  10.0.3.2 > 10.0.4.1:8080
    > mp_join syn id 2
    < mp_join synack id 1
    > mp_join ack
  from the client:
    add_addr_echo id 1 10.0.4.1
    data_fin
  from the server:
    add_addr id 1 10.0.4.1
    data_fin

counters of client:
  MPTcpExtAddAddr 1

counters of server:
  MPTcpExtMPJoinAckRx 2
  MPTcpExtMPJoinSynRx 2

subflows of main, client side:
  10.0.1.2 > 10.0.1.1:8080 local_id 0 remote_id 0
  10.0.2.2 > 10.0.1.1:8080 local_id 1 remote_id 0
  10.0.3.2 > 10.0.4.1:8080 local_id 2 remote_id 1

info of main, client side:
  subflows 2
  add_addr_signal 0
  add_addr_accepted 0
  subflows_max 4
  add_addr_signal_max 0
  add_addr_accepted_max 0

subflows of main, server side:
  10.0.1.1:8080 > 10.0.1.2 local_id 0 remote_id 0
  10.0.1.1:8080 > 10.0.2.2 local_id 0 remote_id 1
  10.0.4.1:8080 > 10.0.3.2 local_id 1 remote_id 2

info of main, server side:
  subflows 2
  add_addr_signal 0
  add_addr_accepted 0
  subflows_max 4
  add_addr_signal_max 0
  add_addr_accepted_max 0

endpoints of client:
  10.0.2.2 id 1 subflow
  10.0.3.2 id 2 subflow

limits:
  client: add_addr_accepted 1 subflows 4
  server: add_addr_accepted 1 subflows 4
";

#[test]
fn the_whole_form() {
    similar_lines(&text(&Run::good()), GOOD);
}

pub(super) fn similar_lines(left: &str, right: &str) {
    let diff = similar::TextDiff::from_lines(right, left).unified_diff().to_string();
    assert!(left == right, "{diff}");
}

/// What a change of the behaviour does to the text.
fn changes(change: impl FnOnce(&mut Run)) -> bool {
    let mut run = Run::good();
    change(&mut run);
    text(&run) != GOOD
}

#[test]
fn what_differs_from_run_to_run_does_not_show() {
    let json = serde_json::to_string(&Run::good().recording).unwrap();
    let tokens = [(CLIENT_TOKEN.to_string(), "77001"), (SERVER_TOKEN.to_string(), "77002")];
    let ports = [("40001", "51111"), ("40002", "52222"), ("40003", "53333")];
    let ports = ports.map(|(old, new)| (old.to_owned(), new));
    let keys = [("4711".to_owned(), "815"), ("4712".to_owned(), "816"), ("\"hmac\":99".to_owned(), "\"hmac\":98")];
    let mut other = json.clone();
    for (old, new) in tokens.into_iter().chain(ports).chain(keys) {
        assert!(other.contains(&old), "{old}");
        other = other.replace(&old, new);
    }
    let mut run = Run::good();
    run.recording = serde_json::from_str(&other).unwrap();
    similar_lines(&text(&run), GOOD);
}

#[test]
fn retransmissions_do_not_show() {
    let mut run = Run::good();
    let (client, server) = ("10.0.1.2:40001", "10.0.1.1:8080");
    run.segment(client, server, TcpFlags::SYN, vec![capable(false, false)]);
    run.segment(server, client, TcpFlags::ACK, vec![add_addr(1, "10.0.4.1")]);
    run.segment(client, server, TcpFlags::ACK, vec![echo(1, "10.0.4.1")]);
    run.segment(client, server, TcpFlags::ACK, vec![dss(true, 1), dss(false, 9)]);
    run.event("client", announced(1, "10.0.4.1"));
    run.change(|what| match what {
        Observation::Counters { namespace, moment: Moment::End, values } => {
            *values.entry("MPTcpExtAddAddr".to_owned()).or_default() += u64::from(namespace == "client");
            *values.entry("MPTcpExtMPTCPRetrans".to_owned()).or_default() += 17;
            true
        }
        _ => false,
    });
    similar_lines(&text(&run), GOOD);
}

#[test]
fn repetitions_with_a_port_are_taken_off_their_counter() {
    let text = |times: u64| {
        let mut run = Run::good();
        for _ in 0..times {
            for (from, to, echo) in
                [("10.0.1.1:8080", "10.0.1.2:40001", false), ("10.0.1.2:40001", "10.0.1.1:8080", true)]
            {
                let body = AddAddrBody { address: ip("10.0.4.1"), port: Some(8081), hmac: None };
                run.segment(from, to, TcpFlags::ACK, vec![MptcpOption::AddAddr { echo, address_id: 2, body }]);
            }
        }
        run.change(|what| match what {
            Observation::Counters { moment: Moment::End, values, .. } => {
                values.insert("MPTcpExtPortAdd".to_owned(), times);
                values.insert("MPTcpExtMPTCPRetrans".to_owned(), times);
                true
            }
            _ => false,
        });
        text(&run)
    };
    similar_lines(&text(3), &text(1));
    assert_eq!(text(3).matches("MPTcpExtPortAdd 1\n").count(), 2, "both sides receive: the address, and its echo");
}

#[test]
fn an_address_that_is_announced_anew_shows_again() {
    let mut run = Run::good();
    let removed = PmEvent { token: Some(CLIENT_TOKEN), remote_id: Some(1), ..PmEvent::new(EventKind::Removed) };
    run.event("client", removed);
    run.event("client", announced(1, "10.0.4.1"));
    assert_eq!(text(&run).matches("announced main id 1 10.0.4.1").count(), 2);
}

#[test]
fn behaviour_shows() {
    assert!(changes(
        |run| run.remove(|what| matches!(what, Observation::Event { event, .. } if event.kind == EventKind::Announced))
    ));
    assert!(changes(|run| run.join("10.0.4.2:40004", "10.0.1.1:8080", 3, 0)));
    assert!(changes(|run| run.join("10.0.2.2:40005", "10.0.1.1:8080", 1, 0)), "the same addresses again");
    assert!(changes(|run| run.segment(
        "10.0.2.2:40002",
        "10.0.1.1:8080",
        TcpFlags::ACK,
        vec![MptcpOption::MpPrio { backup: true }]
    )));
    assert!(changes(|run| run.segment(
        "10.0.1.2:40001",
        "10.0.1.1:8080",
        TcpFlags::RST,
        vec![MptcpOption::MpFastclose { receiver_key: 1 }]
    )));
    assert!(changes(|run| run.change(|what| match what {
        Observation::Counters { moment: Moment::End, values, .. } => {
            values.insert("MPTcpExtMPJoinSynRx".to_owned(), 99);
            true
        }
        _ => false,
    })));
    assert!(changes(|run| run.change(|what| match what {
        Observation::Sockets { moment: Moment::BeforeClose, subflows, .. } =>
            subflows.pop().is_some() && subflows.pop().is_some(),
        _ => false,
    })));
    assert!(changes(|run| run.change(|what| match what {
        Observation::Limits { moment: Moment::End, limits, .. } => {
            limits.subflows = 5;
            true
        }
        _ => false,
    })));
    assert!(changes(|run| run.change(|what| match what {
        Observation::Endpoints { moment: Moment::End, endpoints, .. } => endpoints.pop().is_some(),
        _ => false,
    })));
    assert!(changes(|run| run.change(|what| match what {
        Observation::Connected { connection } => {
            connection.server_token = None;
            true
        }
        _ => false,
    })));
}

#[test]
fn a_second_subflow_between_the_same_addresses_has_a_number() {
    let mut run = Run::good();
    run.join("10.0.2.2:40005", "10.0.1.1:8080", 1, 0);
    let text = text(&run);
    assert!(text.contains("sub_established main 10.0.2.2 > 10.0.1.1:8080 #2 local_id 1"), "{text}");
    assert!(text.contains("  10.0.2.2 > 10.0.1.1:8080 #2\n    > mp_join syn id 1"), "{text}");
}

/// The kernel chooses the ports of subflows by chance (`inet_csk_find_open_port`, net/ipv4/inet_connection_sock.c).
#[test]
fn the_next_subflow_has_a_number_even_if_it_has_the_same_ports() {
    let of = |second: &str| {
        let mut run = Run::good();
        let (client, server) = ("10.0.2.2:40005", "10.0.1.1:8080");
        run.join(client, server, 1, 0);
        run.event("client", subflow(EventKind::SubClosed, CLIENT_TOKEN, client, server, (1, 0)));
        run.event("server", subflow(EventKind::SubClosed, SERVER_TOKEN, server, client, (0, 1)));
        let before = run.recording.entries.len();
        run.join(second, server, 1, 0);
        for entry in run.recording.entries.iter_mut().skip(before - 1) {
            if let Observation::Packet { segment, .. } = &mut entry.what {
                segment.sequence = 1000;
            }
        }
        text(&run)
    };
    let same = of("10.0.2.2:40005");
    assert_eq!(same, of("10.0.2.2:40006"));
    assert!(same.contains("sub_established main 10.0.2.2 > 10.0.1.1:8080 #3 local_id 1"), "{same}");
    assert!(same.contains("  10.0.2.2 > 10.0.1.1:8080 #3\n    > mp_join syn id 1"), "{same}");
}

#[test]
fn counters_of_later_kernels_show_only_if_they_are_required() {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Counters { moment: Moment::End, values, .. } => {
            values.insert("MPTcpExtMPJoinSynTx".to_owned(), 2);
            true
        }
        _ => false,
    });
    similar_lines(&text(&run), GOOD);
    run.scenario.requires.push(Feature::Counter("MPTcpExtMPJoinSynTx".to_owned()));
    assert!(text(&run).contains("  MPTcpExtMPJoinSynTx 2\n"));
}

#[test]
fn listeners_show_only_if_they_are_required() {
    let listener =
        PmEvent { local: Some(ip("0.0.0.0")), local_port: Some(8080), ..PmEvent::new(EventKind::ListenerCreated) };
    let mut run = Run::good();
    run.event("server", listener);
    similar_lines(&text(&run), GOOD);
    run.scenario.requires.push(Feature::ListenerEvents);
    assert!(text(&run).contains("\n  listener_created 0.0.0.0:8080\n  closed main\n"));
}

#[test]
fn ids_of_several_implicit_endpoints_have_no_numbers() {
    let with_ids = |first: u8, second: u8| {
        let mut run = Run::good();
        run.change(|what| match what {
            Observation::Endpoints { namespace, endpoints, .. } if namespace == "client" => {
                for (endpoint, id) in endpoints.iter_mut().zip([first, second]) {
                    *endpoint = Endpoint { id: Some(id), flags: EndpointFlags::IMPLICIT, ..endpoint.clone() };
                }
                true
            }
            _ => false,
        });
        let swap = |id: &mut u8| *id = if *id == 1 { first } else { second };
        run.change(|what| match what {
            Observation::Event { namespace, event } if event.kind == EventKind::SubEstablished => {
                let id = if namespace == "client" { &mut event.local_id } else { &mut event.remote_id };
                id.as_mut().map(swap).is_some()
            }
            Observation::Packet { segment, .. } => match segment.options.first_mut() {
                Some(MptcpOption::MpJoinSyn { address_id, .. }) => {
                    swap(address_id);
                    true
                }
                _ => false,
            },
            Observation::Sockets { side, subflows, .. } => {
                for subflow in subflows.iter_mut().skip(1) {
                    swap(if *side == Side::Client { &mut subflow.local_id } else { &mut subflow.remote_id });
                }
                true
            }
            _ => false,
        });
        text(&run)
    };
    similar_lines(&with_ids(1, 2), &with_ids(2, 1));
    assert!(with_ids(1, 2).contains("10.0.2.2 > 10.0.1.1:8080 local_id implicit remote_id 0"));
}

#[test]
fn a_reset_in_the_middle_of_a_transfer_is_a_matter_of_luck() {
    let closed = |error: Option<u8>, background: bool| {
        let mut run = Run::good();
        for step in &mut run.scenario.steps {
            if let Action::Transfer(plan) = &mut step.action {
                *plan = TransferPlan { background, ..transfer_plan() };
            }
        }
        let ends = ("10.0.2.2:40002", "10.0.1.1:8080");
        let event = subflow(EventKind::SubClosed, CLIENT_TOKEN, ends.0, ends.1, (1, 0));
        run.event("client", PmEvent { error, ..event });
        text(&run)
    };
    assert_ne!(closed(None, false), closed(Some(104), false));
    similar_lines(&closed(None, true), &closed(Some(104), true));
    assert_ne!(closed(None, true), closed(Some(111), true), "a refused join is no matter of luck");
}

#[test]
fn who_resets_what_after_a_fastclose_does_not_show() {
    let abrupt = |reset: bool| {
        let mut run = Run::good();
        let fastclose = MptcpOption::MpFastclose { receiver_key: 1 };
        run.segment("10.0.1.2:40001", "10.0.1.1:8080", TcpFlags::RST, vec![fastclose]);
        if reset {
            let reset = MptcpOption::MpTcprst { flags: 0, reason: 1 };
            run.segment("10.0.1.1:8080", "10.0.2.2:40002", TcpFlags::RST, vec![reset]);
        }
        text(&run)
    };
    similar_lines(&abrupt(false), &abrupt(true));
}

#[test]
fn an_address_that_nobody_knows_is_no_trouble() {
    let mut run = Run::good();
    run.event("client", with_ends(EventKind::Created, 0x9999, "10.0.1.2:40077", "10.0.1.1:8080"));
    assert!(text(&run).contains("  created token-1 10.0.1.2 > 10.0.1.1:8080\n"));
}

/// Events of the client of one connection, with what must come before each: what the kernel promises, and nothing
/// else. Written down by hand, so that it is independent of the implementation.
fn promised() -> Vec<(PmEvent, Vec<usize>)> {
    let (client, server) = ("10.0.1.2:40001", "10.0.1.1:8080");
    let sub =
        |kind: EventKind, local: &str, remote: &str, ids: (u8, u8)| subflow(kind, CLIENT_TOKEN, local, remote, ids);
    let removed = PmEvent { token: Some(CLIENT_TOKEN), remote_id: Some(1), ..PmEvent::new(EventKind::Removed) };
    let priority =
        PmEvent { backup: Some(1), ..sub(EventKind::SubPriority, "10.0.2.2:40002", "10.0.1.1:8080", (1, 0)) };
    vec![
        (with_ends(EventKind::Created, CLIENT_TOKEN, client, server), vec![]),
        (with_ends(EventKind::Established, CLIENT_TOKEN, client, server), vec![0]),
        (announced(1, "10.0.4.1"), vec![1]),
        (announced(2, "10.0.3.1"), vec![1]),
        (sub(EventKind::SubEstablished, "10.0.2.2:40002", "10.0.1.1:8080", (1, 0)), vec![1]),
        (sub(EventKind::SubEstablished, "10.0.3.2:40003", "10.0.1.1:8080", (2, 0)), vec![1]),
        (sub(EventKind::SubEstablished, "10.0.2.2:40004", "10.0.4.1:8080", (1, 1)), vec![2]),
        (sub(EventKind::SubEstablished, "10.0.3.2:40005", "10.0.3.1:8080", (2, 2)), vec![3]),
        (priority, vec![4]),
        // The REMOVE_ADDR and the FIN of its subflow race.
        (removed, vec![6]),
        (sub(EventKind::SubClosed, "10.0.2.2:40004", "10.0.4.1:8080", (1, 1)), vec![6]),
        // Another one between the same addresses.
        (sub(EventKind::SubClosed, "10.0.3.2:40003", "10.0.1.1:8080", (2, 0)), vec![5]),
        (sub(EventKind::SubEstablished, "10.0.3.2:40006", "10.0.1.1:8080", (2, 0)), vec![11]),
        (PmEvent { token: Some(CLIENT_TOKEN), ..PmEvent::new(EventKind::Closed) }, (0..13).collect()),
    ]
}

/// A run whose client reports these events, in the order that the choices make of what is possible.
fn reported(choices: &[usize]) -> String {
    let mut run = Run::good();
    run.remove(|what| matches!(what, Observation::Event { namespace, .. } if namespace == "client"));
    let events = promised();
    let mut done = vec![false; events.len()];
    for choice in choices {
        let possible: Vec<usize> = (0..events.len())
            .filter(|index| !done[*index] && events[*index].1.iter().all(|before| done[*before]))
            .collect();
        let index = possible[choice % possible.len()];
        done[index] = true;
        run.event("client", events[index].0.clone());
    }
    text(&run)
}

proptest! {
    #[test]
    fn each_order_that_the_kernel_may_report_gives_the_same_text(
        choices in prop::collection::vec(any::<usize>(), 14),
    ) {
        prop_assert_eq!(reported(&choices), reported(&[0; 14]));
    }
}

#[test]
fn nothing_changes_places_across_a_quiet_step() {
    let first = |run: &mut Run| run.join("10.0.4.2:40004", "10.0.1.1:8080", 3, 0);
    let second = |run: &mut Run| run.join("10.0.2.2:40005", "10.0.4.1:8080", 1, 1);
    let quiet = || Action::Quiet { period: DEADLINE, deadline: DEADLINE };
    let with = |wall: bool, swapped: bool| {
        let mut run = Run::good();
        if swapped {
            second(&mut run);
        } else {
            first(&mut run);
        }
        if wall {
            run.step(quiet(), |_| {});
        }
        if swapped {
            first(&mut run);
        } else {
            second(&mut run);
        }
        text(&run)
    };
    assert_eq!(with(false, false), with(false, true));
    assert_ne!(with(true, false), with(true, true));
}
