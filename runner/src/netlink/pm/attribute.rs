//! The attributes of `mptcp_pm` (`include/uapi/linux/mptcp_pm.h`). Integers are in host byte order, addresses in
//! network byte order.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DecodeError, DefaultNla, Emitable, ErrorContext, NLA_F_NESTED, Nla};

use crate::mptcp::numbers::{address, attr};
use crate::netlink::attribute::{Attribute, attributes};

/// An attribute of an address nest (`MPTCP_PM_ADDR_ATTR_*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressAttribute {
    /// `AF_INET` (2) or `AF_INET6` (10).
    Family(u16),
    /// the address id.
    Id(u8),
    /// an IPv4 address.
    Ipv4(Ipv4Addr),
    /// an IPv6 address, which may be a v4-mapped one.
    Ipv6(Ipv6Addr),
    /// the port. Host byte order, unlike that of an event.
    Port(u16),
    /// `MPTCP_PM_ADDR_FLAG_*`.
    Flags(u32),
    /// the interface index; the kernel doesn't check it.
    InterfaceIndex(i32),
    /// Any other.
    Other(DefaultNla),
}

impl AddressAttribute {
    fn parse(attribute: Attribute<'_>) -> Result<Self, DecodeError> {
        Ok(match attribute.kind {
            address::FAMILY => Self::Family(attribute.u16()?),
            address::ID => Self::Id(attribute.u8()?),
            address::ADDR4 => Self::Ipv4(attribute.ipv4()?),
            address::ADDR6 => Self::Ipv6(attribute.ipv6()?),
            address::PORT => Self::Port(attribute.u16()?),
            address::FLAGS => Self::Flags(attribute.u32()?),
            address::IF_IDX => Self::InterfaceIndex(attribute.i32()?),
            kind => Self::Other(DefaultNla::new(kind, attribute.value.to_vec())),
        })
    }
}

impl Nla for AddressAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Id(_) => 1,
            Self::Family(_) | Self::Port(_) => 2,
            Self::Ipv4(_) | Self::Flags(_) | Self::InterfaceIndex(_) => 4,
            Self::Ipv6(_) => 16,
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Family(_) => address::FAMILY,
            Self::Id(_) => address::ID,
            Self::Ipv4(_) => address::ADDR4,
            Self::Ipv6(_) => address::ADDR6,
            Self::Port(_) => address::PORT,
            Self::Flags(_) => address::FLAGS,
            Self::InterfaceIndex(_) => address::IF_IDX,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Family(value) | Self::Port(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Id(value) => buffer.copy_from_slice(&[*value]),
            Self::Ipv4(address) => buffer.copy_from_slice(&address.octets()),
            Self::Ipv6(address) => buffer.copy_from_slice(&address.octets()),
            Self::Flags(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::InterfaceIndex(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

/// An attribute of a message (`MPTCP_PM_ATTR_*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PmAttribute {
    /// an endpoint, or the local address of a subflow.
    Address(Vec<AddressAttribute>),
    /// the limit `add_addr_accepted`.
    AddAddrAccepted(u32),
    /// the limit `subflows`.
    Subflows(u32),
    /// the token of a connection on this side.
    Token(u32),
    /// an address id.
    LocalId(u8),
    /// the remote address of a subflow.
    RemoteAddress(Vec<AddressAttribute>),
    /// Any other.
    Other(DefaultNla),
}

impl PmAttribute {
    fn parse(attribute: Attribute<'_>) -> Result<Self, DecodeError> {
        Ok(match attribute.kind {
            attr::ADDR => Self::Address(parse_address(attribute).context("the address")?),
            attr::RCV_ADD_ADDRS => Self::AddAddrAccepted(attribute.u32()?),
            attr::SUBFLOWS => Self::Subflows(attribute.u32()?),
            attr::TOKEN => Self::Token(attribute.u32()?),
            attr::LOC_ID => Self::LocalId(attribute.u8()?),
            attr::ADDR_REMOTE => Self::RemoteAddress(parse_address(attribute).context("the remote address")?),
            kind => Self::Other(DefaultNla::new(kind, attribute.value.to_vec())),
        })
    }

    /// Decodes all attributes of a message. One of a wrong size is an error, an unknown one is kept.
    pub(super) fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        attributes(bytes).map(|attribute| Self::parse(attribute?)).collect()
    }
}

fn parse_address(nest: Attribute<'_>) -> Result<Vec<AddressAttribute>, DecodeError> {
    attributes(nest.value).map(|attribute| AddressAttribute::parse(attribute?)).collect()
}

impl Nla for PmAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Address(nest) | Self::RemoteAddress(nest) => nest.as_slice().buffer_len(),
            Self::AddAddrAccepted(_) | Self::Subflows(_) | Self::Token(_) => 4,
            Self::LocalId(_) => 1,
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Address(_) => attr::ADDR | NLA_F_NESTED,
            Self::AddAddrAccepted(_) => attr::RCV_ADD_ADDRS,
            Self::Subflows(_) => attr::SUBFLOWS,
            Self::Token(_) => attr::TOKEN,
            Self::LocalId(_) => attr::LOC_ID,
            Self::RemoteAddress(_) => attr::ADDR_REMOTE | NLA_F_NESTED,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Address(nest) | Self::RemoteAddress(nest) => nest.as_slice().emit(buffer),
            Self::AddAddrAccepted(value) | Self::Subflows(value) | Self::Token(value) => {
                buffer.copy_from_slice(&value.to_ne_bytes());
            }
            Self::LocalId(value) => buffer.copy_from_slice(&[*value]),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}
