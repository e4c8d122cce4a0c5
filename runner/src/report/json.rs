//! JSON for other programs: one object for each run, on one line.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::judge::{Decided, Finding, Verdict};
use crate::scenario::model::Scenario;

use super::failure::kind_word;
use super::{RunReport, TransferRate};

#[derive(Serialize)]
struct JsonRun<'a> {
    label: String,
    title: &'a str,
    file: String,
    variant: Option<&'a str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stalled: bool,
    findings: Vec<JsonFinding<'a>>,
    duration_ms: u64,
    transfers: Vec<JsonTransfer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a BTreeMap<&'static str, Decided>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    known_faults: Vec<JsonFinding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonTransfer<'a> {
    connection: &'a str,
    sender: &'static str,
    bytes: u64,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbit_per_s: Option<f64>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    kind: String,
    summary: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ns: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<&'a serde_json::Value>,
}

/// The object, without a line feed at its end.
///
/// `verdict` is `passed`, `failed`, `skipped` or `error`; `reason` says why it was skipped; `stalled` is
/// there, and true, if it is an error because something came too late; `at_ns` are nanoseconds
/// since the start of the run. A finding has `expected` and `observed` where they are values: numbers, ranges (`at_least`,
/// `at_most`), limits, events, subflows and endpoints with their fields, the conditions of a timeout and what was seen,
/// errnos and what a call got, the protocol of each side of a connection, the bytes of a transfer that arrived and those
/// that are corrupt, counters by their names, and for `either` a list for each alternative, with the values of each
/// difference by its kind; what is missing is null. `snapshot` is `not_compared` with `--no-snapshot`.
/// `reference` has the rules of the reference that were used, each with the number of its decisions and of those that the recording leaves open.
/// `known_faults` are the violations of rules that the scenario expects of this kernel.
/// `remark` is there if something came while it ran that isn't its own. `transfers` tells the payload that arrived, and how fast.
pub fn json_line(run: &RunReport) -> Result<String, serde_json::Error> {
    let (verdict, reason, findings) = match run.verdict {
        Verdict::Passed => ("passed", None, [].as_slice()),
        Verdict::Failed(findings) => ("failed", None, findings.as_slice()),
        Verdict::Skipped { reason } => ("skipped", Some(reason.as_str()), [].as_slice()),
        Verdict::Error(findings) => ("error", None, findings.as_slice()),
    };
    serde_json::to_string(&JsonRun {
        label: run.scenario.label(),
        title: &run.scenario.title,
        file: run.scenario.file.display().to_string(),
        variant: run.scenario.variant.as_deref(),
        verdict,
        reason,
        stalled: run.verdict.is_stalled(),
        findings: findings.iter().map(|finding| json_finding(run.scenario, finding)).collect(),
        duration_ms: u64::try_from(run.duration.as_millis()).unwrap_or(u64::MAX),
        transfers: run.rates.iter().map(json_transfer).collect(),
        run: run.repetition.map(|(run, _)| run),
        snapshot: (!run.compared).then_some("not_compared"),
        reference: run.rules.map(|counts| &counts.by_rule),
        known_faults: run.known_faults().iter().map(|finding| json_finding(run.scenario, finding)).collect(),
        remark: run.remark,
    })
}

/// Rounded to a thousandth.
fn json_transfer(rate: &TransferRate) -> JsonTransfer<'_> {
    JsonTransfer {
        connection: &rate.connection,
        sender: rate.sender.word(),
        bytes: rate.bytes,
        duration_us: u64::try_from(rate.took.as_micros()).unwrap_or(u64::MAX),
        mbit_per_s: rate.bits_per_second().map(|rate| (rate / 1e3).round() / 1e3),
    }
}

fn json_finding<'a>(scenario: &'a Scenario, finding: &'a Finding) -> JsonFinding<'a> {
    let source = finding.place.and_then(|place| scenario.sources.get(place.source));
    JsonFinding {
        kind: kind_word(finding.kind),
        summary: &finding.summary,
        detail: &finding.detail,
        file: source.map(|source| source.name.as_str()),
        line: finding.place.map(|place| place.line),
        column: finding.place.map(|place| place.column),
        at_ns: finding.at,
        reasons: finding.reasons.iter().map(ToString::to_string).collect(),
        expected: finding.values.as_ref().map(|values| &values.expected),
        observed: finding.values.as_ref().map(|values| &values.observed),
    }
}
