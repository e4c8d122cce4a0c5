//! Commands to paste: what would change an outcome.

use std::net::IpAddr;

use crate::mptcp::{Endpoint, EndpointFlags, canonical};

use crate::here::host::{AddressUse, Connection, Host, OwnAddress};

/// Deletes an endpoint and adds it again, with these flags and this device: this makes the kernel look at each
/// connection again (`mptcp_nl_add_subflow_or_signal_addr`, net/mptcp/pm_kernel.c).
pub(super) fn add_again(endpoint: &Endpoint, flags: EndpointFlags, dev: Option<&str>) -> String {
    let again = Endpoint {
        flags,
        dev: dev.map(ToOwned::to_owned).or_else(|| endpoint.dev.clone()),
        address: canonical(endpoint.address),
        ..endpoint.clone()
    };
    match endpoint.id {
        Some(id) => format!("ip mptcp endpoint delete id {id} && ip mptcp endpoint add {again}"),
        None => format!("ip mptcp endpoint add {again}"),
    }
}

/// The same endpoint once more.
pub(super) fn retry(endpoint: &Endpoint) -> String {
    add_again(endpoint, endpoint.flags, None)
}

/// Raises the limit of additional subflows.
pub(super) fn limit(limit: u32, more: u32) -> String {
    format!("ip mptcp limits set subflows {}", limit.saturating_add(more))
}

/// Raises the limit of accepted announcements. `accept_addr` is sampled when a connection is created
/// (`mptcp_pm_data_reset`, net/mptcp/pm.c).
pub(super) fn accept(limit: u8) -> String {
    format!("ip mptcp limits set add_addr_accepted {} (for new connections)", limit.saturating_add(1))
}

/// Gives new connections to the path manager in the kernel.
pub(super) fn kernel_path_manager(host: &Host) -> String {
    let setting = if host.sysctls.contains_key("net.mptcp.path_manager") {
        "net.mptcp.path_manager=kernel"
    } else {
        "net.mptcp.pm_type=0"
    };
    format!("sysctl {setting} (for new connections), or a daemon such as mptcpd")
}

/// An endpoint for an address of another device than that of the initial subflow.
pub(super) fn first_endpoint(host: &Host, connection: &Connection, server: bool) -> Option<String> {
    let local = canonical(connection.local.ip());
    let used: Vec<&str> = host.places(local).map(|own| own.device.as_str()).collect();
    let fits = |own: &&OwnAddress| {
        let address = canonical(own.address);
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        address.is_ipv4() == local.is_ipv4()
            && own.state == AddressUse::Usable
            && !address.is_loopback()
            && !link_local
            && !used.contains(&own.device.as_str())
    };
    let own = host.addresses.iter().find(fits)?;
    let flag = if server { "signal" } else { "subflow" };
    Some(format!("ip mptcp endpoint add {} dev {} {flag}", canonical(own.address), own.device))
}

/// An address on a device, and then the endpoint again.
pub(super) fn address(endpoint: &Endpoint) -> String {
    let device = endpoint.dev.as_deref().unwrap_or("DEVICE");
    format!("ip address add {}/PREFIX dev {device} && {}", canonical(endpoint.address), retry(endpoint))
}

/// A route for packets with that source.
pub(super) fn source_route(from: IpAddr, device: &str) -> String {
    let from = canonical(from);
    let ip = if from.is_ipv4() { "ip" } else { "ip -6" };
    format!("{ip} rule add from {from} table 100 && {ip} route add default via GATEWAY dev {device} table 100")
}

/// A route by the device of the endpoint, and then the endpoint again.
pub(super) fn route(to: IpAddr, device: &str, endpoint: &Endpoint) -> String {
    let to = canonical(to);
    let ip = if to.is_ipv4() { "ip" } else { "ip -6" };
    format!("{ip} route add {to} via GATEWAY dev {device} metric 100 && {}", retry(endpoint))
}
