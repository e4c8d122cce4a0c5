//! Where things are in a recording and in its scenario, so that nobody searches through all entries for each of many
//! connections. Main type: [`Index`].

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::recording::{Connection, Observation, Recording, canonical_socket};
use crate::scenario::model::{Action, Conditions, Scenario};

/// An address without its v4-mapped prefix, and a port.
pub(super) type End = (IpAddr, u16);

/// Where things are. Entries and steps are meant by their indices.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    /// The entry that tells that a connection was made, by name.
    pub(super) connected: HashMap<&'a str, (usize, &'a Connection)>,
    /// Connections by the ends of their initial subflow, the client's first. A pair of ports may be used again.
    pub(super) by_ends: HashMap<(End, End), Vec<&'a Connection>>,
    /// The entries that tell of a connection's sockets.
    pub(super) sockets: HashMap<&'a str, Vec<usize>>,
    /// The entry with which a step began.
    pub(super) started: HashMap<usize, usize>,
    /// The entry with which a step ended.
    pub(super) finished: HashMap<usize, usize>,
    /// The step that makes a connection; those of programs come after all steps.
    pub(super) connects: HashMap<&'a str, usize>,
    /// The connection that the scenario wanted to open to a socket but that is not in the recording.
    pub(super) planned: HashMap<End, &'a str>,
    /// The connections with a transfer in the background.
    pub(super) in_background: HashSet<&'a str>,
    /// Some path holds packets back or loses them.
    pub(super) has_conditions: bool,
}

impl<'a> Index<'a> {
    /// Goes through both once.
    pub(super) fn new(scenario: &'a Scenario, recording: &'a Recording) -> Self {
        let mut index = Self::default();
        for (at, entry) in recording.entries.iter().enumerate() {
            index.add_entry(at, &entry.what);
        }
        let untouched = Conditions::default();
        let mut declared = scenario.world.paths.iter().flat_map(|path| &path.conditions);
        index.has_conditions = declared.any(|conditions| *conditions != untouched);
        for (at, step) in scenario.steps.iter().enumerate() {
            if let Action::Connect(plan) = &step.action {
                index.connects.entry(&plan.name).or_insert(at);
                if !index.connected.contains_key(plan.name.as_str()) {
                    index.planned.entry(canonical_socket(plan.address)).or_insert(&plan.name);
                }
            }
            index.in_background.extend(step.action.background_transfer().map(|plan| plan.connection.as_str()));
            if let Action::SetPath(change) = &step.action {
                index.has_conditions |= change.conditions.iter().flatten().any(|conditions| *conditions != untouched);
            }
        }
        for (at, connection) in scenario.connections.iter().enumerate() {
            index.connects.entry(&connection.name).or_insert(scenario.steps.len().saturating_add(at));
        }
        index
    }

    fn add_entry(&mut self, at: usize, what: &'a Observation) {
        if let Observation::StepStarted { step, .. } = what {
            self.started.entry(*step).or_insert(at);
        } else if let Observation::StepFinished { step, .. } = what {
            self.finished.entry(*step).or_insert(at);
        } else if let Observation::Connected { connection } = what {
            self.connected.entry(&connection.name).or_insert((at, connection));
            let ends = (canonical_socket(connection.client_address), canonical_socket(connection.server_address));
            self.by_ends.entry(ends).or_default().push(connection);
        } else if let Observation::Sockets { connection, .. } = what {
            self.sockets.entry(connection).or_default().push(at);
        }
    }

    /// The entries that tell of a connection's sockets, in their order.
    pub(super) fn sockets_of(&self, connection: &str) -> &[usize] {
        self.sockets.get(connection).map_or(&[], Vec::as_slice)
    }
}
