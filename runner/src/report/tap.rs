//! The Test Anything Protocol, version 13, as the kernel's selftests write it (Documentation/dev-tools/ktap.rst and
//! tools/testing/selftests/kselftest.h), so that the kernel's CI reads it without help.
//!
//! Each run is one test line, with its time as the MPTCP selftests give it: `ok 1 signal/port@ipv6 # time=118ms`. What
//! was skipped is `ok` with the directive `SKIP` and the reason. What failed is `not ok`, after diagnostic lines that
//! hold the whole failure.

use std::fmt::Write as _;

use crate::judge::{Finding, Verdict};
use crate::text;

use super::{RunReport, Style, Totals, failures};

/// The first line.
pub const TAP_VERSION: &str = "TAP version 13";

/// How many tests there are.
pub fn tap_plan(tests: usize) -> String {
    format!("1..{tests}")
}

/// The lines of one test. Numbers begin with 1.
pub fn tap_test(number: usize, run: &RunReport) -> String {
    let label = name(&run.label());
    let time = format!("time={}ms", run.duration.as_millis());
    let (before, line) = match run.verdict {
        Verdict::Passed => (String::new(), format!("ok {number} {label} # {time}")),
        Verdict::Skipped { reason } => {
            (String::new(), format!("ok {number} {label} # SKIP {}", text::one_line(reason)))
        }
        Verdict::Failed(findings) => (explanation(run, findings), format!("not ok {number} {label} # {time}")),
        Verdict::Error(findings) => {
            let summary = findings.first().map(|finding| finding.summary.as_str()).unwrap_or_default();
            let line = format!("not ok {number} {label} # ERROR {}", text::one_line(summary));
            (explanation(run, findings), line)
        }
    };
    before + &line
}

/// A line that no program evaluates.
pub fn tap_comment(text: &str) -> String {
    text::printable(text).lines().map(|line| format!("# {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The tests that are missing will not come.
pub fn tap_bail_out(reason: &str) -> String {
    format!("Bail out! {}", text::one_line(reason))
}

/// The last line, as `ksft_print_cnts` writes it.
pub fn tap_totals(totals: &Totals) -> String {
    let Totals { passed, failed, errors, skipped, .. } = totals;
    format!("# Totals: pass:{passed} fail:{failed} xfail:0 xpass:0 skip:{skipped} error:{errors}")
}

/// A `#` would begin a directive, and KTAP has no way to quote one.
fn name(label: &str) -> String {
    label.replace('#', "-")
}

fn explanation(run: &RunReport, findings: &[Finding]) -> String {
    let style = Style { colour: false, unicode: true };
    let mut lines = String::new();
    for (_, text) in failures(run.scenario, findings, style) {
        for line in text.lines() {
            // Writing to a String can't fail.
            let _ = writeln!(lines, "{}", format!("# {line}").trim_end());
        }
    }
    lines
}
