//! Drafts of scenarios from real reports, from damaged ones, and from those that mean harm.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail like this")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use mptcplab::import::{Draft, ImportError, import};
use mptcplab::scenario::{self, SourceText};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/import")
}

fn report(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// The draft, which is a scenario without errors.
fn draft(report: &[u8]) -> Draft {
    let draft = import(report, false).unwrap();
    check(&draft);
    draft
}

fn check(draft: &Draft) {
    let source = SourceText { name: "draft.yaml".to_owned(), text: draft.yaml.clone() };
    if let Err(diagnostics) = scenario::load_sources(Path::new("draft.yaml"), None, &[source]) {
        panic!("{}\n{}", diagnostics.render(false), draft.yaml);
    }
}

/// The draft without its comments, its title, and what only one form of the report tells.
fn body(draft: &Draft) -> String {
    let lines = draft.yaml.lines().filter(|line| !line.starts_with("# ") && !line.starts_with("title"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn of_a_monitor_log_of_the_client() {
    insta::assert_snapshot!(draft(&report("monitor-client.txt")).yaml);
}

#[test]
fn of_a_monitor_log_of_the_server() {
    insta::assert_snapshot!(draft(&report("monitor-server.txt")).yaml);
}

#[test]
fn of_a_debug_report() {
    insta::assert_snapshot!(draft(&report("get-debug.txt")).yaml);
}

#[test]
fn of_all_sockets() {
    insta::assert_snapshot!(draft(&report("ss-all.txt")).yaml);
}

#[test]
fn of_mptcp_sockets() {
    insta::assert_snapshot!(draft(&report("ss-mptcp.txt")).yaml);
}

#[test]
fn of_endpoints() {
    insta::assert_snapshot!(draft(&report("endpoints.txt")).yaml);
}

#[test]
fn of_a_capture() {
    insta::assert_snapshot!(draft(&report("any.pcap")).yaml);
}

#[test]
fn each_form_of_a_log_gives_the_same_draft() {
    let client = body(&draft(&report("monitor-client.txt")));
    for other in ["monitor-times.txt", "monitor.json"] {
        assert_eq!(body(&draft(&report(other))), client, "{other}");
    }
    assert_eq!(body(&draft(&report("endpoints.json"))), body(&draft(&report("endpoints.txt"))));
}

#[test]
fn outputs_may_stand_in_one_file() {
    let log = [report("limits.txt"), report("endpoints.json"), b"\n".to_vec(), report("monitor-client.txt")].concat();
    let text = draft(&log).yaml;
    assert!(text.contains("limits: { subflows: 4, add_addr_accepted: 1 }\n"), "{text}");
    assert!(text.contains("flags: [subflow, backup, fullmesh], id: 7, dev: eth3 }\n"), "{text}");
    assert!(
        text.contains("- sub_established: { local: 10.0.3.2, remote: 10.0.4.1, local_id: 7, remote_id: 1 }"),
        "{text}"
    );
}

#[test]
fn what_is_not_determined_is_in_the_draft_and_beside_it() {
    let draft = draft(&report("monitor-client.txt"));
    assert!(draft.undetermined.iter().any(|line| line.starts_with("The limits of the server")), "{draft:?}");
    let comments: String = draft.yaml.lines().filter_map(|line| line.strip_prefix("# ")).collect::<Vec<_>>().join(" ");
    for line in &draft.undetermined {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert!(words(&comments).contains(&words(line)), "{line}");
    }
}

#[test]
fn a_failed_subflow_is_undetermined() {
    let log = "\
[         CREATED] token=1 remid=0 locid=0 saddr4=192.168.1.5 daddr4=203.0.113.9 sport=51810 dport=443
[     ESTABLISHED] token=1 remid=0 locid=0 saddr4=192.168.1.5 daddr4=203.0.113.9 sport=51810 dport=443
[  SF_ESTABLISHED] token=1 remid=0 locid=2 saddr4=100.64.0.7 daddr4=203.0.113.9 sport=40001 dport=443 backup=0
[       SF_CLOSED] token=1 remid=0 locid=2 saddr4=100.64.0.7 daddr4=203.0.113.9 sport=40001 dport=443 backup=0 error=110
[          CLOSED] token=1
";
    let draft = draft(log.as_bytes());
    let what = "what closed the subflow 100.64.0.7 → 203.0.113.9 of `main` with ETIMEDOUT";
    assert!(draft.undetermined.iter().any(|line| line.contains(what)), "{draft:?}");
    assert!(draft.yaml.contains(&format!("  # UNDETERMINED: {what}")), "{}", draft.yaml);
    // Nothing passes by accident: what was seen is expected all the same.
    assert!(draft.yaml.contains("remote_id: 0, error: ETIMEDOUT }"), "{}", draft.yaml);
    // The server is behind the gateways of both networks.
    assert!(draft.yaml.contains("addresses: [203.0.113.9/32, 192.168.1.1/24]"), "{}", draft.yaml);
    assert!(draft.yaml.contains("- { address: 100.64.0.7, flags: [subflow], id: 2 }"), "{}", draft.yaml);
}

#[test]
fn several_connections_of_one_pair_of_hosts() {
    let of = |token: u32, saddr: &str, daddr: &str, side: &str| {
        format!(
            "[CREATED] token={token} remid=0 locid=0 saddr4={saddr} daddr4={daddr} sport=50000 dport=8080{side}\n\
             [ESTABLISHED] token={token} remid=0 locid=0 saddr4={saddr} daddr4={daddr} sport=50000 dport=8080{side}\n"
        )
    };
    let log = [
        of(1, "10.0.1.2", "10.0.1.1", ""),
        of(2, "10.0.1.2", "10.0.1.1", " server_side"),
        of(3, "10.0.1.2", "10.0.9.9", ""),
        of(4, "127.0.0.1", "127.0.0.1", ""),
        "[CLOSED] token=1\n".to_owned(),
    ]
    .concat();
    let draft = draft(log.as_bytes());
    assert!(draft.yaml.contains("name: c1, from: client, to: server, address: 10.0.1.1 }"), "{}", draft.yaml);
    // In the second one, the host of the log is the server.
    assert!(
        draft.yaml.contains("name: c2, from: server, to: client, address: 10.0.1.2, port: 50000 }"),
        "{}",
        draft.yaml
    );
    assert!(!draft.yaml.contains("10.0.9.9") && !draft.yaml.contains("127.0.0.1"), "{}", draft.yaml);
    assert!(draft.undetermined.iter().any(|line| line.starts_with("2 connections of other hosts")), "{draft:?}");
}

#[test]
fn a_log_that_began_too_late() {
    let log = report("monitor-client.txt");
    let late: Vec<u8> = log.split_inclusive(|byte| *byte == b'\n').skip(2).collect::<Vec<_>>().concat();
    let draft = draft(&late);
    assert!(
        draft.undetermined.iter().any(|line| line.starts_with("The beginning of `main` is not in the log")),
        "{draft:?}"
    );
}

#[test]
fn addresses_are_replaced_consistently() {
    let text = String::from_utf8(report("get-debug.txt")).unwrap();
    let networks =
        [("10.0.1.", "192.168.77."), ("10.0.2.", "172.20.5."), ("10.0.3.", "100.64.9."), ("10.0.4.", "203.0.113.")];
    let text = networks.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let text = text.replace("eth3", "wlp3s0").replace("6.18.44", "6.18.44-secret");
    let draft = import(text.as_bytes(), true).unwrap();
    check(&draft);
    for secret in networks.map(|(_, network)| network).into_iter().chain(["wlp3s0", "secret"]) {
        assert!(!format!("{draft:?}").contains(secret), "{secret}: {}", draft.yaml);
    }
    // The same, but for the names: the first network of the log is that of the first endpoint.
    let plain = import(text.as_bytes(), false).unwrap();
    let count = |draft: &Draft, word: &str| draft.yaml.matches(word).count();
    for word in ["sub_established", "announced", "fullmesh", "link", "dev: "] {
        assert_eq!(count(&draft, word), count(&plain, word), "{word}");
    }
    assert!(draft.yaml.contains("dev: dev1 }"), "{}", draft.yaml);
    let addresses = |draft: &Draft| {
        let words = draft.yaml.split(|letter: char| !letter.is_ascii_hexdigit() && !".:".contains(letter));
        let mut found: Vec<IpAddr> = words.filter_map(|word| word.parse().ok()).collect();
        found.sort();
        found.dedup();
        found.len()
    };
    assert_eq!(addresses(&draft), addresses(&plain));
}

#[test]
fn nothing_of_a_damaged_line_is_told_if_nobody_may_see_it() {
    let log = [report("monitor-client.txt"), b"[ CREATED] token=1 saddr4=203.0.113.777\n".to_vec()].concat();
    let told = import(log.as_slice(), false).unwrap().unread;
    assert_eq!(told, ["line 12: an event that can't be read: `saddr4` has the value `203.0.113.777`"]);
    let hidden = import(log.as_slice(), true).unwrap().unread;
    assert_eq!(hidden, ["line 12: an event that can't be read"]);
}

/// Every text is cut off somewhere, and what is before it is read.
#[test]
fn a_report_that_is_cut_off() {
    for name in ["monitor-client.txt", "monitor.json", "get-debug.txt", "ss-all.txt", "endpoints.json", "any.pcap"] {
        let whole = report(name);
        let step = 1 + whole.len() / 200;
        for length in (0..whole.len()).step_by(step) {
            match import(&whole[..length], false) {
                Ok(draft) => check(&draft),
                Err(ImportError::Unreadable(error)) => panic!("{name} {length}: {error}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn where_reading_ended_is_told() {
    let json = report("monitor.json");
    let unread = import(&json[..500], false).unwrap().unread;
    assert_eq!(unread.len(), 1, "{unread:?}");
    assert!(unread[0].starts_with("reading ended at byte 4") && unread[0].contains("EOF while parsing"), "{unread:?}");

    let capture = report("any.pcap");
    let unread = import(&capture[..5000], false).unwrap().unread;
    assert_eq!(unread, ["reading ended at byte 4939: the file is cut off within a block"]);

    let log = String::from_utf8(report("monitor-client.txt")).unwrap();
    let cut = log.find("daddr4=10.0.4.1").unwrap() + "daddr4=10.0.".len();
    let draft = import(&log.as_bytes()[..cut], false).unwrap();
    assert_eq!(draft.unread, ["line 5: an event that can't be read: `daddr4` has the value `10.0.`"]);
    assert!(draft.undetermined.iter().any(|line| line.starts_with("Whether the last line is whole")), "{draft:?}");
    assert!(draft.yaml.contains("local_id: 7") && !draft.yaml.contains("10.0.4"), "{}", draft.yaml);
}

#[test]
fn other_files_are_refused() {
    for other in [&b""[..], b"hello\n", b"\x7fELF\x02\x01", b"[]", b"10.0.0.1\n"] {
        assert!(matches!(import(other, false), Err(ImportError::Unknown)), "{other:?}");
    }
    let empty = report("any.pcap")[..24].to_vec();
    let Err(ImportError::Nothing { summary, .. }) = import(empty.as_slice(), false) else {
        panic!("a draft of nothing")
    };
    assert_eq!(summary, "read a capture of 0 TCP segments");
}

/// Text of a report never becomes YAML of its own.
#[test]
fn names_are_data() {
    let json = r#"[{"address":"10.0.2.2","id":1,"subflow":true,"dev":"a, flags: [signal] }\n  - x"},
        {"address":"10.0.3.2","id":2,"subflow":true,"dev":"no"},{"address":"10.0.4.2","id":2,"port":0,"signal":true}]"#;
    let draft = draft(json.as_bytes());
    assert!(!draft.yaml.contains("  - x") && !draft.yaml.contains("dev: no"), "{}", draft.yaml);
    let sysctl = "net.mptcp.scheduler = x\" }\nlimits\nadd_addr_accepted 1 subflows 2\nLinux h 6.1\u{1b}[31m #1\n";
    let draft = import(sysctl.as_bytes(), false).unwrap();
    check(&draft);
    assert!(!draft.yaml.contains("scheduler") && !draft.yaml.contains('\u{1b}'), "{}", draft.yaml);
}
