//! Operations: changes of the configuration. What is declared in [`Operation`] is read by itself; here is what takes more
//! than one key, or what has been said before.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{self, Key, Kind, Shape, scalar as key};
use super::super::model::{Filter, FlagChange, Operation, Route, TokenChoice, WhichEndpoints};
use super::super::record::{Group, Part};
use super::super::scalar;
use super::super::yaml::Node;
use super::scope::Scope;
use super::world::{endpoint, flags, route};
use super::{At, Fields, Read, Reader, all};
use crate::mptcp::{Endpoint, EndpointFlags};

/// Reads the operation of that name. `refusal`: the kernel is expected to refuse it.
pub(super) fn read(
    reader: &Reader,
    name: &str,
    fields: &Fields<'_>,
    scope: &mut Scope,
    refusal: bool,
) -> Read<Operation> {
    let operation = Operation::read(&At::new(fields, scope, name, refusal))?;
    match &operation {
        Operation::SetLimits { subflows: None, add_addr_accepted: None, .. } => {
            return Err(super::world::no_limit(reader, fields));
        }
        Operation::AddAddress { namespace, address, .. } if !refusal => {
            scope.addresses.insert((namespace.clone(), address.address.to_canonical()));
        }
        Operation::DeleteAddress { namespace, address, .. } if !refusal && scope.world_is_known => {
            let known = (namespace.clone(), address.address.to_canonical());
            if !scope.addresses.contains(&known) {
                let message = format!("`{namespace}` does not have the address {}", known.1);
                return Err(reader.report(
                    Diagnostic::new(fields.place_of("address"), message)
                        .help(format!("it has {}", scope.addresses_of(namespace))),
                ));
            }
        }
        Operation::AddFilter(filter) => add_filter(reader, fields, scope, filter, refusal)?,
        Operation::RemoveFilter { namespace, name } => remove_filter(reader, fields, scope, namespace, name)?,
        _ => {}
    }
    Ok(operation)
}

/// The value of one key, with its shape and its reader.
macro_rules! part {
    ($(#[doc = $doc:literal])+ $name:ident: $value:ty = $shape:expr, $read:expr) => {
        $(#[doc = $doc])+
        pub enum $name {}

        impl Part for $name {
            type Value = $value;
            const SHAPE: Shape = $shape;

            fn read(at: &At<'_>, node: &Node) -> Read<$value> {
                let read: fn(&At<'_>, &Node) -> Read<$value> = $read;
                read(at, node)
            }
        }
    };
}

/// Several keys that make one value, with their reader.
macro_rules! group {
    ($(#[doc = $doc:literal])+ $name:ident: $value:ty = $keys:expr $(; one of $one_of:expr)?, $read:expr) => {
        $(#[doc = $doc])+
        pub enum $name {}

        impl Group for $name {
            type Value = $value;
            const KEYS: &[Key] = $keys;
            $(const ONE_OF: &[Key] = $one_of;)?

            fn read(at: &At<'_>) -> Read<$value> {
                let read: fn(&At<'_>) -> Read<$value> = $read;
                read(at)
            }
        }
    };
}

group! {
    /// The namespace of an operation.
    Namespace: String = &[grammar::IN], |at| at.namespace().clone()
}

part! {
    /// An interface of that namespace.
    Device: String = Shape::Scalar(Kind::Device), |at, node| at.scope.device(at.reader, at.namespace(), node)
}

group! {
    /// An endpoint of the kernel's path manager.
    EndpointKeys: Endpoint = &grammar::ENDPOINT_KEYS,
    |at| endpoint(at.reader, at.fields, at.namespace(), at.scope, at.refusal)
}

group! {
    /// A route.
    RouteKeys: Route = &grammar::ROUTE_KEYS, |at| route(at.reader, at.fields, at.namespace(), at.scope)
}

group! {
    /// Whether an interface goes up.
    IsUp: bool = &[], |at| Ok(at.word == "link_up")
}

group! {
    /// Which endpoints are meant: by id, by address, or all.
    Which: WhichEndpoints = &[
        key("id", Kind::Integer(0, 255), "The endpoint with that id; 0: the first subflow's address."),
        grammar::ADDRESS.doc("The endpoint with that address; with id 0: the address of the first subflow."),
        grammar::PORT.doc("With an address: the port of the endpoint, if it has one."),
        key("all", Kind::Word(&["true"]), "Each endpoint that the namespace has at that moment."),
    ],
    |at| which(at.reader, at.fields)
}

part! {
    /// The flags of `change_endpoint`.
    Flags: FlagChange = Shape::List(&Shape::Scalar(Kind::Word(&CHANGES))), |at, node| change(at.reader, node)
}

/// The words of new flags.
const CHANGES: [&str; 4] = ["backup", "nobackup", "fullmesh", "nofullmesh"];

/// The connection, by name or by a token that is wrong on purpose.
const WHOSE: [Key; 2] = [
    key("connection", Kind::Name, "The connection; its token on the side of the namespace is used."),
    key("token", Kind::Integer(0, 0xffff_ffff), "A token as a number, wrong on purpose."),
];

group! {
    /// The token of a userspace path manager's command: that of `connection`, or the number of `token`.
    Token: TokenChoice = &[]; one of &WHOSE,
    |at| {
        at.reader.choice(at.fields)?;
        token(at)?.ok_or_else(|| {
            at.reader.error(at.fields.place(), "`connection:` or `token:` must say which connection is meant")
        })
    }
}

group! {
    /// The token of a question, which may be about the kernel's path manager.
    Asked: Option<TokenChoice> = &[
        WHOSE[0].doc("Asks the userspace path manager's list of that connection."),
        WHOSE[1].doc("The same with a token that is wrong on purpose."),
    ],
    token
}

group! {
    /// An address to announce. Unlike an endpoint's, its id may be 0.
    Announced: Endpoint = &[
        grammar::ADDRESS.required(),
        grammar::ID,
        grammar::PORT,
        grammar::FLAGS.doc("`[signal]` unless given."),
        grammar::DEV,
    ],
    |at| connection_endpoint(at, EndpointFlags::SIGNAL)
}

group! {
    /// The local address of a new subflow. Unlike an endpoint's, its id may be 0.
    Id0Address: Endpoint = &[
        grammar::ADDRESS.doc("The local address.").required(),
        grammar::ID,
        grammar::FLAGS.doc("`backup`, or nothing."),
        grammar::DEV,
    ],
    |at| connection_endpoint(at, EndpointFlags::empty())
}

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

fn change(reader: &Reader, node: &Node) -> Read<FlagChange> {
    let words = scalar::word(&CHANGES);
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

fn token(at: &At<'_>) -> Read<Option<TokenChoice>> {
    let At { reader, fields, scope, .. } = at;
    let number = fields.optional("token", scalar::number)?;
    let Some(node) = fields.get("connection") else { return Ok(number.map(TokenChoice::Number)) };
    if number.is_some() {
        return Err(
            reader.error(fields.place_of("token"), "`connection` and `token` mean the same; expected one of them")
        );
    }
    let known = scope.connection(reader, node)?;
    known.live_mptcp(reader, node.place)?;
    if let Ok(namespace) = at.namespace() {
        known.namespace_is_side(reader, namespace, node.place)?;
    }
    Ok(Some(TokenChoice::Connection(known.name.clone())))
}

fn connection_endpoint(at: &At<'_>, default: EndpointFlags) -> Read<Endpoint> {
    let address = at.need::<scalar::Ip>("address");
    let id = at.maybe::<scalar::Octet>("id");
    let has_port = at.fields.record.key("port").is_some();
    let port = if has_port { at.maybe::<scalar::Port>("port") } else { Ok(None) };
    let dev = at.maybe::<Device>("dev");
    let flags = at.fields.get("flags").map_or(Ok(default), |node| flags(at.reader, node));
    Ok(Endpoint { address: address?, port: port?, id: id?, flags: flags?, dev: dev? })
}

fn add_filter(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope, filter: &Filter, refusal: bool) -> Read<()> {
    let same = |known: &&(String, String, _)| known.0 == filter.namespace && known.1 == filter.name;
    if let Some(known) = scope.filters.iter().find(same) {
        return Err(reader.report(
            Diagnostic::new(fields.place(), format!("`{}` has a filter `{}` already", filter.namespace, filter.name))
                .context(known.2, "installed here"),
        ));
    }
    if !refusal {
        scope.filters.push((filter.namespace.clone(), filter.name.clone(), fields.place()));
    }
    Ok(())
}

fn remove_filter(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope, namespace: &str, name: &str) -> Read<()> {
    let Some(index) = scope.filters.iter().position(|known| known.0 == namespace && known.1 == name) else {
        let known = scope.filters.iter().filter(|known| known.0 == namespace).map(|known| known.1.as_str());
        let help = super::super::nearest::suggestion(name, known);
        let message = format!("`{namespace}` has no filter `{name}` at this point");
        return Err(super::scope::unknown(reader, fields.place_of("name"), message, help));
    };
    scope.filters.remove(index);
    Ok(())
}
