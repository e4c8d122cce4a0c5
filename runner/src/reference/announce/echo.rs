//! The echoes of received ADD_ADDRs.

use super::{Case, cases};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Announced, Said, Signal, View};
use crate::reference::{Outcome, Rule};

/// Each ADD_ADDR is echoed.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "echo-announcements",
    statement: "Each ADD_ADDR with a right HMAC is echoed with its address ID, address and port, also if no subflow comes \
                of it. With a userspace path manager, it is echoed only while one listens to the events. No echo is sent \
                without an ADD_ADDR.",
    source: "RFC 8684 section 3.4.1; net/mptcp/pm.c, mptcp_pm_add_addr_received; net/mptcp/pm_kernel.c, \
             mptcp_pm_nl_add_addr_received",
    kernels: "",
    apply,
};

/// A received ADD_ADDR.
pub(super) struct Received<'v> {
    pub(super) signal: &'v Signal,
    pub(super) announced: Announced,
    /// Its HMAC is right.
    pub(super) is_right: bool,
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view) {
        let sent = case.half.signals.sent();
        let echoes = sent.filter_map(|signal| pick!(signal.what, Said::Echo(announced) => (signal, announced)));
        let echoes: Vec<(&Signal, Announced)> = echoes.collect();
        let received = case.received();
        for (count, (signal, announced)) in echoes.iter().enumerate() {
            let before = received.iter().filter(|one| one.is_right && one.signal.entry < signal.entry);
            let because = if !before.clone().any(|one| one.announced == *announced) {
                "no such ADD_ADDR was received"
            } else if before.count() <= count {
                "there are more echoes than ADD_ADDRs"
            } else {
                continue;
            };
            ledger.decide(case.half, signal.at, announced.echo(), Outcome::Wrong, because, [signal.entry]);
        }
        for one in &received {
            // If it was received several times, the first echo after each reception will do.
            let answers = |(echo, known): &&(&Signal, Announced)| {
                *known == one.announced && echo.entry > one.signal.entry && one.is_right
            };
            let found = echoes.iter().find(answers).map(|(echo, _)| echo.entry);
            let decided = match found {
                Some(_) => Some((Outcome::Done, "each ADD_ADDR is echoed")),
                None => case.without_echo(view, &received, one),
            };
            let Some((outcome, because)) = decided else { continue };
            let evidence = [Some(one.signal.entry), found].into_iter().flatten();
            ledger.decide(case.half, one.signal.at, one.announced.echo(), outcome, because, evidence);
        }
    }
}

impl<'v> Case<'v, '_> {
    /// The ADD_ADDRs that this side received.
    pub(super) fn received(&self) -> Vec<Received<'v>> {
        let received = self.half.signals.received().filter_map(|signal| {
            pick!(signal.what, Said::Announce(announced, is_right) => Received { signal, announced, is_right })
        });
        received.collect()
    }

    /// Why there is no echo. `None`: the recording can't tell, or ends before.
    fn without_echo(
        &self,
        view: &View<'_>,
        received: &[Received<'_>],
        one: &Received<'_>,
    ) -> Option<(Outcome, &'static str)> {
        let (signals, at) = (&self.half.signals, one.signal.at);
        if !one.is_right {
            return Some((Outcome::NotDone, "its HMAC is wrong"));
        }
        if !one.signal.is_sure {
            return Some((Outcome::NotDone, "a filter may have dropped it, or TCP as an old segment"));
        }
        if self.is_userspace? && !self.host.namespace.events {
            return Some((Outcome::NotDone, "no userspace path manager listens to the events"));
        }
        let settled = view.settled_after(self.half, at)?;
        let is_established = signals.established_at.is_some_and(|established| established <= at);
        let is_up = signals.courses.iter().any(|course| course.is_up(at, settled));
        if !is_up || !is_established || self.host.may_send_unseen(at, settled) {
            return None;
        }
        let is_alone = received.iter().all(|other| {
            let (one, other) = (one.signal, other.signal);
            other.entry == one.entry || view.until_late(one.at) < other.at || view.until_late(other.at) < one.at
        });
        // The kernel has room for one (AddAddrDrop).
        let crowded = (Outcome::NotDone, "another ADD_ADDR was waiting at that moment");
        Some(if is_alone { (Outcome::Missing, "nothing stood in the way of an echo") } else { crowded })
    }
}
