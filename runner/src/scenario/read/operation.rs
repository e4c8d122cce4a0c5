//! Operations: changes of the configuration.

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::{Filter, FilterAction, FilterHook, FlagChange, Operation, TokenChoice, WhichEndpoints};
use super::super::scalar;
use super::scope::Scope;
use super::world::{endpoint, host_address, limits, route};
use super::{Fields, Read, Reader, all};
use crate::mptcp::{Endpoint, EndpointFlags};

/// Reads the operation of that name. `refusal`: the kernel is expected to refuse it.
pub(super) fn read(
    reader: &Reader,
    name: &str,
    fields: &Fields<'_>,
    scope: &mut Scope,
    refusal: bool,
) -> Read<Operation> {
    let namespace = fields.need_node("in").and_then(|node| scope.namespace(reader, node));
    match name {
        "add_endpoint" => {
            let endpoint = endpoint(reader, fields, &namespace, scope, refusal);
            Ok(Operation::AddEndpoint { namespace: namespace?, endpoint: endpoint? })
        }
        "delete_endpoint" => {
            let which = which(reader, fields);
            Ok(Operation::DeleteEndpoint { namespace: namespace?, which: which? })
        }
        "change_endpoint" => {
            let (which, change) = (which(reader, fields), change(reader, fields));
            Ok(Operation::ChangeEndpoint { namespace: namespace?, which: which?, change: change? })
        }
        "flush_endpoints" => Ok(Operation::FlushEndpoints { namespace: namespace? }),
        "set_limits" => {
            let limits = limits(reader, fields);
            let (namespace, (subflows, add_addr_accepted)) = (namespace?, limits?);
            Ok(Operation::SetLimits { namespace, subflows, add_addr_accepted })
        }
        "set_sysctl" => {
            let name = fields.need("name", scalar::sysctl);
            let value = fields.need("value", scalar::line);
            Ok(Operation::SetSysctl { namespace: namespace?, name: name?, value: value? })
        }
        "link_down" | "link_up" | "add_address" | "delete_address" | "add_route" | "delete_route" => {
            network(reader, name, fields, scope, namespace, refusal)
        }
        "add_filter" => {
            let filter = add_filter(reader, fields, scope, namespace)?;
            if !refusal {
                scope.filters.push((filter.namespace.clone(), filter.name.clone(), fields.place()));
            }
            Ok(Operation::AddFilter(filter))
        }
        "remove_filter" => remove_filter(reader, fields, scope, namespace),
        _ => userspace(reader, name, fields, scope, namespace),
    }
}

/// Which endpoints are meant: by id, by address, or all.
fn which(reader: &Reader, fields: &Fields<'_>) -> Read<WhichEndpoints> {
    let id = fields.optional("id", scalar::octet);
    let address = fields.optional("address", scalar::address);
    let port = fields.optional("port", scalar::port);
    let every = fields.get("all").map(|node| reader.scalar(node, scalar::word(&["true"]))).transpose();
    let contradiction = |message: &str| {
        Err(reader.report(
            Diagnostic::new(fields.place(), message)
                .help("`id: 2`; `id: 0` with the `address:` of the first subflow; `address:`, perhaps with `port:`; or `all: true`"),
        ))
    };
    match (id?, address?, port?, every?) {
        (None, None, None, Some(_)) => Ok(WhichEndpoints::All),
        (_, _, _, Some(_)) => contradiction("`all: true` takes no other keys"),
        (Some(id), None, None, None) => Ok(WhichEndpoints::Id { id, address: None }),
        (Some(0), address, None, None) => Ok(WhichEndpoints::Id { id: 0, address }),
        (Some(_), Some(_), None, None) => contradiction("only id 0 goes with an address"),
        (Some(_), _, Some(_), None) => contradiction("an id and a port don't go together"),
        (None, Some(address), port, None) => Ok(WhichEndpoints::Address { address, port }),
        (None, None, _, None) => contradiction("no endpoint is given"),
    }
}

/// The flags of `change_endpoint`.
fn change(reader: &Reader, fields: &Fields<'_>) -> Read<FlagChange> {
    let node = fields.need_node("to")?;
    let words = scalar::word(&["backup", "nobackup", "fullmesh", "nofullmesh"]);
    let words = all(reader.list(node, "`to`")?.iter().map(|item| reader.scalar(item, &words)))?;
    for (yes, no) in [("backup", "nobackup"), ("fullmesh", "nofullmesh")] {
        if words.contains(&yes) && words.contains(&no) {
            return Err(reader.error(node.place, format!("`{yes}` and `{no}` contradict each other")));
        }
    }
    if words.is_empty() {
        return Err(reader.report(
            Diagnostic::new(node.place, "the new flags of the endpoint are missing")
                .help("like `[backup]` or `[nobackup]`; what is not named is cleared"),
        ));
    }
    Ok(FlagChange { backup: words.contains(&"backup"), fullmesh: words.contains(&"fullmesh") })
}

/// Links, addresses, routes.
fn network(
    reader: &Reader,
    name: &str,
    fields: &Fields<'_>,
    scope: &mut Scope,
    namespace: Read<String>,
    refusal: bool,
) -> Read<Operation> {
    if let "add_route" | "delete_route" = name {
        let route = route(reader, fields, &namespace, scope);
        let (namespace, route) = (namespace?, route?);
        return Ok(match name {
            "add_route" => Operation::AddRoute { namespace, route },
            _ => Operation::DeleteRoute { namespace, route },
        });
    }
    let device = fields.need_node("device").and_then(|node| scope.device(reader, &namespace, node));
    if let "link_down" | "link_up" = name {
        return Ok(Operation::SetLink { namespace: namespace?, device: device?, up: name == "link_up" });
    }
    let address = fields.need("address", host_address);
    let (namespace, device, address) = (namespace?, device?, address?);
    let known = (namespace.clone(), address.address.to_canonical());
    if name == "add_address" {
        if !refusal {
            scope.addresses.insert(known);
        }
        return Ok(Operation::AddAddress { namespace, device, address });
    }
    if !refusal && scope.world_is_known && !scope.addresses.contains(&known) {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("address"), format!("`{namespace}` does not have the address {}", known.1))
                .help(format!("it has {}", scope.addresses_of(&namespace))),
        ));
    }
    Ok(Operation::DeleteAddress { namespace, device, address })
}

/// The token of a userspace path manager's command: that of `connection`, or the number of `token`.
fn token(reader: &Reader, fields: &Fields<'_>, scope: &Scope, namespace: &Read<String>) -> Read<Option<TokenChoice>> {
    let number = fields.optional("token", scalar::number)?;
    let Some(node) = fields.get("connection") else { return Ok(number.map(TokenChoice::Number)) };
    if number.is_some() {
        return Err(
            reader.error(fields.place_of("token"), "`connection` and `token` mean the same; expected one of them")
        );
    }
    let known = scope.connection(reader, node)?;
    known.live_mptcp(reader, node.place)?;
    if let Ok(namespace) = namespace {
        known.namespace_is_side(reader, namespace, node.place)?;
    }
    Ok(Some(TokenChoice::Connection(known.name.clone())))
}

/// Commands of the userspace path manager.
fn userspace(
    reader: &Reader,
    name: &str,
    fields: &Fields<'_>,
    scope: &Scope,
    namespace: Read<String>,
) -> Read<Operation> {
    let chosen = if name == "get_endpoint" { Ok(()) } else { reader.choice(fields).map(|_| ()) };
    let token = chosen.and_then(|()| token(reader, fields, scope, &namespace));
    if name == "get_endpoint" {
        let id = fields.need("id", scalar::octet);
        return Ok(Operation::GetEndpoint { namespace: namespace?, token: token?, id: id? });
    }
    let need_token = |token: Read<Option<TokenChoice>>| {
        token?
            .ok_or_else(|| reader.error(fields.place(), "`connection:` or `token:` must say which connection is meant"))
    };
    match name {
        "announce" => {
            let endpoint = connection_endpoint(reader, fields, scope, &namespace, EndpointFlags::SIGNAL);
            Ok(Operation::Announce { namespace: namespace?, token: need_token(token)?, endpoint: endpoint? })
        }
        "remove_address" => {
            let id = fields.need("id", scalar::octet);
            Ok(Operation::RemoveAddress { namespace: namespace?, token: need_token(token)?, id: id? })
        }
        "create_subflow" => {
            let endpoint = connection_endpoint(reader, fields, scope, &namespace, EndpointFlags::empty());
            let remote = fields.need("remote", scalar::address);
            let remote_port = fields.optional("remote_port", scalar::port);
            let (token, remote, remote_port) = (need_token(token)?, remote?, remote_port?);
            Ok(Operation::CreateSubflow { namespace: namespace?, token, endpoint: endpoint?, remote, remote_port })
        }
        "destroy_subflow" => {
            let local = fields.need("local", scalar::address);
            let remote = fields.need("remote", scalar::address);
            let local_port = fields.optional("local_port", scalar::port);
            let remote_port = fields.optional("remote_port", scalar::port);
            let (namespace, token) = (namespace?, need_token(token)?);
            let (local, remote) = (local?, remote?);
            let (local_port, remote_port) = (local_port?, remote_port?);
            Ok(Operation::DestroySubflow { namespace, token, local, local_port, remote, remote_port })
        }
        "set_subflow_backup" => {
            let local = fields.need("local", scalar::address);
            let remote = fields.need("remote", scalar::address);
            let backup = fields.need("backup", scalar::switch);
            let (namespace, token) = (namespace?, need_token(token)?);
            Ok(Operation::SetSubflowBackup { namespace, token, local: local?, remote: remote?, backup: backup? })
        }
        _ => Err(reader.error(fields.place(), format!("`{name}` is not an operation"))),
    }
}

/// The local address of a userspace path manager's command. Unlike an endpoint's, its id may be 0.
fn connection_endpoint(
    reader: &Reader,
    fields: &Fields<'_>,
    scope: &Scope,
    namespace: &Read<String>,
    default: EndpointFlags,
) -> Read<Endpoint> {
    let address = fields.need("address", scalar::address);
    let id = fields.optional("id", scalar::octet);
    let has_port = fields.record.key("port").is_some();
    let port = if has_port { fields.optional("port", scalar::port) } else { Ok(None) };
    let dev = fields.get("dev").map(|node| scope.device(reader, namespace, node)).transpose();
    let flags = fields.get("flags").map_or(Ok(default), |node| super::world::flags(reader, node));
    Ok(Endpoint { address: address?, port: port?, id: id?, flags: flags?, dev: dev? })
}

fn add_filter(reader: &Reader, fields: &Fields<'_>, scope: &Scope, namespace: Read<String>) -> Read<Filter> {
    let name = fields.need("name", scalar::name);
    let hook = fields.need("hook", scalar::word(&["input", "output"]));
    let from = fields.optional("from", scalar::address);
    let to = fields.optional("to", scalar::address);
    let device = fields.get("device").map(|node| scope.device(reader, &namespace, node)).transpose();
    let option = fields.optional("option", scalar::word(&grammar::FILTER_OPTIONS));
    let min_payload = fields.optional("min_payload", scalar::integer(1, u64::from(u16::MAX)));
    let nth = fields.optional("nth", scalar::integer(1, u64::from(u32::MAX)));
    let action =
        fields.need("action", scalar::word(&["drop", "reject_icmp", "reject_reset", "corrupt", "strip_mptcp"]));
    let may_be_unused = fields.or("may_be_unused", false, scalar::switch);
    let filter = Filter {
        name: name?,
        namespace: namespace?,
        hook: if hook? == "input" { FilterHook::Input } else { FilterHook::Output },
        from: from?,
        to: to?,
        device: device?,
        option: option?.map(subtype),
        min_payload: min_payload?.and_then(|bytes| u16::try_from(bytes).ok()),
        nth: nth?.and_then(|nth| u32::try_from(nth).ok()),
        action: match action? {
            "reject_icmp" => FilterAction::RejectIcmp,
            "reject_reset" => FilterAction::RejectReset,
            "corrupt" => FilterAction::Corrupt,
            "strip_mptcp" => FilterAction::StripMptcp,
            _ => FilterAction::Drop,
        },
        may_be_unused: may_be_unused?,
    };
    let same = |known: &&(String, String, _)| known.0 == filter.namespace && known.1 == filter.name;
    if let Some(known) = scope.filters.iter().find(same) {
        return Err(reader.report(
            Diagnostic::new(fields.place(), format!("`{}` has a filter `{}` already", filter.namespace, filter.name))
                .context(known.2, "installed here"),
        ));
    }
    Ok(filter)
}

/// The subtype (RFC 8684 section 8.2) of an option's word; `None`: any.
fn subtype(word: &str) -> Option<u8> {
    let index = grammar::FILTER_OPTIONS.iter().position(|known| *known == word)?;
    u8::try_from(index).ok()?.checked_sub(1)
}

fn remove_filter(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope, namespace: Read<String>) -> Read<Operation> {
    let name = fields.need("name", scalar::name);
    let (namespace, name) = (namespace?, name?);
    let Some(index) = scope.filters.iter().position(|known| known.0 == namespace && known.1 == name) else {
        let known = scope.filters.iter().filter(|known| known.0 == namespace).map(|known| known.1.as_str());
        let help = super::super::nearest::suggestion(&name, known);
        let message = format!("`{namespace}` has no filter `{name}` at this point");
        return Err(super::scope::unknown(reader, fields.place_of("name"), message, help));
    };
    scope.filters.remove(index);
    Ok(Operation::RemoveFilter { namespace, name })
}
