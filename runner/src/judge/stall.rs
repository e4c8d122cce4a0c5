//! Whether a stall can explain a failure.
//!
//! The kernel's timers don't wait for a machine that is busy: an application that reads late has its ACK delayed, a
//! packet that is forwarded late is retransmitted, and what the path manager does next depends on that. None of it says
//! anything about the kernel. So what fails beside a stall that is long enough to let a timer expire is an error. Nothing
//! passes because of a stall.

use crate::recording::{Busy, Observation, Stalled};
use crate::text;

use super::names::Names;
use super::{Finding, FindingKind};

const MILLISECOND: u64 = 1_000_000;

/// `TCP_RTO_MIN` (include/net/tcp.h): the shortest time after which a segment, or data at the level of MPTCP, is
/// retransmitted, and an ADD_ADDR that was not echoed (`mptcp_retransmit_handler`, net/mptcp). A thread that comes so late
/// can let one of them expire, whatever kept it. What is shorter counts as far as the thread waited for a processor: on an
/// idle machine, too, a system call may take some 10 ms, for example until an RCU grace period is over.
const RETRANSMISSION: u64 = 200 * MILLISECOND;

/// For packets that are held on a path, there is a shorter one: a tail loss probe is sent 2 RTTs and 2 ms after the last of
/// several segments, rounded up to jiffies (`tcp_schedule_loss_probe`, net/ipv4/tcp_output.c; `TCP_TIMEOUT_MIN_US`).
/// Three jiffies at 250 Hz, and what an RTT takes on a busy machine.
const PROBE: u64 = 20 * MILLISECOND;

/// Up to this much of a stall is not seen (see [`crate::processors::PERIOD`]).
const UNSEEN: u64 = 10 * MILLISECOND;

/// The initial retransmission timeout, `TCP_TIMEOUT_INIT` (include/net/tcp.h): what belongs together, such as a handshake,
/// takes place within it, and several stalls in it add up.
const WINDOW: u64 = 1000 * MILLISECOND;

/// Maximum number of stalls shown in detail.
const TOLD: usize = 5;

/// A stall that counts.
#[derive(Debug, Clone, Copy)]
struct Counted<'a> {
    at: u64,
    lasted: u64,
    whose: &'a Stalled,
    waited: Option<u64>,
}

/// What the stalls of a run can explain: all of these findings; `None` if they can't.
pub(super) fn explanation(names: &Names<'_>, findings: &[Finding]) -> Option<Finding> {
    // That there is no snapshot yet says nothing about the run: it neither is explained, nor keeps from explaining the rest.
    let mut of_the_run = findings.iter().filter(|finding| finding.kind != FindingKind::SnapshotNew).peekable();
    if of_the_run.peek().is_none() || of_the_run.any(|finding| !can_be_late(finding.kind)) {
        return None;
    }
    // What comes after the last finding can't be its cause.
    let until = findings.iter().map(|finding| finding.at).max_by_key(|at| at.unwrap_or(u64::MAX))?;
    let stalls = counted(names, until.unwrap_or(u64::MAX));
    let together = most_in_a_window(&stalls);
    let held: Vec<_> = stalls.iter().filter(|stall| matches!(stall.whose, Stalled::Path { .. })).copied().collect();
    let held_together = most_in_a_window(&held);
    if together + UNSEEN >= RETRANSMISSION {
        Some(describe(names, &stalls, together))
    } else if held_together >= PROBE {
        Some(describe(names, &held, held_together))
    } else {
        None
    }
}

/// Whether such a finding can come of something that was late. That a byte is damaged, that a segment says something
/// wrong, or that the kernel complains about or contradicts itself, can't.
fn can_be_late(kind: FindingKind) -> bool {
    !matches!(kind, FindingKind::Integrity | FindingKind::Kernel | FindingKind::Contradiction | FindingKind::WireRule)
}

/// The stalls between the first step and that time, in their order.
fn counted<'a>(names: &Names<'a>, until: u64) -> Vec<Counted<'a>> {
    let entries = &names.recording().entries;
    let is_step = |what: &Observation| matches!(what, Observation::StepStarted { .. });
    let Some(begin) = entries.iter().find(|entry| is_step(&entry.what)).map(|entry| entry.at) else {
        return Vec::new();
    };
    let stall = |entry: &'a crate::recording::Entry| {
        if let Observation::Stalled { whose, lasted, waited } = &entry.what {
            let end = entry.at.saturating_add(*lasted);
            let counts = match waited {
                Some(waited) if *lasted < RETRANSMISSION => (*waited).min(*lasted),
                _ => *lasted,
            };
            // Since it ended when it was noticed, the part that counts is the last one.
            let at = end.saturating_sub(counts).max(begin);
            // It may have gone on behind the failure: taking the state of thousands of sockets is one piece of work.
            let lasted = end.min(until).saturating_sub(at);
            (lasted > 0 && at <= until).then_some(Counted { at, lasted, whose, waited: *waited })
        } else {
            None
        }
    };
    let mut stalls: Vec<_> = entries.iter().filter_map(stall).collect();
    stalls.sort_by_key(|stall| stall.at);
    stalls
}

/// The most that was stalled within [`WINDOW`], or in one piece. What stalled at the same time counts once.
fn most_in_a_window(stalls: &[Counted<'_>]) -> u64 {
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    for stall in stalls {
        let end = stall.at.saturating_add(stall.lasted);
        match pieces.last_mut() {
            Some((_, last)) if stall.at <= *last => *last = (*last).max(end),
            _ => pieces.push((stall.at, end)),
        }
    }
    let length = |(from, end): &(u64, u64)| end.saturating_sub(*from);
    let from_piece = |first: usize| {
        let rest = pieces.get(first..).unwrap_or_default();
        let begin = rest.first().map_or(0, |(from, _)| *from);
        rest.iter().take_while(|(from, _)| from.saturating_sub(begin) < WINDOW).map(length).fold(0, u64::saturating_add)
    };
    (0..pieces.len()).map(from_piece).max().unwrap_or(0)
}

fn describe(names: &Names<'_>, stalls: &[Counted<'_>], together: u64) -> Finding {
    let mut longest: Vec<&Counted<'_>> = stalls.iter().collect();
    longest.sort_by_key(|stall| std::cmp::Reverse(stall.lasted));
    let first = longest.first().copied();
    let what = match first {
        Some(stall) if 2 * stall.lasted >= together => format!(
            "{} for {} (at {}{})",
            came_late(stall.whose),
            text::seconds(stall.lasted),
            text::seconds(stall.at),
            during(names, stall.at)
        ),
        _ => format!("the run stalled several times, {} within a second", text::seconds(together)),
    };
    let summary = format!("{what}; the kernel's timers kept running, so the failure says nothing about the kernel");
    let mut lines = vec![format!("{} counted, the longest:", text::count(stalls.len() as u64, "stall"))];
    lines.extend(longest.iter().take(TOLD).map(|stall| {
        let waited = stall.waited.map_or_else(String::new, |waited| {
            format!(", {} of it waiting for a processor", text::seconds(waited.min(stall.lasted)))
        });
        format!(
            "  at {}: {} for {}{waited}",
            text::seconds(stall.at),
            came_late(stall.whose),
            text::seconds(stall.lasted)
        )
    }));
    lines.extend(busy(names).as_ref().map(busy_words));
    Finding::new(FindingKind::Stalled, summary).detailed(lines.join("\n")).at(first.map(|stall| stall.at))
}

/// Which step was taken at that time: `, during step 3`.
fn during(names: &Names<'_>, at: u64) -> String {
    let started = names.recording().entries.iter().take_while(|entry| entry.at <= at);
    let step = started.filter_map(|entry| pick!(entry.what, Observation::StepStarted { step, .. } => step));
    step.last().map_or_else(String::new, |step| format!(", during step {}", step.saturating_add(1)))
}

/// `the run stood still`
pub(super) fn came_late(whose: &Stalled) -> String {
    match whose {
        Stalled::Run => "the run stood still".to_owned(),
        Stalled::Path { link } => format!("the path of {link} stood still"),
        Stalled::Processor { number } => format!("processor {number} woke no thread"),
        Stalled::Worker { processor } => format!("a kernel worker on processor {processor} waited"),
    }
}

/// Long enough by itself to explain a failure.
pub(super) fn is_long(whose: &Stalled, lasted: u64) -> bool {
    let shortest = if matches!(whose, Stalled::Path { .. }) { PROBE } else { RETRANSMISSION - UNSEEN };
    lasted >= shortest
}

fn busy(names: &Names<'_>) -> Option<Busy> {
    names.recording().entries.iter().rev().find_map(|entry| pick!(entry.what, Observation::Busy(busy) => busy))
}

fn busy_words(busy: &Busy) -> String {
    let part = |value: Option<u64>, words: &str| {
        value.filter(|value| *value >= MILLISECOND).map(|value| format!("{} {words}", text::seconds(value)))
    };
    let parts: Vec<String> = [
        part(busy.pressure, "in which some task waited for a processor"),
        part(busy.stolen, "of the processors' time taken by the hypervisor"),
        part(busy.throttled, "in which the control group's CPU limit throttled its tasks"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let all = if parts.is_empty() { "nothing that the kernel accounts for".to_owned() } else { parts.join(", ") };
    format!("in the {} of the run, on the whole machine: {all}", text::seconds(busy.of))
}
