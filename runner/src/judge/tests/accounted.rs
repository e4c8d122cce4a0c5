//! No MPTCP counter moves unnoticed.

use crate::judge::FindingKind;
use crate::mptcp::EventKind;
use crate::recording::{Moment, Observation, Side};
use crate::scenario::model::{Action, CloseHow, CounterExpectation, Expectation, Filter, FilterHook, Operation, Range};
use crate::wire::{MptcpOption, TcpFlags};

use super::fixture::{DEADLINE, Run, add_addr, echo, flush, place};
use super::verdicts::filter;

const CLIENT: &str = "10.0.1.2:40001";
const SERVER: &str = "10.0.1.1:8080";
/// A counter of which nothing but the scenario can tell.
pub(super) const ODD: &str = "MPTcpExtDssFallback";

/// A run in which a counter of a namespace moved by so much.
pub(super) fn moved(mut run: Run, namespace: &str, name: &str, by: u64) -> Run {
    run.change(|what| match what {
        Observation::Counters { namespace: of, moment, values } if of == namespace => {
            values.insert(name.to_owned(), if *moment == Moment::End { by } else { 0 });
            true
        }
        _ => false,
    });
    run
}

fn found(run: &Run) -> Vec<(FindingKind, String)> {
    run.findings().into_iter().map(|finding| (finding.kind, finding.summary)).collect()
}

/// Whether exactly this is found: that the counter moved, and may not, for that reason.
#[track_caller]
fn assert_unaccounted(run: &Run, name: &str, why: &str) {
    let found = found(run);
    let is_it = |(kind, summary): &(FindingKind, String)| {
        *kind == FindingKind::Counter && summary.contains(name) && summary.contains(why)
    };
    assert!(found.len() == 1 && is_it(&found[0]), "{name}: {found:?}");
}

#[track_caller]
fn assert_accounted(run: &Run) {
    assert_eq!(found(run), []);
}

fn about(name: &str, less: Option<&str>, namespace: &str, range: Range) -> Expectation {
    let counter = CounterExpectation {
        namespaces: vec![namespace.to_owned()],
        place: place(1),
        name: name.to_owned(),
        less: less.map(str::to_owned),
        range,
    };
    Expectation { counters: vec![counter], ..Expectation::default() }
}

#[test]
fn what_nobody_mentions_must_not_move() {
    let run = moved(Run::good(), "server", ODD, 1);
    assert_unaccounted(&run, ODD, "the scenario does not expect that");
    let with = |expect| {
        let mut run = run.clone();
        run.scenario.expect = expect;
        run
    };
    assert_accounted(&with(about(ODD, None, "server", 1..=1)));
    assert_accounted(&with(about("MPTcpExtMPJoinSynRx", Some(ODD), "server", 1..=1)));
    assert_unaccounted(&with(about(ODD, None, "client", 0..=0)), ODD, "of server increased by 1");
    // In a step, before it moved.
    let mut checked = run.clone();
    checked.scenario.steps[3].action = Action::Check(Box::new(about(ODD, None, "server", 0..=0)));
    assert_accounted(&checked);
    // What isn't of MPTCP.
    assert_accounted(&moved(Run::good(), "server", "TcpExtTCPTimeouts", 1));
}

#[test]
fn a_gauge_must_end_as_it_began() {
    let gauge = "MPTcpExtMPCurrEstab";
    assert_unaccounted(&moved(Run::good(), "client", gauge, 1), gauge, "no connection was left open");
    assert_accounted(&moved(Run::good(), "client", gauge, 0));
    // A connection that no step closes may be established at the end.
    let mut open = Run::good();
    for step in &mut open.scenario.steps {
        if matches!(step.action, Action::Close { .. }) {
            step.action = Action::Do(flush());
        }
    }
    assert_accounted(&moved(open.clone(), "client", gauge, 1));
    assert_unaccounted(&moved(open, "client", gauge, 2), gauge, "fewer connections were left open");
}

/// The side that stops sending leaves the gauge at once; its peer stays in it, until it stops, too.
#[test]
fn a_half_close_ends_the_side_that_does_it() {
    let gauge = "MPTcpExtMPCurrEstab";
    let half = |by| Action::Close { connection: "main".to_owned(), by, how: CloseHow::HalfClose, deadline: DEADLINE };
    let mut run = Run::good();
    run.scenario.steps.last_mut().unwrap().action = half(Side::Client);
    assert_accounted(&moved(run.clone(), "server", gauge, 1));
    assert_unaccounted(&moved(run.clone(), "server", gauge, 2), gauge, "fewer connections were left open");
    assert_unaccounted(&moved(run.clone(), "client", gauge, 1), gauge, "no connection was left open");
    run.step(half(Side::Server), |_| {});
    assert_unaccounted(&moved(run, "server", gauge, 1), gauge, "no connection was left open");
}

/// Sent by the client: what it removes.
fn removing(ids: &[u8]) -> Run {
    let mut run = Run::good();
    run.segment(CLIENT, SERVER, TcpFlags::ACK, vec![MptcpOption::RemoveAddr { address_ids: ids.to_vec() }]);
    run
}

#[test]
fn what_was_sent_is_as_much_as_was_seen() {
    const WHY: &str = "the captures saw a different number";
    let mut announcing = Run::good();
    announcing.segment(SERVER, CLIENT, TcpFlags::ACK, vec![add_addr(1, "10.0.4.1")]);
    let mut echoing = Run::good();
    echoing.segment(CLIENT, SERVER, TcpFlags::ACK, vec![echo(1, "10.0.4.1")]);
    let cases = [
        ("MPTcpExtAddAddrTx", "server", announcing),
        ("MPTcpExtEchoAddTx", "client", echoing),
        ("MPTcpExtRmAddrTx", "client", removing(&[1, 2])),
        ("MPTcpExtMPJoinSynTx", "client", Run::good()),
    ];
    for (name, namespace, run) in cases {
        assert_accounted(&moved(run.clone(), namespace, name, 2));
        assert_unaccounted(&moved(run.clone(), namespace, name, 3), name, WHY);
        assert_unaccounted(&moved(run, namespace, name, 1), name, WHY);
    }
    // The same SYN once more is no other subflow.
    let mut run = Run::good();
    run.join("10.0.2.2:40002", SERVER, 1, 0);
    run.remove(|what| matches!(what, Observation::Event { event, .. } if event.kind == EventKind::SubEstablished));
    assert_accounted(&moved(run, "client", "MPTcpExtMPJoinSynTx", 2));
}

#[test]
fn what_a_filter_drops_on_its_way_out_was_sent_but_not_seen() {
    let with_filter = |hook, by| {
        let filter = Filter { hook, ..filter(true) };
        let mut run = removing(&[1, 2]);
        run.step(Action::Do(Operation::AddFilter(filter)), |_| {});
        run.push(Observation::FilterHits { namespace: "client".to_owned(), filter: "drop".to_owned(), packets: 1 });
        moved(run, "client", "MPTcpExtRmAddrTx", by)
    };
    assert_accounted(&with_filter(FilterHook::Output, 3));
    assert_unaccounted(&with_filter(FilterHook::Output, 1), "MPTcpExtRmAddrTx", "increased by 1");
    assert_unaccounted(&with_filter(FilterHook::Input, 3), "MPTcpExtRmAddrTx", "increased by 3");
}

#[test]
fn no_more_is_dropped_than_came() {
    assert_accounted(&moved(Run::good(), "client", "MPTcpExtAddAddrDrop", 1));
    assert_unaccounted(
        &moved(Run::good(), "client", "MPTcpExtAddAddrDrop", 2),
        "AddAddrDrop",
        "fewer ADD_ADDRs arrived",
    );
    let drops = |by| moved(removing(&[1]), "server", "MPTcpExtRmAddrDrop", by);
    assert_accounted(&drops(1));
    assert_unaccounted(&drops(2), "RmAddrDrop", "fewer REMOVE_ADDRs arrived");
}

#[test]
fn what_depends_on_timing_may_move_as_far_as_it_can() {
    assert_accounted(&moved(Run::good(), "client", "MPTcpExtMPTCPRetrans", 1000));
    // A connection of one subflow.
    let mut single = Run::good();
    single.remove(|what| match what {
        Observation::Packet { segment, .. } => segment.has_mp_join_syn(),
        _ => false,
    });
    for name in ["OFOMerge", "OFOQueue", "OFOQueueTail", "NoDSSInWindow", "SubflowStale"] {
        let name = format!("MPTcpExt{name}");
        assert_accounted(&moved(Run::good(), "client", &name, 1));
        assert_unaccounted(
            &moved(single.clone(), "client", &name, 1),
            &name,
            "no connection had an additional subflow",
        );
    }
    let stale = moved(Run::good(), "client", "MPTcpExtSubflowStale", 1);
    assert_accounted(&moved(stale.clone(), "client", "MPTcpExtSubflowRecover", 1));
    let recovered = moved(stale, "client", "MPTcpExtSubflowRecover", 2);
    assert_unaccounted(&recovered, "SubflowRecover", "fewer subflows became stale");
}
