//! Steps of a draft, and how they are written.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::world::World;
use crate::mptcp::{Endpoint, Side};

/// A step.
#[derive(Debug)]
pub(super) enum Step {
    Connect {
        name: String,
        opener: Side,
        client: IpAddr,
        server: IpAddr,
        port: u16,
        outcome: Option<&'static str>,
    },
    Wait {
        subflows: Vec<(String, usize)>,
        events: Vec<String>,
    },
    Add {
        host: Side,
        endpoint: Endpoint,
    },
    Delete {
        host: Side,
        id: Option<u8>,
        address: IpAddr,
    },
    Change {
        host: Side,
        address: IpAddr,
        to: Vec<&'static str>,
    },
    Transfer {
        name: String,
        from_client: u64,
        from_server: u64,
    },
    Close {
        name: String,
        by: Side,
        abruptly: bool,
    },
    /// Something that happened for a reason that the report doesn't tell.
    Remark(String),
}

impl Step {
    /// Whether it deletes the same endpoint as another step: for address ID 0, the address of the initial subflow.
    pub(super) fn deletes(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Delete { host, id, address },
                Self::Delete { host: other_host, id: other_id, address: other_address },
            ) => (host, address) == (other_host, other_address) && (*id == Some(0)) == (*other_id == Some(0)),
            _ => false,
        }
    }

    /// Whether this endpoint asks for backup from this step on, if the step changes that.
    pub(super) fn changes(&self, of: Side, endpoint: IpAddr) -> Option<bool> {
        match self {
            Self::Change { host, address, to } if (*host, *address) == (of, endpoint) => Some(to.contains(&"backup")),
            _ => None,
        }
    }

    /// Its lines, without indentation.
    pub(super) fn lines(&self, world: &World) -> Vec<String> {
        let line = match self {
            Self::Connect { name, opener, client, server, port, outcome } => {
                let (from, to) = (opener.word(), opener.other().word());
                let mut keys = format!("name: {name}, from: {from}, to: {to}, address: {}", quoted(*server));
                if *port != super::seen::PORT {
                    _ = write!(keys, ", port: {port}");
                }
                if world.source_for(*opener, *server) != Some(*client) {
                    _ = write!(keys, ", source: {}", quoted(*client));
                }
                if let Some(outcome) = outcome {
                    _ = write!(keys, ", {outcome}");
                }
                format!("- connect: {{ {keys} }}")
            }
            Self::Wait { subflows, events } => return wait(subflows, events),
            Self::Add { host, endpoint } => {
                format!("- add_endpoint: {{ in: {}, {} }}", host.word(), endpoint_keys(*host, endpoint, world))
            }
            Self::Delete { host, id, address } => {
                let host = host.word();
                match id {
                    Some(0) => format!("- delete_endpoint: {{ in: {host}, id: 0, address: {} }}", quoted(*address)),
                    _ => format!("- delete_endpoint: {{ in: {host}, address: {} }}", quoted(*address)),
                }
            }
            Self::Change { host, address, to } => {
                let (host, to) = (host.word(), to.join(", "));
                format!("- change_endpoint: {{ in: {host}, address: {}, to: [{to}] }}", quoted(*address))
            }
            Self::Transfer { name, from_client, from_server } => {
                let amount =
                    |key: &str, bytes: &u64| (*bytes > 0).then(|| format!(", {key}: {}", crate::text::size(*bytes)));
                let amounts = [amount("from_client", from_client), amount("from_server", from_server)];
                let amounts: String = amounts.into_iter().flatten().collect();
                format!("- transfer: {{ connection: {name}{amounts}, timeout: 60 s }}")
            }
            Self::Close { name, by, abruptly } => {
                let how = if *abruptly { ", how: abrupt" } else { "" };
                format!("- close: {{ connection: {name}, by: {}{how} }}", by.word())
            }
            Self::Remark(text) => format!("# {text}"),
        };
        vec![line]
    }
}

fn wait(subflows: &[(String, usize)], events: &[String]) -> Vec<String> {
    let counts: Vec<String> = subflows.iter().map(|(name, count)| format!("{name}: {count}")).collect();
    let counts = format!("subflows: {{ {} }}", counts.join(", "));
    match (subflows.is_empty(), events) {
        (true, []) => Vec::new(),
        (false, []) => vec![format!("- wait: {{ {counts} }}")],
        (no_counts, events) => {
            let mut lines = vec!["- wait:".to_owned()];
            if !no_counts {
                lines.push(format!("    {counts}"));
            }
            lines.push("    events:".to_owned());
            lines.extend(events.iter().map(|event| format!("      - {{ {event} }}")));
            lines
        }
    }
}

/// An address as a YAML scalar that every reader takes for text.
pub(super) fn quoted(address: IpAddr) -> String {
    if address.is_ipv4() { address.to_string() } else { format!("\"{address}\"") }
}

/// The keys of an endpoint.
pub(super) fn endpoint_keys(host: Side, endpoint: &Endpoint, world: &World) -> String {
    let mut keys = format!("address: {}", quoted(endpoint.address));
    let flags: Vec<String> = endpoint.flags.words();
    if !flags.is_empty() {
        _ = write!(keys, ", flags: [{}]", flags.join(", "));
    }
    if let Some(id) = endpoint.id {
        _ = write!(keys, ", id: {id}");
    }
    if let Some(port) = endpoint.port {
        _ = write!(keys, ", port: {port}");
    }
    if let Some(dev) = endpoint.dev.as_ref().and_then(|dev| world.device(host, endpoint.address, dev)) {
        _ = write!(keys, ", dev: {dev}");
    }
    keys
}
