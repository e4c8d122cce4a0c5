//! Scenarios in which nothing is wrong, though it may look like it: what is found in them would be a lie.
//!
//! And those in which an application's call fails: that is what must be found, at once, and nothing else.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use mptcplab::judge::{FindingKind, judge};
use mptcplab::recording::Observation;

use super::workshop::{Desk, Test, Workshop, assert_found};

/// A link with a path flaps while data flow: what its interface drops without a carrier is no loss of the runner's.
const FLAP: &str = "\
title: A link with a path goes down and up while data flow
about: x
topology: two-links
paths: { link1: { both: { delay: 5 ms } } }
namespaces:
  client: { limits: { subflows: 1 }, endpoints: [{ address: 10.0.2.2, flags: [subflow], dev: eth2 }] }
  server: { limits: { subflows: 1 } }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - wait: { subflows: { main: 2 } }
  - quiet: 50 ms
  - transfer: { connection: main, from_server: 1 MiB, pace: 8 Mbit/s, background: true }
  - wait: { transferred: { connection: main, by: server, bytes: 128 KiB } }
  - link_down: { in: client, device: eth1 }
  - wait: { transferred: { connection: main, by: server, bytes: 384 KiB } }
  - link_up: { in: client, device: eth1 }
  - finish_transfer: { connection: main, timeout: 20 s }
  - close: { connection: main, by: client }
";

/// An endpoint is deleted while the peer's join makes an implicit one of the same address.
const IMPLICIT: &str = "\
title: An endpoint is deleted while the peer joins it
about: x
topology: two-links
paths: { link1: {}, link2: {} }
namespaces:
  client: { limits: { subflows: 2, add_addr_accepted: 2 } }
  server: { limits: { subflows: 2 } }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - add_endpoint: { in: server, address: 10.0.2.1, flags: [signal], id: 5 }
  - delete_endpoint: { in: server, id: 5 }
  - quiet: 100 ms
  - close: { connection: main, by: client }
";

/// A socket is closed abruptly while both sides send.
const CUT_OFF: &str = "\
title: An abrupt close in the middle of a transfer
about: x
topology: two-links
namespaces: { client: {}, server: {} }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - transfer: { connection: main, each_way: 64 MiB, background: true }
  - wait: { transferred: { connection: main, by: client, bytes: 64 KiB } }
  - close: { connection: main, by: server, how: abrupt, timeout: 5 s }
expect: { counters: { server: { MPTcpExtMPFastcloseTx: 1 } } }
";

/// Two routes to one prefix differ only in their source address: one of them is deleted.
const TWO_ROUTES: &str = "\
title: One of two routes to the same prefix is deleted
about: x
topology: two-links
namespaces: { client: {}, server: {} }
steps:
  - add_route: { in: client, to: 10.9.0.0/16, via: 10.0.1.1, metric: 5 }
  - add_route: { in: client, to: 10.9.0.0/16, via: 10.0.1.1, metric: 6 }
  - delete_route: { in: client, to: 10.9.0.0/16, via: 10.0.1.1, metric: 5 }
";

/// One side of each connection stops sending: its peer stays established. With MPTCP, and after a fallback.
const HALF_CLOSED: &str = "\
title: Half closes, and no other close
about: x
topology: two-links
namespaces: { client: {}, server: {} }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - close: { connection: main, by: client, how: half }
  - connect: { name: plain, from: client, to: server, address: 10.0.1.1, port: 9000, server_protocol: tcp, outcome: tcp }
  - close: { connection: plain, by: server, how: half }
";

const TRUTHS: [(&str, &str); 5] = [
    ("truth::a_link_with_a_path_flaps_while_data_flow", FLAP),
    ("truth::an_endpoint_is_deleted_while_the_peer_joins_it", IMPLICIT),
    ("truth::an_abrupt_close_cuts_a_transfer_off", CUT_OFF),
    ("truth::one_of_two_routes_is_deleted", TWO_ROUTES),
    ("truth::connections_are_half_closed", HALF_CLOSED),
];

/// A firewall resets the only subflow in the middle of a transfer of this size and direction. The kernel keeps the
/// connection for net.mptcp.close_timeout, so that another subflow could go on with it (`mptcp_worker`,
/// net/mptcp/protocol.c); then read() gets an error, and which one depends on the kernel. The server's kernel keeps it for
/// longer, or its write() might be the first call that fails.
fn reset(transfer: &str) -> String {
    format!(
        "\
title: A reset on the way
about: x
topology: two-links
paths: {{ link1: {{}} }}
namespaces:
  client: {{ sysctls: {{ net.mptcp.close_timeout: 1 }} }}
  server: {{}}
steps:
  - connect: {{ name: main, from: client, to: server, address: 10.0.1.1 }}
  - add_rule: {{ link: link1, name: reset, from: server, payload: \">=1\", nth: 20, action: {{ inject: {{ reset: forward }} }} }}
{transfer}"
    )
}

/// The application's error is found, and long before the deadline.
fn told_at_once(workshop: &Workshop, text: &str, words: &str) -> Result<(), Failed> {
    let begin = Instant::now();
    let scenario = Desk::new(text)?.load()?;
    let recording = workshop.record(&scenario)?;
    let findings = judge(&scenario, &recording);
    let [finding] = findings.as_slice() else {
        return Err(format!("one finding was to be made: {findings:#?}").into());
    };
    if finding.kind != FindingKind::Application || !finding.summary.contains(words) {
        return Err(format!("`{words}` was to be found, but it was {finding:#?}").into());
    }
    if !recording.entries.iter().any(|entry| matches!(entry.what, Observation::Application(_))) {
        return Err("what the call got is not in the recording".into());
    }
    // The deadlines are a minute.
    if begin.elapsed() > Duration::from_secs(30) {
        return Err(format!("it took {:?} to be told", begin.elapsed()).into());
    }
    Ok(())
}

fn a_reset_in_a_transfer(workshop: &Workshop) -> Result<(), Failed> {
    let text = reset("  - transfer: { connection: main, from_server: 64 MiB, timeout: 60 s }\n");
    told_at_once(workshop, &text, "the client's read() on main failed with E")
}

fn a_reset_while_something_is_waited_for(workshop: &Workshop) -> Result<(), Failed> {
    let text = reset(
        "  - transfer: { connection: main, from_server: 64 MiB, background: true }
  - wait: { transferred: { connection: main, by: server, bytes: 63 MiB }, timeout: 60 s }
  - finish_transfer: { connection: main, timeout: 60 s }\n",
    );
    told_at_once(workshop, &text, "the client's read() on main failed with E")
}

/// All packets are lost from now on; the writer's kernel gives up, and the reader would wait for ever.
fn a_writer_that_times_out(workshop: &Workshop) -> Result<(), Failed> {
    let text = "\
title: All subflows time out
about: x
topology: two-links
paths: { link1: {} }
namespaces:
  client: { sysctls: { net.ipv4.tcp_retries2: 2, net.mptcp.close_timeout: 1 } }
  server: {}
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - transfer: { connection: main, from_client: 8 MiB, pace: 10 Mbit/s, background: true }
  - wait: { transferred: { connection: main, by: client, bytes: 64 KiB } }
  - set_path: { link: link1, loss: 100 % }
  - finish_transfer: { connection: main, timeout: 60 s }
";
    told_at_once(workshop, text, "the client's write() on main failed with E")
}

/// The client's read() gets ENOTCONN when its kernel gives the connection up; the server's kernel keeps it.
fn given_up_by_the_client(transfer: &str) -> String {
    let text = reset(transfer);
    format!("{text}expect: {{ counters: {{ server: {{ MPTcpExtMPCurrEstab: 1 }} }} }}\n")
}

const FAILS: &str = "  - transfer: { connection: main, from_server: 64 MiB, timeout: 60 s, outcome: ENOTCONN }\n";

fn a_transfer_that_fails_as_expected(workshop: &Workshop) -> Result<(), Failed> {
    holds(workshop, &given_up_by_the_client(FAILS))?;
    let text = "  - transfer: { connection: main, from_server: 64 MiB, background: true, outcome: ENOTCONN }
  - wait: { event: { in: client, sub_closed: {} } }
  - finish_transfer: { connection: main, timeout: 60 s }\n";
    holds(workshop, &given_up_by_the_client(text))
}

fn a_transfer_that_fails_with_another_errno(workshop: &Workshop) -> Result<(), Failed> {
    let text = given_up_by_the_client(&FAILS.replace("ENOTCONN", "ETIMEDOUT"));
    told_at_once(workshop, &text, "; expected ETIMEDOUT")
}

fn a_transfer_that_must_fail_and_does_not(workshop: &Workshop) -> Result<(), Failed> {
    let scenario = Desk::new(&given_up_by_the_client(&FAILS.replace("64 MiB", "1 KiB")))?.load()?;
    let findings = judge(&scenario, &workshop.record(&scenario)?);
    match findings.as_slice() {
        [finding]
            if finding.summary.ends_with("expected a read() or write() to fail with ENOTCONN, but none failed") =>
        {
            Ok(())
        }
        _ => Err(format!("one finding was to be made: {findings:#?}").into()),
    }
}

fn a_connect_that_is_refused(workshop: &Workshop) -> Result<(), Failed> {
    let text = "\
title: Nobody listens
about: x
topology: two-links
namespaces: { client: {}, server: {} }
steps:
  - listen: { in: server, port: 8080 }
  - add_filter: { name: refuse, in: server, hook: input, option: mp_capable, action: reject_reset }
  - connect: { name: main, from: client, to: server, address: 10.0.1.1, timeout: 60 s }
";
    told_at_once(workshop, text, "the client's connect() on main failed with ECONNREFUSED")
}

fn holds(workshop: &Workshop, text: &str) -> Result<(), Failed> {
    assert_found(&workshop.verdict(&Desk::new(text)?)?, FindingKind::SnapshotNew, "there is no snapshot")
}

/// Each of them.
pub fn all() -> Vec<(&'static str, Test)> {
    let truths = TRUTHS.into_iter().map(|(name, text)| {
        let test: Test = Box::new(move |workshop| holds(workshop, text));
        (name, test)
    });
    let errors: [(&'static str, Test); 7] = [
        ("application::a_reset_in_a_transfer", Box::new(a_reset_in_a_transfer)),
        ("application::a_reset_while_something_is_waited_for", Box::new(a_reset_while_something_is_waited_for)),
        ("application::a_writer_that_times_out", Box::new(a_writer_that_times_out)),
        ("application::a_transfer_that_fails_as_expected", Box::new(a_transfer_that_fails_as_expected)),
        ("application::a_transfer_that_fails_with_another_errno", Box::new(a_transfer_that_fails_with_another_errno)),
        ("application::a_transfer_that_must_fail_and_does_not", Box::new(a_transfer_that_must_fail_and_does_not)),
        ("application::a_connect_that_is_refused", Box::new(a_connect_that_is_refused)),
    ];
    truths.chain(errors).collect()
}
