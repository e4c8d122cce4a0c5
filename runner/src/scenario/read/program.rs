//! Programs: what they are given, and which of them run at some point.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, Shape};
use super::super::model::{
    Action, ConnectionOutcome, MadeProtocol, Place, ProgramConnection, SocketProtocol, StartPlan, Step,
};
use super::super::nearest::suggestion;
use super::super::record::{Part as _, part};
use super::super::scalar::program::{environment_name, file_name};
use super::super::scalar::{self};
use super::super::yaml::Node;
use super::event::event_namespace;
use super::scope::{ConnectionDetails, KnownConnection, Scope, unknown};
use super::{At, Fields, Read, Reader, all};

/// A program that a step has started.
#[derive(Debug, Clone)]
pub struct KnownProgram {
    /// Where it was started.
    pub place: Place,
    /// The step that waited for its end.
    pub ended: Option<Place>,
}

part! {
    /// Environment variables, by name.
    Environment: Vec<(String, String)> =
        Shape::Table("variable", Kind::EnvironmentName, &Shape::Scalar(Kind::Argument)), |at, node| {
            at.table(node, |entry| {
                let name = at.reader.key(entry, environment_name);
                let value = at.reader.scalar(&entry.value, scalar::program::argument);
                Ok((name?, value?))
            })
        }
}

part! {
    /// Files, by relative name.
    Files: Vec<(String, String)> =
        Shape::Table("file", Kind::FileName, &Shape::Scalar(Kind::Argument)), |at, node| {
            at.table(node, |entry| {
                let name = at.reader.key(entry, file_name);
                let text = at.reader.scalar(&entry.value, scalar::program::contents);
                Ok((name?, text?))
            })
        }
}

part! {
    /// Connections that programs make, by name.
    Connections: Vec<ProgramConnection> = Shape::Table("connection", Kind::Name, &ProgramConnection::SHAPE), |at, node| {
        at.table(node, |entry| {
            let name = at.reader.key(entry, scalar::name);
            let connection = ProgramConnection::read(at, &entry.value);
            Ok(ProgramConnection { name: name?, ..connection? })
        })
    }
}

part! {
    /// A program that runs at this point.
    Running: String = Shape::Scalar(Kind::Name), |at, node| {
        let name = at.reader.scalar(node, |text| Ok(text.to_owned()))?;
        let Some(known) = at.scope.programs.get(&name) else {
            let help = suggestion(&name, at.scope.programs.keys().map(String::as_str));
            return Err(unknown(at.reader, node.place, format!("no step has started a program `{name}` at this point"), help));
        };
        match known.ended {
            Some(ended) => Err(at.reader.report(
                Diagnostic::new(node.place, format!("the program `{name}` has already ended")).context(ended, "here"),
            )),
            None => Ok(name),
        }
    }
}

/// Notes a program that a step starts.
pub fn start(fields: &Fields<'_>, plan: &StartPlan, scope: &mut Scope) -> Read<()> {
    if let Some(known) = scope.programs.get(&plan.name) {
        let diagnostic =
            Diagnostic::new(fields.place_of("name"), format!("there is already a program `{}`", plan.name));
        return Err(fields.reader.report(diagnostic.context(known.place, "started here")));
    }
    scope.programs.insert(plan.name.clone(), KnownProgram { place: fields.place(), ended: None });
    Ok(())
}

/// Reads the connections that programs make; steps know their names from the beginning.
pub fn connections(fields: &Fields<'_>, node: &Node, scope: &mut Scope) -> Read<Vec<ProgramConnection>> {
    let reader = fields.reader;
    let connections = Connections::read(&At::new(fields, scope), node);
    for entry in node.entries() {
        let read = connections.as_ref().ok().and_then(|all| all.iter().find(|known| known.name == entry.key));
        let known = KnownConnection {
            name: entry.key.clone(),
            place: entry.place,
            by_programs: true,
            details: read.map(details),
            closed: None,
            background: None,
            waits: None,
            is_reusable: false,
        };
        scope.connections.insert(entry.key.clone(), known);
    }
    let connections = connections?;
    all(connections.iter().enumerate().map(|(index, connection)| {
        if connection.protocol == MadeProtocol::Mptcp {
            // They tell the tokens.
            event_namespace(reader, scope, &connection.client, connection.place)?;
            event_namespace(reader, scope, &connection.server, connection.place)?;
        }
        if let Some(address) = connection.address
            && !scope.has_address(&connection.server, address)
        {
            let message = format!("`{}` does not have the address {address}", connection.server);
            let help = format!("it has {}", scope.addresses_of(&connection.server));
            return Err(reader.report(Diagnostic::new(connection.place, message).help(help)));
        }
        let which = |other: &ProgramConnection| {
            (other.client.clone(), other.server.clone(), other.address, other.port, other.nth)
        };
        match connections.iter().take(index).find(|other| which(other) == which(connection)) {
            Some(other) => Err(reader.report(
                Diagnostic::new(
                    connection.place,
                    format!("`{}` is the same connection as `{}`", connection.name, other.name),
                )
                .context(other.place, "the other one")
                .help("`nth: 2` is the second one"),
            )),
            None => Ok(()),
        }
    }))?;
    Ok(connections)
}

fn details(connection: &ProgramConnection) -> ConnectionDetails {
    ConnectionDetails {
        client: connection.client.clone(),
        server: connection.server.clone(),
        // Whatever the sockets are.
        client_protocol: SocketProtocol::Mptcp,
        server_protocol: SocketProtocol::Mptcp,
        outcome: match connection.protocol {
            MadeProtocol::Mptcp => ConnectionOutcome::Mptcp,
            MadeProtocol::Tcp => ConnectionOutcome::Tcp,
        },
    }
}

/// A program must make each of them, and no step may make one that counts as one of them.
pub fn check_makers(reader: &Reader, connections: &[ProgramConnection], steps: &[Step]) -> Read<()> {
    all(connections.iter().map(|connection| {
        let ProgramConnection { name, client, port, place, .. } = connection;
        let programs = steps.iter().filter_map(|step| step.action.program());
        if !programs.clone().any(|program| program.namespace == *client) {
            let message = format!("no step starts a program in `{client}` that could make `{name}`");
            return Err(reader.error(*place, message));
        }
        let own = steps.iter().find(|step| {
            matches!(&step.action, Action::Connect(plan) if plan.from == *client && plan.address.port() == *port)
        });
        match own {
            Some(step) => Err(reader.report(
                Diagnostic::new(step.place, format!("this connection counts as one of those that `{name}` may be"))
                    .context(*place, "a connection of programs")
                    .help("use another port"),
            )),
            None => Ok(()),
        }
    }))
    .map(drop)
}

/// Notes that a step has waited for the end of a program.
pub fn end(program: &str, place: Place, scope: &mut Scope) {
    if let Some(known) = scope.programs.get_mut(program) {
        known.ended = Some(place);
    }
}
