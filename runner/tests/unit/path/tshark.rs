//! The same by tshark, where it is installed: `cargo test --test unit path::tshark -- --ignored`.

use std::fs;
use std::process::Command;

use mptcplab::scenario::model::{Injected, Injection, Rewrite, RuleAction};
use mptcplab::wire::MptcpOption;

use super::edits::dss;
use super::harness::{Harness, MS, Tcp, any, ip};

/// A capture file as libpcap has it: magic, version 2.4, snapshot length, Ethernet.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1]);
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[1, 0, length, length]));
        file.extend(frame);
    }
    file
}

/// What each action makes of two segments.
fn treated() -> Vec<Vec<u8>> {
    let rewrite = Rewrite { option: "dss".into(), data_sequence_offset: Some(5), ..Rewrite::default() };
    let address = |ipv6: bool| ip(if ipv6 { "fd00:1::99" } else { "10.0.1.99" });
    let mut frames = Vec::new();
    for ipv6 in [false, true] {
        let announcement = Injected::AddAddr { id: 3, address: address(ipv6), port: Some(5) };
        let actions = [
            RuleAction::Corrupt(2),
            RuleAction::Strip(Some("mp_prio".into())),
            RuleAction::Rewrite(rewrite.clone()),
            RuleAction::Nat { address: address(ipv6), port: Some(7000) },
            RuleAction::Inject(Injection { forward: true, what: Injected::Reset }),
            RuleAction::Inject(Injection { forward: false, what: Injected::Fin }),
            RuleAction::Inject(Injection { forward: true, what: announcement }),
            RuleAction::Split(400),
            RuleAction::Merge(2),
        ];
        for action in actions {
            let mut harness = Harness::with_rule(any(), action);
            let prio = MptcpOption::MpPrio { backup: true };
            for sequence in [100, 700] {
                let segment = Tcp::data(sequence, &[7; 600]).option(&dss(None)).option(&prio).six(ipv6);
                frames.extend(harness.send(0, &segment.frame(0)).into_iter().map(|(_, frame)| frame));
            }
            frames.extend(harness.after(50 * MS).into_iter().map(|(_, frame)| frame));
        }
    }
    frames
}

#[test]
#[ignore = "needs tshark"]
fn tshark_finds_nothing_wrong() {
    let frames = [treated(), super::actions::treated()].concat();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("treated.pcap");
    fs::write(&file, capture(&frames)).unwrap();
    let fields = ["ip.checksum.status", "tcp.checksum.status", "_ws.malformed", "tcp.options.mptcp.subtype"];
    let checks = ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE"].map(|option| ["-o", option]);
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&file)
        .args(checks.concat())
        .args(["-T", "fields", "-E", "separator=;"])
        .args(fields.map(|field| ["-e", field]).concat())
        .output()
        .unwrap();
    let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), frames.len());
    for (line, frame) in lines.iter().zip(&frames) {
        let values: Vec<&str> = line.split(';').collect();
        let ipv4 = frame[12] == 8;
        assert_eq!(values[..3], [if ipv4 { "1" } else { "" }, "1", ""], "{line}: {frame:02x?}");
        let ours = mptcplab::wire::Segment::parse(frame, u32::try_from(frame.len()).unwrap()).unwrap();
        let subtypes: Vec<String> = ours.options.iter().map(|option| (option.encode()[2] >> 4).to_string()).collect();
        assert_eq!(values[3], subtypes.join(","));
    }
}
