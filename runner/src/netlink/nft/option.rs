//! `nf_tables` expressions that match segments with an MPTCP option of a given subtype.
//!
//! `nf_tables` can load bytes of the *first* option of a kind only. That is enough for the subtypes that Linux always
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
//! Linux pads each MPTCP option to four bytes and writes them last, so there are few possible places, with a rule for
//! each. It checks the beginning of every option up to the wanted one, and that the first MPTCP option of the segment
//! has the length for this place. Random bytes of a key or a sequence number would have to match at least 28 bits to be
//! mistaken for an option.
//!
//! Not matched: options that another implementation writes without padding, or in another order; an `RM_ADDR` with more
//! than one id before an `MP_PRIO`.

use super::expression::{Base, Comparison, Expression};

/// The kind of MPTCP's TCP option (RFC 8684 section 12.1).
pub(super) const MPTCP: u8 = 30;
/// Possible offsets of the first MPTCP option from the TCP header: after no other option, after timestamps, and after
/// either with one to three SACK blocks (`tcp_options_write`, `net/ipv4/tcp_output.c`).
const FIRST_PLACES: [u8; 6] = [20, 32, 40, 44, 48, 52];
/// The longest TCP header, and the shortest MPTCP option with its padding.
const HEADER_MAX: u8 = 60;
const SHORTEST: u8 = 4;
/// The offset of the TCP header's length: the high nibble, in words of four bytes.
const DATA_OFFSET: u32 = 12;

const RM_ADDR: u8 = 4;
const MP_PRIO: u8 = 5;
const MP_FAIL: u8 = 6;
const MP_TCPRST: u8 = 8;

/// The ways in which a segment can carry an MPTCP option: of this subtype, or any.
pub(super) fn alternatives(subtype: Option<u8>) -> Vec<Vec<Expression>> {
    let Some(subtype) = subtype else {
        return vec![any_subtype()];
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
pub(super) fn any_subtype() -> Vec<Expression> {
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
        compare(Comparison::AtLeast, [((wanted + SHORTEST) / 4) << 4]),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel does with the expressions that are used here, on a segment that begins with its TCP header.
    fn matches(rule: &[Expression], segment: &[u8]) -> bool {
        let mut register = Vec::new();
        rule.iter().all(|expression| match expression {
            Expression::Payload { base: Base::Transport, offset, length } => {
                load(segment, *offset, *length, &mut register)
            }
            Expression::TcpOption { kind, offset, length } => {
                first_option(segment, *kind).is_some_and(|option| load(option, *offset, *length, &mut register))
            }
            Expression::Bitwise { mask, xor } => {
                register
                    .iter_mut()
                    .zip(mask.iter().zip(xor))
                    .for_each(|(byte, (mask, xor))| *byte = *byte & mask ^ xor);
                true
            }
            Expression::Compare { comparison, value } => match comparison {
                Comparison::Equal => register == *value,
                Comparison::Different => register != *value,
                Comparison::AtMost => register <= *value,
                Comparison::AtLeast => register >= *value,
            },
            other => panic!("{other:?} isn't for options"),
        })
    }

    fn load(from: &[u8], offset: u32, length: u32, register: &mut Vec<u8>) -> bool {
        let (offset, length) = (offset as usize, length as usize);
        from.get(offset..offset + length).is_some_and(|bytes| {
            *register = bytes.to_vec();
            true
        })
    }

    fn first_option(segment: &[u8], wanted: u8) -> Option<&[u8]> {
        let header = &segment[..usize::from(segment[12] >> 4) * 4];
        let mut at = 20;
        while at + 1 < header.len() {
            let length = if header[at] <= 1 { 1 } else { usize::from(header[at + 1]) };
            if header[at] == wanted {
                return header.get(at..at + length);
            }
            at += length;
        }
        None
    }

    /// The sequences of subtypes that Linux writes.
    const SEQUENCES: [&[u8]; 22] = [
        &[0],
        &[0, 4],
        &[1],
        &[1, 4],
        &[1, 5],
        &[1, 5, 4],
        &[2],
        &[2, 4],
        &[2, 5],
        &[2, 5, 4],
        &[2, 4, 5],
        &[2, 6],
        &[2, 6, 8],
        &[3],
        &[3, 5],
        &[4],
        &[5],
        &[5, 4],
        &[6, 8],
        &[7],
        &[7, 8],
        &[8],
    ];

    /// The lengths of an option, without padding.
    fn lengths_of(subtype: u8) -> Vec<usize> {
        match subtype {
            0 => vec![4, 12, 20, 22, 24],
            1 => vec![12, 16, 24],
            2 => vec![8, 12, 18, 20, 22, 24, 26, 28],
            3 => vec![8, 10, 16, 18, 20, 22, 28, 30],
            4 => (4..=11).collect(),
            5 => vec![3],
            6 | 7 => vec![12],
            _ => vec![4],
        }
    }

    /// A segment with these MPTCP options, as Linux writes it; `None` if they don't fit.
    fn segment(timestamps: bool, sack_blocks: usize, options: &[(u8, usize)], filler: &[u8]) -> Option<Vec<u8>> {
        let mut random = filler.iter().copied().cycle();
        let mut segment: Vec<u8> = random.by_ref().take(20).collect();
        if timestamps {
            segment.extend([1, 1, 8, 10]);
            segment.extend(random.by_ref().take(8));
        }
        if sack_blocks > 0 {
            segment.extend([1, 1, 5, u8::try_from(2 + 8 * sack_blocks).unwrap()]);
            segment.extend(random.by_ref().take(8 * sack_blocks));
        }
        for (subtype, length) in options {
            segment.extend([MPTCP, u8::try_from(*length).unwrap(), subtype << 4 | random.next()? & 0x0f]);
            segment.extend(random.by_ref().take(length - 3));
            segment.resize(segment.len().next_multiple_of(4), 1);
        }
        segment[12] = (u8::try_from(segment.len()).ok().filter(|length| *length <= 60)? / 4) << 4;
        segment.extend(random.take(100));
        Some(segment)
    }

    fn carries(subtype: Option<u8>, segment: &[u8]) -> bool {
        alternatives(subtype).iter().any(|rule| matches(rule, segment))
    }

    /// Every combination that there is, not a sample of them.
    #[test]
    fn an_option_is_found_wherever_linux_writes_it_and_nowhere_else() {
        // In no place do these look like an option.
        let filler: Vec<u8> = (0..=250).filter(|byte| *byte != MPTCP).collect();
        let mut found = 0;
        for sequence in SEQUENCES {
            for options in combinations(sequence) {
                for (timestamps, sack_blocks) in [(false, 0), (true, 0), (false, 1), (true, 1), (true, 2), (false, 3)] {
                    let Some(segment) = segment(timestamps, sack_blocks, &options, &filler) else { continue };
                    for subtype in 0..=15 {
                        let expected = sequence.contains(&subtype);
                        let place = format!("{subtype} in {options:?}, {timestamps} {sack_blocks}");
                        assert_eq!(carries(Some(subtype), &segment), expected, "{place}");
                        found += u32::from(expected);
                    }
                    assert!(carries(None, &segment));
                }
            }
        }
        assert!(found > 500, "only {found} segments were built");
    }

    /// With all their lengths; an `RM_ADDR` before another option has one id.
    fn combinations(sequence: &[u8]) -> Vec<Vec<(u8, usize)>> {
        let Some((first, rest)) = sequence.split_first() else { return vec![Vec::new()] };
        let lengths = if *first == 4 && !rest.is_empty() { vec![4] } else { lengths_of(*first) };
        let tails = combinations(rest);
        let with = |length| tails.iter().map(move |tail| [&[(*first, length)], tail.as_slice()].concat());
        lengths.into_iter().flat_map(with).collect()
    }

    #[test]
    fn the_payload_is_no_option() {
        // A payload that goes on after the DSS as an RM_ADDR would.
        let mut dss = segment(true, 0, &[(2, 8)], &[0x55]).unwrap();
        dss[40..44].copy_from_slice(&[MPTCP, 4, 0x40, 9]);
        assert!(!carries(Some(RM_ADDR), &dss));
        dss[12] += 1 << 4; // now it is
        assert!(carries(Some(RM_ADDR), &dss));
    }

    #[test]
    fn plain_tcp_carries_none() {
        let plain = segment(true, 1, &[], &[MPTCP]).unwrap();
        assert!(!carries(None, &plain));
        assert!((0..=15).all(|subtype| !carries(Some(subtype), &plain)));
    }

    proptest! {
        #[test]
        fn random_keys_and_payloads_dont_look_like_options(
            filler in prop::collection::vec(any::<u8>(), 200), dss in prop::sample::select(lengths_of(2)), sack: bool
        ) {
            let segment = segment(true, usize::from(sack), &[(2, dss)], &filler);
            if let Some(segment) = segment {
                for subtype in [RM_ADDR, MP_PRIO, MP_FAIL, MP_TCPRST] {
                    prop_assert!(!carries(Some(subtype), &segment));
                }
            }
        }
    }
}
