//! From [`MptcpOption`] to octets: the way back of `decode`, for fixtures and for proving the decoder right.

use std::net::IpAddr;

use super::hex::from_hex;
use super::{AddAddrBody, DssMapping, MptcpOption, TCPOPT_MPTCP};

impl MptcpOption {
    /// The octets of the option, kind and length included, without padding. Reserved bits are 0.
    ///
    /// Whatever [`MptcpOption::decode`] returned gives back an option that decodes to the same value. A value that
    /// no option can have (a receiver's key without the sender's, say) is encoded field by field, as far as it goes.
    pub fn encode(&self) -> Vec<u8> {
        if let Self::Malformed { bytes, .. } = self {
            return from_hex(bytes).unwrap_or_default();
        }
        // The length is filled in at the end.
        let mut out = vec![TCPOPT_MPTCP, 0];
        self.encode_body(&mut out);
        let length = u8::try_from(out.len()).unwrap_or(u8::MAX);
        if let Some(field) = out.get_mut(1) {
            *field = length;
        }
        out
    }

    /// Subtype, nibble and all that follows.
    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::MpCapable { version, flags, sender_key, receiver_key, data_length, checksum } => {
                out.extend([version & 0x0f, *flags]);
                out.extend(sender_key.iter().chain(receiver_key).flat_map(|key| key.to_be_bytes()));
                out.extend(data_length.iter().chain(checksum).flat_map(|number| number.to_be_bytes()));
            }
            Self::MpJoinSyn { backup, address_id, token, nonce } => {
                out.extend([0x10 | u8::from(*backup), *address_id]);
                out.extend(token.to_be_bytes());
                out.extend(nonce.to_be_bytes());
            }
            Self::MpJoinSynAck { backup, address_id, hmac, nonce } => {
                out.extend([0x10 | u8::from(*backup), *address_id]);
                out.extend(hmac.to_be_bytes());
                out.extend(nonce.to_be_bytes());
            }
            Self::MpJoinAck { hmac } => {
                out.extend([0x10, 0]);
                out.extend(from_hex(hmac).unwrap_or_default());
            }
            Self::Dss { data_fin, data_ack, mapping } => encode_dss(out, *data_fin, *data_ack, mapping.as_ref()),
            Self::AddAddr { echo, address_id, body } => {
                out.extend([0x30 | u8::from(*echo), *address_id]);
                encode_announced(out, body);
            }
            Self::RemoveAddr { address_ids } => {
                out.push(0x40);
                out.extend(address_ids);
            }
            Self::MpPrio { backup } => out.push(0x50 | u8::from(*backup)),
            Self::MpFail { data_sequence } => {
                out.extend([0x60, 0]);
                out.extend(data_sequence.to_be_bytes());
            }
            Self::MpFastclose { receiver_key } => {
                out.extend([0x70, 0]);
                out.extend(receiver_key.to_be_bytes());
            }
            Self::MpTcprst { flags, reason } => out.extend([0x80 | (flags & 0x0f), *reason]),
            Self::Malformed { .. } => {}
        }
    }
}

fn encode_dss(out: &mut Vec<u8>, data_fin: bool, data_ack: Option<(u64, bool)>, mapping: Option<&DssMapping>) {
    let bit = |condition: bool, bit: u8| if condition { bit } else { 0 };
    let flags = bit(data_fin, 0x10)
        | bit(mapping.is_some_and(|mapping| mapping.wide), 0x08)
        | bit(mapping.is_some(), 0x04)
        | bit(data_ack.is_some_and(|(_, wide)| wide), 0x02)
        | bit(data_ack.is_some(), 0x01);
    out.extend([0x20, flags]);
    if let Some((ack, wide)) = data_ack {
        encode_sequence(out, ack, wide);
    }
    if let Some(mapping) = mapping {
        encode_sequence(out, mapping.data_sequence, mapping.wide);
        out.extend(mapping.subflow_sequence.to_be_bytes());
        out.extend(mapping.length.to_be_bytes());
        out.extend(mapping.checksum.iter().flat_map(|checksum| checksum.to_be_bytes()));
    }
}

/// All 64 bits, or the lower 32.
fn encode_sequence(out: &mut Vec<u8>, number: u64, wide: bool) {
    let octets = number.to_be_bytes();
    out.extend(octets.iter().skip(if wide { 0 } else { 4 }));
}

fn encode_announced(out: &mut Vec<u8>, body: &AddAddrBody) {
    match body.address {
        IpAddr::V4(address) => out.extend(address.octets()),
        IpAddr::V6(address) => out.extend(address.octets()),
    }
    out.extend(body.port.iter().flat_map(|port| port.to_be_bytes()));
    out.extend(body.hmac.iter().flat_map(|hmac| hmac.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sequence() -> impl Strategy<Value = (u64, bool)> {
        prop_oneof![any::<u64>().prop_map(|number| (number, true)), any::<u32>().prop_map(|n| (u64::from(n), false))]
    }

    fn mp_capable() -> impl Strategy<Value = MptcpOption> {
        (0u8..16, any::<u8>(), any::<[u64; 2]>(), any::<[u16; 2]>(), 0usize..5).prop_map(
            |(version, flags, [sender, receiver], [length, checksum], form)| MptcpOption::MpCapable {
                version,
                flags,
                sender_key: (form >= 1).then_some(sender),
                receiver_key: (form >= 2).then_some(receiver),
                data_length: (form >= 3).then_some(length),
                checksum: (form >= 4).then_some(checksum),
            },
        )
    }

    fn mp_join() -> impl Strategy<Value = MptcpOption> {
        prop_oneof![
            any::<(bool, u8, u32, u32)>().prop_map(|(backup, address_id, token, nonce)| MptcpOption::MpJoinSyn {
                backup,
                address_id,
                token,
                nonce
            }),
            any::<(bool, u8, u64, u32)>().prop_map(|(backup, address_id, hmac, nonce)| MptcpOption::MpJoinSynAck {
                backup,
                address_id,
                hmac,
                nonce
            }),
            "[0-9a-f]{40}".prop_map(|hmac| MptcpOption::MpJoinAck { hmac }),
        ]
    }

    fn dss() -> impl Strategy<Value = MptcpOption> {
        let mapping = (sequence(), any::<u32>(), any::<u16>(), any::<Option<u16>>()).prop_map(
            |((data_sequence, wide), subflow_sequence, length, checksum)| DssMapping {
                data_sequence,
                wide,
                subflow_sequence,
                length,
                checksum,
            },
        );
        (any::<bool>(), prop::option::of(sequence()), prop::option::of(mapping))
            .prop_map(|(data_fin, data_ack, mapping)| MptcpOption::Dss { data_fin, data_ack, mapping })
    }

    fn add_addr() -> impl Strategy<Value = MptcpOption> {
        any::<(bool, u8, IpAddr, Option<u16>, u64)>().prop_map(|(echo, address_id, address, port, hmac)| {
            let body = AddAddrBody { address, port, hmac: (!echo).then_some(hmac) };
            MptcpOption::AddAddr { echo, address_id, body }
        })
    }

    fn any_option() -> impl Strategy<Value = MptcpOption> {
        prop_oneof![
            mp_capable(),
            mp_join(),
            dss(),
            add_addr(),
            prop::collection::vec(any::<u8>(), 1..9).prop_map(|address_ids| MptcpOption::RemoveAddr { address_ids }),
            any::<bool>().prop_map(|backup| MptcpOption::MpPrio { backup }),
            any::<u64>().prop_map(|data_sequence| MptcpOption::MpFail { data_sequence }),
            any::<u64>().prop_map(|receiver_key| MptcpOption::MpFastclose { receiver_key }),
            (0u8..16, any::<u8>()).prop_map(|(flags, reason)| MptcpOption::MpTcprst { flags, reason }),
        ]
    }

    proptest! {
        #[test]
        fn decoding_what_was_encoded_gives_the_same(option in any_option()) {
            let octets = option.encode();
            prop_assert_eq!(usize::from(octets[1]), octets.len());
            prop_assert_eq!(MptcpOption::decode(&octets), option);
        }

        #[test]
        fn several_options_are_found_in_their_order(options in prop::collection::vec(any_option(), 0..4)) {
            let octets: Vec<u8> = options.iter().flat_map(|option| [vec![1], option.encode()].concat()).collect();
            prop_assert_eq!(MptcpOption::decode_all(&octets), (options, false));
        }

        #[test]
        fn arbitrary_octets_decode_and_reencode_to_the_same_value(octets in prop::collection::vec(any::<u8>(), 0..64)) {
            let option = MptcpOption::decode(&octets);
            prop_assert_eq!(MptcpOption::decode(&option.encode()), option);
        }

        #[test]
        fn arbitrary_bodies_decode_and_reencode_to_the_same_value(body in prop::collection::vec(any::<u8>(), 1..40)) {
            let octets = [&[30, u8::try_from(body.len() + 2).unwrap()], body.as_slice()].concat();
            let option = MptcpOption::decode(&octets);
            prop_assert_eq!(MptcpOption::decode(&option.encode()), option);
        }

        #[test]
        fn an_option_survives_json(option in any_option()) {
            let text = serde_json::to_string(&option).unwrap();
            prop_assert_eq!(serde_json::from_str::<MptcpOption>(&text).unwrap(), option);
        }
    }
}
