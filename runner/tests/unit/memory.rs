//! How much memory a recording takes: it grows with the traffic, so each segment has to be cheap. A whole program is
//! measured, and everything that it keeps of a segment at the same time: reading, judging and the story.

#![expect(clippy::unwrap_used, reason = "a test may fail like this")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

/// The most bytes for each segment that was captured, twice on its way: a good 400, and what allocators round up.
const MOST: i64 = 600;

const SCENARIO: &str = r"
title: Bulk data
about: Many segments.
links:
  link:
    ends:
      client: { device: eth1, addresses: [10.0.1.2/24] }
      server: { device: eth1, addresses: [10.0.1.1/24] }
namespaces: { client: {}, server: {} }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
";

/// A recording of a transfer, with so many segments: each leaves the client and arrives at the server.
fn recording(segments: usize) -> String {
    let source = serde_json::json!({ "name": "bulk.yaml", "text": SCENARIO });
    let header = serde_json::json!({
        "format": 1, "mptcplab": "0.1.0", "kernel": "6.18", "title": "Bulk data", "file": "bulk.yaml",
        "sources": [source], "features": [],
    });
    let mut text = format!("{header}\n");
    for number in 0..segments {
        let sequence = 1 + 548 * number;
        for (delay, namespace, direction) in [(0, "client", "out"), (5, "server", "in")] {
            let dss = serde_json::json!({ "dss": {
                "data_fin": false,
                "data_ack": [1, true],
                "mapping": { "data_sequence": sequence, "wide": true, "subflow_sequence": sequence, "length": 548 },
            }});
            let segment = serde_json::json!({
                "source": "10.0.1.2:40000", "destination": "10.0.1.1:8080", "flags": 16, "sequence": sequence,
                "acknowledgment": 1, "payload": 548, "options": [dss],
            });
            let entry = serde_json::json!({
                "at": 1000 * number + delay, "type": "packet", "namespace": namespace, "device": "eth1",
                "direction": direction, "segment": segment,
            });
            _ = writeln!(text, "{entry}");
        }
    }
    text + "{\"at\":4000000000,\"type\":\"ended\"}\n"
}

/// The most memory that any child has had so far, in bytes, after it has told the story of that recording.
fn most_after(folder: &Path, segments: usize) -> i64 {
    let file = folder.join(format!("{segments}.jsonl"));
    fs::write(&file, recording(segments)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
    let output = command.arg("judge").arg(&file).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = format!("{segments} segments: ");
    assert!(text.contains(&told), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() * 1024
}

/// The most that any child had: so this process must have no others.
#[test]
fn memory_for_each_segment_is_bounded() {
    const ALONE: &str = "MPTCPLAB_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "memory::memory_for_each_segment_is_bounded"]).env(ALONE, "1");
        let output = alone.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(" 1 passed;"), "{text}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [few, many] = [1_000, 61_000].map(|segments| most_after(folder.path(), segments));
    let each = (many - few) / (2 * 60_000);
    assert!(each <= MOST, "each captured segment takes {each} bytes");
}
