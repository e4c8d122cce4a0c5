//! Each rule of the reference is exercised by a scenario, and `docs/rules.md` is what the rules say.
//!
//! `MPTCPLAB_UPDATE=1` writes the page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use libtest_mimic::Failed;
use mptcplab::reference::{RULES, named, page};

use super::Test;
use super::program::{self, has_code, mptcplab, text};

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    program::tests(&[("each_rule_is_exercised_and_documented", None, false, each_rule)])
}

fn each_rule() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let exercised = exercised(&root)?;
    let file = root.join("docs/rules.md");
    if std::env::var_os("MPTCPLAB_UPDATE").is_some() {
        std::fs::write(&file, page(&exercised))?;
    }
    let idle: Vec<&str> = RULES.iter().map(|rule| rule.name).filter(|name| !exercised.contains_key(*name)).collect();
    if !idle.is_empty() {
        return Err(format!("no scenario exercises these rules; write one: {}", idle.join(", ")).into());
    }
    let current = std::fs::read_to_string(&file)?;
    // Which four scenarios stand there may depend on the run; that each of them exercises the rule may not.
    let stated = named(&current);
    if page(&stated) != current {
        return Err("docs/rules.md is out of date: `MPTCPLAB_UPDATE=1 cargo test --test kernel -- rules`".into());
    }
    for (rule, labels) in &stated {
        let wrong: Vec<&String> = labels.iter().filter(|label| !exercised[rule].contains(*label)).collect();
        if !wrong.is_empty() || labels.is_empty() {
            return Err(format!("docs/rules.md says that {wrong:?} exercise `{rule}`; they don't").into());
        }
    }
    Ok(())
}

/// The scenarios that exercise each rule, by a run of all of them.
fn exercised(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, Failed> {
    let output = mptcplab(root, &["run", "--json", "--no-evidence", "--no-snapshot", "scenarios"]).output()?;
    has_code(&output, 0)?;
    let mut exercised: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text(&output.stdout).lines() {
        let run: serde_json::Value = serde_json::from_str(line)?;
        let label = run["label"].as_str().unwrap_or_default().trim_start_matches("scenarios/").to_owned();
        for (rule, _) in run["reference"].as_object().into_iter().flatten() {
            exercised.entry(rule.clone()).or_default().insert(label.clone());
        }
    }
    Ok(exercised)
}
