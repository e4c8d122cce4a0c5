//! The connections that have names: those of connect steps, and those of programs, which are recognised in what is
//! recorded. Main type: [`Known`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use indexmap::IndexMap;

use super::recorder::Recorder;
use crate::mptcp::{EventKind, PmEvent};
use crate::plan::{Plan, WantedConnection};
use crate::recording::{Connection, Direction, Entry, Observation};
use crate::text;
use crate::wire::{Segment, TcpFlags};

/// The most CREATED events that wait for the SYN of their connection.
const MOST_WAITING: usize = 1_000;

/// The connections that have names.
#[derive(Debug)]
pub(super) struct Known {
    connections: RefCell<IndexMap<String, Rc<Connection>>>,
    /// Hosts may give out the same token.
    by_token: RefCell<HashMap<u32, Vec<Rc<Connection>>>>,
    search: RefCell<Search>,
}

impl Known {
    /// None so far.
    pub(super) fn new(plan: &Plan) -> Self {
        let wanted = plan.connections.iter().map(|wanted| (wanted.clone(), false)).collect();
        let search = Search { wanted, translated: plan.translated.clone(), ..Search::default() };
        Self { connections: RefCell::default(), by_token: RefCell::default(), search: RefCell::new(search) }
    }

    /// Records a connection, and remembers its name and its tokens.
    fn add(&self, connection: Connection, recorder: &Recorder) {
        recorder.note(Observation::Connected { connection: Box::new(connection.clone()) });
        self.remember(connection);
    }

    /// Remembers the name and the tokens of a connection; of one that is accepted later, those of now.
    pub(super) fn remember(&self, connection: Connection) {
        let connection = Rc::new(connection);
        for token in tokens_of(&connection) {
            let mut by_token = self.by_token.borrow_mut();
            let known = by_token.entry(token).or_default();
            known.retain(|other| other.name != connection.name);
            known.push(Rc::clone(&connection));
        }
        self.connections.borrow_mut().insert(connection.name.clone(), connection);
    }

    /// The connection of that name. `None`: programs have not made it yet.
    pub(super) fn get(&self, name: &str) -> Result<Option<Rc<Connection>>, String> {
        let known = self.connections.borrow().get(name).cloned();
        match known {
            None if !self.search.borrow().wants(name) => Err(format!("there is no connection `{name}`")),
            known => Ok(known),
        }
    }

    /// The connections that programs have made.
    pub(super) fn of_programs(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().values().filter(|connection| connection.by_programs).cloned().collect()
    }

    /// The connection that has this token in that namespace.
    pub(super) fn with_token(&self, namespace: &str, token: u32) -> Option<Rc<Connection>> {
        let known = self.by_token.borrow();
        let has = |connection: &&Rc<Connection>| {
            (connection.client == namespace && connection.client_token == Some(token))
                || (connection.server == namespace && connection.server_token == Some(token))
        };
        known.get(&token)?.iter().find(has).cloned()
    }

    /// Looks for connections of programs in what was recorded since the last look. All observers must have recorded what
    /// was pending. `at_last`: what is still half known stays so.
    pub(super) fn look(&self, recorder: &Recorder, at_last: bool) {
        if self.search.borrow().has_all() {
            return;
        }
        let made = recorder.with_entries(|entries| self.search.borrow_mut().take(entries, at_last));
        for connection in made {
            self.add(connection, recorder);
        }
    }
}

/// The tokens of a connection. Both sides may have the same one, by chance.
pub(super) fn tokens_of(connection: &Connection) -> Vec<u32> {
    let mut tokens: Vec<u32> = [connection.client_token, connection.server_token].into_iter().flatten().collect();
    tokens.dedup();
    tokens
}

/// Recognises the connections of programs.
#[derive(Debug, Default)]
struct Search {
    /// Each with whether it was made.
    wanted: Vec<(WantedConnection, bool)>,
    /// The addresses that NATs on the way give to clients.
    translated: Vec<IpAddr>,
    /// How many entries were looked at.
    seen: usize,
    /// In the order of their SYNs.
    attempts: Vec<Attempt>,
    /// The last attempt between two ends, the client's first.
    by_ends: HashMap<(SocketAddr, SocketAddr), usize>,
    /// CREATED events whose SYN was not yet recorded, with their namespaces.
    waiting: Vec<(String, PmEvent)>,
}

/// A client connects to a port of which the scenario names connections.
#[derive(Debug)]
struct Attempt {
    namespace: String,
    ends: (SocketAddr, SocketAddr),
    /// The sequence number of its SYN; `None`: it crossed no interface that is captured.
    syn: Option<u32>,
    /// The SYN/ACK came, without MP_CAPABLE.
    is_plain: bool,
    /// The client has acknowledged such a SYN/ACK.
    is_tcp: bool,
    client_token: Option<u32>,
    server_token: Option<u32>,
}

impl Search {
    fn wants(&self, name: &str) -> bool {
        self.wanted.iter().any(|(wanted, _)| wanted.connection.name == name)
    }

    fn has_all(&self) -> bool {
        self.wanted.iter().all(|(_, made)| *made)
    }

    /// The connections that were made, by the entries from the last look on.
    fn take(&mut self, entries: &[Entry], at_last: bool) -> Vec<Connection> {
        let new = entries.get(self.seen..).unwrap_or_default();
        self.seen = entries.len();
        // Segments first: the SYNs say which connection is which.
        for entry in new {
            if let Observation::Packet { namespace, direction, segment, .. } = &entry.what {
                self.take_segment(namespace, *direction, segment);
            }
        }
        let mut events = std::mem::take(&mut self.waiting);
        events.extend(new.iter().filter_map(|entry| {
            pick!(&entry.what, Observation::Event { namespace, event } if event.kind == EventKind::Created
                => (namespace.clone(), event.as_ref().clone()))
        }));
        for (namespace, event) in events {
            if !self.take_event(&namespace, &event) && self.waiting.len() < MOST_WAITING {
                self.waiting.push((namespace, event));
            }
        }
        self.made(at_last)
    }

    fn take_segment(&mut self, namespace: &str, direction: Direction, segment: &Segment) {
        let has = |flags: TcpFlags| segment.flags.contains(flags);
        let (source, destination) = (text::socket(segment.source), text::socket(segment.destination));
        match (direction, has(TcpFlags::SYN), has(TcpFlags::ACK)) {
            (Direction::Out, true, false) => {
                let known = self.attempt(namespace, (source, destination));
                let is_again = known.is_some_and(|known| known.syn == Some(segment.sequence));
                if !segment.has_mp_join_syn() && !is_again && self.may_be(namespace, destination) {
                    self.begin(namespace, (source, destination), Some(segment.sequence));
                }
            }
            (Direction::In, true, true) => {
                if let Some(attempt) = self.attempt(namespace, (destination, source)) {
                    attempt.is_plain = !segment.has_mp_capable();
                }
            }
            (Direction::Out, false, true) if !has(TcpFlags::RST) => {
                if let Some(attempt) = self.attempt(namespace, (source, destination)) {
                    attempt.is_tcp |= attempt.is_plain;
                }
            }
            (Direction::Out | Direction::In, _, _) => {}
        }
    }

    /// Whether the event needs no further look.
    fn take_event(&mut self, namespace: &str, event: &PmEvent) -> bool {
        let (Some(local), Some(remote)) = (event.local, event.remote) else { return true };
        let (Some(local_port), Some(remote_port)) = (event.local_port, event.remote_port) else { return true };
        let local = text::socket(SocketAddr::new(local, local_port));
        let remote = text::socket(SocketAddr::new(remote, remote_port));
        if self.may_be(namespace, remote) {
            // Through the loopback interface, of which nothing is captured.
            if self.attempt(namespace, (local, remote)).is_none() {
                self.begin(namespace, (local, remote), None);
            }
            if let Some(attempt) = self.attempt(namespace, (local, remote)) {
                attempt.client_token = attempt.client_token.or(event.token);
            }
            return true;
        }
        if !self.wanted.iter().any(|(wanted, _)| wanted.connection.server == namespace) {
            return true;
        }
        let is_translated = self.translated.contains(&remote.ip());
        let index = self.by_ends.get(&(remote, local)).copied().or_else(|| {
            let fits = |attempt: &Attempt| attempt.ends.1 == local && attempt.server_token.is_none();
            self.attempts.iter().rposition(|attempt| is_translated && fits(attempt))
        });
        match index.and_then(|index| self.attempts.get_mut(index)) {
            Some(attempt) => attempt.server_token = attempt.server_token.or(event.token),
            None => return false,
        }
        true
    }

    fn may_be(&self, client: &str, server: SocketAddr) -> bool {
        self.wanted.iter().any(|(wanted, _)| wanted.may_be(client, server))
    }

    fn begin(&mut self, namespace: &str, ends: (SocketAddr, SocketAddr), syn: Option<u32>) {
        self.by_ends.insert(ends, self.attempts.len());
        self.attempts.push(Attempt {
            namespace: namespace.to_owned(),
            ends,
            syn,
            is_plain: false,
            is_tcp: false,
            client_token: None,
            server_token: None,
        });
    }

    fn attempt(&mut self, namespace: &str, ends: (SocketAddr, SocketAddr)) -> Option<&mut Attempt> {
        let index = *self.by_ends.get(&ends)?;
        self.attempts.get_mut(index).filter(|attempt| attempt.namespace == namespace)
    }

    fn made(&mut self, at_last: bool) -> Vec<Connection> {
        let mut made = Vec::new();
        for (wanted, is_made) in self.wanted.iter_mut().filter(|(_, is_made)| !is_made) {
            let connection = &wanted.connection;
            let mut candidates =
                self.attempts.iter().filter(|attempt| wanted.may_be(&attempt.namespace, attempt.ends.1));
            let nth = usize::try_from(connection.nth).unwrap_or(usize::MAX).saturating_sub(1);
            let Some(attempt) = candidates.nth(nth).filter(|attempt| attempt.is_complete(at_last)) else { continue };
            *is_made = true;
            made.push(Connection {
                name: connection.name.clone(),
                client: connection.client.clone(),
                server: connection.server.clone(),
                client_address: attempt.ends.0,
                server_address: attempt.ends.1,
                client_token: attempt.client_token,
                server_token: attempt.server_token,
                by_programs: true,
                unaccepted: false,
            });
        }
        made
    }
}

impl Attempt {
    /// The connection was made, and both sides are known; `at_last`: one side is enough. The server falls back without a
    /// CREATED if the third ACK has lost its MP_CAPABLE (`subflow_syn_recv_sock`, net/mptcp/subflow.c).
    fn is_complete(&self, at_last: bool) -> bool {
        let tokens = [self.client_token, self.server_token];
        self.is_tcp || tokens.iter().all(Option::is_some) || (at_last && tokens.iter().any(Option::is_some))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::model::{MadeProtocol, Place, ProgramConnection};
    use crate::wire::MptcpOption;

    fn wanted(name: &str, nth: u32) -> (WantedConnection, bool) {
        let connection = ProgramConnection {
            name: name.to_owned(),
            place: Place::default(),
            client: "client".to_owned(),
            server: "server".to_owned(),
            address: None,
            port: 80,
            nth,
            protocol: MadeProtocol::Mptcp,
        };
        (WantedConnection { connection, addresses: vec!["10.0.1.1".parse().unwrap()] }, false)
    }

    fn search(names: &[&str]) -> Search {
        Search { wanted: names.iter().zip(1..).map(|(name, nth)| wanted(name, nth)).collect(), ..Search::default() }
    }

    fn entry(what: Observation) -> Entry {
        Entry { at: 0, what }
    }

    /// A segment of the client's port, from or to the server's port 80.
    fn segment(direction: Direction, flags: TcpFlags, port: u16, options: Vec<MptcpOption>) -> Entry {
        let ends: [SocketAddr; 2] = [([10, 0, 1, 2], port).into(), ([10, 0, 1, 1], 80).into()];
        let [source, destination] = if direction == Direction::Out { ends } else { [ends[1], ends[0]] };
        let segment = Segment { sequence: port.into(), ..Segment::bare(source, destination, flags, options) };
        entry(Observation::Packet { namespace: "client".into(), device: "eth1".into(), direction, segment })
    }

    fn capable() -> Vec<MptcpOption> {
        let keys = (None, None);
        vec![MptcpOption::MpCapable {
            version: 1,
            flags: 1,
            sender_key: keys.0,
            receiver_key: keys.1,
            data_length: None,
            checksum: None,
        }]
    }

    fn syn(port: u16) -> Entry {
        segment(Direction::Out, TcpFlags::SYN, port, capable())
    }

    fn created(namespace: &str, token: u32, port: u16) -> Entry {
        let ends: [SocketAddr; 2] = [([10, 0, 1, 2], port).into(), ([10, 0, 1, 1], 80).into()];
        let [local, remote] = if namespace == "client" { ends } else { [ends[1], ends[0]] };
        let event = PmEvent {
            token: Some(token),
            local: Some(local.ip()),
            local_port: Some(local.port()),
            remote: Some(remote.ip()),
            remote_port: Some(remote.port()),
            ..PmEvent::new(EventKind::Created)
        };
        entry(Observation::Event { namespace: namespace.to_owned(), event: Box::new(event) })
    }

    fn tokens(made: &[Connection]) -> Vec<(&str, Option<u32>, Option<u32>)> {
        made.iter().map(|one| (one.name.as_str(), one.client_token, one.server_token)).collect()
    }

    #[test]
    fn connections_are_told_apart_by_the_order_of_their_syns() {
        let mut search = search(&["first", "second"]);
        let mut entries =
            vec![syn(4001), syn(4002), syn(4001), created("server", 12, 4002), created("client", 2, 4002)];
        assert_eq!(tokens(&search.take(&entries, false)), [("second", Some(2), Some(12))]);
        entries.extend([created("client", 1, 4001), created("server", 11, 4001)]);
        assert_eq!(tokens(&search.take(&entries, false)), [("first", Some(1), Some(11))]);
        assert!(search.has_all());
    }

    /// The server's events may be read before the client's SYN.
    #[test]
    fn an_event_waits_for_the_syn() {
        let mut search = search(&["web"]);
        let mut entries = vec![created("server", 11, 4001)];
        assert_eq!(tokens(&search.take(&entries, false)), []);
        entries.extend([syn(4001), created("client", 1, 4001)]);
        assert_eq!(tokens(&search.take(&entries, false)), [("web", Some(1), Some(11))]);
    }

    #[test]
    fn a_connection_without_mptcp_is_made_when_its_syn_ack_is_acknowledged() {
        let mut search = search(&["web"]);
        let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
        let mut entries = vec![syn(4001), segment(Direction::In, syn_ack, 4001, Vec::new())];
        assert_eq!(tokens(&search.take(&entries, true)), []);
        entries.push(segment(Direction::Out, TcpFlags::ACK, 4001, Vec::new()));
        assert_eq!(tokens(&search.take(&entries, false)), [("web", None, None)]);
    }

    #[test]
    fn one_side_is_enough_at_last() {
        let mut search = search(&["web"]);
        let entries = [syn(4001), created("client", 1, 4001)];
        assert_eq!(tokens(&search.take(&entries, false)), []);
        assert_eq!(tokens(&search.take(&entries, true)), [("web", Some(1), None)]);
    }

    #[test]
    fn joins_and_other_clients_are_no_connections() {
        let mut search = search(&["web"]);
        let join = MptcpOption::MpJoinSyn { backup: false, address_id: 1, token: 7, nonce: 7 };
        let mut other = syn(4002);
        if let Observation::Packet { namespace, .. } = &mut other.what {
            *namespace = "other".into();
        }
        search.take(&[segment(Direction::Out, TcpFlags::SYN, 4001, vec![join]), other], true);
        assert!(search.attempts.is_empty());
    }
}
