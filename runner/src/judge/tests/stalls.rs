//! A failure beside a stall is an error, and nothing passes because of one.

use crate::judge::{FindingKind, Snapshots, Verdict, snapshot_path, verdict};
use crate::recording::{Busy, Entry, Integrity, Observation, Stalled, StepOutcome, Timeout};

use super::fixture::Run;
use super::verdicts::set_outcome;

const MILLISECOND: u64 = 1_000_000;

/// A run in which something came late, `from` milliseconds after its first step began. What was behind came later, then.
fn stalled(run: &mut Run, whose: Stalled, from: u64, lasted: u64, waited: Option<u64>) {
    let entries = &mut run.recording.entries;
    let begin = entries.iter().find(|entry| matches!(entry.what, Observation::StepStarted { .. })).unwrap().at;
    let from_then_on = begin + from * MILLISECOND;
    for entry in entries.iter_mut().filter(|entry| entry.at > from_then_on) {
        if !matches!(entry.what, Observation::Stalled { .. }) {
            entry.at = entry.at.max(from_then_on + lasted * MILLISECOND);
        }
    }
    let what = Observation::Stalled { whose, lasted: lasted * MILLISECOND, waited: waited.map(|ms| ms * MILLISECOND) };
    entries.push(Entry { at: begin + from * MILLISECOND, what });
    entries.sort_by_key(|entry| entry.at);
}

/// A wait that ran out.
fn failing() -> Run {
    let mut run = Run::good();
    set_outcome(&mut run, 2, &StepOutcome::TimedOut(Timeout::in_words("3 subflows", "2")));
    run
}

fn outcome(run: &Run) -> Verdict {
    verdict(&run.scenario, &run.recording, Snapshots::Review)
}

#[track_caller]
fn fails(run: &Run) {
    assert!(matches!(outcome(run), Verdict::Failed(_)), "{:?}", outcome(run));
}

/// The summary of the stall; what failed stands below it.
#[track_caller]
fn is_stalled(run: &Run) -> String {
    match outcome(run) {
        Verdict::Error(findings) => {
            assert!(findings.len() > 1, "{findings:?}");
            assert_eq!(findings[0].kind, FindingKind::Stalled);
            format!("{}\n{}", findings[0].summary, findings[0].detail)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_without_a_stall_is_a_failure() {
    fails(&failing());
}

#[test]
fn a_failure_beside_a_small_stall_is_a_failure() {
    let mut run = failing();
    stalled(&mut run, Stalled::Run, 0, 150, Some(150));
    fails(&run);
    // The same time once more adds nothing.
    stalled(&mut run, Stalled::Processor { number: 0 }, 0, 150, None);
    fails(&run);
    for (whose, lasted) in [(Stalled::Path { link: "one".to_owned() }, 15), (Stalled::Worker { processor: 0 }, 150)] {
        let mut run = failing();
        stalled(&mut run, whose, 0, lasted, None);
        fails(&run);
    }
}

#[test]
fn a_failure_beside_a_stall_is_an_error_that_shows_both() {
    let path = Stalled::Path { link: "one".to_owned() };
    let (processor, worker) = (Stalled::Processor { number: 1 }, Stalled::Worker { processor: 1 });
    for (whose, lasted) in [(Stalled::Run, 190), (path, 20), (processor, 190), (worker, 190)] {
        let mut run = failing();
        stalled(&mut run, whose, 1, lasted, None);
        is_stalled(&run);
    }
    let mut run = failing();
    stalled(&mut run, Stalled::Run, 2, 1310, None);
    run.push(Observation::Busy(Busy { throttled: Some(5_100_000_000), of: 9_000_000_000, ..Busy::default() }));
    insta::assert_snapshot!(is_stalled(&run));
}

#[test]
fn small_stalls_within_a_second_add_up() {
    let mut run = failing();
    for from in [0, 1, 2] {
        stalled(&mut run, Stalled::Run, 150 * from, 100, Some(100));
    }
    let at =
        run.recording.entries.iter_mut().find(|entry| matches!(entry.what, Observation::StepFinished { step: 2, .. }));
    at.unwrap().at += 1000 * MILLISECOND;
    run.recording.entries.sort_by_key(|entry| entry.at);
    assert!(is_stalled(&run).contains("several times"), "{}", is_stalled(&run));
}

#[test]
fn what_the_thread_did_not_wait_for_a_processor_counts_only_if_it_is_long() {
    let mut run = failing();
    stalled(&mut run, Stalled::Run, 0, 150, Some(5));
    fails(&run);
    stalled(&mut run, Stalled::Run, 1, 200, Some(5));
    is_stalled(&run);
}

#[test]
fn a_stall_explains_nothing_before_the_first_step_or_after_the_failure() {
    let mut run = failing();
    run.recording
        .entries
        .insert(0, Entry { at: 0, what: Observation::Stalled { whose: Stalled::Run, lasted: 1, waited: None } });
    fails(&run);
    stalled(&mut run, Stalled::Run, 5000, 1000, None);
    fails(&run);
}

#[test]
fn only_the_part_of_a_stall_before_the_failure_explains_it() {
    let mut run = failing();
    let entries = &mut run.recording.entries;
    let begin = entries.iter().find(|entry| matches!(entry.what, Observation::StepStarted { .. })).unwrap().at;
    let lasted = 500 * MILLISECOND;
    entries.push(Entry { at: begin, what: Observation::Stalled { whose: Stalled::Run, lasted, waited: Some(0) } });
    entries.sort_by_key(|entry| entry.at);
    fails(&run);
    stalled(&mut run, Stalled::Run, 0, 500, Some(0));
    is_stalled(&run);
}

#[test]
fn a_damaged_byte_is_never_a_stall() {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Transferred { integrity, .. } => {
            *integrity = Integrity::Corrupt { first: 3, count: 1 };
            true
        }
        _ => false,
    });
    stalled(&mut run, Stalled::Run, 0, 5000, None);
    fails(&run);
}

#[test]
fn a_snapshot_that_differs_beside_a_stall_is_an_error_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::good();
    run.scenario.file = folder.path().join("demo.yaml");
    let snapshots = folder.path().join("snapshots");
    std::fs::create_dir(&snapshots).unwrap();
    std::fs::write(snapshot_path(&run.scenario), "---\nsource: demo.yaml\n---\nanother run\n").unwrap();
    stalled(&mut run, Stalled::Run, 0, 300, None);
    is_stalled(&run);
    assert_eq!(std::fs::read_dir(&snapshots).unwrap().count(), 1);
}

#[test]
fn a_stall_finds_nothing_by_itself() {
    let mut run = Run::good();
    stalled(&mut run, Stalled::Run, 0, 5000, None);
    assert_eq!(run.findings(), []);
}

#[test]
fn a_snapshot_that_is_missing_is_not_missing_because_of_a_stall() {
    let mut run = Run::good();
    stalled(&mut run, Stalled::Run, 0, 2000, None);
    match outcome(&run) {
        Verdict::Failed(findings) => assert_eq!(findings[0].kind, FindingKind::SnapshotNew),
        other => panic!("{other:?}"),
    }
}
