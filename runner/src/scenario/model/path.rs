//! Paths: what a link does to the packets that cross it. A link with a [`PathPlan`] is spliced through the runner,
//! which treats each packet by these rules.

use std::net::IpAddr;
use std::time::Duration;

use super::{Place, Range, WirePattern};
use crate::wire::TcpFlags;

/// What becomes of packets on one link.
#[derive(Debug, Clone)]
pub struct PathPlan {
    /// The link.
    pub link: String,
    /// Where it is declared.
    pub place: Place,
    /// What all chance of this path comes from: the n-th packet of a direction has the same fate in each run.
    pub seed: u64,
    /// What each direction does, in the order of the link's ends: the first one is what the first end sends.
    pub conditions: [Conditions; 2],
    /// Middlebox rules. They stand in a row along the link: what the first end sends meets them in this order, what the
    /// second end sends in the opposite one. The conditions come behind.
    pub rules: Vec<PathRule>,
}

/// What one direction of a path does to each IP packet, in this order: MTU, loss, duplication, queue and rate, delay.
///
/// What hosts say by themselves to find each other (ARP, neighbour discovery, group memberships) is delayed, and
/// otherwise left alone: it is neither counted nor lost, so that no fate depends on it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conditions {
    /// How long each packet is under way, besides what `rate` takes. What is under way when the conditions change
    /// arrives as it would have; nothing overtakes it.
    pub delay: Duration,
    /// By how much the delay varies. Packets of one direction overtake each other only by `reorder`.
    pub jitter: Option<Jitter>,
    /// Bits per second, of IP packets.
    pub rate: Option<u64>,
    /// How much may wait for the rate. What doesn't fit is dropped (tail drop).
    pub queue: Queue,
    /// Which packets are lost.
    pub loss: Option<Chance>,
    /// Which packets come later than the others, and by how much.
    pub reorder: Option<Reorder>,
    /// Which packets come twice. The copy comes right behind, and takes its time on a link with a rate.
    pub duplicate: Option<Chance>,
    /// Larger IP packets, in bytes, are answered with ICMP “fragmentation needed” or “packet too big”, as if the
    /// receiver had done it. Nothing is ever fragmented here. Linux doesn't go below 552 on IPv4
    /// (`net.ipv4.route.min_pmtu`), and nobody below 1280 on IPv6.
    pub mtu: Option<u32>,
}

impl Conditions {
    /// Packets pass at once, as they are. A queue alone does nothing: without a rate nothing waits.
    pub fn is_open(&self) -> bool {
        *self == Self { queue: self.queue, ..Self::default() }
    }
}

/// How the delay varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter {
    /// Uniform: from delay - range to delay + range; never below 0. Normal: the standard deviation, cut off at three of
    /// them. Pareto: the mean of what is added to the delay (shape 3), cut off at ten of them.
    pub range: Duration,
    /// How.
    pub distribution: Distribution,
}

/// A distribution of chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distribution {
    /// Each value within the range alike.
    #[default]
    Uniform,
    /// The bell.
    Normal,
    /// Mostly small, with a long tail.
    Pareto,
}

/// How much may wait until the packets before it are through. The packet that is just being sent doesn't wait, so a
/// queue of 0 still lets packets through. Without any limit nothing is dropped; without a rate nothing waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queue {
    /// In packets.
    pub packets: Option<u32>,
    /// In bytes of IP packets.
    pub bytes: Option<u64>,
}

/// Which packets of a direction something happens to. Packets are counted from 1 when they enter the path, since the
/// start of the run, and their fate is theirs from then on, whatever the rules do with them. What rules make of a packet
/// (copies, parts) shares its number and its fate, but for `Probability`, which is drawn for each by itself. What rules
/// inject, and ICMP answers, can't be lost, duplicated or reordered.
#[derive(Debug, Clone, PartialEq)]
pub enum Chance {
    /// Each with this probability, from 0 to 1.
    Probability(f64),
    /// In bursts (Gilbert-Elliott): a packet is lost in the bad state only.
    Burst {
        /// The probability to get into the bad state.
        enter: f64,
        /// The probability to leave it.
        leave: f64,
    },
    /// Exactly these.
    Nth(Vec<u64>),
}

/// Which packets are held back, so that others overtake them.
#[derive(Debug, Clone, PartialEq)]
pub struct Reorder {
    /// Which.
    pub which: Chance,
    /// For how long, besides the delay.
    pub by: Duration,
}

/// A middlebox rule.
#[derive(Debug, Clone)]
pub struct PathRule {
    /// Its name, unique on the path.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// Which TCP segments.
    pub matching: PacketPattern,
    /// What happens to them.
    pub action: RuleAction,
    /// It is no error if it never matches.
    pub may_be_unused: bool,
}

/// Which TCP segments a rule is about. All that is given must hold; the default is any segment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PacketPattern {
    /// The end of the link that sends them (0 or 1); `None`: both.
    pub direction: Option<usize>,
    /// The source address.
    pub from: Option<IpAddr>,
    /// The destination address.
    pub to: Option<IpAddr>,
    /// The source port.
    pub from_port: Option<u16>,
    /// The destination port.
    pub to_port: Option<u16>,
    /// All of these flags are set.
    pub flags: TcpFlags,
    /// None of these flags is set.
    pub without: TcpFlags,
    /// The length of the payload in bytes.
    pub payload: Option<Range>,
    /// It carries an option like this; the sender of the pattern is not looked at.
    pub option: Option<WirePattern>,
    /// It carries some MPTCP option.
    pub any_option: bool,
    /// Only these of all that match so far, counted from 1 since the rule was installed. A segment that the action has
    /// nothing to do to (no such option to strip, no payload to corrupt or split) doesn't match.
    pub nth: Option<Range>,
}

/// What a rule does. Checksums and lengths are right afterwards; what an MPTCP checksum covers is not repaired.
///
/// Whatever goes on, at once or later, meets the rules behind this one as it is then.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleAction {
    /// Nothing comes through.
    Drop,
    /// It comes so much later. Others overtake it.
    Delay(Duration),
    /// It comes twice.
    Duplicate,
    /// It waits for a `release` step. What is never released is dropped at the end.
    Hold,
    /// One byte of the payload is inverted (the offset counts from the first one); the TCP checksum is repaired, so
    /// only a DSS checksum can tell.
    Corrupt {
        /// Which byte.
        offset: u32,
    },
    /// MPTCP options are replaced with NOPs: that of this word, as in `wire`; `None`: all of them.
    Strip(Option<String>),
    /// A field of an MPTCP option is changed.
    Rewrite(Rewrite),
    /// The source address becomes another one; what comes back is translated, too, and so are ICMP errors about it.
    /// A segment that matches opens a binding for its connection, which then holds for all of its segments, whether they
    /// match or not. On the link itself the path answers for the address (ARP, neighbour discovery). Only the segment
    /// that opens a binding is recorded.
    Nat {
        /// The address that the far side sees.
        address: IpAddr,
        /// The port that the far side sees: the first connection gets it, the next ones those after it; `None`: the
        /// port stays.
        port: Option<u16>,
    },
    /// A segment is sent besides the one that matched, as if it came from the same sender.
    Inject {
        /// To the receiver of the segment that matched; `false`: back to its sender, as if its receiver had sent it.
        forward: bool,
        /// Which.
        what: Injected,
    },
    /// It is cut into segments with at most so many bytes of payload, each with all options, as segmentation offload
    /// does it: a DSS mapping covers all parts. SYN, RST and urgent segments stay whole.
    Split(u32),
    /// So many segments with payload, of one connection and direction, that follow each other become one, with the
    /// options of the first: the mappings of the others are lost, unless it is the same one. They go on with less when
    /// another segment of the connection comes, when the MTU of the link would be exceeded, or after 50 ms.
    Merge(u32),
}

impl RuleAction {
    /// The word of the action, as recordings have it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Delay(_) => "delay",
            Self::Duplicate => "duplicate",
            Self::Hold => "hold",
            Self::Corrupt { .. } => "corrupt",
            Self::Strip(_) => "strip",
            Self::Rewrite(_) => "rewrite",
            Self::Nat { .. } => "nat",
            Self::Inject { .. } => "inject",
            Self::Split(_) => "split",
            Self::Merge(_) => "merge",
        }
    }
}

/// A changed field. What is not given stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// The word of the option, as in `wire`.
    pub option: String,
    /// The address id (MP_JOIN, ADD_ADDR, REMOVE_ADDR: the first one).
    pub id: Option<u8>,
    /// The B bit (MP_JOIN, MP_PRIO).
    pub backup: Option<bool>,
    /// The address of an ADD_ADDR, of the same family.
    pub address: Option<IpAddr>,
    /// The port of an ADD_ADDR that has one.
    pub port: Option<u16>,
    /// The flags octet of MP_CAPABLE or MP_TCPRST.
    pub flags: Option<u8>,
    /// The reason of MP_TCPRST.
    pub reason: Option<u8>,
    /// The receiver's token of an MP_JOIN SYN.
    pub token: Option<u32>,
    /// The HMAC of MP_JOIN or ADD_ADDR is damaged.
    pub damage_hmac: bool,
    /// The DSS checksum is damaged.
    pub damage_checksum: bool,
    /// Added to the data sequence number of a DSS mapping.
    pub data_sequence_offset: Option<u32>,
}

/// A segment that nobody sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Injected {
    /// RST with the sequence number that the receiver expects next (RFC 9293 section 3.10.7), as far as the path saw
    /// it. It comes behind the segment that matched.
    Reset,
    /// FIN, likewise.
    Fin,
    /// An ADD_ADDR whose HMAC is wrong.
    AddAddr {
        /// The address id.
        id: u8,
        /// The address.
        address: IpAddr,
        /// The port.
        port: Option<u16>,
    },
}

/// A change of a path during the run. What is not given stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct PathChange {
    /// The link.
    pub link: String,
    /// The namespace at the end that sends, if only that direction changes.
    pub from: Option<String>,
    /// The new conditions of each direction, complete; `None`: as before.
    pub conditions: [Option<Conditions>; 2],
}
