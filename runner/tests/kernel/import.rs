//! Round trips: a scenario runs, its monitor logs and captures become drafts, the drafts run, and the same happens. Where
//! this kernel or user can't run scenarios, the tests are reported as ignored, with the reason.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::Path;

use libtest_mimic::Failed;
use mptcplab::mptcp::EventKind;
use mptcplab::recording;

use super::Test;
use super::program::{self, has_code, mptcplab, text};

/// Only failed runs leave captures, and no kernel has counted this.
const FAILS: &str = "expect: { counters: { client: { MPTcpExtMPCapableSYNTX: 4711 } } }\n";

/// What drafts are made from, and the namespaces of which it tells everything.
const REPORTS: [(&str, &[&str]); 4] = [
    ("client.monitor", &["client"]),
    ("server.monitor", &["server"]),
    ("client.pcapng", &["client", "server"]),
    ("server.pcapng", &["client", "server"]),
];

/// An announced address becomes a subflow.
const SIGNAL: &str = "\
topology: two-links
namespaces:
  client: { limits: { subflows: 1, add_addr_accepted: 1 } }
  server:
    limits: { subflows: 1 }
    endpoints: [{ address: 10.0.2.1, flags: [signal] }]
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - wait: { subflows: { main: 2 } }
  - transfer: { connection: main, each_way: 64 KiB }
  - close: { connection: main, by: server }
";

/// A backup subflow, on another port, that becomes a regular one and is removed.
const BACKUP: &str = "\
topology: two-links
namespaces:
  client:
    limits: { subflows: 1 }
    endpoints: [{ address: 10.0.2.2, flags: [subflow, backup], id: 9 }]
  server: { limits: { subflows: 1 } }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1, port: 4711 }
  - wait: { subflows: { main: 2 } }
  - change_endpoint: { in: client, address: 10.0.2.2, to: [nobackup] }
  - wait: { event: { in: server, sub_priority: { remote: 10.0.2.2 } } }
  - delete_endpoint: { in: client, id: 9 }
  - wait: { event: { in: server, removed: { id: 9 } } }
  - wait: { event: { in: server, sub_closed: { remote: 10.0.2.2 } } }
  - wait: { event: { in: client, sub_closed: { local: 10.0.2.2 } } }
  - close: { connection: main, by: client }
";

/// Two connections at a time, the second one to another address.
const TWO: &str = "\
topology: two-links
namespaces:
  client:
    limits: { subflows: 1 }
    endpoints: [{ address: \"dead:beef:2::2\", flags: [subflow] }]
  server: { limits: { subflows: 1 } }
steps:
  - connect: { name: one, from: client, to: server, address: \"dead:beef:1::1\" }
  - wait: { subflows: { one: 2 } }
  - connect: { name: two, from: client, to: server, address: \"dead:beef:1::1\" }
  - wait: { subflows: { two: 2 } }
  - close: { connection: two, by: client }
  - close: { connection: one, by: client, how: abrupt }
";

/// Several announcements, and both ends of a fullmesh.
const MESH: &str = "\
topology: four-links
namespaces:
  client:
    limits: { subflows: 8, add_addr_accepted: 8 }
    endpoints:
      - { address: 10.0.2.2, flags: [subflow, fullmesh] }
      - { address: 10.0.3.2, flags: [subflow, fullmesh] }
  server: { limits: { subflows: 8 } }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - wait: { subflows: { main: 3 } }
  - add_endpoint: { in: server, address: 10.0.4.1, flags: [signal] }
  - wait: { subflows: { main: 5 } }
  - add_endpoint: { in: server, address: 10.0.2.1, flags: [signal] }
  - wait: { subflows: { main: 7 } }
  - delete_endpoint: { in: server, address: 10.0.4.1 }
  - wait: { event: { in: client, removed: {} } }
  - wait: { events: [{ in: client, sub_closed: {}, count: 2 }, { in: server, sub_closed: {}, count: 2 }] }
  - close: { connection: main, by: client }
";

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    program::tests(&[
        ("an_announced_address", None, false, || round_trip(SIGNAL)),
        ("a_backup_that_is_removed", None, false, || round_trip(BACKUP)),
        ("two_connections", None, false, || round_trip(TWO)),
        ("a_fullmesh", None, false, || round_trip(MESH)),
    ])
}

/// An event without what differs from run to run: ports, tokens, and retransmitted announcements.
type Seen = (String, String, Option<IpAddr>, Option<IpAddr>, Option<u8>, Option<u8>, usize);

/// What happened, of both namespaces or of one.
fn events(file: &Path, namespaces: &[&str]) -> Result<BTreeSet<Seen>, Failed> {
    let recording = recording::read(BufReader::new(fs::File::open(file)?))?;
    let mut seen = BTreeSet::new();
    for namespace in namespaces {
        for (_, event) in recording.events(namespace) {
            if matches!(event.kind, EventKind::ListenerCreated | EventKind::ListenerClosed) {
                continue;
            }
            let address = |address: Option<IpAddr>| address.map(|address| address.to_canonical());
            let mut key = (
                (*namespace).to_owned(),
                event.kind.word(),
                address(event.local),
                address(event.remote),
                event.local_id,
                event.remote_id,
                1,
            );
            let again = event.kind == EventKind::Announced;
            while !seen.insert(key.clone()) && !again {
                key.6 += 1;
            }
        }
    }
    Ok(seen)
}

/// Runs it, imports each report of it, runs the drafts, and compares.
fn round_trip(scenario: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let topologies = path.join("topologies");
    fs::create_dir(&topologies)?;
    for name in ["two-links.yaml", "four-links.yaml"] {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/topologies").join(name);
        fs::copy(shared, topologies.join(name))?;
    }
    fs::write(
        path.join("first.yaml"),
        format!("title: A round trip\nabout: It fails, to leave evidence.\n{scenario}{FAILS}"),
    )?;
    let output = mptcplab(path, &["run", "-q", "--no-snapshot", "--evidence", "evidence", "first.yaml"]).output()?;
    has_code(&output, 1)?;
    let evidence = path.join("evidence/first");
    for (report, namespaces) in REPORTS {
        let wanted = events(&evidence.join("recording.jsonl"), namespaces)?;
        if wanted.len() < 4 {
            return Err(format!("too little happened: {wanted:#?}").into());
        }
        let file = evidence.join(report);
        let draft = format!("{report}.yaml");
        let file = file.to_str().ok_or("not UTF-8")?;
        has_code(&mptcplab(path, &["import", file, "-o", &draft]).output()?, 0)?;
        has_code(&mptcplab(path, &["check", &draft]).output()?, 0)?;
        let again = format!("{report}.jsonl");
        let output = mptcplab(path, &["run", "--no-snapshot", "--no-evidence", "--record", &again, &draft]).output()?;
        let yaml = fs::read_to_string(path.join(&draft))?;
        has_code(&output, 0).map_err(|failed| format!("{report}: {}\n{yaml}", failed.message().unwrap_or_default()))?;
        let seen = events(&path.join(&again), namespaces)?;
        if seen != wanted {
            let (lost, new) = (wanted.difference(&seen), seen.difference(&wanted));
            let (lost, new): (Vec<_>, Vec<_>) = (lost.collect(), new.collect());
            let said = text(&output.stdout);
            return Err(format!("{report}: lost {lost:#?}, new {new:#?}\n{yaml}\n{said}").into());
        }
    }
    Ok(())
}
