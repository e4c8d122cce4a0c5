use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::{ArtifactDir, Case};
use crate::engine::{NamespaceFrames, Run};
use crate::judge::{Finding, FindingKind, Verdict};
use crate::mptcp::{EventKind, Limits, PmEvent};
use crate::netlink::DeviceNames;
use crate::observe::{CapturedFrame, FrameCopies, LogLine};
use crate::plan::example;
use crate::recording::{Direction, Entry, Header, Moment, Observation, Recording};

fn run() -> Run {
    let header = Header {
        format: crate::recording::FORMAT,
        mptcplab: "0.1.0".to_owned(),
        kernel: "6.18.0".to_owned(),
        title: "a title".to_owned(),
        file: "scenarios/fullmesh.yaml".to_owned(),
        variant: None,
        sources: Vec::new(),
        features: vec!["mptcp".to_owned()],
        lacks: Vec::new(),
    };
    let counters = |moment, value| Observation::Counters {
        namespace: "client".to_owned(),
        moment,
        values: BTreeMap::from([("MPTcpExtMPJoinSynTx".to_owned(), value), ("TcpInErrs".to_owned(), 0)]),
    };
    let limits = Limits { subflows: 4, add_addr_accepted: 1 };
    let observations = [
        counters(Moment::Start, 3),
        Observation::Event {
            namespace: "client".to_owned(),
            event: Box::new(PmEvent { token: Some(7), ..PmEvent::new(EventKind::Closed) }),
        },
        counters(Moment::End, 5),
        Observation::Limits { namespace: "client".to_owned(), moment: Moment::End, limits },
        Observation::Ended,
    ];
    let entries = (0_u64..).zip(observations).map(|(at, what)| Entry { at, what }).collect();
    let mut frames = FrameCopies::default();
    for ifindex in [2, 3, 2] {
        frames.keep(&CapturedFrame {
            at_ns: 7,
            ifindex,
            direction: Direction::Out,
            original_length: 60,
            bytes: &[0; 60],
        });
    }
    let devices = DeviceNames::from_iter([(2, "eth1"), (3, "eth2")]);
    let line =
        LogLine { level: 4, facility: 0, since_boot_us: 77_000_123, text: "eth1: link becomes ready".to_owned() };
    Run {
        recording: Recording { header, entries },
        frames: vec![NamespaceFrames { namespace: "client".to_owned(), devices, frames }],
        kernel_log: Ok(vec![line]),
    }
}

fn verdict() -> Verdict {
    let (summary, detail) = ("2 expected, 1 observed".to_owned(), String::new());
    Verdict::Failed(vec![Finding {
        kind: FindingKind::Subflows,
        place: None,
        summary,
        detail,
        at: None,
        reasons: Vec::new(),
        values: None,
    }])
}

#[test]
fn a_case_is_a_folder_of_files() {
    let (scenario, run, verdict) = (example::scenario(), run(), verdict());
    let target = tempfile::tempdir().unwrap();
    let mut shelf = ArtifactDir::new(Some(target.path().join("deep/below")));
    let repetition = Some((3, Some(9)));
    let case = Case { scenario: &scenario, verdict: &verdict, duration: Duration::ZERO, run: Some(&run), repetition };
    let folder = shelf.keep(&case).unwrap();
    assert!(folder.ends_with(format!("{}-run-3", crate::text::file_name(&scenario.label()))), "{}", folder.display());
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(
        read("counters.txt"),
        "client, at the end: moved since the start\n  MPTcpExtMPJoinSynTx              2\n"
    );
    assert_eq!(
        read("endpoints.txt"),
        format!("limits of client, at the end\n  {}\n", Limits { subflows: 4, add_addr_accepted: 1 })
    );
    assert_eq!(read("kernel-log.txt"), "[   77.000123] eth1: link becomes ready\n");
    assert!(read("failure.txt").contains("subflows: 2 expected, 1 observed"));
    assert_eq!(read("client.monitor"), "[          CLOSED] token=00000007\n");
    assert!(read("plan.sh").contains("ip netns add client"));
    assert!(read("versions.txt").starts_with("mptcplab "));
    assert!(!folder.join("sockets.txt").exists());
    let recording = crate::recording::read(fs::read(folder.join("recording.jsonl")).unwrap().as_slice()).unwrap();
    assert_eq!(recording, run.recording);
}

#[test]
fn packets_keep_their_interfaces() {
    use pcap_parser::traits::PcapReaderIterator as _;
    use pcap_parser::{Block, PcapBlockOwned};

    let mut file = Vec::new();
    super::packets::write(&run().frames[0], &mut file).unwrap();
    let mut reader = pcap_parser::PcapNGReader::new(65536, file.as_slice()).unwrap();
    let (mut interfaces, mut packets) = (0, Vec::new());
    while let Ok((length, block)) = reader.next() {
        match block {
            PcapBlockOwned::NG(Block::InterfaceDescription(_)) => interfaces += 1,
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => packets.push(packet.if_id),
            _ => {}
        }
        reader.consume(length);
    }
    assert_eq!((interfaces, packets), (2, vec![0, 1, 0]));
}

#[test]
fn without_a_run_there_is_still_the_failure() {
    let (scenario, verdict) = (example::scenario(), verdict());
    let target = tempfile::tempdir().unwrap();
    let mut shelf = ArtifactDir::new(Some(target.path().to_owned()));
    let case = Case { scenario: &scenario, verdict: &verdict, duration: Duration::ZERO, run: None, repetition: None };
    let folder = shelf.keep(&case).unwrap();
    assert!(folder.join("failure.txt").exists() && !folder.join("recording.jsonl").exists());
    assert_ne!(shelf.keep(&case).unwrap(), folder);
}

#[test]
fn a_folder_for_temporary_files_is_made_when_it_is_needed() {
    let (scenario, verdict) = (example::scenario(), verdict());
    let mut shelf = ArtifactDir::new(None);
    assert_eq!(shelf.folder(), None);
    let case = Case { scenario: &scenario, verdict: &verdict, duration: Duration::ZERO, run: None, repetition: None };
    let folder = shelf.keep(&case).unwrap();
    let root = shelf.folder().unwrap().to_owned();
    assert!(folder.starts_with(&root));
    fs::remove_dir_all(root).unwrap();
}
