//! What is on the wire instead of a connection that no program has made.

use std::net::SocketAddr;

use crate::judge::names::Names;
use crate::recording::{Direction, Observation};
use crate::scenario::model::ProgramConnection;
use crate::text;
use crate::wire::{Segment, TcpFlags};

/// A client tries to connect to the port.
struct Attempt {
    client: SocketAddr,
    server: SocketAddr,
    syns: u64,
    capable: bool,
    answer: Answer,
}

/// The first answer to a SYN.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    Reset,
    /// SYN/ACK, with or without MP_CAPABLE.
    Accepted(bool),
}

/// What was seen instead of a connection, in words.
pub(super) fn instead(names: &Names<'_>, wanted: &ProgramConnection) -> String {
    let ProgramConnection { client, port, nth, .. } = wanted;
    let attempts = attempts(names, wanted);
    let Some(nth) = usize::try_from(*nth).ok().and_then(|nth| nth.checked_sub(1)) else { return String::new() };
    let Some(attempt) = attempts.get(nth) else {
        let to = wanted.address.map_or_else(
            || format!("port {port} of {}", wanted.server),
            |address| text::socket(SocketAddr::new(address, *port)).to_string(),
        );
        return match attempts.len() {
            0 => format!("it was never made: {client} sent no SYN to {to}"),
            count => {
                format!("it was never made: {client} opened only {} to {to}", text::count(count as u64, "connection"))
            }
        };
    };
    let ends = format!("{} → {}", text::socket(attempt.client), text::socket(attempt.server));
    let with = if attempt.capable { "with MP_CAPABLE" } else { "without MP_CAPABLE" };
    let syns = text::count(attempt.syns, "SYN");
    match attempt.answer {
        Answer::None => format!("it was never made: {client} sent {syns} {with}, {ends}, and got no answer"),
        Answer::Reset => format!("it was never made: {client} sent {syns} {with}, {ends}, and got a RST"),
        Answer::Accepted(true) => {
            format!("it was never made: the SYN/ACK with MP_CAPABLE came, {ends}, but no event tells of a connection")
        }
        Answer::Accepted(false) => {
            format!(
                "it was never made: the SYN/ACK came without MP_CAPABLE, {ends}, but the client did not acknowledge it"
            )
        }
    }
}

/// All attempts to connect to that port, in their order.
fn attempts(names: &Names<'_>, wanted: &ProgramConnection) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for entry in &names.recording().entries {
        let Observation::Packet { namespace, direction, segment, .. } = &entry.what else { continue };
        if *namespace != wanted.client {
            continue;
        }
        let has = |flags: TcpFlags| segment.flags.contains(flags);
        let (is_syn, is_ack) = (has(TcpFlags::SYN), has(TcpFlags::ACK));
        if *direction == Direction::Out && is_syn && !is_ack && is_wanted(names, wanted, segment) {
            let capable = segment.has_mp_capable();
            match known(&mut attempts, segment.source, segment.destination) {
                Some(attempt) => attempt.syns = attempt.syns.saturating_add(1),
                None => attempts.push(Attempt {
                    client: segment.source,
                    server: segment.destination,
                    syns: 1,
                    capable,
                    answer: Answer::None,
                }),
            }
        } else if *direction == Direction::In
            && let Some(attempt) = known(&mut attempts, segment.destination, segment.source)
            && attempt.answer == Answer::None
        {
            attempt.answer = match (is_syn && is_ack, has(TcpFlags::RST)) {
                (true, _) => Answer::Accepted(segment.has_mp_capable()),
                (false, true) => Answer::Reset,
                (false, false) => Answer::None,
            };
        }
    }
    attempts
}

fn is_wanted(names: &Names<'_>, wanted: &ProgramConnection, segment: &Segment) -> bool {
    let to = segment.destination;
    let is_server = match wanted.address {
        Some(address) => address.to_canonical() == to.ip().to_canonical(),
        None => names.owner(to.ip()) == Some(wanted.server.as_str()),
    };
    to.port() == wanted.port && is_server && !segment.has_mp_join_syn()
}

fn known(attempts: &mut [Attempt], client: SocketAddr, server: SocketAddr) -> Option<&mut Attempt> {
    attempts.iter_mut().rev().find(|attempt| attempt.client == client && attempt.server == server)
}
