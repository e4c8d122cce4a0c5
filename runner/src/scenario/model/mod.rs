//! The checked model of a scenario: every reference is resolved, every value in range. Made by
//! [`super::load`], read by everything after it.

mod expect;
mod kernel_variants;
mod kernels;
mod operation;
mod path;
mod program;
mod rule;
mod snapshot;
mod socket;
mod step;
mod time;
mod world;

pub use expect::{
    Alternative, BrokenRule, BytesExpectation, Choice, CounterExpectation, EndpointsExpectation, ErrorPattern,
    EventExpectation, EventItem, EventPattern, Expectation, InfoExpectation, LimitsExpectation, PathCount,
    PathExpectation, Range, SocketCountExpectation, SubflowPattern, SubflowsExpectation, WireExpectation, WirePattern,
};
pub use kernel_variants::{Form, KernelVariants};
pub use kernels::{KernelList, ListedKernel, Machine, WhichKernel};
pub use operation::{
    Filter, FilterAction, FilterHook, FilterProtocol, FlagChange, FlowState, Operation, TokenChoice, WhichEndpoints,
};
pub use path::{
    Chance, Conditions, Distribution, Injected, Injection, Jitter, PacketPattern, PathChange, PathPlan, PathRule,
    Queue, Reorder, Rewrite, RuleAction,
};
pub use program::{
    End, EndStatus, LinesLike, MadeProtocol, Program, ProgramConnection, Ready, RunPlan, Sockets, StartPlan, Stream,
};
pub use rule::RULE_NAMES;
pub use snapshot::{LeftOut, SnapshotSection};
pub use socket::{OptionSetting, SocketOptions};
pub use step::{
    Action, CloseHow, Condition, ConnectPlan, ConnectionOutcome, Direction, ListenPlan, OptionQuery, QueueName,
    QuietPlan, SocketProtocol, Step, TransferPlan, expected_transfer_error,
};
pub(in crate::scenario) use step::{BACKLOG, LONG, PORT};
pub use time::LONGEST_RUN;
pub use world::{Address, Device, DeviceKind, Link, LinkEnd, Namespace, NextHop, Route, RouteType, RoutingRule, World};

use std::collections::BTreeSet;

use crate::scenario::SourceText;

/// A scenario, one variant of it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file as it was named on the command line.
    pub file: std::path::PathBuf,
    /// The label of the matrix variant, like `ipv6` or `ipv6-checksum-1`.
    pub variant: Option<String>,
    /// One line.
    pub title: String,
    /// The lesson.
    pub about: String,
    /// Where to read on.
    pub see: Vec<String>,
    /// What the kernel must have; probed, never guessed from a version.
    pub requires: Vec<Feature>,
    /// What of it depends on the kernel.
    pub kernel_variants: KernelVariants,
    /// What its snapshot leaves out.
    pub left_out: Option<LeftOut>,
    /// Must not share the machine with other scenarios while it runs.
    pub exclusive: bool,
    /// Namespaces and links.
    pub world: World,
    /// The connections that programs make.
    pub connections: Vec<ProgramConnection>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What must be observed in the whole run.
    pub expect: Expectation,
    /// The texts that it was read from: the scenario with its variables filled in, then its topology.
    pub sources: Vec<SourceText>,
}

impl Scenario {
    /// The name for lists and tests: the file without its ending, and the variant: `signal/port@ipv6`.
    pub fn label(&self) -> String {
        let stem = self.file.with_extension("");
        match &self.variant {
            Some(variant) => format!("{}@{variant}", stem.display()),
            None => stem.display().to_string(),
        }
    }
}

impl Scenario {
    /// Its snapshot has this section.
    pub fn snapshot_has(&self, section: SnapshotSection) -> bool {
        self.left_out.as_ref().is_none_or(|left_out| !left_out.sections.contains(&section))
    }

    /// The rules of its paths with their links, in the order in which they are installed.
    pub fn path_rules(&self) -> impl Iterator<Item = (&str, &PathRule)> {
        let first = self.world.paths.iter();
        let first = first.flat_map(|path| path.rules.iter().map(|rule| (path.link.as_str(), rule)));
        let later = self.steps.iter().filter_map(|step| match &step.action {
            Action::AddRule { link, rule } => Some((link.as_str(), rule)),
            _ => None,
        });
        first.chain(later)
    }

    /// A namespace has routing rules, or gets some.
    pub fn has_routing_rules(&self) -> bool {
        let adds = |step: &Step| matches!(step.action, Action::Do(Operation::AddRoutingRule { .. }));
        self.world.namespaces.iter().any(|namespace| !namespace.rules.is_empty()) || self.steps.iter().any(adds)
    }

    /// The programs that its steps start.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.steps.iter().filter_map(|step| step.action.program())
    }

    /// What is needed for it to run: what it requires, MPTCP, what its routing takes, and its programs.
    pub fn needs(&self) -> BTreeSet<Feature> {
        let mut needs: BTreeSet<Feature> = self.requires.iter().cloned().chain([Feature::Mptcp]).collect();
        needs.extend(self.has_routing_rules().then_some(Feature::RoutingRules));
        let devices = self.world.namespaces.iter().flat_map(|namespace| &namespace.devices);
        needs.extend(devices.map(|device| Feature::Device(device.kind.word().to_owned())));
        needs.extend(self.filters().any(Filter::tracks).then_some(Feature::Nat));
        for program in self.programs() {
            needs.insert(Feature::Program(program.command.clone()));
            needs.insert(Feature::Programs);
            needs.extend((program.sockets == Sockets::Forced).then_some(Feature::ForcedMptcp));
        }
        needs
    }

    /// Whether a command runs no other scenario at the same time: it says so, or it starts programs. What these take of
    /// the processors and of the kernel is theirs to decide, and it would make others late.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive || self.programs().next().is_some()
    }

    /// All features on which it depends: those that it needs, and those that decide what is expected.
    pub fn depends_on(&self) -> BTreeSet<Feature> {
        self.needs().into_iter().chain(self.kernel_variants.asked.iter().cloned()).collect()
    }

    /// The packet filters that its steps install.
    pub fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.steps.iter().filter_map(|step| pick!(&step.action, Action::Do(Operation::AddFilter(filter)) => filter))
    }

    /// The addresses that NATs on the way give to those who connect.
    pub fn nat_addresses(&self) -> Vec<std::net::IpAddr> {
        let by_paths = self.path_rules().filter_map(|(_, rule)| match &rule.action {
            RuleAction::Nat { address, .. } => Some(*address),
            _ => None,
        });
        let given = self.filters().filter_map(|filter| filter.address.filter(|_| filter.action == FilterAction::Snat));
        let masquerading = self.filters().filter(|filter| filter.action == FilterAction::Masquerade);
        let own = masquerading.flat_map(|filter| self.world.addresses_of(&filter.namespace)).map(|own| own.address);
        by_paths.chain(given).chain(own).map(|address| address.to_canonical()).collect()
    }

    /// Whether packets may get other addresses on their way.
    pub fn translates(&self) -> bool {
        let mut rules = self.path_rules();
        rules.any(|(_, rule)| matches!(rule.action, RuleAction::Nat { .. } | RuleAction::Rewrite { .. }))
            || self.filters().any(|filter| filter.action.translates())
    }

    /// Whether a namespace gives packets that it forwards other addresses.
    pub fn translates_in(&self, namespace: &str) -> bool {
        self.filters().any(|filter| filter.namespace == namespace && filter.action.translates())
    }
}

/// A place in one of the sources of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Index into [`Scenario::sources`].
    pub source: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The byte range in the text.
    pub start: usize,
    /// The end of the byte range.
    pub end: usize,
}

/// Something that a kernel may or may not have, found out by trying (see [`crate::testbed`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// MPTCP at all.
    Mptcp,
    /// LISTENER_CREATED and LISTENER_CLOSED.
    ListenerEvents,
    /// The laminar endpoint flag.
    Laminar,
    /// GET_ADDR answers for a token (per-operation policies).
    TokenDump,
    /// The in-kernel path manager mixes IPv4 and IPv6 subflows.
    MixedFamilies,
    /// Nobody on the machine, in whatever namespace, listens to path-manager events: the kernel's check doesn't heed
    /// namespaces (`netlink_has_listeners`, net/netlink/af_netlink.c). Not the kernel's but the moment's.
    NoEventListener,
    /// Whether a subflow is opened between two addresses depends on the families of both and of the socket
    /// (`mptcp_pm_addr_families_match`), not on those of endpoint and socket alone.
    FamilyRules,
    /// A fullmesh endpoint opens one subflow to each address of the peer. Some stable kernels open one for each subflow
    /// that there is (`fill_remote_addresses_vec`, net/mptcp/pm_netlink.c).
    FullmeshOnce,
    /// A subflow is bound to the device that its address came with. Before, it was looked up by the address id: there
    /// was none for the id 0, and for a userspace path manager.
    SubflowDevice,
    /// The refusal of an endpoint tells by its errno why: EEXIST, EBUSY or ERANGE (`mptcp_pm_nl_add_addr_doit`). It was
    /// EINVAL for all of them before.
    EndpointErrnos,
    /// nf_tables, with matching of MPTCP suboptions.
    Nftables,
    /// Connection tracking, and translation of addresses by nf_tables, for IPv4 and IPv6.
    Nat,
    /// The token bucket queueing discipline.
    Tbf,
    /// Routing tables of their own, and rules that select them, for IPv4 and IPv6.
    RoutingRules,
    /// Programs can be started, closed in (see [`crate::sys::sandbox`]).
    Programs,
    /// The TCP sockets of a program can be replaced by MPTCP sockets (seccomp's user notifications with
    /// `SECCOMP_ADDFD_FLAG_SEND`).
    ForcedMptcp,
    /// A MIB counter, by its nstat name.
    Counter(String),
    /// A sysctl, by its name with dots.
    Sysctl(String),
    /// A field of `struct mptcp_info`, by its name there.
    Info(String),
    /// A socket option of MPTCP sockets, by its word ([`crate::mptcp::SocketOption`]).
    Option(String),
    /// A kind of devices, by its word ([`DeviceKind`]).
    Device(String),
    /// A program that is installed and may be started, by its name. Not the kernel's but the machine's.
    Program(String),
}

impl Feature {
    /// The features without a parameter, with their words.
    pub const PLAIN: [(&'static str, Feature); 16] = [
        ("mptcp", Feature::Mptcp),
        ("listener_events", Feature::ListenerEvents),
        ("laminar", Feature::Laminar),
        ("token_dump", Feature::TokenDump),
        ("mixed_families", Feature::MixedFamilies),
        ("family_rules", Feature::FamilyRules),
        ("fullmesh_once", Feature::FullmeshOnce),
        ("subflow_device", Feature::SubflowDevice),
        ("endpoint_errnos", Feature::EndpointErrnos),
        ("no_event_listener", Feature::NoEventListener),
        ("nftables", Feature::Nftables),
        ("nat", Feature::Nat),
        ("tbf", Feature::Tbf),
        ("routing_rules", Feature::RoutingRules),
        ("programs", Feature::Programs),
        ("forced_mptcp", Feature::ForcedMptcp),
    ];

    /// The word in scenarios: `laminar`, `counter:MPTcpExtMPJoinRejected`, `sysctl:net.mptcp.path_manager`.
    pub fn word(&self) -> String {
        match self {
            Self::Counter(name) => format!("counter:{name}"),
            Self::Sysctl(name) => format!("sysctl:{name}"),
            Self::Info(name) => format!("info:{name}"),
            Self::Option(name) => format!("option:{name}"),
            Self::Program(name) => format!("program:{name}"),
            Self::Device(kind) => format!("device:{kind}"),
            plain => Self::PLAIN
                .iter()
                .find(|(_, feature)| feature == plain)
                .map_or_else(String::new, |(word, _)| (*word).to_owned()),
        }
    }

    /// The feature of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        if let Some(name) = word.strip_prefix("counter:") {
            return Some(Self::Counter(name.to_owned()));
        }
        if let Some(name) = word.strip_prefix("sysctl:") {
            return Some(Self::Sysctl(name.to_owned()));
        }
        if let Some(name) = word.strip_prefix("program:") {
            return Some(Self::Program(name.to_owned()));
        }
        if let Some(kind) = word.strip_prefix("device:") {
            return Some(Self::Device(kind.to_owned()));
        }
        if let Some(name) = word.strip_prefix("info:") {
            return Some(Self::Info(name.to_owned()));
        }
        if let Some(name) = word.strip_prefix("option:") {
            return Some(Self::Option(name.to_owned()));
        }
        Self::PLAIN.iter().find(|(plain, _)| *plain == word).map(|(_, feature)| feature.clone())
    }
}
