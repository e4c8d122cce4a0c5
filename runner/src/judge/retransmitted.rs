//! Announcements that a timer retransmitted. Main type: [`Retransmitted`].
//!
//! An ADD_ADDR is retransmitted if its echo is late (`mptcp_pm_add_timer`, net/mptcp/pm.c); since Linux 6.18 the timeout
//! is the retransmission timeout of the connection's slowest subflow, 200 ms on a fast link. How soon the peer's
//! worker sends the echo is up to its machine: the kernel promises that an address is announced, not that it is announced
//! once. So an expectation holds if it holds for everything that was seen, or for everything but the retransmissions.
//!
//! Only what the timer can have brought about is a retransmission: the same announcement again, while its sender had no
//! echo of it. An announcement that is repeated after its echo arrived counts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::mptcp::{EventKind, PmEvent, canonical};
use crate::recording::{Direction, Observation};
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::names::Names;

/// What was sent or received more than once because an echo was late.
#[derive(Debug, Default)]
pub(super) struct Retransmitted<'a> {
    /// The entries of segments that were sent.
    sent: BTreeSet<usize>,
    counts: BTreeMap<(&'a str, What), u64>,
    /// Number of ADD_ADDRs that a namespace received, by connection, Address ID and address.
    came: BTreeMap<(&'a str, Option<&'a str>, u8, IpAddr), u64>,
}

/// What the kernel counts of announcements (`mptcp_incoming_options` and `mptcp_established_options_add_addr`,
/// net/mptcp/options.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    AddAddrSent,
    AddAddrCame,
    EchoSent,
    EchoCame,
    /// Either one, with a port.
    WithPortCame,
}

/// One announcement: its connection, Address ID, address and port.
type Key<'a> = (Option<&'a str>, u8, IpAddr, Option<u16>);

/// What became of one announcement so far.
#[derive(Debug, Default)]
struct Announcement<'a> {
    sender: Option<&'a str>,
    sent: u64,
    retransmitted: u64,
    came: u64,
    echoes_sent: u64,
    echoes_came: u64,
}

impl<'a> Retransmitted<'a> {
    /// Those among the entries before that index.
    pub(super) fn of(names: &Names<'a>, until: usize) -> Self {
        let mut found = Self::default();
        let mut flows: BTreeMap<(SocketAddr, SocketAddr), &'a str> = BTreeMap::new();
        let mut announcements: BTreeMap<Key<'a>, Announcement<'a>> = BTreeMap::new();
        for (index, entry) in names.recording().entries.iter().enumerate().take(until) {
            let Observation::Packet { namespace, direction, segment, .. } = &entry.what else { continue };
            learn_flow(names, segment, &mut flows);
            if names.is_forwarded(namespace, *direction, segment) {
                continue;
            }
            for option in &segment.options {
                if let MptcpOption::AddAddr { echo, address_id, body } = option {
                    let connection = connection_of(names, segment, &flows);
                    let key = (connection, *address_id, canonical(body.address), body.port);
                    let announcement = announcements.entry(key).or_default();
                    if announcement.take(namespace, *direction, *echo) {
                        found.note(index, namespace, *direction, *echo, key);
                    }
                } else if let MptcpOption::RemoveAddr { address_ids } = option
                    && *direction == Direction::Out
                {
                    let connection = connection_of(names, segment, &flows);
                    announcements.retain(|(of, id, ..), announcement| {
                        *of != connection || announcement.sender != Some(namespace) || !address_ids.contains(id)
                    });
                }
            }
        }
        found
    }

    fn note(&mut self, index: usize, namespace: &'a str, direction: Direction, echo: bool, key: Key<'a>) {
        let (connection, id, address, port) = key;
        let what = match (direction, echo) {
            (Direction::Out, false) => What::AddAddrSent,
            (Direction::Out, true) => What::EchoSent,
            (Direction::In, false) => What::AddAddrCame,
            (Direction::In, true) => What::EchoCame,
        };
        *self.counts.entry((namespace, what)).or_default() += 1;
        if direction == Direction::Out {
            self.sent.insert(index);
            return;
        }
        if port.is_some() {
            *self.counts.entry((namespace, What::WithPortCame)).or_default() += 1;
        }
        if !echo {
            *self.came.entry((namespace, connection, id, address)).or_default() += 1;
        }
    }

    /// The segment of that entry was sent because an echo was late.
    pub(super) fn is_segment(&self, entry: usize) -> bool {
        self.sent.contains(&entry)
    }

    /// How far retransmissions moved a counter of a namespace.
    pub(super) fn moved(&self, namespace: &str, counter: &str) -> u64 {
        let what = match counter {
            "MPTcpExtAddAddr" => What::AddAddrCame,
            "MPTcpExtAddAddrTx" => What::AddAddrSent,
            "MPTcpExtEchoAdd" => What::EchoCame,
            "MPTcpExtEchoAddTx" => What::EchoSent,
            "MPTcpExtPortAdd" => What::WithPortCame,
            _ => return 0,
        };
        self.counts.get(&(namespace, what)).copied().unwrap_or(0)
    }

    /// Which events report a retransmission, each with the first event of its announcement: both by their places in the
    /// list.
    pub(super) fn events(
        &self,
        names: &Names<'_>,
        namespace: &str,
        events: &[(usize, &PmEvent)],
    ) -> BTreeMap<usize, usize> {
        let mut came = self.came.clone();
        let mut first: BTreeMap<(u32, u8, IpAddr, Option<u16>), usize> = BTreeMap::new();
        let mut again = BTreeMap::new();
        for (place, (_, event)) in events.iter().enumerate() {
            let (Some(token), Some(id)) = (event.token, event.remote_id) else { continue };
            match (event.kind, event.remote) {
                (EventKind::Announced, Some(address)) => {
                    let address = canonical(address);
                    let key = (token, id, address, event.remote_port);
                    let Some(begin) = first.get(&key) else {
                        first.insert(key, place);
                        continue;
                    };
                    let left = came.get_mut(&(namespace, names.connection(namespace, token), id, address));
                    if let Some(left) = left.filter(|left| **left > 0) {
                        *left -= 1;
                        again.insert(place, *begin);
                    }
                }
                (EventKind::Removed, _) => first.retain(|(of, known, ..), _| (*of, *known) != (token, id)),
                _ => {}
            }
        }
        again
    }
}

impl<'a> Announcement<'a> {
    /// Takes note of the ADD_ADDR or its echo, and says whether the timer brought it about.
    fn take(&mut self, namespace: &'a str, direction: Direction, echo: bool) -> bool {
        match (direction, echo) {
            (Direction::Out, false) => {
                if self.sent > 0 && self.echoes_came > 0 {
                    // It has its echo, so no timer runs: it is announced anew.
                    *self = Self::default();
                }
                self.sender = Some(namespace);
                self.sent += 1;
                let again = self.sent > 1;
                self.retransmitted += u64::from(again);
                again
            }
            (Direction::In, false) => self.is_extra(|announcement| &mut announcement.came),
            (Direction::Out, true) => self.is_extra(|announcement| &mut announcement.echoes_sent),
            (Direction::In, true) => self.is_extra(|announcement| &mut announcement.echoes_came),
        }
    }

    /// No more of them are extra than ADD_ADDRs were retransmitted.
    fn is_extra(&mut self, count: impl Fn(&mut Self) -> &mut u64) -> bool {
        let retransmitted = self.retransmitted;
        let count = count(self);
        *count += 1;
        *count > 1 && *count - 1 <= retransmitted
    }
}

fn ends(segment: &Segment) -> (SocketAddr, SocketAddr) {
    let end = |end: SocketAddr| SocketAddr::new(canonical(end.ip()), end.port());
    (end(segment.source), end(segment.destination))
}

/// An MP_JOIN names its connection by the token.
fn learn_flow<'a>(names: &Names<'a>, segment: &Segment, flows: &mut BTreeMap<(SocketAddr, SocketAddr), &'a str>) {
    if !segment.flags.contains(TcpFlags::SYN) {
        return;
    }
    for option in &segment.options {
        if let MptcpOption::MpJoinSyn { token, .. } = option
            && let Some((name, _)) = names.connection_of_receiver(*token)
        {
            flows.insert(ends(segment), name);
        }
    }
}

fn connection_of<'a>(
    names: &Names<'a>,
    segment: &Segment,
    flows: &BTreeMap<(SocketAddr, SocketAddr), &'a str>,
) -> Option<&'a str> {
    let (source, destination) = ends(segment);
    let joined = flows.get(&(source, destination)).or_else(|| flows.get(&(destination, source)));
    let initial =
        || names.connected_between(source, destination).or_else(|| names.connected_between(destination, source));
    joined.copied().or_else(initial)
}
