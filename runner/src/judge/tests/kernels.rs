//! What a kernel can't show is not expected of it, and nothing else is let off.

use std::collections::BTreeSet;

use crate::judge::FindingKind;
use crate::judge::names::Names;
use crate::recording::Observation;
use crate::scenario::model::{CounterExpectation, Expectation, Feature, KernelVariants, Scenario};

use super::fixture::{Run, place};

const LATER: &str = "MPTcpExtMPJoinRejected";

fn expecting(name: &str, value: u64) -> Expectation {
    let counter = CounterExpectation {
        namespaces: vec!["server".to_owned()],
        place: place(1),
        name: name.to_owned(),
        less: None,
        range: value..=value,
    };
    Expectation { counters: vec![counter], ..Expectation::default() }
}

/// The good run, on a kernel that has the counter at this value.
fn counting(value: u64) -> Run {
    let mut run = Run::good();
    for entry in &mut run.recording.entries {
        if let Observation::Counters { values, moment, .. } = &mut entry.what {
            values.insert(LATER.to_owned(), if *moment == crate::recording::Moment::Start { 0 } else { value });
        }
    }
    run
}

#[test]
fn a_counter_of_later_kernels_is_expected_of_those_that_have_it() {
    let mut without = Run::good();
    without.scenario.expect = expecting(LATER, 1);
    assert_eq!(without.kinds(), []);
    for (value, kinds) in [(1, vec![]), (0, vec![FindingKind::Counter])] {
        let mut with = counting(value);
        with.scenario.expect = expecting(LATER, 1);
        // The client's moved, too, and nothing is said of it.
        let kinds_of_server: Vec<_> = with.findings().into_iter().filter(|finding| finding.place.is_some()).collect();
        assert_eq!(kinds_of_server.iter().map(|finding| finding.kind).collect::<Vec<_>>(), kinds, "{value}");
    }
}

#[test]
fn a_required_counter_must_be_there() {
    let mut run = Run::good();
    run.scenario.expect = expecting(LATER, 1);
    run.scenario.requires.push(Feature::Counter(LATER.to_owned()));
    assert_eq!(run.kinds(), [FindingKind::Counter]);
}

#[test]
fn a_counter_that_each_kernel_has_must_be_there() {
    let mut run = Run::good();
    run.scenario.expect = expecting("MPTcpExtMPPrioRx", 1);
    assert_eq!(run.kinds(), [FindingKind::Counter]);
}

#[test]
fn the_form_is_that_of_the_recorded_kernel() {
    let mut run = Run::good();
    let asked = BTreeSet::from([Feature::Laminar, Feature::TokenDump]);
    let lacking = BTreeSet::from([Feature::Laminar]);
    let form = Scenario {
        kernel_variants: KernelVariants { asked: asked.clone(), lacking, ..KernelVariants::default() },
        expect: expecting("MPTcpExtMPJoinSynRx", 2),
        ..run.scenario.clone()
    };
    run.scenario.expect = expecting("MPTcpExtMPJoinSynRx", 7);
    run.scenario.kernel_variants = KernelVariants { asked, forms: vec![form], ..KernelVariants::default() };
    let expected = |run: &Run| Names::of(&run.scenario, &run.recording).scenario().expect.counters[0].range.clone();
    assert_eq!(expected(&run), 7..=7, "what is not known to be missing is there");
    run.recording.header.lacks = vec!["no_such_feature".to_owned()];
    assert_eq!(expected(&run), 7..=7);
    run.recording.header.lacks = vec!["laminar".to_owned()];
    assert_eq!(expected(&run), 2..=2);
    assert_eq!(run.kinds(), []);
    run.recording.header.lacks.push("token_dump".to_owned());
    assert_eq!(expected(&run), 7..=7, "no form is for that: the strictest");
}
