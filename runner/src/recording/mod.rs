//! The Recording: the one time line of everything that a run observed, and the only thing that judging and
//! reporting look at. It goes to JSON lines and back without loss.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use crate::mptcp::Side;
use crate::mptcp::{Endpoint, Limits, MptcpInfo, PmEvent, SubflowState};
use crate::net::Configures;
pub use crate::scenario::SourceText;
pub use crate::scenario::model::{EndStatus, Stream};
use crate::scenario::model::{Form, Scenario};
use crate::scenario::{self, Diagnostics};
use crate::wire::{IcmpError, Segment};

mod awaited;
mod jsonl;
mod name;
mod option;
mod outcome;
mod path;
mod route;
mod stall;
mod trouble;

pub use awaited::{Awaited, Progress, Seen, SubflowSeen, Timeout, Unread};
pub use jsonl::{RecordingError, read, write};
pub use name::Name;
pub use option::{OptionAnswer, OptionCall, OptionReply, OptionSocket};
pub use outcome::{CallEnd, Calls, Contradiction, Got, SocketCall, StepOutcome};
pub use path::{PathEffect, PathTotals};
pub use route::{RouteAnswer, Routed};
pub use stall::{Busy, Stalled};
pub use trouble::{Trouble, trouble_in};

/// What a run observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// What was run, where.
    pub header: Header,
    /// Everything observed, ordered by `at`.
    pub entries: Vec<Entry>,
}

/// The version of the format that is written. In 1, scenarios have words of the language that were renamed since.
pub const FORMAT: u32 = 2;

/// What was run, where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format: [`FORMAT`], or an older one.
    pub format: u32,
    /// The version of mptcplab.
    pub mptcplab: String,
    /// `uname -r`; shown, never decided upon.
    pub kernel: String,
    /// The title of the scenario.
    pub title: String,
    /// The scenario's file, as it was named on the command line.
    pub file: String,
    /// The label of the matrix variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The texts that the scenario was read from (the scenario with its variables filled in, then its topology),
    /// so that the recording can be judged without the files.
    pub sources: Vec<SourceText>,
    /// The features that this kernel was found to have.
    pub features: Vec<String>,
    /// The features that it was found to lack, as far as the scenario depends on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

impl Header {
    /// Reads the scenario from the texts that the recording carries: with its variables filled in, then its topology, if it
    /// has one.
    ///
    /// An older format has the words that the language had then.
    pub fn scenario(&self) -> Result<Scenario, Diagnostics> {
        let (file, mut sources) = (Path::new(&self.file), self.sources.clone());
        if self.format < FORMAT {
            for source in &mut sources {
                source.text = scenario::fix(file, &source.text).text;
            }
        }
        scenario::load_sources(file, self.variant.as_deref(), &sources)
    }

    /// Whether this kernel was found to lack a feature.
    pub fn has_lack_of(&self, feature: &str) -> bool {
        self.lacks.iter().any(|word| word == feature)
    }

    /// The form that a scenario has on this kernel.
    pub fn form<'s>(&self, scenario: &'s Scenario) -> Form<'s> {
        scenario.on_kernel(|feature| self.has_lack_of(&feature.word()))
    }
}

/// One observation with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Nanoseconds since the start of the run. Packets carry the kernel's time stamp, everything else the time at
    /// which the runner read it.
    pub at: u64,
    /// What was observed.
    #[serde(flatten)]
    pub what: Observation,
}

/// What can be observed.
///
/// What is rare is boxed where it is large: almost all entries of a large recording are segments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Observation {
    /// A step began.
    StepStarted {
        /// Its index in the scenario's steps.
        step: usize,
        /// In words, for the story.
        text: String,
    },
    /// A step ended.
    StepFinished {
        /// Its index in the scenario's steps.
        step: usize,
        /// How.
        outcome: StepOutcome,
    },
    /// The path manager of a namespace reported something.
    Event {
        /// The namespace.
        namespace: String,
        /// The event.
        event: Box<PmEvent>,
    },
    /// A segment crossed an interface.
    Packet {
        /// The namespace.
        namespace: Name,
        /// The interface.
        device: Name,
        /// Whether it left or entered.
        direction: Direction,
        /// The segment.
        segment: Segment,
    },
    /// An ICMP error crossed an interface. Older recordings have none.
    Icmp {
        /// The namespace.
        namespace: Name,
        /// The interface.
        device: Name,
        /// Whether it left or entered.
        direction: Direction,
        /// The error.
        error: Box<IcmpError>,
    },
    /// A connection came into being: the connect step succeeded, or programs made one that the scenario names.
    Connected {
        /// The connection.
        connection: Box<Connection>,
    },
    /// The counters of a namespace at some moment: every MIB counter by its nstat name (`MPTcpExtMPJoinSynRx`,
    /// `TcpAttemptFails`…), absolute values.
    Counters {
        /// The namespace.
        namespace: String,
        /// The moment.
        moment: Moment,
        /// The values.
        values: BTreeMap<String, u64>,
    },
    /// The sockets of one side of a connection at some moment.
    Sockets {
        /// The name of the connection.
        connection: String,
        /// The side.
        side: Side,
        /// The moment.
        moment: Moment,
        /// `MPTCP_INFO`, unless the socket is a TCP socket.
        info: Option<Box<MptcpInfo>>,
        /// The subflows.
        subflows: Vec<SubflowState>,
        /// The options that the scenario has set on it, by their words. Older recordings have none.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        options: BTreeMap<String, OptionAnswer>,
    },
    /// Numbers of sockets of a namespace at some moment, by their words ([`crate::mptcp::SOCKET_COUNTS`]).
    SocketCounts {
        /// The namespace.
        namespace: String,
        /// The moment.
        moment: Moment,
        /// The numbers.
        counts: BTreeMap<String, u64>,
    },
    /// The endpoints of a namespace at some moment, in the order of the dump.
    Endpoints {
        /// The namespace.
        namespace: String,
        /// The moment.
        moment: Moment,
        /// The dump.
        endpoints: Vec<Endpoint>,
    },
    /// The limits of a namespace at some moment.
    Limits {
        /// The namespace.
        namespace: String,
        /// The moment.
        moment: Moment,
        /// The limits.
        limits: Limits,
    },
    /// The addresses that the userspace path manager announced and uses for one connection (GET_ADDR with a token).
    ConnectionEndpoints {
        /// The namespace.
        namespace: String,
        /// The name of the connection.
        connection: String,
        /// The moment.
        moment: Moment,
        /// The dump.
        endpoints: Vec<Endpoint>,
    },
    /// By which routes subflows of a namespace would leave: after the set-up, and after each step that may change it.
    Routes {
        /// The namespace.
        namespace: String,
        /// The kernel's answers. Of very many, the first are asked for.
        routes: Vec<RouteAnswer>,
    },
    /// The byte counters of an interface at some moment.
    LinkBytes {
        /// The namespace.
        namespace: String,
        /// The link.
        link: String,
        /// The moment.
        moment: Moment,
        /// Bytes that left through it.
        sent: u64,
        /// Bytes that came in.
        received: u64,
    },
    /// One direction of a transfer ended.
    Transferred {
        /// The name of the connection.
        connection: String,
        /// The sender.
        sender: Side,
        /// Bytes that arrived.
        bytes: u64,
        /// Whether each one was what was sent.
        integrity: Integrity,
        /// Nanoseconds from the first write to the last read: for people, no verdict depends on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took: Option<u64>,
    },
    /// An application has read or written.
    Calls(Box<Calls>),
    /// An option of a socket was set.
    Option(Box<OptionCall>),
    /// getsockopt() was called with a buffer of some length.
    OptionReply(Box<OptionReply>),
    /// A call of an application ended otherwise than with the bytes that it was made for.
    Application(CallEnd),
    /// A program was started.
    ProgramStarted {
        /// The step that started it: what tells it from others.
        step: usize,
        /// Its name, or that of the command.
        program: String,
        /// The namespace.
        namespace: String,
    },
    /// A program wrote a line.
    ProgramOutput {
        /// The step that started it.
        step: usize,
        /// Its name.
        program: Name,
        /// Where to.
        stream: Stream,
        /// The line, without its end. A very long one comes in parts.
        line: String,
    },
    /// A program opened a TCP socket, and got an MPTCP socket in its place.
    ProgramSocket {
        /// The step that started the program.
        step: usize,
        /// Its name.
        program: Name,
        /// The errno that it got instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A program has opened a socket by which it can configure something.
    ProgramConfigures {
        /// The step that started the program.
        step: usize,
        /// Its name.
        program: String,
        /// The namespace.
        namespace: String,
        /// What it can configure.
        what: Configures,
    },
    /// What was configured in a namespace with programs since it was looked at before.
    Configured(Box<Configured>),
    /// A program ended.
    ProgramEnded {
        /// The step that started it.
        step: usize,
        /// Its name.
        program: String,
        /// How.
        status: EndStatus,
    },
    /// A program wrote more lines than a recording has room for.
    ProgramOutputLeftOut {
        /// The step that started it.
        step: usize,
        /// Its name.
        program: String,
        /// Number of lines that are not in the recording.
        lines: u64,
    },
    /// Something was lost on the way into the recording: it is incomplete.
    Lost {
        /// The namespace.
        namespace: String,
        /// What.
        what: LostWhat,
        /// How many, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
    /// A filter's packet counter when it was removed, or at the end.
    FilterHits {
        /// The namespace.
        namespace: String,
        /// The filter's name.
        filter: String,
        /// Packets that it matched.
        packets: u64,
    },
    /// A path did something to a packet. Packets that it passed on as they were are only counted.
    Path {
        /// The link.
        link: Name,
        /// The namespace at the end that the packet came from, or as whose packet it goes.
        sender: Name,
        /// Which packet of this direction, from 1. Parts and copies carry the number of the packet that they were made from.
        number: u64,
        /// How long the packet had been there, in nanoseconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        after: u64,
        /// Which of what was made of that packet, as the effect that made it says; 0 is the packet itself.
        #[serde(default, skip_serializing_if = "is_zero")]
        part: u64,
        /// What this made of it: the number of the copy, or those of the parts but the first one. Recordings of before don't
        /// tell.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<u64>,
        /// What was done.
        what: PathEffect,
        /// The packet as it entered; `None` if it isn't a TCP segment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        segment: Option<Box<Segment>>,
    },
    /// What a direction of a path has done altogether.
    PathTotals {
        /// The link.
        link: String,
        /// The namespace at the end that sends.
        sender: String,
        /// The moment.
        moment: Moment,
        /// The numbers.
        totals: Box<PathTotals>,
    },
    /// How often a rule of a path matched: when it was removed, or at the end.
    RuleHits {
        /// The link.
        link: String,
        /// The rule's name.
        rule: String,
        /// Segments that it matched.
        segments: u64,
    },
    /// The set-up could not be done: nothing was judged.
    SetupFailed {
        /// What was attempted, on what, what the kernel said, what to do.
        message: String,
    },
    /// During the set-up, the kernel showed something else than it had accepted: nothing else was judged.
    SetupContradicted(Contradiction),
    /// A line of the kernel log that appeared during the run.
    KernelLog {
        /// The line.
        line: String,
    },
    /// The kernel logged a warning while several runs were active, so the scenario ran again alone: the result.
    RanAlone {
        /// The lines of the kernel log that appeared when it ran alone; none if the kernel didn't complain again.
        kernel_log: Vec<String>,
        /// Scenarios that ran at the same time as this run, and with which the kernel complains of the same when they run
        /// alone.
        shown_by: Vec<String>,
    },
    /// Something that the run needs came late: the time of the entry is when it should have gone on. What is shorter than
    /// [`crate::processors::NOTED`] isn't noted.
    Stalled {
        /// What came late.
        whose: Stalled,
        /// For how many nanoseconds.
        lasted: u64,
        /// How many of them it could have run, but waited for a processor; `None` if that isn't known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waited: Option<u64>,
    },
    /// How busy the machine was during a run in which something came late.
    Busy(Busy),
    /// The run ended. A recording without it was cut off.
    Ended,
}

/// Left or entered an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Left.
    Out,
    /// Entered.
    In,
}

/// A connection of a connect step, or of programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its name in the scenario.
    pub name: String,
    /// The namespace of the client.
    pub client: String,
    /// The namespace of the server.
    pub server: String,
    /// The client's address of the initial subflow.
    pub client_address: SocketAddr,
    /// The server's address of the initial subflow.
    pub server_address: SocketAddr,
    /// The client's token; `None` if that side is not (or no more) MPTCP.
    pub client_token: Option<u32>,
    /// The server's token; `None` if that side is not (or no more) MPTCP.
    pub server_token: Option<u32>,
    /// Programs made it, and close it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_programs: bool,
    /// Nobody has accepted it: the server has no socket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unaccepted: bool,
}

impl Connection {
    /// The namespace of a side.
    pub fn namespace(&self, side: Side) -> &str {
        side.of(&self.client, &self.server)
    }

    /// The token of a side.
    pub fn token(&self, side: Side) -> Option<u32> {
        side.of(self.client_token, self.server_token)
    }

    /// The side that is in a namespace; the client's, if both are.
    pub fn side_in(&self, namespace: &str) -> Option<Side> {
        [Side::Client, Side::Server].into_iter().find(|side| self.namespace(*side) == namespace)
    }
}

/// What was configured in a namespace with programs between two looks at it, by whomever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The namespace.
    pub namespace: String,
    /// When it was looked at before, in nanoseconds since the start of the run.
    pub since: u64,
    /// The endpoints, if they have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
    /// The limits, if they have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// The sysctls that have changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Programs that can configure the path manager or netfilter still run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_change: bool,
}

/// When a state was taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// After the set-up, before the first step.
    Start,
    /// In the check step of that index.
    Check(usize),
    /// Right before the connection is closed by the step of that index, or at the end if it is still open.
    BeforeClose,
    /// After the last step.
    End,
}

/// Whether the bytes were right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Integrity {
    /// Each byte.
    Intact,
    /// Some differ.
    Corrupt {
        /// The offset of the first wrong byte.
        first: u64,
        /// How many differ.
        count: u64,
    },
    /// The stream ended early.
    Short {
        /// How many should have come.
        expected: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWhat {
    /// The event socket's buffer overflowed (ENOBUFS).
    Events,
    /// The capture's ring overflowed.
    Packets,
    /// The receive ring of a path overflowed (`tp_drops` of `PACKET_STATISTICS`): packets were lost that had to be
    /// forwarded.
    Forwarding,
    /// The kernel dropped packets between an interface and its path, though the link had a carrier.
    Backlog,
    /// The kernel had no room for packets that a path sent, for as long as the path waited.
    Sending,
    /// A path got frames that it can't forward: cut off, or with a checksum that nobody completes.
    Unreadable,
    /// The recording had as many entries as it may have: packets, and what paths did to them, were not recorded.
    Room,
}

impl Recording {
    /// All path-manager events of a namespace, in order.
    pub fn events<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a Entry, &'a PmEvent)> {
        self.entries.iter().filter_map(move |entry| match &entry.what {
            Observation::Event { namespace: ns, event } if ns == namespace => Some((entry, &**event)),
            _ => None,
        })
    }

    /// All connections, in the order in which they were made.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            Observation::Connected { connection } => Some(&**connection),
            _ => None,
        })
    }

    /// The counters of a namespace at a moment.
    pub fn counters(&self, namespace: &str, moment: &Moment) -> Option<&BTreeMap<String, u64>> {
        self.entries.iter().find_map(|entry| match &entry.what {
            Observation::Counters { namespace: ns, moment: m, values } if ns == namespace && m == moment => {
                Some(values)
            }
            _ => None,
        })
    }
}

/// A socket address as people write it, without the v4-mapped prefix.
pub fn canonical_socket(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transfer of 256 MiB each way through a path with an MTU of 600 has two million of them. 144 bytes, and 8 for the
    /// window and its scale.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 152, "{}", size_of::<Entry>());
    }
}
