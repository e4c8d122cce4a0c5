//! Mappings: where the data of each subflow belongs.

use crate::recording::{Direction, Observation};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, View};
use crate::reference::{Outcome, Rule};

use super::checks::{Checks, HIDES, filter_of, is_sent, option, segments};
use super::stream::{Mapping, Piece, Ranges, Stream, data_ack};

/// Mappings of data.
pub(in crate::reference) static MAPPINGS: Rule = Rule {
    name: "mapping",
    statement: "The first byte of data has the initial data sequence number of its sender's key plus one. A mapping covers the \
                data that its segment carries, at the right relative subflow sequence number. A byte of a subflow is \
                never mapped to two data sequence numbers, and no data sequence number that is acknowledged is left out.",
    source: "RFC 8684 sections 3.1, 3.3 and 3.3.1; mptcp_sendmsg_frag, net/mptcp/protocol.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        if let Some(stream) = Stream::new(half, Direction::Out) {
            of_side(view, half, stream, ledger);
        }
    }
}

fn of_side(view: &View<'_>, half: &Half<'_>, mut stream: Stream, ledger: &mut Ledger) {
    let mut checks = Checks::new(view, half, "mapping");
    let (mut sent, mut acked, mut last) = (Ranges::default(), stream.origin(), None);
    let mut is_infinite = false;
    for passed in view.segments(half) {
        let piece = stream.see(&passed);
        if !is_sent(&passed) {
            if let Some(ack) =
                data_ack(passed.segment, acked).filter(|ack| stream.position(*ack) > stream.position(acked))
            {
                (acked, last) = (ack, Some(passed));
            }
            continue;
        }
        let Some(piece) = piece else { continue };
        let Some(mapping) = piece.mapping else { continue };
        is_infinite |= mapping.is_infinite();
        // A DATA_FIN alone maps nothing.
        if is_infinite || mapping.length == 0 {
            continue;
        }
        match judge(&mut stream, passed.flow, mapping, &piece) {
            Ok(position) => {
                sent.add(position, position + u64::from(mapping.length));
                checks.right(&passed);
            }
            Err(because) => checks.wrong(ledger, &passed, &[], because),
        }
    }
    let was_right = checks.is_right();
    checks.finish(ledger, |count| format!("{} with a mapping cover their data without contradiction", segments(count)));
    let all = sent.end().min(stream.position(acked).unwrap_or(0));
    let gap = sent.end_from(0);
    let hidden = filter_of(view, half, u64::MAX, HIDES).is_some();
    let whole = view.recording.entries.iter().rev().any(|entry| matches!(entry.what, Observation::Ended));
    if let Some(passed) = last.filter(|_| was_right && gap < all && !is_infinite && !hidden && whole) {
        let because = format!(
            "data sequence number {} was never mapped, and the peer has acknowledged all before {acked}",
            stream.origin().wrapping_add(gap)
        );
        ledger.decide(half, passed.at, option(half, passed.flow, "mapping"), Outcome::Wrong, because, [passed.entry]);
    }
}

/// Whether a mapping is right: then where its data is in the stream.
fn judge(stream: &mut Stream, flow: usize, mapping: Mapping, piece: &Piece) -> Result<u64, String> {
    let Some(position) = stream.position(mapping.dsn) else {
        return Err(format!(
            "data sequence number {} is not in the space of the sender's key, which begins with {}",
            mapping.dsn,
            stream.origin()
        ));
    };
    if piece.length > 0 && !mapping.covers(piece) {
        return Err(format!(
            "its data has relative subflow sequence number {} and {} bytes, the mapping {} and {}",
            piece.offset, piece.length, mapping.relative, mapping.length
        ));
    }
    match stream.learn(flow, mapping) {
        None => Ok(position),
        Some(other) => Err(format!(
            "subflow sequence number {} is mapped to data sequence number {}, and was to {}",
            mapping.relative,
            mapping.dsn,
            other.dsn_of(mapping.relative)
        )),
    }
}
