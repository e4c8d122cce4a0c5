//! Every subtest of the kernel's own path manager tests is covered by a scenario that is there: the lists in
//! `fixtures/upstream`, which `ci/against-upstream` reads, too.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;

use mptcplab::scenario;

/// Subtests of `mptcp_join.sh` in Linux 6.18.
const JOIN: usize = 130;
/// Checks of `pm_netlink.sh`, that of the default limits included.
const PM_NETLINK: usize = 23;

/// A line of a list: the subtest's number, its name, and the rest, if the list has more.
#[derive(Debug)]
struct Line {
    number: usize,
    name: String,
    scenarios: Vec<String>,
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
            let scenarios = words.get(2).map(|word| word.split(", ").map(str::to_owned).collect());
            Line { number, name: words[1].to_owned(), scenarios: scenarios.unwrap_or_default() }
        })
        .collect()
}

/// What is wrong with the coverage of one script.
fn faults(names: &str, map: &str, count: usize) -> Vec<String> {
    let names = list(names, 2);
    let numbers: Vec<usize> = names.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "the names are those of all subtests, in order");
    let mut found = Vec::new();
    let mut mapped = BTreeMap::new();
    for line in list(map, 3) {
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
    assert_eq!(faults("names-join.txt", "join.txt", JOIN), Vec::<String>::new());
}

#[test]
fn every_check_of_pm_netlink_is_covered() {
    assert_eq!(faults("names-pm-netlink.txt", "pm-netlink.txt", PM_NETLINK), Vec::<String>::new());
}

#[test]
fn what_is_not_there_is_noticed() {
    assert!(exists("scenarios/fullmesh.yaml").is_ok());
    assert!(exists("scenarios/fullmesh.yaml@ipv4").is_ok());
    assert!(exists("scenarios/fullmesh.yaml@ipv5").is_err());
    assert!(exists("scenarios/no-such-file.yaml").is_err());
}
