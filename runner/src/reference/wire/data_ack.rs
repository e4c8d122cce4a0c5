//! DATA_ACKs and DATA_FINs.

use std::cell::OnceCell;

use crate::recording::Direction;
use crate::reference::Rule;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, Passed, View};
use crate::wire::MptcpOption;

use super::changed::Changed;
use super::checks::{Checks, is_sent, segments};
use super::stream::{Mapping, Piece, Ranges, Stream, data_ack};

/// Data ACKs.
pub(in crate::reference) static DATA_ACKS: Rule = Rule {
    name: "data-ack",
    statement: "A DATA_ACK acknowledges no more than the data and the DATA_FIN that its sender has received without a gap, over all \
                subflows. On one subflow it never goes back.",
    source: "RFC 8684 section 3.3.2; mptcp_write_options, net/mptcp/options.c; __mptcp_move_skb, net/mptcp/protocol.c",
    kernels: "",
    apply: data_acks,
};

/// DATA_FINs.
pub(in crate::reference) static DATA_FIN: Rule = Rule {
    name: "data-fin",
    statement: "The DATA_FIN has one data sequence number, behind all data. Without data, its mapping has relative subflow sequence \
                number 0 and length 1.",
    source: "RFC 8684 section 3.3.3; mptcp_write_data_fin, net/mptcp/options.c",
    kernels: "",
    apply: data_fins,
};

/// What one side has received.
struct Received {
    stream: Stream,
    /// The bytes of each subflow, by their relative sequence numbers.
    flows: Vec<Ranges>,
    /// The positions in the stream that mappings and bytes cover.
    data: Ranges,
    /// Data has come without a mapping: where it belongs is unknown.
    unmapped: bool,
}

impl Received {
    fn take(&mut self, passed: &Passed<'_>, piece: &Piece) {
        let flow = passed.flow;
        let (from, to) = (u64::from(piece.offset), u64::from(piece.offset) + u64::from(piece.length));
        if let Some(bytes) = self.flows.get_mut(flow) {
            bytes.add(from, to);
        }
        if let Some(mapping) = piece.mapping {
            self.unmapped |= mapping.is_infinite();
            self.map(flow, mapping);
            // Two that contradict each other: either may be taken.
            self.stream.learn(flow, mapping);
            if let Some(end) = self.stream.position(mapping.end()).filter(|_| mapping.data_fin) {
                self.data.add(end, end + 1);
            }
        }
        let overlapping: Vec<Mapping> = self.stream.overlapping(flow, piece).collect();
        for mapping in overlapping {
            self.map(flow, mapping);
        }
    }

    /// The bytes that have arrived of what a mapping maps.
    fn map(&mut self, flow: usize, mapping: Mapping) {
        let (Some(position), Some(bytes)) = (self.stream.position(mapping.dsn), self.flows.get(flow)) else { return };
        let relative = u64::from(mapping.relative);
        for (from, to) in bytes.within(relative, relative + u64::from(mapping.length)) {
            self.data.add(position + (from - relative), position + (to - relative));
        }
    }
}

fn data_acks(view: &View<'_>, ledger: &mut Ledger) {
    let changed = OnceCell::new();
    for half in view.halves().filter(|half| view.is_complete(half)) {
        // What a host sends to itself doesn't cross an interface that is captured.
        if half.connection.client == half.connection.server {
            continue;
        }
        if let Some(stream) = Stream::new(half, Direction::In) {
            data_acks_of(view, half, stream, &changed, ledger);
        }
    }
}

fn data_acks_of<'a>(
    view: &View<'a>,
    half: &Half<'_>,
    stream: Stream,
    changed: &OnceCell<Changed<'a>>,
    ledger: &mut Ledger,
) {
    let mut last = vec![0; half.flows.len()];
    let mut highest = stream.origin();
    let flows = half.flows.iter().map(|_| Ranges::default()).collect();
    let mut received = Received { stream, flows, data: Ranges::default(), unmapped: false };
    let mut checks = Checks::new(view, half, "DATA_ACK");
    for passed in view.segments(half) {
        if let Some(piece) = received.stream.see(&passed) {
            received.take(&passed, &piece);
        }
        received.unmapped |= received.stream.is_fast_open();
        let Some(ack) = data_ack(passed.segment, highest).filter(|_| is_sent(&passed)) else { continue };
        let Some(before) = last.get_mut(passed.flow) else { continue };
        let bound = received.data.end_from(0);
        match received.stream.position(ack) {
            Some(position) if position < *before => {
                let because =
                    format!("it acknowledges {position} bytes, and has acknowledged {before} on this subflow");
                checks.wrong(ledger, &passed, &[], because);
            }
            Some(position) if position > bound && !received.unmapped => {
                let because = format!("it acknowledges {position} bytes, and {bound} have arrived without a gap");
                // A kernel takes bytes that have lost their mapping for those that come next.
                match changed.get_or_init(|| Changed::of(view)).on(half) {
                    Some(rule) => checks.changed(ledger, &passed, rule, &because),
                    None => checks.wrong(ledger, &passed, &[], because),
                }
            }
            Some(position) => {
                *before = position;
                highest = ack;
                checks.right(&passed);
            }
            None => {
                let because = format!(
                    "{ack} is not in the space of the peer's key, which begins with {}",
                    received.stream.origin()
                );
                checks.wrong(ledger, &passed, &[], because);
            }
        }
    }
    checks.finish(ledger, |count| {
        format!("{} acknowledge what has arrived, and never less than before", segments(count))
    });
}

fn data_fins(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        if let Some(stream) = Stream::new(half, Direction::Out) {
            data_fins_of(view, half, stream, ledger);
        }
    }
}

fn data_fins_of(view: &View<'_>, half: &Half<'_>, mut stream: Stream, ledger: &mut Ledger) {
    let mut checks = Checks::new(view, half, "DATA_FIN");
    let (mut fin, mut end) = (None, 0);
    for passed in view.segments(half) {
        let Some(piece) = stream.see(&passed).filter(|_| is_sent(&passed)) else { continue };
        let has_fin =
            passed.segment.options.iter().any(|option| matches!(option, MptcpOption::Dss { data_fin: true, .. }));
        let Some(mapping) = piece.mapping else {
            if has_fin {
                checks.wrong(ledger, &passed, &[], "it has no mapping".to_owned());
            }
            continue;
        };
        let Some(position) = stream.position(mapping.end()) else { continue };
        if mapping.length > 0 {
            end = end.max(position);
        }
        match judge(fin, end, position, mapping) {
            Ok(()) if has_fin => {
                fin = Some(position);
                checks.right(&passed);
            }
            Ok(()) => {}
            Err(because) => checks.wrong(ledger, &passed, &[], because),
        }
    }
    checks.finish(ledger, |_| format!("it is byte {} of the stream, behind all data", fin.unwrap_or(end)));
}

/// Whether a mapping fits the DATA_FIN that it carries, or that was sent before.
fn judge(fin: Option<u64>, end: u64, position: u64, mapping: Mapping) -> Result<(), String> {
    if let Some(fin) = fin.filter(|fin| end > *fin) {
        return Err(format!("data up to byte {end} of the stream is sent, and the DATA_FIN was byte {fin}"));
    }
    if !mapping.data_fin {
        return Ok(());
    }
    if mapping.length == 0 && (mapping.relative, mapping.declared) != (0, 1) {
        return Err(format!("without data, its mapping has {} and length {}", mapping.relative, mapping.declared));
    }
    if let Some(fin) = fin.filter(|fin| *fin != position) {
        return Err(format!("it is byte {position} of the stream, and was byte {fin}"));
    }
    if position < end {
        return Err(format!("it is byte {position} of the stream, and data up to byte {end} was sent"));
    }
    Ok(())
}
