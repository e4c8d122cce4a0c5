//! The XML that JUnit made popular, in the form that nextest gives it: a test suite for each folder with scenarios, a test
//! case for each run of a variant.

use std::time::Duration;

use indexmap::IndexMap;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::judge::{Finding, Verdict};

use super::failure::kind_word;
use super::{RunReport, Style, TransferRate, failures, suite_name};

/// The property of a test case that is an error because of a stall, and, of a suite, how many there are.
const STALLED: &str = "stalled";

/// A report that grows with each run.
#[derive(Debug, Default)]
pub struct Junit {
    suites: IndexMap<String, TestSuite>,
}

impl Junit {
    /// Adds a run; `evidence` says where more is to be found about it.
    pub fn add(&mut self, run: &RunReport, evidence: Option<&str>) {
        let status = match run.verdict {
            Verdict::Passed => TestCaseStatus::success(),
            Verdict::Skipped { reason } => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(reason.as_str());
                status
            }
            Verdict::Failed(findings) => non_success(NonSuccessKind::Failure, run, findings),
            Verdict::Error(findings) => non_success(NonSuccessKind::Error, run, findings),
        };
        let suite = suite_name(run.scenario);
        let mut case = TestCase::new(run.label(), status);
        case.set_classname(suite.as_str()).set_time(run.duration).set_system_out(output(run));
        if let Some(folder) = evidence {
            case.set_system_err(format!("evidence: {folder}"));
        }
        let suite = self.suite(&suite);
        suite.add_test_case(case);
        if run.verdict.is_stalled() {
            let stalled = |case: &&TestCase| case.properties.iter().any(|property| *property.name == *STALLED);
            if let Some(case) = suite.test_cases.last_mut() {
                case.add_property((STALLED, "true"));
            }
            let count = suite.test_cases.iter().filter(stalled).count();
            suite.properties.retain(|property| *property.name != *STALLED);
            suite.add_property((STALLED, count.to_string().as_str()));
        }
    }

    /// Adds what is wrong with the whole: it was cut short, or the kernel complained while nothing ran.
    pub fn add_error(&mut self, name: &str, message: &str) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(message);
        let mut case = TestCase::new(name, status);
        case.set_classname("mptcplab");
        self.suite("mptcplab").add_test_case(case);
    }

    /// The XML.
    pub fn finish(self, took: Duration) -> Result<String, String> {
        let mut report = Report::new("mptcplab");
        report.set_time(took);
        report.add_test_suites(self.suites.into_values().map(|mut suite| {
            let time = suite.test_cases.iter().filter_map(|case| case.time).sum();
            suite.set_time(time);
            suite
        }));
        report.to_string().map_err(|error| error.to_string())
    }

    fn suite(&mut self, name: &str) -> &mut TestSuite {
        self.suites.entry(name.to_owned()).or_insert_with(|| TestSuite::new(name))
    }
}

/// The title, and how fast each transfer was.
fn output(run: &RunReport) -> String {
    let rates = run.rates.iter().map(TransferRate::line);
    let without = (!run.compared).then(|| "judged without a snapshot".to_owned());
    std::iter::once(run.scenario.title.clone())
        .chain(without)
        .chain(run.remarks())
        .chain(rates)
        .collect::<Vec<_>>()
        .join("\n")
}

fn non_success(kind: NonSuccessKind, run: &RunReport, findings: &[Finding]) -> TestCaseStatus {
    let style = Style { colour: false, unicode: true };
    let texts: Vec<String> = failures(run.scenario, findings, style).into_iter().map(|(_, text)| text).collect();
    let mut status = TestCaseStatus::non_success(kind);
    if let Some(first) = findings.first() {
        status.set_type(kind_word(first.kind)).set_message(first.summary.as_str());
    }
    status.set_description(texts.join("\n"));
    status
}
