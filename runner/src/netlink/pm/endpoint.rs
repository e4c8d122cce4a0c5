//! Conversion between [`Endpoint`]s and address nests. Pure.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::DecodeError;

use super::AddressAttribute;
use crate::mptcp::{Endpoint, EndpointFlags};
use crate::netlink::DeviceNames;
use crate::netlink::error::Cause;

/// `AF_INET`
const AF_INET: u16 = 2;
/// `AF_INET6`
const AF_INET6: u16 = 10;

/// The possible contents of an address nest; `None` is not sent. Only the kernel validates the nest as a whole
/// (`mptcp_pm_parse_entry`, `net/mptcp/pm_netlink.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressParts {
    /// FAMILY and ADDR4 or ADDR6; a v4-mapped address goes as ADDR6.
    pub address: Option<IpAddr>,
    /// PORT, host byte order.
    pub port: Option<u16>,
    /// ID. Kernels treat a 0 differently when an endpoint is added: some store it.
    pub id: Option<u8>,
    /// FLAGS, whatever the bits.
    pub flags: Option<EndpointFlags>,
    /// `IF_IDX`
    pub interface_index: Option<i32>,
}

impl AddressParts {
    /// All properties of the endpoint. An ID of 0 is not sent.
    pub(super) fn of_endpoint(endpoint: &Endpoint, devices: &DeviceNames) -> Result<Self, Cause> {
        Ok(Self {
            address: Some(endpoint.address),
            port: endpoint.port,
            id: endpoint.id.filter(|id| *id != 0),
            flags: Some(endpoint.flags),
            interface_index: endpoint.dev.as_deref().map(|name| index_of(name, devices)).transpose()?,
        })
    }

    /// Address and port of a socket. A port of 0 is not sent.
    pub(super) fn of_socket(socket: SocketAddr) -> Self {
        Self { port: Some(socket.port()).filter(|port| *port != 0), ..Self::of_address(socket.ip()) }
    }

    /// An address alone.
    pub(super) fn of_address(address: IpAddr) -> Self {
        Self { address: Some(address), ..Self::default() }
    }

    /// An ID alone.
    pub(super) fn of_id(id: u8) -> Self {
        Self { id: Some(id), ..Self::default() }
    }

    /// As attributes.
    pub fn attributes(self) -> Vec<AddressAttribute> {
        let (family, address) = match self.address {
            Some(IpAddr::V4(v4)) => (Some(AF_INET), Some(AddressAttribute::Ipv4(v4))),
            Some(IpAddr::V6(v6)) => (Some(AF_INET6), Some(AddressAttribute::Ipv6(v6))),
            None => (None, None),
        };
        [
            family.map(AddressAttribute::Family),
            self.id.map(AddressAttribute::Id),
            address,
            self.port.map(AddressAttribute::Port),
            self.flags.map(|flags| AddressAttribute::Flags(flags.bits())),
            self.interface_index.map(AddressAttribute::InterfaceIndex),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn index_of(name: &str, devices: &DeviceNames) -> Result<i32, Cause> {
    devices
        .index(name)
        .and_then(|index| i32::try_from(index).ok())
        .ok_or_else(|| Cause::NoDevice { name: name.to_owned(), known: devices.names().collect::<Vec<_>>().join(", ") })
}

/// The endpoint that a reply describes (`mptcp_nl_fill_addr`, `net/mptcp/pm_netlink.c`). The kernel says port 0 and
/// device 0 for none.
///
/// # Errors
/// If there is no address.
pub fn endpoint_from_attributes(
    attributes: &[AddressAttribute],
    devices: &DeviceNames,
) -> Result<Endpoint, DecodeError> {
    let (mut address, mut port, mut id, mut flags, mut dev) = (None, None, None, EndpointFlags::empty(), None);
    for attribute in attributes {
        match attribute {
            AddressAttribute::Ipv4(v4) => address = Some(IpAddr::V4(*v4)),
            AddressAttribute::Ipv6(v6) => address = Some(IpAddr::V6(*v6)),
            AddressAttribute::Port(number) => port = Some(*number).filter(|number| *number != 0),
            AddressAttribute::Id(number) => id = Some(*number),
            AddressAttribute::Flags(bits) => flags = EndpointFlags::from_bits_retain(*bits),
            AddressAttribute::InterfaceIndex(index) => {
                // An index beyond i32 can't come from an i32; a negative one has no name.
                dev = (*index != 0).then(|| match u32::try_from(*index) {
                    Ok(index) => devices.name(index),
                    Err(_) => format!("if{index}"),
                });
            }
            // The address itself shows its family.
            AddressAttribute::Family(_) | AddressAttribute::Other(_) => {}
        }
    }
    let address = address.ok_or_else(|| DecodeError::from("an endpoint without an address"))?;
    Ok(Endpoint { address, port, id, flags, dev })
}
