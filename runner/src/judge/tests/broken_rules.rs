//! Rules that a kernel is known to break: told if it does, a failure if it does not. The recording is that of a kernel
//! without `fullmesh_once`.

use crate::judge::{FindingKind, Judged, Measures, RuleCounts, Rules, Snapshots, Verdict, judged};
use crate::recording::{Direction, Entry, Observation, Recording, Stalled, StepOutcome};
use crate::scenario::model::{BrokenRule, Scenario};
use crate::wire::MptcpOption;

use super::fixture::place;

const DOUBLES: &str = "no-second-subflow-between-the-same-addresses";

/// The form of the scenario on the kernel of the recording.
fn run() -> (Scenario, Recording) {
    let text = include_str!("../../../../fixtures/recordings/fullmesh-doubles.jsonl");
    let mut recording = crate::recording::read(text.as_bytes()).unwrap();
    // The machine was emulated; its stalls would excuse failures.
    recording.entries.retain(|entry| !matches!(entry.what, Observation::Stalled { .. } | Observation::Busy(_)));
    let scenario = recording.header.scenario().unwrap();
    (recording.header.form(&scenario).scenario().clone(), recording)
}

fn by(rules: Rules, (scenario, recording): &(Scenario, Recording)) -> (Verdict, RuleCounts) {
    let Judged { verdict, rules } = judged(scenario, recording, Measures { snapshots: Snapshots::Ignore, rules });
    (verdict, rules.unwrap())
}

/// The summaries of the findings, which are about rules.
fn summaries(verdict: Verdict) -> Vec<String> {
    let Verdict::Failed(findings) = verdict else { panic!("{verdict:?}") };
    assert!(findings.iter().all(|finding| finding.kind == FindingKind::Rule), "{findings:?}");
    findings.into_iter().map(|finding| finding.summary).collect()
}

#[test]
fn an_expected_fault_is_told() {
    let run = run();
    let (verdict, counts) = by(Rules::Apply, &run);
    assert_eq!(verdict, Verdict::Passed);
    let [fault] = counts.known_faults.as_slice() else { panic!("{counts:?}") };
    assert!(
        fault
            .summary
            .starts_with(&format!("this kernel breaks a rule, as the scenario says: {DOUBLES}: client of main"))
    );
    assert!(fault.place.is_some() && fault.detail.starts_with("fault: fill_remote_addresses_vec"), "{fault:?}");
    assert_eq!((counts.by_rule[DOUBLES].known_faults, counts.total().known_faults), (1, 1));
    let style = crate::report::Style { colour: false, unicode: true };
    assert!(crate::report::reference_line(&counts, style).ends_with("1 known fault of this kernel"));
    assert!(crate::report::story(&run.0, &run.1, style).contains(&fault.summary));
    let report = crate::report::RunReport {
        scenario: &run.0,
        verdict: &verdict,
        rules: Some(&counts),
        duration: std::time::Duration::ZERO,
        repetition: None,
        compared: true,
        rates: &[],
        remark: Some("a remark"),
    };
    assert_eq!(report.remarks(), ["a remark", &fault.summary]);
    let json: serde_json::Value = serde_json::from_str(&crate::report::json_line(&report).unwrap()).unwrap();
    assert_eq!(
        (&json["known_faults"][0]["kind"], &json["reference"][DOUBLES]["known_faults"]),
        (&"rule".into(), &1.into())
    );
}

#[test]
fn a_rule_that_is_kept_against_expectation_is_a_failure() {
    let mut run = run();
    let kept = BrokenRule { place: place(7), rule: "implicit-endpoints", because: None };
    run.0.expect.broken_rules.push(kept);
    let (verdict, counts) = by(Rules::Apply, &run);
    assert_eq!(counts.total().known_faults, 1);
    let Verdict::Failed(findings) = &verdict else { panic!("{verdict:?}") };
    assert_eq!(findings[0].place, Some(place(7)));
    assert_eq!(
        summaries(verdict),
        ["the scenario says that this kernel breaks the rule implicit-endpoints, but it keeps it"]
    );
}

#[test]
fn a_run_that_was_cut_short_says_nothing_about_kept_rules() {
    let mut run = run();
    run.0.expect.broken_rules.push(BrokenRule { place: place(7), rule: "implicit-endpoints", because: None });
    for entry in &mut run.1.entries {
        if let Observation::StepFinished { step: 3, outcome } = &mut entry.what {
            *outcome = StepOutcome::NotQuiet { seen: None, after: None };
        }
    }
    run.1.entries.retain(|entry| {
        !matches!(&entry.what, Observation::StepStarted { step: 4, .. } | Observation::StepFinished { step: 4, .. })
    });
    let (verdict, _) = by(Rules::Apply, &run);
    let Verdict::Failed(findings) = verdict else { panic!("{verdict:?}") };
    assert!(findings.iter().all(|finding| finding.kind != FindingKind::Rule), "{findings:?}");
}

#[test]
fn an_unexpected_fault_fails_the_run() {
    let mut run = run();
    run.0.expect.broken_rules.clear();
    let (verdict, counts) = by(Rules::Apply, &run);
    assert_eq!(counts.known_faults, []);
    assert!(matches!(summaries(verdict).as_slice(), [only] if only.starts_with(DOUBLES)));
}

#[test]
fn the_reference_alone_expects_nothing() {
    let mut run = run();
    run.0.expect.broken_rules.push(BrokenRule { place: place(7), rule: "implicit-endpoints", because: None });
    let (verdict, counts) = by(Rules::Only, &run);
    assert_eq!(counts.known_faults, []);
    assert!(matches!(summaries(verdict).as_slice(), [only] if only.starts_with(DOUBLES)));
}

#[test]
fn the_fault_is_expected_of_kernels_that_have_it() {
    let (_, mut recording) = run();
    let scenario = recording.header.scenario().unwrap();
    assert_eq!(recording.header.form(&scenario).scenario().expect.broken_rules.len(), 1);
    recording.header.lacks.clear();
    assert_eq!(recording.header.form(&scenario).scenario().expect.broken_rules.len(), 0);
}

#[test]
fn a_stall_excuses_what_comes_late_and_not_what_a_segment_says() {
    let stalled = |mut run: (Scenario, Recording)| {
        let is_step = |what: &Observation| matches!(what, Observation::StepStarted { .. });
        let first = run.1.entries.iter().position(|entry| is_step(&entry.what)).unwrap();
        let at = run.1.entries[first].at;
        for entry in &mut run.1.entries[first + 1..] {
            entry.at += 400_000_000;
        }
        let what = Observation::Stalled { whose: Stalled::Run, lasted: 400_000_000, waited: None };
        run.1.entries.insert(first + 1, Entry { at, what });
        by(Rules::Apply, &run).0
    };
    let mut late = run();
    late.0.expect.broken_rules.clear();
    assert!(matches!(stalled(late), Verdict::Error(_)));

    let mut wrong = run();
    let mut options = wrong.1.entries.iter_mut().filter_map(|entry| match &mut entry.what {
        Observation::Packet { direction: Direction::Out, segment, .. } => Some(&mut segment.options),
        _ => None,
    });
    let token = options.find_map(|options| {
        options.iter_mut().find_map(|option| pick!(option, MptcpOption::MpJoinSyn { token, .. } => token))
    });
    *token.unwrap() ^= 1;
    let Verdict::Failed(findings) = stalled(wrong) else { panic!() };
    assert!(
        findings.iter().any(|finding| finding.kind == FindingKind::WireRule && finding.summary.starts_with("token"))
    );
}
