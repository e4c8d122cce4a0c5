//! How steps, calls, connections and transfers ended, in words.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::mptcp::{Side, TCP_ESTABLISHED, tcp_state_word};
use crate::recording::{
    Awaited, CallEnd, Calls, Contradiction, EndStatus, Got, Integrity, LostWhat, Progress, Seen, SocketCall,
    StepOutcome, SubflowSeen, Unread,
};
use crate::text;

/// How the bytes of a transfer arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Arrived {
    pub(super) bytes: u64,
    pub(super) corrupt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_corrupt: Option<u64>,
}

/// The protocol that a side of a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Protocol {
    Mptcp,
    /// Plain TCP from the start.
    Tcp,
    /// An MPTCP socket that fell back.
    Fallback,
    /// A socket that is plain TCP, but wasn't at first.
    TcpLater,
}

/// The protocols of a connection's sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Protocols {
    pub(super) client: Protocol,
    pub(super) server: Protocol,
}

/// How a step ended.
pub(crate) fn outcome_words(outcome: &StepOutcome) -> String {
    match outcome {
        StepOutcome::Done => "done".to_owned(),
        StepOutcome::Refused { error, message } => {
            let mut text = format!("refused with {error}");
            if let Some(message) = message {
                _ = write!(text, ": {message}");
            }
            text
        }
        StepOutcome::Contradicted(contradiction) => contradiction_words(contradiction),
        StepOutcome::Application(end) => call_words(end),
        StepOutcome::ProgramEnded { program, status } => ended_words(program, status),
        StepOutcome::TimedOut(timeout) => {
            let after = after_words(timeout.after);
            format!("timed out{after} waiting for {}", wait_words(&timeout.conditions, &timeout.seen))
        }
        StepOutcome::NotQuiet { seen, after } => {
            format!("timed out{} waiting for quiet; last seen: {}", after_words(*after), last_words(seen.as_ref()))
        }
        StepOutcome::Failed { message } => message.clone(),
    }
}

/// The same, next to what was waited for.
pub(crate) fn brief_outcome_words(outcome: &StepOutcome) -> String {
    match outcome {
        StepOutcome::TimedOut(timeout) => format!("timed out: {}", all_seen_words(&timeout.conditions, &timeout.seen)),
        StepOutcome::NotQuiet { seen, .. } => format!("not quiet: {}", last_words(seen.as_ref())),
        StepOutcome::Done
        | StepOutcome::Refused { .. }
        | StepOutcome::Contradicted(_)
        | StepOutcome::Application(_)
        | StepOutcome::ProgramEnded { .. }
        | StepOutcome::Failed { .. } => outcome_words(outcome),
    }
}

fn after_words(after: Option<u64>) -> String {
    after.map(|after| format!(" after {}", text::duration(Duration::from_nanos(after)))).unwrap_or_default()
}

/// `3 subflows on both sides of `main`; the client has 2: …`: fits after "waiting for".
pub(crate) fn wait_words(conditions: &[Awaited], seen: &[Seen]) -> String {
    let wanted: Vec<String> = conditions.iter().map(awaited_words).collect();
    format!("{}; {}", wanted.join(" and "), all_seen_words(conditions, seen))
}

fn all_seen_words(conditions: &[Awaited], seen: &[Seen]) -> String {
    let words = seen.iter().map(|seen| match (seen, conditions) {
        (Seen::Nothing, [Awaited::Accept { .. }]) => "no connection is there".to_owned(),
        (Seen::Nothing, [Awaited::Connect { .. }]) => "it is still in progress".to_owned(),
        (Seen::Nothing, [Awaited::EndOfStream { .. }]) => "it has not".to_owned(),
        (seen, _) => seen_words(seen),
    });
    words.collect::<Vec<_>>().join("; ")
}

fn last_words(seen: Option<&Seen>) -> String {
    seen.map(seen_words).unwrap_or_default()
}

/// What was waited for: fits after "waiting for".
fn awaited_words(awaited: &Awaited) -> String {
    match awaited {
        Awaited::Events { namespace, pattern, count } => {
            format!("{} {pattern} in {namespace}", text::count(*count as u64, "event"))
        }
        Awaited::Counter { namespace, name, at_least } => format!("{name} of {namespace} to increase by {at_least}"),
        Awaited::Subflows { connection, count } => {
            format!("{} on both sides of `{connection}`", text::count(*count as u64, "subflow"))
        }
        Awaited::Subflow { connection, side, pattern, present } => {
            let verb = if *present { "to have a subflow" } else { "to have no subflow" };
            let pattern = if pattern.is_empty() { String::new() } else { format!(" with {pattern}") };
            format!("the {} side of `{connection}` {verb}{pattern}", side.word())
        }
        Awaited::Endpoint { namespace, address, flags, present } => {
            let verb = if *present { "to have an endpoint" } else { "to have no endpoint" };
            let flags =
                flags.map(|flags| if flags.is_empty() { "without flags".to_owned() } else { flags.to_string() });
            let flags = flags.map(|flags| format!(" {flags}")).unwrap_or_default();
            format!("{namespace} {verb} {address}{flags}")
        }
        Awaited::Transferred { connection, sender, bytes } => {
            format!("{} from the {} of `{connection}`", text::size(*bytes), sender.word())
        }
        Awaited::Queue { connection, side, name, count } => {
            format!("the {}'s socket of `{connection}` to have {name} bytes: {count}", side.word())
        }
        Awaited::Sockets { namespace, name, count } => format!("{namespace} to have sockets: {name} {count}"),
        Awaited::Rule { link, rule, matched } => {
            format!("the rule {rule} of {link} to match {}", text::count(*matched, "segment"))
        }
        Awaited::Segments { sender, pattern, count } => {
            format!("{} with {pattern} sent by {sender}", text::count(*count as u64, "segment"))
        }
        Awaited::Connect { connection, address } => format!("connect() of `{connection}` to {address}"),
        Awaited::Accept { connection } => format!("accept() of `{connection}`"),
        Awaited::EndOfTransfer { connection } => format!("the transfer on `{connection}` to end"),
        Awaited::EndOfStream { connection } => format!("the peer to read the end of stream of `{connection}`"),
        Awaited::RemoveAddr { namespace, id } => {
            format!("the peers to process the REMOVE_ADDR of endpoint {id} of {namespace}")
        }
        Awaited::ProgramReady { program, condition } => format!("{program} to be ready: {condition}"),
        Awaited::EndOfProgram { program } => format!("{program} to end"),
        Awaited::Output { program, contains, count } => {
            format!("{program} to write {} with “{contains}”", text::count(*count as u64, "line"))
        }
        Awaited::EndOfStep => "the step to end".to_owned(),
        Awaited::Words { text } => text.clone(),
    }
}

/// What was there instead: a sentence without a full stop.
fn seen_words(seen: &Seen) -> String {
    match seen {
        Seen::Events { namespace, count } => format!("{namespace} has seen {count}"),
        Seen::Counter { moved } => format!("it increased by {moved}"),
        Seen::Subflows { side, established: Some(count), subflows } => {
            format!("the {} has {count}: {}", side.word(), list(subflows))
        }
        Seen::Subflows { side, established: None, subflows } => format!("the {} has {}", side.word(), list(subflows)),
        Seen::NoConnection { connection } => format!("no program has made `{connection}` yet"),
        Seen::Endpoints { namespace, endpoints } => {
            let shown: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
            format!("{namespace} has {}", if shown.is_empty() { "none".to_owned() } else { shown.join(", ") })
        }
        Seen::Transferred { bytes } => format!("{} arrived", text::count(*bytes, "byte")),
        Seen::Sockets { count } | Seen::Queue { count } => format!("it has {count}"),
        Seen::Rule { matched } => format!("it matched {}", text::count(*matched, "segment")),
        Seen::Segments { sender, count } => format!("{sender} sent {count}"),
        Seen::Transfer { client, server } => {
            format!("{}; {}", progress_words(client, Side::Client), progress_words(server, Side::Server))
        }
        Seen::RemoveAddr { processed, sent } => format!("{processed} of {sent} Address IDs are processed"),
        Seen::Output { count } => format!("it wrote {count}"),
        Seen::Event { namespace, kind } => format!("event {} in {namespace}", kind.word()),
        Seen::Segment { namespace, source, destination } => {
            format!("a segment from {source} to {destination} at {namespace}")
        }
        Seen::Path { link, sender } => format!("the path of {link} handling a packet from {sender}"),
        Seen::InFlight { link } => format!("a packet in flight on {link}"),
        Seen::Nothing => "it is still running".to_owned(),
        Seen::Words { text } => text.clone(),
    }
}

fn list(subflows: &[SubflowSeen]) -> String {
    let one = |subflow: &SubflowSeen| {
        let ends = format!("{} → {}", text::socket(subflow.local), text::socket(subflow.remote));
        match subflow.tcp_state {
            TCP_ESTABLISHED => ends,
            state => format!("{ends} ({})", tcp_state_word(state)),
        }
    };
    let each: Vec<String> = subflows.iter().map(one).collect();
    if each.is_empty() { "none".to_owned() } else { each.join(", ") }
}

/// `the client sent 70 bytes, 42 received (28 unread in the socket of the server, which poll() does not report)`
fn progress_words(progress: &Progress, sender: Side) -> String {
    let waiting = progress.unread.map(|Unread { bytes, readable }| {
        let polled = if readable { "which poll() reports" } else { "which poll() does not report" };
        format!(" ({bytes} unread in the socket of the {}, {polled})", sender.other().word())
    });
    let (sent, waiting) = (text::count(progress.sent, "byte"), waiting.unwrap_or_default());
    format!("the {} sent {sent}, {} received{waiting}", sender.word(), progress.received)
}

/// `delete endpoint 5 in server: the kernel answered with an ACK, but it shows …`
pub(crate) fn contradiction_words(contradiction: &Contradiction) -> String {
    let Contradiction { asked, answered, shown } = contradiction;
    format!("{asked}: the kernel answered with {answered}, but {}", shown.join("; "))
}

/// `web ended with exit status 1`
pub(crate) fn ended_words(program: &str, status: &EndStatus) -> String {
    match status {
        EndStatus::Exit(status) => format!("{program} ended with exit status {status}"),
        EndStatus::Signal(signal) => format!("{program} was killed by {signal}"),
    }
}

/// `the server's read() on main failed with ECONNRESET after 4096 bytes`
pub(crate) fn call_words(end: &CallEnd) -> String {
    let CallEnd { connection, side, call, got, bytes } = end;
    let got = match got {
        Got::EndOfStream => "returned the end of the stream".to_owned(),
        Got::Bytes(count) => format!("returned {} that no transfer sends", text::count(*count, "byte")),
        Got::Error(symbol) if *call == SocketCall::SocketError => format!("returned {symbol}"),
        Got::Error(symbol) => format!("failed with {symbol}"),
    };
    let call = call_word(*call);
    let after = if *bytes > 0 { format!(" after {}", text::count(*bytes, "byte")) } else { String::new() };
    format!("the {}'s {call} on {connection} {got}{after}", side.word())
}

/// `the server's read() on main: 1 byte, TCP_INQ 999`
pub(crate) fn calls_words(calls: &Calls) -> String {
    let Calls { connection, side, call, bytes, wrong, inq, end, .. } = calls;
    let wrong = if *wrong > 0 { format!(", {} of them wrong", text::count(*wrong, "byte")) } else { String::new() };
    let inq = inq.map(|left| format!(", TCP_INQ {left}")).unwrap_or_default();
    let end = match end.as_ref().map(|end| &end.got) {
        None => String::new(),
        Some(Got::EndOfStream) => ", then the end of the stream".to_owned(),
        Some(Got::Bytes(count)) => format!(", then {}", text::count(*count, "byte")),
        Some(Got::Error(symbol)) => format!(", then {symbol}"),
    };
    let bytes = match (call, &calls.end) {
        (SocketCall::Shutdown, None) => "done".to_owned(),
        (SocketCall::Shutdown, Some(end)) => return call_words(end),
        _ => text::count(*bytes, "byte"),
    };
    format!("the {}'s {} on {connection}: {bytes}{wrong}{inq}{end}", side.word(), call_word(*call))
}

fn call_word(call: SocketCall) -> &'static str {
    match call {
        SocketCall::Connect => "connect()",
        SocketCall::Accept => "accept()",
        SocketCall::Read => "read()",
        SocketCall::Peek => "recv(MSG_PEEK)",
        SocketCall::Write => "write()",
        SocketCall::Shutdown => "shutdown()",
        SocketCall::Disconnect => "connect(AF_UNSPEC)",
        SocketCall::SocketError => "getsockopt(SO_ERROR)",
    }
}

/// What a close needs of the peer: fits after "expected".
pub(super) fn needed_words(needed: &Got) -> String {
    match needed {
        Got::EndOfStream => "the end of the stream".to_owned(),
        Got::Bytes(count) => text::count(*count, "byte"),
        Got::Error(symbol) => format!("the peer's read() to fail with {symbol}"),
    }
}

/// `each byte intact`: how the bytes of a transfer arrived.
pub(crate) fn integrity_words(integrity: &Integrity) -> String {
    match integrity {
        Integrity::Intact => "each byte intact".to_owned(),
        Integrity::Corrupt { first, count } => {
            format!("{} corrupted, the first at offset {first}", text::count(*count, "byte"))
        }
        Integrity::Short { expected } => format!("{} expected", text::size(*expected)),
    }
}

/// What differs in the bytes of a transfer: `2 bytes arrived corrupted, the first at offset 17; 1 tolerated`.
pub(super) fn arrival_words(wanted: u64, tolerated: u64, arrived: &Arrived) -> String {
    match *arrived {
        Arrived { corrupt, first_corrupt: Some(first), .. } if corrupt > tolerated => {
            let bytes = text::count(corrupt, "byte");
            format!("{bytes} arrived corrupted, the first at offset {first}; {tolerated} tolerated")
        }
        Arrived { bytes, .. } if bytes < wanted => format!("only {bytes} of {wanted} bytes arrived"),
        Arrived { bytes, .. } => format!("expected {wanted} bytes, {bytes} arrived"),
    }
}

/// Why a connection isn't MPTCP: fits after "expected MPTCP, but".
pub(super) fn protocol_words(side: Side, protocol: Protocol) -> String {
    let what = match protocol {
        Protocol::Mptcp => "uses MPTCP",
        Protocol::Tcp => "uses plain TCP from the start",
        Protocol::Fallback => "fell back to TCP",
        Protocol::TcpLater => "has a plain TCP socket now",
    };
    format!("the {}'s side {what}", side.word())
}

/// `3 packets`: what is missing in a recording.
pub(crate) fn lost_words(what: LostWhat, count: Option<u64>) -> String {
    let what = match what {
        LostWhat::Events => "events",
        LostWhat::Packets
        | LostWhat::Forwarding
        | LostWhat::Backlog
        | LostWhat::Sending
        | LostWhat::Unreadable
        | LostWhat::Room => "packets",
    };
    count.map_or_else(|| what.to_owned(), |count| format!("{count} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_says_what_was_waited_for_and_what_was_there() {
        let subflow = |port: u16, tcp_state| SubflowSeen {
            local: ([10, 0, 1, 2], port).into(),
            remote: ([10, 0, 1, 1], 8080).into(),
            tcp_state,
        };
        let subflows = vec![subflow(40_000, TCP_ESTABLISHED), subflow(40_001, 2)];
        let seen = Seen::Subflows { side: Side::Client, established: Some(1), subflows };
        let conditions = vec![Awaited::Subflows { connection: "main".to_owned(), count: 3 }];
        let outcome = StepOutcome::timed_out(conditions, vec![seen], Duration::from_millis(300));
        insta::assert_snapshot!(
            outcome_words(&outcome),
            @"timed out after 300 ms waiting for 3 subflows on both sides of `main`; the client has 1: 10.0.1.2:40000 → 10.0.1.1:8080, 10.0.1.2:40001 → 10.0.1.1:8080 (SYN-SENT)"
        );
        insta::assert_snapshot!(
            brief_outcome_words(&outcome),
            @"timed out: the client has 1: 10.0.1.2:40000 → 10.0.1.1:8080, 10.0.1.2:40001 → 10.0.1.1:8080 (SYN-SENT)"
        );
    }

    #[test]
    fn each_thing_that_can_be_waited_for_has_words() {
        let name = || "main".to_owned();
        let progress = |unread| Progress { sent: 70, received: 42, unread };
        let (client, server) = (progress(Some(Unread { bytes: 28, readable: false })), progress(None));
        let waits = [
            (
                Awaited::Connect { connection: name(), address: ([10, 0, 1, 1], 8080).into() },
                Seen::Nothing,
                "connect() of `main` to 10.0.1.1:8080; it is still in progress",
            ),
            (
                Awaited::EndOfTransfer { connection: name() },
                Seen::Transfer { client, server },
                "the transfer on `main` to end; the client sent 70 bytes, 42 received (28 unread in the socket of the \
                 server, which poll() does not report); the server sent 70 bytes, 42 received",
            ),
            (
                Awaited::EndOfStream { connection: name() },
                Seen::Nothing,
                "the peer to read the end of stream of `main`; it has not",
            ),
            (Awaited::EndOfStep, Seen::Nothing, "the step to end; it is still running"),
            (
                Awaited::RemoveAddr { namespace: "client".to_owned(), id: 5 },
                Seen::RemoveAddr { processed: 1, sent: 2 },
                "the peers to process the REMOVE_ADDR of endpoint 5 of client; 1 of 2 Address IDs are processed",
            ),
            (
                Awaited::Subflow {
                    connection: name(),
                    side: Side::Server,
                    pattern: "backup true".to_owned(),
                    present: false,
                },
                Seen::Subflows { side: Side::Server, established: None, subflows: Vec::new() },
                "the server side of `main` to have no subflow with backup true; the server has none",
            ),
        ];
        for (awaited, seen, expected) in waits {
            assert_eq!(wait_words(&[awaited], &[seen]), expected);
        }
    }

    #[test]
    fn arrivals_and_protocols_are_told() {
        let arrived = |bytes, corrupt: u64| Arrived { bytes, corrupt, first_corrupt: (corrupt > 0).then_some(17) };
        for (wanted, arrived, expected) in [
            (9, arrived(9, 2), "2 bytes arrived corrupted, the first at offset 17; 1 tolerated"),
            (9, arrived(8, 1), "only 8 of 9 bytes arrived"),
            (9, arrived(10, 0), "expected 9 bytes, 10 arrived"),
        ] {
            assert_eq!(arrival_words(wanted, 1, &arrived), expected);
        }
        for (protocol, expected) in [
            (Protocol::Mptcp, "uses MPTCP"),
            (Protocol::Tcp, "uses plain TCP from the start"),
            (Protocol::Fallback, "fell back to TCP"),
            (Protocol::TcpLater, "has a plain TCP socket now"),
        ] {
            assert_eq!(protocol_words(Side::Server, protocol), format!("the server's side {expected}"));
        }
    }

    #[test]
    fn calls_and_contradictions_are_told() {
        let end = |call, got, bytes| CallEnd { connection: "main".to_owned(), side: Side::Server, call, got, bytes };
        for (end, expected) in [
            (
                end(SocketCall::Read, Got::Error("ECONNRESET".to_owned()), 7),
                "read() on main failed with ECONNRESET after 7 bytes",
            ),
            (end(SocketCall::Read, Got::EndOfStream, 0), "read() on main returned the end of the stream"),
            (end(SocketCall::Read, Got::Bytes(2), 0), "read() on main returned 2 bytes that no transfer sends"),
            (end(SocketCall::Accept, Got::Error("EMFILE".to_owned()), 0), "accept() on main failed with EMFILE"),
            (
                end(SocketCall::SocketError, Got::Error("EPIPE".to_owned()), 0),
                "getsockopt(SO_ERROR) on main returned EPIPE",
            ),
        ] {
            assert_eq!(call_words(&end), format!("the server's {expected}"));
        }
        let shown = vec!["it shows `10.0.2.1 id 5 signal`".to_owned()];
        let asked = "delete endpoint 5 in server".to_owned();
        insta::assert_snapshot!(
            contradiction_words(&Contradiction { asked, answered: "an ACK".to_owned(), shown }),
            @"delete endpoint 5 in server: the kernel answered with an ACK, but it shows `10.0.2.1 id 5 signal`"
        );
    }
}
