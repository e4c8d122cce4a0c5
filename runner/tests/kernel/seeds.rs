//! With one seed the same packets are lost, doubled and overtaken, run for run: the program itself, on this kernel. What
//! happened to which packet is taken from the recordings that it stores.
//!
//! How many packets a direction has isn't the same in each run: acknowledgments are put together as time goes. So the
//! fates of those packets are compared that all runs had, by their numbers, and how many those are is part of the test.
//! The delays that jitter draws are no effects in a recording; `tests/unit/path` proves that they depend on the seed alone.
//!
//! `cargo test --test kernel seeds:: -- --ignored` does it fifty times. Where this kernel or user can't run scenarios, the
//! tests are reported as ignored, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufReader;

use libtest_mimic::Failed;
use mptcplab::recording::{self, Moment, Observation, PathEffect, Recording};

use super::Test;
use super::program::{self, has_code, mptcplab};

/// Loses, doubles, delays and reorders in both directions.
const SCENARIO: &str = "\
title: A path as bad as can be
about: What happens to a packet follows from the seed, the direction and its number.
links:
  link1: { ends: { client: { device: eth1, addresses: [10.0.1.2/24] }, server: { device: eth1, addresses: [10.0.1.1/24] } } }
paths:
  link1:
    seed: SEED
    both:
      { delay: 2 ms, jitter: 1 ms, loss: 3 %, duplicate: 2 %, reorder: { which: 4 %, by: 3 ms } }
    rules:
      - { name: the SYN is late, from: client, flags: [syn], nth: 1, action: { delay: 5 ms } }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - transfer: { connection: main, each_way: 256 KiB, timeout: 60 s }
  - close: { connection: main, by: client }
";

/// Of each direction, at least so many packets must have been compared.
const PACKETS: u64 = 150;

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    program::tests(&[
        ("one_seed_brings_one_fate", None, false, || one_fate(5)),
        ("one_seed_brings_one_fate_fifty_times", None, true, || one_fate(50)),
        ("another_seed_brings_another_fate", None, false, another_seed),
        ("a_different_fate_is_noticed", None, false, a_different_fate_is_noticed),
    ])
}

/// What happened to the packets of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Fates {
    /// How many entered.
    packets: u64,
    /// What was done, by the number of the packet.
    effects: BTreeMap<u64, BTreeSet<String>>,
}

impl Fates {
    /// Those of the first packets.
    fn of_the_first(&self, packets: u64) -> BTreeMap<u64, BTreeSet<String>> {
        self.effects.range(..=packets).map(|(number, effects)| (*number, effects.clone())).collect()
    }
}

/// By the namespace that sends.
type Directions = BTreeMap<String, Fates>;

fn fates(recording: &Recording) -> Directions {
    let mut directions = Directions::new();
    for entry in &recording.entries {
        match &entry.what {
            Observation::Path { sender, number, what, .. } => {
                let effect = match what {
                    PathEffect::Rule { rule, action, .. } => format!("{action} by {rule}"),
                    other => format!("{other:?}"),
                };
                let fates = directions.entry(sender.to_string()).or_default();
                fates.effects.entry(*number).or_default().insert(effect);
            }
            Observation::PathTotals { sender, moment: Moment::End, totals, .. } => {
                directions.entry(sender.clone()).or_default().packets = totals.entered;
            }
            _ => {}
        }
    }
    directions
}

/// Where runs differ, among the packets that all of them had; and how many those are in each direction.
fn compare(runs: &[Directions]) -> (Vec<String>, BTreeMap<String, u64>) {
    let first = runs.first().cloned().unwrap_or_default();
    let fewest = |sender: &String| runs.iter().map(|run| run.get(sender).map_or(0, |fates| fates.packets)).min();
    let compared: BTreeMap<String, u64> =
        first.keys().map(|sender| (sender.clone(), fewest(sender).unwrap_or_default())).collect();
    let mut differences = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        for (sender, packets) in &compared {
            let of = |run: &Directions| run.get(sender).map(|fates| fates.of_the_first(*packets));
            let (expected, found) = (of(&first), of(run));
            if expected != found {
                differences.push(format!("run {}, {sender}: {found:?} instead of {expected:?}", index + 1));
            }
        }
    }
    (differences, compared)
}

/// So many runs with a seed. Each but the first is compared with the first one's snapshot, by the program.
fn run(seed: u64, times: usize) -> Result<Vec<Directions>, Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scenario.yaml");
    fs::write(&file, SCENARIO.replace("SEED", &seed.to_string()))?;
    let mut runs = Vec::new();
    let mut snapshot: Option<Vec<u8>> = None;
    for number in 1..=times {
        let mut arguments = vec!["run", "--no-evidence", "--record", "run.jsonl", "scenario.yaml"];
        arguments.extend(snapshot.is_none().then_some("--update"));
        let output = mptcplab(folder.path(), &arguments).output()?;
        has_code(&output, 0)
            .map_err(|failed| format!("run {number} with the seed {seed}: {}", failed.message().unwrap_or_default()))?;
        let snapshots = fs::read_dir(folder.path().join("snapshots"))?.collect::<Result<Vec<_>, _>>()?;
        let [only] = snapshots.as_slice() else { return Err(format!("{snapshots:?}").into()) };
        let bytes = fs::read(only.path())?;
        if snapshot.get_or_insert_with(|| bytes.clone()) != &bytes {
            return Err(format!("run {number} with the seed {seed} has another snapshot").into());
        }
        let recording = fs::File::open(folder.path().join("run.jsonl"))?;
        runs.push(fates(&recording::read(BufReader::new(recording)).map_err(|error| error.to_string())?));
    }
    Ok(runs)
}

#[expect(clippy::print_stdout, reason = "what was compared, and what happened to it, is a result")]
fn one_fate(times: usize) -> Result<(), Failed> {
    let runs = run(7, times)?;
    let (differences, compared) = compare(&runs);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let numbers: Vec<&str> = compared.keys().map(String::as_str).collect();
    assert_eq!(numbers, ["client", "server"]);
    for (sender, packets) in &compared {
        let effects = runs[0][sender].of_the_first(*packets);
        let done = |what: &str| effects.values().filter(|effects| effects.contains(what)).count();
        let [lost, twice, late] = ["Lost", "Duplicated", "Reordered"].map(done);
        println!(
            "{times} runs, packets 1 to {packets} of the {sender}: in each {lost} lost, {twice} doubled, {late} overtaken"
        );
        assert!(*packets >= PACKETS && lost > 0 && twice > 0 && late > 0, "{packets} {effects:?}");
    }
    let syn = &runs[0]["client"].effects[&1];
    assert!(syn.contains("delay by the SYN is late"), "{syn:?}");
    Ok(())
}

fn another_seed() -> Result<(), Failed> {
    let (one, another) = (run(7, 1)?, run(8, 1)?);
    let (differences, _) = compare(&[one, another].concat());
    assert_eq!(differences.len(), 2, "both directions: {differences:?}");
    Ok(())
}

/// The comparison itself: one packet of many that came through in one run and not in another.
fn a_different_fate_is_noticed() -> Result<(), Failed> {
    let mut runs = run(7, 1)?;
    runs.push(runs[0].clone());
    assert_eq!(compare(&runs).0, Vec::<String>::new());
    let last = runs[1]["server"].packets;
    let mut changed = runs.clone();
    changed[1].get_mut("server").unwrap().effects.entry(last).or_default().insert("Vanished".to_owned());
    assert_eq!(compare(&changed).0.len(), 1);
    // A packet that not all runs had isn't compared.
    changed[1].get_mut("server").unwrap().packets += 1;
    let late = changed[1].get_mut("server").unwrap().effects.remove(&last).unwrap();
    changed[1].get_mut("server").unwrap().effects = runs[1]["server"].effects.clone();
    changed[1].get_mut("server").unwrap().effects.insert(last + 1, late);
    assert_eq!(compare(&changed).0, Vec::<String>::new());
    Ok(())
}
