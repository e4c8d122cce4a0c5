//! The data itself: the bytes that the application wrote, and the checksums over them.

use crate::payload::Payload;
use crate::recording::Direction;
use crate::reference::Rule;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, Passed, View};
use crate::scenario::model::{Action, CloseHow, FilterAction};
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::checks::{Checks, is_sent, segments};
use super::mp_capable::CHECKSUM;
use super::stream::{Mapping, Piece, Stream, data_ack};

/// The bytes that mappings put at their data sequence numbers.
pub(in crate::reference) static PAYLOAD: Rule = Rule {
    name: "payload",
    statement: "The data at each data sequence number is what the application wrote there, on whichever subflow it is sent, and \
                however often.",
    source: "RFC 8684 section 3.3",
    kernels: "",
    apply: payloads,
};

/// Checksums of mappings.
pub(in crate::reference) static CHECKSUMS: Rule = Rule {
    name: "dss-checksum",
    statement: "Mappings have a checksum if either host set the flag A in its SYN, and otherwise none. It is that of the data and of \
                a pseudo-header of data sequence number, relative subflow sequence number and length.",
    source: "RFC 8684 sections 3.1 and 3.3.1; __mptcp_make_csum, net/mptcp/options.c",
    kernels: "",
    apply: checksums,
};

/// What is written into a connection that is then closed with it unread.
const LEFT_UNREAD: &[u8] = b"left unread";

/// What the application of one side wrote.
struct Written {
    payload: Payload,
    /// From then on, some bytes may come that are left unread.
    rest_from: u64,
}

impl Written {
    fn by(view: &View<'_>, half: &Half<'_>) -> Self {
        let is_abrupt = view.scenario.steps.iter().any(|step| {
            matches!(&step.action, Action::Close { connection, how: CloseHow::Abrupt, by, .. }
                if connection == half.name && *by != half.side)
        });
        let rest_from = half.closing_at.filter(|_| is_abrupt).unwrap_or(u64::MAX);
        Self { payload: Payload::of(half.name, half.side), rest_from }
    }

    /// Whether these are the bytes at a position.
    fn has(&self, position: u64, bytes: &[u8], at: u64) -> bool {
        let mut expected = [0; 8];
        let Some(expected) = expected.get_mut(..bytes.len()) else { return true };
        self.payload.fill(position, expected);
        if expected == bytes {
            return true;
        }
        let alike = expected.iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count();
        let rest = bytes.get(alike..).unwrap_or_default();
        at >= self.rest_from && LEFT_UNREAD.windows(rest.len().max(1)).any(|window| window == rest)
    }
}

fn payloads(view: &View<'_>, ledger: &mut Ledger) {
    // What a program writes is not known.
    for half in view.halves().filter(|half| view.is_complete(half) && !half.connection.by_programs) {
        let stream = Stream::new(half, Direction::Out).unwrap_or_else(|| Stream::plain(half, Direction::Out));
        payloads_of(view, half, stream, ledger);
    }
}

fn payloads_of(view: &View<'_>, half: &Half<'_>, mut stream: Stream, ledger: &mut Ledger) {
    let written = Written::by(view, half);
    let mut checks = Checks::new(view, half, "payload");
    let mut acked = stream.origin();
    for passed in view.segments(half) {
        let piece = stream.see(&passed);
        acked = acknowledged(&stream, &passed, acked);
        let Some(piece) = piece.filter(|_| is_sent(&passed)) else { continue };
        let mapping = piece.mapping.filter(|mapping| mapping.covers(&piece));
        if let Some(mapping) = mapping {
            stream.learn(passed.flow, mapping);
        }
        let head = passed.segment.head.bytes();
        let known = mapping.or_else(|| stream.at(passed.flow, piece.offset)).or_else(|| beside(half, &stream, &piece));
        let Some(known) = known.filter(|known| !head.is_empty() && !is_probe(&stream, *known, acked)) else { continue };
        let dsn = known.dsn_of(piece.offset);
        let Some(position) = stream.position(dsn) else { continue };
        if written.has(position, head, passed.at) {
            checks.right(&passed);
        } else {
            let because = format!("byte {position} of the stream begins with {}", hex(&written, position, head));
            checks.wrong(ledger, &passed, &[FilterAction::Corrupt], because);
        }
    }
    checks.finish(ledger, |count| format!("{} carry the bytes that were written there", segments(count)));
}

/// Where bytes without a mapping belong: on plain TCP and after a fallback, which need a single subflow, data goes on as
/// it was sent. `None` if it was retransmitted there before.
fn beside(half: &Half<'_>, stream: &Stream, piece: &Piece) -> Option<Mapping> {
    half.initial().filter(|_| half.flows.len() == 1)?;
    let first = Mapping { dsn: stream.origin(), relative: 1, length: 0, declared: 0, data_fin: false, checksum: None };
    let last = stream.before(0, piece.offset).unwrap_or(first);
    (piece.offset > 0 && last.dsn_of(1) == first.dsn).then_some(first)
}

/// `0011 and not with 2233`.
fn hex(written: &Written, position: u64, head: &[u8]) -> String {
    let mut expected = vec![0; head.len()];
    written.payload.fill(position, &mut expected);
    format!("{} and not with {}", crate::wire::to_hex(head), crate::wire::to_hex(&expected))
}

/// The highest data ACK so far.
fn acknowledged(stream: &Stream, passed: &Passed<'_>, acked: u64) -> u64 {
    let ack = data_ack(passed.segment, acked).filter(|_| !is_sent(passed));
    ack.filter(|ack| stream.position(*ack) > stream.position(acked)).unwrap_or(acked)
}

/// A window probe: a byte that the peer has acknowledged is sent again, with the data sequence number before that of the
/// byte (`mptcp_sendmsg_frag`, net/mptcp/protocol.c).
fn is_probe(stream: &Stream, mapping: Mapping, acked: u64) -> bool {
    mapping.length == 1 && stream.position(mapping.end()) <= stream.position(acked)
}

fn checksums(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        if let (Some(stream), Some(agreed)) = (Stream::new(half, Direction::Out), agreed(view, half)) {
            checksums_of(view, half, stream, agreed, ledger);
        }
    }
}

fn checksums_of(view: &View<'_>, half: &Half<'_>, mut stream: Stream, agreed: bool, ledger: &mut Ledger) {
    let written = Written::by(view, half);
    let mut checks = Checks::new(view, half, "checksum of a mapping");
    // What is computed is bounded by what was sent.
    let (mut acked, mut budget, mut last) = (stream.origin(), 1 << 20, None);
    for passed in view.segments(half) {
        let piece = stream.see(&passed);
        acked = acknowledged(&stream, &passed, acked);
        let Some(Piece { length, mapping: Some(mapping), .. }) = piece.filter(|_| is_sent(&passed)) else { continue };
        budget += 4 * u64::from(length);
        let is_right = match (agreed, mapping.checksum) {
            (false, None) => true,
            (true, Some(_)) if mapping.is_infinite() || last == Some(mapping) => true,
            (true, Some(_)) if half.connection.by_programs => true,
            (true, Some(checksum)) => {
                let known = passed.at < written.rest_from && !is_probe(&stream, mapping, acked);
                let position = stream.position(mapping.dsn).filter(|_| known && budget >= u64::from(mapping.length));
                let Some(position) = position else { continue };
                budget -= u64::from(mapping.length);
                same(checksum, checksum_of(&written, position, mapping))
            }
            (false, Some(_)) | (true, None) => false,
        };
        if is_right {
            last = Some(mapping);
            checks.right(&passed);
        } else {
            checks.wrong(ledger, &passed, &[], because(agreed, mapping));
        }
    }
    let what = if agreed { "have the right checksum" } else { "have no checksum: neither host required it" };
    checks.finish(ledger, |count| format!("{} with a mapping {what}", segments(count)));
}

fn because(agreed: bool, mapping: Mapping) -> String {
    match mapping.checksum {
        Some(checksum) if agreed => format!("{checksum:04x} is not the checksum of the data and its mapping"),
        Some(checksum) => format!("it has checksum {checksum:04x}, and neither host required checksums"),
        None => "it has no checksum, and a host required checksums".to_owned(),
    }
}

/// Whether checksums were agreed on, as far as this side knows; `None` if what arrived contradicts itself.
pub(super) fn agreed(view: &View<'_>, half: &Half<'_>) -> Option<bool> {
    half.initial()?;
    let (mut syn, mut syn_ack, mut ack) = (None, None, None);
    for passed in view.segments(half).filter(|passed| passed.flow == 0) {
        let Some(flags) = passed.segment.options.iter().find_map(capable) else {
            if is_plain(passed.segment) {
                break;
            }
            continue;
        };
        let which = match (passed.segment.flags.contains(TcpFlags::SYN), passed.segment.flags.contains(TcpFlags::ACK)) {
            (true, false) => &mut syn,
            (true, true) => &mut syn_ack,
            (false, _) => &mut ack,
        };
        which.get_or_insert(flags & CHECKSUM != 0);
    }
    let required = syn? || syn_ack?;
    (ack.is_none_or(|ack| ack == required)).then_some(required)
}

fn capable(option: &MptcpOption) -> Option<u8> {
    pick!(option, MptcpOption::MpCapable { flags, .. } => *flags)
}

/// The handshake is over.
fn is_plain(segment: &Segment) -> bool {
    !segment.flags.contains(TcpFlags::SYN)
        && segment.options.iter().any(|option| matches!(option, MptcpOption::Dss { .. }))
}

/// The checksum of RFC 1071, of the pseudo-header and the data.
fn checksum_of(written: &Written, position: u64, mapping: Mapping) -> u16 {
    let mut sum = Sum::default();
    sum.add(&mapping.dsn.to_be_bytes());
    sum.add(&mapping.relative.to_be_bytes());
    sum.add(&mapping.declared.to_be_bytes());
    let (mut position, mut left) = (position, u64::from(mapping.length));
    let mut buffer = [0; 4096];
    while left > 0 {
        let count = left.min(4096);
        let Some(part) = usize::try_from(count).ok().and_then(|count| buffer.get_mut(..count)) else { break };
        written.payload.fill(position, part);
        sum.add(part);
        (position, left) = (position + count, left - count);
    }
    sum.folded()
}

/// Zero has two forms in ones' complement.
fn same(one: u16, other: u16) -> bool {
    one == other || (one.min(other) == 0 && one.max(other) == u16::MAX)
}

/// The ones' complement sum of words of 16 bits. All parts but the last one have an even length.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(2) {
            let low = word.get(1).copied().unwrap_or(0);
            self.0 += word.first().map_or(0, |high| u64::from(*high) << 8) + u64::from(low);
        }
    }

    fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap_or(u16::MAX)
    }
}
