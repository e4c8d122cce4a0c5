//! What a report doesn't determine, and what the draft has instead.

use super::draft::Writer;
use super::notes::Notes;
use super::seen::{Kind, Outcome};
use crate::mptcp::Side;
use crate::text;

impl Writer<'_> {
    /// What the draft had to assume.
    pub(super) fn tell(&self, notes: &mut Notes) {
        self.tell_of_connections(notes);
        self.tell_of_hosts(notes);
    }

    fn tell_of_connections(&self, notes: &mut Notes) {
        if self.by_configuration {
            notes.add("The connection: its addresses are placeholders of the documentation prefixes.");
        }
        for (chosen, live) in self.pair.connections.iter().zip(&self.course.subflows) {
            let name = &chosen.name;
            let counted = chosen.it.info.get("subflows").copied().unwrap_or(0);
            if chosen.it.state_only && counted >= live.len() as u64 && chosen.it.outcome == Outcome::Mptcp {
                let counted = text::count(counted, "additional subflow");
                notes.add(format!(
                    "The addresses of the {counted} of `{name}` that `ss -M` counts: `ss -tiM` lists them."
                ));
            }
            if !self.by_configuration && !self.course.closed.contains(name) {
                notes.add(format!("The end of `{name}`: the draft leaves it open."));
            }
        }
    }

    fn tell_of_hosts(&self, notes: &mut Notes) {
        let is_capture = self.seen.kinds.contains(&Kind::Capture);
        for host in [Side::Client, Side::Server] {
            let name = host.word();
            if !*self.course.endpoints.known.of(host) {
                notes.add(format!(
                    "The endpoints of the {name}: those that explain what was seen; there may be others."
                ));
            }
            if self.limits(host).is_none_or(|(_, inferred)| inferred) {
                notes.add(format!("The limits of the {name}: the lowest that allow what was seen."));
            }
        }
        let prefixes = "Networks and routes: /24 and /64 are assumed, a link for each network of the client, and a \
                        default route through each link.";
        notes.add(prefixes);
        if !self.world.placeholders.is_empty() {
            let addresses: Vec<String> = self.world.placeholders.iter().map(ToString::to_string).collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).take(8).collect();
            notes.add(format!("Gateways and other ends of links; placeholders: {}.", text::list(&addresses)));
        }
        if is_capture {
            notes.add(
                "What passed elsewhere than at the point of capture: both sides are drafted with the events of the \
                 captured segments alone.",
            );
            notes.add("Delays, rates and losses of the links.");
        } else {
            notes.add("Delays, rates and losses of the links, and middleboxes on them.");
        }
        let sysctls = &self.seen.sysctls;
        if sysctls.get("net.mptcp.enabled").is_some_and(|value| value == "0") {
            notes.add("MPTCP is off (net.mptcp.enabled is 0): the draft doesn't set that.");
        }
        if self.userspace().is_some() {
            notes.add("What the userspace path manager asked for: the draft has no steps for it yet.");
        }
    }
}
