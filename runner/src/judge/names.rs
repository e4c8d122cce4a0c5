//! Names for what differs from run to run: tokens become the names of connections, ephemeral ports disappear,
//! address ids that the kernel made up are recognised. Main type: [`Names`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use super::index::Index;
use crate::mptcp::{EndpointFlags, EventKind, MptcpInfo, PmEvent, SubflowState, canonical};
use crate::recording::{Connection, Direction, Moment, Observation, OptionAnswer, Recording, Side, canonical_socket};
use crate::scenario::model::{Action, Form, Operation, Ready, Scenario};
use crate::wire::{MptcpOption, Segment};

/// What the scenario and the recording call things.
pub(super) struct Names<'a> {
    scenario: &'a Scenario,
    recording: &'a Recording,
    tokens: BTreeMap<(&'a str, u32), (&'a str, Side)>,
    unknown_tokens: BTreeMap<(&'a str, u32), usize>,
    ports: BTreeSet<u16>,
    owners: BTreeMap<IpAddr, &'a str>,
    /// Routers that give the segments of others addresses of their own.
    translators: BTreeSet<&'a str>,
    implicit: BTreeMap<&'a str, BTreeSet<IpAddr>>,
    announced_ports: BTreeSet<(u8, IpAddr, u16)>,
    /// The connection and side that a token belongs to, in any namespace.
    receivers: HashMap<u32, (&'a str, Side)>,
    index: Index<'a>,
}

impl<'a> Names<'a> {
    /// Learns the names in the form that the scenario has on the kernel of the recording.
    pub(super) fn of(scenario: &'a Scenario, recording: &'a Recording) -> Self {
        Self::new(recording.header.form(scenario), recording)
    }

    fn new(form: Form<'a>, recording: &'a Recording) -> Self {
        let scenario = form.scenario();
        let mut names = Self {
            scenario,
            recording,
            tokens: BTreeMap::new(),
            unknown_tokens: BTreeMap::new(),
            ports: known_ports(scenario),
            owners: owners(scenario),
            translators: translators(scenario),
            implicit: BTreeMap::new(),
            announced_ports: BTreeSet::new(),
            receivers: HashMap::new(),
            index: Index::new(scenario, recording),
        };
        names.ports.extend(recording.connections().map(|connection| connection.server_address.port()));
        names.learn_tokens();
        for ((_, token), found) in &names.tokens {
            names.receivers.entry(*token).or_insert(*found);
        }
        names.learn_addresses();
        names
    }

    /// Where things are.
    pub(super) fn index(&self) -> &Index<'a> {
        &self.index
    }

    /// The tokens of the connections; then those that are not of any, numbered in the order of their appearance in
    /// their namespace.
    fn learn_tokens(&mut self) {
        let connections: Vec<&'a Connection> = self.recording.connections().collect();
        for connection in &connections {
            for (side, token) in [(Side::Client, connection.client_token), (Side::Server, connection.server_token)] {
                self.learn_token(connection, side, token);
            }
        }
        for entry in &self.recording.entries {
            // A connection that fell back has lost its token by the time when its connect step ends.
            if let Observation::Sockets { connection, side, info: Some(info), .. } = &entry.what
                && let Some((_, known)) = self.index.connected.get(connection.as_str()).copied()
            {
                self.learn_token(known, *side, Some(info.token));
            }
            if let Observation::Event { namespace, event } = &entry.what
                && event.kind == EventKind::Created
            {
                self.learn_created(namespace, event);
            }
        }
        self.number_unknown_tokens();
    }

    /// The first event of a connection tells both of its ends.
    fn learn_created(&mut self, namespace: &str, event: &PmEvent) {
        let (Some(local), Some(remote)) = (event.local, event.remote) else { return };
        let (Some(local_port), Some(remote_port)) = (event.local_port, event.remote_port) else { return };
        let (local, remote) = ((canonical(local), local_port), (canonical(remote), remote_port));
        for (ends, side) in [((local, remote), Side::Client), ((remote, local), Side::Server)] {
            let between = self.index.by_ends.get(&ends).cloned().unwrap_or_default();
            for connection in between.into_iter().filter(|known| side_namespace(known, side) == namespace) {
                self.learn_token(connection, side, event.token);
            }
        }
    }

    fn learn_token(&mut self, connection: &'a Connection, side: Side, token: Option<u32>) {
        // The kernel never gives out 0: it stands for "no token".
        if let Some(token) = token.filter(|token| *token != 0) {
            self.tokens.entry((side_namespace(connection, side), token)).or_insert((&connection.name, side));
        }
    }

    fn number_unknown_tokens(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &self.recording.entries {
            if let Observation::Event { namespace, event } = &entry.what
                && let Some(token) = event.token
            {
                let key = (namespace.as_str(), token);
                if !self.tokens.contains_key(&key) && !self.unknown_tokens.contains_key(&key) {
                    let count = counts.entry(namespace).or_default();
                    *count += 1;
                    self.unknown_tokens.insert(key, *count);
                }
            }
        }
    }

    fn learn_addresses(&mut self) {
        for entry in &self.recording.entries {
            if let Observation::Endpoints { namespace, endpoints, .. } = &entry.what {
                let implicit = endpoints.iter().filter(|endpoint| endpoint.flags.contains(EndpointFlags::IMPLICIT));
                let known = self.implicit.entry(namespace).or_default();
                known.extend(implicit.map(|endpoint| canonical(endpoint.address)));
            } else if let Observation::Packet { segment, .. } = &entry.what {
                for option in &segment.options {
                    if let MptcpOption::AddAddr { echo: false, address_id, body } = option
                        && let Some(port) = body.port
                    {
                        self.announced_ports.insert((*address_id, canonical(body.address), port));
                    }
                }
            }
        }
    }

    /// The scenario.
    pub(super) fn scenario(&self) -> &'a Scenario {
        self.scenario
    }

    /// The recording.
    pub(super) fn recording(&self) -> &'a Recording {
        self.recording
    }

    /// The connection that a namespace knows by this token.
    pub(super) fn connection(&self, namespace: &str, token: u32) -> Option<&'a str> {
        self.tokens.get(&(namespace, token)).map(|(name, _)| *name)
    }

    /// The connection with this token, and the side that chose it: an MP_JOIN carries the token of its receiver.
    pub(super) fn connection_of_receiver(&self, token: u32) -> Option<(&'a str, Side)> {
        self.receivers.get(&token).copied()
    }

    /// What a token is called: the name of its connection, or `token-1`, `token-2`…
    pub(super) fn token(&self, namespace: &str, token: u32) -> String {
        match self.connection(namespace, token) {
            Some(name) => name.to_owned(),
            None => match self.unknown_tokens.get(&(namespace, token)) {
                Some(number) => format!("token-{number}"),
                None => "token-?".to_owned(),
            },
        }
    }

    /// The place of a connection in the scenario's story, by the name that [`Self::token`] gave it.
    pub(super) fn rank(&self, name: &str) -> usize {
        self.index.connects.get(name).copied().unwrap_or(usize::MAX)
    }

    /// The connection whose initial subflow has these ends, the client's first.
    pub(super) fn connected_between(&self, client: SocketAddr, server: SocketAddr) -> Option<&'a str> {
        let ends = (canonical_socket(client), canonical_socket(server));
        self.index.by_ends.get(&ends)?.first().map(|connection| connection.name.as_str())
    }

    /// The connection that the scenario wanted to open to this socket but that is not in the recording.
    pub(super) fn planned_connection(&self, server: SocketAddr) -> Option<&'a str> {
        self.index.planned.get(&canonical_socket(server)).copied()
    }

    /// The namespace that has this address.
    pub(super) fn owner(&self, address: IpAddr) -> Option<&'a str> {
        self.owners.get(&canonical(address)).copied()
    }

    /// The segment was captured on its way through a router: it belongs to somebody else than the namespace.
    pub(super) fn is_forwarded(&self, namespace: &str, direction: Direction, segment: &Segment) -> bool {
        let end = match direction {
            Direction::Out => segment.source,
            Direction::In => segment.destination,
        };
        self.owner(end.ip()).is_some_and(|owner| owner != namespace) || self.translators.contains(namespace)
    }

    /// The sockets of one side of a connection, as they were taken last at that moment.
    pub(super) fn sockets_at(&self, connection: &str, side: Side, moment: &Moment) -> Option<Taken<'a>> {
        let taken = self.index.sockets_of(connection).iter().rev();
        taken.filter_map(|at| self.recording.entries.get(*at)).find_map(|entry| {
            pick!(&entry.what, Observation::Sockets { connection: _, side: on, moment: then, info, subflows, .. }
                if *on == side && then == moment => (info.as_deref(), subflows.as_slice()))
        })
    }

    /// The socket options of one side of a connection, with its subflows, as they were taken last at that moment.
    pub(super) fn options_at(
        &self,
        connection: &str,
        side: Side,
        moment: &Moment,
    ) -> Option<(&'a BTreeMap<String, OptionAnswer>, &'a [SubflowState])> {
        let taken = self.index.sockets_of(connection).iter().rev();
        taken.filter_map(|at| self.recording.entries.get(*at)).find_map(|entry| {
            pick!(&entry.what, Observation::Sockets { side: on, moment: then, options, subflows, .. }
                if *on == side && then == moment => (options, subflows.as_slice()))
        })
    }

    /// The scenario itself uses this port, so it is the same in each run.
    pub(super) fn is_known_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// The ADD_ADDR carried this port. An ANNOUNCED event always has a port: that of the subflow on which the
    /// ADD_ADDR arrived, if it carried none (`mptcp_event_addr_announced`, net/mptcp).
    pub(super) fn is_announced_port(&self, id: u8, address: IpAddr, port: u16) -> bool {
        self.announced_ports.contains(&(id, canonical(address), port))
    }

    /// An address id as it is in each run. The kernel numbers the implicit endpoints of a namespace in the order in
    /// which their subflows came up, so with several of them the numbers don't repeat.
    pub(super) fn address_id(&self, owner: Option<&str>, address: Option<IpAddr>, id: u8) -> String {
        let implicit = owner.and_then(|owner| self.implicit.get(owner));
        match (implicit, address) {
            (Some(implicit), Some(address)) if implicit.len() > 1 && implicit.contains(&canonical(address)) => {
                "implicit".to_owned()
            }
            _ => id.to_string(),
        }
    }

    /// An address with its port, if that is the same in each run.
    pub(super) fn end(&self, address: Option<IpAddr>, port: Option<u16>) -> String {
        end(address, port.filter(|port| self.is_known_port(*port)))
    }

    /// A socket address with its port, if that is the same in each run.
    pub(super) fn socket(&self, socket: SocketAddr) -> String {
        self.end(Some(socket.ip()), Some(socket.port()))
    }
}

/// `MPTCP_INFO`, unless it is a TCP socket, and the subflows.
pub(super) type Taken<'a> = (Option<&'a MptcpInfo>, &'a [SubflowState]);

/// The namespace of one side.
pub(super) fn side_namespace(connection: &Connection, side: Side) -> &str {
    side.of(&connection.client, &connection.server)
}

/// An address with a port: `10.0.1.1:8080`, `[fd00::1]:8080`, `*:8080`.
pub(super) fn end(address: Option<IpAddr>, port: Option<u16>) -> String {
    match (address.map(canonical), port) {
        (Some(IpAddr::V6(address)), Some(port)) => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
        (Some(address), None) => address.to_string(),
        (None, Some(port)) => format!("*:{port}"),
        (None, None) => "*".to_owned(),
    }
}

/// The ports that the scenario itself names.
fn known_ports(scenario: &Scenario) -> BTreeSet<u16> {
    let configured = scenario.world.namespaces.iter().flat_map(|namespace| &namespace.endpoints);
    let mut ports: BTreeSet<u16> = configured.filter_map(|(endpoint, _)| endpoint.port).collect();
    ports.extend(scenario.connections.iter().map(|connection| connection.port));
    for step in &scenario.steps {
        match &step.action {
            Action::Listen(plan) => _ = ports.insert(plan.port),
            Action::StopListening { port, .. } => _ = ports.insert(*port),
            Action::Connect(plan) => {
                ports.insert(plan.address.port());
                ports.extend(plan.source_port);
                ports.extend(plan.implicit_listener.as_ref().map(|listener| listener.port));
            }
            Action::Do(operation) | Action::ExpectError { operation, .. } => ports.extend(operation_ports(operation)),
            Action::Start(plan) => {
                ports.extend(plan.ready.as_ref().and_then(|ready| pick!(ready, Ready::Port(port) => *port)));
            }
            Action::Transfer(_)
            | Action::Run(_)
            | Action::Signal { .. }
            | Action::FinishProgram { .. }
            | Action::Stop { .. }
            | Action::FinishTransfer { .. }
            | Action::Wait { .. }
            | Action::Quiet { .. }
            | Action::Close { .. }
            | Action::SetOptions { .. }
            | Action::GetOption(_)
            | Action::Accept { .. }
            | Action::Shutdown { .. }
            | Action::Write { .. }
            | Action::Read { .. }
            | Action::Check(_)
            | Action::SetPath(_)
            | Action::AddRule { .. }
            | Action::RemoveRule { .. }
            | Action::Release { .. } => {}
        }
    }
    // 0 lets the kernel choose.
    ports.remove(&0);
    ports
}

fn operation_ports(operation: &Operation) -> Vec<u16> {
    match operation {
        Operation::AddEndpoint { endpoint, .. } | Operation::Announce { endpoint, .. } => {
            endpoint.port.into_iter().collect()
        }
        Operation::CreateSubflow { endpoint, remote_port, .. } => {
            endpoint.port.into_iter().chain(*remote_port).collect()
        }
        Operation::DestroySubflow { local_port, remote_port, .. } => {
            local_port.iter().chain(remote_port).copied().collect()
        }
        Operation::DeleteEndpoint { .. }
        | Operation::ChangeEndpoint { .. }
        | Operation::FlushEndpoints { .. }
        | Operation::SetLimits { .. }
        | Operation::SetSysctl { .. }
        | Operation::SetLink { .. }
        | Operation::DeleteDevice { .. }
        | Operation::AddAddress { .. }
        | Operation::DeleteAddress { .. }
        | Operation::AddRoute { .. }
        | Operation::DeleteRoute { .. }
        | Operation::AddRoutingRule { .. }
        | Operation::DeleteRoutingRule { .. }
        | Operation::RemoveAddress { .. }
        | Operation::SetSubflowBackup { .. }
        | Operation::GetEndpoint { .. }
        | Operation::AddFilter(_)
        | Operation::RemoveFilter { .. } => Vec::new(),
    }
}

/// The namespaces that translate addresses and have no connection of their own.
fn translators(scenario: &Scenario) -> BTreeSet<&str> {
    let mut translators: BTreeSet<&str> =
        scenario.filters().filter(|filter| filter.action.translates()).map(|it| it.namespace.as_str()).collect();
    for step in &scenario.steps {
        if let Action::Connect(connect) = &step.action {
            translators.remove(connect.from.as_str());
            translators.remove(connect.to.as_str());
        }
    }
    for program in scenario.programs() {
        translators.remove(program.namespace.as_str());
    }
    translators
}

/// Which namespace has which address, including those that steps add.
fn owners(scenario: &Scenario) -> BTreeMap<IpAddr, &str> {
    let own = scenario.world.addresses();
    let mut owners: BTreeMap<IpAddr, &str> =
        own.map(|(namespace, _, own)| (canonical(own.address), namespace)).collect();
    for step in &scenario.steps {
        if let Action::Do(Operation::AddAddress { namespace, address, .. }) = &step.action {
            owners.entry(canonical(address.address)).or_insert(namespace);
        }
    }
    owners
}
