//! Each subflow that a host opens has a reason.

use std::net::IpAddr;

use crate::mptcp::EndpointFlags;
use crate::recording::{Direction, canonical_socket};
use crate::reference::ledger::Ledger;
use crate::reference::view::{EndpointPeriod, Half, Host, Mark, View};
use crate::reference::{Outcome, Rule};

use super::facts::{
    Announced, LATE, Opened, announced, created, end, endpoints_at, endpoints_of, has, initial_local, initial_remote,
    is_userspace, limits_in, named, opened, peer_denies_join_id0, removed, sides,
};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "subflow-has-a-reason",
    statement: "A host opens a subflow only from a `subflow` endpoint to the peer's initial address, with `fullmesh` \
                to each known address of the peer, towards an announced address that it accepts and that is not \
                removed, or because a userspace path manager asked for it. It opens none to the initial address of a \
                peer that forbids this (C flag).",
    source: "ip-mptcp(8), flags of endpoints; mptcp_pm_create_subflow_or_signal_addr, fill_remote_addresses_vec and \
             fill_local_addresses_vec, net/mptcp/pm_kernel.c; RFC 8684 section 3.1 (C flag)",
    kernels: "`laminar` endpoints since Linux 6.18.",
    apply,
};

/// A removal that arrived so long ago was processed, in nanoseconds.
const PROCESSED: u64 = 2_000_000_000;

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in sides(view) {
        let Some(host) = view.host(half) else { continue };
        let userspace = is_userspace(host, half);
        let mut world = None;
        for opened in opened(view, half) {
            let (outcome, because, evidence) = match userspace {
                Some(true) => asked_for(host, half, &opened),
                Some(false) => {
                    let known = world.get_or_insert_with(|| Known::new(view, half, host));
                    known.reason(&opened)
                }
                None => (Outcome::Undetermined, "the type of the path manager is not known".to_owned(), None),
            };
            let evidence = evidence.into_iter().chain([opened.syn.entry]);
            ledger.decide(half, opened.syn.at, opened.candidate(), outcome, because, evidence);
        }
    }
}

type Reason = (Outcome, String, Option<usize>);

/// Userspace path manager: only what userspace asked for.
fn asked_for(host: &Host<'_>, half: &Half<'_>, opened: &Opened<'_, '_>) -> Reason {
    let remote = canonical_socket(opened.flow.remote);
    let mut asked = created(host, half, opened.syn.at);
    if asked.any(|asked| asked.remote == remote && asked.endpoint.address.to_canonical() == opened.local()) {
        return (Outcome::Done, "the userspace path manager asked for it".to_owned(), None);
    }
    (Outcome::Wrong, "the userspace path manager did not ask for it".to_owned(), None)
}

/// What one side knows of the other one.
struct Known<'v, 'a> {
    view: &'v View<'a>,
    half: &'v Half<'a>,
    host: &'v Host<'a>,
    announced: Vec<Announced>,
    removed: Vec<(Mark, u8)>,
    denies_join_id0: bool,
}

impl<'v, 'a> Known<'v, 'a> {
    fn new(view: &'v View<'a>, half: &'v Half<'a>, host: &'v Host<'a>) -> Self {
        Self {
            view,
            half,
            host,
            announced: announced(view, half),
            removed: removed(view, half, Direction::In),
            denies_join_id0: peer_denies_join_id0(view, half),
        }
    }

    fn reason(&self, opened: &Opened<'_, '_>) -> Reason {
        let (local, remote, at) = (opened.local(), canonical_socket(opened.flow.remote), opened.syn.at);
        if let Some(reason) = self.towards_announced(local, remote, at) {
            return reason;
        }
        let sources: Vec<&EndpointPeriod> =
            endpoints_at(self.host, local, at).filter(|period| has(period, EndpointFlags::SUBFLOW)).collect();
        if remote == initial_remote(self.half) {
            if self.denies_join_id0 {
                let why = "the peer forbids joins to its initial address (C flag), and did not announce this address";
                return (Outcome::Wrong, why.to_owned(), None);
            }
            return match sources.first() {
                Some(source) => (Outcome::Done, format!("{}, to the peer's initial address", named(source)), None),
                None if local == initial_local(self.half) => {
                    (Outcome::Wrong, format!("no `subflow` endpoint has {local}, the initial subflow's address"), None)
                }
                None => (Outcome::Wrong, format!("no `subflow` endpoint has the address {local}"), None),
            };
        }
        let fullmesh = sources.iter().find(|period| has(period, EndpointFlags::FULLMESH));
        let known = self.half.flows.iter().zip(&self.half.lives).enumerate().find(|(index, (flow, life))| {
            let began = [life.syn, life.syn_ack, life.third_ack].into_iter().flatten().map(|mark| mark.at).min();
            *index != opened.index && canonical_socket(flow.remote) == remote && began.is_some_and(|began| began <= at)
        });
        match (fullmesh, known) {
            (Some(source), Some(_)) => {
                (Outcome::Done, format!("{}, to an address that another subflow has", named(source)), None)
            }
            (None, Some(_)) => (
                Outcome::Wrong,
                format!(
                    "no `fullmesh` endpoint has the address {local}, and {} is not the \
                    peer's initial address",
                    end(remote)
                ),
                None,
            ),
            (_, None) => {
                (Outcome::Wrong, format!("{} is neither the peer's initial address nor announced", end(remote)), None)
            }
        }
    }

    /// Whether an announcement of this address is the reason.
    fn towards_announced(&self, local: IpAddr, remote: (IpAddr, u16), at: u64) -> Option<Reason> {
        let found =
            self.announced.iter().rev().find(|known| known.mark.at <= at && known.target(self.half) == remote)?;
        let is_initial = remote == initial_remote(self.half);
        if is_initial && !self.denies_join_id0 && self.has_endpoint(local, EndpointFlags::SUBFLOW, at) {
            return None;
        }
        let evidence = Some(found.mark.entry);
        let removal = self.removed.iter().find(|(mark, id)| *id == found.id && (found.mark.at..=at).contains(&mark.at));
        if let Some((removal, _)) = removal {
            let quiet = self.view.quiet_after(removal.at).is_some_and(|quiet| quiet <= at);
            if quiet || at - removal.at > PROCESSED {
                let why = format!("the peer removed {} (REMOVE_ADDR id {})", end(remote), found.id);
                return Some((Outcome::Wrong, why, Some(removal.entry)));
            }
        }
        let (_, most) = limits_in(self.host, 0, at);
        let by_c_flag = self.denies_join_id0 && self.has_endpoint(local, EndpointFlags::SUBFLOW, at);
        if most.add_addr_accepted == 0 && found.id != 0 && !by_c_flag {
            // With `fullmesh`, another subflow to the same address is a reason, too.
            return (!self.has_endpoint(local, EndpointFlags::FULLMESH, at)).then(|| {
                (
                    Outcome::Wrong,
                    "add_addr_accepted 0: the announcement is echoed and then ignored".to_owned(),
                    evidence,
                )
            });
        }
        Some(match self.source(local, remote.0, by_c_flag, at) {
            Ok(source) => (Outcome::Done, format!("announced with address ID {}; {source}", found.id), evidence),
            Err(why) => (Outcome::Wrong, why, evidence),
        })
    }

    fn has_endpoint(&self, local: IpAddr, flags: EndpointFlags, at: u64) -> bool {
        endpoints_at(self.host, local, at).any(|period| has(period, flags))
    }

    /// Why a subflow towards an announced address has this source.
    fn source(&self, local: IpAddr, remote: IpAddr, by_c_flag: bool, at: u64) -> Result<String, String> {
        for (flag, word) in [(EndpointFlags::FULLMESH, "fullmesh"), (EndpointFlags::LAMINAR, "laminar")] {
            if self.has_endpoint(local, flag, at) {
                return Ok(format!("the source is a `{word}` endpoint"));
            }
        }
        let laminar = endpoints_of(self.host, at)
            .find(|period| has(period, EndpointFlags::LAMINAR) && period.is_through(at.saturating_sub(LATE), at));
        if by_c_flag {
            return Ok(
                "the source is a `subflow` endpoint, since the peer forbids joins to its initial address".to_owned()
            );
        }
        match laminar {
            // The address of the initial subflow is not in the list of laminar sources, but its endpoint may be.
            Some(laminar) if laminar.endpoint.address.is_ipv4() == remote.is_ipv4() => {
                Err(format!("{local} is not a `laminar` endpoint, and {} is", named(laminar)))
            }
            _ => Ok(format!("routing chose the source {local}")),
        }
    }
}
