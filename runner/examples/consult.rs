//! Applies the rules of the reference to recordings: `cargo run --example consult -- RECORDING…`.
//!
//! It prints the violations, the undetermined decisions, and the number of decisions of each rule.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "it is for reading, and may fail")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use mptcplab::recording;
use mptcplab::reference::{Outcome, RULES, consult};

fn main() {
    let mut by_rule: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let wanted = std::env::var("RULE").ok();
    for path in std::env::args().skip(1) {
        let file = BufReader::new(File::open(&path).expect("a recording"));
        let recording = match recording::read(file) {
            Ok(recording) => recording,
            Err(error) => {
                println!("{path}: {error}");
                continue;
            }
        };
        let Ok(scenario) = recording.header.scenario() else {
            println!("{path}: its scenario can't be read");
            continue;
        };
        for decision in consult(&scenario, &recording).decisions {
            *by_rule.entry(decision.rule.name).or_default().entry(decision.outcome.word()).or_default() += 1;
            let asked = wanted.as_deref() == Some(decision.rule.name);
            if asked || decision.outcome.is_violation() || decision.outcome == Outcome::Undetermined {
                println!(
                    "{path}: {} {} {} at {} ns: {}: {}: {} {:?}",
                    decision.outcome.word(),
                    decision.connection,
                    decision.side.word(),
                    decision.at,
                    decision.candidate,
                    decision.rule.name,
                    decision.because,
                    decision.evidence,
                );
            }
        }
    }
    for rule in RULES {
        println!("{}: {:?}", rule.name, by_rule.get(rule.name));
    }
}
