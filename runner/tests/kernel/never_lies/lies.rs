//! Scenarios of which one thing isn't true.

use libtest_mimic::Failed;
use mptcplab::judge::{FindingKind, Verdict};

use super::workshop::{Desk, GOOD, Test, Workshop, assert_found, replaced};

/// A change of the good scenario, and what must be found then.
struct Lie {
    name: &'static str,
    /// What is replaced by what.
    changes: &'static [(&'static str, &'static str)],
    kind: FindingKind,
    /// Part of the finding's text.
    words: &'static str,
}

const fn lie(
    name: &'static str,
    changes: &'static [(&'static str, &'static str)],
    kind: FindingKind,
    words: &'static str,
) -> Lie {
    Lie { name, changes, kind, words }
}

const CREATED: &str = "      - created: { connection: main, local: 10.0.1.2, remote: 10.0.1.1 }\n";
const ESTABLISHED: &str = "      - established: { connection: main }\n";
const ANNOUNCED: &str = "      - announced: { address: 10.0.2.1, id: 1 }\n";
const CONNECT: &str = "  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }\n";
const TRANSFER: &str = "  - transfer: { connection: main, each_way: 64 KiB }\n";
const QUIET: &str = "  - quiet: 20 ms\n";
const ENDPOINT: &str = "      - { address: 10.0.2.2, flags: [subflow] }\n";
const REFUSAL: &str = r#"  - expect_error: { error: EINVAL, message: "address not found", do: { delete_endpoint: { in: client, id: 7 } } }"#;

const TOPOLOGY: &str = "topology: two-links\n";
const WIRE: &str = "  wire:\n";
/// The SYN of the first subflow comes twice.
const DOUBLED: &str = "topology: two-links
paths: { link1: { rules: [{ name: twice, from: client, option: mp_capable, nth: 1, action: duplicate }] } }
";
/// One packet of the client's is lost, early in the transfer.
const LOSSY: &str = "topology: two-links
paths: { link1: { from: { client: { loss: { nth: 20 } } } } }
";

const LIES: &[Lie] = &[
    // Events.
    lie("events::one_that_is_not_expected", &[(ANNOUNCED, "")], FindingKind::Events, "announced"),
    lie(
        "events::one_that_does_not_come",
        &[(ANNOUNCED, "      - announced: { address: 10.0.2.1, id: 1 }\n      - removed: { id: 1 }\n")],
        FindingKind::Events,
        "removed",
    ),
    lie(
        "events::two_in_the_wrong_order",
        &[(CREATED, "      - established\n"), (ESTABLISHED, "      - created: { connection: main }\n")],
        FindingKind::Events,
        "created",
    ),
    lie(
        "events::a_wrong_field",
        &[(ANNOUNCED, "      - announced: { address: 10.0.2.1, id: 2 }\n")],
        FindingKind::Events,
        "id",
    ),
    lie(
        "events::once_instead_of_twice",
        &[(ANNOUNCED, "      - announced: { address: 10.0.2.1, id: 1, count: 2 }\n")],
        FindingKind::Events,
        "announced",
    ),
    // Counters.
    lie(
        "counters::off_by_one",
        &[("MPTcpExtMPJoinSynRx: 2", "MPTcpExtMPJoinSynRx: 3")],
        FindingKind::Counter,
        "MPTcpExtMPJoinSynRx of server",
    ),
    lie(
        "counters::one_that_moved_though_none_may",
        &[("client: { MPTcpExtAddAddr: 1 }", "client: { MPTcpExtAddAddr: 1, others: 0 }")],
        FindingKind::Counter,
        "MPTcpExtMPCapableSYNTX 1",
    ),
    lie("counters::bytes_of_a_link", &[(">=1000", "1..1000")], FindingKind::Bytes, "link1"),
    // States.
    lie(
        "subflows::a_wrong_id",
        &[("local_id: 1, remote_id: 1", "local_id: 1, remote_id: 2")],
        FindingKind::Subflows,
        "10.0.2.1",
    ),
    lie(
        "subflows::one_too_few",
        &[("        - { local: 10.0.2.2, remote: 10.0.1.1, local_id: 1, remote_id: 0 }\n", "")],
        FindingKind::Subflows,
        "+ unexpected: ",
    ),
    lie(
        "info::a_wrong_field",
        &[("info: { main: { client: { subflows: 2 } } }", "info: { main: { client: { subflows: 3 } } }")],
        FindingKind::Info,
        "subflows of main",
    ),
    lie(
        "endpoints::another_flag",
        &[("id: 1, flags: [signal] }]", "id: 1, flags: [signal, backup] }]")],
        FindingKind::Endpoints,
        "backup",
    ),
    lie(
        "endpoints::one_too_few",
        &[("    server: [{ address: 10.0.2.1, id: 1, flags: [signal] }]", "    server: []")],
        FindingKind::Endpoints,
        "10.0.2.1",
    ),
    lie(
        "limits::at_the_end",
        &[("limits: { server: { subflows: 2 } }", "limits: { server: { subflows: 3 } }")],
        FindingKind::Limits,
        "server",
    ),
    lie(
        "limits::in_a_check_step",
        &[("check: { limits: { client: { subflows: 2 } } }", "check: { limits: { client: { subflows: 1 } } }")],
        FindingKind::Limits,
        "step 5",
    ),
    // The wire.
    lie(
        "wire::once_instead_of_twice",
        &[("id: 1 }, count: 1 }", "id: 1 }, count: 2 }")],
        FindingKind::Wire,
        "add_addr",
    ),
    lie("wire::another_id", &[("id: 1 }, count: 1 }", "id: 3 }, count: 1 }")], FindingKind::Wire, "add_addr"),
    // Connections that are TCP.
    lie(
        "connection::options_are_stripped",
        &[(
            CONNECT,
            "  - add_filter: { name: strip, in: server, hook: input, option: mp_capable, action: strip_mptcp }
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }\n",
        )],
        FindingKind::Connection,
        "plain TCP",
    ),
    lie(
        "connection::accepted_though_it_should_be_refused",
        &[(
            CONNECT,
            "  - listen: { in: server, port: 8080 }
  - connect: { name: other, from: client, to: server, address: 10.0.1.1, outcome: ECONNREFUSED }
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }\n",
        )],
        FindingKind::Refusal,
        "expected ECONNREFUSED, but it succeeded",
    ),
    // Data.
    lie(
        "transfer::a_damaged_byte",
        &[(
            TRANSFER,
            "  - add_filter: { name: damage, in: server, hook: input, min_payload: 1000, nth: 1, action: corrupt }
  - transfer: { connection: main, each_way: 64 KiB }\n",
        )],
        FindingKind::Integrity,
        "1 byte arrived corrupted",
    ),
    lie(
        "transfer::one_that_does_not_end",
        &[(
            TRANSFER,
            "  - add_filter: { name: hole, in: server, hook: input, min_payload: 1, action: drop }
  - transfer: { connection: main, each_way: 64 KiB, timeout: 200 ms }\n",
        )],
        FindingKind::Deadline,
        "waiting for the transfer on `main` to end",
    ),
    // What could not be applied.
    lie(
        "setup::a_ninth_endpoint",
        &[(
            ENDPOINT,
            "      - { address: 10.0.2.2, flags: [subflow] }
      - { address: 10.0.2.3 }
      - { address: 10.0.2.4 }
      - { address: 10.0.2.5 }
      - { address: 10.0.2.6 }
      - { address: 10.0.2.7 }
      - { address: 10.0.2.8 }
      - { address: 10.0.2.9 }
      - { address: 10.0.2.10 }\n",
        )],
        FindingKind::Setup,
        "too many addresses",
    ),
    lie(
        "setup::a_port_on_an_address_that_is_not_there",
        &[(ENDPOINT, "      - { address: 10.0.2.77, flags: [signal], port: 10100 }\n")],
        FindingKind::Setup,
        "EADDRNOTAVAIL",
    ),
    lie(
        "setup::a_sysctl_that_is_not_there",
        &[("    endpoints:\n      - { addr", "    sysctls: { net.mptcp.warp: 9 }\n    endpoints:\n      - { addr")],
        FindingKind::Setup,
        "net.mptcp.warp",
    ),
    lie(
        "setup::a_route_through_nowhere",
        &[(
            "    endpoints:\n      - { addr",
            "    routes: [{ to: 10.9.0.0/16, via: 10.8.0.1 }]\n    endpoints:\n      - { addr",
        )],
        FindingKind::Setup,
        "ENETUNREACH",
    ),
    // Alternatives.
    lie(
        "either::none_of_two",
        &[(
            WIRE,
            "  either:
    - because: either number would do
      of: [{ info: { main: { client: { subflows: 1 } } } }, { info: { main: { server: { subflows: 3 } } } }]
  wire:\n",
        )],
        FindingKind::Either,
        "none of the 2 alternatives holds; the nearest, number 1: subflows of main",
    ),
    // Filters.
    lie(
        "filter::one_that_never_matched",
        &[(
            CONNECT,
            "  - add_filter: { name: idle, in: server, hook: input, from: 10.0.2.99, action: drop }
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }\n",
        )],
        FindingKind::Filter,
        "idle in server never matched",
    ),
    // Paths. Without the expectation that isn't true, the rule or the path would only change the snapshot.
    lie(
        "path::a_rule_that_never_matched",
        &[(
            TOPOLOGY,
            "topology: two-links\npaths: { link1: { rules: [{ name: idle, option: mp_fail, action: drop }] } }\n",
        )],
        FindingKind::Path,
        "rule idle of link1 never matched",
    ),
    lie(
        "path::a_rule_that_matched_more_often",
        &[(TOPOLOGY, DOUBLED), (WIRE, "  paths: { link1: { rules: { twice: 2 } } }\n  wire:\n")],
        FindingKind::Path,
        "matches of rule twice of link1 at the end: expected 2, observed 1",
    ),
    lie(
        "path::a_packet_more_or_less",
        &[(TOPOLOGY, LOSSY), (WIRE, "  paths: { link1: { from: { client: { lost: 2 } } } }\n  wire:\n")],
        FindingKind::Path,
        "`lost` of packets from client on link1 at the end: expected 2, observed 1",
    ),
    lie(
        "path::a_count_in_a_check_step",
        &[
            (TOPOLOGY, LOSSY),
            ("check: { limits", "check: { paths: { link1: { from: { server: { lost: 1 } } } }, limits"),
        ],
        FindingKind::Path,
        "in step 5: expected 1, observed 0",
    ),
    lie(
        "path::a_rule_that_is_waited_for",
        &[
            (TOPOLOGY, DOUBLED),
            (QUIET, "  - wait: { rule: { link: link1, name: twice, matched: 2 }, timeout: 200 ms }\n"),
        ],
        FindingKind::Deadline,
        "twice",
    ),
    lie(
        "path::options_are_stripped_on_the_way",
        &[(
            TOPOLOGY,
            "topology: two-links\npaths: { link1: { rules: [{ name: strip, flags: [syn], action: strip_mptcp }] } }\n",
        )],
        FindingKind::Connection,
        "plain TCP",
    ),
    // Waiting.
    lie(
        "wait::for_a_subflow_that_does_not_come",
        &[("wait: { subflows: { main: 3 } }", "wait: { subflows: { main: 4 }, timeout: 200 ms }")],
        FindingKind::Deadline,
        "main",
    ),
    lie(
        "wait::for_an_event_that_does_not_come",
        &[("wait: { subflows: { main: 3 } }", "wait: { event: { in: client, removed: { id: 1 } }, timeout: 200 ms }")],
        FindingKind::Deadline,
        "client has seen 0",
    ),
    lie(
        "quiet::it_is_not",
        &[(
            QUIET,
            "  - transfer: { connection: main, each_way: 1 MiB, pace: 1 Mbit/s, background: true }
  - quiet: { period: 250 ms, timeout: 500 ms }
  - finish_transfer: { connection: main }\n",
        )],
        FindingKind::Deadline,
        "timed out after 500 ms waiting for quiet",
    ),
    // Refusals.
    lie(
        "expect_error::it_succeeds",
        &[(REFUSAL, "  - expect_error: { error: EINVAL, do: { delete_endpoint: { in: server, id: 1 } } }")],
        FindingKind::Refusal,
        "expected EINVAL, but it succeeded",
    ),
    lie(
        "expect_error::another_errno",
        &[("error: EINVAL", "error: EBUSY")],
        FindingKind::Refusal,
        "expected EBUSY, but it was refused with EINVAL",
    ),
    lie(
        "expect_error::other_words",
        &[("address not found", "no such address")],
        FindingKind::Refusal,
        "with \"no such address\" in its message",
    ),
    lie(
        "expect_error::our_own_words",
        &[("address not found", "in client")],
        FindingKind::Refusal,
        "with \"in client\" in its message",
    ),
    lie(
        "operation::it_is_refused",
        &[(REFUSAL, "  - delete_endpoint: { in: client, id: 7 }")],
        FindingKind::Refusal,
        "address not found",
    ),
];

/// Nothing speaks of subflows here: of a TCP connection there is nothing to say.
const ONLY_A_CONNECTION: &str = "\
title: A connection, and no more
about: It comes and goes.
topology: two-links
namespaces: { client: {}, server: {} }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - transfer: { connection: main, each_way: 1 KiB }
  - close: { connection: main, by: client }
";

fn mptcp_though_tcp_is_expected(workshop: &Workshop) -> Result<(), Failed> {
    let verdict = workshop.verdict(&Desk::new(ONLY_A_CONNECTION)?)?;
    assert_found(&verdict, FindingKind::SnapshotNew, "there is no snapshot")?;
    let text = replaced(ONLY_A_CONNECTION, "address: 10.0.1.1 }", "address: 10.0.1.1, outcome: tcp }");
    assert_found(&workshop.verdict(&Desk::new(&text)?)?, FindingKind::Connection, "both sides use MPTCP")
}

/// The kernel takes the damage for a middlebox's and goes on without MPTCP; all bytes but one arrive as they should.
fn a_fallback_in_the_middle(workshop: &Workshop) -> Result<(), Failed> {
    let damage = "  - add_filter: { name: damage, in: server, hook: input, min_payload: 1000, nth: 1, action: corrupt }
  - transfer: { connection: main, from_client: 64 KiB, tolerate_corrupt: 1 }\n";
    let checksums = "namespaces: { client: { sysctls: { net.mptcp.checksum_enabled: 1 } }, server: {} }";
    let text = replaced(ONLY_A_CONNECTION, "namespaces: { client: {}, server: {} }", checksums);
    let text = replaced(&text, "  - transfer: { connection: main, each_way: 1 KiB }\n", damage);
    assert_found(
        &workshop.verdict(&Desk::new(&text)?)?,
        FindingKind::Connection,
        "expected MPTCP, but the client's side",
    )
}

/// What contradicts itself doesn't even run.
fn a_contradiction() -> Result<(), Failed> {
    let text = replaced(GOOD, "address: 10.0.1.1 }\n", "address: 10.0.1.1, server_protocol: tcp }\n");
    let error = Desk::new(&text)?.load().map(drop).unwrap_err();
    assert!(error.contains("the server's socket is plain TCP"), "{error}");
    Ok(())
}

fn the_truth(workshop: &Workshop) -> Result<(), Failed> {
    let desk = Desk::new(GOOD)?.with_snapshot(&workshop.good()?.canonical)?;
    match workshop.verdict(&desk)? {
        Verdict::Passed => Ok(()),
        other => Err(format!("{other:#?}").into()),
    }
}

/// Each of them, the good one first.
pub fn all() -> Vec<(&'static str, Test)> {
    let lies = LIES.iter().map(|lie| {
        let test: Test = Box::new(|workshop| {
            let text = lie.changes.iter().fold(GOOD.to_owned(), |text, (from, to)| replaced(&text, from, to));
            // With the snapshot of the good one: without the change it would pass.
            let desk = Desk::new(&text)?.with_snapshot(&workshop.good()?.canonical)?;
            assert_found(&workshop.verdict(&desk)?, lie.kind, lie.words)
        });
        (lie.name, test)
    });
    let others: [(&'static str, Test); 4] = [
        ("the_truth_passes", Box::new(the_truth)),
        ("connection::a_fallback_in_the_middle", Box::new(a_fallback_in_the_middle)),
        ("connection::a_contradiction", Box::new(|_| a_contradiction())),
        ("connection::mptcp_though_tcp_is_expected", Box::new(mptcp_though_tcp_is_expected)),
    ];
    others.into_iter().chain(lies).collect()
}
