//! From octets to [`MptcpOption`]. Never panics: what RFC 8684 doesn't know becomes [`MptcpOption::Malformed`].
//!
//! No option needs to know which segment carried it. The lengths alone tell the forms of MP_CAPABLE, MP_JOIN and
//! ADD_ADDR apart, as they do in the kernel (`mptcp_parse_option`, net/mptcp/options.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hex::to_hex;
use super::{AddAddrBody, DssMapping, MptcpOption, TCPOPT_MPTCP};

/// End of option list (RFC 9293 section 3.2).
const TCPOPT_EOL: u8 = 0;
/// No operation: padding (RFC 9293 section 3.2).
const TCPOPT_NOP: u8 = 1;
/// Window scale (RFC 7323 section 2.2).
const TCPOPT_WINDOW: u8 = 3;

impl MptcpOption {
    /// All MPTCP options among the options of a TCP header, in their order; a segment can carry several.
    ///
    /// The second value is true if the options could not be walked to their end: a length below 2, or beyond the
    /// header; or if something other than zeros stands behind their end (RFC 9293 section 3.1), where no receiver looks
    /// for options. What came before is decoded nevertheless.
    pub fn decode_all(tcp_options: &[u8]) -> (Vec<Self>, bool) {
        let mut found = Vec::new();
        let malformed = walk(tcp_options, |option| {
            if option.first() == Some(&TCPOPT_MPTCP) {
                found.push(Self::decode(option));
            }
        });
        (found, malformed)
    }

    /// One option from all of its octets, kind and length included.
    pub fn decode(option: &[u8]) -> Self {
        well_formed(option).unwrap_or_else(|| Self::Malformed {
            subtype: option.get(2).map(|first| first >> 4),
            bytes: to_hex(option),
        })
    }
}

/// Takes each TCP option, kind and length included, without padding. Whether they are malformed: see
/// [`MptcpOption::decode_all`].
fn walk<'o>(tcp_options: &'o [u8], mut take: impl FnMut(&'o [u8])) -> bool {
    let mut rest = tcp_options;
    loop {
        match rest {
            [] => return false,
            [TCPOPT_EOL, padding @ ..] => return padding.iter().any(|octet| *octet != 0),
            [TCPOPT_NOP, after @ ..] => rest = after,
            [_, length, ..] => match rest.split_at_checked(usize::from(*length)) {
                Some((option, after)) if option.len() >= 2 => {
                    take(option);
                    rest = after;
                }
                _ => return true,
            },
            [_] => return true,
        }
    }
}

/// By how many bits the window scale option shifts windows (RFC 7323 section 2.2).
pub(super) fn window_scale(tcp_options: &[u8]) -> Option<u8> {
    let mut found = None;
    walk(tcp_options, |option| {
        if let [TCPOPT_WINDOW, 3, shift] = option {
            found = Some(*shift);
        }
    });
    found
}

fn well_formed(option: &[u8]) -> Option<MptcpOption> {
    let [TCPOPT_MPTCP, length, first, body @ ..] = option else { return None };
    if usize::from(*length) != option.len() {
        return None;
    }
    let nibble = first & 0x0f;
    match first >> 4 {
        0 => mp_capable(nibble, body),
        1 => mp_join(nibble, body),
        2 => dss(body),
        3 => add_addr(nibble, body),
        4 if !body.is_empty() => Some(MptcpOption::RemoveAddr { address_ids: body.to_vec() }),
        5 if body.is_empty() => Some(MptcpOption::MpPrio { backup: nibble & 1 != 0 }),
        6 => after_reserved(body).map(|data_sequence| MptcpOption::MpFail { data_sequence }),
        7 => after_reserved(body).map(|receiver_key| MptcpOption::MpFastclose { receiver_key }),
        8 => match body {
            [reason] => Some(MptcpOption::MpTcprst { flags: nibble, reason: *reason }),
            _ => None,
        },
        _ => None,
    }
}

/// Takes big-endian numbers from the front of an option's body.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// A sequence number of 64 or 32 bits.
    fn sequence(&mut self, wide: bool) -> Option<u64> {
        if wide { self.u64() } else { self.u32().map(u64::from) }
    }

    /// The option is at its end, as it must be.
    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn mp_capable(version: u8, body: &[u8]) -> Option<MptcpOption> {
    let mut fields = Fields(body);
    let flags = fields.u8()?;
    // Both keys, then what the first data segment adds: each form is a prefix of the next.
    let (keys, data) = match fields.0.len() {
        0 => (0, 0),
        8 => (1, 0),
        16 => (2, 0),
        18 => (2, 1),
        20 => (2, 2),
        _ => return None,
    };
    let sender_key = if keys >= 1 { Some(fields.u64()?) } else { None };
    let receiver_key = if keys >= 2 { Some(fields.u64()?) } else { None };
    let data_length = if data >= 1 { Some(fields.u16()?) } else { None };
    let checksum = if data >= 2 { Some(fields.u16()?) } else { None };
    Some(MptcpOption::MpCapable { version, flags, sender_key, receiver_key, data_length, checksum })
}

fn mp_join(nibble: u8, body: &[u8]) -> Option<MptcpOption> {
    let backup = nibble & 1 != 0;
    let mut fields = Fields(body);
    let address_id = fields.u8()?;
    match fields.0.len() {
        8 => Some(MptcpOption::MpJoinSyn { backup, address_id, token: fields.u32()?, nonce: fields.u32()? }),
        12 => Some(MptcpOption::MpJoinSynAck { backup, address_id, hmac: fields.u64()?, nonce: fields.u32()? }),
        // The octet that is the address id in the other two is reserved here.
        20 => Some(MptcpOption::MpJoinAck { hmac: to_hex(fields.0) }),
        _ => None,
    }
}

fn dss(body: &[u8]) -> Option<MptcpOption> {
    let mut fields = Fields(body);
    let flags = fields.u8()?;
    let has = |bit: u8| flags & bit != 0;
    let data_ack = if has(0x01) {
        let wide = has(0x02);
        Some((fields.sequence(wide)?, wide))
    } else {
        None
    };
    let mapping = if has(0x04) {
        let wide = has(0x08);
        Some(DssMapping {
            data_sequence: fields.sequence(wide)?,
            wide,
            subflow_sequence: fields.u32()?,
            length: fields.u16()?,
            // Nothing but the option's length tells that there is a checksum.
            checksum: if fields.0.is_empty() { None } else { Some(fields.u16()?) },
        })
    } else {
        None
    };
    fields.end()?;
    Some(MptcpOption::Dss { data_fin: has(0x10), data_ack, mapping })
}

fn add_addr(nibble: u8, body: &[u8]) -> Option<MptcpOption> {
    let echo = nibble & 1 != 0;
    let (&address_id, rest) = body.split_first()?;
    let (announced, hmac) = if echo {
        (rest, None)
    } else {
        let (announced, hmac) = rest.split_last_chunk::<8>()?;
        (announced, Some(u64::from_be_bytes(*hmac)))
    };
    let mut fields = Fields(announced);
    let address = match announced.len() {
        4 | 6 => IpAddr::V4(Ipv4Addr::from(fields.take::<4>()?)),
        16 | 18 => IpAddr::V6(Ipv6Addr::from(fields.take::<16>()?)),
        _ => return None,
    };
    let port = if fields.0.is_empty() { None } else { Some(fields.u16()?) };
    Some(MptcpOption::AddAddr { echo, address_id, body: AddAddrBody { address, port, hmac } })
}

/// The 64 bits of MP_FAIL and MP_FASTCLOSE, behind an octet that is reserved.
fn after_reserved(body: &[u8]) -> Option<u64> {
    let mut fields = Fields(body);
    fields.u8()?;
    let value = fields.u64()?;
    fields.end()?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_over_other_options_and_padding() {
        let options = [
            2, 4, 5, 0xb4, // MSS
            1, 1, // NOP
            30, 4, 0x01, 0x01, // MP_CAPABLE v1
            30, 3, 0x51, // MP_PRIO
            0, 0, 0, // end
        ];
        let (found, malformed) = MptcpOption::decode_all(&options);
        assert!(!malformed);
        assert!(matches!(
            found.as_slice(),
            [MptcpOption::MpCapable { version: 1, flags: 1, .. }, MptcpOption::MpPrio { backup: true }]
        ));
    }

    #[test]
    fn reports_options_that_cannot_be_walked_and_keeps_those_before() {
        for broken in [&[30, 3, 0x51, 8][..], &[30, 3, 0x51, 8, 0], &[30, 3, 0x51, 8, 1], &[30, 3, 0x51, 8, 10, 0]] {
            let (found, malformed) = MptcpOption::decode_all(broken);
            assert!(malformed, "{broken:?}");
            assert_eq!(found, [MptcpOption::MpPrio { backup: true }], "{broken:?}");
        }
    }

    #[test]
    fn reports_what_stands_behind_the_end_and_does_not_decode_it() {
        for behind in [&[30, 3, 0x51, 0, 1][..], &[30, 3, 0x51, 0, 30, 3, 0x50, 1]] {
            let (found, malformed) = MptcpOption::decode_all(behind);
            assert!(malformed, "{behind:?}");
            assert_eq!(found, [MptcpOption::MpPrio { backup: true }], "{behind:?}");
        }
    }

    #[test]
    fn keeps_what_it_does_not_know() {
        let experimental = MptcpOption::decode(&[30, 4, 0xf0, 7]);
        assert_eq!(experimental, MptcpOption::Malformed { subtype: Some(15), bytes: "1e04f007".to_owned() });
        assert_eq!(MptcpOption::decode(&[30, 2]), MptcpOption::Malformed { subtype: None, bytes: "1e02".to_owned() });
    }

    #[test]
    fn refuses_lengths_that_no_form_has() {
        // An octet too many or too few for each subtype.
        let wrong: [&[u8]; 9] = [
            &[30, 5, 0x01, 0x01, 0],
            &[30, 11, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
            &[30, 9, 0x20, 0x01, 0, 0, 0, 0, 0],
            &[30, 9, 0x31, 1, 10, 0, 1, 1, 0],
            &[30, 3, 0x40],
            &[30, 4, 0x50, 1],
            &[30, 11, 0x60, 0, 0, 0, 0, 0, 0, 0, 0],
            &[30, 13, 0x70, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[30, 3, 0x80],
        ];
        for option in wrong {
            let decoded = MptcpOption::decode(option);
            assert!(matches!(decoded, MptcpOption::Malformed { .. }), "{option:?} became {decoded:?}");
        }
    }

    #[test]
    fn an_announcement_without_its_hmac_is_malformed() {
        // Eight octets are the form of RFC 6824, or an echo without its bit.
        let decoded = MptcpOption::decode(&[30, 8, 0x30, 1, 10, 0, 2, 1]);
        assert!(matches!(decoded, MptcpOption::Malformed { subtype: Some(3), .. }), "{decoded:?}");
    }
}
