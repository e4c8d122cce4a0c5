//! Steps about connections: listening, connecting, transferring, closing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::diagnostic::Diagnostic;
use super::super::grammar::Record;
use super::super::model::{
    Action, CloseHow, ConnectPlan, ConnectionOutcome, ListenPlan, Place, SocketProtocol, TransferPlan,
};
use super::super::record::Scalar as _;
use super::super::scalar::{self, Parsed, Problem};
use super::super::yaml::Node;
use super::scope::{ConnectionDetails, KnownConnection, KnownListener, KnownTransfer, Scope};
use super::step::{LONG, SHORT};
use super::{Fields, Read, Reader};
use crate::mptcp::Side;

/// The port of listeners and connections unless given: that of an alternative web server.
const PORT: u16 = 8080;

fn outcome(text: &str) -> Parsed<ConnectionOutcome> {
    match text {
        "mptcp" => Ok(ConnectionOutcome::Mptcp),
        "tcp" => Ok(ConnectionOutcome::Tcp),
        _ => match scalar::errno(text) {
            Ok((symbol, _)) => Ok(ConnectionOutcome::Error(symbol)),
            Err(problem) => Err(Problem {
                message: format!("unknown outcome `{text}`; expected `mptcp`, `tcp`, or the symbol of an errno"),
                help: problem.help,
            }),
        },
    }
}

/// Reads a `listen` step.
pub(super) fn listen(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope) -> Read<ListenPlan> {
    let namespace = fields.need_node("in").and_then(|node| scope.namespace(reader, node));
    let address = fields.or("address", IpAddr::V6(Ipv6Addr::UNSPECIFIED), scalar::address);
    let port = fields.or("port", PORT, scalar::port);
    let protocol = fields.or("protocol", SocketProtocol::Mptcp, SocketProtocol::parse);
    let plan = ListenPlan { namespace: namespace?, address: address?, port: port?, protocol: protocol? };
    if !plan.address.is_unspecified() && !scope.has_address(&plan.namespace, plan.address) {
        let message = format!("`{}` does not have the address {}", plan.namespace, plan.address);
        return Err(reader.report(
            Diagnostic::new(fields.place_of("address"), message)
                .help(format!("it has {}", scope.addresses_of(&plan.namespace))),
        ));
    }
    let same = |known: &&KnownListener| {
        (known.namespace == plan.namespace && known.port == plan.port)
            && (known.address == plan.address || known.address.is_unspecified() || plan.address.is_unspecified())
    };
    if let Some(known) = scope.listeners.iter().find(same) {
        return Err(reader.report(
            Diagnostic::new(fields.place(), format!("port {} of `{}` is already in use", plan.port, plan.namespace))
                .context(known.place, if known.implicit { "this step listens on it" } else { "since this step" }),
        ));
    }
    remember(scope, &plan, fields.place(), false);
    Ok(plan)
}

fn remember(scope: &mut Scope, plan: &ListenPlan, place: Place, implicit: bool) {
    scope.listeners.push(KnownListener {
        namespace: plan.namespace.clone(),
        address: plan.address,
        port: plan.port,
        protocol: plan.protocol,
        place,
        implicit,
    });
}

/// Reads a `stop_listening` step.
pub(super) fn stop_listening(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope) -> Read<Action> {
    let namespace = fields.need_node("in").and_then(|node| scope.namespace(reader, node));
    let port = fields.or("port", PORT, scalar::port);
    let address = fields.optional("address", scalar::address);
    let (namespace, port, address) = (namespace?, port?, address?);
    let is_meant = |known: &KnownListener| {
        known.namespace == namespace && known.port == port && address.is_none_or(|address| address == known.address)
    };
    match scope.listeners.iter().filter(|known| is_meant(known)).count() {
        1 => scope.listeners.retain(|known| !is_meant(known)),
        0 => {
            let message = format!("nothing of this scenario listens on port {port} of `{namespace}` at this point");
            return Err(reader.error(fields.place(), message));
        }
        _ => {
            return Err(reader.report(
                Diagnostic::new(fields.place(), format!("several sockets listen on port {port} of `{namespace}`"))
                    .help("`address:` says which is meant"),
            ));
        }
    }
    Ok(Action::StopListening { namespace, port, address })
}

/// Reads a `connect` step. Its name is known afterwards even if something is wrong with the step.
pub(super) fn connect(reader: &Reader, node: &Node, record: &'static Record, scope: &mut Scope) -> Read<ConnectPlan> {
    let plan = reader.record(node, record).and_then(|fields| connect_plan(reader, &fields, scope));
    let Some(name_node) = node.get("name") else { return plan.map(|(plan, _)| plan) };
    let Some(name) = name_node.text() else { return plan.map(|(plan, _)| plan) };
    if let Some(other) = scope.connections.get(name) {
        return Err(reader.report(
            Diagnostic::new(name_node.place, format!("two connections are called `{name}`"))
                .context(other.place, "the other one"),
        ));
    }
    let details = plan.as_ref().ok().map(|(_, details)| details.clone());
    let (name, place) = (name.to_owned(), name_node.place);
    let known = KnownConnection { name: name.clone(), place, details, closed: None, background: None };
    scope.connections.insert(name, known);
    plan.map(|(plan, _)| plan)
}

fn connect_plan(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope) -> Read<(ConnectPlan, ConnectionDetails)> {
    let name = fields.need("name", scalar::name);
    let from = fields.need_node("from").and_then(|node| scope.namespace(reader, node));
    let to = fields.need_node("to").and_then(|node| scope.namespace(reader, node));
    let address = fields.need("address", scalar::address);
    let port = fields.or("port", PORT, scalar::port);
    let source = fields.optional("source", scalar::address);
    let client_protocol = fields.or("protocol", SocketProtocol::Mptcp, SocketProtocol::parse);
    let server_protocol = fields.optional("server_protocol", SocketProtocol::parse);
    let outcome = fields.or("outcome", ConnectionOutcome::Mptcp, outcome);
    let handshake = fields.or("handshake", true, scalar::switch);
    let deadline = fields.or("timeout", SHORT, scalar::duration);

    let (from, to, outcome, source) = (from?, to?, outcome?, source?);
    let target = SocketAddr::new(address?, port?);
    check_addresses(reader, fields, scope, (&from, source), (&to, target.ip()), &outcome)?;
    let server_protocol = server_protocol?;
    let (implicit_listener, server_protocol) = match &outcome {
        ConnectionOutcome::Error(_) => (None, server_protocol.unwrap_or_default()),
        _ => listener_for(reader, fields, scope, &to, target, server_protocol)?,
    };
    let client_protocol = client_protocol?;
    check_outcome(reader, fields, client_protocol, server_protocol, &outcome)?;
    let details = ConnectionDetails {
        client: from.clone(),
        server: to.clone(),
        client_protocol,
        server_protocol,
        outcome: outcome.clone(),
    };
    let plan = ConnectPlan {
        name: name?,
        from,
        to,
        address: target,
        source,
        protocol: client_protocol,
        outcome,
        implicit_listener,
        handshake: handshake?,
        deadline: deadline?,
    };
    Ok((plan, details))
}

/// The target belongs to the server, the source to the client; unless the kernel is expected to refuse.
fn check_addresses(
    reader: &Reader,
    fields: &Fields<'_>,
    scope: &Scope,
    (from, source): (&str, Option<IpAddr>),
    (to, target): (&str, IpAddr),
    outcome: &ConnectionOutcome,
) -> Read<()> {
    if matches!(outcome, ConnectionOutcome::Error(_)) {
        return Ok(());
    }
    let own = |key: &str, namespace: &str, address: IpAddr| {
        if scope.has_address(namespace, address) {
            return Ok(());
        }
        Err(reader.report(
            Diagnostic::new(fields.place_of(key), format!("`{namespace}` does not have the address {address}"))
                .help(format!("it has {}", scope.addresses_of(namespace))),
        ))
    };
    let target = own("address", to, target);
    let source = source.map_or(Ok(()), |source| own("source", from, source));
    target.and(source)
}

/// With a plain TCP socket on one side, there can't be MPTCP.
fn check_outcome(
    reader: &Reader,
    fields: &Fields<'_>,
    client: SocketProtocol,
    server: SocketProtocol,
    outcome: &ConnectionOutcome,
) -> Read<()> {
    if *outcome != ConnectionOutcome::Mptcp || (client, server) == (SocketProtocol::Mptcp, SocketProtocol::Mptcp) {
        return Ok(());
    }
    let side = if client == SocketProtocol::Tcp { "client" } else { "server" };
    Err(reader.report(
        Diagnostic::new(fields.place(), format!("the {side}'s socket is plain TCP, so the outcome can't be `mptcp`"))
            .help("`outcome: tcp` expects a connection without MPTCP"),
    ))
}

/// The listener that must be opened for a connection, if there is none yet, and what the server's socket is.
fn listener_for(
    reader: &Reader,
    fields: &Fields<'_>,
    scope: &mut Scope,
    to: &str,
    target: SocketAddr,
    wanted: Option<SocketProtocol>,
) -> Read<(Option<ListenPlan>, SocketProtocol)> {
    let on_port = |known: &&KnownListener| known.namespace == to && known.port == target.port();
    let Some(known) = scope.listeners.iter().find(on_port) else {
        let is_ipv4 = target.is_ipv4();
        let address = if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let protocol = wanted.unwrap_or_default();
        let plan = ListenPlan { namespace: to.to_owned(), address, port: target.port(), protocol };
        remember(scope, &plan, fields.place(), true);
        return Ok((Some(plan), protocol));
    };
    if wanted.is_some_and(|wanted| wanted != known.protocol) {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("server_protocol"), "the socket that listens on this port is another one")
                .context(known.place, "opened here"),
        ));
    }
    if known.implicit && known.address.is_ipv4() && !target.ip().to_canonical().is_ipv4() {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("address"), "the socket that listens on this port takes IPv4 only")
                .context(known.place, "opened here, for an IPv4 address")
                .help(format!("open one for both with a step before: `listen: {{ in: {to}, address: \"::\" }}`")),
        ));
    }
    Ok((None, known.protocol))
}

/// Reads a `transfer` step.
pub(super) fn transfer(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope) -> Read<TransferPlan> {
    let on = fields.need_node("connection");
    let connection = on.and_then(|node| {
        let known = scope.connection(reader, node)?;
        known.live(reader, node.place)?;
        Ok((known.name.clone(), known.background, known.place))
    });
    let each_way = fields.optional("each_way", scalar::size);
    let from_client = fields.optional("from_client", scalar::size);
    let from_server = fields.optional("from_server", scalar::size);
    let pace = fields.optional("pace", scalar::rate);
    let background = fields.or("background", false, scalar::switch);
    let tolerate_corrupt = fields.or("tolerate_corrupt", 0, scalar::integer(0, 1 << 30));
    let error = fields.optional("outcome", |text| scalar::errno(text).map(|(symbol, _)| symbol));
    let deadline = fields.or("timeout", LONG, scalar::duration);
    let (from_client, from_server) = match (each_way?, from_client?, from_server?) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            let message =
                "`each_way` says it for both directions, so `from_client` and `from_server` can't stand beside";
            return Err(reader.error(fields.place_of("each_way"), message));
        }
        (Some(bytes), None, None) => (bytes, bytes),
        (None, client, server) => (client.unwrap_or(0), server.unwrap_or(0)),
    };
    if from_client == 0 && from_server == 0 {
        return Err(
            reader.report(Diagnostic::new(fields.place(), "nothing is transferred").help("like `each_way: 64 KiB`"))
        );
    }
    let (connection, running, made) = connection?;
    if running.is_some() {
        return Err(reader.report(
            Diagnostic::new(fields.place(), format!("a background transfer of `{connection}` is still running"))
                .context(made, "this connection")
                .help("a `finish_transfer` step waits for its end"),
        ));
    }
    for side in [Side::Client, Side::Server] {
        scope.awaited.remove(&super::wait::transferred_key(&connection, side));
    }
    let (background, error) = (background?, error?);
    let must_fail = error.is_some();
    if background && let Some(known) = scope.connections.get_mut(&connection) {
        known.background = Some(KnownTransfer { place: fields.place(), from_client, from_server, must_fail });
    }
    Ok(TransferPlan {
        connection,
        from_client,
        from_server,
        pace: pace?.map(|bits| bits / 8),
        background,
        tolerate_corrupt: tolerate_corrupt?,
        error,
        deadline: deadline?,
    })
}

/// Reads a `finish_transfer` step.
pub(super) fn finish_transfer(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope) -> Read<Action> {
    let deadline = fields.or("timeout", LONG, scalar::duration);
    let node = fields.need_node("connection")?;
    let name = scope.connection(reader, node)?.name.clone();
    let known = scope.connections.get_mut(&name);
    if known.and_then(|known| known.background.take()).is_none() {
        return Err(reader.report(
            Diagnostic::new(node.place, format!("no background transfer of `{name}` is running"))
                .help("`transfer: { …, background: true }` starts one"),
        ));
    }
    Ok(Action::FinishTransfer { connection: name, deadline: deadline? })
}

/// Reads a `close` step.
pub(super) fn close(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope) -> Read<Action> {
    let how = fields.or("how", CloseHow::Graceful, CloseHow::parse);
    let deadline = fields.or("timeout", LONG, scalar::duration);
    let node = fields.need_node("connection")?;
    let by = fields.need_node("by");
    let known = scope.connection(reader, node)?;
    known.live(reader, node.place)?;
    let (name, by) = (known.name.clone(), by.and_then(|node| side(reader, known, node))?);
    let how = how?;
    check_background(reader, fields.place(), known, by, how)?;
    if how != CloseHow::HalfClose
        && let Some(known) = scope.connections.get_mut(&name)
    {
        known.closed = Some(fields.place());
        known.background = None;
    }
    Ok(Action::Close { connection: name, by, how, deadline: deadline? })
}

/// A close() while a transfer is running in the background. A graceful one comes after all bytes; an abrupt one may cut
/// them off.
fn check_background(reader: &Reader, place: Place, known: &KnownConnection, by: Side, how: CloseHow) -> Read<()> {
    let Some(transfer) = known.background else { return Ok(()) };
    let message = match how {
        CloseHow::Abrupt if transfer.must_fail => {
            format!("nothing waits for the outcome of the background transfer of `{}`", known.name)
        }
        CloseHow::Abrupt => return Ok(()),
        CloseHow::HalfClose if transfer.from(by) == 0 => return Ok(()),
        CloseHow::HalfClose => format!("`{}` can't end a direction in which a background transfer sends", known.name),
        CloseHow::Graceful => format!("a background transfer of `{}` is still running", known.name),
    };
    let help = if transfer.must_fail {
        "wait for its end with a `finish_transfer` step before"
    } else {
        "wait for its end with a `finish_transfer` step, or cut it off with `how: abrupt`"
    };
    Err(reader.report(Diagnostic::new(place, message).context(transfer.place, "it was started here").help(help)))
}

/// Each background transfer must have been waited for or cut off: what it came to would be known to nobody.
pub(super) fn check_finished(reader: &Reader, scope: &Scope) -> Read<()> {
    let unfinished = |known: &KnownConnection| {
        let transfer = known.background?;
        let message = format!("nothing waits for the end of this background transfer of `{}`", known.name);
        let name = &known.name;
        let cut_off = if transfer.must_fail {
            String::new()
        } else {
            format!(", or cut it off with `close: {{ connection: {name}, by: client, how: abrupt }}`")
        };
        let help = format!("add `finish_transfer: {{ connection: {name} }}`{cut_off}");
        Some(reader.report(Diagnostic::new(transfer.place, message).help(help)))
    };
    scope.connections.values().filter_map(unfinished).last().map_or(Ok(()), Err)
}

/// The side that a scalar names.
pub(super) fn side(reader: &Reader, known: &KnownConnection, node: &Node) -> Read<Side> {
    let word = reader.scalar(node, |text| Ok(text.to_owned()))?;
    known.side(reader, &word, node.place)
}
