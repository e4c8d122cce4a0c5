//! The `nf_tables` expressions of filters: their meaning, and their netlink encoding and decoding
//! (`include/uapi/linux/netfilter/nf_tables.h`). All numbers in attributes are big-endian; registers have the byte
//! order of the packet, or host byte order for numbers that the kernel generates.
//!
//! Every [`Expression`] uses the one register [`REGISTER`]: it either fills it or consumes it.

use std::fmt;

use netlink_packet_core::DecodeError;

use crate::netlink::attribute::{Attribute, attributes, hex};

use super::message::{Attributes, be32, be64};

/// `NFT_REG_1`, sixteen bytes.
const REGISTER: u32 = 1;
/// `NFT_REG_VERDICT`
const VERDICT_REGISTER: u32 = 0;
/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// `NFT_REG_2`, for the port of a translation.
const PORT_REGISTER: u32 = 2;
/// `NFTA_NAT_FLAGS`, and what the kernel shows in it by itself (`nft_nat_init`, net/netfilter/nft_nat.c):
/// `NF_NAT_RANGE_MAP_IPS`, `NF_NAT_RANGE_PROTO_SPECIFIED`.
const NAT_FLAGS: u16 = 7;
const NAT_FLAGS_SHOWN: u32 = 1 | 2;
/// `NFT_EXTHDR_OP_TCPOPT`
const EXTHDR_OP_TCPOPT: u32 = 1;
/// `NF_DROP`, `NFT_GOTO`
const NF_DROP: u32 = 0;
const NFT_GOTO: u32 = (-4_i32).cast_unsigned();

/// What `meta` loads (`enum nft_meta_keys`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum MetaKey {
    /// The mark, u32 in host byte order.
    Mark = 3,
    /// The name of the input device, padded with zeros to 16 bytes.
    InputDevice = 6,
    /// The name of the output device, likewise.
    OutputDevice = 7,
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`, one byte.
    Family = 15,
    /// The transport protocol, one byte.
    Transport = 16,
}

/// The base of a payload offset (`enum nft_payload_bases`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Base {
    /// The IP header.
    Network = 1,
    /// The TCP header.
    Transport = 2,
    /// The TCP payload, which follows the transport header (`NFT_PAYLOAD_INNER_HEADER`).
    Inner = 3,
}

/// `enum nft_cmp_ops`. Bytes are compared from the left, as by memcmp(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Comparison {
    /// Equal.
    Equal = 0,
    /// Not equal.
    Different = 1,
    /// Less or equal.
    AtMost = 3,
    /// Greater or equal.
    AtLeast = 5,
}

/// The answer to a rejected packet (`enum nft_reject_types`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// ICMP or `ICMPv6` port unreachable (`NFT_REJECT_ICMPX_UNREACH`, `NFT_REJECT_ICMPX_PORT_UNREACH`).
    PortUnreachable,
    /// `NFT_REJECT_TCP_RST`
    TcpReset,
}

/// One step of a rule. An expression that fails ends the rule: the packet doesn't match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads a property of the packet.
    Meta(MetaKey),
    /// Loads the state of connection tracking: one bit of a u32 in host byte order (`NFT_CT_STATE`).
    FlowState,
    /// Loads a value: the new address, or the new port of a translation.
    Value { port: bool, value: Vec<u8> },
    /// Translates the source or the destination of a connection to the loaded values.
    Translate { destination: bool, family: u8, port: bool },
    /// Translates the source of a connection to the address of the outgoing device.
    Masquerade,
    /// Loads `length` bytes of the packet. Ends the rule if the packet is too short.
    Payload { base: Base, offset: u32, length: u32 },
    /// Writes the register into the packet, without updating a checksum.
    PayloadWrite { base: Base, offset: u32, length: u32 },
    /// Loads bytes of the first TCP option of this kind. Ends the rule if there is none, or it is too short.
    TcpOption { kind: u8, offset: u32, length: u32 },
    /// Overwrites the first TCP option of this kind with no-operation options; does nothing if there is none.
    TcpOptionReset { kind: u8 },
    /// Ends the rule unless the comparison with the register holds.
    Compare { comparison: Comparison, value: Vec<u8> },
    /// register = (register & mask) ^ xor
    Bitwise { mask: Vec<u8>, xor: Vec<u8> },
    /// Loads 0, 1, 2… `modulus` - 1, 0…, the next one for each packet that reaches it; u32 in host byte order.
    Sequence { modulus: u32 },
    /// Counts packets and bytes.
    Counter { packets: u64, bytes: u64 },
    /// Drops the packet, and answers.
    Reject(Answer),
    /// Drops the packet.
    Drop,
    /// Continues in another chain, without returning.
    Goto(String),
}

impl Expression {
    /// Whether the kernel may show the other for this one: they are equal, except for the values of counters.
    pub(super) fn is_shown_as(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Counter { .. }, Self::Counter { .. })) || self == other
    }

    /// The content of an `NFTA_LIST_ELEM` attribute.
    pub(super) fn encode(&self) -> Attributes {
        let (name, data) = self.parts();
        Attributes::new().text(EXPR_NAME, name).nested(EXPR_DATA, &data)
    }

    fn parts(&self) -> (&'static str, Attributes) {
        let new = Attributes::new;
        match self {
            Self::Meta(key) => ("meta", new().u32(2, *key as u32).u32(1, REGISTER)),
            Self::FlowState => ("ct", new().u32(2, 0).u32(1, REGISTER)),
            Self::Value { port, value } => {
                let register = if *port { PORT_REGISTER } else { REGISTER };
                ("immediate", new().u32(1, register).nested(2, &new().bytes(DATA_VALUE, value)))
            }
            Self::Translate { destination, family, port } => {
                let address = new().u32(1, u32::from(*destination)).u32(2, u32::from(*family)).u32(3, REGISTER);
                ("nat", if *port { address.u32(5, PORT_REGISTER) } else { address })
            }
            Self::Masquerade => ("masq", new()),
            Self::Payload { base, offset, length } => {
                ("payload", new().u32(1, REGISTER).u32(2, *base as u32).u32(3, *offset).u32(4, *length))
            }
            Self::PayloadWrite { base, offset, length } => {
                let place = new().u32(5, REGISTER).u32(2, *base as u32).u32(3, *offset).u32(4, *length);
                ("payload", place.u32(6, 0).u32(7, 0).u32(8, 0))
            }
            Self::TcpOption { kind, offset, length } => {
                let option = new().u32(1, REGISTER).u8(2, *kind).u32(3, *offset).u32(4, *length);
                ("exthdr", option.u32(6, EXTHDR_OP_TCPOPT).u32(5, 0))
            }
            // Without any register it means reset; the kernel refuses offset, length and flags then.
            Self::TcpOptionReset { kind } => ("exthdr", new().u8(2, *kind).u32(6, EXTHDR_OP_TCPOPT)),
            Self::Compare { comparison, value } => {
                let value = new().bytes(DATA_VALUE, value);
                ("cmp", new().u32(1, REGISTER).u32(2, *comparison as u32).nested(3, &value))
            }
            Self::Bitwise { mask, xor } => {
                let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
                let registers = new().u32(1, REGISTER).u32(2, REGISTER).u32(6, 0).u32(3, length);
                let (mask, xor) = (new().bytes(DATA_VALUE, mask), new().bytes(DATA_VALUE, xor));
                ("bitwise", registers.nested(4, &mask).nested(5, &xor))
            }
            Self::Sequence { modulus } => ("numgen", new().u32(1, REGISTER).u32(2, *modulus).u32(3, 0).u32(4, 0)),
            Self::Counter { packets, bytes } => ("counter", new().u64(1, *bytes).u64(2, *packets)),
            Self::Reject(Answer::PortUnreachable) => ("reject", new().u32(1, 2).u8(2, 1)),
            Self::Reject(Answer::TcpReset) => ("reject", new().u32(1, 1)),
            Self::Drop => ("immediate", verdict(&new().u32(1, NF_DROP))),
            Self::Goto(chain) => ("immediate", verdict(&new().u32(1, NFT_GOTO).text(2, chain))),
        }
    }

    /// Decodes the content of an `NFTA_LIST_ELEM` attribute. Anything other than exactly one of the above is an error.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields::parse(bytes)?;
        let name = fields.get(EXPR_NAME)?.text();
        let data = Fields::parse(fields.get(EXPR_DATA)?.value)?;
        data.expression(&name).map_err(|error| DecodeError::from(format!("expression {name}: {error}")))
    }
}

/// Its name, and its attributes in hexadecimal.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, data) = self.parts();
        write!(f, "{name} {}", hex(&data.to_bytes()))
    }
}

fn verdict(verdict: &Attributes) -> Attributes {
    let data = Attributes::new().nested(DATA_VERDICT, verdict);
    Attributes::new().u32(1, VERDICT_REGISTER).nested(2, &data)
}

/// The attributes of one nest.
struct Fields<'a>(Vec<Attribute<'a>>);

impl<'a> Fields<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        attributes(bytes).collect::<Result<_, _>>().map(Self)
    }

    fn has(&self, kind: u16) -> bool {
        self.0.iter().any(|field| field.kind == kind)
    }

    fn get(&self, kind: u16) -> Result<&Attribute<'a>, DecodeError> {
        let found = self.0.iter().find(|field| field.kind == kind);
        found.ok_or_else(|| DecodeError::from(format!("attribute {kind} is missing")))
    }

    fn u32(&self, kind: u16) -> Result<u32, DecodeError> {
        be32(self.get(kind)?)
    }

    /// The attribute must have this value if it exists: kernels leave out defaults.
    fn is(self, kind: u16, value: u32) -> Result<Self, DecodeError> {
        match self.u32(kind) {
            Ok(found) if found != value => {
                Err(DecodeError::from(format!("attribute {kind} is {found} instead of {value}")))
            }
            Err(error) if self.has(kind) => Err(error),
            _ => Ok(self),
        }
    }

    fn data(&self, kind: u16) -> Result<Vec<u8>, DecodeError> {
        let data = Fields::parse(self.get(kind)?.value)?;
        Ok(data.get(DATA_VALUE)?.value.to_vec())
    }

    /// The expression of this name.
    fn expression(self, name: &str) -> Result<Expression, DecodeError> {
        match name {
            "meta" => self.is(1, REGISTER)?.meta(),
            "payload" if self.has(5) => self.is(5, REGISTER)?.payload_write(),
            "payload" => self.is(1, REGISTER)?.payload(),
            "exthdr" => self.is(6, EXTHDR_OP_TCPOPT)?.is(5, 0)?.tcp_option(),
            "cmp" => self.is(1, REGISTER)?.compare(),
            "bitwise" => self.is(1, REGISTER)?.is(2, REGISTER)?.is(6, 0)?.bitwise(),
            "numgen" => self.is(1, REGISTER)?.is(3, 0)?.is(4, 0)?.sequence(),
            "counter" => self.counter(),
            "reject" => self.reject(),
            "immediate" if self.u32(1)? == VERDICT_REGISTER => self.verdict(),
            "immediate" => self.value(),
            "ct" => self.is(1, REGISTER)?.is(2, 0).map(|_| Expression::FlowState),
            "nat" => self.translate(),
            "masq" => self.is(1, 0).map(|_| Expression::Masquerade),
            _ => Err(DecodeError::from("not one that mptcplab uses")),
        }
    }

    fn meta(&self) -> Result<Expression, DecodeError> {
        use MetaKey::{Family, InputDevice, Mark, OutputDevice, Transport};
        let known = [Mark, InputDevice, OutputDevice, Family, Transport];
        pick(known, |key| key as u32, self.u32(2)?).map(Expression::Meta)
    }

    /// Base, offset and length.
    fn place(&self) -> Result<(Base, u32, u32), DecodeError> {
        let base = pick([Base::Network, Base::Transport, Base::Inner], |base| base as u32, self.u32(2)?)?;
        Ok((base, self.u32(3)?, self.u32(4)?))
    }

    fn payload(&self) -> Result<Expression, DecodeError> {
        self.place().map(|(base, offset, length)| Expression::Payload { base, offset, length })
    }

    fn payload_write(self) -> Result<Expression, DecodeError> {
        let (base, offset, length) = self.is(6, 0)?.is(7, 0)?.is(8, 0)?.place()?;
        Ok(Expression::PayloadWrite { base, offset, length })
    }

    fn tcp_option(self) -> Result<Expression, DecodeError> {
        let kind = self.get(2)?.u8()?;
        if self.has(1) {
            let fields = self.is(1, REGISTER)?;
            Ok(Expression::TcpOption { kind, offset: fields.u32(3)?, length: fields.u32(4)? })
        } else if self.has(7) {
            Err(DecodeError::from("writes a TCP option"))
        } else {
            self.is(3, 0)?.is(4, 0)?;
            Ok(Expression::TcpOptionReset { kind })
        }
    }

    fn compare(&self) -> Result<Expression, DecodeError> {
        let known = [Comparison::Equal, Comparison::Different, Comparison::AtMost, Comparison::AtLeast];
        let comparison = pick(known, |comparison| comparison as u32, self.u32(2)?)?;
        Ok(Expression::Compare { comparison, value: self.data(3)? })
    }

    fn bitwise(&self) -> Result<Expression, DecodeError> {
        let (mask, xor) = (self.data(4)?, self.data(5)?);
        let length = usize::try_from(self.u32(3)?).unwrap_or(usize::MAX);
        if mask.len() != length || xor.len() != length {
            let found = format!("mask {} and xor {} aren't {length} bytes long", hex(&mask), hex(&xor));
            return Err(DecodeError::from(found));
        }
        Ok(Expression::Bitwise { mask, xor })
    }

    fn sequence(&self) -> Result<Expression, DecodeError> {
        Ok(Expression::Sequence { modulus: self.u32(2)? })
    }

    fn counter(&self) -> Result<Expression, DecodeError> {
        Ok(Expression::Counter { packets: be64(self.get(2)?)?, bytes: be64(self.get(1)?)? })
    }

    fn reject(&self) -> Result<Expression, DecodeError> {
        match self.u32(1)? {
            1 => Ok(Expression::Reject(Answer::TcpReset)),
            2 if self.get(2)?.u8()? == 1 => Ok(Expression::Reject(Answer::PortUnreachable)),
            other => Err(DecodeError::from(format!("unexpected type {other}"))),
        }
    }

    fn value(&self) -> Result<Expression, DecodeError> {
        let port = match self.u32(1)? {
            REGISTER => false,
            PORT_REGISTER => true,
            other => return Err(DecodeError::from(format!("unexpected register {other}"))),
        };
        Ok(Expression::Value { port, value: self.data(2)? })
    }

    fn translate(self) -> Result<Expression, DecodeError> {
        let (kind, family, port) = (self.u32(1)?, self.u32(2)?, self.has(5));
        let family = u8::try_from(family).map_err(|_| DecodeError::from(format!("unexpected family {family}")))?;
        if kind > 1 {
            return Err(DecodeError::from(format!("unexpected type {kind}")));
        }
        // The end of a range is shown even if there is none; flags are shown that nobody set.
        let fields = self.is(3, REGISTER)?.is(4, REGISTER)?.is(5, PORT_REGISTER)?.is(6, PORT_REGISTER)?;
        let flags = if fields.has(NAT_FLAGS) { fields.u32(NAT_FLAGS)? } else { 0 };
        if flags & !NAT_FLAGS_SHOWN != 0 {
            return Err(DecodeError::from(format!("unexpected flags {flags:#x}")));
        }
        Ok(Expression::Translate { destination: kind == 1, family, port })
    }

    fn verdict(&self) -> Result<Expression, DecodeError> {
        let data = Fields::parse(self.get(2)?.value)?;
        let verdict = Fields::parse(data.get(DATA_VERDICT)?.value)?;
        match verdict.u32(1)? {
            NF_DROP => Ok(Expression::Drop),
            NFT_GOTO => Ok(Expression::Goto(verdict.get(2)?.text())),
            other => Err(DecodeError::from(format!("unexpected verdict {other}"))),
        }
    }
}

/// The variant with this number.
fn pick<T: Copy>(known: impl IntoIterator<Item = T>, number: impl Fn(T) -> u32, wanted: u32) -> Result<T, DecodeError> {
    let found = known.into_iter().find(|one| number(*one) == wanted);
    found.ok_or_else(|| DecodeError::from(format!("unexpected number {wanted}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `nft add rule … tcp option mptcp subtype 3 oifname eth0 drop` (nftables 1.0.6) hands to the kernel, as
    /// strace(1) saw it: the list of expressions.
    const GOLDEN: &str = "440001800b0001006578746864720000340002800800010000000001050002001e0000000800030000000002\
        080004000000000108000600000000010800050000000000\
        4c0001800c00010062697477697365003c000280080001000000000108000200000000010800060000000000080003000000000\
        10c00048005000100f00000000c000580050001000000000\
        02c00018008000100636d700020000280080001000000000108000200000000000c0003800500010030000000\
        24000180090001006d657461000000001400028008000200000000070800010000000001\
        3800018008000100636d70002c0002800800010000000001080002000000000018000380140001006574683000000000000000000000\
        0000\
        300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000000";

    #[test]
    fn errors_show_names_and_attributes() {
        let shown = Expression::TcpOptionReset { kind: 30 }.to_string();
        assert_eq!(shown, "exthdr 050002001e0000000800060000000001");
    }

    #[test]
    fn a_rule_is_encoded_as_nft_does() {
        let equal = |value: &[u8]| Expression::Compare { comparison: Comparison::Equal, value: value.to_vec() };
        let rule = [
            Expression::TcpOption { kind: 30, offset: 2, length: 1 },
            Expression::Bitwise { mask: vec![0xf0], xor: vec![0] },
            equal(&[0x30]),
            Expression::Meta(MetaKey::OutputDevice),
            equal(b"eth0\0\0\0\0\0\0\0\0\0\0\0\0"),
            Expression::Drop,
        ];
        let list = rule.iter().fold(Attributes::new(), |list, one| list.nested(1, &one.encode()));
        assert_eq!(hex(&list.to_bytes()), GOLDEN);
    }

    fn expression() -> impl Strategy<Value = Expression> {
        use Comparison::{AtLeast, AtMost, Different, Equal};
        use MetaKey::{Family, InputDevice, Mark, OutputDevice, Transport};
        let key = prop::sample::select(vec![Mark, InputDevice, OutputDevice, Family, Transport]);
        let base = prop::sample::select(vec![Base::Network, Base::Transport, Base::Inner]);
        let comparison = prop::sample::select(vec![Equal, Different, AtMost, AtLeast]);
        let bytes = || prop::collection::vec(any::<u8>(), 1..=16);
        let place = (base, any::<u32>(), any::<u32>());
        prop_oneof![
            key.prop_map(Expression::Meta),
            Just(Expression::FlowState),
            Just(Expression::Masquerade),
            (any::<bool>(), bytes()).prop_map(|(port, value)| Expression::Value { port, value }),
            any::<(bool, u8, bool)>().prop_map(|(destination, family, port)| Expression::Translate {
                destination,
                family,
                port
            }),
            place.clone().prop_map(|(base, offset, length)| Expression::Payload { base, offset, length }),
            place.prop_map(|(base, offset, length)| Expression::PayloadWrite { base, offset, length }),
            any::<(u8, u32, u32)>().prop_map(|(kind, offset, length)| Expression::TcpOption { kind, offset, length }),
            any::<u8>().prop_map(|kind| Expression::TcpOptionReset { kind }),
            (comparison, bytes()).prop_map(|(comparison, value)| Expression::Compare { comparison, value }),
            bytes().prop_map(|mask| Expression::Bitwise { xor: mask.iter().map(|byte| !byte).collect(), mask }),
            any::<u32>().prop_map(|modulus| Expression::Sequence { modulus }),
            any::<(u64, u64)>().prop_map(|(packets, bytes)| Expression::Counter { packets, bytes }),
            Just(Expression::Reject(Answer::PortUnreachable)),
            Just(Expression::Reject(Answer::TcpReset)),
            Just(Expression::Drop),
            "[^\0]{0,255}".prop_map(Expression::Goto),
        ]
    }

    #[test]
    fn counters_may_have_counted_and_nothing_else_may_differ() {
        let counter = |packets| Expression::Counter { packets, bytes: 40 * packets };
        assert!(counter(0).is_shown_as(&counter(7)));
        assert!(Expression::Drop.is_shown_as(&Expression::Drop));
        assert!(!Expression::Drop.is_shown_as(&counter(0)));
        assert!(!Expression::Reject(Answer::TcpReset).is_shown_as(&Expression::Reject(Answer::PortUnreachable)));
    }

    #[test]
    fn another_register_is_not_ours() {
        let data = Attributes::new().u32(1, 2).u32(2, MetaKey::Family as u32);
        let bytes = Attributes::new().text(EXPR_NAME, "meta").nested(EXPR_DATA, &data).to_bytes();
        let error = Expression::decode(&bytes).unwrap_err().to_string();
        assert_eq!(error, "expression meta: attribute 1 is 2 instead of 1");
    }

    proptest! {
        #[test]
        fn decoding_reverses_encoding(expression in expression()) {
            prop_assert_eq!(Expression::decode(&expression.encode().to_bytes()).unwrap(), expression);
        }

        #[test]
        fn damaged_expressions_never_panic(expression in expression(), at: prop::sample::Index, bits: u8, cut: prop::sample::Index) {
            let mut bytes = expression.encode().to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = Expression::decode(&bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Expression::decode(&bytes);
        }
    }
}
