//! Events and sockets of one host to connections: an event carries the host's own token of its connection, and so does
//! a subflow in `ss`.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::seen::{Connection, Happening, Outcome, Pair, Seen, Socket};
use crate::mptcp::{EventKind, PmEvent, Side, canonical};
use crate::text;

/// The first port that the kernel chooses by itself (`net.ipv4.ip_local_port_range`).
const FIRST_EPHEMERAL: u16 = 32768;

/// Fills in the connections of a text report.
pub(super) fn connect(seen: &mut Seen) {
    let events = std::mem::take(&mut seen.events);
    for event in &events {
        if let (EventKind::ListenerCreated, Some(port)) = (event.kind, event.local_port) {
            seen.listening.insert(port);
        }
    }
    let mut tokens = HashMap::new();
    let (mut unknown, mut strays, mut loose) = (0_u64, 0_u64, 0_u64);
    for event in events {
        match event.kind {
            EventKind::ListenerCreated | EventKind::ListenerClosed => continue,
            EventKind::Unknown(_) => {
                unknown += 1;
                continue;
            }
            _ => {}
        }
        let Some(token) = event.token else {
            strays += 1;
            continue;
        };
        let known = tokens.get(&token).copied().filter(|_| event.kind != EventKind::Created);
        let Some(connection) = known.or_else(|| begin(seen, &event)) else {
            loose += 1;
            continue;
        };
        if event.kind == EventKind::Closed {
            tokens.remove(&token);
        } else {
            tokens.insert(token, connection);
        }
        let Some(side) = seen.connections.get(connection).and_then(|it| it.here) else { continue };
        seen.happenings.push(Happening { connection, side, event });
    }
    for (count, what) in [
        (unknown, "that this version of `ip` doesn't know (`UNKNOWN`)"),
        (strays, "without a token"),
        (loose, "of connections that began before the log, without an address"),
    ] {
        if count > 0 {
            seen.open.push(format!("{} {what}: left out", text::count(count, "event")));
        }
    }
    from_sockets(seen, &tokens);
}

/// The connection that begins with an event, or of which this is the first event in the log.
fn begin(seen: &mut Seen, event: &PmEvent) -> Option<usize> {
    let (local, remote) = (canonical(event.local?), canonical(event.remote?));
    let (local_port, remote_port) = (event.local_port.unwrap_or(0), event.remote_port.unwrap_or(0));
    let here = if event.server_side || is_server(seen, local_port, remote_port) { Side::Server } else { Side::Client };
    let mut connection = match here {
        Side::Client => Connection::new(local, SocketAddr::new(remote, remote_port)),
        Side::Server => Connection::new(remote, SocketAddr::new(local, local_port)),
    };
    connection.here = Some(here);
    connection.from_start = event.kind == EventKind::Created;
    seen.connections.push(connection);
    let index = seen.connections.len() - 1;
    if event.kind != EventKind::Created {
        // What the log doesn't have, so that the rest can be drafted.
        let missing = [EventKind::Created, EventKind::Established];
        let missing = missing.into_iter().filter(|kind| event.kind != *kind).map(|kind| PmEvent {
            local_id: Some(0),
            remote_id: Some(0),
            backup: None,
            error: None,
            dev: None,
            ..PmEvent { kind, ..event.clone() }
        });
        let happenings = missing.map(|event| Happening { connection: index, side: here, event });
        seen.happenings.extend(happenings);
    }
    Some(index)
}

/// Before Linux 5.19, and in `ss`, nothing says which side this is: ports tell.
fn is_server(seen: &Seen, local: u16, remote: u16) -> bool {
    seen.listening.contains(&local) || (local < FIRST_EPHEMERAL && remote >= FIRST_EPHEMERAL)
}

/// Connections that are only known by their sockets; what sockets tell about the others.
fn from_sockets(seen: &mut Seen, tokens: &HashMap<u32, usize>) {
    let sockets = std::mem::take(&mut seen.sockets);
    let subflows = std::mem::take(&mut seen.subflows);
    let mut of_tokens: HashMap<u32, usize> = tokens.clone();
    for (pair, socket) in &sockets {
        let known = socket.token.and_then(|token| of_tokens.get(&token)).copied();
        match known.and_then(|index| seen.connections.get_mut(index)) {
            Some(connection) => connection.info.clone_from(&socket.info),
            None if pair.1.port() == 0 && pair.1.ip().is_unspecified() => {}
            None => {
                let is_client = subflows.get(pair).map(|subflow| subflow.flags.contains('m'));
                let index = opened(seen, *pair, socket, is_client);
                of_tokens.extend(socket.token.map(|token| (token, index)));
            }
        }
    }
    for (pair, subflow) in &subflows {
        let known = of_tokens.get(&subflow.local_token).copied();
        let index = match known {
            Some(index) => index,
            // `ss -t` alone doesn't show the MPTCP socket: its initial subflow has the address ID 0 on both sides.
            None if subflow.flags.contains(['M', 'm']) => {
                let index = opened(seen, *pair, &Socket::default(), Some(subflow.flags.contains('m')));
                of_tokens.insert(subflow.local_token, index);
                index
            }
            None => continue,
        };
        let Some(connection) = seen.connections.get(index).filter(|it| it.state_only) else { continue };
        let Some(side) = connection.here.filter(|_| !subflow.flags.contains(['M', 'm'])) else { continue };
        let mut event = state_event(EventKind::SubEstablished, *pair);
        event.local_id = Some(subflow.local_id);
        event.remote_id = Some(subflow.remote_id);
        event.backup = Some(u8::from(subflow.flags.contains('B')));
        event.dev.clone_from(&subflow.dev);
        seen.happenings.push(Happening { connection: index, side, event });
    }
}

/// A connection of which a socket is seen.
fn opened(seen: &mut Seen, pair: Pair, socket: &Socket, is_client: Option<bool>) -> usize {
    let (local, remote) = pair;
    let is_server = is_client.map_or_else(|| is_server(seen, local.port(), remote.port()), |is_client| !is_client);
    let (here, client, server) = if is_server { (Side::Server, remote, local) } else { (Side::Client, local, remote) };
    let mut connection =
        Connection::new(canonical(client.ip()), SocketAddr::new(canonical(server.ip()), server.port()));
    connection.here = Some(here);
    connection.state_only = true;
    connection.info.clone_from(&socket.info);
    if socket.fallback {
        connection.outcome = Outcome::Tcp;
    }
    let bytes = |key| socket.info.get(key).copied().unwrap_or(0);
    let (sent, received) = (bytes("bytes_sent"), bytes("bytes_received"));
    connection.bytes = Some(if is_server { (received, sent) } else { (sent, received) });
    seen.connections.push(connection);
    let index = seen.connections.len() - 1;
    let created = Happening { connection: index, side: here, event: state_event(EventKind::Created, pair) };
    seen.happenings.push(created);
    index
}

fn state_event(kind: EventKind, (local, remote): Pair) -> PmEvent {
    let mut event = PmEvent::new(kind);
    event.local = Some(local.ip());
    event.local_port = Some(local.port());
    event.remote = Some(remote.ip());
    event.remote_port = Some(remote.port());
    event.local_id = Some(0);
    event.remote_id = Some(0);
    event
}
