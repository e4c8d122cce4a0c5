//! Steps about connections: listening, connecting, transferring, closing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, PORT as PORT_KEY, scalar as key};
use super::super::model::{
    Action, BACKLOG, CloseHow, ConnectPlan, ConnectionOutcome, ListenPlan, PORT, Place, SocketOptions, SocketProtocol,
    TransferPlan,
};
use super::super::record::{Scalar, group};
use super::super::scalar::{self, Parsed, Problem, ScopedIp, Size};
use super::super::yaml::Node;
use super::scope::{self, ConnectionDetails, KnownConnection, KnownListener, KnownTransfer, Scope};
use super::{At, Fields, Read, Reader, Reported};
use crate::mptcp::Side;

impl Scalar for ConnectionOutcome {
    type Value = Self;
    const KIND: Kind = Kind::Outcome;

    fn parse(text: &str) -> Parsed<Self> {
        match text {
            "mptcp" => Ok(Self::Mptcp),
            "tcp" => Ok(Self::Tcp),
            _ => match scalar::errno(text) {
                Ok((symbol, _)) => Ok(Self::Error(symbol)),
                Err(problem) => Err(Problem {
                    message: format!("unknown outcome `{text}`; expected `mptcp`, `tcp`, or the symbol of an errno"),
                    help: problem.help,
                }),
            },
        }
    }
}

group! {
    /// The address and port of the server.
    Target: SocketAddr = &[
        key("address", Kind::ScopedAddress, "The server's address; a link-local one with the client's interface: fe80::1%eth1.")
            .required(),
        PORT_KEY.doc("The server's port; 8080 by default."),
    ],
    |at| {
        let (address, port) = (at.need::<ScopedIp>("address"), at.maybe::<scalar::Port>("port"));
        Ok(SocketAddr::new(address?.0, port?.unwrap_or(PORT)))
    }
}

group! {
    /// The address of a listener.
    OwnAddress: IpAddr = &[key(
        "address",
        Kind::ScopedAddress,
        "The address to listen on, a link-local one with its interface; `::` (all addresses) by default.",
    )],
    |at| Ok(at.maybe::<ScopedIp>("address")?.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |(address, _)| address))
}

group! {
    /// The interface of a link-local address.
    Interface: Option<String> = &[], |at| {
        let Some(node) = at.fields.get("address") else { return Ok(None) };
        // What is wrong with the address has been noted.
        Ok(node.text().and_then(|text| scalar::scoped_address(text).ok()).and_then(|(_, interface)| interface))
    }
}

group! {
    /// The bytes that the client sends.
    FromClient: u64 = &[
        key("each_way", Kind::Size, "Bytes in each direction, simultaneously."),
        key("from_client", Kind::Size, "Bytes from the client to the server."),
    ],
    |at| Ok(amounts(at)?.0)
}

group! {
    /// The bytes that the server sends.
    FromServer: u64 = &[key("from_server", Kind::Size, "Bytes from the server to the client.")], |at| Ok(amounts(at)?.1)
}

/// The bytes from the client, and those from the server.
fn amounts(at: &At<'_>) -> Read<(u64, u64)> {
    let [each_way, from_client, from_server] =
        ["each_way", "from_client", "from_server"].map(|key| at.maybe::<Size>(key));
    let (from_client, from_server) = match (each_way?, from_client?, from_server?) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            let message = "`transfer` takes either `each_way` or `from_client` and `from_server`, not both";
            return Err(at.reader.error(at.fields.place_of("each_way"), message));
        }
        (Some(bytes), None, None) => (bytes, bytes),
        (None, client, server) => (client.unwrap_or(0), server.unwrap_or(0)),
    };
    if from_client == 0 && from_server == 0 {
        let diagnostic = Diagnostic::new(at.fields.place(), "expected a number of bytes to transfer");
        return Err(at.reader.report(diagnostic.help("like `each_way: 64 KiB`")));
    }
    Ok((from_client, from_server))
}

/// What a step listens on is free, and taken from then on.
pub(super) fn listen(fields: &Fields<'_>, plan: &ListenPlan, scope: &mut Scope) -> Read<()> {
    let reader = fields.reader;
    if !plan.address.is_unspecified() {
        check_own(fields, scope, "address", &plan.namespace, plan.address)?;
    }
    check_scope(fields, scope, &plan.namespace, plan.address, plan.scope.as_deref())?;
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
    remember(scope, plan, fields.place(), false);
    Ok(())
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

/// Something listens there, and nothing from then on.
pub(super) fn stop_listening(
    fields: &Fields<'_>,
    namespace: &str,
    (port, address): (u16, Option<IpAddr>),
    scope: &mut Scope,
) -> Read<()> {
    let is_meant = |known: &KnownListener| {
        known.namespace == namespace && known.port == port && address.is_none_or(|address| address == known.address)
    };
    match scope.listeners.iter().filter(|known| is_meant(known)).count() {
        1 => scope.listeners.retain(|known| !is_meant(known)),
        0 => {
            let message = format!("no socket listens on port {port} of `{namespace}` at this point");
            return Err(fields.reader.error(fields.place(), message));
        }
        _ => {
            return Err(fields.reader.report(
                Diagnostic::new(fields.place(), format!("several sockets listen on port {port} of `{namespace}`"))
                    .help("add `address:` to name one"),
            ));
        }
    }
    Ok(())
}

/// Checks a `connect` step. Its name is known afterwards even if something is wrong with the step.
pub(super) fn connect(fields: &Fields<'_>, action: Read<Action>, scope: &mut Scope) -> Read<Action> {
    let plan = match action {
        Ok(Action::Connect(plan)) => connect_plan(fields, plan, scope),
        other => other.and_then(|_| Err(fields.reader.error(fields.place(), "a `connect` step is expected"))),
    };
    let name = fields.node.get("name").and_then(|node| Some((node.place, node.text()?)));
    let Some((place, name)) = name else { return plan.map(|(plan, _)| Action::Connect(plan)) };
    if let Some(other) = scope.connections.get(name) {
        let diagnostic = Diagnostic::new(place, format!("two connections are called `{name}`"));
        return Err(fields.reader.report(diagnostic.context(other.place, "the other one")));
    }
    let details = plan.as_ref().ok().map(|(_, details)| details.clone());
    if let Ok((ConnectPlan { again: Some(again), .. }, _)) = &plan
        && let Some(known) = scope.connections.get_mut(again)
    {
        known.is_reusable = false;
    }
    let waits = plan.as_ref().is_ok_and(|(plan, _)| !plan.accepts).then_some(place);
    let known = KnownConnection {
        name: name.to_owned(),
        place,
        by_programs: false,
        details,
        closed: None,
        background: None,
        waits,
        is_reusable: false,
    };
    scope.connections.insert(name.to_owned(), known);
    plan.map(|(plan, _)| Action::Connect(plan))
}

fn connect_plan(
    fields: &Fields<'_>,
    mut plan: ConnectPlan,
    scope: &mut Scope,
) -> Read<(ConnectPlan, ConnectionDetails)> {
    plan.translated = scope.translated(&plan.from, plan.address);
    check_addresses(fields, scope, &plan)?;
    let server_protocol = match &plan.outcome {
        ConnectionOutcome::Error(_) => plan.server_protocol.unwrap_or_default(),
        ConnectionOutcome::Mptcp | ConnectionOutcome::Tcp => {
            let (listener, protocol) = listener_for(fields, scope, &plan)?;
            plan.implicit_listener = listener;
            protocol
        }
    };
    check_outcome(fields, plan.protocol, server_protocol, &plan.outcome)?;
    check_accept(fields, &mut plan)?;
    let details = ConnectionDetails {
        client: plan.from.clone(),
        server: plan.to.clone(),
        client_protocol: plan.protocol,
        server_protocol,
        outcome: plan.outcome.clone(),
    };
    Ok((plan, details))
}

/// The target belongs to the server, the source to the client; unless the kernel is expected to refuse.
fn check_addresses(fields: &Fields<'_>, scope: &Scope, plan: &ConnectPlan) -> Read<()> {
    if matches!(plan.outcome, ConnectionOutcome::Error(_)) {
        return Ok(());
    }
    let target = plan.translated.unwrap_or(plan.address).ip();
    let target = check_own(fields, scope, "address", &plan.to, target);
    let target = target.and(check_scope(fields, scope, &plan.from, plan.address.ip(), plan.scope.as_deref()));
    let source = plan.source.map_or(Ok(()), |source| check_own(fields, scope, "source", &plan.from, source));
    target.and(source)
}

/// The namespace has the address that this key says.
fn check_own(fields: &Fields<'_>, scope: &Scope, key: &str, namespace: &str, address: IpAddr) -> Read<()> {
    if scope.has_address(namespace, address) {
        return Ok(());
    }
    Err(fields.reader.report(
        Diagnostic::new(fields.place_of(key), format!("`{namespace}` does not have the address {address}"))
            .help(format!("it has {}", scope.addresses_of(namespace))),
    ))
}

/// A connection that nobody accepts has nobody to exchange bytes with; and with `TCP_FASTOPEN_CONNECT` there is no
/// connection before something is written.
fn check_accept(fields: &Fields<'_>, plan: &mut ConnectPlan) -> Read<()> {
    if !plan.accepts {
        let says_so = fields.node.get("handshake").is_some() && plan.handshake;
        plan.handshake = false;
        if says_so {
            let message = "without accept(), nobody is there to exchange bytes with";
            return Err(fields.reader.error(fields.place_of("handshake"), message));
        }
        return Ok(());
    }
    if plan.sends_later() && !plan.handshake {
        let message =
            "with `fastopen_connect` nothing is sent before something is written, so there is nothing to accept";
        return Err(fields.reader.report(
            Diagnostic::new(fields.place_of("handshake"), message)
                .help("leave `handshake` out, or add `accept: false`, then a `write` and an `accept` step"),
        ));
    }
    Ok(())
}

/// The connection was disconnected, and its socket has not been used again.
pub(super) fn reusable(reader: &Reader, known: &KnownConnection, place: Place) -> Read<()> {
    if known.is_reusable || known.details.is_none() {
        return Ok(());
    }
    Err(reader.report(
        Diagnostic::new(place, format!("the socket of `{}` can't connect again", known.name))
            .context(known.closed.unwrap_or(known.place), "this connection")
            .help("first `close` it with `by: client, how: disconnect`; then its socket can be used once"),
    ))
}

/// Somebody has accepted the connection: both of its sockets are there.
pub(super) fn accepted(fields: &Fields<'_>, connection: &str, scope: &Scope) -> Read<()> {
    let waits = scope.connections.get(connection).and_then(|known| known.waits);
    let Some(since) = waits else { return Ok(()) };
    Err(fields.reader.report(
        Diagnostic::new(fields.place(), format!("nobody has accepted `{connection}`, so the server has no socket"))
            .context(since, "connected here, with `accept: false`")
            .help(format!("add `accept: {{ connection: {connection} }}` before")),
    ))
}

/// The connection waits for accept(), and has been accepted from then on.
pub(super) fn accept(fields: &Fields<'_>, connection: &str, scope: &mut Scope) -> Read<()> {
    let Some(known) = scope.connections.get_mut(connection) else { return Ok(()) };
    if known.waits.take().is_none() && known.details.is_some() {
        let message = format!("`{connection}` doesn't wait for accept()");
        return Err(fields.reader.report(
            Diagnostic::new(fields.place_of("connection"), message)
                .context(known.place, "connected here")
                .help("write `accept: false` there"),
        ));
    }
    Ok(())
}

/// The kernel needs to know on which link a link-local address is (`tcp_v6_connect`, net/ipv6/tcp_ipv6.c; `__inet6_bind`,
/// net/ipv6/af_inet6.c).
fn check_scope(
    fields: &Fields<'_>,
    scope: &Scope,
    namespace: &str,
    address: IpAddr,
    interface: Option<&str>,
) -> Read<()> {
    let devices = scope.devices.get(namespace).map_or(&[][..], Vec::as_slice);
    match interface {
        Some(interface) if scope.world_is_known && !devices.iter().any(|device| device == interface) => {
            let message = format!("`{namespace}` has no interface `{interface}`");
            let help = super::super::nearest::suggestion(interface, devices.iter().map(String::as_str));
            Err(scope::unknown(fields.reader, fields.place_of("address"), message, help))
        }
        None if scalar::is_link_local(address) => {
            let message = format!("the link-local address {address} needs the interface of `{namespace}`");
            let device = devices.first().map_or("eth1", String::as_str);
            let help = format!("like \"{address}%{device}\"");
            Err(fields.reader.report(Diagnostic::new(fields.place_of("address"), message).help(help)))
        }
        _ => Ok(()),
    }
}

/// With a plain TCP socket on one side, there can't be MPTCP.
fn check_outcome(
    fields: &Fields<'_>,
    client: SocketProtocol,
    server: SocketProtocol,
    outcome: &ConnectionOutcome,
) -> Read<()> {
    if *outcome != ConnectionOutcome::Mptcp || (client, server) == (SocketProtocol::Mptcp, SocketProtocol::Mptcp) {
        return Ok(());
    }
    let side = if client == SocketProtocol::Tcp { "client" } else { "server" };
    Err(fields.reader.report(
        Diagnostic::new(fields.place(), format!("the {side}'s socket is plain TCP, so the outcome can't be `mptcp`"))
            .help("`outcome: tcp` expects a connection without MPTCP"),
    ))
}

/// The listener that must be opened for a connection, if there is none yet, and what the server's socket is.
fn listener_for(
    fields: &Fields<'_>,
    scope: &mut Scope,
    plan: &ConnectPlan,
) -> Read<(Option<ListenPlan>, SocketProtocol)> {
    let ConnectPlan { to, server_protocol: wanted, .. } = plan;
    let target = plan.translated.unwrap_or(plan.address);
    let reader = fields.reader;
    let on_port = |known: &&KnownListener| known.namespace == *to && known.port == target.port();
    let Some(known) = scope.listeners.iter().find(on_port) else {
        let is_ipv4 = target.is_ipv4();
        let address = if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let protocol = wanted.unwrap_or_default();
        let options = SocketOptions::default();
        let plan = ListenPlan {
            namespace: to.clone(),
            address,
            scope: None,
            port: target.port(),
            protocol,
            backlog: BACKLOG,
            options,
        };
        remember(scope, &plan, fields.place(), true);
        return Ok((Some(plan), protocol));
    };
    if wanted.is_some_and(|wanted| wanted != known.protocol) {
        return Err(reader.report(
            Diagnostic::new(
                fields.place_of("server_protocol"),
                "the socket that listens on this port has another protocol",
            )
            .context(known.place, "opened here"),
        ));
    }
    if known.implicit && known.address.is_ipv4() && !target.ip().to_canonical().is_ipv4() {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("address"), "the socket that listens on this port accepts IPv4 only")
                .context(known.place, "opened here, for an IPv4 address")
                .help(format!("open one for both families first: `listen: {{ in: {to}, address: \"::\" }}`")),
        ));
    }
    Ok((None, known.protocol))
}

/// No other transfer is running; this one is from then on, if it is in the background.
pub(super) fn transfer(fields: &Fields<'_>, plan: &TransferPlan, scope: &mut Scope) -> Read<()> {
    let TransferPlan { connection, from_client, from_server, .. } = plan;
    accepted(fields, connection, scope)?;
    for side in [Side::Client, Side::Server] {
        scope.awaited.remove(&super::wait::transferred_key(connection, side));
    }
    let Some(known) = scope.connections.get_mut(connection) else { return Ok(()) };
    if known.background.is_some() {
        return Err(fields.reader.report(
            Diagnostic::new(fields.place(), format!("a background transfer of `{connection}` is still running"))
                .context(known.place, "this connection")
                .help("wait for its end with a `finish_transfer` step first"),
        ));
    }
    known.background = plan.background.then(|| KnownTransfer {
        place: fields.place(),
        from_client: *from_client,
        from_server: *from_server,
        must_fail: plan.error.is_some(),
    });
    Ok(())
}

/// What a step with errors changes all the same, so that no other error follows from them.
pub(super) fn despite_errors(fields: &Fields<'_>, word: &str, scope: &mut Scope) {
    let text = |key: &str| fields.node.get(key).and_then(Node::text);
    let Some(known) = text("connection").and_then(|name| scope.connections.get_mut(name)) else { return };
    match word {
        "transfer" if text("background") == Some("true") => {
            let (place, must_fail) = (fields.place(), text("outcome").is_some());
            known.background = Some(KnownTransfer { place, from_client: u64::MAX, from_server: u64::MAX, must_fail });
        }
        "finish_transfer" | "close" => known.background = None,
        _ => {}
    }
}

/// A background transfer of the connection is running; it isn't from then on.
pub(super) fn finish_transfer(fields: &Fields<'_>, connection: &str, scope: &mut Scope) -> Read<()> {
    let known = scope.connections.get_mut(connection);
    match known.and_then(|known| known.background.take()) {
        Some(_) => Ok(()),
        None => Err(none_is_running(fields, connection)),
    }
}

/// Notes that no background transfer is running.
pub(super) fn none_is_running(fields: &Fields<'_>, connection: &str) -> Reported {
    let message = format!("no background transfer of `{connection}` is running");
    let diagnostic = Diagnostic::new(fields.place_of("connection"), message);
    fields.reader.report(diagnostic.help("start one with `transfer: { …, background: true }`"))
}

/// The connection can be closed like this; it is closed from then on.
pub(super) fn close(fields: &Fields<'_>, connection: &str, by: Side, how: CloseHow, scope: &mut Scope) -> Read<()> {
    if by == Side::Server || matches!(how, CloseHow::Abrupt | CloseHow::HalfClose) {
        accepted(fields, connection, scope)?;
    }
    let Some(known) = scope.connections.get_mut(connection) else { return Ok(()) };
    check_background(fields.reader, fields.place(), known, by, how)?;
    if how != CloseHow::HalfClose {
        known.closed = Some(fields.place());
        known.is_reusable = how == CloseHow::Disconnect && by == Side::Client;
        known.background = None;
    }
    Ok(())
}

/// A close() while a transfer is running in the background. A graceful one comes after all bytes; an abrupt one may cut
/// them off.
fn check_background(reader: &Reader, place: Place, known: &KnownConnection, by: Side, how: CloseHow) -> Read<()> {
    let Some(transfer) = known.background else { return Ok(()) };
    let message = match how {
        CloseHow::Abrupt | CloseHow::Disconnect if transfer.must_fail => {
            format!("no step checks the outcome of the background transfer of `{}`", known.name)
        }
        CloseHow::Abrupt | CloseHow::Disconnect => return Ok(()),
        CloseHow::HalfClose if transfer.from(by) == 0 => return Ok(()),
        CloseHow::HalfClose => format!("`{}` can't end a direction in which a background transfer sends", known.name),
        CloseHow::Graceful => format!("a background transfer of `{}` is still running", known.name),
    };
    let help = if transfer.must_fail {
        "wait for its end with a `finish_transfer` step first"
    } else {
        "wait for its end with a `finish_transfer` step, or cut it off with `how: abrupt`"
    };
    Err(reader.report(Diagnostic::new(place, message).context(transfer.place, "started here").help(help)))
}

/// Each background transfer must have been waited for or cut off: what it came to would be known to nobody.
pub(super) fn check_finished(reader: &Reader, scope: &Scope) -> Read<()> {
    let unfinished = |known: &KnownConnection| {
        let transfer = known.background?;
        let message = format!("no step waits for the end of this background transfer of `{}`", known.name);
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
