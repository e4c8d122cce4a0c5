use std::time::Duration;

use super::{RunReport, Style, Totals, example::finding, failure, json_line, summary_line, topology, transfer_rates};
use crate::judge::Verdict;
use crate::plan::example;
use crate::scenario::model::{Namespace, Place};

const UNICODE: Style = Style { colour: false, unicode: true };
const COLOUR: Style = Style { colour: true, unicode: true };

#[test]
fn two_namespaces_stand_side_by_side() {
    insta::assert_snapshot!(topology(&example::scenario(), UNICODE));
}

#[test]
fn a_topology_in_ascii() {
    let text = topology(&example::scenario(), Style::default());
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn more_namespaces_are_a_list() {
    let mut scenario = example::scenario();
    let mut router = Namespace::new("router");
    router.forwarding = true;
    router.userspace_path_manager = true;
    scenario.world.namespaces.push(router);
    let link = example::link("wan", ("server", "eth3", &["10.0.9.1/24"]), ("router", "eth1", &[]));
    scenario.world.links.push(link);
    insta::assert_snapshot!(topology(&scenario, UNICODE));
}

#[test]
fn a_failure_points_into_the_file() {
    insta::assert_snapshot!(failure(&example::scenario(), &finding(), UNICODE));
}

#[test]
fn a_failure_in_colour() {
    let text = failure(&example::scenario(), &finding(), COLOUR);
    assert_eq!(anstream::adapter::strip_str(&text).to_string(), failure(&example::scenario(), &finding(), UNICODE));
    insta::assert_snapshot!(text.replace('\u{1b}', "ESC"));
}

#[test]
fn a_place_outside_of_the_text_does_no_harm() {
    for place in [
        Place { source: 7, line: 1, column: 1, start: 0, end: 1 },
        Place { source: 0, line: 0, column: 0, start: 0, end: 0 },
        Place { source: 0, line: 99, column: 99, start: 9999, end: 1 },
        Place { source: 0, line: 1, column: 9999, start: 3, end: 9999 },
    ] {
        let finding = crate::judge::Finding { place: Some(place), ..finding() };
        assert!(failure(&example::scenario(), &finding, UNICODE).starts_with("counter: "));
    }
}

fn verdicts() -> [Verdict; 4] {
    [
        Verdict::Passed,
        Verdict::Failed(vec![finding()]),
        Verdict::Skipped { reason: "needs `laminar`, which this kernel lacks".to_owned() },
        Verdict::Error(vec![finding()]),
    ]
}

#[test]
fn one_line_for_each_scenario() {
    let scenario = example::scenario();
    let mut totals = Totals::default();
    let mut text = String::new();
    for (verdict, repetition) in verdicts().iter().zip([None, Some((2, Some(5))), None, None]) {
        let run = RunReport {
            scenario: &scenario,
            verdict,
            rules: None,
            duration: Duration::from_millis(118),
            repetition,
            compared: true,
            rates: &[],
            remark: None,
        };
        totals.add(verdict);
        text += &summary_line(&run, UNICODE);
        text += "\n";
    }
    totals.left_out = 3;
    text += &totals.line(Duration::from_millis(12_345), UNICODE);
    insta::assert_snapshot!(text);
}

#[test]
fn a_run_as_json() {
    let scenario = example::scenario();
    let mut text = String::new();
    let (duration, rates) = (Duration::from_millis(118), transfer_rates(&super::example::recording()));
    for verdict in &verdicts() {
        let run = RunReport {
            scenario: &scenario,
            verdict,
            rules: None,
            duration,
            repetition: None,
            compared: true,
            rates: &rates,
            remark: None,
        };
        text += &json_line(&run).unwrap();
        text += "\n";
    }
    insta::assert_snapshot!(text);
}

#[test]
fn json_has_values_of_what_was_expected_and_observed() {
    let values = crate::judge::Values { expected: serde_json::json!({ "at_least": 2 }), observed: 1.into() };
    let verdict = Verdict::Failed(vec![crate::judge::Finding { values: Some(Box::new(values)), ..finding() }]);
    let run = RunReport {
        scenario: &example::scenario(),
        verdict: &verdict,
        rules: None,
        duration: Duration::ZERO,
        repetition: None,
        compared: true,
        rates: &[],
        remark: None,
    };
    let line = json_line(&run).unwrap();
    assert!(line.contains(r#""expected":{"at_least":2},"observed":1"#), "{line}");
}

/// Reported, although no verdict depends on it.
#[test]
fn rates_are_reported() {
    let mut scenario = example::scenario();
    let rates = transfer_rates(&super::example::recording());
    scenario.world.links.first_mut().unwrap().rate = Some(1_000_000);
    let (verdict, duration) = (Verdict::Passed, Duration::from_millis(118));
    let run = RunReport {
        scenario: &scenario,
        verdict: &verdict,
        rules: None,
        duration,
        repetition: None,
        compared: true,
        rates: &rates,
        remark: None,
    };
    let line = "main, 64 KiB from the client in 5.2 ms, 100.0 Mbit/s";
    assert!(summary_line(&run, UNICODE).contains(&format!("(118 ms; {line})")), "{}", summary_line(&run, UNICODE));
    let mut junit = super::Junit::default();
    junit.add(&run, None);
    assert!(junit.finish(duration).unwrap().contains(line));
}
