use indexmap::IndexMap;

use super::*;
use crate::results::FORMAT;

/// A scenario that passed, with what was observed.
pub(crate) fn passed(label: &str, canonical: &str) -> Outcome {
    Outcome {
        label: label.to_owned(),
        title: format!("the title of {label}"),
        verdict: Ruling::Passed,
        reason: None,
        findings: Vec::new(),
        duration_ms: 100,
        sources: "1".to_owned(),
        snapshot: "2".to_owned(),
        file: label.to_owned(),
        observation: Some(String::new()),
        canonical: Some(canonical.to_owned()),
    }
}

pub(crate) fn failed(label: &str, canonical: &str) -> Outcome {
    Outcome { verdict: Ruling::Failed, findings: vec![finding("counter")], ..passed(label, canonical) }
}

pub(crate) fn skipped(label: &str, reason: &str) -> Outcome {
    let (verdict, reason) = (Ruling::Skipped, Some(reason.to_owned()));
    Outcome { verdict, reason, observation: None, canonical: None, ..passed(label, "") }
}

pub(crate) fn broken(label: &str) -> Outcome {
    Outcome { verdict: Ruling::Error, findings: vec![finding("set-up")], ..passed(label, "") }
}

fn finding(kind: &str) -> StoredFinding {
    let summary = format!("the {kind} went wrong");
    StoredFinding { kind: kind.to_owned(), summary, detail: String::new(), expected: None, observed: None }
}

pub(crate) fn results(release: &str, laminar: Found, scenarios: Vec<Outcome>) -> Results {
    let kernel =
        KernelIdentity { release: release.to_owned(), version: "#1 SMP".to_owned(), machine: "x86_64".to_owned() };
    let features: IndexMap<String, Found> =
        [("mptcp".to_owned(), Found::Yes), ("laminar".to_owned(), laminar)].into_iter().collect();
    Results {
        format: FORMAT,
        mptcplab: "0.1.0".to_owned(),
        date: "2026-11-24T18:30:00Z".to_owned(),
        kernel,
        features,
        late_trouble: Vec::new(),
        scenarios,
    }
}

pub(crate) fn no(reason: &str) -> Found {
    Found::No(reason.to_owned())
}

pub(crate) fn compare(a: Vec<Outcome>, b: Vec<Outcome>) -> Comparison {
    let (a, b) = (results("6.1.0", no("the flag is not kept"), a), results("6.12.0", Found::Yes, b));
    Comparison::of(Both { a: "out/old".to_owned(), b: "out/new".to_owned() }, Both { a: &a, b: &b })
}

/// One scenario of each kind.
pub(crate) fn one_of_each() -> Comparison {
    let same = "events of client:\n  created main\n  established main\n";
    let a = vec![
        passed("s/same", same),
        passed("s/behaves", same),
        passed("s/fails", same),
        passed("s/gone", same),
        skipped("s/newer", "needs `laminar`: the flag is not kept"),
        skipped("s/never", "needs `tbf`: ENOENT"),
        broken("s/broken"),
    ];
    let b = vec![
        passed("s/come", same),
        passed("s/same", same),
        passed("s/behaves", "events of client:\n  created main\n  announced 10.0.2.1 id 1\n  established main\n"),
        failed("s/fails", same),
        passed("s/newer", same),
        skipped("s/never", "needs `tbf`: ENOENT"),
        passed("s/broken", same),
    ];
    compare(a, b)
}

fn only(comparison: Comparison) -> Relation {
    let [only] = <[Compared; 1]>::try_from(comparison.scenarios).unwrap();
    only.relation
}

#[test]
fn each_relation_is_found() {
    let comparison = one_of_each();
    let tallies =
        Tallies { all: 8, same: 1, differ: 2, only_on_one: 2, skipped_on_one: 1, both_skipped: 1, undecided: 1 };
    assert_eq!(comparison.tallies(), tallies);
    let labels: Vec<&str> = comparison.scenarios.iter().map(|compared| compared.label.as_str()).collect();
    assert_eq!(labels, ["s/same", "s/behaves", "s/fails", "s/gone", "s/newer", "s/never", "s/broken", "s/come"]);
    assert_eq!(comparison.features, [("laminar".to_owned(), Side::B)]);
}

#[test]
fn a_difference_has_its_lines() {
    let Relation::Differs { verdicts, diff, .. } =
        only(compare(vec![passed("s", "a\nb\n")], vec![failed("s", "a\nc\n")]))
    else {
        panic!("no difference");
    };
    assert_eq!(verdicts, Both { a: Ruling::Passed, b: Ruling::Failed });
    assert_eq!(diff, "--- out/old\n+++ out/new\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
}

#[test]
fn verdicts_may_differ_alone() {
    let relation = only(compare(vec![passed("s", "a")], vec![failed("s", "a")]));
    assert!(matches!(relation, Relation::Differs { diff, .. } if diff.is_empty()));
    assert_eq!(only(compare(vec![failed("s", "a")], vec![failed("s", "a")])), Relation::Same(Ruling::Failed));
}

#[test]
fn what_can_not_be_compared_is_not_the_same() {
    let (other, known) = (Outcome { sources: "9".to_owned(), ..passed("s", "a") }, passed("s", "a"));
    assert!(matches!(only(compare(vec![known.clone()], vec![other])), Relation::Undecided(_)));
    for (a, b) in [(broken("s"), known.clone()), (known.clone(), broken("s")), (broken("s"), broken("s"))] {
        assert!(matches!(only(compare(vec![a], vec![b])), Relation::Undecided(_)));
    }
    let dead = Outcome { canonical: None, ..failed("s", "a") };
    assert!(matches!(only(compare(vec![dead.clone()], vec![dead])), Relation::Undecided(_)));
}

#[test]
fn a_kernel_that_dies_differs() {
    let dead = || Outcome { canonical: None, ..failed("s", "a") };
    for other in [passed("s", "a"), failed("s", "a")] {
        for (a, b) in [(dead(), other.clone()), (other.clone(), dead())] {
            assert!(matches!(only(compare(vec![a], vec![b])), Relation::Differs { .. }));
        }
    }
}

#[test]
fn the_kernels_own_trouble_is_a_difference() {
    let mut comparison = one_of_each();
    assert!(!comparison.trouble_differs());
    comparison.sides.b.late_trouble.push("BUG: x".to_owned());
    assert!(comparison.trouble_differs());
}
