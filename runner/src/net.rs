//! The vocabulary of networks: addresses, routes, interfaces. Plain values; nothing here touches the kernel.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

mod routing;

pub use routing::{LOCAL_TABLE, MAIN_TABLE, NextHop, PROTOCOL_WORDS, Route, RouteType, RoutingRule, protocol_number};

/// An address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix in bits.
    pub prefix: u8,
}

impl Address {
    /// Whether an address is in the subnet of this one.
    pub fn covers(&self, address: IpAddr) -> bool {
        let rest = |bits: u8| u32::from(bits.saturating_sub(self.prefix));
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(rest(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(rest(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Its subnet: the address without its host part.
    #[must_use]
    pub fn network(&self) -> Self {
        let rest = |bits: u32| bits.saturating_sub(u32::from(self.prefix));
        let address = match self.address {
            IpAddr::V4(own) => IpAddr::V4((own.to_bits() & u32::MAX.checked_shl(rest(u32::BITS)).unwrap_or(0)).into()),
            IpAddr::V6(own) => {
                IpAddr::V6((own.to_bits() & u128::MAX.checked_shl(rest(u128::BITS)).unwrap_or(0)).into())
            }
        };
        Self { address, prefix: self.prefix }
    }

    /// The address alone, as the longest prefix.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self { address: self.address, prefix: if self.address.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// What a program can configure in its namespace, by the sockets that it has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Configures {
    /// The path manager: it has a generic netlink socket.
    PathManager,
    /// Filters: it has a netlink socket of netfilter.
    Netfilter,
}

/// What makes an interface the same in each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// The interface index in its namespace, from 2 (`lo` is 1). Different at the two ends of a link: the kernel
    /// notices a carrier up to a second late where they are equal (`linkwatch_urgent_event`,
    /// `net/core/link_watch.c`).
    pub index: u32,
    /// A locally administered MAC address.
    pub mac: [u8; 6],
}

/// What a device leaves to others, or to later. With all of them off, what it sends is what a wire would carry: frames
/// no longer than the MTU, with complete checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// Checksums are completed later: for ever, if the other end of a veth doesn't care.
    TransmitChecksum,
    /// Segments longer than the MTU are cut by the device.
    TcpSegmentation,
    /// Segments longer than the MTU are cut right before they are given to the device.
    GenericSegmentation,
    /// Received segments that belong together become one.
    GenericReceive,
}

impl Offload {
    /// All of them. Without checksums, there is no segmentation by the device: they come first.
    pub const ALL: [Self; 4] =
        [Self::TransmitChecksum, Self::TcpSegmentation, Self::GenericSegmentation, Self::GenericReceive];

    /// As ethtool(8) calls it: `tx`, `tso`.
    pub fn word(self) -> &'static str {
        match self {
            Self::TransmitChecksum => "tx",
            Self::TcpSegmentation => "tso",
            Self::GenericSegmentation => "gso",
            Self::GenericReceive => "gro",
        }
    }
}
