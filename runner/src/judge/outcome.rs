//! How steps and calls ended, in words.

use std::fmt::Write as _;
use std::time::Duration;

use crate::recording::{CallEnd, Contradiction, Got, SocketCall, StepOutcome};
use crate::text;

use super::names::side_word;

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
        StepOutcome::TimedOut { waited_for, seen, after } => {
            format!("timed out{} waiting for {waited_for}; {seen}", after_words(*after))
        }
        StepOutcome::NotQuiet { seen, after } => format!("did not become quiet{}; last: {seen}", within_words(*after)),
        StepOutcome::Failed { message } => message.clone(),
    }
}

fn after_words(after: Option<u64>) -> String {
    after.map(|after| format!(" after {}", text::duration(Duration::from_nanos(after)))).unwrap_or_default()
}

fn within_words(after: Option<u64>) -> String {
    after.map(|after| format!(" within {}", text::duration(Duration::from_nanos(after)))).unwrap_or_default()
}

/// `delete endpoint 5 in server: the kernel answered an ACK, but it shows …`
pub(crate) fn contradiction_words(contradiction: &Contradiction) -> String {
    let Contradiction { asked, answered, shown } = contradiction;
    format!("{asked}: the kernel answered {answered}, but {}", shown.join("; "))
}

/// `the server's read() on main got ECONNRESET after 4096 bytes`
pub(crate) fn call_words(end: &CallEnd) -> String {
    let CallEnd { connection, side, call, got, bytes } = end;
    let call = match call {
        SocketCall::Connect => "connect()",
        SocketCall::Accept => "accept()",
        SocketCall::Read => "read()",
        SocketCall::Write => "write()",
        SocketCall::Shutdown => "shutdown()",
        SocketCall::SocketError => "getsockopt(SO_ERROR)",
    };
    let got = match got {
        Got::EndOfStream => "the end of the stream".to_owned(),
        Got::Bytes(count) => format!("{count} bytes that no transfer asked for"),
        Got::Error(symbol) => symbol.clone(),
    };
    let after = if *bytes > 0 { format!(" after {bytes} bytes") } else { String::new() };
    format!("the {}'s {call} on {connection} got {got}{after}", side_word(*side))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Side;

    #[test]
    fn calls_and_contradictions_are_told() {
        let end = |call, got, bytes| CallEnd { connection: "main".to_owned(), side: Side::Server, call, got, bytes };
        for (end, expected) in [
            (
                end(SocketCall::Read, Got::Error("ECONNRESET".to_owned()), 7),
                "read() on main got ECONNRESET after 7 bytes",
            ),
            (end(SocketCall::Read, Got::EndOfStream, 0), "read() on main got the end of the stream"),
            (end(SocketCall::Read, Got::Bytes(2), 0), "read() on main got 2 bytes that no transfer asked for"),
            (end(SocketCall::Accept, Got::Error("EMFILE".to_owned()), 0), "accept() on main got EMFILE"),
        ] {
            assert_eq!(call_words(&end), format!("the server's {expected}"));
        }
        let shown = vec!["it shows `10.0.2.1 id 5 signal`".to_owned()];
        let asked = "delete endpoint 5 in server".to_owned();
        insta::assert_snapshot!(
            contradiction_words(&Contradiction { asked, answered: "an ACK".to_owned(), shown }),
            @"delete endpoint 5 in server: the kernel answered an ACK, but it shows `10.0.2.1 id 5 signal`"
        );
    }
}
