//! Several kernels at once. The main type is [`Table`]: scenario × kernel, and feature × kernel.

use std::collections::BTreeSet;

use crate::results::{Found, KernelIdentity, Outcome, Results, Ruling, StoredFinding};

/// The results of scenarios on several kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The kernels, in the order of the list.
    pub columns: Vec<Column>,
    /// The features that were probed on any of them.
    pub features: Vec<FeatureRow>,
    /// The scenarios, by folder, in the order in which they were shown.
    pub scenarios: Vec<ScenarioRow>,
}

/// A kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in the list.
    pub name: String,
    /// Which kernel it was; or why it has no results.
    pub kernel: Result<KernelIdentity, String>,
    /// How many scenarios were run for this table.
    pub ran: usize,
    /// How many had been run before.
    pub reused: usize,
    /// What the kernel said about problems of its own while no scenario ran.
    pub late_trouble: Vec<String>,
}

/// A feature on each kernel; `None` where it was not probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureRow {
    /// Its word.
    pub word: String,
    /// In the order of the kernels.
    pub cells: Vec<Option<Found>>,
}

/// A scenario on each kernel; `None` where there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioRow {
    /// Its name.
    pub label: String,
    /// Its title.
    pub title: String,
    /// In the order of the kernels.
    pub cells: Vec<Option<Cell>>,
}

/// The result of a scenario on a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The verdict.
    pub ruling: Ruling,
    /// Why it was skipped.
    pub reason: Option<String>,
    /// The findings.
    pub findings: Vec<StoredFinding>,
    /// Which of the different observations was made, from 0 for that of the first kernel that ran it.
    pub behaviour: Option<usize>,
}

impl ScenarioRow {
    /// How many different observations were made.
    pub fn behaviours(&self) -> usize {
        self.cells.iter().flatten().filter_map(|cell| cell.behaviour).collect::<BTreeSet<_>>().len()
    }

    /// It passed on each kernel, with the same observation.
    pub fn is_alike(&self) -> bool {
        let passed = |cell: &Option<Cell>| cell.as_ref().is_some_and(|cell| cell.ruling == Ruling::Passed);
        self.cells.iter().all(passed) && self.behaviours() <= 1
    }

    /// The folder that the scenario is in.
    pub fn folder(&self) -> &str {
        // A variant may have a slash in its name.
        let file = self.label.split_once('@').map_or(self.label.as_str(), |(file, _)| file);
        file.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The rest of the name.
    pub fn name(&self) -> &str {
        let folder = self.folder();
        if folder.is_empty() { &self.label } else { self.label.get(folder.len() + 1..).unwrap_or(&self.label) }
    }
}

impl Cell {
    /// The features that a skipped scenario lacks, by their words, as far as the reason names them.
    pub fn lacks(&self) -> Vec<&str> {
        // "needs `laminar`: the flag is not kept; `tbf`: ENOENT"
        let Some(needs) = self.reason.as_deref().and_then(|reason| reason.strip_prefix("needs ")) else {
            return Vec::new();
        };
        let word =
            |part: &'_ str| part.strip_prefix('`').and_then(|rest| rest.split_once("`: ")).map(|(word, _)| word.len());
        needs.split("; ").filter_map(|part| part.get(1..=word(part)?)).collect()
    }
}

impl Table {
    /// The table of these kernels. `results`: of each column that has some.
    pub fn of(columns: Vec<Column>, results: &[Option<Results>]) -> Self {
        let all = results.iter().flatten();
        let words = distinct(all.clone().flat_map(|results| results.features.keys().map(String::as_str)));
        let features = words.into_iter().map(|word| {
            let cell = |results: &Option<Results>| results.as_ref()?.features.get(word).cloned();
            FeatureRow { word: word.to_owned(), cells: results.iter().map(cell).collect() }
        });
        let labels = distinct(all.flat_map(|results| results.scenarios.iter().map(|outcome| outcome.label.as_str())));
        let scenarios = labels.into_iter().map(|label| row(label, results));
        Self { columns, features: features.collect(), scenarios: scenarios.collect() }
    }

    /// The folders that scenarios are in, in order.
    pub fn folders(&self) -> Vec<&str> {
        distinct(self.scenarios.iter().map(ScenarioRow::folder))
    }
}

/// Each one once, where it comes first.
fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    words.filter(|word| seen.insert(*word)).collect()
}

fn row(label: &str, results: &[Option<Results>]) -> ScenarioRow {
    let outcome = |results: &'_ Option<Results>| -> Option<Outcome> {
        results.as_ref()?.scenarios.iter().find(|outcome| outcome.label == label).cloned()
    };
    let outcomes: Vec<Option<Outcome>> = results.iter().map(outcome).collect();
    let title = outcomes.iter().flatten().next().map(|outcome| outcome.title.clone()).unwrap_or_default();
    let mut observations: Vec<String> = Vec::new();
    let cells = outcomes.into_iter().map(|outcome| {
        let outcome = outcome?;
        // What could not be trusted is no behaviour.
        let canonical = outcome.canonical.filter(|_| outcome.verdict != Ruling::Error);
        let behaviour = canonical.map(|text| {
            observations.iter().position(|known| *known == text).unwrap_or_else(|| {
                observations.push(text);
                observations.len() - 1
            })
        });
        Some(Cell { ruling: outcome.verdict, reason: outcome.reason, findings: outcome.findings, behaviour })
    });
    let cells = cells.collect();
    ScenarioRow { label: label.to_owned(), title, cells }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::tests::{broken, failed, no, passed, results, skipped};
    use super::*;

    /// Three kernels, one of which didn't boot.
    pub(crate) fn table() -> Table {
        let old = vec![
            passed("s/a/same", "x"),
            passed("s/a/behaves@ipv4", "x"),
            skipped("s/b/newer", "needs `laminar`: the flag is not kept; `tbf`: ENOENT"),
            broken("s/b/broken"),
            passed("top", "x"),
        ];
        let new = vec![
            passed("s/a/same", "x"),
            passed("s/a/behaves@ipv4", "y"),
            passed("s/b/newer", "x"),
            failed("s/b/broken", "x"),
            passed("top", "x"),
        ];
        let (old, new) = (results("6.1.0", no("the flag is not kept"), old), results("6.12.0", Found::Yes, new));
        let column = |name: &str, kernel, ran, reused| Column {
            name: name.to_owned(),
            kernel,
            ran,
            reused,
            late_trouble: Vec::new(),
        };
        let columns = vec![
            column("old", Ok(old.kernel.clone()), 5, 0),
            column("dead", Err("the kernel did not boot".to_owned()), 0, 0),
            column("new", Ok(new.kernel.clone()), 1, 4),
        ];
        Table::of(columns, &[Some(old), None, Some(new)])
    }

    #[test]
    fn cells_say_which_behaviour_it_was() {
        let table = table();
        let behaviours: Vec<Vec<Option<usize>>> = table
            .scenarios
            .iter()
            .map(|row| row.cells.iter().map(|cell| cell.as_ref().and_then(|cell| cell.behaviour)).collect())
            .collect();
        assert_eq!(
            behaviours,
            [
                [Some(0), None, Some(0)],
                [Some(0), None, Some(1)],
                [None, None, Some(0)],
                [None, None, Some(0)],
                [Some(0), None, Some(0)]
            ]
        );
        assert_eq!(table.scenarios[1].behaviours(), 2);
        assert_eq!(table.features[1].cells, [Some(no("the flag is not kept")), None, Some(Found::Yes)]);
    }

    #[test]
    fn a_kernel_without_results_is_not_alike() {
        let mut table = table();
        assert!(!table.scenarios[0].is_alike());
        for row in &mut table.scenarios {
            row.cells.remove(1);
        }
        let alike: Vec<bool> = table.scenarios.iter().map(ScenarioRow::is_alike).collect();
        assert_eq!(alike, [true, false, false, false, true]);
    }

    #[test]
    fn names_have_their_folders() {
        let table = table();
        assert_eq!(table.folders(), ["s/a", "s/b", ""]);
        assert_eq!((table.scenarios[1].folder(), table.scenarios[1].name()), ("s/a", "behaves@ipv4"));
        assert_eq!((table.scenarios[4].folder(), table.scenarios[4].name()), ("", "top"));
    }

    #[test]
    fn reasons_name_the_features() {
        let table = table();
        let cell = table.scenarios[2].cells[0].as_ref().unwrap();
        assert_eq!(cell.lacks(), ["laminar", "tbf"]);
        let other = Cell { reason: Some("no reason of ours".to_owned()), ..cell.clone() };
        assert!(other.lacks().is_empty());
    }
}
