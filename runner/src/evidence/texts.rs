//! The text files of a case.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Case;
use crate::engine::Run;
use crate::judge::shown_option_words;
use crate::judge::{self, Verdict};
use crate::mptcp::SubflowState;
use crate::observe::{LogLine, delta};
use crate::plan;
use crate::recording::{Moment, Observation, Recording};
use crate::report::{self, RunReport, Style};
use crate::text;

/// Files have no colours: they are for editors and e-mails.
const STYLE: Style = Style { colour: false, unicode: true };

/// The files that have content: name and content.
pub(super) fn files(case: &Case<'_>) -> Vec<(&'static str, String)> {
    let mut files = vec![
        ("failure.txt", failure(case)),
        ("plan.sh", plan::shell(&case.scenario.label(), &case.scenario.title, &plan::plan(case.scenario))),
        ("versions.txt", versions(case)),
    ];
    if let Some(run) = case.run {
        files.extend(of_run(case, run));
    }
    files.retain(|(_, content)| !content.is_empty());
    files
}

fn of_run(case: &Case<'_>, run: &Run) -> Vec<(&'static str, String)> {
    let (scenario, recording) = (case.scenario, &run.recording);
    let canonical = judge::canonical(scenario, recording);
    let story =
        [report::lesson(scenario, STYLE), report::topology(scenario, STYLE), report::story(scenario, recording, STYLE)];
    vec![
        ("story.txt", story.join("\n")),
        ("snapshot.diff", judge::snapshot_difference(scenario, &canonical).unwrap_or_default()),
        ("canonical.txt", canonical),
        ("counters.txt", counters(recording)),
        ("sockets.txt", sockets(recording)),
        ("endpoints.txt", endpoints(recording)),
        ("kernel-log.txt", kernel_log(&run.kernel_log)),
    ]
}

/// The report as it was printed.
fn failure(case: &Case<'_>) -> String {
    let Case { scenario, verdict, duration, repetition, .. } = *case;
    let rates = case.run.map(|run| report::transfer_rates(&run.recording)).unwrap_or_default();
    let line = report::summary_line(
        &RunReport {
            scenario,
            verdict,
            rules: None,
            duration,
            repetition,
            compared: true,
            rates: &rates,
            remark: None,
        },
        STYLE,
    );
    let findings = match verdict {
        Verdict::Failed(findings) | Verdict::Error(findings) => findings.as_slice(),
        Verdict::Passed | Verdict::Skipped { .. } => &[],
    };
    let remark = case.run.and_then(|run| judge::kernel_remark(&run.recording)).map(|remark| remark + "\n");
    let findings = report::failures(scenario, findings, STYLE).into_iter().map(|(_, text)| text);
    std::iter::once(line + "\n").chain(remark).chain(findings).collect::<Vec<_>>().join("\n")
}

fn versions(case: &Case<'_>) -> String {
    let mut text = format!("mptcplab {}\n", env!("CARGO_PKG_VERSION"));
    if let Ok(name) = nix::sys::utsname::uname() {
        let [system, release, version, machine] =
            [name.sysname(), name.release(), name.version(), name.machine()].map(|part| part.to_string_lossy());
        _ = writeln!(text, "{system} {release} {version} {machine}");
    }
    _ = writeln!(text, "scenario {}", text::one_line(&case.scenario.label()));
    if let Some(run) = case.run {
        _ = writeln!(text, "features {}", run.recording.header.features.join(" "));
        for frames in run.frames.iter().filter(|frames| frames.frames.left_out() > 0) {
            let left_out = text::count(frames.frames.left_out(), "packet");
            _ = writeln!(text, "{}.pcapng lacks the last {left_out}", frames.namespace);
        }
    }
    text
}

fn moment(moment: &Moment) -> String {
    match moment {
        Moment::Start => "at the start".to_owned(),
        Moment::Check(step) => format!("at the check of step {}", step + 1),
        Moment::BeforeClose => "before the close".to_owned(),
        Moment::End => "at the end".to_owned(),
    }
}

/// Counters of each namespace that changed since they were first read.
fn counters(recording: &Recording) -> String {
    let mut first: BTreeMap<&str, &BTreeMap<String, u64>> = BTreeMap::new();
    let mut text = String::new();
    for entry in &recording.entries {
        let Observation::Counters { namespace, moment: when, values } = &entry.what else { continue };
        let Some(before) = first.get(namespace.as_str()) else {
            first.insert(namespace, values);
            continue;
        };
        _ = writeln!(text, "{namespace}, {}: moved since the start", moment(when));
        for (name, moved) in delta(before, values).iter().filter(|(_, moved)| **moved > 0) {
            _ = writeln!(text, "  {name:<32} {moved}");
        }
    }
    text
}

fn sockets(recording: &Recording) -> String {
    let mut text = String::new();
    for entry in &recording.entries {
        let Observation::Sockets { connection, side, moment: when, info, subflows, options } = &entry.what else {
            continue;
        };
        _ = writeln!(text, "{connection}, {}, {}", side.word(), moment(when));
        for subflow in subflows {
            _ = writeln!(text, "  {}", subflow_words(subflow));
        }
        match info {
            Some(info) => _ = writeln!(text, "  mptcp_info: {}", fields(info)),
            None => text.push_str("  a plain TCP socket, without MPTCP\n"),
        }
        for (word, answer) in options {
            _ = writeln!(text, "  {}", shown_option_words(word, answer));
        }
    }
    text
}

fn subflow_words(subflow: &SubflowState) -> String {
    let SubflowState { local, remote, tcp_state, local_id, remote_id, token_local, flags, dev, tcp, options } = subflow;
    let (local, remote) = (text::socket(*local), text::socket(*remote));
    let flags: Vec<String> = flags.iter_names().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let dev = dev.as_ref().map(|dev| format!(" dev {dev}")).unwrap_or_default();
    let tcp = tcp.as_ref().map(|tcp| format!("\n    tcp_info: {}", fields(tcp))).unwrap_or_default();
    let options =
        options.as_ref().map(|options| format!("\n    socket options: {}", fields(options))).unwrap_or_default();
    format!(
        "{local} > {remote} local_id {local_id} remote_id {remote_id} tcp_state {tcp_state} token {token_local:#x} {}{dev}{options}{tcp}",
        flags.join(",")
    )
}

/// All fields of a kernel structure, by the kernel's names.
fn fields(structure: &impl serde::Serialize) -> String {
    match serde_json::to_value(structure) {
        Ok(serde_json::Value::Object(fields)) => {
            fields.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    }
}

/// The events of a namespace, as `ip mptcp monitor` prints them.
pub(super) fn monitor(recording: &Recording, namespace: &str) -> String {
    recording.events(namespace).fold(String::new(), |mut text, (_, event)| {
        _ = writeln!(text, "{}", event.monitor_line());
        text
    })
}

/// Endpoints and limits.
fn endpoints(recording: &Recording) -> String {
    let mut text = String::new();
    for entry in &recording.entries {
        let (heading, lines): (String, Vec<String>) = match &entry.what {
            Observation::Endpoints { namespace, moment: when, endpoints } => {
                let lines = endpoints.iter().map(ToString::to_string).collect();
                (format!("endpoints of {namespace}, {}", moment(when)), lines)
            }
            Observation::ConnectionEndpoints { namespace, connection, moment: when, endpoints } => {
                let lines = endpoints.iter().map(ToString::to_string).collect();
                (format!("addresses of {connection} in {namespace}, {}", moment(when)), lines)
            }
            Observation::Limits { namespace, moment: when, limits } => {
                (format!("limits of {namespace}, {}", moment(when)), vec![limits.to_string()])
            }
            _ => continue,
        };
        _ = writeln!(text, "{heading}");
        for line in lines {
            _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn kernel_log(log: &Result<Vec<LogLine>, String>) -> String {
    match log {
        Ok(lines) if lines.is_empty() => "the kernel logged nothing during the run\n".to_owned(),
        Ok(lines) => lines.iter().fold(String::new(), |mut text, line| {
            _ = writeln!(text, "{line}");
            text
        }),
        Err(reason) => format!("not watched: {reason}\n"),
    }
}
