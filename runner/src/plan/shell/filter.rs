//! Packet filters as `nft` commands: one table for each, so that one command removes it.

use std::net::IpAddr;

use crate::scenario::model::{Filter, FilterAction, FilterHook, FilterProtocol};

use super::quote::{nft_name, nft_string, quote};

/// The commands that install a filter.
pub(super) fn add(filter: &Filter) -> Vec<String> {
    let name = nft_name(&filter.name);
    let chain = filter.hook.word();
    let (purpose, priority) = match (filter.action.translates(), filter.action == FilterAction::Dnat) {
        (true, true) => ("nat", "dstnat"),
        (true, false) => ("nat", "srcnat"),
        (false, _) => ("filter", "0"),
    };
    [
        format!("add table inet {name}"),
        format!("add chain inet {name} {chain} {{ type {purpose} hook {chain} priority {priority}; }}"),
        format!("add rule inet {name} {chain} {}", rule(filter)),
    ]
    .iter()
    .map(|command| nft(&filter.namespace, command))
    .collect()
}

/// The command that removes a filter.
pub(super) fn remove(namespace: &str, name: &str) -> String {
    nft(namespace, &format!("delete table inet {}", nft_name(name)))
}

fn nft(namespace: &str, command: &str) -> String {
    format!("ip netns exec {} nft {}", quote(namespace), quote(command))
}

fn rule(filter: &Filter) -> String {
    let protocol = match filter.protocol {
        FilterProtocol::Tcp => Some("meta l4proto tcp"),
        FilterProtocol::Udp => Some("meta l4proto udp"),
        FilterProtocol::Icmp => Some("meta l4proto { icmp, ipv6-icmp }"),
        FilterProtocol::Any => None,
    };
    let mut terms: Vec<String> = protocol.into_iter().map(str::to_owned).collect();
    let address = |direction: &str, address: IpAddr| {
        let family = if address.to_canonical().is_ipv6() { "ip6" } else { "ip" };
        format!("{family} {direction} {}", address.to_canonical())
    };
    terms.extend(filter.from.map(|from| address("saddr", from)));
    terms.extend(filter.to.map(|to| address("daddr", to)));
    terms.extend(filter.from_port.map(|port| format!("th sport {port}")));
    terms.extend(filter.to_port.map(|port| format!("th dport {port}")));
    let word = match filter.hook {
        FilterHook::Input | FilterHook::Forward | FilterHook::Prerouting => "iifname",
        FilterHook::Output | FilterHook::Postrouting => "oifname",
    };
    for (word, device) in [(word, &filter.device), ("oifname", &filter.out_device)] {
        terms.extend(device.iter().map(|device| format!("{word} {}", nft_string(device))));
    }
    terms.extend(filter.mark.map(|mark| format!("meta mark {mark:#x}")));
    if !filter.states.is_empty() {
        let states: Vec<&str> = filter.states.iter().map(|state| state.word()).collect();
        terms.push(format!("ct state {}", states.join(",")));
    }
    terms.extend(filter.option.map(|subtype| match subtype {
        Some(subtype) => format!("tcp option mptcp subtype {subtype}"),
        None => "tcp option mptcp exists".to_owned(),
    }));
    // A load beyond the end of the payload ends the rule: the last of the wanted bytes exists.
    let last_byte = filter.min_payload.and_then(|bytes| bytes.checked_sub(1));
    terms.extend(last_byte.map(|last| format!("@ih,{},8 0-255", u32::from(last) * 8)));
    terms.extend(filter.nth.map(|nth| format!("numgen inc mod 4294967295 == {}", nth.saturating_sub(1))));
    terms.push("counter".to_owned());
    let translation = |direction: &str| {
        let port = filter.port.map(|port| format!(":{port}")).unwrap_or_default();
        match filter.address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => format!("{direction} ip6 to [{address}]{port}"),
            Some(IpAddr::V4(address)) => format!("{direction} ip to {address}{port}"),
            None => direction.to_owned(),
        }
    };
    terms.push(
        match filter.action {
            FilterAction::Masquerade => "masquerade",
            FilterAction::Snat => return [terms, vec![translation("snat")]].concat().join(" "),
            FilterAction::Dnat => return [terms, vec![translation("dnat")]].concat().join(" "),
            FilterAction::Drop => "drop",
            FilterAction::RejectIcmp => "reject with icmpx type port-unreachable",
            FilterAction::RejectReset => "reject with tcp reset",
            // nft has no exclusive-or on raw payload bytes: this overwrites the first one.
            FilterAction::Corrupt => "@ih,0,8 set 0xff",
            FilterAction::StripMptcp => "reset tcp option mptcp",
        }
        .to_owned(),
    );
    terms.join(" ")
}
