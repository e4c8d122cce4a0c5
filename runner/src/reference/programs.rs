//! What programs configure: nobody tells when, so what contradicts a rule meanwhile is left open.

use std::collections::HashMap;

use crate::net::Configures;
use crate::recording::Side;
use crate::text;

use super::subflow::facts::{LATE, created_at};
use super::view::{Configurer, Half, Host, View};
use super::{Decision, Outcome};

/// Leaves the violations open for which a program may be the reason.
pub(super) fn leave_open(view: &View<'_>, decisions: &mut [Decision]) {
    if view.hosts.values().all(|host| host.programs().is_empty()) {
        return;
    }
    let halves: HashMap<(&str, Side), &Half<'_>> = view.halves().map(|half| ((half.name, half.side), half)).collect();
    for decision in decisions.iter_mut().filter(|decision| decision.outcome.is_violation()) {
        let Some(half) = halves.get(&(decision.connection.as_str(), decision.side)) else { continue };
        let (programs, created) = (view.host(half).map(Host::programs).unwrap_or_default(), created_at(half));
        if let Some(program) = programs.iter().find(|program| may_explain(view, program, created, decision)) {
            decision.outcome = Outcome::Undetermined;
            let (name, what) = (
                text::one_line(program.program),
                match program.what {
                    Configures::PathManager => "the path manager",
                    Configures::Netfilter => "filters",
                },
            );
            decision.because = format!("{name} may have configured {what}; if not: {}", decision.because);
        }
    }
}

/// Whether what the program configured may have brought that about. What it has left behind when it ended is known, so
/// connections that were made later are as it says.
fn may_explain(view: &View<'_>, program: &Configurer<'_>, created: Option<u64>, decision: &Decision) -> bool {
    let concerns = program.what == Configures::Netfilter || !decision.rule.is_of_wire();
    let is_earlier = view.until_settled(decision.at) < program.from;
    let is_later = created.is_some_and(|created| created > program.until.saturating_add(LATE));
    concerns && !is_earlier && !is_later
}

#[cfg(test)]
mod tests {
    use crate::mptcp::Limits;
    use crate::net::Configures;
    use crate::recording::{Configured, Entry, Observation, Recording};
    use crate::reference::{Outcome, consult};
    use crate::scenario::model::Scenario;
    use crate::wire::MptcpOption;

    /// A recording of the repository, with its scenario, a second later.
    fn run() -> (Scenario, Recording) {
        let path = format!("{}/../fixtures/recordings/fullmesh-ipv4.jsonl", env!("CARGO_MANIFEST_DIR"));
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        let mut recording = crate::recording::read(file).unwrap();
        recording.entries.iter_mut().for_each(|entry| entry.at += 1_000_000_000);
        (recording.header.scenario().unwrap(), recording)
    }

    fn configures(what: Configures) -> Entry {
        let (program, namespace) = ("ip".to_owned(), "client".to_owned());
        Entry { at: 1, what: Observation::ProgramConfigures { step: 0, program, namespace, what } }
    }

    fn configured(limits: Option<Limits>) -> Entry {
        let (namespace, sysctls) = ("client".to_owned(), std::collections::BTreeMap::new());
        let configured = Configured { namespace, since: 0, endpoints: None, limits, sysctls, may_change: false };
        Entry { at: 2, what: Observation::Configured(Box::new(configured)) }
    }

    /// The numbers of violations, and of decisions that are left open because of a program.
    fn told((scenario, recording): &(Scenario, Recording), before: &[Entry]) -> (usize, usize) {
        let mut recording = recording.clone();
        recording.entries.splice(0..0, before.iter().cloned());
        let reference = consult(scenario, &recording);
        let open = reference.decisions.iter().filter(|decision| {
            decision.outcome == Outcome::Undetermined && decision.because.starts_with("ip may have configured")
        });
        (reference.violations().count(), open.count())
    }

    #[test]
    fn what_a_program_may_have_configured_is_left_open() {
        let mut run = run();
        let client = run.0.world.namespaces.iter_mut().find(|namespace| namespace.name == "client").unwrap();
        let real = client.limits.replace(Limits { subflows: 0, add_addr_accepted: 0 });
        let (broken, _) = told(&run, &[]);
        assert!(broken > 0);
        let can = configures(Configures::PathManager);
        assert_eq!(told(&run, std::slice::from_ref(&can)), (0, broken));
        // When it had ended, nothing was other than before; or the limits were what they are.
        assert_eq!(told(&run, &[can.clone(), configured(None)]), (broken, 0));
        assert_eq!(told(&run, &[can, configured(real)]), (0, 0));
    }

    #[test]
    fn the_wire_is_not_the_path_managers() {
        let mut run = run();
        for entry in &mut run.1.entries {
            let Observation::Packet { namespace, segment, .. } = &mut entry.what else { continue };
            for option in segment.options.iter_mut().filter(|_| namespace.as_str() == "client") {
                if let MptcpOption::MpJoinAck { hmac } = option {
                    *hmac = "00".repeat(20);
                }
            }
        }
        let (broken, _) = told(&run, &[]);
        assert!(broken > 0);
        assert_eq!(told(&run, &[configures(Configures::PathManager)]), (broken, 0));
        assert_eq!(told(&run, &[configures(Configures::Netfilter)]), (0, broken));
    }
}
