//! Reasons: what a recording shows that may explain why a run failed. Main type: [`Reason`].
//!
//! A check says what wasn't as expected. The kernel often knows more: a counter that names an error, a limit that is used
//! up, a subflow in SYN-SENT, an unused endpoint. All of it is in the recording; [`reasons`] finds it, and [`Reason`]'s
//! `Display` is the one place that words it. Reasons never change a verdict.

mod alike;
mod announcements;
mod counters;
mod endpoints;
mod paths;
mod subflows;
mod unused;
mod words;

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};

use crate::judge::names::Names;
use crate::mptcp::{Endpoint, MptcpInfo, SubflowState};
use crate::recording::{Connection, Moment, Observation, Recording, Side};
use crate::reference::Candidate;
use crate::scenario::model::{Action, Operation, Scenario};

/// One thing that may explain a failure, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A sysctl switches MPTCP off.
    Disabled {
        /// The namespace.
        namespace: String,
    },
    /// The kernel doesn't use an endpoint.
    IdleEndpoint {
        /// The namespace.
        namespace: String,
        /// The endpoint.
        endpoint: Endpoint,
        /// Why.
        why: Idle,
    },
    /// An announced address came in, and no subflow was opened to it.
    UnusedAnnouncement {
        /// The namespace that received it.
        namespace: String,
        /// The connection.
        connection: String,
        /// The address.
        address: IpAddr,
        /// Why.
        why: Unused,
    },
    /// A counter that names an error moved.
    Counter {
        /// The namespace.
        namespace: String,
        /// The counter's nstat name.
        name: String,
        /// By how much.
        moved: u64,
        /// What the kernel counts there, where the name alone doesn't say.
        meaning: Option<&'static str>,
    },
    /// A subflow isn't established.
    State {
        /// The namespace.
        namespace: String,
        /// The connection.
        connection: String,
        /// The local end.
        local: SocketAddr,
        /// The remote end.
        remote: SocketAddr,
        /// The TCP state's number (`include/net/tcp_states.h`).
        state: u8,
        /// The SYNs, if it waits for an answer to them.
        syns: Option<SynCounts>,
    },
    /// The limit of additional subflows is reached.
    Limit {
        /// The namespace.
        namespace: String,
        /// The connection.
        connection: String,
        /// The additional subflows.
        subflows: u8,
        /// The limit.
        limit: u8,
    },
    /// Segments left through another device than the one with their source address.
    OtherDevice {
        /// The namespace.
        namespace: String,
        /// The source address.
        source: IpAddr,
        /// The destination address.
        destination: IpAddr,
        /// The device that they left by.
        left_by: String,
        /// The device that has the source address.
        belongs_to: String,
    },
    /// The effects of a path on packets.
    Path {
        /// The link.
        link: String,
        /// What, to how many packets; in the order in which it first happened.
        effects: Vec<(Cause, u64)>,
    },
    /// A rule of a path hasn't matched.
    UnusedRule {
        /// The link.
        link: String,
        /// The rule.
        rule: String,
    },
    /// A filter hasn't matched.
    UnusedFilter {
        /// The namespace.
        namespace: String,
        /// The filter.
        filter: String,
    },
    /// MPTCP counters that moved and that the scenario doesn't mention.
    Unmentioned {
        /// The namespace.
        namespace: String,
        /// The counters, and by how much they moved.
        counters: Vec<(String, u64)>,
    },
    /// What a rule of the reference kept from happening.
    Rule {
        /// The namespace that decided.
        namespace: String,
        /// The connection.
        connection: String,
        /// What could have happened.
        candidate: Candidate,
        /// The guard that decided, with its values.
        because: String,
        /// The name of the rule.
        rule: &'static str,
    },
    /// The reason before applies to others, too.
    More {
        /// The namespace.
        namespace: String,
        /// How many others, beyond the one before.
        count: usize,
        /// What they are.
        of: ReasonKind,
    },
}

/// What there are many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonKind {
    /// Announcements that no subflow was opened to.
    Announcements,
    /// Subflows that aren't established.
    Subflows,
    /// Connections whose limit is reached.
    Connections,
    /// Flows that left by another device.
    Flows,
}

/// An effect of a path on a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Loss.
    Lost,
    /// A full queue.
    QueueFull,
    /// The path's MTU.
    TooBig,
    /// Reordering: others overtook it.
    Reordered,
    /// It was duplicated.
    Duplicated,
    /// A rule.
    Rule {
        /// Its name.
        rule: String,
        /// The word of its action.
        action: String,
    },
}

/// Why the kernel doesn't use an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idle {
    /// A userspace path manager has the connections: it ignores endpoints. The sysctl, with its value.
    UserspacePathManager(String),
    /// Without `subflow`, a `fullmesh` endpoint is only used when an address is announced.
    FullmeshOnly,
    /// It has no flag that gives it something to do.
    NoRole,
    /// Its address is on no interface.
    NoAddress,
    /// It was added before its address was. The steps' indices; `None`: the set-up.
    BeforeItsAddress {
        /// The step that added the endpoint.
        endpoint: Option<usize>,
        /// The step that added the address.
        address: usize,
    },
}

/// Why no subflow was opened to an announced address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unused {
    /// A userspace path manager would have to do it.
    UserspacePathManager,
    /// The limit `add_addr_accepted` is 0 or used up.
    AcceptLimit {
        /// Announcements that were accepted.
        accepted: u8,
        /// The limit.
        limit: u8,
    },
    /// The limit of additional subflows is reached.
    SubflowLimit {
        /// The additional subflows.
        subflows: u8,
        /// The limit.
        limit: u8,
    },
    /// bind() or connect() of a subflow failed: the counter.
    Refused(&'static str),
    /// The connection has a subflow to it already.
    AlreadyConnected,
    /// The subflow to it is gone, and an endpoint with `fullmesh` came after it was announced.
    Forgotten {
        /// The step that added the endpoint, or changed it.
        step: usize,
    },
    /// The recording doesn't tell.
    Unknown,
}

/// What the captures saw of the SYNs of a subflow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SynCounts {
    /// How many were sent.
    pub sent: usize,
    /// The devices that they left by.
    pub devices: Vec<String>,
    /// The namespace of the peer, and how many arrived there; `None` if addresses are translated on the way.
    pub arrived: Option<(String, usize)>,
    /// How many SYN/ACKs the peer sent.
    pub answered: usize,
}

/// What is known at a moment: the state that was taken then, and what was seen until then.
pub(super) struct Facts<'n, 'a> {
    names: &'n Names<'a>,
    /// When counters, endpoints and limits were taken.
    moment: Moment,
    /// When sockets were taken.
    sockets: Moment,
    /// Entries from here on don't count: they came after the failure.
    until: usize,
    /// A step failed, and the run ended there.
    cut_short: bool,
    /// The operations that were done: they are asked for with each connection.
    operations: OnceCell<Vec<(usize, &'a Operation)>>,
    /// The sockets of all connections: several kinds of reasons need them.
    all_sockets: OnceCell<Vec<Sockets<'a>>>,
}

impl<'n, 'a> Facts<'n, 'a> {
    /// After the whole run, or after the step that cut it short.
    pub(super) fn at_the_end(names: &'n Names<'a>, cut_short: bool) -> Self {
        let until = names.recording().entries.len();
        Self::new(names, (Moment::End, Moment::BeforeClose), until, cut_short)
    }

    /// In a check step.
    pub(super) fn in_check(names: &'n Names<'a>, step: usize) -> Self {
        let until = names.index().finished.get(&step).copied().unwrap_or(names.recording().entries.len());
        Self::new(names, (Moment::Check(step), Moment::Check(step)), until, false)
    }

    fn new(names: &'n Names<'a>, (moment, sockets): (Moment, Moment), until: usize, cut_short: bool) -> Self {
        let (operations, all_sockets) = (OnceCell::new(), OnceCell::new());
        Self { names, moment, sockets, until, cut_short, operations, all_sockets }
    }

    /// What was observed.
    fn observations(&self) -> impl Iterator<Item = &'a Observation> + use<'a> {
        self.names.recording().entries.iter().take(self.until.saturating_add(1)).map(|entry| &entry.what)
    }

    /// The sockets of each connection: the last ones that were taken at the moment.
    fn sockets(&self) -> &[Sockets<'a>] {
        self.all_sockets.get_or_init(|| self.list_sockets())
    }

    fn list_sockets(&self) -> Vec<Sockets<'a>> {
        let connections = self.names.recording().connections();
        let sides = connections.flat_map(|connection| [(connection, Side::Client), (connection, Side::Server)]);
        sides
            .filter_map(|(connection, side)| {
                let (info, subflows) = self.names.sockets_at(&connection.name, side, &self.sockets)?;
                Some(Sockets { connection, side, info, subflows })
            })
            .collect()
    }

    /// The operations that were done, with the indices of their steps.
    fn operations(&self) -> impl Iterator<Item = (usize, &'a Operation)> {
        self.operations.get_or_init(|| self.list_operations()).iter().copied()
    }

    fn list_operations(&self) -> Vec<(usize, &'a Operation)> {
        let last = self.observations().filter_map(|what| pick!(what, Observation::StepStarted { step, .. } => *step));
        let last = last.max();
        let steps = self.names.scenario().steps.iter().enumerate();
        let begun = steps.take_while(move |(index, _)| last.is_some_and(|last| *index <= last));
        let operations =
            begun.filter_map(|(index, step)| pick!(&step.action, Action::Do(operation) => (index, operation)));
        operations.collect()
    }

    /// A path or a router gives segments other addresses.
    fn translates(&self) -> bool {
        self.names.scenario().translates()
    }

    /// The sysctl that hands the connections of a namespace to a userspace path manager, with its value.
    fn userspace(&self, namespace: &str) -> Option<String> {
        let world = self.names.scenario().world.namespace(namespace)?;
        if world.userspace_path_manager {
            return Some("path_manager: userspace".to_owned());
        }
        ["net.mptcp.path_manager", "net.mptcp.pm_type"].into_iter().find_map(|name| {
            let value = self.sysctl(namespace, name)?;
            matches!(value, "userspace" | "1").then(|| format!("{name} {value}"))
        })
    }

    /// What the scenario has set a sysctl to.
    fn sysctl(&self, namespace: &str, wanted: &str) -> Option<&'a str> {
        let world = self.names.scenario().world.namespace(namespace);
        let first = world.into_iter().flat_map(|namespace| &namespace.sysctls);
        let first = first.filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let later = self.operations().filter_map(|(_, operation)| {
            pick!(operation, Operation::SetSysctl { namespace: of, name, value }
                if of == namespace && name == wanted => value.as_str())
        });
        first.chain(later).last()
    }
}

/// The sockets of one side of a connection.
struct Sockets<'a> {
    connection: &'a Connection,
    side: Side,
    info: Option<&'a MptcpInfo>,
    subflows: &'a [SubflowState],
}

impl<'a> Sockets<'a> {
    fn namespace(&self) -> &'a str {
        super::names::side_namespace(self.connection, self.side)
    }
}

/// All that may explain a failure; what explains most comes first.
pub(super) fn reasons(known: &Facts<'_, '_>) -> Vec<Reason> {
    let mut reasons = disabled(known);
    reasons.extend(endpoints::idle(known));
    reasons.extend(announcements::unused(known));
    reasons.extend(counters::errors(known));
    reasons.extend(subflows::states(known));
    reasons.extend(paths::effects(known));
    reasons.extend(subflows::limits(known));
    reasons.extend(subflows::other_devices(known));
    reasons.extend(unused::rules(known));
    reasons.extend(unused::filters(known));
    reasons.extend(counters::unmentioned(known));
    alike::folded(reasons)
}

/// What a recording shows beside the decisions of the reference: counters that name an error, subflows that aren't
/// established, effects of paths, announcements that the kernel has forgotten.
pub fn observed(scenario: &Scenario, recording: &Recording) -> Vec<Reason> {
    let names = Names::of(scenario, recording);
    let known = Facts::at_the_end(&names, false);
    let mut reasons = disabled(&known);
    let forgotten =
        |reason: &Reason| matches!(reason, Reason::UnusedAnnouncement { why: Unused::Forgotten { .. }, .. });
    reasons.extend(announcements::unused(&known).into_iter().filter(forgotten));
    reasons.extend(counters::errors(&known));
    reasons.extend(subflows::states(&known));
    reasons.extend(paths::effects(&known));
    alike::folded(reasons)
}

fn disabled(known: &Facts<'_, '_>) -> Vec<Reason> {
    let namespaces = known.names.scenario().world.namespaces.iter();
    let off = namespaces.filter(|namespace| known.sysctl(&namespace.name, "net.mptcp.enabled") == Some("0"));
    off.map(|namespace| Reason::Disabled { namespace: namespace.name.clone() }).collect()
}
