//! What a recording tells of why a run failed.

use super::fixture::{CLIENT_TOKEN, Run, add_addr, announced, ip};
use crate::judge::{Finding, FindingKind, Idle, Reason, Unused, verdict};
use crate::mptcp::{EndpointFlags, EventKind, PmEvent};
use crate::recording::{Direction, Moment, Observation, PathEffect, StepOutcome, Timeout};
use crate::scenario::model::{Action, Address, Operation};
use crate::wire::TcpFlags;

/// The good run, but its last step timed out.
fn failing() -> Run {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::StepFinished { step: 4, outcome } => {
            *outcome = StepOutcome::TimedOut(Timeout {
                after: Some(300_000_000),
                ..Timeout::in_words("the end", "there is none")
            });
            true
        }
        _ => false,
    });
    run
}

fn reasons(run: &Run) -> Vec<Reason> {
    let mut findings = run.findings();
    findings.iter_mut().flat_map(|finding| std::mem::take(&mut finding.reasons)).collect()
}

fn words(run: &Run) -> String {
    let mut words: Vec<String> = reasons(run).iter().map(ToString::to_string).collect();
    words.push(String::new());
    words.join("\n")
}

#[test]
fn a_run_that_passes_has_no_reasons() {
    assert_eq!(reasons(&Run::good()), []);
}

#[test]
fn only_the_first_finding_has_reasons() {
    let mut run = failing();
    run.change(|what| match what {
        Observation::Sockets { info, .. } => {
            if let Some(info) = info {
                info.subflows_max = 2;
            }
            true
        }
        _ => false,
    });
    assert!(words(&run).contains("client: `main` has 2 of at most 2 additional subflows (limit `subflows`)\n"));
    let with_reasons = |finding: &&Finding| !finding.reasons.is_empty();
    assert_eq!(run.findings().iter().filter(with_reasons).count(), 1);
    assert!(matches!(
        verdict(&run.scenario, &run.recording, crate::judge::Snapshots::Compare),
        crate::judge::Verdict::Failed(_)
    ));
}

#[test]
fn a_timeout_is_said_once() {
    let findings = failing().findings();
    assert_eq!(findings[0].kind, FindingKind::Deadline);
    assert_eq!(findings[0].summary, "step 5 timed out after 300 ms waiting for the end; there is none");
    assert!(!findings[0].detail.contains("there is none"), "{}", findings[0].detail);
}

#[test]
fn counters_that_name_an_error_are_told_with_what_they_mean() {
    let mut run = failing();
    run.change(|what| match what {
        Observation::Counters { namespace, moment: Moment::End, values } if namespace == "server" => {
            values.insert("MPTcpExtMPJoinRejected".to_owned(), 2);
            values.insert("TcpExtListenDrops".to_owned(), 1);
            values.insert("MPTcpExtSomethingNewNoRoom".to_owned(), 3);
            true
        }
        _ => false,
    });
    let words = words(&run);
    assert!(words.contains("server: MPTcpExtMPJoinRejected 2: MP_JOINs that the path manager rejected"), "{words}");
    assert!(words.contains("server: TcpExtListenDrops 1\n"), "{words}");
    assert!(words.contains("server: MPTcpExtSomethingNewNoRoom 3\n"), "{words}");
    // It depends on timing, and says nothing.
    assert!(!words.contains("MPTCPRetrans"), "{words}");
    assert!(
        words.contains("server: other counters that increased: MPTcpExtMPJoinAckRx 2, MPTcpExtMPJoinSynRx 2\n"),
        "{words}"
    );
}

#[test]
fn a_subflow_that_is_not_established_is_told_with_its_syns() {
    let mut run = failing();
    run.change(|what| match what {
        Observation::Sockets { subflows, moment: Moment::BeforeClose, .. } => {
            subflows[1].tcp_state = 2;
            true
        }
        _ => false,
    });
    let words = words(&run);
    let syns = "of `main` is in SYN-SENT: 1 SYN sent on eth1, 1 arrived at server, which sent 1 SYN/ACK";
    assert!(words.contains(&format!("client: subflow 10.0.2.2:40002 → 10.0.1.1:8080 {syns}\n")), "{words}");
    assert!(words.contains("10.0.2.2:40009 → 10.0.4.1:8080 of `main` is in TIME-WAIT\n"), "{words}");
}

#[test]
fn an_announcement_is_used_or_has_a_reason() {
    let why = |change: &dyn Fn(&mut crate::mptcp::MptcpInfo)| {
        let mut run = failing();
        run.event("client", announced(9, "10.0.2.1"));
        run.change(|what| match what {
            Observation::Sockets { info, .. } => {
                if let Some(info) = info {
                    change(info);
                }
                true
            }
            _ => false,
        });
        let announcements = reasons(&run).into_iter().filter_map(|reason| match reason {
            Reason::UnusedAnnouncement { address, why, .. } => Some((address, why)),
            _ => None,
        });
        announcements.collect::<Vec<_>>()
    };
    let address = ip("10.0.2.1");
    assert_eq!(why(&|_| {}), [(address, Unused::AcceptLimit { accepted: 0, limit: 0 })]);
    assert_eq!(why(&|info| info.add_addr_accepted_max = 1), [(address, Unused::Unknown)]);
    assert_eq!(
        why(&|info| (info.add_addr_accepted_max, info.subflows_max) = (1, 2)),
        [(address, Unused::SubflowLimit { subflows: 2, limit: 2 })]
    );
}

#[test]
fn an_announced_address_with_a_subflow_is_used() {
    let mut run = failing();
    run.event("client", PmEvent { token: Some(CLIENT_TOKEN), ..announced(1, "10.0.4.1") });
    run.segment("10.0.4.1:8080", "10.0.3.2:40003", TcpFlags::ACK, vec![add_addr(1, "10.0.4.1")]);
    assert!(run.event_index("client", EventKind::Announced, 1) > 0);
    assert!(!words(&run).contains("announced on"), "{}", words(&run));
}

/// Why nothing comes of the client's first endpoint with these flags and this address.
fn idle(flags: EndpointFlags, address: &str, prepare: impl Fn(&mut Run)) -> Option<Idle> {
    let mut run = failing();
    prepare(&mut run);
    run.change(|what| match what {
        Observation::Endpoints { namespace, endpoints, .. } if namespace == "client" => {
            endpoints.truncate(1);
            endpoints[0].flags = flags;
            endpoints[0].address = ip(address);
            true
        }
        _ => false,
    });
    reasons(&run).into_iter().find_map(|reason| match reason {
        Reason::IdleEndpoint { why, .. } => Some(why),
        _ => None,
    })
}

#[test]
fn an_endpoint_is_idle_for_its_flags() {
    let flags = |flags| idle(flags, "10.0.2.2", |_| {});
    assert_eq!(flags(EndpointFlags::SUBFLOW), None);
    assert_eq!(flags(EndpointFlags::FULLMESH), Some(Idle::FullmeshOnly));
    assert_eq!(flags(EndpointFlags::FULLMESH | EndpointFlags::SUBFLOW), None);
    assert_eq!(flags(EndpointFlags::BACKUP), Some(Idle::NoRole));
    assert_eq!(flags(EndpointFlags::IMPLICIT), None);
    // That of the initial subflow.
    assert_eq!(idle(EndpointFlags::BACKUP, "10.0.1.2", |_| {}), None);
}

#[test]
fn an_endpoint_is_idle_for_its_address() {
    assert_eq!(idle(EndpointFlags::SUBFLOW, "10.9.9.9", |_| {}), Some(Idle::NoAddress));
    let later = |run: &mut Run| {
        let address = Address { address: ip("10.9.9.9"), prefix: 24 };
        let (namespace, device) = ("client".to_owned(), "one".to_owned());
        run.scenario.steps[2].action = Action::Do(Operation::AddAddress { namespace, device, address });
    };
    assert_eq!(
        idle(EndpointFlags::SUBFLOW, "10.9.9.9", later),
        Some(Idle::BeforeItsAddress { endpoint: None, address: 2 })
    );
}

#[test]
fn an_endpoint_is_idle_for_the_path_manager() {
    for (name, value) in [("net.mptcp.pm_type", "1"), ("net.mptcp.path_manager", "userspace")] {
        let set = |run: &mut Run| run.scenario.world.namespaces[0].sysctls.push((name.to_owned(), value.to_owned()));
        let setting = format!("{name} {value}");
        assert_eq!(idle(EndpointFlags::SUBFLOW, "10.0.2.2", set), Some(Idle::UserspacePathManager(setting)));
    }
}

#[test]
fn another_device_than_that_of_the_address_is_told() {
    // The fixture's segments all go by eth1, and its devices have other names: no interface of that name has an address.
    let mut run = failing();
    run.change(|what| match what {
        Observation::Packet { device, segment, .. } => {
            *device = if segment.source.ip() == ip("10.0.3.2") { "one" } else { "three" }.into();
            segment.source.ip() == ip("10.0.3.2")
        }
        _ => false,
    });
    let told = "client: packets from 10.0.3.2 to 10.0.4.1 left through one, not three, which has the source address\n";
    assert!(words(&run).contains(told), "{}", words(&run));
}

#[test]
fn a_failed_check_is_explained_by_what_was_known_then() {
    let mut run = Run::good();
    let limits = |subflows| crate::scenario::model::LimitsExpectation {
        namespace: "client".to_owned(),
        subflows: Some(subflows),
        add_addr_accepted: None,
        place: super::fixture::place(1),
    };
    let expectation = crate::scenario::model::Expectation { limits: vec![limits(7)], ..Default::default() };
    run.scenario.steps[3].action = Action::Check(Box::new(expectation));
    run.change(|what| match what {
        Observation::Counters { namespace, moment: Moment::End, values } if namespace == "client" => {
            values.insert("MPTcpExtMPJoinRejected".to_owned(), 1);
            true
        }
        _ => false,
    });
    assert_eq!(run.kinds()[0], FindingKind::Limits);
    assert!(!words(&run).contains("Rejected"), "{}", words(&run));
}

#[test]
fn rules_and_filters_that_have_not_matched_are_told_when_a_step_fails() {
    let mut run = failing();
    run.push(Observation::RuleHits { link: "one".to_owned(), rule: "strip".to_owned(), segments: 0 });
    run.push(Observation::FilterHits { namespace: "server".to_owned(), filter: "drop".to_owned(), packets: 0 });
    run.push(Observation::RuleHits { link: "two".to_owned(), rule: "used".to_owned(), segments: 1 });
    let words = words(&run);
    assert!(words.contains("path one: rule `strip` has not matched\n"), "{words}");
    assert!(words.contains("server: filter `drop` has not matched\n"), "{words}");
    assert!(!words.contains("used"), "{words}");
}

#[test]
fn what_a_path_did_is_told() {
    let mut run = failing();
    let effect = |what| Observation::Path {
        link: "two".into(),
        sender: "client".into(),
        number: 1,
        after: 0,
        part: 0,
        parts: Vec::new(),
        what,
        segment: None,
    };
    let rule = |action: &str| PathEffect::Rule { rule: "late".into(), action: action.into(), made: Vec::new() };
    for what in [rule("hold"), PathEffect::Lost, rule("hold"), rule("release"), PathEffect::Lost, PathEffect::TooBig] {
        run.push(effect(what));
    }
    let words = words(&run);
    let told =
        "path two applied its rule `late` (hold) to 2 packets; lost 2 packets; has too small an MTU for 1 packet\n";
    assert!(words.contains(told), "{words}");
}

#[test]
fn a_device_that_leads_straight_to_the_destination_is_no_reason() {
    let by = |destination: &str| {
        let mut run = failing();
        run.change(|what| match what {
            Observation::Packet { namespace, device, direction: Direction::Out, segment } if namespace == "client" => {
                *device = "two".into();
                segment.source.set_ip(ip("10.0.1.2"));
                segment.destination.set_ip(ip(destination));
                true
            }
            _ => false,
        });
        words(&run)
    };
    let left = "left through two, not one, which has the source address";
    assert!(
        by("10.9.9.9").contains(&format!("client: packets from 10.0.1.2 to 10.9.9.9 {left}\n")),
        "{}",
        by("10.9.9.9")
    );
    assert!(!by("10.0.2.1").contains(left), "{}", by("10.0.2.1"));
}
