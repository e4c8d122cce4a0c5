//! Kernel warnings during a run, and which run they belong to: all concurrent runs share `/dev/kmsg`.

use std::collections::BTreeSet;

use crate::recording::{Observation, Recording, trouble_in};
use crate::text;

use super::{Finding, FindingKind};

/// Maximum number of stack frames shown: those of MPTCP and TCP nearest to the fault.
const FRAMES: usize = 4;

/// Maximum number of other lines shown.
const LINES: usize = 8;

/// The lines of a report, beside its headlines, that name the fault: who it happened to, and where (`show_regs`,
/// arch/x86/kernel/process_64.c, `__show_regs`, arch/arm64/kernel/process.c; `print_error_description`,
/// mm/kasan/report.c).
const TELLING: &[&str] = &["CPU:", "Workqueue:", "RIP:", "pc :", "epc :", "Read of size", "Write of size"];

/// The finding about a kernel warning, unless another run turned out to have triggered it.
pub(crate) fn kernel_finding(recording: &Recording) -> Option<Finding> {
    let own: Vec<(u64, &str)> = kernel_lines(recording).collect();
    let (at, headline) = *own.iter().find(|(_, line)| trouble_in(line).is_some())?;
    let report: Vec<&str> = own.iter().map(|(_, line)| *line).collect();
    let (summary, report) = match ran_alone(recording) {
        None => (format!("the kernel log has a warning: {headline}"), report),
        Some(Alone { kernel_log, .. }) if complains(kernel_log) => {
            let report: Vec<&str> = kernel_log.iter().map(String::as_str).collect();
            let headline = report.iter().find(|line| trouble_in(line).is_some()).copied().unwrap_or(headline);
            (format!("the kernel log has a warning, again when run alone: {headline}"), report)
        }
        Some(Alone { shown_by, .. }) if !shown_by.is_empty() => return None,
        Some(Alone { .. }) => {
            let summary = "the kernel log has a warning, but no scenario that ran at the time triggers it alone";
            (format!("{summary}: {headline}"), report)
        }
    };
    Some(Finding::new(FindingKind::Kernel, summary).detailed(cut(&report)).at(Some(at)))
}

/// The remark on a run whose verdict doesn't count a kernel warning that appeared meanwhile.
pub fn kernel_remark(recording: &Recording) -> Option<String> {
    let Alone { kernel_log, shown_by } = ran_alone(recording)?;
    if complains(kernel_log) {
        return None;
    }
    Some(match shown_by {
        [] => {
            "a kernel warning appeared during this run; no scenario that ran at the time triggers it alone".to_owned()
        }
        [one] => format!("a kernel warning appeared during this run; {one}, which ran at the time, triggers it alone"),
        several => {
            let names: Vec<&str> = several.iter().map(String::as_str).collect();
            format!(
                "a kernel warning appeared during this run; {}, which ran at the time, trigger it alone",
                text::list(&names)
            )
        }
    })
}

/// The kernel warnings: each headline in a form that is the same whenever it is printed, and as it was printed.
pub fn kernel_complaints(recording: &Recording) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    kernel_lines(recording)
        .filter(|(_, line)| trouble_in(line).is_some())
        .map(|(_, line)| (complaint_form(line), line.to_owned()))
        .filter(|(form, _)| seen.insert(form.clone()))
        .collect()
}

/// A headline without what differs each time it is printed: processor, process, how many there were before. Places in
/// the source (`protocol.c:2800`, `mptcp_close+0x1/0x2`) stay.
pub fn complaint_form(headline: &str) -> String {
    let words = headline.split_whitespace().map(|word| {
        let (before, number) = match word.rfind(['#', '/']) {
            Some(at) => word.split_at(at + 1),
            None => ("", word),
        };
        let digits = number.trim_end_matches([':', ',', ']', '!', '.']);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { format!("{before}N{}", &number[digits.len()..]) } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The recording of the same run without what the kernel said.
pub fn without_kernel_log(recording: &Recording) -> Recording {
    let is_ours = |what: &Observation| !matches!(what, Observation::KernelLog { .. } | Observation::RanAlone { .. });
    let entries = recording.entries.iter().filter(|entry| is_ours(&entry.what)).cloned().collect();
    Recording { header: recording.header.clone(), entries }
}

struct Alone<'a> {
    kernel_log: &'a [String],
    shown_by: &'a [String],
}

fn ran_alone(recording: &Recording) -> Option<Alone<'_>> {
    recording.entries.iter().find_map(
        |entry| pick!(&entry.what, Observation::RanAlone { kernel_log, shown_by } => Alone { kernel_log, shown_by }),
    )
}

fn complains(lines: &[String]) -> bool {
    lines.iter().any(|line| trouble_in(line).is_some())
}

/// What the kernel said during a run, with the times.
pub fn kernel_lines(recording: &Recording) -> impl Iterator<Item = (u64, &str)> {
    recording
        .entries
        .iter()
        .filter_map(|entry| pick!(&entry.what, Observation::KernelLog { line } => (entry.at, line.as_str())))
}

/// The lines that name the fault, of reports that go on for pages, and where to find the rest.
fn cut(report: &[&str]) -> String {
    let (mut frames, mut others) = (0, 0);
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for line in report {
        let line = line.trim();
        let is_telling = TELLING.iter().any(|sign| line.starts_with(sign)) || trouble_in(line).is_some();
        let (number, most) = if is_telling { (&mut others, LINES) } else { (&mut frames, FRAMES) };
        if (is_telling || is_frame(line)) && *number < most && seen.insert(line) {
            *number += 1;
            kept.push(format!("  {line}"));
        }
    }
    let rest = report.len().saturating_sub(kept.len());
    if rest > 0 {
        let rest = text::count(rest as u64, "more line");
        kept.push(format!("  … {rest} in the recording, and in the evidence's `kernel-log.txt`"));
    }
    kept.join("\n")
}

/// A line of a stack trace in MPTCP or TCP: `mptcp_close+0x12/0x34 [mptcp]`. What is marked with `?` was only found on the
/// stack (`show_trace_log_lvl`, arch/x86/kernel/dumpstack.c).
fn is_frame(line: &str) -> bool {
    line.split_once("+0x").is_some_and(|(function, _)| {
        !function.contains(' ') && (function.contains("tcp") || function.contains("subflow"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_the_same_on_each_processor() {
        for (first, second) in [
            (
                "WARNING: CPU: 0 PID: 77 at net/mptcp/protocol.c:2800 mptcp_close+0x1/0x2",
                "WARNING: CPU: 13 PID: 1 at net/mptcp/protocol.c:2800 mptcp_close+0x1/0x2",
            ),
            (
                "WARNING: net/mptcp/protocol.c:2800 at mptcp_close+0x1/0x2, CPU#1: kworker/77",
                "WARNING: net/mptcp/protocol.c:2800 at mptcp_close+0x1/0x2, CPU#0: kworker/8",
            ),
            ("Oops: 0000 [#1] PREEMPT SMP", "Oops: 0000 [#12] PREEMPT SMP"),
        ] {
            if !first.contains("Oops") {
                assert_eq!(complaint_form(first), complaint_form(second));
            }
            assert!(complaint_form(second).contains('N'), "{second}");
        }
        let place = |line: u32| format!("WARNING: CPU: 0 PID: 77 at net/mptcp/protocol.c:{line} mptcp_close+0x1/0x2");
        assert_ne!(complaint_form(&place(1)), complaint_form(&place(2)));
    }

    #[test]
    fn a_report_is_cut_to_what_names_the_fault() {
        let mut report = vec![
            "------------[ cut here ]------------",
            "WARNING: CPU: 0 PID: 77 at net/mptcp/protocol.c:2800 __mptcp_close+0x1/0x2",
            "Modules linked in: sch_netem veth",
            "CPU: 0 UID: 0 PID: 77 Comm: mptcplab Not tainted 6.18.0 #1",
            "RIP: 0010:__mptcp_close+0x1/0x2",
            "Code: 00 00",
            "Call Trace:",
            " <TASK>",
            " ? __mptcp_close+0x1/0x2",
            " mptcp_close+0x11/0x22",
            " inet_release+0x11/0x22",
        ];
        report.extend([" subflow_ulp_release+0x1/0x2", " tcp_a+0x1/0x2", " tcp_b+0x1/0x2", " tcp_c+0x1/0x2"]);
        insta::assert_snapshot!(cut(&report), @r"
          WARNING: CPU: 0 PID: 77 at net/mptcp/protocol.c:2800 __mptcp_close+0x1/0x2
          CPU: 0 UID: 0 PID: 77 Comm: mptcplab Not tainted 6.18.0 #1
          RIP: 0010:__mptcp_close+0x1/0x2
          mptcp_close+0x11/0x22
          subflow_ulp_release+0x1/0x2
          tcp_a+0x1/0x2
          tcp_b+0x1/0x2
          … 8 more lines in the recording, and in the evidence's `kernel-log.txt`
        ");
    }
}
