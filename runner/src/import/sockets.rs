//! Sockets as `ss` prints them: `ss -M` for MPTCP sockets, `ss -t` for subflows, with `-i` for what MPTCP has to say
//! (iproute2, `mptcp_stats_print` and `mptcp_subflow_info`, misc/ss.c).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::seen::{Pair, Socket, Subflow};

/// States of sockets, as `ss` writes them.
const STATES: [&str; 12] = [
    "ESTAB",
    "LISTEN",
    "UNCONN",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSE-WAIT",
    "LAST-ACK",
    "CLOSING",
    "CLOSED",
];

/// Service names that `ss` without `-n` prints for ports (/etc/services).
const SERVICES: [(&str, u16); 6] =
    [("ssh", 22), ("http", 80), ("https", 443), ("imaps", 993), ("http-alt", 8080), ("webcache", 8080)];

/// Fields of `struct mptcp_info` that say something about paths, by their names in `ss` and in scenarios.
const INFO: [&str; 8] = [
    "subflows",
    "add_addr_signal",
    "add_addr_accepted",
    "subflows_max",
    "add_addr_accepted_max",
    "bytes_sent",
    "bytes_received",
    "csum_enabled",
];

/// A socket of the output.
#[derive(Debug)]
pub(super) enum Shown {
    Mptcp(Pair, Socket),
    Subflow(Pair, Subflow),
    Listening(u16),
    /// A socket that says nothing about MPTCP.
    Other,
}

/// The line begins a socket. What belongs to it may go on in the next line, which begins with white space.
pub(super) fn begins(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_state = |word: Option<&str>| word.is_some_and(|word| STATES.contains(&word));
    match words.next() {
        Some("tcp" | "mptcp" | "udp") => is_state(words.next()),
        word => is_state(word),
    }
}

/// The socket of a line and those that belong to it.
pub(super) fn socket(line: &str) -> Result<Shown, String> {
    let mut words = line.split_whitespace().peekable();
    let netid = words.next_if(|word| ["tcp", "mptcp", "udp"].contains(word));
    let state = words.next().unwrap_or_default();
    let (Some(local), Some(remote)) = (words.nth(2), words.next()) else {
        return Err("the addresses of the socket are missing".to_owned());
    };
    let rest: Vec<&str> = words.collect();
    if state == "LISTEN" {
        let is_mptcp = netid != Some("tcp");
        return Ok(port(local).filter(|_| is_mptcp).map_or(Shown::Other, Shown::Listening));
    }
    if rest.contains(&"tcp-ulp-mptcp") {
        let pair = (address(local)?, address(remote)?);
        return Ok(subflow(&rest, device(local)).map_or(Shown::Other, |subflow| Shown::Subflow(pair, subflow)));
    }
    let token = value(&rest, "token").and_then(|token| u32::from_str_radix(token, 16).ok());
    let is_mptcp = netid == Some("mptcp") || (netid.is_none() && token.is_some());
    if !is_mptcp || state != "ESTAB" {
        return Ok(Shown::Other);
    }
    let number = |name: &'static str| Some((name, value(&rest, name)?.parse().ok()?));
    let info = INFO.into_iter().filter_map(number).collect();
    let socket = Socket { token, info, fallback: rest.contains(&"fallback") };
    Ok(Shown::Mptcp((address(local)?, address(remote)?), socket))
}

fn subflow(rest: &[&str], dev: Option<String>) -> Option<Subflow> {
    // token:REMOTE(id:N)/LOCAL(id:N)
    let (remote, local) = value(rest, "token")?.split_once('/')?;
    let (_, remote_id) = with_id(remote)?;
    let (local_token, local_id) = with_id(local)?;
    let flags = value(rest, "flags").unwrap_or_default().to_owned();
    Some(Subflow { local_id, remote_id, local_token, dev, flags })
}

fn with_id(text: &str) -> Option<(u32, u8)> {
    let (token, id) = text.strip_suffix(')')?.split_once("(id:")?;
    Some((u32::from_str_radix(token, 16).ok()?, id.parse().ok()?))
}

fn value<'a>(rest: &[&'a str], name: &str) -> Option<&'a str> {
    rest.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix(':'))
}

/// `10.0.3.2%eth3:45299`, `[dead:beef::1]:8080`, `*:8080`
fn address(text: &str) -> Result<SocketAddr, String> {
    let bad = || format!("`{text}` is not an address with a port");
    let (host, _) = text.rsplit_once(':').ok_or_else(bad)?;
    let host = host.split('%').next().unwrap_or_default().trim_matches(['[', ']']);
    let ip = if host == "*" { Ipv4Addr::UNSPECIFIED.into() } else { host.parse::<IpAddr>().map_err(|_| bad())? };
    // A service that isn't known here has the port 0: it is not determined.
    Ok(SocketAddr::new(ip, port(text).unwrap_or(0)))
}

fn port(text: &str) -> Option<u16> {
    let (_, port) = text.rsplit_once(':')?;
    port.parse().ok().or_else(|| SERVICES.iter().find(|(name, _)| *name == port).map(|(_, port)| *port))
}

fn device(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('%')?;
    let dev = rest.split([':', ']']).next()?;
    Some(dev.to_owned()).filter(|dev| !dev.is_empty())
}
