//! What one side sent and received about addresses and priorities, and how its subflows lived. Main type: [`Signals`].

use std::net::IpAddr;

use crate::mptcp::canonical;
use crate::recording::{Direction, Observation, Recording};
use crate::reference::crypto;
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::{Half, Host};

/// What one side sent and received about addresses and priorities.
#[derive(Debug, Clone, Default)]
pub(in crate::reference) struct Signals {
    /// In the order of the recording.
    pub(in crate::reference) all: Vec<Signal>,
    /// One for each of [`Half::flows`].
    pub(in crate::reference) courses: Vec<Course>,
    /// When this side had what makes the connection fully established; `None` if it never had, or isn't MPTCP.
    pub(in crate::reference) established_at: Option<u64>,
    /// The other side forbids joins to its initial address (flag C of its MP_CAPABLE).
    pub(in crate::reference) is_denied: bool,
    /// From when on nothing is due any more: the connection is being closed, was aborted, or fell back to TCP.
    pub(in crate::reference) over_at: u64,
}

/// An option about addresses or priorities in a segment.
#[derive(Debug, Clone)]
pub(in crate::reference) struct Signal {
    /// The entry of the segment.
    pub(in crate::reference) entry: usize,
    /// When it was captured.
    pub(in crate::reference) at: u64,
    /// The index of the subflow in [`Half::flows`].
    pub(in crate::reference) flow: usize,
    /// This side sent it; otherwise it received it.
    pub(in crate::reference) is_sent: bool,
    /// TCP took it, as far as the recording tells: it is in sequence, and no filter comes after the capture. Always
    /// true for what this side sent.
    pub(in crate::reference) is_sure: bool,
    /// What it says.
    pub(in crate::reference) what: Said,
}

/// What a signal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::reference) enum Said {
    /// ADD_ADDR. Whether its HMAC is that of the keys.
    Announce(Announced, bool),
    /// The echo of an ADD_ADDR.
    Echo(Announced),
    /// REMOVE_ADDR.
    Remove(Vec<u8>),
    /// MP_PRIO.
    Priority(bool),
}

/// An address as an ADD_ADDR names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::reference) struct Announced {
    /// The address ID.
    pub(in crate::reference) id: u8,
    /// The address, without the v4-mapped prefix.
    pub(in crate::reference) address: IpAddr,
    /// The port.
    pub(in crate::reference) port: Option<u16>,
}

/// How a subflow lived, as one host saw it.
#[derive(Debug, Clone, Default)]
pub(in crate::reference) struct Course {
    /// When its first segment passed.
    pub(in crate::reference) begun_at: u64,
    /// When the third ACK of its handshake passed, with its option.
    pub(in crate::reference) up_at: Option<u64>,
    /// When the first FIN or RST passed, in either direction.
    pub(in crate::reference) ended_at: Option<u64>,
    /// When this side sent its first FIN or RST.
    pub(in crate::reference) left_at: Option<u64>,
    /// When a RST came in.
    pub(in crate::reference) reset_at: Option<u64>,
    /// The reason in its MP_TCPRST.
    pub(in crate::reference) reset_reason: Option<u8>,
    /// When this side first sent a DSS.
    pub(in crate::reference) used_at: Option<u64>,
    /// The address ID of this side, as it sent it in its MP_JOIN; 0 for the initial subflow.
    pub(in crate::reference) local_id: Option<u8>,
    /// The address ID of the other side, as it was received in its MP_JOIN; 0 for the initial subflow.
    pub(in crate::reference) remote_id: Option<u8>,
    /// The backup flags of the MP_JOINs: this side's, the other one's.
    pub(in crate::reference) backup: (Option<bool>, Option<bool>),
    sent_to: Option<u32>,
    received_to: Option<u32>,
    acknowledged_to: Option<u32>,
}

impl Course {
    /// Whether it was established, and neither side had begun to close it, for the whole period.
    pub(in crate::reference) fn is_up(&self, from: u64, to: u64) -> bool {
        self.up_at.is_some_and(|up| up <= from) && self.ended_at.is_none_or(|end| end > to)
    }
}

/// Whether a sequence number comes after another one.
fn is_after(one: u32, other: u32) -> bool {
    let distance = one.wrapping_sub(other);
    distance != 0 && distance < 1 << 31
}

fn later(known: Option<u32>, new: u32) -> u32 {
    known.filter(|known| !is_after(new, *known)).unwrap_or(new)
}

/// The signals of one side. `host`: its own; `closes_at`: when it was closed, in whatever way.
pub(super) fn of(half: &Half<'_>, host: Option<&Host<'_>>, recording: &Recording, closes_at: u64) -> Signals {
    let initial = |is_initial: bool| is_initial.then_some(0);
    let course =
        |is_initial| Course { local_id: initial(is_initial), remote_id: initial(is_initial), ..Course::default() };
    let courses = half.flows.iter().map(|flow| course(flow.is_initial)).collect();
    let mut signals = Signals { courses, over_at: closes_at, ..Signals::default() };
    for seen in &half.seen {
        let Some(entry) = recording.entries.get(seen.entry as usize) else { continue };
        let Observation::Packet { direction, segment, .. } = &entry.what else { continue };
        let at = Passed { entry: seen.entry as usize, at: entry.at, flow: seen.flow as usize };
        signals.take(half, host, at, *direction, segment);
    }
    signals
}

/// Where and when a segment passed.
#[derive(Clone, Copy)]
struct Passed {
    entry: usize,
    at: u64,
    flow: usize,
}

impl Signals {
    /// The signals that this side sent.
    pub(in crate::reference) fn sent(&self) -> impl DoubleEndedIterator<Item = &Signal> {
        self.all.iter().filter(|signal| signal.is_sent)
    }

    /// The signals that this side received.
    pub(in crate::reference) fn received(&self) -> impl DoubleEndedIterator<Item = &Signal> {
        self.all.iter().filter(|signal| !signal.is_sent)
    }

    fn take(
        &mut self,
        half: &Half<'_>,
        host: Option<&Host<'_>>,
        passed: Passed,
        direction: Direction,
        segment: &Segment,
    ) {
        let (Some(flow), Some(course)) = (half.flows.get(passed.flow), self.courses.get_mut(passed.flow)) else {
            return;
        };
        let is_sent = direction == Direction::Out;
        let is_sure = is_sent
            || (course.expects(segment) && !host.is_some_and(|host| host.may_not_reach_tcp(segment, passed.at)));
        let by_opener = is_sent == flow.is_opener;
        course.note(segment, passed.at, is_sent, by_opener);
        if flow.is_initial && (flow.is_opener || !segment.flags.contains(TcpFlags::SYN)) {
            let is_plain = segment.payload > 0 && !segment.options.iter().any(has_mapping);
            if is_plain && !segment.flags.contains(TcpFlags::RST) && self.established_at.is_none() {
                // Fallback: no MPTCP on this connection.
                self.over_at = self.over_at.min(passed.at);
            }
            let denies =
                |option: &MptcpOption| matches!(option, MptcpOption::MpCapable { flags, .. } if flags & 0x20 != 0);
            self.is_denied |= !is_sent && segment.options.iter().any(denies);
            let knows_keys = half.own_key.is_some() && half.peer_key.is_some();
            let completes = |option: &MptcpOption| establishes(option, flow.is_opener);
            if knows_keys && !is_sent && is_sure && segment.options.iter().any(completes) {
                self.established_at = self.established_at.or(Some(passed.at));
            }
        }
        for option in &segment.options {
            if ends(option) {
                self.over_at = self.over_at.min(passed.at);
            }
            let Some(what) = said(half, option, is_sent) else { continue };
            let signal = Signal { entry: passed.entry, at: passed.at, flow: passed.flow, is_sent, is_sure, what };
            self.all.push(signal);
        }
    }
}

impl Course {
    /// Whether TCP takes a received segment: it is neither old nor acknowledges what was never sent
    /// (`tcp_validate_incoming`, `tcp_ack`, net/ipv4/tcp_input.c).
    fn expects(&self, segment: &Segment) -> bool {
        let is_old = self.received_to.is_some_and(|to| is_after(to, segment.sequence))
            || self.acknowledged_to.is_some_and(|to| is_after(to, segment.acknowledgment));
        let is_early = self.received_to.is_some_and(|to| is_after(segment.sequence, to));
        let is_forged = self.sent_to.is_some_and(|to| is_after(segment.acknowledgment, to));
        !is_old && !is_early && !is_forged && !segment.malformed && self.ended_at.is_none()
    }

    fn note(&mut self, segment: &Segment, at: u64, is_sent: bool, by_opener: bool) {
        if self.begun_at == 0 {
            self.begun_at = at;
        }
        let marks = u32::from(segment.flags.contains(TcpFlags::SYN)) + u32::from(segment.flags.contains(TcpFlags::FIN));
        let end = segment.sequence.wrapping_add(segment.payload).wrapping_add(marks);
        if segment.flags.intersects(TcpFlags::FIN | TcpFlags::RST) {
            self.ended_at = self.ended_at.or(Some(at));
            if is_sent {
                self.left_at = self.left_at.or(Some(at));
            } else if segment.flags.contains(TcpFlags::RST) {
                self.reset_at = self.reset_at.or(Some(at));
            }
        }
        if is_sent {
            self.sent_to = Some(later(self.sent_to, end));
        } else {
            self.received_to = Some(later(self.received_to, end));
            if segment.flags.contains(TcpFlags::ACK) {
                self.acknowledged_to = Some(later(self.acknowledged_to, segment.acknowledgment));
            }
        }
        let is_syn = segment.flags.contains(TcpFlags::SYN);
        for option in &segment.options {
            if let MptcpOption::MpJoinSyn { address_id, backup, .. }
            | MptcpOption::MpJoinSynAck { address_id, backup, .. } = option
            {
                let (id, flag) = if is_sent {
                    (&mut self.local_id, &mut self.backup.0)
                } else {
                    (&mut self.remote_id, &mut self.backup.1)
                };
                *id = id.or(Some(*address_id));
                *flag = flag.or(Some(*backup));
            }
            let completes = matches!(option, MptcpOption::MpJoinAck { .. })
                || matches!(option, MptcpOption::MpCapable { receiver_key: Some(_), .. });
            if let (MptcpOption::MpTcprst { reason, .. }, false) = (option, is_sent) {
                self.reset_reason = self.reset_reason.or(Some(*reason));
            }
            if is_sent && matches!(option, MptcpOption::Dss { .. }) {
                self.used_at = self.used_at.or(Some(at));
            }
            if completes && by_opener && !is_syn {
                self.up_at = self.up_at.or(Some(at));
            }
        }
    }
}

fn has_mapping(option: &MptcpOption) -> bool {
    matches!(option, MptcpOption::MpCapable { .. } | MptcpOption::Dss { .. })
}

/// Whether a received option makes the connection fully established: for a server the third ACK with both keys, for a
/// client the first DATA_ACK or ADD_ADDR (`check_fully_established`, net/mptcp/options.c).
fn establishes(option: &MptcpOption, is_opener: bool) -> bool {
    if is_opener {
        matches!(option, MptcpOption::Dss { data_ack: Some(_), .. } | MptcpOption::AddAddr { echo: false, .. })
    } else {
        matches!(option, MptcpOption::MpCapable { receiver_key: Some(_), .. })
    }
}

/// Whether an option ends MPTCP: MP_FASTCLOSE, MP_FAIL, or the infinite mapping.
fn ends(option: &MptcpOption) -> bool {
    match option {
        MptcpOption::MpFastclose { .. } | MptcpOption::MpFail { .. } => true,
        MptcpOption::Dss { mapping, .. } => mapping.as_ref().is_some_and(|mapping| mapping.length == 0),
        MptcpOption::MpCapable { .. }
        | MptcpOption::MpJoinSyn { .. }
        | MptcpOption::MpJoinSynAck { .. }
        | MptcpOption::MpJoinAck { .. }
        | MptcpOption::AddAddr { .. }
        | MptcpOption::RemoveAddr { .. }
        | MptcpOption::MpPrio { .. }
        | MptcpOption::MpTcprst { .. }
        | MptcpOption::Malformed { .. } => false,
    }
}

fn said(half: &Half<'_>, option: &MptcpOption, is_sent: bool) -> Option<Said> {
    match option {
        MptcpOption::AddAddr { echo, address_id, body } => {
            let announced = Announced { id: *address_id, address: canonical(body.address), port: body.port };
            if *echo {
                return Some(Said::Echo(announced));
            }
            let keys = half.own_key.zip(half.peer_key);
            let right = keys.map(|(own, peer)| {
                let (sender, receiver) = if is_sent { (own, peer) } else { (peer, own) };
                crypto::add_addr_hmac(sender, receiver, *address_id, body.address, body.port)
            });
            Some(Said::Announce(announced, right.is_some() && right == body.hmac))
        }
        MptcpOption::RemoveAddr { address_ids } => Some(Said::Remove(address_ids.clone())),
        MptcpOption::MpPrio { backup } => Some(Said::Priority(*backup)),
        MptcpOption::MpCapable { .. }
        | MptcpOption::MpJoinSyn { .. }
        | MptcpOption::MpJoinSynAck { .. }
        | MptcpOption::MpJoinAck { .. }
        | MptcpOption::Dss { .. }
        | MptcpOption::MpFail { .. }
        | MptcpOption::MpFastclose { .. }
        | MptcpOption::MpTcprst { .. }
        | MptcpOption::Malformed { .. } => None,
    }
}
