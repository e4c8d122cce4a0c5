//! What has been said so far: the world, and the connections, listeners and filters of the steps up to here.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use indexmap::IndexMap;

use super::super::diagnostic::Diagnostic;
use super::super::model::{ConnectionOutcome, Filter, FilterAction, Link, Place, Route, SocketProtocol};
use super::super::nearest::suggestion;
use super::super::scalar;
use super::super::yaml::Node;
use super::{Read, Reader};
use crate::mptcp::Side;

/// What names mean at some point of a scenario.
#[derive(Debug, Default)]
pub struct Scope {
    /// Names of namespaces, also of those that could not be read.
    pub namespaces: Vec<String>,
    /// Namespaces of which no events are recorded, with where it is said.
    pub silent: HashMap<String, Place>,
    /// The routes that namespaces have from the beginning, with where they are written.
    pub routes: Vec<((String, Route), Place)>,
    /// Namespaces with source routing, with where it is said.
    pub source_routing: HashMap<String, Place>,
    /// Names of links with the namespaces of their ends, also of those that could not be read.
    pub links: Vec<(String, Vec<String>)>,
    /// Devices by namespace.
    pub devices: HashMap<String, Vec<String>>,
    /// Addresses on links, canonical, with their namespaces; and those that steps add.
    pub addresses: HashSet<(String, IpAddr)>,
    /// A topology could not be read: names that are unknown here may be in it.
    pub names_are_missing: bool,
    /// The world could be read as a whole: what isn't in it doesn't exist.
    pub world_is_known: bool,
    /// Connections made so far. A connect step with an error in it leaves an unknown one.
    pub connections: IndexMap<String, KnownConnection>,
    /// Names of connections of later steps, with their places.
    pub later: HashMap<String, Place>,
    /// Sockets that listen.
    pub listeners: Vec<KnownListener>,
    /// Filters that are installed, with their places.
    pub filters: Vec<(Filter, Place)>,
    /// Programs that steps have started.
    pub programs: IndexMap<String, super::program::KnownProgram>,
    /// Links with paths.
    pub paths: Vec<super::path::KnownPath>,
    /// What steps have waited for that is counted since the start of the run: how many, and where.
    pub awaited: HashMap<String, (u64, Place)>,
    /// All steps are done.
    pub ended: bool,
    /// Where relative paths of files begin.
    pub folder: PathBuf,
}

/// A connection that a step has made.
#[derive(Debug, Clone)]
pub struct KnownConnection {
    pub name: String,
    pub place: Place,
    /// Programs make it, and close it.
    pub by_programs: bool,
    /// `None`: its step has errors, so nothing more is said about it.
    pub details: Option<ConnectionDetails>,
    /// The step that closed it.
    pub closed: Option<Place>,
    /// The background transfer that runs.
    pub background: Option<KnownTransfer>,
    /// Nobody has accepted it since that step.
    pub waits: Option<Place>,
    /// It was disconnected: its client's socket can connect again.
    pub is_reusable: bool,
}

/// A transfer in the background.
#[derive(Debug, Clone, Copy)]
pub struct KnownTransfer {
    pub place: Place,
    pub from_client: u64,
    pub from_server: u64,
    /// A call must fail.
    pub must_fail: bool,
}

impl KnownTransfer {
    /// The bytes that this side sends.
    pub fn from(&self, sender: Side) -> u64 {
        sender.of(self.from_client, self.from_server)
    }
}

#[derive(Debug, Clone)]
pub struct ConnectionDetails {
    pub client: String,
    pub server: String,
    pub client_protocol: SocketProtocol,
    pub server_protocol: SocketProtocol,
    pub outcome: ConnectionOutcome,
}

/// A socket that listens.
#[derive(Debug, Clone)]
pub struct KnownListener {
    pub namespace: String,
    pub address: IpAddr,
    pub port: u16,
    pub protocol: SocketProtocol,
    pub place: Place,
    /// The connect step opened it.
    pub implicit: bool,
}

impl ConnectionDetails {
    /// The namespace of a side.
    pub fn namespace(&self, side: Side) -> &str {
        side.of(&self.client, &self.server)
    }

    /// What the socket of a side is.
    pub fn protocol(&self, side: Side) -> SocketProtocol {
        side.of(self.client_protocol, self.server_protocol)
    }
}

impl Scope {
    /// Takes over links that were read.
    pub fn enter(&mut self, links: &[Link]) {
        self.world_is_known = !self.names_are_missing;
        for end in links.iter().flat_map(|link| &link.ends) {
            self.devices.entry(end.namespace.clone()).or_default().push(end.device.clone());
            for address in &end.addresses {
                self.addresses.insert((end.namespace.clone(), address.address.to_canonical()));
            }
        }
    }

    /// Notes which connections later steps make, so that a use before that can say so.
    pub fn foresee(&mut self, steps: &[Node]) {
        for step in steps {
            let name = step.get("connect").and_then(|connect| connect.get("name"));
            if let Some((node, text)) = name.and_then(|node| Some((node, node.text()?))) {
                self.later.entry(text.to_owned()).or_insert(node.place);
            }
        }
    }

    /// The same when all steps are done: closed connections can be talked about.
    pub fn at_the_end(mut self) -> Self {
        self.later.clear();
        self.ended = true;
        for connection in self.connections.values_mut() {
            connection.closed = None;
        }
        self
    }

    /// The name of a namespace that exists.
    pub fn namespace(&self, reader: &Reader, node: &Node) -> Read<String> {
        let name = reader.scalar(node, |text| Ok(text.to_owned()))?;
        self.known_namespace(reader, &name, node.place)
    }

    /// That name, if there is such a namespace.
    pub fn known_namespace(&self, reader: &Reader, name: &str, place: Place) -> Read<String> {
        if self.names_are_missing || self.namespaces.iter().any(|known| known == name) {
            return Ok(name.to_owned());
        }
        let known = self.namespaces.iter().map(String::as_str);
        Err(unknown(reader, place, format!("there is no namespace `{name}`"), suggestion(name, known)))
    }

    /// The name of an interface that the namespace has.
    pub fn device(&self, reader: &Reader, namespace: &Read<String>, node: &Node) -> Read<String> {
        let name = reader.scalar(node, |text| if text == "lo" { Ok("lo".to_owned()) } else { scalar::device(text) })?;
        let Ok(namespace) = namespace else { return Ok(name) };
        let devices = self.devices.get(namespace).map_or(&[][..], Vec::as_slice);
        if !self.world_is_known || name == "lo" || devices.contains(&name) {
            return Ok(name);
        }
        let help = suggestion(&name, devices.iter().map(String::as_str));
        Err(unknown(reader, node.place, format!("`{namespace}` has no interface `{name}`"), help))
    }

    /// The namespace has that address; loopback addresses are everywhere. Says yes if the world isn't known.
    pub fn has_address(&self, namespace: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !self.world_is_known || address.is_loopback() || self.addresses.contains(&(namespace.to_owned(), address))
    }

    /// Where what is sent to an address arrives that a `dnat` filter of another namespace translates.
    pub fn translated(&self, from: &str, target: SocketAddr) -> Option<SocketAddr> {
        let mut others = self.filters.iter().map(|(filter, _)| filter).filter(|filter| filter.namespace != from);
        others.find_map(|filter| {
            let to = filter.to.map_or_else(
                || self.has_address(&filter.namespace, target.ip()),
                |to| to.to_canonical() == target.ip().to_canonical(),
            );
            let is_it =
                filter.action == FilterAction::Dnat && to && filter.to_port.is_none_or(|it| it == target.port());
            is_it.then(|| Some(SocketAddr::new(filter.address?, filter.port.unwrap_or(target.port()))))?
        })
    }

    /// The addresses of a namespace, for messages.
    pub fn addresses_of(&self, namespace: &str) -> String {
        let mut own: Vec<IpAddr> =
            self.addresses.iter().filter(|(owner, _)| owner == namespace).map(|(_, address)| *address).collect();
        own.sort_unstable();
        own.iter().take(16).map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
    }

    /// A connection that exists by now.
    pub fn connection(&self, reader: &Reader, node: &Node) -> Read<&KnownConnection> {
        let name = reader.scalar(node, |text| Ok(text.to_owned()))?;
        self.known_connection(reader, &name, node.place)
    }

    /// The connection of that name, if it exists by now.
    pub fn known_connection(&self, reader: &Reader, name: &str, place: Place) -> Read<&KnownConnection> {
        if let Some(known) = self.connections.get(name) {
            return Ok(known);
        }
        if let Some(made) = self.later.get(name) {
            return Err(reader.report(
                Diagnostic::new(place, format!("the connection `{name}` does not exist yet"))
                    .context(*made, "it is made here"),
            ));
        }
        let made = |name: &&String| self.connections.contains_key(*name);
        let mut later: Vec<&String> = self.later.keys().filter(|name| !made(name)).collect();
        later.sort();
        let known = self.connections.keys().map(String::as_str);
        let known = known.chain(later.into_iter().map(String::as_str));
        Err(unknown(reader, place, format!("there is no connection `{name}`"), suggestion(name, known)))
    }
}

impl KnownConnection {
    /// Its sockets are the runner's, not those of programs.
    pub fn is_own(&self, reader: &Reader, place: Place) -> Read<()> {
        if !self.by_programs {
            return Ok(());
        }
        Err(reader.report(
            Diagnostic::new(place, format!("the sockets of `{}` belong to programs", self.name))
                .context(self.place, "declared here")
                .help("steps can wait for its events and subflows, and check them"),
        ))
    }

    /// Its sockets can be looked at: those of programs only while the programs run.
    pub fn has_sockets(&self, reader: &Reader, scope: &Scope, place: Place) -> Read<()> {
        if !(self.by_programs && scope.ended) {
            return Ok(());
        }
        Err(reader.report(
            Diagnostic::new(place, format!("programs may have closed `{}` by the end of the run", self.name))
                .context(self.place, "declared here")
                .help("expect this in a `check` step, while the connection is open"),
        ))
    }

    /// The details of a connection that was established; `None` if its step has errors.
    pub fn live_or_closed<'a>(&'a self, reader: &Reader, place: Place) -> Read<Option<&'a ConnectionDetails>> {
        let Some(details) = &self.details else { return Ok(None) };
        if let ConnectionOutcome::Error(errno) = &details.outcome {
            return Err(reader.report(
                Diagnostic::new(place, format!("the connection `{}` never exists", self.name))
                    .context(self.place, format!("connect() must fail with {errno}")),
            ));
        }
        Ok(Some(details))
    }

    /// The details of a connection that is established now.
    pub fn live<'a>(&'a self, reader: &Reader, place: Place) -> Read<Option<&'a ConnectionDetails>> {
        let details = self.live_or_closed(reader, place)?;
        if let Some(closed) = self.closed {
            return Err(reader.report(
                Diagnostic::new(place, format!("the connection `{}` is already closed", self.name))
                    .context(closed, "closed here"),
            ));
        }
        Ok(details)
    }

    /// The same for a connection on which MPTCP is used.
    pub fn live_mptcp<'a>(&'a self, reader: &Reader, place: Place) -> Read<Option<&'a ConnectionDetails>> {
        let details = self.live(reader, place)?;
        match details {
            Some(details) if details.outcome == ConnectionOutcome::Tcp => Err(reader.report(
                Diagnostic::new(place, format!("`{}` is a plain TCP connection: it has no subflows", self.name))
                    .context(self.place, "its outcome is `tcp`"),
            )),
            _ => Ok(details),
        }
    }

    /// The side that a word means: a namespace of the connection first, then `client` and `server`.
    pub fn side(&self, reader: &Reader, word: &str, place: Place) -> Read<Side> {
        let plain = match word {
            "client" => Some(Side::Client),
            "server" => Some(Side::Server),
            _ => None,
        };
        let Some(details) = &self.details else {
            // Which namespaces it has is not known: nothing can be said against the word.
            return Ok(plain.unwrap_or(Side::Client));
        };
        let (client, server) = (word == details.client, word == details.server);
        match (client, server, plain) {
            (true, false, _) => Ok(Side::Client),
            (false, true, _) => Ok(Side::Server),
            (_, _, Some(side)) => Ok(side),
            (true, true, None) => Err(reader.report(
                Diagnostic::new(place, format!("both sides of `{}` are in `{word}`", self.name))
                    .help("`client` or `server`"),
            )),
            (false, false, None) => Err(reader.report(
                Diagnostic::new(place, format!("`{word}` is not a side of the connection `{}`", self.name))
                    .help(format!("`client` (in `{}`) or `server` (in `{}`)", details.client, details.server)),
            )),
        }
    }

    /// The namespace of a side, if the connection is known well enough.
    pub fn namespace_is_side(&self, reader: &Reader, namespace: &str, place: Place) -> Read<()> {
        let Some(details) = &self.details else { return Ok(()) };
        if details.client == namespace || details.server == namespace {
            return Ok(());
        }
        Err(reader.report(
            Diagnostic::new(place, format!("the connection `{}` has no side in `{namespace}`", self.name))
                .context(self.place, format!("from `{}` to `{}`", details.client, details.server)),
        ))
    }
}

/// Notes an unknown name.
pub fn unknown(reader: &Reader, place: Place, message: String, help: Option<String>) -> super::Reported {
    reader.report(Diagnostic::new(place, message).maybe_help(help))
}
