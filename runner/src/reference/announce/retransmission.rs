//! How often, and when, an ADD_ADDR is retransmitted.

use super::{Case, Episode, cases, is_announced, milliseconds};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Announced, Said, Signal, View};
use crate::reference::{Outcome, Rule};
use crate::scenario::model::Operation;

/// At most three retransmissions, until the echo.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "retransmit-announcements",
    statement: "An ADD_ADDR without an echo is retransmitted three times at most, and not after its echo. The interval is \
                net.mptcp.add_addr_timeout, or the retransmission timeout of the connection if that is shorter, and \
                doubles each time; 0 switches retransmission off.",
    source: "RFC 8684 section 3.4.1; Documentation/networking/mptcp-sysctl.rst, add_addr_timeout; net/mptcp/pm.c, \
             mptcp_pm_add_timer (ADD_ADDR_RETRANS_MAX)",
    kernels: "Older kernels retransmit after add_addr_timeout each time; newer ones after the retransmission timeout, \
              doubled each time, and add_addr_timeout is its maximum.",
    apply,
};

/// `ADD_ADDR_RETRANS_MAX`.
const MOST: u32 = 3;
/// `TCP_RTO_MIN`, in microseconds.
const SHORTEST: u64 = 200_000;
const SECOND: u64 = 1_000_000_000;

/// The retransmissions of one announcement so far.
struct Run<'v, 'a, 's> {
    case: &'s Case<'v, 'a>,
    episode: &'s Episode<'v>,
    /// The echoes of it that were received.
    echoes: Vec<&'v Signal>,
    /// Their number so far.
    times: u32,
    /// When it was announced.
    since: u64,
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view) {
        for episode in case.episodes() {
            let Some(first) = episode.sent.first() else { continue };
            let echo = Said::Echo(episode.announced);
            let echoes = case.half.signals.received().filter(|signal| signal.what == echo).collect();
            let mut run = Run { case: &case, episode: &episode, echoes, times: 0, since: first.at };
            // When the endpoint or the command for it came again, it is another announcement.
            let origins = case.origins(episode.announced);
            let mut origins = origins.iter().filter(|span| span.started > first.at).peekable();
            for pair in episode.sent.windows(2) {
                let [before, signal] = pair else { continue };
                if origins.next_if(|origin| origin.started <= signal.at).is_some() {
                    (run.times, run.since) = (0, signal.at);
                    continue;
                }
                run.times += 1;
                let (outcome, because) = run.judge(view, before, signal);
                let candidate = episode.announced.candidate();
                ledger.decide(case.half, signal.at, candidate, outcome, because, [before.entry, signal.entry]);
            }
            run.due(view, ledger);
        }
    }
}

impl Run<'_, '_, '_> {
    fn judge(&self, view: &View<'_>, before: &Signal, signal: &Signal) -> (Outcome, String) {
        let times = self.times;
        let echo = self.echoes.iter().find(|echo| echo.is_sure && echo.at >= self.since && echo.at < signal.at);
        let interval = signal.at.saturating_sub(before.at);
        let timeout = self.case.add_addr_timeout(before.at, signal.at);
        if times > MOST {
            (Outcome::Wrong, format!("retransmission {times} of at most {MOST}"))
        } else if let Some(echo) = echo.filter(|echo| view.until_late(echo.at) < signal.at) {
            (Outcome::Wrong, format!("retransmission {times}, {} after the echo", milliseconds(signal.at - echo.at)))
        } else if echo.is_some() {
            (Outcome::Done, format!("retransmission {times} of at most {MOST}; it crossed the echo"))
        } else if timeout == Some(0) {
            (Outcome::Wrong, format!("retransmission {times}, but add_addr_timeout is 0"))
        } else if interval.saturating_add(view.stalled()) < self.case.shortest(timeout) / 2 {
            (Outcome::Wrong, format!("retransmission {times} after only {}", milliseconds(interval)))
        } else {
            let waited = milliseconds(interval);
            (Outcome::Done, format!("retransmission {times} of at most {MOST}: no echo for {waited}"))
        }
    }

    /// One more retransmission may be overdue at the end.
    fn due(&self, view: &View<'_>, ledger: &mut Ledger) {
        let (case, announced) = (self.case, self.episode.announced);
        let Some(last) = self.episode.sent.last() else { return };
        let end = case.half.signals.over_at.min(view.end());
        let is_echoed = self.echoes.iter().any(|echo| echo.at >= self.since);
        let Some(timeout @ 1..) = case.add_addr_timeout(self.since.min(end), end) else {
            if !is_echoed && case.add_addr_timeout(self.since.min(end), end) == Some(0) {
                let because =
                    format!("no echo came{}, and add_addr_timeout 0 switches retransmission off", lost(view, last));
                ledger.decide(case.half, last.at, announced.candidate(), Outcome::NotDone, because, [last.entry]);
            }
            return;
        };
        // Where the timer finds the socket in use or the slot taken, it tries again up to a second later.
        let interval = timeout.saturating_mul(1 << self.times.min(MOST));
        let latest = last.at.saturating_add(interval).saturating_add(3 * SECOND).saturating_add(view.stalled());
        let is_unseen = case.host.may_send_unseen(self.since, end);
        if self.times < MOST && latest < end && !is_echoed && !is_unseen && case.keeps(announced, self.since, end) {
            let waited = milliseconds(end.saturating_sub(last.at));
            let because = format!("no echo for {waited} after retransmission {} of {MOST}", self.times);
            ledger.decide(case.half, last.at, announced.candidate(), Outcome::Missing, because, [last.entry]);
        }
    }
}

/// What a path did to an announcement.
fn lost(view: &View<'_>, signal: &Signal) -> String {
    let effect = view.packet(signal.entry).and_then(|(_, segment)| view.withheld(segment));
    effect.map_or_else(String::new, |effect| format!(" ({effect})"))
}

impl Case<'_, '_> {
    /// Whether an announcement is surely not removed in this period, and a subflow lives through it.
    fn keeps(&self, announced: Announced, from: u64, to: u64) -> bool {
        let is_kept = match self.is_userspace {
            Some(true) => !self
                .operations()
                .any(|(span, operation)| matches!(operation, Operation::RemoveAddress { .. }) && span.finished >= from),
            Some(false) => {
                let mut periods = self.host.endpoints().iter();
                periods.any(|period| is_announced(period, announced, self.half) && period.is_through(from, to))
            }
            None => false,
        };
        is_kept && self.half.signals.courses.iter().any(|course| course.is_up(from, to))
    }

    /// The value of add_addr_timeout in nanoseconds, if it is the same for the whole period.
    fn add_addr_timeout(&self, from: u64, to: u64) -> Option<u64> {
        let mut value = 120 * SECOND;
        for (span, word) in self.host.sysctl("net.mptcp.add_addr_timeout") {
            if span.started > to {
                break;
            }
            if span.finished > from {
                return None;
            }
            value = word.trim().parse::<u64>().ok()?.saturating_mul(SECOND);
        }
        Some(value)
    }

    /// The shortest interval, in nanoseconds.
    fn shortest(&self, timeout: Option<u64>) -> u64 {
        let minima = self.host.sysctl("net.ipv4.tcp_rto_min_us");
        let minima = minima.map(|(_, word)| word.trim().parse().unwrap_or(0));
        let minimum: u64 = minima.fold(SHORTEST, u64::min);
        timeout.map_or(0, |timeout| timeout.min(minimum.saturating_mul(1000)))
    }
}
