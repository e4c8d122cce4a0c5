//! Segments and events in words.

use std::collections::HashMap;

use crate::judge::integrity_words;
use crate::mptcp::{EventKind, Limits, PmEvent};
use crate::pattern::EVENT_FIELDS;
use crate::recording::{Configured, Connection, Observation, Recording};
use crate::reference::Carried;
use crate::report::rates;
use crate::text;
use crate::wire::{MptcpOption, Segment, TcpFlags};

/// Whether a segment tells something by itself: it opens or resets a subflow, or carries an MPTCP option besides the
/// mapping and acknowledgment of data. What doesn't is counted only.
pub(super) fn is_signalling(segment: &Segment) -> bool {
    segment.malformed
        || segment.flags.intersects(TcpFlags::SYN | TcpFlags::RST)
        || segment.options.iter().any(is_signalling_option)
}

fn is_signalling_option(option: &MptcpOption) -> bool {
    match option {
        MptcpOption::Dss { data_fin, mapping, .. } => {
            *data_fin || mapping.as_ref().is_some_and(|mapping| mapping.length == 0)
        }
        _ => true,
    }
}

/// The TCP flags that matter and the MPTCP options, in the words of RFC 8684.
pub(super) fn segment_words(segment: &Segment) -> String {
    let options: Vec<String> = segment
        .options
        .iter()
        .filter(|option| is_signalling_option(option))
        .map(|option| match option {
            MptcpOption::Dss { data_fin: true, .. } => "DATA_FIN".to_owned(),
            MptcpOption::Dss { .. } => "DSS infinite mapping".to_owned(),
            other => other.to_string(),
        })
        .collect();
    // An MP_JOIN says itself on what it is.
    let says_flags = segment
        .options
        .iter()
        .any(|option| matches!(option, MptcpOption::MpJoinSyn { .. } | MptcpOption::MpJoinSynAck { .. }));
    let mut words: Vec<String> = Vec::new();
    if !says_flags {
        words.extend(flag_word(segment, options.is_empty()).map(str::to_owned));
    }
    if !options.is_empty() {
        words.push(options.join(", "));
    }
    if segment.flags.contains(TcpFlags::SYN) && segment.payload > 0 {
        words.push(format!("data {}", segment.payload));
    }
    if segment.malformed {
        words.push("malformed TCP options".to_owned());
    }
    words.join(" ")
}

fn flag_word(segment: &Segment, bare: bool) -> Option<&'static str> {
    let flags = segment.flags;
    let opens = flags.contains(TcpFlags::SYN);
    match (opens, flags.contains(TcpFlags::ACK), flags.contains(TcpFlags::RST)) {
        (_, _, true) => Some("RST"),
        (true, true, _) => Some(if bare { "SYN/ACK without MPTCP" } else { "SYN/ACK" }),
        (true, false, _) => Some(if bare { "SYN without MPTCP" } else { "SYN" }),
        _ if segment.has_mp_capable() => Some("ACK"),
        _ => None,
    }
}

/// `10.0.1.2:4000 → 10.0.1.1:8080`
pub(super) fn segment_path(segment: &Segment) -> String {
    format!("{} → {}", text::socket(segment.source), text::socket(segment.destination))
}

/// The connections by the tokens that namespaces know them by.
pub(super) struct Tokens<'a>(HashMap<(&'a str, u32), &'a str>);

impl<'a> Tokens<'a> {
    pub(super) fn of(recording: &'a Recording) -> Self {
        let mut tokens = HashMap::new();
        for connection in recording.connections() {
            let sides = [(&connection.client, connection.client_token), (&connection.server, connection.server_token)];
            for (namespace, token) in sides {
                if let Some(token) = token {
                    tokens.entry((namespace.as_str(), token)).or_insert(connection.name.as_str());
                }
            }
        }
        Self(tokens)
    }

    fn connection(&self, namespace: &str, token: u32) -> Option<&'a str> {
        self.0.get(&(namespace, token)).copied()
    }
}

/// An event with the name of its connection: `sub_established 10.0.2.2 → 10.0.1.1:8080, ids 1 → 0, on main`.
pub(super) fn event_words(tokens: &Tokens<'_>, namespace: &str, event: &PmEvent) -> String {
    let mut parts = vec![event_subject(event)];
    let ids = match (event.kind, event.local_id, event.remote_id) {
        (EventKind::SubEstablished | EventKind::SubClosed | EventKind::SubPriority, Some(local), Some(remote)) => {
            Some(format!("Address IDs {local} → {remote}"))
        }
        (EventKind::Announced | EventKind::Removed, _, Some(remote)) => Some(format!("Address ID {remote}")),
        _ => None,
    };
    parts.extend(ids);
    parts.extend(EVENT_FIELDS.iter().filter_map(|field| field.told(event.into())));
    if let Some(token) = event.token {
        parts.push(match tokens.connection(namespace, token) {
            Some(connection) => format!("connection {}", text::one_line(connection)),
            None => format!("token {token:#010x}"),
        });
    }
    parts.join(", ")
}

/// The word of the event with its addresses.
fn event_subject(event: &PmEvent) -> String {
    let socket = |address: Option<std::net::IpAddr>, port: Option<u16>| match (address, port) {
        (Some(address), Some(port)) if port != 0 => {
            Some(std::net::SocketAddr::new(address.to_canonical(), port).to_string())
        }
        (Some(address), _) => Some(address.to_canonical().to_string()),
        (None, _) => None,
    };
    let (local, remote) = (socket(event.local, event.local_port), socket(event.remote, event.remote_port));
    let addresses = match (local, remote) {
        (Some(local), Some(remote)) => format!(" {local} → {remote}"),
        (Some(one), None) | (None, Some(one)) => format!(" {one}"),
        (None, None) => String::new(),
    };
    format!("{}{addresses}", event.kind.word())
}

/// The result of a connect step.
pub(super) fn connected_words(connection: &Connection) -> String {
    let name = text::one_line(&connection.name);
    if connection.unaccepted {
        return format!("{name} was never accepted");
    }
    match (connection.client_token, connection.server_token) {
        (Some(_), Some(_)) => format!("{name} is connected, with MPTCP on both sides"),
        (None, None) => format!("{name} is connected, without MPTCP"),
        (Some(_), None) => format!("{name} is connected; the server uses plain TCP"),
        (None, Some(_)) => format!("{name} is connected; the client uses plain TCP"),
    }
}

/// What has changed in a namespace; `None`: nothing.
pub(super) fn configured_words(configured: &Configured) -> Option<String> {
    let mut news = Vec::new();
    if let Some(endpoints) = &configured.endpoints {
        let all: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        news.push(if all.is_empty() { "no endpoints".to_owned() } else { format!("endpoints {}", all.join(", ")) });
    }
    if let Some(Limits { subflows, add_addr_accepted }) = &configured.limits {
        news.push(format!("limits subflows {subflows}, add_addr_accepted {add_addr_accepted}"));
    }
    news.extend(configured.sysctls.iter().map(|(name, value)| format!("{name} {value}")));
    (!news.is_empty()).then(|| text::one_line(&format!("{} now has {}", configured.namespace, news.join("; "))))
}

/// The result of one direction of a transfer, and its rate.
pub(super) fn transferred_words(what: &Observation) -> Option<String> {
    let Observation::Transferred { connection, sender, bytes, integrity, .. } = what else { return None };
    let state = integrity_words(integrity);
    let rate = rates::transfer_rate(what).map_or_else(String::new, |rate| format!(" {}", rate.words()));
    let (size, sender) = (text::size(*bytes), sender.word());
    Some(format!("{size} from the {sender} of {} arrived{rate}: {state}", text::one_line(connection)))
}

/// The subflows that carried a transfer, if it was more than one: `; 10.0.1.2 → 10.0.1.1 carried 40 KiB, …`. They may have
/// carried more than the transfer: what is retransmitted counts each time.
pub(super) fn carried_words(carried: &[Carried<'_>]) -> String {
    if carried.len() < 2 {
        return String::new();
    }
    let each = carried.iter().map(|one| {
        let (local, remote) = (one.local.ip().to_canonical(), one.remote.ip().to_canonical());
        format!("{local} → {remote} by {} {}", text::one_line(one.device), text::size(one.bytes))
    });
    format!("; subflows: {}", each.collect::<Vec<_>>().join(", "))
}
