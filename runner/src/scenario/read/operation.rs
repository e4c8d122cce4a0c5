//! Operations: changes of the configuration. What is declared in [`Operation`] is read by itself; here is what takes more
//! than one key, or what has been said before.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{self, Key, Kind, Shape, scalar as key};
use super::super::model::{
    Filter, FilterAction, FilterHook, FilterProtocol, FlagChange, Operation, Place, TokenChoice, WhichEndpoints,
};
use super::super::record::{group, part, record, words};
use super::super::scalar::{self, Ip, Octet, Port};
use super::super::yaml::Node;
use super::part::{Device, Flags};
use super::scope::Scope;
use super::{At, Fields, Read, all};
use crate::mptcp::{Endpoint, EndpointFlags};

/// Reads the operation of that name, and checks what has to do with what has been said before.
pub(super) fn read(at: &At<'_>, word: &str, node: &Node) -> Read<Operation> {
    let operation = Operation::chosen(at, word, node)?;
    let record = Operation::RECORD.chosen(word).unwrap_or(Operation::RECORD);
    let (fields, scope) = (Fields::again(at.reader, node, record), at.scope);
    match &operation {
        Operation::SetLimits { subflows: None, add_addr_accepted: None, .. } => {
            return Err(super::world::no_limit(&fields));
        }
        Operation::DeleteAddress { namespace, address, .. } if !at.refusal && scope.world_is_known => {
            let known = (namespace.clone(), address.address.to_canonical());
            if !scope.addresses.contains(&known) {
                let message = format!("`{namespace}` does not have the address {}", known.1);
                return Err(at.reader.report(
                    Diagnostic::new(fields.place_of("address"), message)
                        .help(format!("it has {}", scope.addresses_of(namespace))),
                ));
            }
        }
        Operation::AddFilter(Filter { namespace, name, .. }) => {
            let same = |known: &Filter| known.namespace == *namespace && known.name == *name;
            if let Some((_, known)) = scope.filters.iter().find(|(known, _)| same(known)) {
                let diagnostic =
                    Diagnostic::new(fields.place(), format!("`{namespace}` already has a filter `{name}`"));
                return Err(at.reader.report(diagnostic.context(*known, "installed here")));
            }
        }
        Operation::RemoveFilter { namespace, name } => {
            let known = scope.filters.iter().filter(|(known, _)| known.namespace == *namespace);
            let known = known.map(|(known, _)| known.name.as_str());
            if !known.clone().any(|known| known == name) {
                let help = super::super::nearest::suggestion(name, known);
                let message = format!("`{namespace}` has no filter `{name}` at this point");
                return Err(super::scope::unknown(at.reader, fields.place_of("name"), message, help));
            }
        }
        _ => {}
    }
    Ok(operation)
}

/// Notes what an operation changes that the kernel accepts.
pub(super) fn take(operation: &Operation, place: Place, scope: &mut Scope) {
    match operation {
        Operation::AddAddress { namespace, address, .. } => {
            scope.addresses.insert((namespace.clone(), address.address.to_canonical()));
        }
        Operation::AddFilter(filter) => {
            scope.filters.push((filter.clone(), place));
        }
        Operation::RemoveFilter { namespace, name } => {
            scope.filters.retain(|(known, _)| known.namespace != *namespace || known.name != *name);
        }
        _ => {}
    }
}

group! {
    /// Whether an interface goes up.
    IsUp: bool = &[], |at| Ok(at.word == "link_up")
}

group! {
    /// Which endpoints are meant: by id, by address, or all.
    Which: WhichEndpoints = &[
        key("id", Kind::Integer(0, 255), "The endpoint with this id; 0: the address of the initial subflow."),
        grammar::ADDRESS.doc("The endpoint with this address; with id 0: the address of the initial subflow."),
        grammar::PORT.doc("The port of the endpoint, if it has one; only with an address."),
        Key::of::<Every>("all", "All endpoints of the namespace at that moment."),
    ],
    which
}

words! {
    /// All endpoints.
    Every {
        /// The only word.
        All = "true",
    }
}

part! {
    /// The flags of `change_endpoint`.
    NewFlags: FlagChange = Shape::List(&Shape::Scalar(Kind::Word(&CHANGES))), change
}

/// The words of new flags.
const CHANGES: [&str; 4] = ["backup", "nobackup", "fullmesh", "nofullmesh"];

/// The connection, by name or by a token that is wrong on purpose.
const WHOSE: [Key; 2] = [
    key("connection", Kind::Name, "The connection; its token on the side of the namespace is used."),
    key("token", Kind::Integer(0, 0xffff_ffff), "A token as a number, for wrong tokens."),
];

group! {
    /// The token of a userspace path manager's command: that of `connection`, or the number of `token`.
    Token: TokenChoice = &[]; one of &WHOSE,
    |at| {
        at.reader.choice(at.fields)?;
        token(at)?.ok_or_else(|| at.reader.error(at.fields.place(), "expected `connection` or `token`"))
    }
}

group! {
    /// The token of a question, which may be about the kernel's path manager.
    Asked: Option<TokenChoice> = &[
        WHOSE[0].doc("Query the userspace path manager's list of that connection."),
        WHOSE[1].doc("The same with a token as a number, for wrong tokens."),
    ],
    token
}

record! {
    /// An address to announce. Unlike an endpoint's, its id may be 0.
    Announced for Endpoint {
        address: need Ip = "address", "The address.";
        id: maybe Octet = "id", "The address id.";
        port: maybe Port = "port", "The port.";
        flags: or(EndpointFlags::SIGNAL) Flags = "flags", "`[signal]` by default.";
        dev: maybe Device = "dev", "The interface.";
    }
}

record! {
    /// The local address of a new subflow. Unlike an endpoint's, its id may be 0.
    Id0Address for Endpoint {
        address: need Ip = "address", "The local address.";
        id: maybe Octet = "id", "The address id.";
        flags: or(EndpointFlags::empty()) Flags = "flags", "`backup`, or nothing.";
        dev: maybe Device = "dev", "The interface.";
        port: later Option<u16>;
    }
}

/// Whether the kernel has such a filter at its hook, and whether its conditions can hold.
pub fn fits_its_hook(at: &At<'_>, filter: Filter) -> Read<Filter> {
    let Filter { hook, action, protocol, .. } = filter;
    let wrong = |key: &str, message: String, help: &str| {
        Err(at.reader.report(Diagnostic::new(at.fields.place_of(key), message).help(help)))
    };
    let (word, place) = (action.word(), hook.word());
    let hooks: &[FilterHook] = match action {
        FilterAction::Masquerade | FilterAction::Snat => &[FilterHook::Postrouting],
        FilterAction::Dnat => &[FilterHook::Prerouting, FilterHook::Output],
        _ => &[FilterHook::Input, FilterHook::Output, FilterHook::Forward],
    };
    if !hooks.contains(&hook) {
        let words: Vec<String> = hooks.iter().map(|hook| format!("`{}`", hook.word())).collect();
        let help = format!("`{word}` works at {}", words.join(" or "));
        return wrong("hook", format!("there is no `{word}` at the hook `{place}`"), &help);
    }
    let given = matches!(action, FilterAction::Snat | FilterAction::Dnat);
    match (given, filter.address, filter.port) {
        (true, None, _) => return wrong("action", format!("`{word}` needs the new address"), "add `address:`"),
        (false, Some(_), _) | (false, None, Some(_)) => {
            let key = if filter.address.is_some() { "address" } else { "port" };
            return wrong(key, format!("`{word}` takes no `{key}`"), "only `snat` and `dnat` do");
        }
        _ => {}
    }
    let addresses = [filter.from, filter.to, filter.address].into_iter().flatten();
    let families: Vec<bool> = addresses.map(|address| address.to_canonical().is_ipv4()).collect();
    if families.iter().any(|is_ipv4| Some(is_ipv4) != families.first()) {
        let message = "the filter mixes IPv4 and IPv6; expected one address family".to_owned();
        return Err(at.reader.error(at.fields.place(), message));
    }
    let segments = filter.option.is_some() || filter.min_payload.is_some();
    let of_tcp = matches!(action, FilterAction::RejectReset | FilterAction::Corrupt | FilterAction::StripMptcp);
    if protocol != FilterProtocol::Tcp && (segments || of_tcp) {
        let message = format!("the protocol `{}` has no segments", protocol.word());
        let help = "`option`, `min_payload`, `reject_reset`, `corrupt` and `strip_mptcp` are for TCP";
        return wrong("protocol", message, help);
    }
    let ports = [filter.from_port, filter.to_port, filter.port];
    if matches!(protocol, FilterProtocol::Icmp | FilterProtocol::Any) && ports.iter().any(Option::is_some) {
        return wrong(
            "protocol",
            format!("the protocol `{}` has no ports", protocol.word()),
            "`tcp` and `udp` have some",
        );
    }
    if filter.out_device.is_some() && hook != FilterHook::Forward {
        let help = "`device` is the interface that packets arrive or leave by";
        return wrong("out_device", format!("the hook `{place}` takes no `out_device`"), help);
    }
    Ok(filter)
}

fn which(at: &At<'_>) -> Read<WhichEndpoints> {
    let (id, address, port) = (at.maybe::<Octet>("id"), at.maybe::<Ip>("address"), at.maybe::<Port>("port"));
    let every = at.maybe::<Every>("all");
    let contradiction = |message: &str| {
        Err(at.reader.report(
            Diagnostic::new(at.fields.place(), message)
                .help("`id: 2`; `id: 0` with the `address:` of the initial subflow; `address:`, perhaps with `port:`; or `all: true`"),
        ))
    };
    match (id?, address?, port?, every?) {
        (None, None, None, Some(_)) => Ok(WhichEndpoints::All),
        (_, _, _, Some(_)) => contradiction("`all: true` takes no other keys"),
        (Some(id), None, None, None) => Ok(WhichEndpoints::Id { id, address: None }),
        (Some(0), address, None, None) => Ok(WhichEndpoints::Id { id: 0, address }),
        (Some(_), Some(_), None, None) => contradiction("`id` takes an `address` only if it is 0"),
        (Some(_), _, Some(_), None) => contradiction("`id` and `port` can't be combined"),
        (None, Some(address), port, None) => Ok(WhichEndpoints::Address { address, port }),
        (None, None, _, None) => contradiction("expected an endpoint"),
    }
}

fn change(at: &At<'_>, node: &Node) -> Read<FlagChange> {
    let (reader, word) = (at.reader, scalar::word(&CHANGES));
    let words = all(at.list(node)?.iter().map(|item| reader.scalar(item, &word)))?;
    for (yes, no) in [("backup", "nobackup"), ("fullmesh", "nofullmesh")] {
        if words.contains(&yes) && words.contains(&no) {
            return Err(reader.error(node.place, format!("`{yes}` and `{no}` contradict each other")));
        }
    }
    if words.is_empty() {
        return Err(reader.report(
            Diagnostic::new(node.place, "expected the new flags of the endpoint")
                .help("like `[backup]` or `[nobackup]`; other flags are cleared"),
        ));
    }
    Ok(FlagChange { backup: words.contains(&"backup"), fullmesh: words.contains(&"fullmesh") })
}

fn token(at: &At<'_>) -> Read<Option<TokenChoice>> {
    let number = at.maybe::<scalar::Number>("token")?;
    let Some(node) = at.fields.get("connection") else { return Ok(number.map(TokenChoice::Number)) };
    if number.is_some() {
        let message = format!("`{}` takes either `connection` or `token`, not both", at.word);
        return Err(at.reader.error(at.fields.place_of("token"), message));
    }
    let known = at.connection()?;
    known.live_mptcp(at.reader, node.place)?;
    if let Ok(namespace) = at.namespace() {
        known.namespace_is_side(at.reader, namespace, node.place)?;
    }
    Ok(Some(TokenChoice::Connection(known.name.clone())))
}
