//! From a scenario's filter to the rules of `nf_tables`. Pure.

use std::net::IpAddr;

use thiserror::Error;

use crate::scenario::model::{Filter, FilterAction, FilterHook, FilterProtocol, FlowState};

use super::expression::{Answer, Base, Comparison, Expression, MetaKey};
use super::option;

/// `NFT_NAME_MAXLEN` without the closing NUL and the longer prefix.
const NAME_MAX: usize = 255 - ACTION_PREFIX.len();
/// `IFNAMSIZ`, with its closing NUL.
const DEVICE_SIZE: usize = 16;
const MATCH_PREFIX: &str = "match/";
const ACTION_PREFIX: &str = "action/";

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
/// `IPPROTO_ICMP`, `IPPROTO_TCP`, `IPPROTO_UDP`, `IPPROTO_ICMPV6`
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_ICMPV6: u8 = 58;
/// Maximum number of MPTCP options in a segment: ten of four bytes. One reset expression removes one.
const OPTIONS_MAX: usize = 10;

/// A filter that can't be built.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum FilterError {
    /// The kernel would truncate it, or accept an empty one.
    #[error("a filter name must have 1 to {NAME_MAX} bytes, none of them NUL")]
    Name,
    /// See `dev_valid_name` (`net/core/dev.c`).
    #[error("`{0}` is not a valid device name; expected 1 to 15 bytes, none of them NUL")]
    Device(String),
    /// No packet is both.
    #[error("no segment goes from {from} to {to}: one is IPv4, the other is IPv6")]
    Families { from: IpAddr, to: IpAddr },
    /// Four bits.
    #[error("unknown MPTCP subtype {0}; expected 0 to 15")]
    Subtype(u8),
    /// Counted from 1.
    #[error("no matching segment has number 0; they are numbered from 1")]
    Nth,
}

/// A filter as `nf_tables` rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// `enum nf_inet_hooks`
    pub(super) hook: u32,
    /// The name of the base chain.
    pub(super) match_chain: String,
    /// Its rules: the ways to match, each ending in a goto to the other chain.
    pub(super) matches: Vec<Vec<Expression>>,
    /// The name of the other chain.
    pub(super) action_chain: String,
    /// Its only rule, with the counter.
    pub(super) action: Vec<Expression>,
}

/// The two chains of a filter of this name: where it matches, and where it acts.
pub(super) fn chains(name: &str) -> Result<(String, String), FilterError> {
    if name.is_empty() || name.len() > NAME_MAX || name.contains('\0') {
        return Err(FilterError::Name);
    }
    Ok((format!("{MATCH_PREFIX}{name}"), format!("{ACTION_PREFIX}{name}")))
}

/// Builds the program of a filter.
pub(super) fn compile(filter: &Filter) -> Result<Program, FilterError> {
    let (match_chain, action_chain) = chains(&filter.name)?;
    let mut common = addresses(filter)?;
    common.extend(ports(filter));
    common.extend(devices(filter)?);
    common.extend(marks(filter));
    let damaged = damaged_byte(filter.min_payload);
    common.extend(payload(filter, damaged));
    if filter.action == FilterAction::RejectReset {
        common.extend(no_reset());
    }
    let goto = Expression::Goto(action_chain.clone());
    let (protocols, options) = (protocols(filter.protocol), options(filter)?);
    let alternatives = protocols.iter().flat_map(|protocol| options.iter().map(move |option| (protocol, option)));
    let matches = alternatives
        .map(|(protocol, option)| [protocol.clone(), common.clone(), option.clone(), vec![goto.clone()]].concat())
        .collect::<Vec<_>>();
    // `enum nf_inet_hooks`
    let hook = match filter.hook {
        FilterHook::Prerouting => 0,
        FilterHook::Input => 1,
        FilterHook::Forward => 2,
        FilterHook::Output => 3,
        FilterHook::Postrouting => 4,
    };
    let action = match (filter.action, filter.address.map(|address| address.to_canonical())) {
        (FilterAction::Snat | FilterAction::Dnat, Some(address)) => translation(filter, address),
        (other, _) => action(other, damaged),
    };
    let action = [nth(filter)?, action].concat();
    Ok(Program { hook, match_chain, matches, action_chain, action })
}

/// The ways to be of a protocol.
fn protocols(protocol: FilterProtocol) -> Vec<Vec<Expression>> {
    let is = |number| vec![Expression::Meta(MetaKey::Transport), equal(vec![number])];
    match protocol {
        FilterProtocol::Tcp => vec![is(IPPROTO_TCP)],
        FilterProtocol::Udp => vec![is(IPPROTO_UDP)],
        FilterProtocol::Icmp => vec![is(IPPROTO_ICMP), is(IPPROTO_ICMPV6)],
        FilterProtocol::Any => vec![Vec::new()],
    }
}

/// The requested family and addresses. A new address says the family, too.
fn addresses(filter: &Filter) -> Result<Vec<Expression>, FilterError> {
    let from = filter.from.map(|address| address.to_canonical());
    let to = filter.to.map(|address| address.to_canonical());
    if let (Some(from), Some(to)) = (from, to)
        && from.is_ipv4() != to.is_ipv4()
    {
        return Err(FilterError::Families { from, to });
    }
    let mut rule = Vec::new();
    if let Some(address) = from.or(to).or(filter.address.map(|address| address.to_canonical())) {
        rule.push(Expression::Meta(MetaKey::Family));
        rule.push(equal(vec![if address.is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 }]));
    }
    // The offsets of the source and the destination in struct iphdr and struct ipv6hdr.
    for (address, ipv4_offset, ipv6_offset) in [(from, 12, 8), (to, 16, 24)] {
        let (offset, value) = match address {
            Some(IpAddr::V4(address)) => (ipv4_offset, address.octets().to_vec()),
            Some(IpAddr::V6(address)) => (ipv6_offset, address.octets().to_vec()),
            None => continue,
        };
        let length = if value.len() == 4 { 4 } else { 16 };
        rule.push(Expression::Payload { base: Base::Network, offset, length });
        rule.push(equal(value));
    }
    Ok(rule)
}

/// From and to the requested ports: the first two fields of the TCP and the UDP header.
fn ports(filter: &Filter) -> Vec<Expression> {
    let wanted = [(filter.from_port, 0), (filter.to_port, 2)].into_iter();
    let wanted = wanted.filter_map(|(port, offset)| Some((port?, offset)));
    let ports = wanted.flat_map(|(port, offset)| {
        [Expression::Payload { base: Base::Transport, offset, length: 2 }, equal(port.to_be_bytes().to_vec())]
    });
    ports.collect()
}

/// Through the requested devices.
fn devices(filter: &Filter) -> Result<Vec<Expression>, FilterError> {
    let key = match filter.hook {
        FilterHook::Input | FilterHook::Forward | FilterHook::Prerouting => MetaKey::InputDevice,
        FilterHook::Output | FilterHook::Postrouting => MetaKey::OutputDevice,
    };
    let mut rule = Vec::new();
    for (name, key) in [(&filter.device, key), (&filter.out_device, MetaKey::OutputDevice)] {
        let Some(name) = name else { continue };
        if name.is_empty() || name.len() >= DEVICE_SIZE || name.contains('\0') {
            return Err(FilterError::Device(name.clone()));
        }
        let mut padded = name.clone().into_bytes();
        padded.resize(DEVICE_SIZE, 0);
        rule.extend([Expression::Meta(key), equal(padded)]);
    }
    Ok(rule)
}

/// With the requested mark, and in one of the requested states.
fn marks(filter: &Filter) -> Vec<Expression> {
    let is = |mark: u32| [Expression::Meta(MetaKey::Mark), equal(mark.to_ne_bytes().to_vec())];
    let mut rule: Vec<Expression> = filter.mark.into_iter().flat_map(is).collect();
    // `NF_CT_STATE_BIT`, `NF_CT_STATE_INVALID_BIT` (include/uapi/linux/netfilter/nf_conntrack_common.h)
    let bits = filter.states.iter().fold(0_u32, |bits, state| {
        bits | match state {
            FlowState::Invalid => 1,
            FlowState::Established => 1 << 1,
            FlowState::Related => 1 << 2,
            FlowState::New => 1 << 3,
        }
    });
    if bits != 0 {
        let mask = bits.to_ne_bytes().to_vec();
        let any = Expression::Compare { comparison: Comparison::Different, value: vec![0; mask.len()] };
        rule.extend([Expression::FlowState, Expression::Bitwise { xor: vec![0; mask.len()], mask }, any]);
    }
    rule
}

/// To a new address, and a new port if one is given. Counted before: it accepts the packet.
fn translation(filter: &Filter, address: IpAddr) -> Vec<Expression> {
    let (family, value) = match address {
        IpAddr::V4(address) => (NFPROTO_IPV4, address.octets().to_vec()),
        IpAddr::V6(address) => (NFPROTO_IPV6, address.octets().to_vec()),
    };
    let port = filter.port.map(|port| Expression::Value { port: true, value: port.to_be_bytes().to_vec() });
    let destination = filter.action == FilterAction::Dnat;
    let translate = Expression::Translate { destination, family, port: port.is_some() };
    let values = [Some(Expression::Value { port: false, value }), port].into_iter().flatten();
    values.chain([Expression::Counter { packets: 0, bytes: 0 }, translate]).collect()
}

/// The byte of the payload that is inverted, from 0: the one in the middle of the shortest payload that matches.
fn damaged_byte(min_payload: Option<u16>) -> u32 {
    u32::from(min_payload.unwrap_or(0).saturating_sub(1) / 2)
}

/// Enough payload: its last required byte can be loaded. Corrupting needs at least one byte.
fn payload(filter: &Filter, damaged: u32) -> Vec<Expression> {
    let least = match filter.min_payload.unwrap_or(0) {
        0 if filter.action == FilterAction::Corrupt => damaged + 1,
        least => u32::from(least),
    };
    match least.checked_sub(1) {
        Some(offset) => vec![
            Expression::Payload { base: Base::Inner, offset, length: 1 },
            // Always true once it is loaded; it makes `nft list ruleset` show the condition.
            Expression::Compare { comparison: Comparison::AtLeast, value: vec![0] },
        ],
        None => Vec::new(),
    }
}

/// A reset isn't answered by a reset (RFC 9293 section 3.5.2). It passes, since at the output the answer itself passes,
/// too.
fn no_reset() -> [Expression; 3] {
    const FLAGS: u32 = 13;
    const RST: u8 = 0x04;
    [
        Expression::Payload { base: Base::Transport, offset: FLAGS, length: 1 },
        Expression::Bitwise { mask: vec![RST], xor: vec![0] },
        equal(vec![0]),
    ]
}

/// The ways to carry the requested option. An option to strip must exist.
fn options(filter: &Filter) -> Result<Vec<Vec<Expression>>, FilterError> {
    match filter.option {
        Some(Some(subtype)) if subtype > 15 => Err(FilterError::Subtype(subtype)),
        Some(subtype) => Ok(option::alternatives(subtype)),
        None if filter.action == FilterAction::StripMptcp => Ok(vec![option::any_subtype()]),
        None => Ok(vec![Vec::new()]),
    }
}

/// Only the n-th. The kernel's sequence begins with 0, and returns to it after `u32::MAX` segments (`nft_ng_inc_gen`,
/// `net/netfilter/nft_numgen.c`).
fn nth(filter: &Filter) -> Result<Vec<Expression>, FilterError> {
    match filter.nth {
        None => Ok(Vec::new()),
        Some(0) => Err(FilterError::Nth),
        Some(nth) => Ok(vec![Expression::Sequence { modulus: u32::MAX }, equal((nth - 1).to_ne_bytes().to_vec())]),
    }
}

/// The action, with the counter where it counts exactly the affected segments.
fn action(action: FilterAction, damaged: u32) -> Vec<Expression> {
    let count = Expression::Counter { packets: 0, bytes: 0 };
    match action {
        FilterAction::Drop => vec![count, Expression::Drop],
        FilterAction::RejectIcmp => vec![count, Expression::Reject(Answer::PortUnreachable)],
        FilterAction::RejectReset => vec![count, Expression::Reject(Answer::TcpReset)],
        FilterAction::Corrupt => vec![
            Expression::Payload { base: Base::Inner, offset: damaged, length: 1 },
            Expression::Bitwise { mask: vec![0xff], xor: vec![0xff] },
            Expression::PayloadWrite { base: Base::Inner, offset: damaged, length: 1 },
            count,
        ],
        FilterAction::StripMptcp => {
            let mut rule = vec![Expression::TcpOptionReset { kind: option::MPTCP }; OPTIONS_MAX];
            rule.push(count);
            rule
        }
        // The other two need an address: the reader asks for one.
        FilterAction::Masquerade | FilterAction::Snat | FilterAction::Dnat => vec![count, Expression::Masquerade],
    }
}

fn equal(value: Vec<u8>) -> Expression {
    Expression::Compare { comparison: Comparison::Equal, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(action: FilterAction) -> Filter {
        Filter::new("x", "client", FilterHook::Output, action)
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let base = filter(FilterAction::Drop);
        let families = Filter { from: "10.0.0.1".parse().ok(), to: "fd00::1".parse().ok(), ..base.clone() };
        assert!(matches!(compile(&families), Err(FilterError::Families { .. })));
        let subtype = Filter { option: Some(Some(16)), ..base.clone() };
        assert_eq!(compile(&subtype), Err(FilterError::Subtype(16)));
        assert_eq!(compile(&Filter { nth: Some(0), ..base.clone() }), Err(FilterError::Nth));
        for name in ["", "a\0", &"n".repeat(NAME_MAX + 1)] {
            assert_eq!(compile(&Filter { name: name.into(), ..base.clone() }), Err(FilterError::Name));
        }
        for device in ["", "a\0", "sixteen-letters!"] {
            let bad = Filter { device: Some(device.into()), ..base.clone() };
            assert_eq!(compile(&bad), Err(FilterError::Device(device.into())));
        }
    }

    #[test]
    fn the_greatest_nth_can_be_reached() {
        let last = compile(&Filter { nth: Some(u32::MAX), ..filter(FilterAction::Drop) }).unwrap();
        // The sequence goes up to its modulus minus one.
        let value = (u32::MAX - 1).to_ne_bytes().to_vec();
        assert_eq!(last.action[..2], [Expression::Sequence { modulus: u32::MAX }, equal(value)]);
    }

    #[test]
    fn counting_to_n_comes_first_and_the_count_of_actions_last() {
        use FilterAction::{Corrupt, Drop, RejectIcmp, RejectReset, StripMptcp};
        for action in [Drop, RejectIcmp, RejectReset, Corrupt, StripMptcp] {
            let program = compile(&Filter { nth: Some(2), ..filter(action) }).unwrap();
            assert!(matches!(program.action[0], Expression::Sequence { .. }), "{action:?}");
            let at = program.action.iter().position(|one| matches!(one, Expression::Counter { .. })).unwrap();
            // Behind it there is only what can't fail.
            let behind = &program.action[at + 1..];
            assert!(behind.iter().all(|one| matches!(one, Expression::Drop | Expression::Reject(_))), "{action:?}");
        }
    }

    #[test]
    fn every_way_to_match_has_all_conditions_and_ends_in_the_action() {
        let all = Filter {
            from: "10.0.0.1".parse().ok(),
            device: Some("one".into()),
            option: Some(Some(4)),
            min_payload: Some(300),
            ..filter(FilterAction::RejectReset)
        };
        let program = compile(&all).unwrap();
        assert!(program.matches.len() > 20, "RM_ADDR can be in many places");
        for rule in &program.matches {
            assert!(rule.contains(&Expression::Meta(MetaKey::Transport)));
            assert!(rule.contains(&Expression::Payload { base: Base::Network, offset: 12, length: 4 }));
            assert!(rule.contains(&Expression::Meta(MetaKey::OutputDevice)));
            assert!(rule.contains(&Expression::Payload { base: Base::Inner, offset: 299, length: 1 }));
            assert_eq!(rule.last(), Some(&Expression::Goto("action/x".into())));
        }
    }

    #[test]
    fn to_corrupt_there_must_be_a_byte_to_corrupt() {
        for (least, needed, damaged) in [(None, 0, 0), (Some(0), 0, 0), (Some(1), 0, 0), (Some(100), 99, 49)] {
            let program = compile(&Filter { min_payload: least, ..filter(FilterAction::Corrupt) }).unwrap();
            let load = |offset| Expression::Payload { base: Base::Inner, offset, length: 1 };
            assert!(program.matches[0].contains(&load(needed)), "{least:?}");
            assert!(program.action.contains(&load(damaged)), "{least:?}");
        }
    }
}
