//! Every subtest of the kernel's own path manager tests, and every case of `simult_flows.sh`, is covered by a scenario that
//! is there; so is what `mptcp_connect.sh` is about, or the list says why not. The lists are in `fixtures/upstream`;
//! `ci/against-upstream` reads them, too.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mptcplab::scenario;

/// Subtests of `mptcp_join.sh` in Linux 6.18.
const JOIN: usize = 130;
/// Checks of `pm_netlink.sh`, that of the default limits included.
const PM_NETLINK: usize = 23;
/// Cases of `simult_flows.sh`: five, each in both directions.
const SIMULT_FLOWS: usize = 10;
/// What `mptcp_connect.sh` is about, and how much of that no scenario covers.
const CONNECT: usize = 26;
const CONNECT_GAPS: usize = 10;
/// Subtests of `diag.sh` in Linux 7.3, and those that no scenario covers.
const DIAG: usize = 32;
const DIAG_GAPS: usize = 0;
/// Results of `mptcp_sockopt.sh` in Linux 7.3; in one of them there is no MPTCP.
const SOCKOPT: usize = 11;
const SOCKOPT_GAPS: usize = 1;
/// Results of `userspace_pm.sh`.
const USERSPACE_PM: usize = 37;
/// What stands before the reason where no scenario covers something.
const GAP: &str = "gap: ";

/// A line of a list: the subtest's number, its name, and the rest, if the list has more.
#[derive(Debug)]
struct Line {
    number: usize,
    name: String,
    scenarios: Vec<String>,
    /// Why there is none.
    gap: Option<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The lines of a list, with so many columns each.
fn list(name: &str, columns: usize) -> Vec<Line> {
    let text = std::fs::read_to_string(root().join("fixtures/upstream").join(name)).expect("a list of subtests");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let words: Vec<&str> = line.split(" | ").collect();
            assert_eq!(words.len(), columns, "{name}: `{line}`");
            let number = words[0].parse().expect("a number in the first column");
            let rest = words.get(2).copied().unwrap_or_default();
            let gap = rest.strip_prefix(GAP).map(str::to_owned);
            let scenarios = if gap.is_some() || rest.is_empty() { "" } else { rest };
            let scenarios = scenarios.split(", ").filter(|word| !word.is_empty()).map(str::to_owned).collect();
            Line { number, name: words[1].to_owned(), scenarios, gap }
        })
        .collect()
}

/// What is wrong with the coverage of one script.
fn faults(names: &str, map: &str, count: usize, gaps: usize) -> Vec<String> {
    let names = list(names, 2);
    let numbers: Vec<usize> = names.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "the names are those of all subtests, in order");
    let mut found = Vec::new();
    let mut mapped = BTreeMap::new();
    let lines = list(map, 3);
    let reasons: Vec<&String> = lines.iter().filter_map(|line| line.gap.as_ref()).collect();
    if reasons.len() != gaps || reasons.iter().any(|reason| reason.trim().is_empty()) {
        found.push(format!("{map}: {gaps} gaps are known, each with its reason, not {reasons:?}"));
    }
    for line in lines {
        if line.scenarios.is_empty() && line.gap.is_none() {
            found.push(format!("{map}: {}: neither a scenario nor a reason", line.number));
        }
        for scenario in &line.scenarios {
            if let Err(fault) = exists(scenario) {
                found.push(format!("{map}: {}: {fault}", line.number));
            }
        }
        if let Some(before) = mapped.insert(line.number, line) {
            found.push(format!("{map}: {} is there twice", before.number));
        }
    }
    for name in names {
        match mapped.remove(&name.number) {
            Some(line) if line.name != name.name => {
                found.push(format!("{map}: {} is called `{}`, not `{}`", name.number, name.name, line.name));
            }
            Some(_) => {}
            None => found.push(format!("{map}: nothing covers {}, `{}`", name.number, name.name)),
        }
    }
    found.extend(mapped.into_keys().map(|number| format!("{map}: the script has no subtest {number}")));
    found
}

/// Whether there is such a scenario: a file, which stands for all of its variants, or `FILE@VARIANT`.
fn exists(scenario: &str) -> Result<(), String> {
    let (file, variant) = match scenario.split_once('@') {
        Some((file, variant)) => (file, Some(variant)),
        None => (scenario, None),
    };
    let scenarios = scenario::load(&root().join(file)).map_err(|diagnostics| format!("`{file}`: {diagnostics}"))?;
    let variants: Vec<&str> = scenarios.iter().filter_map(|scenario| scenario.variant.as_deref()).collect();
    match variant {
        Some(variant) if !variants.contains(&variant) => {
            Err(format!("`{file}` has no variant `{variant}`, but {variants:?}"))
        }
        _ => Ok(()),
    }
}

#[test]
fn every_subtest_of_mptcp_join_is_covered() {
    assert_eq!(faults("names-join.txt", "join.txt", JOIN, 0), Vec::<String>::new());
}

#[test]
fn every_check_of_pm_netlink_is_covered() {
    assert_eq!(faults("names-pm-netlink.txt", "pm-netlink.txt", PM_NETLINK, 0), Vec::<String>::new());
}

#[test]
fn every_case_of_simult_flows_is_covered() {
    assert_eq!(faults("names-simult-flows.txt", "simult-flows.txt", SIMULT_FLOWS, 0), Vec::<String>::new());
    let cases = list("simult-flows.txt", 3);
    let scenarios: BTreeSet<&String> = cases.iter().flat_map(|case| &case.scenarios).collect();
    assert_eq!(scenarios.len(), SIMULT_FLOWS, "each has one of its own: {scenarios:?}");
}

#[test]
fn what_mptcp_connect_is_about_is_covered_or_has_a_reason() {
    let (names, map) = ("names-mptcp-connect.txt", "mptcp-connect.txt");
    assert_eq!(faults(names, map, CONNECT, CONNECT_GAPS), Vec::<String>::new());
}

#[test]
fn every_subtest_of_diag_is_covered() {
    assert_eq!(faults("names-diag.txt", "diag.txt", DIAG, DIAG_GAPS), Vec::<String>::new());
}

#[test]
fn every_result_of_mptcp_sockopt_is_covered_or_has_a_reason() {
    let (names, map) = ("names-mptcp-sockopt.txt", "mptcp-sockopt.txt");
    assert_eq!(faults(names, map, SOCKOPT, SOCKOPT_GAPS), Vec::<String>::new());
}

#[test]
fn every_result_of_userspace_pm_is_covered() {
    assert_eq!(faults("names-userspace-pm.txt", "userspace-pm.txt", USERSPACE_PM, 0), Vec::<String>::new());
}

#[test]
fn what_is_not_there_is_noticed() {
    let fewer = faults("names-mptcp-connect.txt", "mptcp-connect.txt", CONNECT, CONNECT_GAPS - 1);
    assert!(matches!(fewer.as_slice(), [fault] if fault.contains("gaps are known")), "{fewer:?}");
    let another = faults("names-simult-flows.txt", "pm-netlink.txt", SIMULT_FLOWS, 0);
    assert!(another.iter().any(|fault| fault.contains("is called")), "{another:?}");
    assert!(exists("scenarios/fullmesh.yaml").is_ok());
    assert!(exists("scenarios/fullmesh.yaml@ipv4").is_ok());
    assert!(exists("scenarios/fullmesh.yaml@ipv5").is_err());
    assert!(exists("scenarios/no-such-file.yaml").is_err());
}
