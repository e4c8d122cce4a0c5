//! Messages of `NFNL_SUBSYS_NFTABLES`: a netlink header, `struct nfgenmsg` (family, version, resource id in network
//! byte order), attributes (`include/uapi/linux/netfilter/nfnetlink.h`, `nf_tables.h`).

use std::fmt;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
    NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};

use crate::netlink::attribute::{Attribute, attributes};

use super::expression::Expression;

/// The table of all filters, family inet (IPv4 and IPv6).
pub(super) const TABLE: &str = "mptcplab";
/// `NFPROTO_INET`
const NFPROTO_INET: u8 = 1;
/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// `enum nf_tables_msg_types`
const NEWTABLE: u16 = SUBSYSTEM << 8;
const NEWCHAIN: u16 = SUBSYSTEM << 8 | 3;
const GETCHAIN: u16 = SUBSYSTEM << 8 | 4;
const DELCHAIN: u16 = SUBSYSTEM << 8 | 5;
const NEWRULE: u16 = SUBSYSTEM << 8 | 6;
const GETRULE: u16 = SUBSYSTEM << 8 | 7;
/// `NFTA_LIST_ELEM`
const LIST_ELEM: u16 = 1;
/// `NFTA_RULE_EXPRESSIONS`
const RULE_EXPRESSIONS: u16 = 4;
/// `NFTA_CHAIN_HOOK`, `NFTA_CHAIN_POLICY`, `NFTA_CHAIN_TYPE`
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
/// `NF_ACCEPT`
const NF_ACCEPT: u32 = 1;

/// The hook of a base chain, and its priority there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    /// `enum nf_inet_hooks`
    pub(super) number: u32,
    /// The chain with the lowest priority comes first.
    pub(super) priority: i32,
    /// What its chain is for.
    pub(super) purpose: Purpose,
}

/// The type of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its rules see each packet.
    Filter,
    /// Its rules see the first packet of each connection, and decide for all others.
    Nat,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hook {} with priority {}", self.purpose.word(), self.number, self.priority)
    }
}

/// A list of attributes in its netlink form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<DefaultNla>);

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.push(DefaultNla::new(kind, value.to_vec()));
        self
    }

    /// With its closing NUL.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn u8(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    /// In network byte order, as all numbers of `nf_tables`.
    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.to_bytes())
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let list = self.0.as_slice();
        let mut bytes = vec![0; list.buffer_len()];
        list.emit(&mut bytes);
        bytes
    }
}

/// Four bytes in network byte order.
pub(super) fn be32(attribute: &Attribute<'_>) -> Result<u32, DecodeError> {
    fixed(attribute).map(u32::from_be_bytes)
}

/// Eight bytes in network byte order.
pub(super) fn be64(attribute: &Attribute<'_>) -> Result<u64, DecodeError> {
    fixed(attribute).map(u64::from_be_bytes)
}

fn fixed<const N: usize>(attribute: &Attribute<'_>) -> Result<[u8; N], DecodeError> {
    let (kind, value) = (attribute.kind, attribute.value);
    let wrong = |_| DecodeError::from(format!("attribute {kind} has {} bytes instead of {N}", value.len()));
    value.try_into().map_err(wrong)
}

/// A message of `nf_tables`, or a mark of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NftMessage {
    kind: u16,
    family: u8,
    resource: u16,
    attributes: Vec<u8>,
}

/// A message with its flags (`NLM_F_…`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    message: NftMessage,
    flags: u16,
}

impl Request {
    fn new(kind: u16, flags: u16, attributes: &Attributes) -> Self {
        let message = NftMessage { kind, family: NFPROTO_INET, resource: 0, attributes: attributes.to_bytes() };
        Self { message, flags: NLM_F_REQUEST | flags }
    }

    fn mark(kind: u16) -> Self {
        let message = NftMessage { kind, family: 0, resource: SUBSYSTEM, attributes: Vec::new() };
        Self { message, flags: NLM_F_REQUEST }
    }

    /// Opens a batch: all requests until [`Request::end`] take effect, or none.
    pub(super) fn begin() -> Self {
        Self::mark(BATCH_BEGIN)
    }

    /// Closes a batch.
    pub(super) fn end() -> Self {
        Self::mark(BATCH_END)
    }

    /// Creates the table, if it doesn't exist yet.
    pub(super) fn new_table() -> Self {
        Self::new(NEWTABLE, NLM_F_CREATE, &Attributes::new().text(1, TABLE).u32(2, 0))
    }

    /// Creates a chain, which must be new.
    pub(super) fn new_chain(name: &str) -> Self {
        Self::new(NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, &Attributes::new().text(1, TABLE).text(3, name))
    }

    /// Creates a chain that the hook calls, which must be new. Packets that reach its end pass.
    pub(super) fn new_base_chain(name: &str, hook: Hook) -> Self {
        let place = Attributes::new().u32(1, hook.number).u32(2, hook.priority.cast_unsigned());
        let chain = Attributes::new().text(1, TABLE).text(3, name).nested(CHAIN_HOOK, &place);
        let chain = chain.u32(CHAIN_POLICY, NF_ACCEPT).text(CHAIN_TYPE, hook.purpose.word());
        Self::new(NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, &chain)
    }

    /// Requests a chain.
    pub(super) fn get_chain(name: &str) -> Self {
        Self::new(GETCHAIN, NLM_F_ACK, &Attributes::new().text(1, TABLE).text(3, name))
    }

    /// Deletes a chain with its rules.
    pub(super) fn delete_chain(name: &str) -> Self {
        Self::new(DELCHAIN, 0, &Attributes::new().text(1, TABLE).text(3, name))
    }

    /// Appends a rule to a chain.
    pub(super) fn new_rule(chain: &str, expressions: &[Expression]) -> Self {
        let list = expressions.iter().fold(Attributes::new(), |list, one| list.nested(LIST_ELEM, &one.encode()));
        let rule = Attributes::new().text(1, TABLE).text(2, chain).nested(RULE_EXPRESSIONS, &list);
        Self::new(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, &rule)
    }

    /// Requests all rules of a chain.
    pub(super) fn get_rules(chain: &str) -> Self {
        Self::new(GETRULE, NLM_F_DUMP, &Attributes::new().text(1, TABLE).text(2, chain))
    }

    /// The same request, acknowledged when it is done.
    pub(super) fn acknowledged(mut self) -> Self {
        self.flags |= NLM_F_ACK;
        self
    }

    /// The bytes for the socket.
    pub(super) fn to_bytes(&self, sequence: u32) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.flags = self.flags;
        header.sequence_number = sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(self.message.clone()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }
}

impl NftMessage {
    /// The expressions of a rule, in their order.
    pub(super) fn rule(&self) -> Result<Vec<Expression>, DecodeError> {
        self.expect(NEWRULE, "rule")?;
        let mut expressions = Vec::new();
        for attribute in attributes(&self.attributes) {
            let attribute = attribute?;
            if attribute.kind == RULE_EXPRESSIONS {
                for expression in attributes(attribute.value) {
                    expressions.push(Expression::decode(expression?.value)?);
                }
            }
        }
        Ok(expressions)
    }

    /// The hook of a base chain that accepts; `None` for any other chain.
    pub(super) fn base_chain(&self) -> Result<Option<Hook>, DecodeError> {
        self.expect(NEWCHAIN, "chain")?;
        let (mut number, mut priority, mut accepts, mut purpose) = (None, None, false, None);
        for attribute in attributes(&self.attributes) {
            let attribute = attribute?;
            match attribute.kind {
                CHAIN_HOOK => {
                    for part in attributes(attribute.value) {
                        let part = part?;
                        match part.kind {
                            1 => number = Some(be32(&part)?),
                            2 => priority = Some(be32(&part)?.cast_signed()),
                            _ => {}
                        }
                    }
                }
                CHAIN_POLICY => accepts = be32(&attribute)? == NF_ACCEPT,
                CHAIN_TYPE => {
                    let word = attribute.text();
                    purpose = [Purpose::Filter, Purpose::Nat].into_iter().find(|purpose| purpose.word() == word);
                }
                _ => {}
            }
        }
        let hook = number.zip(priority).zip(purpose);
        let hook = hook.map(|((number, priority), purpose)| Hook { number, priority, purpose });
        Ok(hook.filter(|_| accepts))
    }

    fn expect(&self, kind: u16, what: &str) -> Result<(), DecodeError> {
        if self.kind == kind {
            Ok(())
        } else {
            Err(DecodeError::from(format!("message of type {:#x} instead of a {what}", self.kind)))
        }
    }
}

/// `sizeof(struct nfgenmsg)`
const NFGENMSG_LEN: usize = 4;

impl NetlinkSerializable for NftMessage {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        NFGENMSG_LEN + self.attributes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let [high, low] = self.resource.to_be_bytes();
        let bytes = [self.family, 0, high, low].into_iter().chain(self.attributes.iter().copied());
        buffer.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }
}

impl NetlinkDeserializable for NftMessage {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        match payload.split_first_chunk::<NFGENMSG_LEN>() {
            Some(([family, _, high, low], attributes)) => Ok(Self {
                kind: header.message_type,
                family: *family,
                resource: u16::from_be_bytes([*high, *low]),
                attributes: attributes.to_vec(),
            }),
            None => Err(DecodeError::from("shorter than struct nfgenmsg")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_requests_are_encoded_as_nft_does() {
        // Seen by strace(1): begin, sequence number 0.
        let begin = [20, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
        assert_eq!(Request::begin().to_bytes(0), begin);
        let mut delete = vec![40, 0, 0, 0, 5, 10, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        delete.extend(b"\x0d\0\x01\0mptcplab\0\0\0\0\x06\0\x03\0x\0\0\0");
        delete[0] = u8::try_from(delete.len()).unwrap();
        assert_eq!(Request::delete_chain("x").acknowledged().to_bytes(7), delete);
    }

    #[test]
    fn a_rule_and_a_base_chain_come_back() {
        let rule = vec![Expression::Sequence { modulus: 9 }, Expression::Drop];
        assert_eq!(Request::new_rule("x", &rule).message.rule().unwrap(), rule);
        let hook = Hook { number: 3, priority: -7, purpose: Purpose::Nat };
        let chain = Request::new_base_chain("x", hook).message;
        assert_eq!(chain.base_chain().unwrap(), Some(hook));
        assert_eq!(Request::new_chain("x").message.base_chain().unwrap(), None);
        assert!(chain.rule().is_err());
    }
}
