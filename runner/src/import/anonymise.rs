//! Replaces addresses by others, consistently: equal ones stay equal, those of one network (/24, /64) stay in one, and the
//! family stays. Names of devices go, too. Networks and hosts are numbered in the order in which they come.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::seen::Seen;

/// Replaces all addresses and names of a report.
pub(super) fn replace(seen: &mut Seen) {
    let mut names = Names::default();
    seen.each_address(&mut |address| *address = names.of(*address));
    let mut devices: BTreeMap<String, usize> = BTreeMap::new();
    seen.each_device(&mut |device| {
        let next = devices.len() + 1;
        let number = *devices.entry(device.clone()).or_insert(next);
        *device = format!("dev{number}");
    });
    // The release of a kernel may name who built it.
    seen.kernel = seen.kernel.take().map(|release| {
        release.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect::<String>()
    });
    seen.anonymous = true;
}

#[derive(Debug, Default)]
struct Names {
    networks: BTreeMap<IpAddr, u32>,
    /// The number of networks of each family.
    ipv4: u32,
    ipv6: u32,
    known: BTreeMap<IpAddr, IpAddr>,
    /// The number of hosts of each network so far.
    hosts: BTreeMap<IpAddr, u32>,
}

impl Names {
    fn of(&mut self, address: IpAddr) -> IpAddr {
        let address = address.to_canonical();
        if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            return address;
        }
        if let Some(known) = self.known.get(&address) {
            return *known;
        }
        let network = match address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address) & !0xff)),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
        };
        let of_family = if network.is_ipv4() { &mut self.ipv4 } else { &mut self.ipv6 };
        let number = *self.networks.entry(network).or_insert_with(|| {
            *of_family += 1;
            *of_family
        });
        let host = self.hosts.entry(network).or_default();
        *host += 1;
        let replaced = match address {
            // 10.0.N.H for the first 255 networks, and as far as 10.255.255.H for more.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | (number << 8 & 0x00ff_ff00) | (*host & 0xff))),
            IpAddr::V6(address) => {
                let prefix: u128 = if address.is_unicast_link_local() { 0xfe80 << 112 } else { 0x2001_0db8 << 96 };
                let network = if address.is_unicast_link_local() { 0 } else { u128::from(number) << 64 };
                IpAddr::V6(Ipv6Addr::from(prefix | network | u128::from(*host)))
            }
        };
        self.known.insert(address, replaced);
        replaced
    }
}
