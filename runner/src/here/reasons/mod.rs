//! Why each subflow is there, and why each one that one might expect is not: pure functions of what is known about the
//! host. They follow net/mptcp/pm.c, pm_kernel.c and subflow.c.

mod announcements;
mod change;
mod endpoints;
mod namespace;
mod subflows;
#[cfg(test)]
mod tests;

use crate::mptcp::{MptcpInfo, Side, TCP_SYN_SENT};

use super::because::Because;
use super::decision::{Candidate, Decision, Outcome};
use super::host::{Connection, Host};

pub(super) use endpoints::limit;
pub use namespace::{configuration, multipath};

/// The decisions about one connection, those that need attention first.
pub fn decisions(host: &Host, connection: &Connection) -> Vec<Decision> {
    let mut decisions = subflows::existing(host, connection);
    if let Some(decision) = whole(host, connection) {
        decisions.push(decision);
    } else {
        decisions.extend(endpoints::missing(host, connection));
        decisions.extend(announcements::own(host, connection));
        decisions.extend(announcements::of_peer(host, connection));
        decisions.extend(joins(connection));
        decisions.extend(no_endpoints(host, connection));
    }
    decisions.sort_by_key(|decision| decision.outcome);
    decisions
}

/// What decides about all additional subflows of a connection.
fn whole(host: &Host, connection: &Connection) -> Option<Decision> {
    let info = connection.info.as_ref();
    let no =
        |because, change| Some(Decision { candidate: Candidate::Additional, outcome: Outcome::No, because, change });
    if info.is_some_and(MptcpInfo::fallback) {
        let counters = namespace::FALLBACKS.iter().map(|name| ((*name).to_owned(), host.mptcp_counter(name)));
        return no(Because::Fallback { counters: counters.filter(|(_, count)| *count > 0).collect() }, None);
    }
    if connection.state == TCP_SYN_SENT {
        return no(Because::Connecting, None);
    }
    if let Some(setting) = host.other_path_manager_of(connection) {
        return no(Because::OtherPathManager { setting: setting.clone() }, Some(change::kernel_path_manager(host)));
    }
    None
}

/// Whether the peer may open subflows. A client's peer does that only for an announced address of its own.
fn joins(connection: &Connection) -> Option<Decision> {
    let info = connection.info.as_ref()?;
    let server = connection.side == Some(Side::Server);
    if !server {
        return None;
    }
    let (used, limit) = (info.subflows, info.subflows_max);
    let (outcome, because, change) = if used >= limit {
        let closed = closed_but_counted(connection);
        let because = Because::Limit { used, limit: limit.into(), closed };
        // `accept_subflow` is sampled when the connection is created, and set again when a subflow closes
        // (`mptcp_pm_data_reset`, `__mptcp_pm_close_subflow`, net/mptcp).
        (Outcome::No, because, Some(format!("{} (for new connections)", change::limit(u32::from(limit), 1))))
    } else if used == 0 {
        (Outcome::Allowed, Because::ClientOpens { limit: limit.into() }, None)
    } else {
        (Outcome::Allowed, Because::PeerMayJoin { used, limit: limit.into() }, None)
    };
    Some(Decision { candidate: Candidate::PeerJoins, outcome, because, change })
}

/// Without endpoints, this side opens nothing and announces nothing.
fn no_endpoints(host: &Host, connection: &Connection) -> Option<Decision> {
    let server = connection.side == Some(Side::Server);
    namespace::has_no_endpoints(host).then(|| Decision {
        candidate: Candidate::FromEndpoints,
        outcome: if server || connection.additional().next().is_some() { Outcome::Allowed } else { Outcome::No },
        because: Because::NoEndpoints,
        change: change::first_endpoint(host, connection, server),
    })
}

/// Additional subflows that the kernel still counts, and that no longer exist or are being closed: `extra_subflows`
/// counts down when the path manager closes a subflow (`mptcp_pm_subflow_check_next`, net/mptcp/pm.c).
fn closed_but_counted(connection: &Connection) -> u8 {
    let counted = connection.info.as_ref().map_or(0, |info| info.subflows);
    match &connection.subflows {
        Some(_) => counted.saturating_sub(u8::try_from(connection.additional().count()).unwrap_or(u8::MAX)),
        None => 0,
    }
}
