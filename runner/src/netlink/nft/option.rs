//! Which segments carry an MPTCP option of a subtype, said in nf_tables expressions.
//!
//! nf_tables can load bytes of the *first* option of a kind only. That is enough for the subtypes that Linux always
//! writes first: `MP_CAPABLE`, `MP_JOIN`, DSS, `ADD_ADDR`, `MP_FASTCLOSE`. The others may follow one or two MPTCP options
//! (`mptcp_write_options`, `net/mptcp/options.c`):
//!
//! | option | may follow |
//! |---|---|
//! | `MP_PRIO` | DSS, `MP_JOIN`, `ADD_ADDR`; on kernels that write it last, DSS and `RM_ADDR` |
//! | `RM_ADDR` | DSS, `MP_CAPABLE`, `MP_JOIN`, with or without `MP_PRIO` between |
//! | `MP_FAIL` | DSS |
//! | `MP_TCPRST` | `MP_FAIL`, `MP_FASTCLOSE`; DSS and `MP_FAIL` |
//!
//! Linux pads each MPTCP option to four bytes and writes them last, so the places are few: there is a rule for each.
//! It asks for the beginning of every option up to the wanted one, and that the first MPTCP option of the segment has
//! the length that the place demands. Random bytes of a key or a sequence number would have to show at least 28 given
//! bits to be taken for an option that isn't there.
//!
//! Not matched: options that another implementation writes without padding, or in another order; an `RM_ADDR` with more
//! than one id before an `MP_PRIO`.

use super::expression::{Base, Comparison, Expression};

/// The kind of MPTCP's TCP option (RFC 8684 section 12.1).
pub(super) const MPTCP: u8 = 30;
/// Where the first MPTCP option may begin, in bytes from the TCP header: behind nothing, behind timestamps, and behind
/// either with one to three SACK blocks (`tcp_options_write`, `net/ipv4/tcp_output.c`).
const FIRST_PLACES: [u8; 6] = [20, 32, 40, 44, 48, 52];
/// The longest TCP header, and the shortest MPTCP option with its padding.
const HEADER_MAX: u8 = 60;
const SHORTEST: u8 = 4;
/// Where the TCP header says how long it is: the high nibble, in words of four bytes.
const DATA_OFFSET: u32 = 12;

const RM_ADDR: u8 = 4;
const MP_PRIO: u8 = 5;
const MP_FAIL: u8 = 6;
const MP_TCPRST: u8 = 8;

/// The ways in which a segment can carry an MPTCP option: of this subtype, or any.
pub(super) fn alternatives(subtype: Option<u8>) -> Vec<Vec<Expression>> {
    let Some(subtype) = subtype else {
        return vec![any()];
    };
    let mut alternatives = vec![first(subtype)];
    if matches!(subtype, RM_ADDR | MP_PRIO | MP_FAIL | MP_TCPRST) {
        for place in FIRST_PLACES {
            alternatives.extend(lengths(place).map(|length| later(place, &[length], subtype)));
        }
    }
    if let Some(between) = between(subtype) {
        for place in FIRST_PLACES {
            let fitting = lengths(place).filter(|length| place + length + between + SHORTEST <= HEADER_MAX);
            alternatives.extend(fitting.map(|length| later(place, &[length, between], subtype)));
        }
    }
    alternatives
}

/// Any MPTCP option.
pub(super) fn any() -> Vec<Expression> {
    vec![Expression::TcpOption { kind: MPTCP, offset: 0, length: 1 }, equal([MPTCP])]
}

/// The first MPTCP option has this subtype.
fn first(subtype: u8) -> Vec<Expression> {
    vec![Expression::TcpOption { kind: MPTCP, offset: 2, length: 1 }, bits([0xf0]), equal([subtype << 4])]
}

/// The padded lengths that an option at this place can have, if another one follows.
fn lengths(place: u8) -> impl Iterator<Item = u8> {
    (SHORTEST..=HEADER_MAX.saturating_sub(place).saturating_sub(SHORTEST)).step_by(4)
}

/// The padded length of an option that may stand between the first one and one of this subtype.
fn between(subtype: u8) -> Option<u8> {
    match subtype {
        RM_ADDR | MP_PRIO => Some(4), // each the other: MP_PRIO, or RM_ADDR with one id
        MP_TCPRST => Some(12),        // MP_FAIL
        _ => None,
    }
}

/// MPTCP options of these padded lengths from this place on, then one of this subtype.
fn later(place: u8, lengths: &[u8], subtype: u8) -> Vec<Expression> {
    let wanted = place + lengths.iter().sum::<u8>();
    let mut rule = vec![
        Expression::Payload { base: Base::Transport, offset: DATA_OFFSET, length: 1 },
        bits([0xf0]),
        compare(Comparison::AtLeast, [(wanted + SHORTEST) / 4 << 4]),
    ];
    if let Some(length) = lengths.first() {
        rule.push(Expression::TcpOption { kind: MPTCP, offset: 1, length: 1 });
        rule.push(compare(Comparison::AtLeast, [length - 3]));
        rule.push(compare(Comparison::AtMost, [*length]));
    }
    let mut at = place;
    for length in lengths {
        rule.push(Expression::Payload { base: Base::Transport, offset: at.into(), length: 2 });
        rule.push(compare(Comparison::AtLeast, [MPTCP, length - 3]));
        rule.push(compare(Comparison::AtMost, [MPTCP, *length]));
        at += length;
    }
    rule.push(Expression::Payload { base: Base::Transport, offset: wanted.into(), length: 3 });
    rule.push(bits([0xff, 0, 0xf0]));
    rule.push(equal([MPTCP, 0, subtype << 4]));
    rule
}

/// Keeps these bits of what was loaded.
fn bits<const N: usize>(mask: [u8; N]) -> Expression {
    Expression::Bitwise { mask: mask.to_vec(), xor: vec![0; N] }
}

fn equal<const N: usize>(value: [u8; N]) -> Expression {
    compare(Comparison::Equal, value)
}

fn compare<const N: usize>(comparison: Comparison, value: [u8; N]) -> Expression {
    Expression::Compare { comparison, value: value.to_vec() }
}
