//! Packet filters as `nft` commands: one table for each, so that one command removes it.

use std::net::IpAddr;

use crate::scenario::model::{Filter, FilterAction, FilterHook};

use super::quote::{nft_name, nft_string, quote};

/// The commands that install a filter.
pub(super) fn add(filter: &Filter) -> Vec<String> {
    let name = nft_name(&filter.name);
    let (chain, hook) = match filter.hook {
        FilterHook::Input => ("input", "input"),
        FilterHook::Output => ("output", "output"),
    };
    [
        format!("add table inet {name}"),
        format!("add chain inet {name} {chain} {{ type filter hook {hook} priority 0; }}"),
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
    let mut terms = vec!["meta l4proto tcp".to_owned()];
    let address = |direction: &str, address: IpAddr| {
        let family = if address.to_canonical().is_ipv6() { "ip6" } else { "ip" };
        format!("{family} {direction} {}", address.to_canonical())
    };
    terms.extend(filter.from.map(|from| address("saddr", from)));
    terms.extend(filter.to.map(|to| address("daddr", to)));
    if let Some(device) = &filter.device {
        let word = match filter.hook {
            FilterHook::Input => "iifname",
            FilterHook::Output => "oifname",
        };
        terms.push(format!("{word} {}", nft_string(device)));
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
    terms.push(
        match filter.action {
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
