//! Values of keys that name something which must exist: namespaces, connections, links, rules.

use super::super::grammar::{self, Kind, Shape};
use super::super::model::Place;
use super::super::record::{group, part};
use super::super::scalar;
use super::connection;
use super::path::{direction, installed};
use crate::mptcp::{ANSWER_WORDS, EndpointFlags, SOCKET_COUNT_WORDS, Side};

group! {
    /// Where a record is written.
    Here: Place = &[], |at| Ok(at.fields.place())
}

group! {
    /// The namespace that a record is about.
    Namespace: String = &[grammar::IN], |at| at.namespace().clone()
}

part! {
    /// A namespace.
    NamespaceName: String = Shape::Scalar(Kind::Name), |at, node| at.scope.namespace(at.reader, node)
}

part! {
    /// An interface of the namespace that a record is about.
    Device: String = Shape::Scalar(Kind::Device), |at, node| at.scope.device(at.reader, at.namespace(), node)
}

part! {
    /// The flags of an endpoint.
    Flags: EndpointFlags = Shape::List(&Shape::Scalar(Kind::Flag)), super::world::flags
}

part! {
    /// The connection that a record is about.
    Connection: String = Shape::Scalar(Kind::Name), |at, _| Ok(at.connection()?.name.clone())
}

part! {
    /// The same; it must be established now, with sockets of the runner.
    Live: String = Shape::Scalar(Kind::Name), |at, node| {
        let known = at.connection()?;
        known.is_own(at.reader, node.place)?;
        known.live(at.reader, node.place)?;
        Ok(known.name.clone())
    }
}

part! {
    /// The same; MPTCP must be used on it.
    LiveMptcp: String = Shape::Scalar(Kind::Name), |at, node| {
        let known = at.connection()?;
        known.live_mptcp(at.reader, node.place)?;
        Ok(known.name.clone())
    }
}

part! {
    /// A side of that connection.
    OneSide: Side = Shape::Scalar(Kind::Side), |at, node| connection::side(at.reader, at.connection()?, node)
}

part! {
    /// The link that a record is about; it has a path.
    PathLink: String = Shape::Scalar(Kind::Name), |at, _| Ok(at.path()?.link.clone())
}

part! {
    /// An end of that link, by its namespace.
    EndOfLink: String = Shape::Scalar(Kind::Name), |at, node| {
        let name = at.reader.scalar(node, |text| Ok(text.to_owned()))?;
        direction(at.reader, at.path()?, &name, node.place)?;
        Ok(name)
    }
}

part! {
    /// The same, by its number.
    SendingEnd: usize = Shape::Scalar(Kind::Name), |at, node| {
        let name = at.reader.scalar(node, |text| Ok(text.to_owned()))?;
        direction(at.reader, at.path()?, &name, node.place)
    }
}

part! {
    /// The word of a number of sockets.
    SocketCountWord: &'static str = Shape::Scalar(Kind::Word(&SOCKET_COUNT_WORDS)), |at, node| {
        at.reader.scalar(node, scalar::word(&SOCKET_COUNT_WORDS))
    }
}

part! {
    /// A connection that was disconnected, so that its socket can be used again.
    Reusable: String = Shape::Scalar(Kind::Name), |at, node| {
        let known = at.scope.connection(at.reader, node)?;
        connection::reusable(at.reader, known, node.place)?;
        Ok(known.name.clone())
    }
}

part! {
    /// The word of what getsockopt() can be asked for.
    AnswerWord: &'static str = Shape::Scalar(Kind::Word(&ANSWER_WORDS)), |at, node| {
        at.reader.scalar(node, scalar::word(&ANSWER_WORDS))
    }
}

part! {
    /// A rule that is installed on that path.
    InstalledRule: String = Shape::Scalar(Kind::Line), |at, node| Ok(installed(at, node)?.name.clone())
}

part! {
    /// The same; it must be one that holds segments.
    HoldingRule: String = Shape::Scalar(Kind::Line), |at, node| {
        let rule = installed(at, node)?;
        if rule.holds { Ok(rule.name.clone()) } else { Err(super::path::holds_nothing(at, rule, node.place)) }
    }
}
