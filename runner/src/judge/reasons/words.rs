//! Reasons in words: one line each.

use std::fmt::{self, Display, Formatter};

use crate::mptcp::tcp_state_word;
use crate::text;

use super::{Cause, Idle, Reason, ReasonKind, SynCounts, Unused};

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled { namespace } => {
                write!(f, "{namespace}: net.mptcp.enabled is 0, so all sockets use plain TCP")
            }
            Self::IdleEndpoint { namespace, endpoint, why } => write!(f, "{namespace}: endpoint {endpoint} {why}"),
            Self::UnusedAnnouncement { namespace, connection, address, why } => {
                write!(f, "{namespace}: no subflow to {address}, announced on `{connection}`: {why}")?;
                let link_local = matches!(address, std::net::IpAddr::V6(address) if address.is_unicast_link_local());
                if link_local && matches!(why, Unused::Refused(_)) {
                    f.write_str("; a link-local address needs a `laminar` or `fullmesh` endpoint with a `dev`")?;
                }
                Ok(())
            }
            Self::Counter { namespace, name, moved, meaning } => {
                write!(f, "{namespace}: {name} {moved}")?;
                meaning.map_or(Ok(()), |meaning| write!(f, ": {meaning}"))
            }
            Self::State { namespace, connection, local, remote, state, syns } => {
                let (local, remote, state) = (text::socket(*local), text::socket(*remote), tcp_state_word(*state));
                write!(f, "{namespace}: subflow {local} → {remote} of `{connection}` is in {state}")?;
                syns.as_ref().map_or(Ok(()), |syns| write!(f, ": {syns}"))
            }
            Self::Limit { namespace, connection, subflows, limit } => {
                write!(f, "{namespace}: `{connection}` has {subflows} of at most {limit} additional subflows")?;
                f.write_str(" (limit `subflows`)")
            }
            Self::OtherDevice { namespace, source, destination, left_by, belongs_to } => {
                write!(
                    f,
                    "{namespace}: packets from {source} to {destination} left through {left_by}, not {belongs_to}"
                )?;
                f.write_str(", which has the source address")
            }
            Self::Path { link, effects } => {
                let effects =
                    effects.iter().map(|(cause, packets)| format!("{cause} {}", text::count(*packets, "packet")));
                write!(f, "path {link} {}", effects.collect::<Vec<_>>().join("; "))
            }
            Self::UnusedRule { link, rule } => write!(f, "path {link}: rule `{rule}` has not matched"),
            Self::UnusedFilter { namespace, filter } => write!(f, "{namespace}: filter `{filter}` has not matched"),
            Self::Unmentioned { namespace, counters } => {
                let counters = counters.iter().map(|(name, moved)| format!("{name} {moved}"));
                write!(f, "{namespace}: other counters that increased: {}", counters.collect::<Vec<_>>().join(", "))
            }
            Self::Rule { namespace, connection, candidate, because, rule } => {
                write!(f, "{namespace}: no {candidate} on `{connection}`: {because} [{rule}]")
            }
            Self::More { namespace, count, of } => {
                write!(f, "{namespace}: and {}", text::count(*count as u64, &format!("similar {}", of.word())))
            }
        }
    }
}

impl ReasonKind {
    fn word(self) -> &'static str {
        match self {
            Self::Announcements => "announcement",
            Self::Subflows => "subflow",
            Self::Connections => "connection",
            Self::Flows => "flow",
        }
    }
}

/// `lost 3 packets`, with the path as the subject.
impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("lost"),
            Self::QueueFull => f.write_str("had no room in its queue for"),
            Self::TooBig => f.write_str("has too small an MTU for"),
            Self::Reordered => f.write_str("reordered"),
            Self::Duplicated => f.write_str("duplicated"),
            Self::Rule { rule, action } => write!(f, "applied its rule `{}` ({action}) to", text::one_line(rule)),
        }
    }
}

impl Display for Idle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserspacePathManager(setting) => write!(f, "is ignored by the userspace path manager ({setting})"),
            Self::FullmeshOnly => {
                f.write_str("has `fullmesh` without `subflow`: the kernel uses it only towards announced addresses")
            }
            Self::NoRole => f.write_str("has neither `subflow` nor `signal`: the kernel does nothing with it"),
            Self::NoAddress => f.write_str("has an address that no interface of the namespace has"),
            Self::BeforeItsAddress { endpoint, address } => {
                match endpoint {
                    Some(step) => write!(f, "was added in step {}", step.saturating_add(1))?,
                    None => f.write_str("was added before the first step")?,
                }
                write!(f, ", its address in step {}: the kernel does not retry", address.saturating_add(1))
            }
        }
    }
}

impl Display for Unused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserspacePathManager => f.write_str("only the userspace path manager can create it"),
            Self::AcceptLimit { limit: 0, .. } => f.write_str("limit `add_addr_accepted` is 0"),
            Self::AcceptLimit { accepted, limit } => {
                write!(f, "limit `add_addr_accepted` is used up: {accepted} of {limit}")
            }
            Self::SubflowLimit { subflows, limit } => {
                write!(f, "limit `subflows` is used up: {subflows} of {limit} additional subflows")
            }
            Self::Refused(counter) => write!(f, "the kernel could not open it ({counter})"),
            Self::AlreadyConnected => f.write_str("the connection already has a subflow to it"),
            Self::Forgotten { step } => {
                write!(f, "the `fullmesh` endpoint of step {} joins only ", step.saturating_add(1))?;
                f.write_str("addresses that have a subflow: the kernel does not remember announcements")
            }
            Self::Unknown => f.write_str("the recording does not show why"),
        }
    }
}

impl Display for SynCounts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.sent == 0 {
            return f.write_str("no SYN left the namespace");
        }
        let sent = text::count(self.sent as u64, "SYN");
        write!(f, "{sent} sent on {}", self.devices.join(" and "))?;
        match &self.arrived {
            Some((peer, 0)) => write!(f, ", none arrived at {peer}"),
            Some((peer, arrived)) => {
                let answers = text::count(self.answered as u64, "SYN/ACK");
                write!(f, ", {arrived} arrived at {peer}, which sent {answers}")
            }
            None => Ok(()),
        }
    }
}
