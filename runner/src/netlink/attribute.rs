//! Iterating over netlink attributes (`struct nlattr`: length, type, value, padding to four bytes).

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DecodeError, NLA_HEADER_SIZE, NlasIterator};

/// One attribute, borrowed from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    /// The type without the bits `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    pub(super) kind: u16,
    /// The value without the padding.
    pub(super) value: &'a [u8],
}

/// The attributes in these bytes, in their order. The iteration ends after an error.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, DecodeError>> {
    NlasIterator::new(bytes).map(|item| {
        let buffer = item?;
        let (kind, end) = (buffer.kind(), usize::from(buffer.length()));
        // NlaBuffer::value() borrows from the NlaBuffer, which doesn't live long enough.
        let value = buffer.into_inner().get(NLA_HEADER_SIZE..end);
        value
            .map(|value| Attribute { kind, value })
            .ok_or_else(|| DecodeError::from("attribute longer than its message"))
    })
}

impl Attribute<'_> {
    /// The value if it has exactly that many bytes.
    fn exactly<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.value.try_into().map_err(|_| {
            DecodeError::from(format!("attribute {} has {} bytes instead of {N}", self.kind, self.value.len()))
        })
    }

    /// One byte.
    pub(super) fn u8(&self) -> Result<u8, DecodeError> {
        self.exactly::<1>().map(|[byte]| byte)
    }

    /// Two bytes in host order.
    pub(super) fn u16(&self) -> Result<u16, DecodeError> {
        self.exactly().map(u16::from_ne_bytes)
    }

    /// Four bytes in host order.
    pub(super) fn u32(&self) -> Result<u32, DecodeError> {
        self.exactly().map(u32::from_ne_bytes)
    }

    /// Four bytes in host order, signed.
    pub(super) fn i32(&self) -> Result<i32, DecodeError> {
        self.exactly().map(i32::from_ne_bytes)
    }

    /// Four bytes in network order.
    pub(super) fn ipv4(&self) -> Result<Ipv4Addr, DecodeError> {
        self.exactly::<4>().map(Ipv4Addr::from)
    }

    /// Sixteen bytes in network order.
    pub(super) fn ipv6(&self) -> Result<Ipv6Addr, DecodeError> {
        self.exactly::<16>().map(Ipv6Addr::from)
    }

    /// Text, with or without its closing NUL.
    pub(super) fn text(&self) -> String {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(self.value.get(..end).unwrap_or_default()).into_owned()
    }

    /// The value in hexadecimal, for attributes without a name here.
    pub(super) fn hex(&self) -> String {
        hex(self.value)
    }
}

/// Bytes in hexadecimal, two digits each, nothing between.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String can't fail
        text
    })
}
