//! Each announced address is used, or there is a reason.

use std::net::IpAddr;

use crate::mptcp::EndpointFlags;
use crate::recording::{Direction, canonical_socket};
use crate::reference::crypto;
use crate::reference::ledger::Ledger;
use crate::reference::view::{EndpointPeriod, Half, Host, Mark, View};
use crate::reference::{Candidate, Outcome, Rule};

use super::facts::{
    Announced, Opened, announced, created_at, endpoints_of, established_at, fallback_at, has, initial_remote,
    is_userspace, limits_in, maybe_counted, opened, peer_denies_join_id0, removed, settled_after, sides, unseen,
};
use super::reach::{Obstacle, obstacle};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "subflow-towards-an-announced-address",
    statement: "When an ADD_ADDR arrives, a host opens subflows to its address if the connection has accepted fewer \
                addresses than `add_addr_accepted`, has fewer additional subflows than `subflows`, and has no subflow \
                to that address yet: from each `fullmesh` endpoint of the same family, or else from one `laminar` \
                endpoint, or else from the address that routing chooses.",
    source: "ip-mptcp(8), `add_addr_accepted`, `fullmesh` and `laminar`; mptcp_pm_add_addr_received, net/mptcp/pm.c; \
             mptcp_pm_nl_add_addr_received and fill_local_addresses_vec, net/mptcp/pm_kernel.c",
    kernels: "`laminar` since Linux 6.18. Since 6.19, with any `fullmesh` endpoint, only those are sources.",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in sides(view) {
        let Some(host) = view.host(half) else { continue };
        let all = announced(view, half);
        if all.is_empty() {
            continue;
        }
        let side = Remotes { view, half, host, opened: opened(view, half).collect(), all: &all };
        for (index, known) in all.iter().enumerate() {
            // Retransmissions make no other decision.
            let same =
                |other: &Announced| (other.id, other.address, other.port) == (known.id, known.address, known.port);
            if all.get(..index).is_some_and(|before| before.iter().any(same)) {
                continue;
            }
            let Some((outcome, because, evidence)) = side.decide(known) else { continue };
            let (address, port) = known.target(half);
            let candidate = Candidate::Subflow { local: None, remote: (address, Some(port)) };
            let evidence = [Some(known.mark.entry), evidence].into_iter().flatten();
            ledger.decide(half, known.mark.at, candidate, outcome, because, evidence);
            // `accept-announcements` says the same.
            ledger.mark_minor(outcome == Outcome::NotDone && side.not_accepted(known).is_some());
        }
    }
}

type Decided = (Outcome, String, Option<usize>);

/// The announced addresses of the peer.
struct Remotes<'v, 'a> {
    view: &'v View<'a>,
    half: &'v Half<'a>,
    host: &'v Host<'a>,
    opened: Vec<Opened<'v, 'a>>,
    all: &'v [Announced],
}

impl Remotes<'_, '_> {
    fn decide(&self, known: &Announced) -> Option<Decided> {
        let (at, target) = (known.mark.at, known.target(self.half));
        let used =
            self.opened.iter().find(|opened| opened.syn.at >= at && canonical_socket(opened.flow.remote) == target);
        let is_initial = target == initial_remote(self.half);
        if let Some(used) = used.filter(|_| !is_initial) {
            let because = format!("announced with address ID {}, and accepted", known.id);
            return Some((Outcome::Done, because, Some(used.syn.entry)));
        }
        let not_done = |because: String| Some((Outcome::NotDone, because, None));
        if let Some(because) = self.not_accepted(known) {
            return not_done(because);
        }
        if let Some((mark, _)) = self.flows_to(target, at) {
            let because = "a subflow to this address is there already".to_owned();
            return Some((Outcome::NotDone, because, Some(mark.entry)));
        }
        match self.obstacle(target.0, at) {
            Obstacle::Certain(because) => return not_done(because),
            Obstacle::Perhaps(because) => return Some((Outcome::Undetermined, because, None)),
            Obstacle::None => {}
        }
        self.by_limits(known)
    }

    /// A subflow to this address that was there when the announcement came.
    fn flows_to(&self, target: (IpAddr, u16), at: u64) -> Option<(Mark, usize)> {
        self.half.flows.iter().zip(&self.half.lives).enumerate().find_map(|(index, (flow, life))| {
            let (address, port) = canonical_socket(flow.remote);
            let since = [life.syn, life.syn_ack, life.third_ack].into_iter().flatten().min_by_key(|mark| mark.at)?;
            let same = address == target.0 && (port == target.1 || !flow.is_opener);
            (same && since.at <= at && life.closed.is_none_or(|closed| closed.at >= at)).then_some((since, index))
        })
    }

    /// What keeps the path manager from accepting it at all.
    fn not_accepted(&self, known: &Announced) -> Option<String> {
        let at = known.mark.at;
        let keys = self.half.peer_key.zip(self.half.own_key);
        let right = keys.map(|(peer, own)| crypto::add_addr_hmac(peer, own, known.id, known.address, known.port));
        if right.zip(known.hmac).is_some_and(|(right, sent)| right != sent) {
            return Some("the HMAC of the ADD_ADDR is wrong: it is ignored".to_owned());
        }
        if is_userspace(self.host, self.half) != Some(false) {
            return Some("userspace path manager: the kernel opens no subflow by itself".to_owned());
        }
        if self.half.closing_at.is_some_and(|closing| closing <= at) {
            return Some("the connection is closing".to_owned());
        }
        if established_at(self.view, self.half).is_none() {
            return Some("the connection is not fully established".to_owned());
        }
        if fallback_at(self.view, self.half).is_some_and(|fallback| fallback.at <= at) {
            return Some("the connection fell back to TCP".to_owned());
        }
        let (least, _) = limits_in(self.host, created_at(self.half).unwrap_or(0), at);
        if least.add_addr_accepted == 0 && known.id != 0 && !peer_denies_join_id0(self.view, self.half) {
            return Some("add_addr_accepted 0: the announcement is echoed and then ignored".to_owned());
        }
        let is_ipv4 = self.half.connection.client_address.is_ipv4()
            && self.half.initial().is_none_or(|flow| flow.local.is_ipv4());
        (is_ipv4 && known.address.is_ipv6())
            .then(|| format!("the socket is an IPv4 one, and {} an IPv6 address", known.address))
    }

    fn obstacle(&self, address: IpAddr, at: u64) -> Obstacle {
        if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
            let sources = self.sources(at, EndpointFlags::FULLMESH | EndpointFlags::LAMINAR);
            if !sources.iter().any(|period| period.endpoint.dev.is_some()) {
                return Obstacle::Certain(format!(
                    "{address} is a link-local address, and no `laminar` or `fullmesh` endpoint with a device says by \
                     which link: connect() fails (EINVAL)"
                ));
            }
        }
        obstacle(self.view, self.host, None, None, address, at)
    }

    /// The endpoints that may be sources, with one of these flags.
    fn sources(&self, at: u64, flags: EndpointFlags) -> Vec<&EndpointPeriod> {
        endpoints_of(self.host, at).filter(|period| period.endpoint.flags.intersects(flags)).collect()
    }

    fn by_limits(&self, known: &Announced) -> Option<Decided> {
        let at = known.mark.at;
        let created = created_at(self.half).unwrap_or(0);
        let settled = settled_after(self.view, self.half, at).unwrap_or(self.ends());
        let (least, most) = limits_in(self.host, created, settled);
        let others = maybe_counted(self.half, at, settled, None);
        let is_full = |count: usize, limit: u32| u32::try_from(count).map_or(true, |count| count >= limit);
        if is_full(others, least.subflows) {
            let others = u32::try_from(others).map_or(least.subflows, |others| others.min(least.subflows));
            let because = format!("additional subflows {others} of limit {}", least.subflows);
            return Some((Outcome::NotDone, because, None));
        }
        if peer_denies_join_id0(self.view, self.half) && most.add_addr_accepted == 0 {
            let why = "the peer forbids joins to its initial address, and its first announcement was used";
            let sources = self.sources(at, EndpointFlags::SUBFLOW);
            let why = if sources.is_empty() { "add_addr_accepted 0, and no `subflow` endpoint" } else { why };
            return Some((Outcome::NotDone, why.to_owned(), None));
        }
        let accepted = self.accepted(known, settled);
        if is_full(accepted, least.add_addr_accepted) && known.id != 0 {
            let limit = least.add_addr_accepted;
            let accepted = u32::try_from(accepted).map_or(limit, |accepted| accepted.min(limit));
            return Some((Outcome::NotDone, format!("accepted addresses {accepted} of limit {limit}"), None));
        }
        self.missing(known, least == most)
    }

    fn missing(&self, known: &Announced, same_limits: bool) -> Option<Decided> {
        let at = known.mark.at;
        let settled = settled_after(self.view, self.half, at)?;
        let sources = self.sources(at, EndpointFlags::FULLMESH | EndpointFlags::LAMINAR);
        if !sources.is_empty() {
            let family = |period: &&EndpointPeriod| period.endpoint.address.is_ipv4() == known.address.is_ipv4();
            if !sources.iter().any(family) {
                let why = "no `fullmesh` or `laminar` endpoint is of its family".to_owned();
                return Some((Outcome::NotDone, why, None));
            }
            if sources.iter().all(|period| has(period, EndpointFlags::LAMINAR)) {
                return Some((Outcome::NotDone, "the connection has used all `laminar` endpoints".to_owned(), None));
            }
        }
        // Without `family_rules`, such an endpoint is tried in vain, and uses up the limit for that time.
        let (least, _) = limits_in(self.host, at, settled);
        let others =
            maybe_counted(self.half, at, settled, None) + unseen(self.view, self.half, self.host).saturating_sub(1);
        let is_perhaps_full = u32::try_from(others).map_or(true, |others| others >= least.subflows);
        if is_perhaps_full || sources.iter().any(|period| period.endpoint.address.is_ipv4() != known.address.is_ipv4())
        {
            return None;
        }
        let removed = removed(self.view, self.half, Direction::In);
        if removed.iter().any(|(mark, id)| *id == known.id && (at..=settled).contains(&mark.at)) {
            return Some((Outcome::NotDone, "the peer removed it at once".to_owned(), None));
        }
        let near = self.all.iter().filter(|other| other.mark.at.abs_diff(at) < NEAR && other.id != known.id).count();
        let segment = self.view.packet(known.mark.entry).map(|(_, segment)| segment)?;
        let lost = known.id == 0 || near > 0 || self.host.may_not_reach_tcp(segment, at) || known.hmac.is_none();
        if lost || !same_limits || self.host.may_send_unseen(at, settled) || sources.iter().any(|one| one.changed) {
            return None;
        }
        let because = "the connection accepts addresses and has room for a subflow".to_owned();
        Some((Outcome::Missing, because, None))
    }

    /// How many other addresses may have been accepted by then.
    fn accepted(&self, known: &Announced, until: u64) -> usize {
        let mut targets: Vec<(IpAddr, u16)> = Vec::new();
        for other in self.all.iter().filter(|other| other.mark.at <= until && other.id != known.id && other.id != 0) {
            let target = other.target(self.half);
            if !targets.contains(&target) && self.flows_to(target, other.mark.at).is_none() {
                targets.push(target);
            }
        }
        targets.len()
    }

    fn ends(&self) -> u64 {
        self.half.closing_at.unwrap_or_else(|| self.view.recording.entries.last().map_or(0, |entry| entry.at))
    }
}

/// Of two announcements that arrive so close together, the second may be dropped: there is one place for them until the
/// worker runs (`mptcp_pm_schedule_work`). In nanoseconds.
const NEAR: u64 = 100_000_000;
