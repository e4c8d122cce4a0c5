//! Paths: what a link does to the packets that cross it. A link with a [`PathPlan`] is spliced through the runner,
//! which treats each packet by these rules.

use std::net::IpAddr;
use std::time::Duration;

use super::super::read::part::{EndOfLink, PathLink, SendingEnd};
use super::super::read::path::conditions::{NewConditions, has_room};
use super::super::read::path::rule::{AnyOption, FlagWords, Forged, OneOption, OptionLike, Rewritten};
use super::super::record::{choice, record, words};
use super::super::scalar::{CanonicalIp, Count, Ip, Number, Offset, PartSize, Port, Segments, Size, Time};
use super::Place;
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

record! {
    /// How the delay varies.
    #[derive(Copy, PartialEq, Eq)]
    Jitter as "jitter", "a jitter" {
        /// From delay - range to delay + range, never below 0; the normal distribution is cut off at three standard
        /// deviations, the Pareto distribution (shape 3) at ten means.
        range: need Time = "range",
            "uniform: the largest deviation, up or down. normal: the standard deviation. pareto: the mean of the added delay.";
        distribution: or(Distribution::Uniform) Distribution = "distribution", "uniform by default.";
    }
}

words! {
    /// A distribution of chance.
    #[derive(Default)]
    Distribution {
        /// Each value within the range alike.
        #[default]
        Uniform = "uniform",
        /// The bell.
        Normal = "normal",
        /// Mostly small, with a long tail.
        Pareto = "pareto",
    }
}

record! {
    /// How much may wait until the packets before it are through. The packet that is just being sent doesn't wait, so a
    /// queue of 0 still lets packets through. Without any limit nothing is dropped; without a rate nothing waits.
    #[derive(Copy, PartialEq, Eq, Default)]
    Queue as "queue", "a queue" then has_room {
        packets: maybe Number = "packets", "Maximum number of packets.";
        bytes: maybe Size = "bytes", "Maximum number of bytes.";
    }
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
    /// For how long, in addition to the delay.
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

record! {
    /// Which TCP segments a rule is about. All that is given must hold; the default is any segment.
    #[derive(PartialEq, Default)]
    PacketPattern {
        /// 0 or 1.
        direction: maybe SendingEnd = "from", "Only segments that this end of the link sends.";
        from: maybe CanonicalIp = "source", "Only segments from this address.";
        to: maybe CanonicalIp = "destination", "Only segments to this address.";
        from_port: maybe Port = "source_port", "Only segments from this port.";
        to_port: maybe Port = "destination_port", "Only segments to this port.";
        flags: or(TcpFlags::empty()) FlagWords = "flags",
            "Only segments with all of these TCP flags: syn, ack, fin, rst, psh.";
        without: or(TcpFlags::empty()) FlagWords = "without", "Only segments with none of these TCP flags.";
        payload: maybe Count = "payload", "Only segments with this number of payload bytes.";
        /// The sender of the pattern is not looked at.
        option: group OptionLike;
        /// It carries some MPTCP option.
        any_option: group AnyOption;
        /// Since the rule was installed. A segment that the action has nothing to do to (no such option to strip, no
        /// payload to corrupt or split) doesn't match.
        nth: maybe Count = "nth", "Of all segments that match so far, only these, counted from 1.";
    }
}

choice! {
    /// What a rule does. Checksums and lengths are right afterwards; what an MPTCP checksum covers is not repaired.
    ///
    /// Whatever goes on, at once or later, meets the rules behind this one as it is then.
    #[derive(PartialEq)]
    RuleAction as "action", "an action" {
        Drop = a "drop" "Drops the segment.";
        Delay = a "delay" "Delays the segment by this time; others overtake it."; => Time;
        Duplicate = a "duplicate" "Duplicates the segment.";
        /// What is never released is dropped at the end.
        Hold = a "hold" "Holds the segment until a `release` step.";
        /// The offset counts from the first byte of the payload.
        Corrupt = a "corrupt"
            "Inverts the payload byte at this offset, and repairs the TCP checksum, so that only a DSS checksum can tell.";
            => Offset;
        /// That of this word, as in `wire`; `None`: all of them.
        Strip = a "strip" "Replaces this MPTCP option with NOPs."; => OneOption;
        Rewrite = a "rewrite" "Changes fields of an MPTCP option."; => Rewritten;
        /// ICMP errors about replies are translated, too. A segment that matches opens a binding for its connection, which
        /// then holds for all of its segments, whether they match or not. On the link itself the path answers for the
        /// address (ARP, neighbour discovery). Only the segment that opens a binding is recorded.
        Nat = a "nat"
            "Translates the source address of the connection, and its replies back. `from` says which end is behind the NAT."
            as "nat", "a `nat` action"; {
            address: need Ip = "address", "The address that the far side sees.";
            port: maybe Port = "port",
                "The port that the far side sees for the first connection; later connections get the next ports. Kept by default.";
        }
        Inject = an "inject" "Sends a forged segment besides, as if it came from the same sender."; => Forged;
        /// Each part has all options, as segmentation offload does it: a DSS mapping covers all parts. SYN, RST and urgent
        /// segments stay whole.
        Split = a "split" "Cuts the segment into segments with at most this number of payload bytes."; => PartSize;
        /// They have the options of the first: the mappings of the others are lost, unless it is the same one. They go on
        /// with less when another segment of the connection comes, when the MTU of the link would be exceeded, or after
        /// 50 ms.
        Merge = a "merge" "Merges this number of consecutive segments of a flow into one."; => Segments;
    }
}

impl RuleAction {
    /// All words of actions.
    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::PLAIN.iter().chain(Self::KEYS).map(|key| key.name)
    }

    /// Whether the receiver misses the segment, for a while at least, so that the sender may retransmit it.
    pub fn withholds(&self) -> bool {
        match self {
            Self::Drop | Self::Hold | Self::Delay(_) => true,
            Self::Duplicate
            | Self::Corrupt(_)
            | Self::Strip(_)
            | Self::Rewrite(_)
            | Self::Nat { .. }
            | Self::Inject(_)
            | Self::Split(_)
            | Self::Merge(_) => false,
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

/// A forged segment, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// To the receiver of the segment that matched; `false`: back to its sender, as if its receiver had sent it.
    pub forward: bool,
    /// Which.
    pub what: Injected,
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

record! {
    /// A change of a path during the run. What is not given stays as it is.
    #[derive(PartialEq)]
    PathChange {
        link: need PathLink = "link", "The link; it must have a path.";
        from: maybe EndOfLink = "from", "Only the direction in which this end of the link sends; both by default.";
        /// The new conditions of each direction, complete; `None`: as before.
        conditions: group NewConditions;
    }
}
