//! The rules as a page of the documentation: `docs/rules.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{RULES, Rule};

/// Maximum number of scenarios that are named for each rule.
const NAMED: usize = 4;

/// Begins the list of scenarios.
const SCENARIOS: &str = "Scenarios, for example: ";

/// The page, in Markdown. `scenarios`: the labels of the scenarios that exercise a rule, by its name.
pub fn page(scenarios: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut text = String::from(
        "# The rules of MPTCP and of its path manager\n\n\
         <!-- Generated: `MPTCPLAB_UPDATE=1 cargo test --test kernel -- rules`. The texts stand in runner/src/reference. -->\n\n\
         mptcplab applies these rules to each run, whatever the scenario expects. A rule says what a host does, given its\n\
         configuration and what it received. `mptcplab explain` shows the decisions; a broken rule fails the run, with a\n\
         finding of kind `rule`.\n",
    );
    for rule in RULES {
        let exercised = scenarios.get(rule.name);
        _ = write!(text, "\n## {}\n\n{}\n\n{}", rule.name, rule.statement, facts(rule, exercised));
    }
    text
}

fn facts(rule: &Rule, exercised: Option<&BTreeSet<String>>) -> String {
    let mut text = format!("- Source: {}\n", rule.source);
    if !rule.kernels.is_empty() {
        _ = writeln!(text, "- Kernels: {}", rule.kernels);
    }
    let named: Vec<String> = exercised.into_iter().flatten().take(NAMED).map(|label| format!("`{label}`")).collect();
    let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
    _ = writeln!(text, "- {SCENARIOS}{named}");
    text
}

/// The scenarios that the page names for each rule.
pub fn named(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut named = BTreeMap::new();
    let mut rule = None;
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            rule = Some(name.to_owned());
        } else if let Some(list) = line.strip_prefix("- ").and_then(|line| line.strip_prefix(SCENARIOS))
            && let Some(rule) = rule.take()
        {
            let labels = list.split('`').skip(1).step_by(2).map(str::to_owned);
            named.insert(rule, labels.collect());
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_what_it_names() {
        let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        let scenarios = BTreeMap::from([("token".to_owned(), labels(&["a@ipv4", "b"]))]);
        let page = page(&scenarios);
        let named = named(&page);
        assert_eq!(named.get("token"), scenarios.get("token"));
        assert_eq!(named.len(), RULES.len());
        assert!(page.contains("- Scenarios, for example: `a@ipv4`, `b`\n"), "{page}");
    }
}
